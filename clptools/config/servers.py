"""Reading `[cluster]`, `[[server]]`, `[forced_stop]`, `[[interconnect]]` and `[[np]]`."""

from __future__ import annotations

import ipaddress
import tomllib
from collections.abc import Sequence

from clptools.config import fields
from clptools.config.address import Endpoint, canonical, endpoint
from clptools.config.field import ON_SERVERS, Field, near
from clptools.config.fields_of_traps import source_of
from clptools.config.lines import Lines
from clptools.config.table import Names, Source, Table, build, element, elements, known_servers
from clptools.config.variants import REFUSED, Registries, Variants
from clptools.core.model.settings import (
    Arbiter,
    Bmc,
    Cluster,
    ForcedStop,
    Interconnect,
    Option,
    Server,
    TrapSource,
)
from clptools.core.model.words import BmcAction

MAX_SERVERS = 32
BMC_PORT = 623
"""RMCP+ (IPMI 2.0, section 13.1.2)."""
IPMI_USER_BYTES = 16
"""IPMI 2.0, 22.28."""
HTTPS_PORT = 443
"""Redfish (DSP0266, 13.2)."""


def read_cluster(source: Source, document: dict[str, object], registries: Registries) -> Cluster:
    """`[cluster]`, with the refusal of the hardware linkage that cannot be used."""
    table = element(source, document, "cluster")
    values = table.read(fields.cluster(registries))
    hardware = values.pop("hardware", None)
    if hardware is not None:
        reason = (
            "that linkage cannot be used"
            if str(hardware).lower() == "nx7700x"
            else "no hardware linkage of this name"
        )
        table.error(
            "hardware",
            reason,
            "Leave the key out: any server whose BMC speaks IPMI 2.0 works ([server.bmc]).",
        )
    note_keepalive(table, "partition_action", str(values["partition_action"]))
    return build(Cluster, values)


def note_keepalive(table: Table, name: str, action: str) -> None:
    """Notes how an action of the original's keepalive driver is done here."""
    if action.startswith("keepalive-"):
        table.say(
            "note",
            name,
            f'{table.prefix}{name} = "{action}" needs the original\'s kernel driver: it is done '
            "as the guard does it, by sysrq",
        )


def read_servers(source: Source, document: dict[str, object]) -> tuple[Server, ...]:
    """`[[server]]` in order of priority, each with its `[server.bmc]`."""
    names = Names("a server")
    found: list[Server] = []
    bmcs: dict[tuple[str, int], str] = {}
    sources = _TrapSources()
    for table in elements(source, document, "server"):
        name = str(table.read(fields.SERVER, inner=("bmc",))["name"])
        if name and not names.take(table, name):
            continue
        if len(found) == MAX_SERVERS:
            table.error("name", f"more than {MAX_SERVERS} servers")
            break
        bmc = _read_bmc(table, bmcs, sources, name)
        found.append(Server(name=name, bmc=bmc))
    if not found:
        source.say(
            "error", (), "server", "configuration: there is no server.", "Add [[server]] tables."
        )
    return tuple(found)


def _read_bmc(
    table: Table, bmcs: dict[tuple[str, int], str], sources: _TrapSources, server: str
) -> Bmc | None:
    inner = table.one("bmc")
    if inner is None:
        return None
    values = inner.read(fields.BMC)
    values.pop("trap_sources")
    bmc = build(Bmc, values)
    try:
        host, port = endpoint(bmc.address, HTTPS_PORT if bmc.is_redfish else BMC_PORT)
    except ValueError:  # reported by read() already
        return None
    if (host, port) in bmcs:
        inner.error(
            "address",
            f"same BMC as {bmcs[host, port]}",
            "Each server has its own BMC: a forced stop would hit the wrong one.",
        )
    bmcs[host, port] = server
    if bmc.is_redfish and bool(bmc.certificate) == bool(bmc.ca):
        inner.error(
            "protocol",
            "redfish needs either certificate or ca: the password is sent to no other BMC",
            f"clpbmccnf --certificate {server} shows what the BMC has.",
        )
    if not bmc.is_redfish and len(bmc.user.encode()) > IPMI_USER_BYTES:
        inner.error("user", f"longer than {IPMI_USER_BYTES} bytes, no BMC takes that by IPMI")
    if ":" in bmc.user and bmc.is_redfish:
        inner.error("user", "must not contain a colon: HTTP ends the name there")
    for key in ("system", "certificate", "ca"):
        if not bmc.is_redfish and values[key]:
            inner.error(key, 'belongs to protocol = "redfish"', f"Leave {key} out.")
    values |= {"address": host}
    more = sources.read(inner, server, host)
    return build(Bmc, values, port=port, trap_sources=more)


def bmc_in(text: str, server: str) -> Bmc | None:
    """Where the BMC of a server is, by a configuration that need not be whole; None: nowhere."""
    try:
        document = tomllib.loads(text)
        source = Source("", Lines(text))
    except (tomllib.TOMLDecodeError, RecursionError):
        return None
    found = read_servers(source, document)
    return next((each.bmc for each in found if each.name == server), None)


def read_forced_stop(
    source: Source, document: dict[str, object], servers: tuple[Server, ...]
) -> ForcedStop:
    """`[forced_stop]`; with two servers only power-off gives a proof that lasts."""
    table = element(source, document, "forced_stop")
    stop = build(ForcedStop, table.read(fields.FORCED_STOP))
    if (
        stop.action is not BmcAction.NONE
        and servers
        and not any(server.has_power_control for server in servers)
    ):
        table.error(
            "action",
            "no server has a BMC or a fence agent to do it",
            "Add [server.bmc] to the servers or [[fence]], or leave [forced_stop] out.",
        )
    by_agents = [server.name for server in servers if server.fences and server.bmc is None]
    if stop.action is BmcAction.NMI and by_agents:
        table.error(
            "action",
            f"fence agents send no NMI, and {by_agents[0]} has no BMC",
            'Write action = "power-off".',
        )
    if stop.action in (BmcAction.RESET, BmcAction.POWER_CYCLE, BmcAction.NMI) and len(servers) == 2:
        # A server that reboots is no longer out; of two servers, the survivor needs the other out.
        table.say(
            "warning",
            "action",
            f'action = "{stop.action}" is taken as "power-off": with two servers one that comes '
            "up again would hold the other back",
            'Write action = "power-off", or add a third server.',
        )
        stop = ForcedStop(
            action=BmcAction.POWER_OFF, timeout_ms=stop.timeout_ms, retries=stop.retries
        )
    return stop


# ---------------------------------------------------------------------- sources of traps


class _TrapSources:
    """The sources of all servers so far."""

    def __init__(self) -> None:
        self._taken: dict[str, list[tuple[TrapSource, str, str]]] = {}
        """Address -> source, server, and whether it is a `BMC` or a `trap source`."""

    def read(self, table: Table, server: str, bmc: str) -> tuple[TrapSource, ...]:
        """The sources of one `[server.bmc]`; traps that two servers would take are an error."""
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
                continue  # _read_bmc reports two servers with one BMC
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


# ---------------------------------------------------------------------- ways between them


BMCHB_INTERVAL_MS = 1000


def variant(table: Table, what: str, variants: Variants) -> tuple[Field, ...] | None:
    """The keys of the table's `type`; None, with an error, if there is no such type.

    The caller then skips the table: errors for all its keys would hide this one.
    """
    name = table.raw.get("type")
    if not isinstance(name, str) or name in variants:
        return variants.get(str(name), ())
    reason, mend = REFUSED[what].get(name, (f"no such {what} type", near(name, variants)))
    table.error("type", reason, mend)
    return None


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


def options_of(
    table: Table, values: dict[str, Option], own: tuple[Field, ...], servers: Sequence[str] = ()
) -> dict[str, Option]:
    """The values of a variant's own keys; those of single servers go into the key that they are of.

    With `interface_on`, `interface` becomes the table of all `servers`.
    """
    found = {field.option: values[field.option] for field in own}
    for field in own:
        name = field.name.removesuffix(ON_SERVERS)
        if name == field.name or name not in found:
            continue
        single, common = found.pop(field.option), found[name]
        if not isinstance(single, dict):
            continue
        known_servers(table, field.name, single, servers)
        if isinstance(common, dict):
            found[name] = {**common, **single}
            continue
        shared = ",".join(common) if isinstance(common, tuple) else str(common or "")
        found[name] = {server: single.get(server, shared) for server in servers}
    return found


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
