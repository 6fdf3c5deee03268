"""Categories and keywords of message receive monitors (hardware guide 2.2.5, 2.2.6, 3.4.2).

For `BMCNOTICE` the keyword is the address on which a server receives its BMC's traps, so no two
servers share one, and one server receives on one port.  Elsewhere it names a device.
"""

from __future__ import annotations

from clptools.config.address import Endpoint, endpoint
from clptools.config.table import Table, known_servers
from clptools.core.settings import Monitor, Option

BMCNOTICE = "BMCNOTICE"

DRIVER_CATEGORIES = ("NIC", "FC", "HA/SS", "HA/AM", "HA/RS", "SPS", "MCE")
"""Categories that sources of this system fill; the linkage owns them."""

CATEGORIES = (BMCNOTICE, *DRIVER_CATEGORIES)

TRAP_PORT = 162
"""snmptrap/udp, RFC 3417."""


def is_driver_category(category: str) -> bool:
    """Whether messages of this category come from drivers and system sources."""
    return category in DRIVER_CATEGORIES or category.startswith("HA/")


class Keywords:
    """The keywords of all message receive monitors so far."""

    def __init__(self, servers: tuple[str, ...], suggestions: dict[str, tuple[str, str]]) -> None:
        self._servers = servers
        self._suggestions = suggestions
        self._owners: dict[Endpoint, str] = {}
        """Trap address -> the server that receives on it."""
        self._ports: dict[str, tuple[int, str]] = {}
        """Server -> its trap port and the monitor that named it first."""

    def resolve(self, table: Table, values: dict[str, Option], monitor: Monitor) -> dict[str, str]:
        """Server -> its keyword, with everything said that is wrong about them."""
        common = values["keyword"]
        single = values["keyword_on"]
        single = single if isinstance(single, dict) else {}
        known_servers(table, "keyword_on", single, self._servers)
        found: dict[str, str] = {}
        for server in monitor.servers:
            keyword = single.get(server, common)
            if isinstance(keyword, str) and keyword:
                found[server] = keyword
        if monitor.category == BMCNOTICE:
            self._check_trap_addresses(table, monitor, found, single)
        return found

    def _check_trap_addresses(
        self, table: Table, monitor: Monitor, found: dict[str, str], single: dict[str, str]
    ) -> None:
        missing = [server for server in monitor.servers if server not in found]
        if missing and "keyword" not in table.raw:
            example = ", ".join(f'{s} = "{self._example(s)}"' for s in missing)
            table.error(
                "keyword_on",
                f"none for {' and '.join(missing)}, and {BMCNOTICE} needs the address to which "
                "the BMC sends its traps",
                f"Write keyword_on = {{ {example} }}.",
            )
        for server, keyword in found.items():
            name, at = ("keyword_on", (server,)) if server in single else ("keyword", ())
            try:
                address = endpoint(keyword, TRAP_PORT)
            except ValueError as fault:
                table.error(name, str(fault), 'Write "address" or "address:port".', at)
                if name == "keyword":
                    return
                continue
            self._check_owner(table, address, server, name, at)
            self._check_port(table, address.port, server, monitor.name, name, at)

    def _check_owner(
        self, table: Table, address: Endpoint, server: str, name: str, at: tuple[str, ...]
    ) -> None:
        owner = self._owners.setdefault(address, server)
        if owner == server:
            return
        if name == "keyword":
            table.error(
                name,
                f"{owner} and {server} would share it; each server needs its own",
                f'Add keyword_on = {{ {server} = "{self._example(server)}" }}.',
            )
            return
        suggestion = self._suggestions.get(server)
        hint = f"Use the address on which {server} receives from its BMC"
        if suggestion is not None and suggestion[0] != address.host:
            hint += f', e.g. "{suggestion[0]}" ({suggestion[1]})'
        table.error(name, f"same address as {owner}; each server needs its own", f"{hint}.", at)

    def _check_port(
        self, table: Table, port: int, server: str, monitor: str, name: str, at: tuple[str, ...]
    ) -> None:
        first, by = self._ports.setdefault(server, (port, monitor))
        if first != port:
            table.error(
                name,
                f"port {port}, but {by} has port {first} on {server}: one server receives its "
                "traps on one port",
                f"Use port {first} in both.",
                at,
            )

    def _example(self, server: str) -> str:
        suggestion = self._suggestions.get(server)
        return suggestion[0] if suggestion is not None else "…"
