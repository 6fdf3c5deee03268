"""What `clpcfchk` says: the JSON object, and the text for people."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator

import msgspec

from clptools.cli.render.text import clean, width, wrap
from clptools.config.safety import Case, Fault, Safety, seconds
from clptools.reports import Report


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One report in JSON."""

    file: str
    line: int
    key: str
    message: str
    hint: str


class WorstCaseSeconds(msgspec.Struct, frozen=True, kw_only=True):
    """`safety.WorstCase` in seconds; null: unbounded."""

    detect: float | None
    self_stop: float | None
    fence: float | None
    takeover: float | None


class SafetyFindings(msgspec.Struct, frozen=True, kw_only=True):
    """`safety.Safety` in JSON."""

    safe: bool
    reasons: tuple[str, ...]
    worst_case_s: WorstCaseSeconds
    waits: tuple[str, ...]


class CheckFindings(msgspec.Struct, frozen=True, kw_only=True):
    """The object of `clpcfchk --json`."""

    schema: int = 1
    errors: tuple[Finding, ...]
    warnings: tuple[Finding, ...]
    notes: tuple[Finding, ...]
    safety: SafetyFindings | None
    """null where errors leave nothing to judge."""


def _of(severity: str, reports: Iterable[Report]) -> list[Report]:
    return [report for report in reports if report.severity == severity]


def _findings(severity: str, reports: Iterable[Report]) -> tuple[Finding, ...]:
    return tuple(
        Finding(file=r.file, line=r.line, key=r.key, message=r.message, hint=r.hint)
        for r in _of(severity, reports)
    )


def as_json(reports: Iterable[Report], safety: Safety | None) -> CheckFindings:
    """What `clpcfchk --json` prints; encode it with `msgspec.json`."""
    reports = tuple(reports)
    return CheckFindings(
        errors=_findings("error", reports),
        warnings=_findings("warning", reports),
        notes=_findings("note", reports),
        safety=None if safety is None else _safety_json(safety),
    )


def _safety_json(safety: Safety) -> SafetyFindings:
    def in_seconds(ms: int | None) -> float | None:
        return None if ms is None else ms / 1000

    worst = safety.worst_case
    return SafetyFindings(
        safe=safety.safe,
        reasons=safety.reasons,
        worst_case_s=WorstCaseSeconds(
            detect=in_seconds(worst.detect_ms),
            self_stop=in_seconds(worst.self_stop_ms),
            fence=in_seconds(worst.fence_ms),
            takeover=in_seconds(worst.takeover_ms),
        ),
        waits=safety.waits,
    )


def render_text(reports: Iterable[Report], safety: Safety | None, columns: int = 0) -> str:
    """What `clpcfchk` prints, without the last newline.

    Lines are at most `columns` wide; 0: as long as they are, one a report, for `grep`.
    """
    return "\n".join(_folded(line, columns) for line in _text(reports, safety).splitlines())


_PLACE = re.compile(r" *(?:\S+\.toml(?::\d+)?: )?")


def _folded(line: str, columns: int) -> str:
    """The line in several, each below the first one's text."""
    if not columns or width(line) <= columns:
        return line
    found = _PLACE.match(line)
    start = found.group() if found else ""
    two_columns = re.match(r"  If .*?  +", line)  # `  If a server freezes     after 13.4 s`
    if two_columns:
        start = two_columns.group()
    rest = line[len(start) :]
    return "\n".join(wrap(rest, columns, " " * width(start), first=start))


def _text(reports: Iterable[Report], safety: Safety | None) -> str:
    reports = tuple(reports)
    errors = _of("error", reports)
    if errors:
        lines = [line for report in errors for line in render_report(report)]
        count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
        return "\n".join([*lines, f"{count}. Nothing was changed."])
    lines = ["Configuration is valid."]
    if safety is not None:
        lines += _safety_lines(safety)
    for severity, heading in (("warning", "Warnings"), ("note", "Notes")):
        found = _of(severity, reports)
        if found:
            lines.append(heading)
            lines += ["  " + line for report in found for line in render_report(report)]
    return "\n".join(lines)


def render_report(report: Report) -> Iterator[str]:
    """`file:line: message`, and the hint below it, in line with the message."""
    place = report.file  # where the file itself is at fault, all of its path counts
    if place and report.line:
        place = f"{os.path.basename(place)}:{report.line}"
    place = f"{place}: " if place else ""
    yield clean(f"{place}{report.message}")
    if report.hint:
        yield " " * max(len(place), 2) + clean(report.hint)


def _safety_lines(safety: Safety) -> Iterator[str]:
    yield f"Safety: {'safe' if safety.safe else 'unsafe'}."
    for reason in safety.reasons:
        yield f"  {reason[:1].upper()}{reason[1:]}."
    width = max([26, *(len(_what(case)) for case in safety.cases)]) + 2
    told = False
    for case in safety.cases:
        yield f"  {_what(case):{width}}{_outcome(case, told)}"
        told = told or case.after_ms is not None
    if not safety.cases:
        yield from (f"  {wait[:1].upper()}{wait[1:]}." for wait in safety.waits)


def _what(case: Case) -> str:
    who = " or ".join(case.servers) or "a server"
    if case.fault is Fault.DARK and not case.servers:
        return "If its BMC dies with it"
    return f"If {who} {case.fault}"


def _outcome(case: Case, told: bool) -> str:
    if case.after_ms is not None:
        start = "after" if told else "its groups start elsewhere after"
        return f"{start} {seconds(case.after_ms)} (proof: {case.proof})"
    mend = f".  Mend: {case.mend}" if case.mend else "."
    return f"{case.outcome}{mend}"
