"""Reading `[cluster]`, `[[server]]` and `[forced_stop]`."""

from __future__ import annotations

import tomllib

from clptools.config import fields
from clptools.config.address import endpoint
from clptools.config.fields_of_traps import source_of
from clptools.config.lines import Lines
from clptools.config.table import Names, Source, Table, build, element, elements
from clptools.core.model.settings import (
    Bmc,
    Cluster,
    ForcedStop,
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


def read_cluster(source: Source, document: dict[str, object]) -> Cluster:
    """`[cluster]`, with the refusal of the hardware linkage that cannot be used."""
    table = element(source, document, "cluster")
    values = table.read(fields.CLUSTER)
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
