"""What many runs add up to, in numbers and in a few lines."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from clptools.sim.explore import Run
from clptools.sim.invariants import Violation


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
        told += _violations(self.violations, repeat)
        seed = self.violations[0].seed if self.violations else self.percentile(1.0)[1]
        if seed:
            told.append(f"Repeat one:  {repeat} --seed {seed} --explain")
        return told


def _violations(violations: Iterable[Violation], repeat: str) -> list[str]:
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
