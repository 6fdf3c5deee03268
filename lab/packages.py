"""What is in the image beside a server's own system, and never starts by itself.

corosync and pacemaker, for the comparisons; LVM and PostgreSQL, for `docs/storage.md`; the agents
of both.
"""

from __future__ import annotations

from pathlib import Path

from lab.places import run

PACKAGES = (
    *("corosync", "pacemaker", "pacemaker-cli-utils"),
    *("resource-agents", "python3-pexpect", "python3-pycurl", "sbd"),
    *("lvm2", "postgresql", "psmisc"),
)
AGENTS = "fence-agents"
"""It depends on the clients of every public cloud; `fence_ipmilan` needs pexpect and pycurl."""

UNITS = ("corosync", "pacemaker", "logd", "sbd", "postgresql", "lvm2-monitor")
_MARK = "usr/lib/clptools-lab-packages"


def install(tree: Path) -> None:
    """Adds them to a Debian tree, once.  Raises Trouble."""
    mark = tree / _MARK
    if mark.exists() and mark.read_text() == wanted():
        return
    quiet = "DEBIAN_FRONTEND=noninteractive apt-get -q -y"
    fetch = f"cd /root && apt-get -q download {AGENTS} && dpkg --force-depends -i {AGENTS}_*.deb"
    for line in (
        # While it lacks what it depends on, apt installs nothing else.
        f"dpkg --force-depends -P {AGENTS}",
        "apt-get update -q",
        f"{quiet} install --no-install-recommends {' '.join(PACKAGES)}",
        f"{fetch}; status=$?; rm -f /root/{AGENTS}_*.deb; exit $status",
        *(f"systemctl disable -q {unit}.service || true" for unit in UNITS),
        "rm -rf /var/cache/apt/*.bin /var/cache/apt/archives/*.deb /var/lib/apt/lists/*",
    ):
        run("chroot", tree, "sh", "-c", line)
    mark.write_text(wanted())


def wanted() -> str:
    """What is installed, for the fingerprint of the image."""
    return " ".join((*PACKAGES, AGENTS))
