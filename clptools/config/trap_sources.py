"""`[server.bmc] trap_sources`: further addresses from which a server's traps may come."""

from __future__ import annotations

from clptools.config.fields_of_traps import source_of
from clptools.config.table import Table
from clptools.core.model.settings import TrapSource


class TrapSources:
    """The sources of all servers so far."""

    def __init__(self) -> None:
        self._taken: dict[str, list[tuple[TrapSource, str, str]]] = {}
        """Address -> entry, server, whether it is its BMC's own: a word for the message."""

    def read(self, table: Table, server: str, bmc: str) -> tuple[TrapSource, ...]:
        """Those of one `[server.bmc]`; what two servers would both take is said."""
        raw = table.raw.get("trap_sources", [])
        entries = raw if isinstance(raw, list) else []
        found = [source for entry in entries if isinstance(source := source_of(entry), TrapSource)]
        self._take(table, "address", TrapSource(address=bmc), server, "BMC")
        for place, source in enumerate(found):
            if source.address == bmc:
                table.error(
                    "trap_sources",
                    "is the BMC's own address, from which all traps are taken",
                    "Leave it out.",
                    at=(place,),
                )
                continue
            self._take(table, "trap_sources", source, server, "trap source", place)
        return tuple(found)

    def _take(
        self, table: Table, name: str, source: TrapSource, server: str, what: str, place: int = -1
    ) -> None:
        taken = self._taken.setdefault(source.address, [])
        for other, owner, word in taken:
            if owner == server or what == word == "BMC":
                continue  # two servers with one BMC are said elsewhere
            alike = other.variable == source.variable and other.value != source.value
            if not (alike and source.variable):
                table.error(
                    name,
                    f"{owner} has {source.address} as its {word}: both would take the same traps",
                    "Tell them apart by variable and value: the slot of each server.",
                    at=(place,) if place >= 0 else (),
                )
                break
        taken.append((source, server, what))
