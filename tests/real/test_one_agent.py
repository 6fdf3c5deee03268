"""One agent a host, whatever happens to `/run`: removed, full, read-only, with real agents."""

from __future__ import annotations

import shutil
import subprocess
import time

import pytest

from tests.real.cluster import Cluster, Node, until

pytestmark = pytest.mark.root


def told(node: Node, text: str) -> int:
    """How often the alert log of a server has it."""
    return node.alerts().count(text)


def test_an_agent_whose_run_is_wiped_stays_the_only_one_and_is_found_again(
    cluster: Cluster,
) -> None:
    cluster.start()
    first = cluster.online()
    before = cluster.diary.read_text()
    assert first.agent is not None
    shutil.rmtree(first.root / "run/clptools")
    second = first.run("clpnode")
    assert second.returncode == 6, second.stderr
    assert "already runs here" in second.stderr
    assert "already" in first.ok("clpcl -s")
    until("clpstat finds it", first.ready)
    assert first.agent.poll() is None
    for name in ("state", "lock", "clpnode.sock", "message.sock"):
        assert (first.root / "run/clptools" / name).exists(), name
    until("it is told", lambda: told(first, "are made again"))
    assert first.ok("clpmsg NIC 'link down'")
    shutil.rmtree(first.root / "run/clptools")
    until("clpstat finds it again", first.ready)
    until("each time is told once", lambda: told(first, "are made again") == 2)
    # The state that was written again is the agent's own: the next one finds what it held.
    first.kill()
    first.start()
    until("the next agent answers", first.ready)
    assert cluster.online() is first
    assert cluster.diary.read_text() == before


def test_an_agent_of_another_root_that_finds_our_heartbeat_address_in_use_stops_nothing(
    cluster: Cluster,
) -> None:
    cluster.start()
    first = cluster.online()
    before = cluster.diary.read_text()
    copy = first.root / "copy"
    shutil.copytree(first.config, copy / "etc/clptools")
    done = first.run(f"CLP_ROOT={copy} clpnode")
    assert done.returncode == 6, done.stderr
    assert first.agent is not None
    assert f"process {first.agent.pid}" in done.stderr
    assert cluster.diary.read_text() == before
    assert not (copy / "run/clptools/state").exists()


def state_cannot_be_written(node: Node) -> None:
    """Read-only: a file system over the folder, since files open for writing forbid another way."""
    words = ("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(node.root / "run/clptools"))
    subprocess.run(as_the_agent_sees_it(node, *words), check=True)


def as_the_agent_sees_it(node: Node, *words: str) -> list[str]:
    """A command among the mounts of the agent: `ip netns exec` gives each process its own."""
    assert node.agent is not None
    return ["nsenter", "-t", str(node.agent.pid), "-m", *words]


def test_nothing_is_told_of_a_state_that_cannot_be_written_and_it_recovers_by_itself(
    cluster: Cluster,
) -> None:
    cluster.start()
    first = cluster.online()
    standby = cluster.other(first)
    before = cluster.diary.read_text()
    state_cannot_be_written(first)
    standby.run("clpgrp -m failover1 -w 0")
    until("it is told", lambda: told(first, "The state cannot be written"))

    def seen() -> str:
        servers = standby.status()["servers"]
        return next(str(s["status"]) for s in servers if s["name"] == first.name)

    until("it beats no more", lambda: seen() != "Online")
    assert first.agent is not None
    assert first.agent.poll() is None
    assert told(first, "The state cannot be written") == 1
    assert first.log().count("The state cannot be written") == 1
    assert cluster.diary.read_text() == before
    umount = as_the_agent_sees_it(first, "umount", str(first.root / "run/clptools"))
    subprocess.run(umount, check=True)
    until("it is told that it goes on", lambda: told(first, "The state is written again"))
    until("it beats again", lambda: seen() == "Online")
    assert cluster.online()


def test_an_agent_that_finds_run_full_waits_and_starts_when_there_is_room(
    cluster: Cluster,
) -> None:
    node = cluster[1]
    (node.root / "run/clptools").mkdir()
    node.small_disk("run/clptools", "2m")
    node.fill("run/clptools")
    node.start()
    until("it is told", lambda: told(node, "No space left on device"))
    assert node.agent is not None
    time.sleep(2)
    assert node.agent.poll() is None
    assert told(node, "No space left on device") == 1
    assert node.log().count("No space left on device") == 1
    node.empty("run/clptools")
    until("it starts", node.ready)
    # What it has there is allocated: full again, it goes on as before.
    node.fill("run/clptools")
    cluster[2].start()
    assert cluster.online()
    node.kill(15)


def test_an_agent_that_waits_for_room_ends_when_asked(cluster: Cluster) -> None:
    node = cluster[1]
    (node.root / "run/clptools").mkdir()
    node.small_disk("run/clptools", "2m")
    node.fill("run/clptools")
    node.start()
    until("it is told", lambda: told(node, "No space left on device"))
    assert node.kill(15) == 1
