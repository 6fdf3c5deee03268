"""Whole machines: what the laboratory's cases measured when they ran last."""

from __future__ import annotations

import re

import msgspec

from lab.__main__ import known, title
from lab.places import reports
from lab.report import Result, Whole, load, load_whole, rows_before
from tests.bench.report import FILE, Row, Section

HOW = """\
The newest run of every case of `make real` (on this machine: {first} to {last} UTC; a case that \
did not run on it keeps its row, and `lab/RESULTS.md` says when it ran): whole servers with \
kernel, systemd and BMC, emulated, so everything in them is many times slower than on \
hardware and the times are upper bounds. The gap is the longest silence that a client of the \
floating address heard, the steps are seconds from the fault. Outcomes, machine and load: \
`lab/RESULTS.md`; in no case may the client hear two servers at one time. This table shows \
results, `make real` measures again.\
"""


def measure() -> Section:
    """The newest result of each case that breaks something of ours."""
    results = [each for each in load(reports()) if not each.case.startswith("rival-")]
    page = FILE.read_text()
    rows = kept(page, {name: title(case) for name, case in known().items()})
    rows |= {each.case: row(each) for each in results}
    when = [each.when for each in results] or ["never"]
    return Section(
        title="Whole machines, each case",
        how=HOW.format(first=min(when), last=max(when)),
        rows=(
            *(whole_run(load_whole(reports())) or kept_whole_run(page)),
            *(rows[case] for case in sorted(rows)),
        ),
    )


def kept(page: str, titles: dict[str, str]) -> dict[str, Row]:
    """The rows that a page has of cases that still exist."""
    return {
        case: msgspec.structs.replace(_written(line), what=f"`{case}`: {titles[case]}")
        for case, line in rows_before(_section(page)).items()
        if case in titles
    }


def kept_whole_run(page: str) -> tuple[Row, ...]:
    """The row of the last whole run that a page has."""
    found = re.findall(r"^\| a whole run .*$", _section(page), re.MULTILINE)
    return tuple(map(_written, found))


def _section(page: str) -> str:
    return page.partition("<!-- whole -->")[2].partition("<!-- ")[0]


def _written(line: str) -> Row:
    """A row as `tests.bench.report.markdown` wrote it."""
    what, measured, target, verdict = [cell.strip() for cell in line.strip("|").split(" |")]
    return Row(what=what, measured=measured, target=target, met=verdict == "met")


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
