"""An agent that stands still, stopped or behind a hung disk: what is said, what it does late."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.cluster import Cluster, Node, until

pytestmark = pytest.mark.root


def monitors(node: Node) -> set[str]:
    """The states of all monitors on that server, as it sees them."""
    return {
        each["servers"][node.name]["status"]
        for each in node.status()["monitors"]
        if node.name in each["servers"]
    }


def test_a_stopped_agent_is_named_and_does_nothing_late(cluster: Cluster) -> None:
    cluster.start()
    first = cluster.online()
    second = cluster.other(first)
    assert first.agent is not None
    # Also from another server: what that hands on waits in a socket until the agent goes on.
    until(
        "both are in contact", lambda: second.run(f"clpmonctrl -r -h {first.name}").returncode == 0
    )
    first.agent.send_signal(signal.SIGSTOP)
    assert second.run(f"clpmonctrl -s -h {first.name} -w 5").returncode == 7
    asked = first.run("clpcl -t")
    assert asked.returncode == 7
    told = f"clpcl: clpnode (pid {first.agent.pid}) is stopped (state T).\n"
    assert asked.stderr.startswith(told)
    assert f"kill -CONT {first.agent.pid}" in asked.stderr
    first.agent.send_signal(signal.SIGCONT)
    until("it refuses", lambda: "Refused: service-stop" in first.alerts())
    until("it takes part again", lambda: first.status()["cluster"]["coordinator"])
    assert cluster.online() is first
    assert first.status()["cluster"]["status"] != "Stopped"
    assert "Suspend" not in " ".join(monitors(first))


@contextlib.contextmanager
def hung(folder: Path) -> Iterator[None]:
    """Whoever writes there waits, in the block; a minute at most, however the test ends."""
    end = f"sleep 60; fsfreeze -u {folder}"
    limit = subprocess.Popen(["sh", "-c", end], start_new_session=True)
    subprocess.run(["fsfreeze", "-f", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["fsfreeze", "-u", str(folder)], check=True)
        os.killpg(limit.pid, signal.SIGKILL)
        limit.wait()


@contextlib.contextmanager
def own_disk(node: Node, folder: str) -> Iterator[Path]:
    """A disk for that folder of a server.  Skips, loudly, where none can be made."""
    if missing := [tool for tool in ("mkfs.ext4", "fsfreeze") if not shutil.which(tool)]:
        pytest.skip(f"NOT TESTED: not installed: {', '.join(missing)}")
    image, place = node.root / "disk", node.root / folder
    with open(image, "wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", str(image)], check=True)
    mounted = subprocess.run(
        ["mount", "-o", "loop", str(image), str(place)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"NOT TESTED: no loop device: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def test_an_agent_behind_a_hung_disk_is_named_with_its_state(cluster: Cluster) -> None:
    first = cluster[1]
    with own_disk(first, "var/lib") as disk:
        cluster.start()
        cluster.online()
        assert first.agent is not None
        with hung(disk):
            # It is to remember beyond its end that its service is stopped.
            asked = first.run("clpcl -t")
            assert asked.returncode == 7
            named = f"clpnode (pid {first.agent.pid}) does not answer (state D: waits for the disk)"
            assert named in asked.stderr
            assert "kill" not in asked.stderr
            beside = first.run("clpcl -s")
            assert (beside.returncode, named in beside.stderr) == (7, True)
        until("what was begun is done", lambda: first.run("clpstat -s").returncode == 0)
        until("it is stopped", lambda: first.status()["servers"][0]["status"] == "Offline")
        first.kill()
