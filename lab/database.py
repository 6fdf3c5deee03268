"""`docs/storage.md` on whole machines: a database on a disk that two servers share.

The page's own commands are typed in the servers; only the shared device has another name, and the
address is an IPaddr2.
"""

from __future__ import annotations

import re

from lab.case import Lab
from lab.machine import SHARED_DISK, Machine
from lab.places import SOURCE

PAGE = SOURCE / "docs/storage.md"
DEVICE = "/dev/mapper/shared"
"""The page's name of the shared device."""
FOLDER = "/srv/db"
ADDRESS = "192.168.0.77"
GROUP = "db"
PLACE = "/root/page"
_FIP = "clpcfset add resource db fip ip1 address=192.168.0.77/24"
_IPADDR2 = (
    "clpcfset add resource db ocf ip1 agent=ocf:heartbeat:IPaddr2 "
    f"parameters=ip={ADDRESS},cidr_netmask=24,nic=lan1"
)


def commands(title: str, prompt: str = "#") -> list[str]:
    """The command lines below a heading of the page; `prompt`: root's, or `$`."""
    found = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## )", PAGE.read_text(), re.M | re.S)
    assert found, title
    blocks = re.findall(r"```console\n(.*?)```", found[1], re.S)
    lines = [line.partition(" ") for block in blocks for line in block.splitlines()]
    return [line for mark, _, line in lines if mark == prompt]


def follow(lab: Lab, servers: list[Machine]) -> None:
    """What the page says, until its group is online.  Raises Failed."""
    first = servers[0]
    for each in servers:
        for line in commands("LVM, on every server"):
            _type(lab, each, line)
        each.sh(f"mkdir -p {FOLDER}")
    for line in commands("The volume group, once"):
        _type(lab, first, line.replace(DEVICE, SHARED_DISK))
    for line in commands("The database, once"):
        _type(lab, first, line)
    first.sh(f"rm -rf {PLACE}; mkdir {PLACE}; cd {PLACE} && clpcfctrl --pull -x .", within_s=120)
    for line in commands("The group"):
        _type(lab, first, line.replace(_FIP, _IPADDR2), PLACE)


def fail_over_at_once(lab: Lab, server: Machine) -> None:
    """The database's monitor moves the group; by itself it restarts the database first."""
    server.sh(f"rm -rf {PLACE}; mkdir {PLACE}; cd {PLACE} && clpcfctrl --pull -x .", within_s=120)
    for line in commands("Try it before you trust it"):
        _type(lab, server, line, PLACE)


def _type(lab: Lab, server: Machine, line: str, place: str = "/") -> None:
    lab.note(f"{server.name}# {line}")
    server.sh(f"cd {place} && {line}", within_s=180)
