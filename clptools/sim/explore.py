"""Random runs: a seed makes a world and a fault schedule, the promises are checked throughout.

After the faults everything is repaired (`repair.py`).  A schedule that breaks a promise is made
short; many runs add up to a summary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from random import Random
from time import process_time

import msgspec

from clptools.core.model.settings import Settings
from clptools.core.node import Node
from clptools.sim.draw import Line
from clptools.sim.faults import kinds_of, schedule
from clptools.sim.host import SECOND, MakeNode
from clptools.sim.promises import Violation
from clptools.sim.repair import mend_and_settle, needs_help
from clptools.sim.verbs import perform
from clptools.sim.world import Tell, World

Fails = Callable[[tuple[Line, ...]], bool]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a run follows from, but its seed."""

    settings: Settings
    seconds: float
    faults: str = "all"
    deep: bool = False
    """Check I4, I6, I7 and I9 too (slower)."""
    strict: bool = True
    """Check I5 over the whole cluster and I10 to I13 too."""
    lines: tuple[Line, ...] | None = None
    """A schedule instead of the seed's own."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """How one run went."""

    seed: int
    simulated_s: float
    cpu_s: float
    steps: int
    violations: tuple[Violation, ...] = ()
    gaps_s: tuple[float, ...] = ()
    """How long groups were out of service, each time."""
    waited: bool = False
    """A group could only go on because a person vouched, or everything was mended."""


def run_seed(
    plan: Plan,
    seed: int,
    *,
    make_node: MakeNode = Node,
    restore_node: MakeNode = Node.restore,
    tell: Tell | None = None,
) -> Run:
    """One whole run."""
    begun = process_time()
    world = World(plan.settings, seed, make_node, restore_node, tell=tell, journal=plan.deep)
    world.check.deep = plan.deep
    world.check.strict = plan.strict
    lines = plan.lines
    if lines is None:
        lines = tuple(schedule(plan.settings, seed, plan.seconds, kinds_of(plan.faults)))
    _begin(world)
    for at, line in lines:
        world.run_until(round(at * SECOND))
        if tell is not None:
            tell(f"{at:9.3f}  = {line}")
        perform(world, line)
        if world.check.violations:
            break
    if not world.check.violations:
        world.run_until(round(plan.seconds * SECOND))
    mend_and_settle(world, aided=needs_help(line for _, line in lines))
    world.check.finish()
    return Run(
        seed=seed,
        simulated_s=world.t / SECOND,
        cpu_s=process_time() - begun,
        steps=world.steps,
        violations=tuple(world.check.violations),
        gaps_s=tuple(gap.seconds for gap in world.check.service.gaps),
        waited=bool(world.vouched) or world.check.waited,
    )


def _begin(world: World) -> None:
    rng = Random(f"{world.seed} begin")
    known = rng.random() < 0.7  # else this is the very first start of the cluster
    for host in world.hosts.values():
        host.disk.member = host.disk.synced = known
        world.at(round(rng.random() * 3 * SECOND), world.start_agent, host)


def _run_one(job: tuple[Plan, int]) -> Run:
    return run_seed(*job)


def run_jobs(jobs: Sequence[tuple[Plan, int]], processes: int = 1) -> Iterator[Run]:
    """The runs of several (plan, seed), in their order."""
    if processes <= 1 or len(jobs) < 2:
        yield from map(_run_one, jobs)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(_run_one, jobs, chunksize=max(1, min(8, len(jobs) // 16)))


# --- short schedules --------------------------------------------------------------------


def shorten(
    plan: Plan, seed: int, tries: int = 150, *, tell: Tell | None = None
) -> tuple[tuple[Line, ...], Run]:
    """A seed's schedule without the lines that its first broken promise does not need.

    Takes up to `tries` runs; the story of the last one is printed.
    """
    lines = tuple(schedule(plan.settings, seed, plan.seconds, kinds_of(plan.faults)))
    whole = run_seed(plan, seed)
    if not whole.violations:
        return lines, whole if tell is None else run_seed(plan, seed, tell=tell)
    wanted = whole.violations[0].invariant
    if wanted != "I8":
        # What came after it does not matter.
        end = min(plan.seconds, whole.violations[0].time_s + 1)
        lines = tuple(line for line in lines if line[0] < end)
        plan = msgspec.structs.replace(plan, seconds=end)

    def broken(candidate: tuple[Line, ...]) -> bool:
        again = run_seed(msgspec.structs.replace(plan, lines=candidate), seed)
        return any(v.invariant == wanted for v in again.violations)

    short = shrink(lines, broken, tries)
    return short, run_seed(msgspec.structs.replace(plan, lines=short), seed, tell=tell)


def shrink(lines: tuple[Line, ...], fails: Fails, tries: int = 150) -> tuple[Line, ...]:
    """The shortest schedule found in `tries` runs; `lines` itself is known to fail."""
    left = tries
    size = max(1, len(lines) // 2)
    while left > 0:
        start, removed = 0, False
        while start < len(lines) and left > 0:
            candidate = lines[:start] + lines[start + size :]
            left -= 1
            if fails(candidate):
                lines, removed = candidate, True
            else:
                start += size
        if size > 1:
            size = max(1, size // 2)
        elif not removed:
            break
    return lines


# --- summaries --------------------------------------------------------------------------


class Summary(msgspec.Struct, kw_only=True):
    """Collects runs one by one."""

    runs: int = 0
    simulated_s: float = 0.0
    cpu_s: float = 0.0
    violations: list[Violation] = []
    gaps: list[tuple[float, int]] = []
    """(seconds out of service, seed)."""
    waited: list[int] = []
    """Seeds in which a group waited for a person."""

    def add(self, run: Run) -> None:
        """One more run."""
        self.runs += 1
        self.simulated_s += run.simulated_s
        self.cpu_s += run.cpu_s
        self.violations += run.violations
        self.gaps += [(gap, run.seed) for gap in run.gaps_s]
        if run.waited:
            self.waited.append(run.seed)

    def percentile(self, share: float) -> tuple[float, int]:
        """(seconds, seed) below which that share of the interruptions is."""
        if not self.gaps:
            return 0.0, 0
        ordered = sorted(self.gaps)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    def takeover(self) -> dict[str, float]:
        """`takeover_s` of the JSON."""
        return {
            "p50": round(self.percentile(0.5)[0], 3),
            "p95": round(self.percentile(0.95)[0], 3),
            "max": round(self.percentile(1.0)[0], 3),
        }

    def lines(self, head: str, repeat: str) -> list[str]:
        """For people.  `repeat` is the command that repeats a run, without its seed."""
        took = f"{span(self.simulated_s)} in {self.cpu_s:.0f} s"
        told = [f"{_runs(self.runs)} of {head}: {took}"]
        twice = [v for v in self.violations if v.invariant in ("I1", "AUTH")]
        others = [v for v in self.violations if v.invariant not in ("I1", "AUTH")]
        broken = f"BROKEN in {len(twice)} (seed {twice[0].seed})" if twice else "held in every run"
        told.append(f"  never two        {broken}")
        if self.gaps:
            longest, seed = self.percentile(1.0)
            middle, most = self.percentile(0.5)[0], self.percentile(0.95)[0]
            told.append(
                f"  back in service  p50 {middle:.1f} s   p95 {most:.1f} s   "
                f"longest {longest:.0f} s (seed {seed})"
            )
        if self.waited:
            told.append(
                f"  waited for you   in {_runs(len(self.waited))} (seed {self.waited[0]} shows it)"
            )
        if others:
            told.append(f"  other promises   broken in {_runs(len(others))}")
        told += _violations(self.violations)
        seed = self.violations[0].seed if self.violations else self.percentile(1.0)[1]
        if seed:
            told.append(f"Repeat one:  {repeat} --seed {seed} --explain")
        return told


def _violations(violations: Iterable[Violation]) -> list[str]:
    return [f"  seed {v.seed}: {v.told()}" for v in violations]


def _runs(number: int) -> str:
    return f"{number:,} run{'' if number == 1 else 's'}"


def span(seconds: float) -> str:
    """A simulated time in the unit that suits it."""
    if seconds >= 2 * 86_400:
        return f"{seconds / 86_400:.1f} simulated days"
    if seconds >= 2 * 3_600:
        return f"{seconds / 3_600:.1f} simulated hours"
    return f"{seconds:.0f} simulated seconds"
