"""The journal of real agents, fed to the core again, gives the same decisions."""

from __future__ import annotations

import json
import time

import pytest

from clptools.sim.replay import Step, in_order, replay
from tests.real.cluster import Cluster, Node, until

pytestmark = pytest.mark.root


def replayed(node: Node) -> list[Step]:
    files = sorted((node.root / "var/lib/clptools/journal").glob("*.clpj"))
    segments, left = in_order((file.name, file.read_bytes()) for file in files)
    found = list(replay(segments))
    # Neither differences nor anything that is left out.
    assert not [str(each) for each in (*left, *found) if not isinstance(each, Step)]
    return [each for each in found if isinstance(each, Step)]


def test_an_incident_can_be_replayed_also_over_a_kill() -> None:
    with Cluster() as cluster:
        cluster.configure()
        cluster.start()
        first = cluster.online()
        second = cluster.other(first)
        cluster.trap(first)
        until("it fails over", lambda: cluster.online() is second)
        first.kill()
        first.start()
        until("it is back", lambda: len(first.status().get("servers", ())) == 2)
        for _ in range(3):
            for word in ("--suspend", "--resume"):
                until(word, lambda word=word: second.run(f"clpcl {word}").returncode == 0)
        time.sleep(3)  # the idle flush
        for node in cluster:
            steps = replayed(node)
            assert len(steps) > 50
            assert {step.server for step in steps} == {node.name}
        told = [str(step.event) for step in replayed(first)]
        assert any("HardwareSeen" in text for text in told)
        assert not any("public" in text for text in told), "communities stay out of it"

        shown = first.run("clpreplay")
        assert shown.returncode == 0, shown.stderr
        assert "mrw1" in shown.stdout
        assert "granted epoch" in second.run("clpreplay").stdout + shown.stdout
        as_json = json.loads(first.run("clpreplay --json").stdout)
        assert as_json["schema"] == 1 and not as_json["differences"]
        assert as_json["events"] >= len(told)
        assert any(step["event"]["type"] == "hardware-seen" for step in as_json["steps"])
