"""Reading `[[interconnect]]` and `[[np]]`."""

from __future__ import annotations

import ipaddress

from clptools.config import fields
from clptools.config.address import Endpoint, canonical
from clptools.config.field import Field
from clptools.config.servers import BMC_PORT, HTTPS_PORT
from clptools.config.table import Names, Source, Table, build, elements, known_servers
from clptools.config.typed_tables import options_of, variant
from clptools.config.variants import Registries
from clptools.core.model.settings import Arbiter, Cluster, Interconnect, Server

BMCHB_INTERVAL_MS = 1000


class _Interconnects:
    """The interconnects read so far, and the addresses that they use."""

    def __init__(self, cluster: Cluster, servers: tuple[Server, ...]) -> None:
        self.cluster = cluster
        self.servers = {server.name: server for server in servers}
        self.names = Names("an interconnect")
        self.used: dict[tuple[str, str], str] = {}
        """(server, LAN address) -> interconnect."""

    def read(self, table: Table, own: tuple[Field, ...]) -> Interconnect:
        values = table.read(fields.INTERCONNECT, own)
        kind = str(values["type"])
        name = str(values["name"] or self.names.number(kind))
        self.names.take(table, name)
        addresses = values["address"] if isinstance(values["address"], dict) else {}
        known_servers(table, "address", addresses, tuple(self.servers))
        if kind == "bmchb":
            addresses = self._bmc_addresses(table, addresses)
        elif kind != "witnesshb":
            addresses = self._lan_addresses(table, name, addresses)
        default = BMCHB_INTERVAL_MS if kind == "bmchb" else self.cluster.heartbeat_interval_ms
        return Interconnect(
            name=name,
            type=kind,
            addresses=addresses,
            interval_ms=int(str(values["interval_ms"] or default)),
            url=str(values.get("url") or ""),
            carrier=str(values.get("carrier") or "timer"),
        )

    def _bmc_addresses(self, table: Table, given: dict[str, str]) -> dict[str, str]:
        found: dict[str, str] = {}
        for server in self.servers.values():
            if server.name in given:
                found[server.name] = given[server.name]
            elif server.bmc is not None:
                bmc = Endpoint(server.bmc.address, server.bmc.port)
                usual = HTTPS_PORT if server.bmc.is_redfish else BMC_PORT
                found[server.name] = bmc.host if bmc.port == usual else str(bmc)
            if server.bmc is None:
                table.error(
                    "address",
                    f"{server.name} has no [server.bmc]",
                    "The BMC heartbeat needs the BMC's address and account.",
                    (server.name,) if server.name in given else (),
                )
        return found

    def _lan_addresses(self, table: Table, name: str, given: dict[str, str]) -> dict[str, str]:
        # A server without a name is told where it stands.
        missing = [server for server in self.servers if server and server not in given]
        if missing and isinstance(table.raw.get("address", {}), dict):
            table.error("address", f"none for {' and '.join(missing)}", _example(self.servers))
        found: dict[str, str] = {}
        owners: dict[str, str] = {}
        families: set[int] = set()
        for server in self.servers:
            if server not in given:
                continue
            try:
                address = canonical(given[server])
            except ValueError:
                hint = f"The port of all interconnects is [cluster] port, {self.cluster.port}."
                table.error("address", "must be an address without a port", hint, (server,))
                continue
            parsed = ipaddress.ip_address(address)
            families.add(parsed.version)
            if parsed.is_unspecified or parsed.is_multicast:
                table.error("address", "not the address of one server", at=(server,))
            if address in owners:
                text = f"same address as {owners[address]}; each server needs its own"
                table.error("address", text, at=(server,))
            elif (server, address) in self.used:
                text = f"already the address of interconnect {self.used[server, address]}"
                hint = "An interconnect of its own needs a network of its own."
                table.error("address", text, hint, (server,))
            owners.setdefault(address, server)
            self.used.setdefault((server, address), name)
            found[server] = address
        if families >= {4, 6}:
            table.error("address", "IPv4 and IPv6 addresses cannot reach each other")
        return found


def _example(servers: dict[str, Server]) -> str:
    inside = ", ".join(f'{name} = "…"' for name in servers if name)
    return f"Write address = {{ {inside} }}."


def read_interconnects(
    source: Source,
    document: dict[str, object],
    registries: Registries,
    cluster: Cluster,
    servers: tuple[Server, ...],
) -> tuple[Interconnect, ...]:
    """`[[interconnect]]` in order of priority."""
    all_of_them = _Interconnects(cluster, servers)
    found: list[Interconnect] = []
    seen = False
    for table in elements(source, document, "interconnect"):
        seen = True
        own = variant(table, "interconnect", registries.links)
        if own is not None:
            found.append(all_of_them.read(table, own))
    if not any(link.is_lan for link in found) and len(servers) > 1 and not (seen and source.failed):
        source.say(
            "error",
            ("interconnect",),
            "interconnect",
            "configuration: there is no LAN interconnect between the servers.",
            'Add [[interconnect]] with type = "lankhb" or "lanhb".',
        )
    return tuple(found)


def read_arbiters(
    source: Source,
    document: dict[str, object],
    registries: Registries,
    cluster: Cluster,
    servers: tuple[str, ...],
) -> tuple[Arbiter, ...]:
    """`[[np]]`; the first that can decide is the arbiter."""
    names = Names("an NP resolution")
    found: list[Arbiter] = []
    for table in elements(source, document, "np"):
        own = variant(table, "np", registries.arbiters)
        if own is None:
            continue
        values = table.read(fields.NP, own)
        kind = str(values["type"])
        name = str(values["name"] or names.number(f"{kind}np"))
        names.take(table, name)
        options = options_of(table, values, own, servers)
        for field in own:
            value = values[field.option]
            if field.parse.by_server and isinstance(value, dict):
                _all_servers(table, field.name, value, servers)
        # An answer is valid for one lease, within which the arbiter must be asked and answer again.
        third = min(cluster.lease_ms // 3, 1000)
        values |= {key: values[key] or third for key in ("interval_ms", "timeout_ms")}
        arbiter = build(Arbiter, values, name=name, options=options)
        decider = next((a for a in found if a.decides), None)
        if arbiter.decides and decider is not None:
            table.say(
                "warning",
                "type",
                f"is not used: {decider.name} stands before it, and one arbiter decides",
                "Keep the one that only one side of a partition can win (etcd, witness, disk).",
            )
        found.append(arbiter)
    return tuple(found)


def _all_servers(table: Table, name: str, given: dict[str, str], servers: tuple[str, ...]) -> None:
    known_servers(table, name, given, servers)
    for server in servers:
        if server and server not in given:
            table.error(name, f"none for {server}")
