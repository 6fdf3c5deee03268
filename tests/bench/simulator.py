"""How much virtual time the simulator gets out of a second of processor time."""

from __future__ import annotations

from clptools.sim.clusters import sample
from clptools.sim.explore import Plan, run_seed
from tests.bench.report import Row, Section

SEEDS = range(1, 6)
SECONDS = 600.0


def measure() -> Section:
    """Three servers with BMCs, all faults."""
    fast = _rate(0.2)
    slow = _rate(1.0)
    return Section(
        title="The simulator",
        how=(
            f"Three servers with BMCs, {len(SEEDS)} seeds of {SECONDS:g} s with all faults and "
            "the checks that every run has; one process."
        ),
        rows=(
            Row(
                what="simulated seconds a CPU second, heartbeats every 0.2 s",
                measured=f"{fast:.0f}",
                target="at least 300",
                met=fast >= 300,
            ),
            Row(
                what="the same, heartbeats every 1 s",
                measured=f"{slow:.0f}",
                target="at least 1,000",
                met=slow >= 1000,
            ),
        ),
    )


def _rate(interval_s: float) -> float:
    plan = Plan(settings=sample("3bmc", interval_s=interval_s), seconds=SECONDS)
    runs = [run_seed(plan, seed) for seed in SEEDS]
    return sum(run.simulated_s for run in runs) / sum(run.cpu_s for run in runs)
