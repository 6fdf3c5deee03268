"""The variants that a configuration may name, and those of the original that are not carried.

The loader imports no variant itself.
"""

from __future__ import annotations

import msgspec

from clptools.config.field import Field

Variants = dict[str, tuple[Field, ...]]
"""Type name -> the keys that only this type understands."""


class Registries(msgspec.Struct, frozen=True, kw_only=True):
    """Every type that a configuration may name."""

    links: Variants
    resources: Variants
    monitors: Variants
    arbiters: Variants
    sources: Variants = {}
    """Category of message receive monitors -> the keys that its source understands."""
    host_actions: tuple[str, ...]
    """Actions on a host or by its BMC: `shutdown`, `bmc-reset`, ..."""

    @property
    def final_actions(self) -> tuple[str, ...]:
        """Names for `final_action`: those the cluster does itself, then those on the host."""
        return ("none", "stop-resource", "stop-group", "stop-cluster", *self.host_actions)

    @property
    def partition_actions(self) -> tuple[str, ...]:
        """Names for `[cluster] partition_action`."""
        return ("none", "stop", *self.host_actions)


# ---------------------------------------------------------------------- what is not carried


_NO_MIRROR = "there are no mirror disks"
_REPLICATE = (
    "Let the storage or a program replicate the data, and start and stop that by service or exec."
)
_MOUNT = (
    "Use type ocf with the agent ocf:heartbeat:Filesystem (of a volume group: "
    "ocf:heartbeat:LVM-activate)."
)
_BY_AGENT = "Use type ocf with an agent that does it (ls /usr/lib/ocf/resource.d/heartbeat)."
_CHECK = "Let the script of a genw monitor check it."
_LINK = "Use lankhb or lanhb for a network, bmchb for the BMCs, witnesshb for a witness server."

_LINKS = {
    "comhb": ("heartbeats over a serial line are not carried", _LINK),
    "diskhb": ("heartbeats over a shared disk are not carried", _LINK),
    **dict.fromkeys(
        ("mdc", "mirror", "mirrorhb"), (f"{_NO_MIRROR}, so there is no mirror communication", _LINK)
    ),
}
_RESOURCES = {
    **dict.fromkeys(("md", "hd"), (_NO_MIRROR, _REPLICATE)),
    **dict.fromkeys(("disk", "nas", "volmgr"), ("is no type of its own", _MOUNT)),
    "vip": ("addresses outside of the network are not carried", "Use fip, or an exec."),
    "vm": ("is no type of its own", "Use type ocf with the agent ocf:heartbeat:VirtualDomain."),
    "ddns": ("is no type of its own", "Use type ocf with the agent ocf:heartbeat:dnsupdate."),
    **dict.fromkeys(
        ("awseip", "awsvip", "awsdns", "azurepp", "azuredns", "gcvip", "gcdns", "ocvip"),
        ("is no type of its own", _BY_AGENT),
    ),
}
_MONITORS = {
    **dict.fromkeys(("mdw", "mdnw", "hdw", "hdnw"), (_NO_MIRROR, "Leave it out.")),
    "mtw": ("monitors are not combined", "Give each of them its own recovery."),
    **dict.fromkeys(
        (
            "psw", "arpw", "volmgrw", "vmw", "vipw", "ddnsw", "sraw", "psrw", "db2w", "mysqlw",
            "odbcw", "oraclew", "psqlw", "sambaw", "sqlserverw", "sybasew", "osmw", "ftpw",
            "httpw", "smtpw", "pop3w", "imap4w", "nfsw", "tuxw", "wasw", "wlsw", "otxw", "jraw",
            "awsazw", "awsvipw", "awseipw", "awsdnsw", "azureppw", "azurelbw", "azurednsw",
            "gcvipw", "gclbw", "gcdnsw", "ocvipw", "oclbw",
        ),
        ("this check is not carried", _CHECK),
    ),
}  # fmt: skip
_NPS = {
    "comnp": ("serial lines are not carried", "Use witness or etcd."),
    "disknp": ("the original's partition is not read", 'Use type = "disk" with a path.'),
    "pingnp": ("is called ping here", 'Write type = "ping".'),
    "httpnp": ("is called http here", 'Write type = "http".'),
}
REFUSED = {
    "interconnect": _LINKS,
    "group resource": _RESOURCES,
    "monitor": _MONITORS,
    "np": _NPS,
}
"""What -> type -> (reason, mend)."""
