"""OCF resource agents as they are installed: names, files, environment and exit statuses.

Source: OCF Resource Agent API 1.1 (ClusterLabs/OCF-spec, `ra/1.1/resource-agent-api.md`).  What it
leaves open is done as Pacemaker does it, because agents are written for that.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, TypeVar

import msgspec

from clptools import paths
from clptools.common.secret_names import shown
from clptools.faults import ClpError, ExitCode

if TYPE_CHECKING:
    from clptools.common.agent_metadata import Metadata

T = TypeVar("T")

OCF_ROOT = "/usr/lib/ocf"
_AGENTS = f"{OCF_ROOT}/resource.d"
_STATE = "/run/resource-agents"
"""Where agents keep their own state (`HA_RSCTMP`); resource-agents' tmpfiles.d makes it 1755."""
_STATE_MODE = 0o1755
REASON_PREFIX = "ocf-exit-reason:"
"""Begins a line of the standard error that says why an action failed."""
FEATURE_SET = "3.16.2"
"""Of Pacemaker 2.1.5: agents then set promotion scores by `crm_attribute`."""


class Agent(msgspec.Struct, frozen=True):
    """An agent by name."""

    provider: str
    type: str

    def __str__(self) -> str:
        return f"ocf:{self.provider}:{self.type}"


_NAME = re.compile(r"ocf:([A-Za-z0-9_][A-Za-z0-9_.-]*):([A-Za-z0-9_][A-Za-z0-9_.-]*)", re.ASCII)


def named(name: str) -> Agent:
    """The agent `ocf:PROVIDER:TYPE`.  Raises ValueError."""
    found = _NAME.fullmatch(name)
    if found is None or len(name) > 200:
        raise ValueError('must be written as "ocf:PROVIDER:TYPE", as "ocf:heartbeat:Filesystem"')
    return Agent(found[1], found[2])


# ---------------------------------------------------------------------------------- files


def _folders() -> tuple[str, ...]:
    """Where agents are looked for; a node below `CLP_ROOT` may have some of its own."""
    return tuple(dict.fromkeys((paths.root() + _AGENTS, _AGENTS)))


def path_of(agent: Agent) -> str:
    """Its file, whether or not it is there."""
    candidates = [os.path.join(one, agent.provider, agent.type) for one in _folders()]
    return next((path for path in candidates if os.path.lexists(path)), candidates[-1])


def installed() -> tuple[str, ...]:
    """The names of all agents on this machine."""
    found: set[str] = set()
    for folder in _folders():
        with contextlib.suppress(OSError):
            for provider in os.scandir(folder):
                with contextlib.suppress(OSError):
                    for one in os.scandir(provider.path):
                        name = f"ocf:{provider.name}:{one.name}"
                        if one.is_file() and os.access(one.path, os.X_OK) and _NAME.fullmatch(name):
                            found.add(name)
    return tuple(sorted(found))


def checked(agent: Agent) -> str:
    """The file of an agent that is there.

    Raises:
        ClpError: NO_SUCH with the nearest name, or the package that has it.
    """
    path = path_of(agent)
    if os.path.lexists(path):
        return path
    import difflib

    names = installed()
    near = difflib.get_close_matches(str(agent), names, 1, 0.8)
    hint = f"Those that are: ls {_AGENTS}/*"
    if near:
        hint = f"Did you mean {near[0]}?"
    elif agent.provider in _PACKAGES and not any(f":{agent.provider}:" in one for one in names):
        hint = f"apt-get install {_PACKAGES[agent.provider]}"
    raise ClpError(ExitCode.NO_SUCH, f"{agent} is not installed here ({path})", hint)


_PACKAGES = {
    "heartbeat": "resource-agents",
    "pacemaker": "pacemaker-resource-agents",
    "linbit": "drbd-utils",
}
"""Provider -> the package of Debian that has its agents."""


def metadata(agent: Agent) -> Metadata:
    """What an installed agent says of itself; it may block.  Raises ClpError."""
    # Whoever only reads a configuration runs no agent.
    from clptools.common.agent_files import metadata_of

    return metadata_of(checked(agent), ("meta-data",), {"OCF_ROOT": OCF_ROOT})


def state_folder() -> str:
    """`HA_RSCTMP`; a node below `CLP_ROOT` has its own."""
    return paths.root() + _STATE


def make_state_folder() -> None:
    """Make it where tmpfiles.d did not.  Raises OSError."""
    folder = state_folder()
    if not os.path.isdir(folder):
        os.makedirs(folder, 0o755, exist_ok=True)
        os.chmod(folder, _STATE_MODE)


# ---------------------------------------------------------------------------------- calling


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """One call of an agent."""

    agent: Agent
    instance: str
    """The resource's name: agents make file names of it."""
    action: str
    parameters: Mapping[str, str]
    timeout_ms: int
    interval_ms: int = 0
    """Of a recurring monitor; 0: of a probe, and of every other action."""
    depth: int = 0
    """`OCF_CHECK_LEVEL` of a monitor."""
    server: str
    promoted: bool = False
    """It is to be promoted on one server, and may run unpromoted on others."""
    tools: str
    """Folder of the stand-ins for Pacemaker's commands; empty: there are none."""


def environment(call: Call) -> dict[str, str]:
    """Everything that an agent gets by its environment, apart from what every script gets."""
    from clptools.common.agent_files import PATH

    return {
        **{f"OCF_RESKEY_{name}": value for name, value in call.parameters.items()},
        "PATH": f"{call.tools}:{PATH}" if call.tools else PATH,
        "LC_ALL": "C",
        "OCF_ROOT": OCF_ROOT,
        "OCF_RA_VERSION_MAJOR": "1",
        "OCF_RA_VERSION_MINOR": "1",
        "OCF_RESOURCE_INSTANCE": call.instance,
        "OCF_RESOURCE_PROVIDER": call.agent.provider,
        "OCF_RESOURCE_TYPE": call.agent.type,
        "OCF_EXIT_REASON_PREFIX": REASON_PREFIX,
        # Not set, it counts as 0, a probe, which hides failures.
        "OCF_RESKEY_CRM_meta_interval": str(call.interval_ms),
        "OCF_RESKEY_CRM_meta_timeout": str(call.timeout_ms),
        "OCF_RESKEY_CRM_meta_name": call.action,
        "OCF_RESKEY_CRM_meta_on_node": call.server,
        "OCF_RESKEY_crm_feature_set": FEATURE_SET,
        "HA_RSCTMP": state_folder(),
        # To the standard error, and so into our log.
        "HA_LOGFACILITY": "none",
        "HA_debug": "0",
        **({"HA_SBIN_DIR": call.tools} if call.tools else {}),
        **({"OCF_CHECK_LEVEL": str(call.depth)} if call.action == "monitor" else {}),
        **(_PROMOTED if call.promoted else {}),
    }


_PROMOTED = {
    f"OCF_RESKEY_CRM_meta_{name}": value
    for name, value in {
        "promotable": "true",
        **dict.fromkeys(("promoted_max", "master_max"), "1"),
        **dict.fromkeys(("promoted_node_max", "master_node_max", "clone_node_max"), "1"),
        "clone_max": "2",
        "notify": "true",
    }.items()
}
"""What Pacemaker tells an agent of a promotable clone; `ocf:linbit:drbd` refuses to start without.

Two copies: more than one mirror the agent of DRBD 8.4 does not take.
"""


OWN_NAMES = re.compile(r"(?i)CRM_meta_|crm_feature_set$|OCF_|HA_")
"""Beginnings of parameters that are the cluster manager's, and not the configuration's."""


def on_server(
    parameters: Mapping[str, str], parameters_on: Mapping[str, str], server: str
) -> dict[str, str]:
    """What the agent is given on that server; the keys of `parameters_on` are `SERVER/NAME`."""
    return dict(parameters) | {
        key.partition("/")[2]: value
        for key, value in parameters_on.items()
        if key.partition("/")[0] == server
    }


def without_secrets(options: Mapping[str, T]) -> dict[str, T | dict[str, str]]:
    """A resource's options, with every secret among its parameters blanked."""
    blanked = {
        key: {
            # Those of single servers go by `SERVER/NAME`.
            name: shown(name.rpartition("/")[2], value)
            for name, value in found.items()
        }
        for key in ("parameters", "parameters_on")
        if isinstance(found := options.get(key), dict)
    }
    return {**options, **blanked}


def parameters_shown(options: Mapping[str, object]) -> dict[str, str]:
    """Every parameter of a resource's options with its value, unless nobody should see that."""
    common, on, files = (
        found if isinstance(found := options.get(key), dict) else {}
        for key in ("parameters", "parameters_on", "parameters_from")
    )
    of_each = {
        f"{name} ({server})": shown(name, value)
        for server, _, name, value in ((*key.partition("/"), value) for key, value in on.items())
    }
    of_all = {name: shown(name, value) for name, value in common.items()}
    return of_all | of_each | {name: f"(in {path})" for name, path in files.items()}


def last_reason(lines: Iterable[str]) -> str:
    """Why it failed, as the agent itself says; empty: it does not."""
    found = [one.partition(REASON_PREFIX)[2].strip() for one in lines if REASON_PREFIX in one]
    return next((reason for reason in reversed(found) if reason), "")


class Status(IntEnum):
    """Exit statuses of agents."""

    SUCCESS = 0
    GENERIC = 1
    ARGUMENTS = 2
    UNIMPLEMENTED = 3
    PERMISSION = 4
    NOT_INSTALLED = 5
    NOT_CONFIGURED = 6
    NOT_RUNNING = 7
    PROMOTED = 8
    FAILED_PROMOTED = 9
    DEGRADED = 190
    DEGRADED_PROMOTED = 191


ACTIVE = frozenset(
    {Status.SUCCESS, Status.PROMOTED, Status.DEGRADED, Status.DEGRADED_PROMOTED}
)  # fmt: skip
"""Of a monitor: it runs here."""


_MEANINGS = {
    Status.SUCCESS: "it runs",
    Status.GENERIC: "a general error",
    Status.ARGUMENTS: "wrong arguments",
    Status.UNIMPLEMENTED: "the action is not implemented",
    Status.PERMISSION: "insufficient permissions",
    Status.NOT_INSTALLED: "software that it needs is not installed",
    Status.NOT_CONFIGURED: "wrong configuration",
    Status.NOT_RUNNING: "it does not run",
    Status.PROMOTED: "it runs, promoted",
    Status.FAILED_PROMOTED: "it has failed, promoted",
    Status.DEGRADED: "it runs, but degraded",
    Status.DEGRADED_PROMOTED: "it runs promoted, but degraded",
}


def meaning(status: int) -> str:
    """`5 (software that it needs is not installed)`."""
    words = _MEANINGS[Status(status)] if status in list(Status) else "of no meaning in OCF"
    return f"{status} ({words})"


# ---------------------------------------------------------------------------------- refused

_ATTRIBUTES = (
    "all it does is set node attributes, for rules of Pacemaker that place groups",
    "Watch it by a monitor: ipw, miiw, diskw, or a script of genw.",
)
_REPLICATED = (
    "it runs promoted on one server and as its replica on others, at the same time",
    "Let one server run the database on shared or mirrored storage (mysql, pgsql).",
)
_PACEMAKER = ("it needs a running Pacemaker", "Leave it out.")
_RESERVING = (
    "it keeps its keys for all servers in Pacemaker's node ids and attributes",
    "Let a forced stop (BMC or fence agent) prove that the other server is off.",
)
REFUSED: dict[str, tuple[str, str]] = {
    **dict.fromkeys(
        (
            "HealthCPU", "HealthIOWait", "HealthSMART", "NodeUtilization", "SysInfo", "attribute",
            "ethmonitor", "ifspeed", "lxd-info", "machine-info", "openstack-info", "ovsmonitor",
            "ping", "pingd", "storage-mon",
        ),
        _ATTRIBUTES,
    ),
    **dict.fromkeys(("galera", "mariadb", "rabbitmq-cluster", "rabbitmq-server-ha", "redis"),
                    _REPLICATED),
    **dict.fromkeys(
        ("ClusterMon", "azure-events", "azure-events-az", "controld", "o2cb", "remote", "clvm",
         "CTDB", "lvmlockd", "EvmsSCC", "Evmsd"),
        _PACEMAKER,
    ),
    **dict.fromkeys(("mpathpersist", "sg_persist"), _RESERVING),
    "conntrackd": _REPLICATED,
    "drbd": (
        "it is promoted on one server while the other one has it, too",
        'Write role = "promoted".',
    ),
}  # fmt: skip
"""Type of agent -> why it cannot work here, and what to do instead."""

_NEEDS_PEERS = {"pgsql": ("rep_mode", ("", "none"))}
"""Type -> the parameter that makes it replicate, and its values that do not."""


PROMOTED_ONLY = frozenset({"drbd"})
"""Types of those that can work here with `role = "promoted"`."""


def refusal(
    agent: Agent, parameters: Mapping[str, str], *, promoted: bool = False
) -> tuple[str, str] | None:
    """Why an agent cannot work here, and the mend; None: it can."""
    found = REFUSED.get(agent.type)
    if found is not None and not (promoted and agent.type in PROMOTED_ONLY):
        return found
    name, plain = _NEEDS_PEERS.get(agent.type, ("", ("",)))
    if parameters.get(name, "") not in plain:
        return f"with {name} {_REPLICATED[0]}", f"Leave {name} out. {_REPLICATED[1]}"
    return None


# ---------------------------------------------------------------------------------- order

SERVICE = 50
"""The place of a service in the order of a group; what it needs comes earlier."""
ADDRESS = 40
_PLACES = {
    **dict.fromkeys(("iscsi", "AoEtarget", "gcp-pd-move", "openstack-cinder-volume", "Raid1",
                     "mdraid", "ManageRAID", "ServeRAID", "LinuxSCSI", "ids"), 10),
    "drbd": 11,
    **dict.fromkeys(("LVM", "LVM-activate", "vdo-vol"), 12),
    "crypt": 14,
    "sfex": 16,
    **dict.fromkeys(("Filesystem", "ZFS"), 20),
    "symlink": 22,
    **dict.fromkeys(("iface-bridge", "iface-macvlan", "iface-vlan"), 30),
    **dict.fromkeys(
        ("IPaddr", "IPaddr2", "IPv6addr", "VIPArip", "aliyun-vpc-move-ip", "aws-vpc-move-ip",
         "awseip", "awsvip", "gcp-vpc-move-ip", "gcp-vpc-move-route", "gcp-vpc-move-vip", "ocivip",
         "openstack-floating-ip", "openstack-virtual-ip"),
        ADDRESS,
    ),
    **dict.fromkeys(
        ("IPsrcaddr", "Route", "SendArp", "aws-vpc-route53", "dnsupdate", "azure-lb", "gcp-ilb"),
        ADDRESS + 2,
    ),
    **dict.fromkeys(("MailTo", "WinPopup", "AudibleAlarm", "nfsnotify"), SERVICE + 5),
}  # fmt: skip
"""Type of agent -> its place: devices, volumes, file systems, addresses, services."""


def place(agent: str) -> int:
    """Where an agent stands in a group by default; lower starts earlier."""
    return _PLACES.get(agent.rpartition(":")[2], SERVICE)
