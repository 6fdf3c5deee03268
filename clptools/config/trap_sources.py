"""`[server.bmc] trap_sources`: further addresses from which a server's traps may come."""

from __future__ import annotations

from clptools.config.address import canonical
from clptools.config.field import Fault, Kind
from clptools.config.kinds import toml_type
from clptools.config.table import Table, near
from clptools.config.trap_names import oid_fault
from clptools.core.settings import Option, TrapSource

_KEYS = ("address", "variable", "value")
_MEND = 'Write { address = "…", variable = "1.3.6.1.4.1.…", value = 3 }.'


def _source(entry: object) -> TrapSource | Fault:
    """One entry: an address, or a table."""
    if isinstance(entry, str):
        entry = {"address": entry}
    if not isinstance(entry, dict):
        return Fault(text=f"must be an address or a table, not {toml_type(entry)}")
    unknown = next((key for key in entry if key not in _KEYS), "")
    if unknown:
        return Fault(text=f'unknown key "{unknown}"', hint=near(unknown, _KEYS))
    address, variable, value = (entry.get(key, "") for key in _KEYS)
    try:
        address = canonical(str(address))
    except ValueError as error:
        return Fault(text=str(error), hint='Write "192.168.0.50", without a port.')
    if not isinstance(variable, str) or isinstance(value, bool) or not isinstance(value, str | int):
        return Fault(text="variable is an OID in quotes, value a number or text", hint=_MEND)
    if (variable == "") is not (value == ""):
        return Fault(text="variable and value go together", hint=_MEND)
    if variable and (fault := oid_fault(variable)) is not None:
        return Fault(text=f"variable: {fault[0]}", hint=fault[1])
    return TrapSource(address=address, variable=variable.strip("."), value=str(value))


def _read(value: object) -> Option | Fault:
    if not isinstance(value, list | tuple):
        return Fault(
            text=f"must be a list, not {toml_type(value)}", hint='Write ["…"], with brackets.'
        )
    for place, entry in enumerate(value):
        found = _source(entry)
        if isinstance(found, Fault):
            return Fault(text=found.text, hint=found.hint, at=(place,))
    return tuple(str(entry) for entry in value)


TRAP_SOURCES = Kind(name="list of addresses or tables", read=_read, empty=(), shape="list")


class TrapSources:
    """The sources of all servers so far."""

    def __init__(self) -> None:
        self._taken: dict[str, list[tuple[TrapSource, str, str]]] = {}
        """Address -> entry, server, whether it is its BMC's own: a word for the message."""

    def read(self, table: Table, server: str, bmc: str) -> tuple[TrapSource, ...]:
        """Those of one `[server.bmc]`; what two servers would both take is said."""
        raw = table.raw.get("trap_sources", [])
        entries = raw if isinstance(raw, list) else []
        found = [source for entry in entries if isinstance(source := _source(entry), TrapSource)]
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
