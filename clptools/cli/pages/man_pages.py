"""Manual pages in roff (man(7)): of commands from their data, clp.toml(5) from its fields."""

from __future__ import annotations

from collections.abc import Iterator

from clptools.cli.command import Command, Option
from clptools.config.field import Field
from clptools.config.fields import sections
from clptools.config.variants import Registries

EXIT_CODES = (
    ("0", "done, or nothing to do"),
    ("1", "failed; the line on standard error says why"),
    ("2", "wrong usage"),
    ("3", "no node agent, or the cluster is stopped"),
    ("4", "not permitted"),
    ("5", "no such server, group, resource or monitor"),
    ("6", "refused in the present state; the line says what would allow it"),
    ("7", "timed out; the line says whether the work goes on, or which process does not answer"),
    ("8", "the configuration is invalid"),
    ("9", "done, and something was found: a difference, a violation, a warning"),
)
ENVIRONMENT = (
    ("CLP_ROOT", "Prefixes every path: several nodes on one machine."),
    ("CLP_SERVER", "The node's name; by default the host name."),
    ("CLP_DEBUG", "With 1, a bug shows its traceback."),
)
FILES = (
    ("/etc/clptools/clp.toml", "the configuration"),
    ("/etc/clptools/authkey", "the secret that all servers share"),
    ("/run/clptools/clpnode.sock", "where the node agent answers (varlink)"),
)


def page(command: Command, every: tuple[Command, ...]) -> str:
    """The page of a command; `every`: the commands it may refer to."""
    name = command.name
    lines = [
        r".\" Made by python -m clptools.cli.generate; do not edit.",
        f'.TH {name.upper()} 8 "" clptools clptools',
        ".SH NAME",
        f"{text(name)} \\- {text(command.summary)}",
        ".SH SYNOPSIS",
    ]
    for form in command.synopsis:
        lines += [".br", f".B {name}", text(form)] if form else [".br", f".B {name}"]
    lines.append(".SH DESCRIPTION")
    for paragraph in command.description:
        lines += [".PP", text(paragraph)]
    lines.append(".SH OPTIONS")
    for argument in command.arguments:
        lines += [".TP", rf"\fI{text(argument.name)}\fR", text(argument.help)]
    for option in command.options:
        lines += [".TP", _flags(option), text(option.help)]
    lines += [".TP", r"\fB\-\-help\fR", "Show a summary and exit."]
    lines += [".TP", r"\fB\-\-version\fR", "Show the version and exit."]
    lines.append(".SH EXIT STATUS")
    lines += _terms(command.exit_codes or EXIT_CODES)
    lines.append(".SH ENVIRONMENT")
    lines += _terms(ENVIRONMENT)
    lines.append(".SH FILES")
    lines += _terms(FILES)
    if command.examples:
        lines.append(".SH EXAMPLES")
        for line, said in command.examples:
            lines += [".TP", rf"\fB{text(line)}\fR", text(said)]
    others = sorted({other.name for other in every} - {name})
    lines.append(".SH SEE ALSO")
    lines += [f".BR {other} (8)," for other in others[:-1]] + [f".BR {others[-1]} (8)"]
    return "\n".join(lines) + "\n"


def _flags(option: Option) -> str:
    value = rf" \fI{text(option.metavar)}\fR" if option.metavar else ""
    return ", ".join(rf"\fB{text(flag)}\fR" for flag in option.flags) + value


def _terms(terms: tuple[tuple[str, str], ...]) -> list[str]:
    return [line for term, said in terms for line in (".TP", rf"\fB{text(term)}\fR", text(said))]


def text(words: str) -> str:
    """Text that roff leaves as it is: no escapes, real minus signs, no request at its head."""
    safe = words.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq")
    return rf"\&{safe}" if safe.startswith(".") else safe


# ---------------------------------------------------------------------- clp.toml(5)


_DESCRIPTION = (
    (
        "This file configures a cluster. It is the same on every server. It is TOML: text is "
        "quoted, a table begins with [name], and one of several tables of a kind begins with "
        "[[name]]. Durations are in seconds."
    ),
    (
        "Unknown keys, wrong types and values that do not fit together are refused. clpcfchk shows "
        "all of them at once, each with its line and its remedy. A changed file takes effect by "
        "clpcfctrl --push, once every server has accepted it."
    ),
    (
        "The file never contains secrets. The shared secret is in authkey (clpcfctrl --keygen), "
        "passwords of BMCs are in bmc/SERVER (clpbmccnf), pass phrases of SNMPv3 users in "
        "snmp/USER (clpbmccnf --snmp), all below /etc/clptools, mode 0400, on every server."
    ),
    (
        "snmp/USER has the lines auth=PASS PHRASE and priv=PASS PHRASE, in any order, each phrase "
        'of at least 8 characters; priv may be left out with priv_protocol = "none". A single line '
        "without auth= is the phrase for both. Lines that begin with # are comments."
    ),
)
_SCRIPTS = (
    "Scripts run as root with a clean environment and these variables. Start, stop and migration "
    "scripts of a resource have:"
)
_VARIABLES = (
    (
        "CLP_EVENT",
        (
            "START (by an operator or with the cluster) or FAILOVER (taken over from another "
            "server). A restart on the same server, a stop and a migration have the value of the "
            "start before them. RECOVER, which the original gives to a start script on a server "
            "that comes back, does not occur: such a server starts a group only when it is "
            "granted, with one of these two values."
        ),
    ),
    (
        "CLP_FACTOR",
        (
            "Why it is stopped: GROUPSTOP, GROUPMOVE, GROUPFAILOVER, GROUPRESTART, "
            "RESOURCERESTART, SERVERSTOP or CLUSTERSTOP; empty at a start."
        ),
    ),
    ("CLP_SERVER", "HOME on the first server of the group's list, OTHER elsewhere."),
    ("CLP_PRIORITY", "This server's place in that list, from 1."),
    ("CLP_SERVER_PREV", "Where the group ran before; may be empty."),
    ("CLP_GROUPNAME, CLP_RESOURCENAME", "The group and the resource of the script."),
    ("CLP_DISK", "SUCCESS: there is no disk resource that could have failed."),
    ("CLP_PATH, CLP_VERSION_FULL, CLP_VERSION_MAJOR, CLP_OSNAME, CLP_OSVER", "The same for all."),
)
_AGENTS = (
    (
        "A resource agent of the OCF standard runs a group resource of type ocf. The agent must be "
        "installed on every server (/usr/lib/ocf/resource.d/PROVIDER/TYPE; Debian's package "
        "resource-agents). Only root may be able to change the file. The agent's meta-data say "
        "which parameters it takes: clpcfchk compares the parameters with them, and clpcfset add "
        "resource GROUP ocf NAME agent=AGENT names the required ones."
    ),
    (
        "If a start fails with status 2 to 5, it fails on that server until the cause is corrected "
        "there. With status 6 it fails on every server. With any other status it may succeed "
        "elsewhere. If a stop ends with anything but 0, the group stays held, because the resource "
        "may be active. If the software of an agent is not installed, and the agent started "
        "nothing since the boot, nothing is stopped."
    ),
    (
        "Agents that call crm_attribute, crm_master, attrd_updater or crm_node get stand-ins. An "
        "agent can read what it set there on the same server until its next boot; nothing else "
        "uses these values. Agents that cannot work without Pacemaker are refused, with the "
        'reason. Only role = "promoted" promotes a resource. migrate_to is not used, because it '
        "makes a resource active on a server to which the group was not granted."
    ),
)

_REDFISH = (
    (
        'A BMC with protocol = "redfish" is asked over one HTTPS connection that stays open. The '
        "account needs to log in and to control power (Login and ConfigureComponents; Operator). "
        "The password is sent only to the pinned certificate, or to one that the CA signed. A "
        "system is off when the system says Off, and the chassis that holds only this system says "
        "Off. PoweringOff and all other words mean unknown."
    ),
    (
        "The BMC's timer, for userw method ipmi and for after_recovery, is reached by /dev/ipmi0, "
        "which still works if IPMI over LAN is switched off. Without that device, after_recovery "
        "is done after the recovery, but the timer is not armed before it. Heartbeats are not "
        "written into such a BMC: a bmchb interconnect shows only its power."
    ),
    (
        "If a message receive monitor of BMCNOTICE has a keyword for the server, hardware events "
        "of the server's own BMC come by Redfish, in addition to traps. They come by a stream of "
        "the service. Without a stream, the service pushes them to the keyword address (HTTPS, the "
        "same port by TCP, a secret path; the BMC must reach it). The service's log is also read "
        "every 10 seconds and fills the gaps of both. An event is handled once, even if it comes "
        "in several ways. The row redfish REGISTRY.MESSAGE gives its class, for example redfish "
        "Power.PowerSupplyFailed. If there is no row, Critical is ERROR, OK ends what the same "
        "message began, and the message is reported once an hour. clpstat --hw counts what became "
        "of all events."
    ),
)
_OTHER_SCRIPTS = (
    "Recovery scripts and scripts before a recovery have CLP_MONITORNAME, CLP_CATEGORY, "
    "CLP_KEYWORD and CLP_MESSAGE. Scripts of clprexec have CLP_EVENT=TRNREQ, and the requester in "
    "CLP_FACTOR. The script of [alert] has CLP_EVENT=ALERT, CLP_SERVER, CLP_LEVEL, CLP_MODULE, "
    "CLP_EVENT_ID, CLP_TIME and CLP_MESSAGE."
)
_TRAPS = (
    "Profiles decode BMC traps that are not PETs. The package has profiles for Dell iDRAC, HPE iLO "
    "(also NEC's models with iLO), Lenovo XCC and IMM, Fujitsu iRMC, Huawei and xFusion iBMC, and "
    "Cisco CIMC. Your own profiles take precedence. A trap that no row knows is recorded in the "
    "alert log, once an hour for each name, with the row that would give it a class; clptrap "
    "decode says the same. In a profile, tables with the same name are about one kind of fault, "
    "and the variables of instance distinguish the parts. A CLEAR ends every open fault with the "
    "same name and part, and the faults that closes names. In this example each named table opens "
    "and ends its own fault, and the last table gives all other traps of the vendor a class:"
)
TRAP_SAMPLE = """\
[[trap_profile]]
name = "site"
enterprise = "1.3.6.1.4.1.49871.5"
text = "1.9"
test = { variable = "1.7", value = 1 }

[[trap_profile.trap]]
name = "supply"
match = { "0.10" = "ERROR", "0.11" = "PREDICT", "0.12" = "CLEAR" }
instance = ["1.2", "1.3"]
meaning = "power supply {1} of chassis {0}"

[[trap_profile.trap]]
name = "drive"
match = ["0.20"]
variable = "1.5"
classes = { 2 = "CLEAR", "3..5" = "PREDICT", 6 = "ERROR" }
instance = ["1.4"]
meaning = "drive {0}"

[[trap_profile.trap]]
match = ["0.*"]
class = "INFO"
"""
SAMPLE = """\
[cluster]
name = "cluster"

[[server]]
name = "server1"
[server.bmc]
address = "192.168.0.11"
user = "clp"

[[server]]
name = "server2"
[server.bmc]
address = "192.168.0.12"
user = "clp"

[[interconnect]]
type = "lanhb"
address = { server1 = "192.168.0.1", server2 = "192.168.0.2" }

[[group]]
name = "failover1"

[[group.resource]]
type = "fip"
name = "fip1"
address = "192.168.0.100/24"

[[monitor]]
type = "mrw"
name = "mrw1"
category = "BMCNOTICE"
keyword_on = { server1 = "192.168.0.1", server2 = "192.168.0.2" }
[monitor.recovery]
action = "failover"
target = "failover1"
"""


def config_page(registries: Registries) -> str:
    """The page, for every type that there is."""
    lines = [
        r".\" Made by python -m clptools.cli.generate; do not edit.",
        '.TH CLP.TOML 5 "" clptools clptools',
        ".SH NAME",
        r"clp.toml \- configuration of a clptools cluster",
        ".SH SYNOPSIS",
        ".B /etc/clptools/clp.toml",
        ".SH DESCRIPTION",
    ]
    for paragraph in _DESCRIPTION:
        lines += [".PP", text(paragraph)]
    lines.append(".SH TABLES")
    for heading, fields in sections(registries):
        lines += [f".SS {text(heading)}", *_keys(fields)]
    lines.append(".SH RESOURCE AGENTS")
    for paragraph in _AGENTS:
        lines += [".PP", text(paragraph)]
    lines.append(".SH REDFISH")
    for paragraph in _REDFISH:
        lines += [".PP", text(paragraph)]
    lines += [".SH TRAPS", text(_TRAPS), ".PP", ".nf"]
    lines += [*map(text, TRAP_SAMPLE.splitlines()), ".fi"]
    lines += [".SH SCRIPTS", text(_SCRIPTS)]
    for names, meaning in _VARIABLES:
        lines += [".TP", rf"\fB{text(names)}\fR", text(meaning)]
    lines += [".PP", text(_OTHER_SCRIPTS)]
    lines += [".SH EXAMPLES", ".nf", *map(text, SAMPLE.splitlines()), ".fi"]
    lines += [".SH SEE ALSO", ".BR clpcfchk (8),", ".BR clpcfctrl (8),", ".BR clpbmccnf (8)"]
    return "\n".join(lines) + "\n"


def _keys(fields: tuple[Field, ...]) -> Iterator[str]:
    for field in fields:
        yield ".TP"
        yield rf"\fB{text(field.name)}\fR ({text(', '.join(_about(field)))})"
        yield text(field.help)


def _about(field: Field) -> Iterator[str]:
    yield field.parse.name
    if field.required:
        yield "required"
    elif field.default not in (None, "", (), [], {}):
        yield f"default {_toml(field.default)}"


def _toml(value: object) -> str:
    """A default as it would be written in the file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    return str(value)
