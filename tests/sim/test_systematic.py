"""Every fault at every place of every story: a slice of it, and that it finds what is broken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clptools.core.node import Node
from clptools.sim import scenario
from clptools.sim.catalogue import TALES, catalogue, stories
from clptools.sim.children import Outcome
from clptools.sim.clusters import Unknown
from clptools.sim.systematic import ORDERED, SAMPLES, Task, run, sample_task
from clptools.sim.verbs import perform
from clptools.sim.words import BadLine
from tests.cli.conftest import Clp, clp, node

__all__ = ["clp", "node"]


def outcomes(task: Task) -> dict[str, Outcome]:
    return dict(run(task))


def replayed(text: str) -> set[str]:
    world = scenario.play(text, Node, Node.restore)
    return {v.invariant for v in world.check.violations}


def test_a_slice_keeps_every_promise() -> None:
    found = outcomes(sample_task("2bmc", most=90, jobs=2, only=("move", "power-loss", "cut-long")))
    assert set(found) == {"move", "power-loss", "cut-long"}
    assert [item.text for x in found.values() for item in x.broken] == []
    assert all(x.schedules >= 30 and x.possible > 300 for x in found.values())


def test_pairs_of_three_servers_keep_every_promise() -> None:
    found = outcomes(sample_task("3bmc", most=24, jobs=2, only=("move",), pairs=True))
    assert [item.text for x in found.values() for item in x.broken] == []
    assert found["move"].schedules >= 24


def test_what_one_fault_breaks_is_found_and_its_scenario_repeats_it() -> None:
    """An arbiter that both halves can win: any cut that lasts splits the brain."""
    found = outcomes(sample_task("2weak", most=40, jobs=2, only=("move",)))["move"]
    assert found.broke > 0
    cut = next(x for x in found.broken if x.invariant in ("I1", "AUTH"))
    assert len(cut.faults) == 1
    assert "action" in cut.at
    assert cut.invariant in replayed(cut.reproduce)


def test_the_scenario_of_a_pair_repeats_it() -> None:
    found = outcomes(sample_task("2weak", most=60, jobs=2, only=("move",), pairs=True))["move"]
    pairs = [x for x in found.broken if len(x.faults) == 2]
    assert pairs
    for pair in pairs[:3]:
        assert pair.invariant in replayed(pair.reproduce)


def test_a_core_that_raises_is_told_as_a_broken_promise() -> None:
    class Raises(Node):
        def step(self, event: object, now: int) -> object:  # type: ignore[override]  # a broken one
            if self.life.incarnation == "server1#2":
                raise ZeroDivisionError("no second life")
            return super().step(event, now)  # type: ignore[arg-type]  # handed on as it came

    task = sample_task("2bmc", most=40, jobs=2, only=("push-same",), make_node=Raises)
    found = outcomes(task)["push-same"]
    crashed = [x for x in found.broken if x.invariant == "CRASH"]
    assert crashed
    assert "no second life" in crashed[0].text


@pytest.mark.parametrize("name", SAMPLES)
def test_every_line_of_stories_and_catalogue_is_understood(name: str) -> None:
    settings = sample_task(name).settings
    told = stories(settings)
    assert len(told) > 10
    assert len({tale.name for tale in TALES}) == len(TALES)
    # Where every verb finds what it names, and some have nothing to do.
    world = scenario.make_world([*name.split(), "steady=1"], Node, Node.restore, None)
    for story in told:
        for line in story.lines:
            if line.split()[0] not in ("advance", "until"):
                perform(world, line)
    for fault in catalogue(settings):
        for _, line in fault.lines:
            perform(world, line)


STORY = """cluster 2bmc steady=1
start
advance 8
{line}
request server1 suspend
advance 0.01
----
"""


def left_undone(line: str) -> list[str]:
    """What server1 has not done yet of the answer to `suspend`."""
    world = scenario.play(STORY.format(line=line), Node, Node.restore)
    return [type(x).__name__ for x in world.hosts["server1"].unfinished]


def test_before_and_after_strike_between_two_actions() -> None:
    whole = left_undone("before server1 1 pause server1")
    assert len(whole) > 3
    assert left_undone("before server1 2 pause server1") == whole[1:]
    assert left_undone("after server1 1 pause server1") == whole[1:]
    assert left_undone("after server1 3 pause server1") == whole[3:]


def test_what_comes_later_waits_and_settle_waits_for_it() -> None:
    text = STORY.format(line="after server1 1 off server1\nafter server1 1+7.5 on server1")
    world = scenario.play(text, Node, Node.restore)
    assert not world.hosts["server1"].powered
    world = scenario.play(text.replace("----", "settle\n----"), Node, Node.restore)
    assert world.t > 15_500_000
    assert world.check.violations == []
    assert world.check.service.where["failover1"]


def test_a_place_that_cannot_be_is_refused() -> None:
    with pytest.raises(BadLine):
        left_undone("before server1 0 kill server1")
    with pytest.raises(BadLine):
        left_undone("before server1 3 frobnicate server1")


MOVE = ("clpsim", "--systematic", "--stories", "move", "--jobs", "2")


def test_the_command_and_its_json(clp: Clp, tmp_path: Path) -> None:
    ran = clp(*MOVE, "--sample", "2weak", "--most", "40", "--json")
    told = json.loads(ran.out)
    assert ran.code == 9
    assert told["stories"] == 1
    assert told["schedules"] >= 40
    assert told["cpu_s"] > 0
    first = told["violations"][0]
    assert {"story", "at", "faults", "invariant", "reproduce"} <= set(first)

    file = tmp_path / "broken.txt"
    file.write_text(first["reproduce"])
    again = clp("clpsim", "--play", str(file))
    assert again.code == 9
    assert f"Broken: {first['invariant']}" in again.out


def test_the_command_says_what_it_played(clp: Clp) -> None:
    ran = clp(*MOVE, "--sample", "2bmc", "--most", "20")
    assert ran.code == 0
    assert "2bmc: 1 story, 21 of " in ran.out
    assert ran.out.rstrip().endswith("Every promise held in 21 schedules.")
    ran = clp("clpsim", "--systematic", "--stories", "fable")
    assert ran.code == 2
    assert "power-loss" in ran.err


@pytest.mark.parametrize("words", ["", "3bmc groups=x", "3bmc nonsense=1", "3bmc groups", "none"])
def test_a_sample_that_is_none_is_refused(words: str) -> None:
    with pytest.raises((Unknown, BadLine)):
        sample_task(words)


def test_systematic_runs_meet_groups_that_wait_for_each_other_and_are_kept_apart() -> None:
    task = sample_task(ORDERED)
    first, second, _ = task.settings.groups
    assert second.start_after == (first.name,) and first.exclusive_with
    awaited = {story.name for story in stories(task.settings)} & {
        "awaited-group-stays-down", "awaited-group-moves",
    }  # fmt: skip
    found = outcomes(sample_task(ORDERED, most=20, jobs=1, only=tuple(awaited)))
    assert len(awaited) == 2 and all(not one.broken for one in found.values())
