"""The time line of a case, as text and as SVG, and the table of all results."""

from __future__ import annotations

import os
import platform
import re
from html import escape
from pathlib import Path

import msgspec

from lab.case import Lab
from lab.collector import Gap, Run, longest_gap, overlaps, runs


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one case."""

    case: str
    title: str
    outcome: str
    """`passed`, or what was wrong."""
    proof: str
    gap_s: float
    """The longest silence that the client heard."""
    took_s: float
    figures: dict[str, str]
    when: str
    """UTC."""
    load: float
    """Load average of this machine when it began."""
    steps: list[tuple[float, str]] = []
    """What the case did and saw: seconds from the fault, and what."""


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run, all cases one after the other."""

    cases: int
    passed: int
    minutes: float
    when: str
    """UTC, at its end."""


def own_steps(lab: Lab) -> list[tuple[float, str]]:
    """For `Result`."""
    zero = lab.fault_at or lab.begun
    return [(round(step.at - zero, 1), step.text) for step in lab.steps if step.who == "lab"]


def timeline(lab: Lab, until: float) -> str:
    """One line a step; times are seconds from the fault."""
    zero = lab.fault_at or lab.begun
    words = [word for word in lab.words() if word.at <= until]
    lines = [(step.at, step.who, step.text) for step in lab.steps]
    for run in runs(words):
        lines.append((run.first, "client", f"begins to hear {run.server}"))
        how = "said its end" if run.ended else "is heard for the last time"
        if run.ended or run.last < until - 1:
            lines.append((run.last, "client", f"{run.server} {how}"))
    gap = longest_gap(words, lab.begun, until)
    lines.append(
        (gap.since + gap.seconds, "client", f"end of the longest gap, {gap.seconds:.2f} s")
    )
    told = [f"{at - zero:9.2f} s  {who:8} {text}" for at, who, text in sorted(lines)]
    return "\n".join(told) + "\n"


WIDTH, LEFT, LANE = 1000, 90, 34
COLOURS = {"ran": "#2a9d8f", "gap": "#e76f51", "lab": "#264653", "record": "#8d99ae"}


def drawing(lab: Lab, until: float, title: str) -> str:
    """The same as a picture: who ran when, the gap, and the steps below it."""
    words = [word for word in lab.words() if word.at <= until]
    zero = lab.fault_at or lab.begun
    first = max(lab.begun, zero - 5)
    scale = (WIDTH - LEFT - 20) / max(until - first, 1)

    def x(at: float) -> float:
        return LEFT + (min(max(at, first), until) - first) * scale

    names = [server.name for server in lab.servers]
    own = sorted((s for s in lab.steps if s.who == "lab" and s.at >= first), key=lambda s: s.at)
    height = 60 + LANE * len(names) + 18 * len(own) + 30
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            'font-family="sans-serif" font-size="12">'
        ),
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        f'<text x="10" y="22" font-size="15">{escape(title)}</text>',
    ]
    top = 40
    bottom = top + LANE * len(names)
    parts.append(_gap(longest_gap(words, lab.begun, until), x, top, bottom))
    for number, name in enumerate(names):
        y = top + LANE * number
        parts.append(f'<text x="10" y="{y + 20}">{escape(name)}</text>')
        parts += [_bar(run, x, y) for run in runs(words) if run.server == name]
        for step in lab.steps:
            if step.who == name and step.at >= first:
                parts.append(
                    f'<circle cx="{x(step.at):.1f}" cy="{y + 29}" r="2" '
                    f'fill="{COLOURS["record"]}"><title>{escape(step.text)}</title></circle>'
                )
    for number, step in enumerate(own):
        y = bottom + 24 + 18 * number
        at = x(step.at)
        text_at, anchor = (at + 5, "start") if at < WIDTH * 0.6 else (at - 5, "end")
        parts.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{top}" y2="{y}" '
            f'stroke="{COLOURS["lab"]}" stroke-dasharray="2,3"/>'
            f'<text x="{text_at:.1f}" y="{y}" text-anchor="{anchor}">'
            f"{step.at - zero:+.1f} s  {escape(step.text)}</text>"
        )
    return "\n".join([*parts, "</svg>\n"])


def _bar(run: Run, x: object, y: float) -> str:
    assert callable(x)
    width = max(x(run.last) - x(run.first), 1)
    return (
        f'<rect x="{x(run.first):.1f}" y="{y + 6}" width="{width:.1f}" height="18" '
        f'fill="{COLOURS["ran"]}"/>'
    )


def _gap(gap: Gap, x: object, top: float, bottom: float) -> str:
    assert callable(x)
    left, right = x(gap.since), x(gap.since + gap.seconds)
    return (
        f'<rect x="{left:.1f}" y="{top}" width="{max(right - left, 1):.1f}" '
        f'height="{bottom - top}" fill="{COLOURS["gap"]}" opacity="0.3"/>'
        f'<text x="{(left + right) / 2:.1f}" y="{top - 4}" text-anchor="middle" '
        f'fill="{COLOURS["gap"]}">{gap.seconds:.2f} s</text>'
    )


def broken_promises(lab: Lab) -> list[str]:
    """Two servers heard at one time."""
    return [
        f"never two: {one.server} was heard until {one.last - lab.begun:.2f} s, "
        f"{two.server} from {two.first - lab.begun:.2f} s"
        for one, two in overlaps(lab.words())
    ]


HEAD = """\
# Results on whole machines

Written by `make real RESULTS=1`; each row is the newest run of its case.  Machine of the newest
rows: {cores} cores, Linux {kernel}; a case that did not run there keeps the row of the machine on
which it ran.  The load average that other work put on it is in the last column.  The servers
are emulated (TCG), which makes everything in them many times slower than hardware: a boot takes
a quarter of a minute and more.  So the gaps are upper bounds.  A gap is the longest silence that a
client of the floating address heard.  Heartbeat time-out 3 s, lease 3 s, self_stop 6 s,
fence_delay 5 s: the defaults; where nothing proves at once that the holder is down, these are most
of the gap.

| case | what happens | outcome | proof | longest gap | also measured | run (UTC), load |
|---|---|---|---|---|---|---|
"""


_WHOLE = re.compile(r"The last whole run took [^\n]*? UTC\)\.")
_ROW = re.compile(r"^\| `([^`]+)`.*$", re.MULTILINE)


def rows_before(text: str) -> dict[str, str]:
    """Case -> its row in a table that was written before, of results or of measurements."""
    return {found[1]: found[0] for found in _ROW.finditer(text)}


def table(
    results: list[Result], titles: dict[str, str], whole: Whole | None, before: str = ""
) -> str:
    """All results, for people; `titles` are those of all cases, run or not.

    `before`: the page as it was, whose rows stay for cases that have no report here.
    """
    lines = HEAD.format(cores=os.cpu_count(), kernel=platform.release()).splitlines()
    said_before = _WHOLE.search(before)
    if whole is not None:
        said = (
            f"The last whole run took {whole.minutes:.1f} minutes, {whole.passed} of {whole.cases} "
            f"cases passed ({whole.when} UTC)."
        )
        lines[-2:-2] = [said, ""]
    elif said_before is not None:
        lines[-2:-2] = [said_before[0], ""]
    rows = {case: row for case, row in rows_before(before).items() if case in titles}
    for each in results:
        also = "; ".join(
            f"{name} {' '.join(value.split())}" for name, value in each.figures.items()
        )
        outcome = each.outcome.splitlines()[0].replace("|", "/")[:100]
        rows[each.case] = (
            f"| `{each.case}` | {each.title} | {outcome} | {each.proof} | {each.gap_s:.2f} s "
            f"| {also} | {each.when}, {each.load:.1f} |"
        )
    lines += [rows[case] for case in sorted(rows)]
    never = [name for name in titles if name not in rows]
    if never:
        lines += ["", "Written and not yet run:", ""]
        lines += [f"- `{name}`: {titles[name]}" for name in never]
    return "\n".join(lines) + "\n"


def save(folder: Path, result: Result, lab: Lab, until: float) -> None:
    """Time line, picture and result of one case."""
    folder.mkdir(parents=True, exist_ok=True)
    head = f"{result.case}: {result.title}\noutcome: {result.outcome}\n"
    head += f"proof: {result.proof or '-'}\nlongest gap: {result.gap_s:.2f} s\n\n"
    (folder / "timeline.txt").write_text(head + timeline(lab, until))
    (folder / "timeline.svg").write_text(drawing(lab, until, f"{result.case}: {result.title}"))
    (folder / "result.json").write_bytes(msgspec.json.format(msgspec.json.encode(result)))


def save_whole(folder: Path, whole: Whole) -> None:
    """Beside the cases' own."""
    (folder / "whole.json").write_bytes(msgspec.json.format(msgspec.json.encode(whole)))


def load_whole(folder: Path) -> Whole | None:
    """The newest whole run; None: there was none."""
    try:
        return msgspec.json.decode((folder / "whole.json").read_bytes(), type=Whole)
    except FileNotFoundError:
        return None


def load(folder: Path) -> list[Result]:
    """The newest result of every case."""
    found = sorted(folder.glob("*/result.json"))
    return [msgspec.json.decode(path.read_bytes(), type=Result) for path in found]
