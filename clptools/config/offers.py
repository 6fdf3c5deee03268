"""What does the work of the original's types that are none here: agents, and scripts of `genw`.

One table for the import of a `clp.conf` and for `clpcfset` in the original's words: both offer the
text of a `[[group.resource]]` or a `[[monitor]]`, with every value of the file in it.  Tag paths
are from public samples and pages; those of `nas`, `vip` and `gcvip`/`ocvip` are not public, so the
tags of their like stand here, and what a file has beside them is named as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from clptools.config.clpconf import Node


class Agent(msgspec.Struct, frozen=True, kw_only=True):
    """An agent, and which parameter of the original is which one of its own."""

    name: str
    parameters: Mapping[str, str] = {}
    """The agent's parameter -> tag path in the object."""
    keys: Mapping[str, str] = {}
    """Key of the resource, a number of seconds -> tag path."""
    needs: tuple[str, ...] = ()
    """Parameters without which the agent does not work; where a file lacks one, it is named."""
    notes: tuple[str, ...] = ()
    """What else is to be known, one line each."""


_MOUNT = {
    "device": "parameters/device", "directory": "parameters/mount/point",
    "fstype": "parameters/fs", "options": "parameters/mount/option",
}  # fmt: skip
_MOUNT_TIMES = {"timeout": "parameters/mount/timeout", "stop_timeout": "parameters/umount/timeout"}
_MOUNTED = ("device", "directory", "fstype")
_FILESYSTEM = Agent(
    name="ocf:heartbeat:Filesystem", parameters=_MOUNT, keys=_MOUNT_TIMES, needs=_MOUNTED
)
_ON_DRBD = Agent(
    name="ocf:heartbeat:Filesystem",
    parameters={key: tag for key, tag in _MOUNT.items() if key != "device"},
    keys=_MOUNT_TIMES,
    needs=_MOUNTED,
    notes=(
        "It mounts what DRBD mirrors, such as /dev/drbd0: docs/storage.md says how, and what of",
        "it nobody has tried.",
    ),
)
_LVM = Agent(
    name="ocf:heartbeat:LVM-activate",
    parameters={"vgname": "parameters/devname"},
    needs=("vgname", "vg_access_mode"),
    notes=(
        "vg_access_mode says what keeps two servers apart: system_id, tagging, clvmd or lvmlockd",
        "(docs/storage.md).",
    ),
)
_ZPOOL = Agent(name="ocf:heartbeat:ZFS", parameters={"pool": "parameters/devname"}, needs=("pool",))
_PROBE = {"port": "parameters/probeport"}

AGENTS: dict[str, Agent] = {
    "disk": _FILESYSTEM,
    "nas": _FILESYSTEM,
    "volmgr": _LVM,
    "md": _ON_DRBD,
    "hd": _ON_DRBD,
    "vip": Agent(
        name="ocf:heartbeat:VIPArip",
        parameters={"ip": "parameters/ip", "nic": "parameters/interface"},
        needs=("ip",),
        notes=("It announces the address by RIP, and needs ripd and zebra.",),
    ),
    "vm": Agent(
        name="ocf:heartbeat:VirtualDomain",
        parameters={"config": "parameters/vmconfigpath"},
        needs=("config",),
        notes=("It is for libvirt: KVM, or Xen with hypervisor.",),
    ),
    "ddns": Agent(name="ocf:heartbeat:dnsupdate", needs=("hostname", "ip", "server", "keyfile")),
    "awsvip": Agent(
        name="ocf:heartbeat:aws-vpc-move-ip",
        parameters={"ip": "parameters/ip"},
        needs=("ip", "routing_table", "interface"),
        notes=("The original changes every route table of the VPC that has the address.",),
    ),
    "awseip": Agent(name="ocf:heartbeat:awseip", needs=("elastic_ip", "allocation_id")),
    "awsdns": Agent(name="ocf:heartbeat:aws-vpc-route53", needs=("hostedzoneid", "fullname")),
    "azurepp": Agent(name="ocf:heartbeat:azure-lb", parameters=_PROBE, needs=("port",)),
    "gcvip": Agent(name="ocf:heartbeat:gcp-ilb", parameters=_PROBE, needs=("port",)),
    "ocvip": Agent(
        name="ocf:heartbeat:azure-lb",
        parameters=_PROBE,
        needs=("port",),
        notes=("The agent only answers the probes of a load balancer, whosever that is.",),
    ),
}
"""Type of group resource -> the agent that does it.  Of `azuredns` and `gcdns` none does."""

INSTEAD: dict[tuple[str, str, str], Agent | str] = {
    ("disk", "parameters/disktype", "raw"): (
        "a raw device needs no mount: give its path to the program, as in start.sh"
    ),
    ("disk", "parameters/fs", "zfs"): msgspec.structs.replace(
        _ZPOOL, parameters={"pool": "parameters/device"}
    ),
    ("volmgr", "parameters/type", "zfspool"): _ZPOOL,
    ("volmgr", "parameters/type", "vxvm"): "no installed agent imports a group of VxVM: use exec",
    ("vm", "parameters/vmtype", "0"): (
        "no agent does it for vSphere from inside a cluster of guests: use exec"
    ),
}
"""(Type, tag path, value) -> another agent, or why there is none."""

MIRRORS = frozenset({"md", "hd"})
"""Types of which the agent does only a part: the mirror itself is lost."""


def agent_for(resource: Node) -> Agent | str | None:
    """What does the work of a group resource of the original; text: why nothing does."""
    for (kind, tag, value), instead in INSTEAD.items():
        if kind == resource.tag and resource.value(tag) == value:
            return instead
    return AGENTS.get(resource.tag)


# ---------------------------------------------------------------------- monitors


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """How a monitor of the original can be done."""

    command: tuple[str | tuple[str, str], ...] = ()
    """For the script of a `genw`: words, and (word before, tag path) of what the file says."""
    agents: tuple[str, ...] = ()
    """Agents that run the watched program, and whose own monitor does the same."""
    of: tuple[str, ...] = ()
    """Types of group resource: the monitor of such a resource's agent is what it was."""


def _by(*agents: str) -> Check:
    return Check(agents=tuple(f"ocf:heartbeat:{one}" for one in agents))


CHECKS: dict[str, Check] = {
    "psqlw": Check(
        command=(
            "psql", "-w", "-At", ("-h", "parameters/ipaddress"), ("-p", "parameters/port"),
            ("-U", "parameters/username"), ("-d", "parameters/database"), "-c", "select 1",
        ),
        agents=("ocf:heartbeat:pgsql",),
    ),
    "mysqlw": Check(
        command=(
            "mysql", ("-h", "parameters/ipaddress"), ("-P", "parameters/port"),
            ("-u", "parameters/username"), ("-D", "parameters/database"), "-e", "select 1",
        ),
        agents=("ocf:heartbeat:mysql", "ocf:heartbeat:mariadb"),
    ),
    "httpw": Check(agents=("ocf:heartbeat:apache", "ocf:heartbeat:nginx")),
    "psw": Check(command=("pgrep", "-c", ("-x", "parameters/processname"))),
    "db2w": _by("db2"),
    "oraclew": _by("oracle"),
    "sybasew": _by("sybaseASE"),
    "ftpw": _by("vsftpd", "proftpd", "Pure-FTPd"),
    "smtpw": _by("postfix"),
    "pop3w": _by("dovecot"),
    "imap4w": _by("dovecot"),
    "nfsw": _by("nfsserver"),
    "wasw": _by("WAS6"),
    "volmgrw": Check(of=("volmgr",)),
    "vmw": Check(of=("vm",)),
    "vipw": Check(of=("vip",)),
    "ddnsw": Check(of=("ddns",)),
    "awsvipw": Check(of=("awsvip",)),
    "awseipw": Check(of=("awseip",)),
    "awsdnsw": Check(of=("awsdns",)),
    "azureppw": Check(of=("azurepp",)),
    "gcvipw": Check(of=("gcvip",)),
    "ocvipw": Check(of=("ocvip",)),
    **dict.fromkeys(
        (
            "arpw", "sraw", "psrw", "odbcw", "sambaw", "sqlserverw", "osmw", "tuxw", "wlsw", "otxw",
            "jraw", "awsazw", "azurelbw", "azurednsw", "gclbw", "gcdnsw", "oclbw",
        ),
        Check(),
    ),
}  # fmt: skip
"""Type of monitor -> how it can be done; without a command, its script is to be written."""
