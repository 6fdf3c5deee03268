"""Where everything lies on disk.

`CLP_ROOT` prefixes every path, so several nodes can live on one machine; `CLP_SERVER` names
the node, else the host name does.
"""

from __future__ import annotations

import os

_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def root() -> str:
    """The prefix of all paths: `CLP_ROOT`, or nothing."""
    return os.environ.get("CLP_ROOT", "").rstrip("/")


def server_name() -> str:
    """This node's name: `CLP_SERVER`, or the host name up to its first dot.

    In a script `CLP_SERVER` says HOME or OTHER; there `CLP_NODE` carries the name.
    """
    given = os.environ.get("CLP_NODE") or os.environ.get("CLP_SERVER")
    return given or os.uname().nodename.split(".")[0]


def config_dir() -> str:
    """`/etc/clptools`."""
    return root() + "/etc/clptools"


def config_file() -> str:
    """The configuration."""
    return config_dir() + "/clp.toml"


def history_dir() -> str:
    """Earlier configurations, `NNNN.toml`."""
    return config_dir() + "/history"


def scripts_dir() -> str:
    """Scripts of groups and monitors: `<group>/<resource>/start.sh`."""
    return config_dir() + "/scripts"


def authkey_file() -> str:
    """The cluster's shared secret, mode 0400."""
    return config_dir() + "/authkey"


def next_authkey_file() -> str:
    """The key that a key roll brings: accepted already, not used yet."""
    return authkey_file() + ".next"


def last_authkey_file() -> str:
    """The key before the one in use, in a key roll: still accepted."""
    return authkey_file() + ".last"


def bmc_password_file(server: str) -> str:
    """The BMC password of `server`, mode 0400."""
    return f"{config_dir()}/bmc/{server}"


def fence_agents_dir() -> str:
    """Where fence agents are installed; of a node below `CLP_ROOT`, there if it has its own."""
    own = root() + "/usr/sbin"
    return own if root() and os.path.isdir(own) else "/usr/sbin"


def snmp_key_file(user: str) -> str:
    """The SNMPv3 keys of `user`, mode 0400."""
    return f"{config_dir()}/snmp/{user}"


def run_dir() -> str:
    """Volatile files; gone with the boot."""
    return root() + "/run/clptools"


def socket_file() -> str:
    """The varlink socket of the agent."""
    return run_dir() + "/clpnode.sock"


def message_socket_file() -> str:
    """The datagram socket for drivers' and programs' messages."""
    return run_dir() + "/message.sock"


def state_file() -> str:
    """The volatile state of the rules."""
    return run_dir() + "/state"


def boot_mark_file() -> str:
    """Says in which boot an agent ran; in no folder that is the package's, so no purge takes it."""
    return root() + "/dev/shm/clptools-boot"


def boot_id_file() -> str:
    """The id of this boot, as the kernel makes it.

    A node below `CLP_ROOT` boots when a file of that name there says so, else with the machine.
    """
    own = root() + _BOOT_ID
    return own if os.path.exists(own) else _BOOT_ID


def data_dir() -> str:
    """Journal, ledger, the `member` bit; mode 0700."""
    return root() + "/var/lib/clptools"


def engine_clocks_file() -> str:
    """The clocks of the SNMPv3 engines that sent traps."""
    return data_dir() + "/snmp-engines"


def agents_cache_dir() -> str:
    """The meta-data of resource agents and fence agents; may be removed at any time."""
    return root() + "/var/cache/clptools/agents"


def deadman_file() -> str:
    """Is there while a dead-man of ours may run in the own BMC."""
    return data_dir() + "/deadman"


def log_dir() -> str:
    """Where the alert log is."""
    return root() + "/var/log/clptools"


def alert_log_file() -> str:
    """The alert log."""
    return log_dir() + "/alert.log"


def file_id(path: str) -> tuple[int, int]:
    """Device and inode of a file; zeros where there is none."""
    try:
        found = os.lstat(path)
    except OSError:
        return 0, 0
    return found.st_dev, found.st_ino
