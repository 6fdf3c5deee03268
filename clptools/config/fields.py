"""The tables of `clp.toml`: one `Field` a key.

The loader reads by them, and the manual and completion are made from them.  Defaults equal
those of `clptools.core.settings`; a test compares them.  Keys of one resource, monitor,
interconnect or NP type alone are in the `registry.py` of the room that carries it out; the
choice of actions depends on the host actions there are, hence the functions.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from clptools.config.field import Field
from clptools.config.kinds import (
    BOOLEAN,
    ENDPOINT,
    NAME,
    PATH,
    SCRIPT,
    TEXT,
    choice,
    integer,
    list_of,
    numbers,
    per_server,
    seconds,
    table_of,
    text,
)
from clptools.config.registries import Registries

MAX_CATEGORY_BYTES = 32
MAX_KEYWORD_BYTES = 1023

CLASSES = (
    "FATAL", "ERROR", "PREDICT", "PERFORMANCE", "REDUNDANCY", "INFO", "CLEAR", "UNKNOWN",
)  # fmt: skip
"""Classes of hardware events."""

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
        help="Silence after which a server counts as lost; its BMC is asked after two missed "
        "heartbeats already.",
    ),
    _cluster(
        name="lease",
        parse=seconds(0.1, 3600),
        default=3.0,
        help="How long an answered heartbeat binds the vote; a group's holder may run it twice "
        "as long without an answer.",
    ),
    _cluster(
        name="self_stop",
        parse=seconds(1, 3600),
        default=6.0,
        help="Time a server has to stop its groups once its lease is over; then its watchdog "
        "resets it.",
    ),
    _cluster(
        name="fence_delay",
        parse=seconds(0, 600),
        default=5.0,
        help="How long the server without the most important group waits before it forces the "
        "other one to stop.",
    ),
    _cluster(
        name="startup_wait",
        parse=seconds(1, 3600),
        default=300,
        help="How long a server that reads off counts as off, and a starting one waits for "
        "servers that it cannot hear.",
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
        help="Executable that gets every host action (action, server) in place of the host.",
    ),
    _cluster(
        name="journal_bytes",
        parse=integer(1 << 20, 1 << 40),
        default=268_435_456,
        help="Size to which the journal is bounded.",
    ),
    _cluster(
        name="hardware",
        parse=TEXT,
        help="Model of an original's hardware linkage; NX7700x cannot be used, no other is needed.",
    ),
)


def cluster(registries: Registries) -> tuple[Field, ...]:
    """`[cluster]`."""
    return (
        *CLUSTER,
        _cluster(
            name="partition_action",
            parse=choice(*registries.partition_actions),
            default="stop",
            help="What a server does beside stopping its groups when it is in the minority.",
        ),
    )


SERVER = (Field(section="server", name="name", parse=NAME, required=True, help="Host name."),)

BMC = (
    Field(
        section="server.bmc",
        name="address",
        parse=ENDPOINT,
        required=True,
        help="Address of the BMC, with the port if it is not 623.",
    ),
    Field(
        section="server.bmc",
        name="user",
        parse=text(max_bytes=16),
        default="",
        help="IPMI account; its password is in bmc/SERVER (clpbmccnf).",
    ),
)

INTERCONNECT = (
    Field(
        section="interconnect",
        name="name",
        parse=NAME,
        help="Name; by default the type and a number, as lankhb1.",
    ),
    Field(section="interconnect", name="type", parse=TEXT, required=True, help="Heartbeat type."),
    Field(
        section="interconnect",
        name="address",
        parse=per_server(ENDPOINT),
        help="Each server's own address on this path; bmchb: its BMC's, by default server.bmc.",
    ),
    Field(
        section="interconnect",
        name="interval",
        parse=seconds(0.02, 60),
        help="Time between two heartbeats here; by default the cluster's, 1.0 for bmchb.",
    ),
)

NP = (
    Field(section="np", name="name", parse=NAME, help="Name; by default as pingnp1."),
    Field(section="np", name="type", parse=TEXT, required=True, help="NP resolution type."),
    Field(
        section="np",
        name="interval",
        parse=seconds(0.1, 60),
        help="Time between two questions; by default a third of the lease, at most 1.0.",
    ),
    Field(
        section="np",
        name="timeout",
        parse=seconds(0.1, 60),
        help="How long an answer is waited for; by default a third of the lease, at most 1.0.",
    ),
)

FORCED_STOP = (
    Field(
        section="forced_stop",
        name="action",
        parse=choice("none", "power-off", "reset", "power-cycle", "nmi"),
        default="none",
        help="What is done by its BMC to a server that cannot be proven down otherwise.",
    ),
    Field(
        section="forced_stop",
        name="timeout",
        parse=seconds(1, 600),
        default=30,
        help="How long one try may take, until it is read back.",
    ),
    Field(
        section="forced_stop",
        name="retries",
        parse=integer(0, 10),
        default=2,
        help="Further tries; after the last the failover is held.",
    ),
)

SERVER_GROUP = (
    Field(section="server_group", name="name", parse=NAME, required=True, help="Name."),
    Field(
        section="server_group",
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
        help="Servers that may run it, best first; left out: all, or those of server_groups.",
    ),
    _group(
        name="startup",
        parse=choice("auto", "manual"),
        default="auto",
        help="Whether it starts with the cluster.",
    ),
    _group(
        name="failover",
        parse=choice("auto", "dynamic", "manual"),
        default="auto",
        help="Next server in order, the healthiest one, or none without an operator.",
    ),
    _group(
        name="failback",
        parse=choice("auto", "manual"),
        default="manual",
        help="Whether it moves back when a better server is there again.",
    ),
    _group(
        name="server_groups",
        parse=list_of(NAME, at_least=1),
        help="Server groups within which a failover stays first.",
    ),
    _group(name="comment", parse=TEXT, default="", help="Shown by clpstat."),
)

_resource = partial(Field, section="group.resource")


def resource(registries: Registries) -> tuple[Field, ...]:
    """`[[group.resource]]`, keys of every type."""
    return (
        _resource(name="name", parse=NAME, required=True, help="Name of the group resource."),
        _resource(name="type", parse=TEXT, required=True, help="Resource type."),
        _resource(
            name="timeout",
            parse=seconds(0.1, 86400),
            default=1800,
            help="How long its start may take, and its stop.",
        ),
        _resource(
            name="start_retries",
            parse=integer(0, 100),
            default=0,
            help="Further tries of a start that failed, on the same server.",
        ),
        _resource(
            name="failover_on_failure",
            parse=integer(0, 100),
            default=1,
            help="How many other servers are tried after its start failed.",
        ),
        _resource(
            name="final_action",
            parse=choice(*registries.final_actions),
            default="none",
            help="What is done when its start failed everywhere.",
        ),
        _resource(
            name="depends",
            parse=list_of(NAME),
            help="Resources of the group that start before it; by default those of the types "
            "before its own: fip, service, exec.",
        ),
        _resource(name="comment", parse=TEXT, default="", help="Shown by clpstat."),
    )


_monitor = partial(Field, section="monitor")

MONITOR = (
    _monitor(name="name", parse=NAME, help="Name; by default the type and a number."),
    _monitor(name="type", parse=TEXT, required=True, help="Monitor type."),
    _monitor(
        name="servers",
        parse=list_of(NAME, at_least=1),
        help="Servers on which it runs; left out: all.",
    ),
    _monitor(
        name="interval",
        parse=seconds(0.1, 86400),
        default=60,
        help="Time between two checks.",
    ),
    _monitor(
        name="timeout",
        parse=seconds(0.1, 86400),
        default=120,
        help="How long one check may take; longer is a failure.",
    ),
    _monitor(
        name="retries",
        parse=integer(0, 1000),
        default=0,
        help="Failed checks in a row that are not yet an error.",
    ),
    _monitor(
        name="start_wait",
        parse=seconds(0, 86400),
        default=0,
        help="How long the first check waits.",
    ),
    _monitor(
        name="timing",
        parse=choice("always", "active"),
        default="always",
        help="Whether it runs always, or only while its target is online on this server.",
    ),
    _monitor(
        name="target",
        parse=NAME,
        help="The group or group resource that timing = active follows.",
    ),
    _monitor(name="comment", parse=TEXT, default="", help="Shown by clpstat."),
)

_KEYWORD = text(max_bytes=MAX_KEYWORD_BYTES, what="keyword")

MRW = (
    _monitor(
        name="category",
        parse=text(min_bytes=1, max_bytes=MAX_CATEGORY_BYTES, what="category"),
        required=True,
        help="BMCNOTICE, NIC, FC, HA/SS, HA/AM, HA/RS, SPS, MCE, or your own; 1 to 32 bytes.",
    ),
    _monitor(
        name="keyword",
        parse=_KEYWORD,
        help="The device that is meant, any if left out; BMCNOTICE: the address[:port] of this "
        "system to which the BMC sends its traps.",
    ),
    _monitor(
        name="keyword_on",
        parse=per_server(_KEYWORD),
        help="Keywords of single servers, in place of keyword.",
    ),
    _monitor(
        name="stall_on_predictive_failure",
        parse=BOOLEAN,
        default=False,
        help="Set monitor status to Stall because of BMC detected predict failure.",
    ),
    _monitor(
        name="stall_on_performance_down",
        parse=BOOLEAN,
        default=False,
        help="Set monitor status to Stall because of BMC detected performance down.",
    ),
    _monitor(
        name="recover_on",
        parse=list_of(choice(*CLASSES[:5])),
        default=("FATAL",),
        help="Classes of hardware events that open an Error and are recovered from.",
    ),
    _monitor(
        name="community",
        parse=list_of(text(min_bytes=1, max_bytes=255)),
        help="SNMP v1 and v2c communities whose traps are taken: public by default, none where "
        "there are SNMPv3 users.",
    ),
)
"""Keys of message receive monitors alone."""

SNMP_USER = (
    Field(
        section="monitor.snmpv3_user",
        name="user",
        parse=NAME,
        required=True,
        help="USM user name; the keys are in snmp/USER.",
    ),
    Field(
        section="monitor.snmpv3_user",
        name="auth_protocol",
        parse=choice("md5", "sha", "sha224", "sha256", "sha384", "sha512"),
        default="sha256",
        help="Authentication protocol.",
    ),
    Field(
        section="monitor.snmpv3_user",
        name="priv_protocol",
        parse=choice("aes", "aes192", "aes256", "des", "none"),
        default="aes",
        help="Privacy protocol.",
    ),
)

_recovery = partial(Field, section="monitor.recovery")


def recovery(registries: Registries) -> tuple[Field, ...]:
    """`[monitor.recovery]`."""
    return (
        _recovery(
            name="action",
            parse=choice("script", "restart", "failover", "final"),
            default="final",
            help="The step with which recovery begins.",
        ),
        _recovery(
            name="target",
            parse=TEXT,
            default="",
            help='A group, a group resource, or "All Groups".',
        ),
        _recovery(
            name="script",
            parse=SCRIPT,
            default="",
            help="The script of action = script, under scripts/monitor/MONITOR/.",
        ),
        _recovery(
            name="restart_count",
            parse=integer(0, 1000),
            default=3,
            help="Restarts of the target within the window.",
        ),
        _recovery(
            name="failover_count",
            parse=integer(0, 1000),
            default=1,
            help="Failovers of the target within the window.",
        ),
        _recovery(
            name="window",
            parse=seconds(1),
            default=86400,
            help="Restarts and failovers are counted within this long.",
        ),
        _recovery(
            name="final_action",
            parse=choice(*registries.final_actions),
            default="none",
            help="What is done when restarts and failovers are used up.",
        ),
        _recovery(
            name="migrate_before_failover",
            parse=BOOLEAN,
            default=False,
            help="Migrate resources that can be, before the failover.",
        ),
        _recovery(
            name="failover_outside_server_group",
            parse=BOOLEAN,
            default=False,
            help="Fail over to a server outside the present server group; mrw only.",
        ),
        _recovery(
            name="pre_action_script",
            parse=SCRIPT,
            default="",
            help="Runs before each recovery step; not for driver categories (NIC, FC, HA/*, SPS).",
        ),
        _recovery(
            name="after_recovery",
            parse=choice("none", "reset", "power-off", "power-cycle", "nmi"),
            default="none",
            help="What the BMC was going to do, done after the recovery.",
        ),
        _recovery(
            name="after_recovery_deadline",
            parse=seconds(5, 6553),
            default=300,
            help="When the BMC does it by itself, if this system hangs during the recovery.",
        ),
    )


_alert = partial(Field, section="alert")

ALERT = (
    _alert(
        name="level",
        parse=choice("INFO", "WARN", "ERROR"),
        default="ERROR",
        help="The least level that is passed on.",
    ),
    _alert(name="mail_to", parse=list_of(text(min_bytes=3)), help="Mail addresses."),
    _alert(name="mail_from", parse=TEXT, default="clptools", help="Sender of the mails."),
    _alert(name="smtp", parse=ENDPOINT, default="127.0.0.1:25", help="The mail relay."),
    _alert(name="snmp_to", parse=list_of(ENDPOINT), help="SNMP trap receivers, port 162."),
    _alert(
        name="snmp_community",
        parse=text(min_bytes=1, max_bytes=255),
        default="public",
        help="Community of the traps sent (v2c).",
    ),
    _alert(name="script", parse=PATH, help="Executable that is run for each alert."),
)

TRAP_PROFILE = (
    Field(section="trap_profile", name="name", parse=NAME, required=True, help="Name."),
    Field(
        section="trap_profile",
        name="manufacturer",
        parse=numbers(1, 2**32 - 1),
        help="IANA numbers of the makers it is for; left out: every BMC.",
    ),
    Field(
        section="trap_profile",
        name="rows",
        parse=table_of("row", choice(*CLASSES, "off")),
        help='Rows of the class table, as "0Dh/6F/2", and the class each gets, or off.',
    ),
    Field(
        section="trap_profile",
        name="meanings",
        parse=table_of("row", TEXT),
        help="Rows of the class table, and the text for the operator.",
    ),
)


def sections(registries: Registries) -> Iterator[tuple[str, tuple[Field, ...]]]:
    """Every table with its keys, for the manual: heading in TOML, then the fields."""
    yield "[cluster]", cluster(registries)
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
    yield "[[server_group]]", SERVER_GROUP
    yield "[[group]]", GROUP
    yield "[[group.resource]]", resource(registries)
    for name, fields in registries.resources.items():
        if fields:
            yield f'[[group.resource]] type = "{name}"', fields
    yield "[[monitor]]", MONITOR
    for name, fields in registries.monitors.items():
        both = (*MRW, *fields) if name == "mrw" else fields
        if both:
            yield f'[[monitor]] type = "{name}"', both
    yield "[[monitor.snmpv3_user]]", SNMP_USER
    yield "[monitor.recovery]", recovery(registries)
    yield "[alert]", ALERT
    yield "[[trap_profile]]", TRAP_PROFILE
