"""Whole machines: what the laboratory's cases measured when they ran last."""

from __future__ import annotations

from lab.places import reports
from lab.report import Result, Whole, load, load_whole
from tests.bench.report import Row, Section

HOW = """\
The newest run of every case of `make real` ({first} to {last} UTC) on this machine: whole servers \
with kernel, systemd and BMC, emulated, so everything in them is many times slower than on \
hardware and the times are upper bounds. The gap is the longest silence that a client of the \
floating address heard, the steps are seconds from the fault. Outcomes, machine and load: \
`lab/RESULTS.md`; in no case may the client hear two servers at one time. This table shows \
results, `make real` measures again.\
"""


def measure() -> Section:
    """The newest result of each case that breaks something of ours."""
    results = [each for each in load(reports()) if not each.case.startswith("rival-")]
    when = [each.when for each in results] or ["never"]
    return Section(
        title="Whole machines, each case",
        how=HOW.format(first=min(when), last=max(when)),
        rows=(*whole_run(load_whole(reports())), *map(row, results)),
    )


def whole_run(whole: Whole | None) -> tuple[Row, ...]:
    """How long all of them took, if they ever ran in one go."""
    if whole is None:
        return ()
    return (
        Row(
            what=f"a whole run of {whole.cases} cases, one after the other ({whole.when} UTC)",
            measured=f"{whole.minutes:g} min, {whole.passed} of {whole.cases} passed",
            target="within 40 min on 2 cores, all pass",
            met=whole.minutes <= 40 and whole.passed == whole.cases,
        ),
    )


def row(result: Result) -> Row:
    """Met where the case came true."""
    steps = "; ".join(f"{at:g} {text}" for at, text in result.steps)
    proof = f", proof: {result.proof}" if result.proof else ""
    return Row(
        what=f"`{result.case}`: {result.title}",
        measured=f"longest gap {result.gap_s:.2f} s{proof}. {steps}".rstrip(". ").replace("|", "/"),
        target="comes true",
        met=result.outcome == "passed",
    )
