"""An incident of real agents, read afterwards from the output of `clpstat` alone."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clptools.intake.rehearsal import build_pet_trap, pet_event
from clptools.sim.loopback import LoopbackCluster, LoopbackServer

pytestmark = pytest.mark.slow

PROCESSOR_FAILED = "07h/6F/0"


class Incident:
    """What happened, and when."""

    def __init__(self, cluster: LoopbackCluster) -> None:
        self.cluster = cluster
        self.one, self.two = cluster.nodes
        self.trap = self.end = 0.0

    def play(self) -> None:
        cluster = self.cluster
        cluster.start()
        for node in cluster.nodes:
            cluster.wait(node, "group failover1 online on server1", 60)
            cluster.wait(node, "cluster normal", 60)
        self.trap = time.time()
        cluster.send_trap(self.one, build_pet_trap(pet_event(PROCESSOR_FAILED)))
        cluster.wait(self.one, "group failover1 online on server2", 30)
        self.one.run("clpmonctrl", "--acknowledge", "-m", "mrw1")
        cluster.power_loss(self.two)
        cluster.wait(self.one, "group failover1 online on server1", 60)
        self.end = time.time()

    @property
    def between(self) -> float:
        """Half-way from the first failover to the power loss: a record takes its time to arrive."""
        online = self.time_of("GroupOnline", "server2")
        return (online + self.time_of("ServerReadsOff", "server1")) / 2

    def time_of(self, code: str, server: str) -> float:
        """When a server first told of that, since the trap."""
        events = map(json.loads, said(self.one, "--events").splitlines())
        return min(
            float(event["time"])
            for event in events
            if (event["code"], event["server"]) == (code, server) and event["time"] > self.trap
        )


@pytest.fixture(scope="module")
def incident() -> Iterator[Incident]:
    with LoopbackCluster() as cluster:
        made = Incident(cluster)
        made.play()
        yield made


def said(server: LoopbackServer, *words: str) -> str:
    done = server.run("clpstat", *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_events_are_in_the_order_in_which_they_happened(incident: Incident) -> None:
    when = ("--from", f"@{incident.trap:.3f}", "--to", f"@{incident.end:.3f}")
    lines = said(incident.one, "--events", *when, "--text").splitlines()
    chain = (
        "reported a fatal error: processor",
        "mrw1 on server1 went Normal -> Error",
        "server1 stops failover1",
        "released epoch 1 of failover1",
        "granted epoch 2 of failover1 to server2",
        "server2 starts failover1 (epoch 2)",
        "server2 has started exec1",
        "The BMC of server2 read power off.",
        "granted epoch 3 of failover1 to server1",
        "server2 is proven not to run failover1: power off",
        "server1 has started exec1",
    )
    at = 0
    for step in chain:
        at = next(n for n, line in enumerate(lines[at:], at) if step in line)
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d  server", line) for line in lines)


def test_both_servers_tell_the_first_failover_alike(incident: Incident) -> None:
    """The second one was off later, and its files are those of that moment."""
    when = ("--from", f"@{incident.trap:.3f}", "--to", f"@{incident.between:.3f}")
    words = ("--events", *when, "--of", "failover1", "--text")
    one, two = (
        [line.split("  ", 3)[3] for line in said(node, *words).splitlines()]
        for node in (incident.one, incident.two)
    )
    assert one == two
    assert len(one) >= 6


def test_a_group_is_explained_at_any_instant(incident: Incident) -> None:
    online = incident.time_of("GroupOnline", "server2")
    for when, where in (
        (incident.time_of("HardwareFatal", "server1") - 0.002, "Online on server1"),
        (incident.between, "Online on server2"),
    ):
        line = ("--explain", "failover1", "--at", f"@{when:.3f}", "--json")
        told = json.loads(said(incident.one, *line))
        assert where in told["state"]
        texts = " ".join(step["text"] for step in told["because"])
        assert ("reported a fatal error" in texts) == (when > online)
        assert "power off" in " ".join(step["text"] for step in told["later"])
    fault = incident.time_of("MonitorError", "server1")
    for when, status in ((fault - 0.002, "mrw1 is Normal"), (fault + 0.002, "mrw1 is Error")):
        assert status in said(incident.one, "--explain", "mrw1", "--at", f"@{when:.3f}")


def test_the_newest_incident_is_drawn(incident: Incident, tmp_path: Path) -> None:
    path = tmp_path / "incident.html"
    assert "events from" in said(incident.one, "--graph", "-o", str(path))
    text = path.read_text()
    assert "failover1 was out of service for" in text
    assert re.search(r"on server1 until [\d:.]+, on server2 from", text)
    assert re.search(r"on server2 until [\d:.]+, on server1 from", text)
    assert text.count('class="mark"') > 12


def test_files_of_a_server_are_read_somewhere_else(incident: Incident, tmp_path: Path) -> None:
    """Below another CLP_ROOT, without an agent."""
    root = tmp_path / "files"
    for folder in ("etc", "var"):
        shutil.copytree(incident.one.root / folder, root / folder)
    away = LoopbackServer("server1", root, incident.one.lans, incident.one.bmc)
    when = ("--from", f"@{incident.trap:.3f}", "--to", f"@{incident.end:.3f}")
    here = said(incident.one, "--events", *when, "--text")
    assert said(away, "--events", *when, "--text") == here
    (root / "var/lib/clptools/records.ndjson").unlink()
    # The alert log has no evidence, and its own stamps of the other server.
    told = said(away, "--events", *when, "--text").splitlines()
    assert "granted epoch 2 of failover1 to server2" in "\n".join(told)
    assert abs(len(told) - len(here.splitlines())) <= 1
    shutil.rmtree(root / "var/log/clptools")
    own = said(away, "--events", *when, "--text")
    assert "released epoch 1 of failover1" in own
    assert "has started exec1" in own
