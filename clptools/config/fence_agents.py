"""Fence agents of the field, as far as it matters here: what their `off` and `status` are worth.

Source: fence-agents 4.12.1 as in Debian 12, its meta-data and code; ClusterLabs/fence-agents issues
530 (fence_scsi leaves the node up), 10 and 440 (kdump), 1 and 68 (method cycle), 436 (secrets).
"""

from __future__ import annotations

_STORAGE = (
    "it cuts a server off from its storage or network, and not from power: the server may run on, "
    "and answer on its addresses"
)
_UNSEEN = "it cannot read the power, so its off proves nothing"

NO_PROOF = {
    "fence_brocade": _STORAGE,
    "fence_cisco_mds": _STORAGE,
    "fence_ifmib": _STORAGE,
    "fence_mpath": _STORAGE,
    "fence_sanbox2": _STORAGE,
    "fence_scsi": _STORAGE,
    "fence_compute": "it tells OpenStack that a host is down, and does not make it so",
    "fence_evacuate": "it tells OpenStack that a host is down, and does not make it so",
    "fence_ack_manual": "it takes a person's word: clpnode confirm-down is the way for that",
    "fence_crosslink": "no answer to a ping reads as off",
    "fence_dummy": "it switches nothing: it is made for tests",
    "fence_heuristics_ping": "it pings, and switches nothing",
    "fence_kdump": "it waits for a message of a kernel that has crashed, and switches nothing",
    "fence_legacy": "it runs plug-ins of an older interface, which tell no power",
    "fence_na": _UNSEEN,
    "fence_ovh": _UNSEEN,
    "fence_pcmk": "it passes the request on to Pacemaker",
    "fence_rcd_serial": _UNSEEN,
    "fence_sbd": "it reads a mailbox, and no power: an arbiter of type disk, a watchdog and the "
    "lease does what it is for",
    "fence_watchdog": "it is a name for the server's own watchdog: the lease is that proof",
    "fence_zvmip": "a guest that it does not find reads as off",
}
"""Agent -> why its word is no proof that a server is down."""

_IPMITOOL = "ipmitool, whose command line every user of the server that fences can read"
_SNMP = "snmpset, whose command line every user of the server that fences can read"
_IPMI = "[server.bmc] speaks IPMI itself, and keeps the password off every command line"
_HIDEPID = "mount /proc with hidepid=invisible on every server (and let no other users in)"

SECRETS = ("apikey", "password", "secret_key", "token")
"""The parameter that is the agent's secret: the first of these that it has."""

SHOWS_PASSWORD = {
    **dict.fromkeys(
        (
            "fence_ipmilan", "fence_ipmilanplus", "fence_idrac", "fence_ilo3", "fence_ilo4",
            "fence_ilo5", "fence_imm",
        ),
        (_IPMITOOL, _IPMI),
    ),
    **dict.fromkeys(
        (
            "fence_apc_snmp", "fence_eaton_snmp", "fence_emerson", "fence_ibmblade",
            "fence_intelmodular", "fence_ipdu", "fence_lindypdu", "fence_tripplite_snmp",
        ),
        (_SNMP, _HIDEPID),
    ),
}  # fmt: skip
"""Agent -> to which program it hands the password on the command line, and the way round that."""

DEPRECATED = {
    "ipaddr": "ip",
    "login": "username",
    "passwd": "password",
    "passwd_script": "password_script",
    "port": "plug",
    "secure": "ssh",
    "cmd_prompt": "command_prompt",
    "sudo": "use_sudo",
    "debug": "debug_file",
    "option": "action",
}
"""Older name of a parameter -> the present one; both are taken."""

_NOT_ON = "every state of an outlet but on, also what an outlet that is not there answers"
_NOT_ENABLED = "every EnabledState but enabled"

READS_AS_OFF = {
    "fence_alom": "whatever it is told that has the word standby in it",
    "fence_amt": "every power state but S0, sleep too",
    "fence_apc_snmp": _NOT_ON,
    "fence_cisco_ucs": "every power but on, and a blade that is missing or does not match",
    "fence_emerson": _NOT_ON,
    "fence_ibmblade": _NOT_ON,
    "fence_ibmz": "every status but the one of a partition that runs, degraded too",
    "fence_ilo3_ssh": _NOT_ENABLED,
    "fence_ilo4_ssh": _NOT_ENABLED,
    "fence_ilo5_ssh": _NOT_ENABLED,
    "fence_ilo_mp": _NOT_ENABLED,
    "fence_ilo_ssh": _NOT_ENABLED,
    "fence_intelmodular": _NOT_ON,
    "fence_ipdu": _NOT_ON,
    "fence_lpar": "every state but Running, Starting, Shutting Down and Open Firmware, Error too",
    "fence_rhevm": "an answer without a status",
    "fence_skalar": "a guest that starts, is suspended or in error, or whose node is offline",
    "fence_tripplite_snmp": _NOT_ON,
    "fence_vbox": "a guest that the list of running ones lacks, also where it cannot be read",
    "fence_virsh": 'every word but running, blocked, idle, paused and "no state", also where virsh '
    "or sudo fails",
    "fence_vmware": "every state but poweredOn, with VMware Server a guest that is not found",
    "fence_wti": "a group of plugs none of which reads on, an empty one too",
}
"""Agent -> what it takes for off without knowing that it is.

The rest of 4.12.1 fails at a state that it does not know, tells it as it is, or takes it for on.
"""

IN_ENGLISH = {
    "fence_virsh": r"-t '/bin/bash -c "
    r'"LC_ALL=C PS1=\\[EXPECT\\]# /bin/bash --noprofile --norc"'
    "'",
}
"""Agent that reads words which the far side may say in another language -> its `ssh_options`.

Its own ones, with `LC_ALL=C` before them: sshd may drop the one that ssh sends (`AcceptEnv`).
"""

_BY_US = "the action is stated by clptools alone: off, on or status"
_FILES = "it would write what it is told, the password too, into a file or the system log"
_SECRET = "a password comes from password_file alone"

NOT_TAKEN = {
    "action": _BY_US,
    "nodename": "agents drop it; plug names what is switched",
    "password_script": _SECRET,
    "community": _SECRET,
    "password": _SECRET,
    "apikey": _SECRET,
    "secret_key": _SECRET,
    "token": _SECRET,
    "snmp_priv_passwd_script": _SECRET,
    "snmp_priv_passwd": _SECRET,
    "identity_file_password": _SECRET,
    "verbose": _FILES,
    "verbose_level": _FILES,
    "debug_file": _FILES,
    "logfile": _FILES,
    "version": "it would print its version and switch nothing",
    "help": "it would print its manual and switch nothing",
    "delay": "servers take turns in fencing each other by [cluster] fence_delay",
    "disable_timeout": "without time-outs a run has no end",
    "missing_as_off": "a plug that is mistyped would read as off",
}
"""Parameter, by its present name -> why it is not for the configuration."""

UNSAFE = {
    ("method", "cycle"): "a cycle is a reset: off is never seen (clptools sends off and on itself)",
    ("network_fencing", "1"): "it cuts the server off from its network, and not from power",
    ("baremetalsolution", "1"): "its status is no power of the server",
    ("earlyexit", "1"): "it ends before the server is off",
    ("warntimeout", "1"): "it warns the server, and ends before it is off",
}
"""Parameter and value that take the proof away -> why."""

CYCLES = frozenset({"fence_gce"})
"""Their method is cycle unless another one is given."""


TRUE = ("1", "true", "yes", "on")
FALSE = ("0", "false", "no", "off")
"""What agents take for a boolean, in lower case."""


def present_name(parameter: str) -> str:
    """A parameter by the name that agents have for it now: `ip` for `ipaddr`."""
    name = parameter.replace("-", "_")
    return DEPRECATED.get(name, name)
