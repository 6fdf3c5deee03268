"""The tables of `clp.toml`: one `Field` a key.

The loader reads by them, and the manual is made from them (monitors and alerts:
`fields_of_monitors`, traps: `fields_of_traps`).  Defaults equal those of `core/model/settings.py`;
a test compares them.  Keys of one resource, monitor, interconnect or NP type alone are in the
`registry.py` of the room that carries it out; the choice of actions depends on the host actions
there are, hence the functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from clptools.config import fields_of_fences as of_fences
from clptools.config import fields_of_monitors as of_monitors
from clptools.config import fields_of_traps as of_traps
from clptools.config.field import (
    BOOLEAN,
    ENDPOINT,
    FINGERPRINT,
    METRICS,
    NAME,
    PATH,
    TEXT,
    Field,
    choice,
    integer,
    list_of,
    per_server,
    seconds,
    text,
)
from clptools.config.variants import Registries
from clptools.core.model.words import (
    HOST_ACTIONS,
    BmcAction,
    Exclusive,
    Failback,
    Failover,
    FinalAction,
    Startup,
    StopKind,
)

_cluster = partial(Field, section="cluster")

CLUSTER = (
    _cluster(name="name", parse=NAME, default="cluster", help="Name of the cluster."),
    _cluster(
        name="port",
        parse=integer(1, 65535),
        default=29002,
        help="UDP port of heartbeats and TCP port of control messages and clprexec, on the "
        "interconnects' addresses.",
    ),
    _cluster(
        name="heartbeat_interval",
        parse=seconds(0.02, 60),
        default=0.2,
        help="Time between two heartbeats to the same server.",
    ),
    _cluster(
        name="heartbeat_timeout",
        parse=seconds(0.1, 3600),
        default=3.0,
        help="Silence after which a server counts as lost. Its BMC is already asked after two "
        "missed heartbeats.",
    ),
    _cluster(
        name="lease",
        parse=seconds(0.1, 3600),
        default=3.0,
        help="How long an answered heartbeat binds the vote. The holder of a group may run it for "
        "twice this time without an answer.",
    ),
    _cluster(
        name="self_stop",
        parse=seconds(1, 3600),
        default=6.0,
        help="Time that a server has to stop its groups after its lease is over. Then its watchdog "
        "resets it.",
    ),
    _cluster(
        name="fence_delay",
        parse=seconds(1, 600),
        default=5.0,
        help="If exactly half of the servers hear each other, they take turns of this length in "
        "fencing the others: first the holder of the first group (or the server that an arbiter "
        "chooses), then the others in the order of their names.  A turn must be a quarter longer "
        "than the slowest BMC takes from the order to off.  If heartbeat_interval is above 0.2 s, "
        "five times the excess is added.",
    ),
    _cluster(
        name="startup_wait",
        parse=seconds(1, 3600),
        default=300,
        help="How long a server counts as off after its BMC read off. Also how long a starting "
        "server waits for servers that it does not hear.",
    ),
    _cluster(
        name="takeover_without_proof",
        parse=BOOLEAN,
        default=False,
        help="Start a lost server's groups elsewhere without proof that it stopped: two may run.",
    ),
    _cluster(
        name="action_command",
        parse=PATH,
        help="Executable that gets every host action (action, server) instead of the host.",
    ),
    _cluster(
        name="journal_bytes",
        parse=integer(1 << 20, 1 << 40),
        default=268_435_456,
        help="Maximum size of the journal.",
    ),
    _cluster(
        name="metrics",
        parse=METRICS,
        default="",
        help="Where each agent serves metrics for Prometheus by HTTP (/metrics): a loopback "
        "address with port, such as 127.0.0.1:9402, or the path of a Unix socket. Empty: the agent "
        "serves no metrics.",
    ),
    _cluster(
        name="revoked",
        parse=list_of(NAME),
        default=(),
        help="Names of secrets for clprexec that count no more (clpcfctrl --keygen --for clprexec "
        "--name NAME); those without a name are revoked by a key roll.",
    ),
    _cluster(
        name="max_reboots",
        parse=integer(0, 99),
        default=3,
        help="How many final actions in a row may end a server (0: no limit); see clpregctrl.",
    ),
    _cluster(
        name="max_reboots_reset",
        parse=seconds(60, 86_400 * 30),
        default=3600,
        help="After a server has run this long, the count of max_reboots starts again.",
    ),
    _cluster(
        name="hardware",
        parse=TEXT,
        help="Model of the original's hardware linkage. NX7700x cannot be used, and no other model "
        "is needed.",
    ),
    _cluster(
        name="partition_action",
        parse=choice("none", "stop", *HOST_ACTIONS),
        default="stop",
        help="What a server in the minority does, in addition to stopping its groups.",
    ),
)

SERVER = (Field(section="server", name="name", parse=NAME, required=True, help="Host name."),)

_bmc = partial(Field, section="server.bmc")

BMC = (
    _bmc(
        name="address",
        parse=ENDPOINT,
        required=True,
        help="Address of the BMC, with the port if it is not 623 (redfish: 443).",
    ),
    _bmc(
        name="user",
        parse=text(max_bytes=64),
        default="",
        help="Account on the BMC, at most 16 bytes for IPMI. Its password is in bmc/SERVER "
        "(clpbmccnf).",
    ),
    _bmc(
        name="protocol",
        parse=choice("ipmi", "redfish"),
        default="ipmi",
        help="How the BMC is reached over its network: by IPMI 2.0, or by Redfish (HTTPS), which "
        "reports hardware events as well. With both, the BMC's own timer is reached by /dev/ipmi0.",
    ),
    _bmc(
        name="system",
        parse=text(max_bytes=255),
        default="",
        help="redfish: the system's name in the service, if the service has several.",
    ),
    _bmc(
        name="certificate",
        parse=FINGERPRINT,
        default="",
        help="redfish: SHA-256 of the BMC's certificate. No other certificate is accepted. "
        "clpbmccnf --certificate shows it.",
    ),
    _bmc(
        name="ca",
        parse=PATH,
        help="redfish: PEM file of the CA that signed the BMC's certificate, instead of "
        "certificate. The BMC's certificate must then name its address.",
    ),
    _bmc(
        name="trap_sources",
        parse=of_traps.TRAP_SOURCES,
        help="Other addresses from which this server's traps may come, such as the BMC's other "
        "port or a chassis manager. For a sender that speaks for several servers, write { address "
        '= "…", variable = "OID", value = …}: the variable that names the server (its slot), and '
        "its value for this server.",
    ),
)

_DEVICE = "Number in the original's forms of clpcfset. Nothing else reads it."

_interconnect = partial(Field, section="interconnect")

INTERCONNECT = (
    _interconnect(
        name="name",
        parse=NAME,
        help="Name; by default the type and a number, such as lankhb1.",
    ),
    _interconnect(name="type", parse=TEXT, required=True, help="Heartbeat type."),
    _interconnect(name="device", parse=integer(0, 99_999), help=_DEVICE),
    _interconnect(
        name="address",
        parse=per_server(ENDPOINT),
        help="Each server's own address on this path. bmchb: the address of its BMC, by default "
        "that of server.bmc.",
    ),
    _interconnect(
        name="interval",
        parse=seconds(0.02, 60),
        help="Time between two heartbeats on this path; by default heartbeat_interval, 1.0 for "
        "bmchb.",
    ),
)

_np = partial(Field, section="np")

NP = (
    _np(name="name", parse=NAME, help="Name; by default the type and a number, such as pingnp1."),
    _np(name="type", parse=TEXT, required=True, help="NP resolution type."),
    _np(name="device", parse=integer(0, 99_999), help=_DEVICE),
    _np(
        name="interval",
        parse=seconds(0.1, 60),
        help="Time between two requests; by default a third of the lease, at most 1.0.",
    ),
    _np(
        name="timeout",
        parse=seconds(0.1, 60),
        help="How long to wait for an answer; by default a third of the lease, at most 1.0.",
    ),
)

_forced_stop = partial(Field, section="forced_stop")

FORCED_STOP = (
    _forced_stop(
        name="action",
        parse=choice(*BmcAction),
        default="none",
        help="What the BMC, or a fence agent, does to a server that cannot be proven down in "
        "another way.",
    ),
    _forced_stop(
        name="timeout",
        parse=seconds(1, 600),
        default=30,
        help="How long it may take until the server reads off. Nothing else ends a forced stop.",
    ),
    _forced_stop(
        name="retries",
        parse=integer(0, 10),
        default=2,
        help="How many more orders a BMC gets that may have accepted one. A forced stop waits for "
        "a BMC that is busy.",
    ),
)

_server_group = partial(Field, section="server_group")

SERVER_GROUP = (
    _server_group(name="name", parse=NAME, required=True, help="Name."),
    _server_group(
        name="servers",
        parse=list_of(NAME, at_least=1),
        required=True,
        help="Its servers, best first.",
    ),
)

_group = partial(Field, section="group")

GROUP = (
    _group(name="name", parse=NAME, required=True, help="Name of the failover group."),
    _group(name="type", parse=TEXT, default="failover", help="Group type: failover."),
    _group(
        name="servers",
        parse=list_of(NAME, at_least=1),
        help="Servers that may run it, best first. Default: all, or those of server_groups.",
    ),
    _group(
        name="startup",
        parse=choice(*Startup),
        default="auto",
        help="Whether it starts with the cluster.",
    ),
    _group(
        name="failover",
        parse=choice(*Failover),
        default="auto",
        help="Where the group goes when its server is lost. auto: to the next server in order. "
        "dynamic: to the healthiest server. manual: nowhere, until an operator decides.",
    ),
    _group(
        name="failback",
        parse=choice(*Failback),
        default="manual",
        help="Whether the group moves back when a better server is available again.",
    ),
    _group(
        name="server_groups",
        parse=list_of(NAME, at_least=1),
        help="Server groups. A failover first stays within the present one.",
    ),
    _group(
        name="start_after",
        parse=list_of(NAME),
        default=(),
        help="Groups that must be online, on any server, before this group starts: with the "
        "cluster, by command and after a failover. It keeps running when they stop later. If a "
        "move or a recovery would only wait for them, the group stays where it runs. clpgrp -f "
        "does not wait.",
    ),
    _group(
        name="start_after_same_server",
        parse=list_of(NAME),
        default=(),
        help="As start_after, but only for groups that are on the server on which it starts, or "
        "that start there.",
    ),
    _group(
        name="start_wait",
        parse=seconds(1, 86_400),
        default=1800,
        help="How long it waits for them before that is an error. clpgrp -s then ends with an "
        "error. The group still starts as soon as they are online.",
    ),
    _group(
        name="stop_after",
        parse=list_of(NAME),
        default=(),
        help="Groups that must have stopped before this group stops, in the cases that "
        "stop_after_at names. Moves, recoveries and a server without a majority do not wait. No "
        "stop waits for a group that runs on a server that is not heard, or that could not be "
        "stopped.",
    ),
    _group(
        name="stop_after_at",
        parse=list_of(choice(*StopKind)),
        default=("cluster",),
        help="When it waits for them: cluster (all servers stop), server (its own server stops; it "
        "waits for the groups on that server), group (clpgrp -t; -f does not wait).",
    ),
    _group(
        name="stop_wait",
        parse=seconds(1, 86_400),
        default=1800,
        help="How long it waits for them. Then it stops without them.",
    ),
    _group(
        name="exclusive_with",
        parse=list_of(NAME),
        default=(),
        help="Groups that must not run on the same server as this one. The rule holds in both "
        "directions.",
    ),
    _group(
        name="exclusive",
        parse=choice(*Exclusive),
        default="absolute",
        help="How strictly the groups are kept apart. absolute: they never share a server; if only "
        "one server is left, one of them waits. normal: they share a server only if no other "
        "server may run them.",
    ),
    _group(name="comment", parse=TEXT, default="", help="Shown by clpstat."),
)

_resource = partial(Field, section="group.resource")


RESOURCE = (
    _resource(name="name", parse=NAME, required=True, help="Name of the group resource."),
    _resource(name="type", parse=TEXT, required=True, help="Resource type."),
    _resource(
        name="timeout",
        parse=seconds(0.1, 86400),
        default=1800,
        help="How long its start may take, and its stop.",
    ),
    _resource(
        name="stop_timeout",
        parse=seconds(0.1, 86400),
        help="How long its stop may take, if that differs from timeout.",
    ),
    _resource(
        name="start_retries",
        parse=integer(0, 100),
        default=0,
        help="How often a failed start is tried again on the same server.",
    ),
    _resource(
        name="failover_on_failure",
        parse=integer(0, 100),
        default=1,
        help="How many other servers are tried after its start failed. After the last one the "
        "tries begin again, with pauses of 30 s, 60 s, up to 10 min.",
    ),
    _resource(
        name="final_action",
        parse=choice(*FinalAction),
        default="none",
        help="Action after its start failed on every server (once, not after each further try), or "
        "after its stop failed.",
    ),
    _resource(
        name="depends",
        parse=list_of(NAME),
        help="Resources of the group that start before it. Default: the resources of the types "
        "before its own, in the order fip, service, exec.",
    ),
    _resource(name="comment", parse=TEXT, default="", help="Shown by clpstat."),
)
"""`[[group.resource]]`, keys of every type."""


def sections(registries: Registries) -> Iterator[tuple[str, tuple[Field, ...]]]:
    """Every table with its keys, for the manual: heading in TOML, then the fields."""
    yield "[cluster]", CLUSTER
    yield "[[server]]", SERVER
    yield "[server.bmc]", BMC
    yield "[[interconnect]]", INTERCONNECT
    for name, fields in registries.links.items():
        if fields:
            yield f'[[interconnect]] type = "{name}"', fields
    yield "[[np]]", NP
    for name, fields in registries.arbiters.items():
        if fields:
            yield f'[[np]] type = "{name}"', fields
    yield "[forced_stop]", FORCED_STOP
    yield "[[fence]]", of_fences.FENCE
    yield "[[server_group]]", SERVER_GROUP
    yield "[[group]]", GROUP
    yield "[[group.resource]]", RESOURCE
    for name, fields in registries.resources.items():
        if fields:
            yield f'[[group.resource]] type = "{name}"', fields
    yield "[[monitor]]", of_monitors.MONITOR
    for name, fields in registries.monitors.items():
        both = (*of_monitors.MRW, *fields) if name == "mrw" else fields
        if both:
            yield f'[[monitor]] type = "{name}"', both
    for category, fields in registries.sources.items():
        yield f'[[monitor]] type = "mrw" category = "{category}"', fields
    yield "[[monitor.snmpv3_user]]", of_monitors.SNMP_USER
    yield "[monitor.recovery]", of_monitors.RECOVERY
    yield "[alert]", of_monitors.ALERT
    yield "[[trap_profile]]", of_traps.TRAP_PROFILE
    yield "[[trap_profile.trap]]", of_traps.TRAP
    yield "[trap_profile.trap.CONDITION]", of_traps.CONDITION
