"""Reading `[cluster]`, `[[server]]`, `[forced_stop]` and `[[server_group]]`."""

from __future__ import annotations

import msgspec

from clptools.config import fields
from clptools.config.address import endpoint
from clptools.config.registries import Registries
from clptools.config.table import (
    Names,
    Source,
    Table,
    build,
    element,
    elements,
    known_servers,
)
from clptools.core.settings import Bmc, Cluster, ForcedStop, Server, ServerGroup

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
    """Say how an action of the original's keepalive driver is done here."""
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
    for table in elements(source, document, "server"):
        name = str(table.read(fields.SERVER, inner=("bmc",))["name"])
        if name and not names.take(table, name):
            continue
        if len(found) == MAX_SERVERS:
            table.error("name", f"more than {MAX_SERVERS} servers")
            break
        bmc = _read_bmc(table, bmcs, name)
        found.append(Server(name=name, bmc=bmc))
    if not found:
        source.say(
            "error", (), "server", "configuration: there is no server.", "Add [[server]] tables."
        )
    return tuple(found)


def _read_bmc(table: Table, bmcs: dict[tuple[str, int], str], server: str) -> Bmc | None:
    inner = table.one("bmc")
    if inner is None:
        return None
    values = inner.read(fields.BMC)
    bmc = build(Bmc, values)
    try:
        host, port = endpoint(bmc.address, HTTPS_PORT if bmc.is_redfish else BMC_PORT)
    except ValueError:  # said by the reading
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
            "redfish takes either certificate or ca: whom the password may be sent to",
            f"clpbmccnf --certificate {server} shows what the BMC has.",
        )
    if not bmc.is_redfish and len(bmc.user.encode()) > IPMI_USER_BYTES:
        inner.error("user", f"longer than {IPMI_USER_BYTES} bytes, no BMC takes that by IPMI")
    if ":" in bmc.user and bmc.is_redfish:
        inner.error("user", "must not contain a colon: HTTP ends the name there")
    for key in ("system", "certificate", "ca"):
        if not bmc.is_redfish and values[key]:
            inner.error(key, 'belongs to protocol = "redfish"', f"Leave {key} out.")
    return msgspec.structs.replace(bmc, address=host, port=port)


def read_forced_stop(
    source: Source, document: dict[str, object], servers: tuple[Server, ...]
) -> ForcedStop:
    """`[forced_stop]`; with two servers only power-off gives a proof that lasts."""
    table = element(source, document, "forced_stop")
    stop = build(ForcedStop, table.read(fields.FORCED_STOP))
    if stop.action != "none" and servers and all(server.bmc is None for server in servers):
        table.error(
            "action",
            "no server has a BMC to do it",
            "Add [server.bmc] to the servers, or leave [forced_stop] out.",
        )
    if stop.action in ("reset", "power-cycle", "nmi") and len(servers) == 2:
        # A server that comes up again is no longer out, and with two the survivor needs it out.
        table.say(
            "warning",
            "action",
            f'action = "{stop.action}" is taken as "power-off": with two servers one that comes '
            "up again would hold the other back",
            'Write action = "power-off", or add a third server.',
        )
        stop = ForcedStop(action="power-off", timeout_ms=stop.timeout_ms, retries=stop.retries)
    return stop


def read_server_groups(
    source: Source, document: dict[str, object], servers: tuple[str, ...]
) -> tuple[ServerGroup, ...]:
    """`[[server_group]]`."""
    names = Names("a server group")
    found: list[ServerGroup] = []
    for table in elements(source, document, "server_group"):
        group = build(ServerGroup, table.read(fields.SERVER_GROUP))
        known_servers(table, "servers", group.servers, servers)
        if names.take(table, group.name):
            found.append(group)
    return tuple(found)
