"""Random faults over all sample clusters: safe ones keep every promise, weak ones do not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from clptools.sim.clusters import LARGE, TURNS, sample
from clptools.sim.explore import Plan, run_jobs, run_seed, shorten, shrink
from clptools.sim.faults import KINDS, kinds_of, schedule


def plans(seconds: float, deep: bool = False) -> list[Plan]:
    return [
        Plan(settings=sample(name, **options), seconds=seconds, deep=deep)
        for name, options in TURNS
    ]


def broken(plan_list: list[Plan], seeds: range) -> list[str]:
    jobs = [(plan_list[seed % len(plan_list)], seed) for seed in seeds]
    return [
        f"{TURNS[run.seed % len(TURNS)]} seed {run.seed}: {v.line()}"
        for run in run_jobs(jobs, processes=2)
        for v in run.violations
    ]


def test_two_seeds_of_every_cluster_keep_every_promise() -> None:
    assert broken(plans(100), range(2 * len(TURNS))) == []


def test_records_ledger_and_replay_hold_too() -> None:
    assert broken(plans(60, deep=True), range(300, 300 + len(TURNS))) == []


def test_large_clusters_keep_every_promise() -> None:
    jobs = [
        (Plan(settings=sample(name, **options), seconds=60), seed)
        for seed, (name, options) in enumerate(LARGE[:3])
    ]
    assert [v.line() for run in run_jobs(jobs, processes=2) for v in run.violations] == []


def test_several_groups_keep_apart() -> None:
    settings = sample("3bmc", groups=3, resources=2, links=2)
    jobs = [(Plan(settings=settings, seconds=100), seed) for seed in range(12)]
    assert [v.line() for run in run_jobs(jobs, processes=2) for v in run.violations] == []


def test_a_weak_arbiter_with_lease_proof_splits_the_brain() -> None:
    plan = Plan(settings=sample("2weak"), seconds=120, faults="cut,isolate,split")
    found = {v.invariant for seed in range(1, 20) for v in run_seed(plan, seed).violations}
    assert found & {"I1", "AUTH"}


def test_a_bmc_that_lies_off_is_found_out() -> None:
    lines = ((10.0, "bmc server1 lies-off"), (10.0, "cut server1 server2"))
    plan = Plan(settings=sample("2bmc"), seconds=40, lines=lines)
    assert run_seed(plan, 1).violations[0].invariant in ("I1", "AUTH")


def test_a_failing_schedule_is_made_small() -> None:
    plan = Plan(settings=sample("2weak"), seconds=120, faults="cut,isolate,split,kill")
    seed = next(s for s in range(1, 40) if run_seed(plan, s).violations)
    lines, run = shorten(plan, seed)
    whole = schedule(plan.settings, seed, plan.seconds, kinds_of(plan.faults))
    assert len(lines) < len(whole)
    assert run.violations


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_kind_of_fault_can_be_played(kind: str) -> None:
    settings = sample("3bmcstrong", groups=2, links=2, prepare=1)
    plan = Plan(settings=settings, seconds=60, faults=kind)
    assert schedule(settings, 3, plan.seconds, kinds_of(kind))
    broken = {v.invariant for v in run_seed(plan, 3).violations}
    assert not broken or KINDS[kind].group == "beyond"


def test_what_no_rule_survives_happens_only_where_it_is_asked_for() -> None:
    assert not set(kinds_of("all")) & set(kinds_of("beyond"))
    assert set(kinds_of("beyond,cut")) == {*kinds_of("beyond"), "cut"}
    with pytest.raises(ValueError, match="beyond"):
        kinds_of("earthquake")


def test_new_kinds_of_faults_leave_the_lines_of_known_seeds_as_they_are() -> None:
    settings = sample("3bmc")
    usual = [n for n in kinds_of("all") if not KINDS[n].beside]
    for seed in range(1, 20):
        before = schedule(settings, seed, 100, usual)
        assert set(before) <= set(schedule(settings, seed, 100, kinds_of("all")))


def test_shrinking_leaves_what_is_needed() -> None:
    @dataclass
    class Two:
        tries: int = 0

        def __call__(self, lines: Any) -> bool:
            self.tries += 1
            return {(1.0, "a"), (7.0, "g")} <= set(lines)

    lines = tuple((float(i), chr(96 + i)) for i in range(1, 11))
    assert shrink(lines, Two()) == ((1.0, "a"), (7.0, "g"))


def test_a_run_follows_from_its_seed_alone() -> None:
    plan = Plan(settings=sample("3bmc"), seconds=60)
    told: list[list[str]] = []
    for _ in range(2):
        out: list[str] = []
        run_seed(plan, 9, tell=out.append)
        told.append(out)
    assert told[0] == told[1]
