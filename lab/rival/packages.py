"""corosync and pacemaker in the image: installed, never started by themselves."""

from __future__ import annotations

from pathlib import Path

from lab.places import run

PACKAGES = (
    *("corosync", "pacemaker", "pacemaker-cli-utils"),
    *("resource-agents", "python3-pexpect", "python3-pycurl", "sbd"),
)
AGENTS = "fence-agents"
"""It depends on the clients of every public cloud; `fence_ipmilan` needs pexpect and pycurl."""

UNITS = ("corosync", "pacemaker", "logd", "sbd")
_MARK = "usr/lib/clptools-lab-rival"


def install(tree: Path) -> None:
    """Adds them to a Debian tree, once.  Raises Trouble."""
    mark = tree / _MARK
    if mark.exists() and mark.read_text() == wanted():
        return
    quiet = "DEBIAN_FRONTEND=noninteractive apt-get -q -y"
    fetch = f"cd /root && apt-get -q download {AGENTS} && dpkg --force-depends -i {AGENTS}_*.deb"
    for line in (
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
