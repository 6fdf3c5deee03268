"""Real agents, and DRBD's handlers called as its kernel calls them; DRBD itself is not here."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.cluster import Cluster, Node, until
from tests.real.test_ocf_roles import MIRROR
from tests.resources.ocf_agents import make_agent

pytestmark = [pytest.mark.root, pytest.mark.slow]

META = """<?xml version="1.0"?>
<resource-agent name="{name}" version="1.0">
<parameters>
<parameter name="drbd_resource" required="1"><content type="string"/></parameter>
</parameters>
<actions><action name="start" timeout="10s"/><action name="stop" timeout="10s"/>
<action name="promote" timeout="10s"/><action name="demote" timeout="10s"/>
<action name="monitor" timeout="10s" interval="10s"/></actions>
</resource-agent>
"""
RESOURCES = """
[[group.resource]]
type = "ocf"
name = "mirror1"
agent = "ocf:test:drbd"
role = "promoted"
parameters = { drbd_resource = "r0" }
timeout = 60
stop_timeout = 60
"""
DRBDADM = """#!/bin/sh
[ "$*" = "dstate r0" ] || exit 20
cat {state}
"""
OF_THE_KERNEL = {
    "HOME": "/",
    "TERM": "linux",
    "DRBD_RESOURCE": "r0",
    "DRBD_MINOR": "0",
    "DRBD_CONF": "/etc/drbd.conf",
}
"""What a handler of DRBD 8.4 gets (`drbd_khelper` of the kernel, and `drbdadm`, which adds the
resource), but for `PATH`."""
LIMIT_S = 60


def handler(node: Node, words: str, dstate: str) -> subprocess.CompletedProcess[str]:
    """A handler of DRBD on that server, whose `drbdadm dstate r0` prints so."""
    folder = node.root / "drbd"
    folder.mkdir(exist_ok=True)
    (folder / "state").write_text(dstate + "\n")
    (folder / "drbdadm").write_text(DRBDADM.format(state=folder / "state"))
    (folder / "drbdadm").chmod(0o755)
    ours = {k: v for k, v in node.environment().items() if k.startswith(("CLP_", "PYTHON"))}
    commands = Path(node.environment()["PATH"].partition(":")[0])
    return subprocess.run(
        node.within(str(commands / "clpfencepeer"), *words.split()),
        env={**OF_THE_KERNEL, **ours, "PATH": f"{folder}:/sbin:/usr/sbin:/bin:/usr/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as made:
        for node in made:
            make_agent(node.root, "drbd", MIRROR.format(root=node.root), META)
        made.configure(made.toml(resources=RESOURCES))
        made.start()
        yield made


@pytest.fixture
def machines() -> Iterator[Cluster]:
    """The same on machines that a BMC can switch."""
    if shutil.which("ipmi_sim") is None:
        pytest.skip("NOT TESTED: ipmi_sim (Debian package openipmi) is not installed")
    with Cluster() as made:
        for node in made:
            make_agent(node.root, "drbd", MIRROR.format(root=node.root), META)
        made.configure(made.toml(resources=RESOURCES))
        for node in made:
            node.power_on()
        yield made


def test_an_old_copy_is_not_used_until_it_is_in_sync(cluster: Cluster) -> None:
    first = cluster.online(timeout_s=60)
    second = cluster.other(first)
    whole = "UpToDate/DUnknown"
    assert handler(second, "", whole).returncode == 1, "it does not run the group"
    refused = handler(first, "", "Consistent/DUnknown")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert f"not known that the copy of mirror1 on {first.name} is current" in refused.stderr

    # The wire of the mirror alone is cut: DRBD asks, and may go on.
    asked = handler(first, "", whole)
    assert asked.returncode == 4, asked.stderr
    assert f"{second.name} has noted that its copy of mirror1 is behind" in asked.stdout
    moved = first.run(f"clpgrp -m failover1 -a {second.name}")
    assert (moved.returncode, "is behind that of" in moved.stderr) == (6, True)
    told = " ".join(first.ok("clpstat --explain failover1").split())
    assert f"{second.name} does not take failover1: its copy of mirror1 is behind" in told

    # DRBD 9 says on the other side that they are in sync.
    assert handler(first, "--clear-peer", "UpToDate/Inconsistent").returncode == 1
    over = handler(first, "--clear-peer", "UpToDate/UpToDate")
    assert over.returncode == 0, over.stderr
    assert handler(first, "", whole).returncode == 4

    # It stays noted if its agent dies, and when it is the only one left.
    second.kill()
    second.start()
    until("it is back", second.ready)
    first.ok("clpcl -t", timeout_s=60)
    reason = f"its copy of mirror1 is behind that of {first.name}"
    until("it waits", lambda: reason in " ".join(second.ok("clpstat --explain").split()))
    assert not (second.root / "mirror").exists()

    # DRBD met again, and copies; then it is in sync.
    first.ok("clpcl -s", timeout_s=60)
    assert handler(second, "--clear", "Inconsistent/UpToDate").returncode == 1
    cleared = handler(second, "--clear", "UpToDate/UpToDate")
    assert cleared.returncode == 0, cleared.stderr
    until("it is told", lambda: reason not in " ".join(first.ok("clpstat --explain").split()))
    holder = cluster.online(timeout_s=60)
    move = f"clpgrp -m failover1 -a {cluster.other(holder).name}"
    # The server that comes back does not take part at once, or still runs its stop scripts.
    until("it moves", lambda: holder.run(move, timeout_s=60).returncode == 0)


def test_drbd_is_told_that_its_peer_is_off_once_that_is_read(machines: Cluster) -> None:
    cluster = machines
    first = cluster.online(timeout_s=60)
    second = cluster.other(first)
    for lan in (1, 2):
        second.link(lan, False)
    waited = handler(first, "-w 2", "UpToDate/DUnknown")
    assert waited.returncode == 1, "it is cut off, and on"
    assert "Nothing is proven" in waited.stderr
    second.press("off")
    asked = handler(first, "-w 30", "UpToDate/DUnknown")
    assert asked.returncode == 7, asked.stderr
    assert "is out (power off)" in asked.stdout
