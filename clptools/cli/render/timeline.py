"""An incident as SVG: lanes from top to bottom, time from left to right, one column a mark.

The distance of two marks grows with the logarithm of the time between them, so that tenths of a
second and minutes are both seen; a long incident goes on in the next strip.  No two marks share a
column, so nothing overlaps.  All is shown by shapes, patterns and numbers: colour only doubles it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from html import escape
from math import log10

import msgspec

from clptools.cli.render.incident import GONE, Incident, Mark, Span
from clptools.cli.render.marks import Lane, Place
from clptools.cli.render.shapes import (
    DEFINITIONS,
    FILLS,
    LEGEND_SPANS,
    SCALE,
    SHAPES,
    SPAN_WORDS,
    STYLE,
    WORDS,
    level_of,
    swatch,
)
from clptools.cli.render.text import clean, cut, duration, width, wrap

WIDTH = 1120
LEFT = 168
"""Names of lanes are left of it."""
RIGHT = 26
STEP, PER_DECADE = 32, 26
"""Pixels between two marks at least, and for each power of ten of tenths of a second."""
AXIS = 38
HEIGHTS = {Place.SERVER: 42, Place.BMC: 38, Place.GROUP: 32}
GLYPH = 6.4
"""Pixels of one column of text of 11 px, rather too many than too few."""
NAME_COLUMNS = 22
SENTENCE_COLUMNS = 122
MOST_LINES = 6
"""Of one sentence in a picture; the title of its mark has all of it."""


def told(text: str) -> str:
    """Text of anybody, as it may stand in SVG and HTML."""
    return escape(clean(text))


def clock(wall: float) -> str:
    """`03:12:06.9`, local."""
    tenths = int(wall * 10 + 0.5)
    return f"{time.strftime('%H:%M:%S', time.localtime(tenths // 10))}.{tenths % 10}"


def exact(wall: float) -> str:
    """`03:12:06.912`, local."""
    ms = int(wall * 1000 + 0.5)
    return f"{time.strftime('%H:%M:%S', time.localtime(ms // 1000))}.{ms % 1000:03d}"


def later(seconds: float) -> str:
    """`+12 ms`, `+4 min`: how long after the one before."""
    return f"+{seconds * 1000:.0f} ms" if seconds < 0.9995 else f"+{duration(seconds)}"


def day(wall: float) -> str:
    """`2026-11-29 03:12:06.9`, local."""
    return time.strftime("%Y-%m-%d ", time.localtime(int(wall + 0.05))) + clock(wall)


# ---------------------------------------------------------------------- columns and strips


class Strip(msgspec.Struct, frozen=True, kw_only=True):
    """Marks beside each other, with their columns."""

    marks: tuple[Mark, ...]
    columns: tuple[float, ...]
    begin: float
    end: float

    def x(self, at: float) -> float:
        """Where an instant is, between the columns before and after it."""
        left, left_at = float(LEFT), self.begin
        for mark, column in zip(self.marks, self.columns, strict=True):
            if at <= mark.time:
                return _between(left_at, left, mark.time, column, at)
            left, left_at = column, mark.time
        return _between(left_at, left, self.end, WIDTH - RIGHT, at)


def _between(first_at: float, first: float, last_at: float, last: float, at: float) -> float:
    if last_at <= first_at:
        return last
    part = min(max((at - first_at) / (last_at - first_at), 0.0), 1.0)
    return first + part * (last - first)


def strips(found: Incident) -> list[Strip]:
    """The marks in as many strips as they need."""
    rows: list[tuple[list[Mark], list[float]]] = [([], [])]
    before = found.begin
    x = float(LEFT)
    for mark in found.marks:
        x += _step(mark.time - before) if rows[-1][0] else STEP
        if x > WIDTH - RIGHT - STEP / 2:
            rows.append(([], []))
            x = float(LEFT + STEP)
        rows[-1][0].append(mark)
        rows[-1][1].append(x)
        before = mark.time
    begins = [found.begin, *(marks[0].time for marks, _ in rows[1:])]
    ends = [*begins[1:], max(found.end, begins[-1])]
    return [
        Strip(marks=tuple(marks), columns=tuple(columns), begin=begin, end=end)
        for (marks, columns), begin, end in zip(rows, begins, ends, strict=True)
    ]


def _step(seconds: float) -> float:
    return STEP + PER_DECADE * log10(1 + max(seconds, 0.0) / 0.1)


# ---------------------------------------------------------------------- drawing


def lanes(found: Incident, strip: Strip) -> list[Lane]:
    """Those of a strip: of a BMC only where something happened to it."""
    used = {mark.lane for mark in strip.marks}
    return [lane for lane in found.lanes if lane[0] is not Place.BMC or lane in used]


def height(found: Incident, strip: Strip) -> int:
    """Of one strip."""
    return AXIS + sum(HEIGHTS[place] for place, _ in lanes(found, strip)) + 8


def strip_parts(found: Incident, strip: Strip) -> Iterator[str]:
    """One strip, its left upper corner at 0, 0."""
    tops: dict[Lane, int] = {}
    y = AXIS
    for lane in lanes(found, strip):
        tops[lane] = y
        yield from _lane(lane, y)
        y += HEIGHTS[lane[0]]
    yield f'<path class="lane" d="M{LEFT} {AXIS}H{WIDTH - RIGHT}"/>'
    for span in found.spans:
        if span.lane in tops and span.end >= strip.begin and span.begin <= strip.end:
            yield from _span(strip, span, tops[span.lane])
    yield from _axis(strip)
    for mark, x in zip(strip.marks, strip.columns, strict=True):
        middle = tops[mark.lane] + HEIGHTS[mark.lane[0]] - 16
        yield f'<path class="drop" d="M{x:.1f} {AXIS}V{middle - 20}"/>'
    for mark, x in zip(strip.marks, strip.columns, strict=True):
        yield _mark(mark, x, tops[mark.lane] + HEIGHTS[mark.lane[0]] - 16)


def _lane(lane: Lane, y: int) -> Iterator[str]:
    place, name = lane
    bottom = y + HEIGHTS[place]
    words = f"{place.value} {name}" if place is Place.BMC else name
    yield f'<path class="lane" d="M8 {bottom}H{WIDTH - RIGHT}"/>'
    weight = "small" if place is Place.BMC else "name"
    yield (
        f'<text class="{weight}" x="10" y="{bottom - 12}">{told(_short(words))}'
        f"<title>{told(f'{place.value} {name}')}</title></text>"
    )


def _span(strip: Strip, span: Span, top: int) -> Iterator[str]:
    left = strip.x(span.begin) if span.begin > strip.begin else float(LEFT)
    right = strip.x(span.end) if span.end < strip.end else float(WIDTH - RIGHT)
    if right - left < 1 or span.state == "Offline":
        return
    long = duration(span.end - span.begin)
    words = f"{SPAN_WORDS.get(span.state, span.state)}, {clock(span.begin)} to {clock(span.end)}"
    if span.lane[0] is Place.SERVER:
        y = top + HEIGHTS[Place.SERVER] - 16
        title = f"<title>{told(f'{span.lane[1]}: {words} ({long})')}</title>"
        if span.state == "silent":
            yield f'<path class="silent" d="M{left:.1f} {y}H{right:.1f}">{title}</path>'
        else:
            yield _box(span.state, left, y - 5, right - left, 10, title)
        return
    title = f"<title>{told(f'{span.lane[1]} on {span.label}: {words} ({long})')}</title>"
    yield _box(FILLS.get(span.state, "waits"), left, top + 6, right - left, 20, title)
    label = f"waits: {span.label}" if span.state == "Waits" else span.label
    room = int((right - left - 10) / GLYPH)
    if span.state == GONE:
        label = f"{span.label}?"
    if span.state == "Waits" and width(label) > room:
        label = "waits"
    if width(label) <= room:
        yield f'<text class="halo" x="{left + 5:.1f}" y="{top + 20}">{told(label)}</text>'


def _box(kind: str, x: float, y: float, wide: float, high: float, title: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{wide:.1f}" height="{high:.1f}"'
    return f'<rect class="{kind}" {place}>{title}</rect>'


def _axis(strip: Strip) -> Iterator[str]:
    """The time of each mark where there is room for it, and how long after the one before."""
    free, last = 0.0, ""
    before = None
    for mark, x in zip(strip.marks, strip.columns, strict=True):
        text = clock(mark.time)
        half = len(text) * GLYPH / 2
        if text != last and x - half >= free and x + half <= WIDTH:
            yield f'<text x="{x:.1f}" y="13" text-anchor="middle">{text}</text>'
            free, last = x + half + 6, text
        if before is not None and mark.time - before[0] >= 0.05:
            after = f"+{duration(mark.time - before[0])}"
            middle = (x + before[1]) / 2
            if len(after) * GLYPH * 0.87 <= x - before[1] - 2:
                yield (
                    f'<text class="small" x="{middle:.1f}" y="30" text-anchor="middle">'
                    f"{after}</text>"
                )
        yield f'<path class="lane" d="M{x:.1f} {AXIS - 5}V{AXIS}"/>'
        before = (mark.time, x)


def _mark(mark: Mark, x: float, y: int) -> str:
    words = f"{mark.number}. {exact(mark.time)} {mark.server}: {mark.text}"
    return (
        f'<g class="mark" transform="translate({x:.1f} {y})"><title>{told(words)}</title>'
        f'<text class="small halo" y="-12" text-anchor="middle">{mark.number}</text>'
        f'<g class="{level_of(mark.level)}">{SHAPES[mark.kind]}</g></g>'
    )


# ---------------------------------------------------------------------- one file


def picture(found: Incident, heading: str, lines: Sequence[str]) -> str:
    """A whole SVG file: the picture, what its shapes mean, and the sentences below."""
    rows = strips(found)
    parts: list[str] = []
    y = 28
    parts.append(f'<text class="head" x="10" y="{y}">{told(heading)}</text>')
    for line in lines:
        for piece in _folded(line, 160):
            y += 18
            parts.append(f'<text x="10" y="{y}">{told(piece)}</text>')
    y += 16
    for row in rows:
        parts.append(f'<g transform="translate(0 {y})">')
        parts += strip_parts(found, row)
        parts.append("</g>")
        y += height(found, row) + 14
    legend, y = _legend(y)
    parts += legend
    for mark in found.marks:
        parts.append(f'<text x="10" y="{y}">{mark.number}. {exact(mark.time)}</text>')
        parts.append(f'<text x="136" y="{y}">{told(_short(mark.server))}</text>')
        for piece in _folded(mark.text, SENTENCE_COLUMNS):
            parts.append(f'<text x="300" y="{y}">{told(piece)}</text>')
            y += 15
        y += 3
    y += 8
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<svg class="clp" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" '
        f'width="{WIDTH}" height="{y}" role="img" aria-labelledby="clp-title">\n'
        f'<title id="clp-title">{told(heading)}</title>\n<style>{STYLE}</style>\n{DEFINITIONS}\n'
        f'<rect width="{WIDTH}" height="{y}" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _short(name: str) -> str:
    """A name in the room that there is for names."""
    return name if width(name) <= NAME_COLUMNS else cut(name, NAME_COLUMNS - 1) + "…"


def _folded(text: str, columns: int) -> list[str]:
    """Text in lines that fit, words that do not fit into one broken; of very many the first."""
    lines = []
    for line in wrap(clean(text), columns):
        rest = line
        while width(rest) > columns:
            piece = cut(rest, columns)
            lines.append(piece)
            rest = rest[len(piece) :]
        lines.append(rest)
    return lines if len(lines) <= MOST_LINES else [*lines[:MOST_LINES], "…"]


def _legend(y: int) -> tuple[list[str], int]:
    parts = []
    x = 18.0
    entries = [(f'<g class="INFO">{SHAPES[kind]}</g>', words) for kind, words in WORDS.items()]
    entries += [(swatch(name), words) for name, words in LEGEND_SPANS]
    for drawn, words in entries:
        wide = 30 + len(words) * GLYPH
        if x + wide > WIDTH - RIGHT:
            x, y = 18.0, y + 22
        parts.append(f'<g transform="translate({x:.1f} {y})">{drawn}</g>')
        parts.append(f'<text x="{x + 14:.1f}" y="{y + 4}">{words}</text>')
        x += wide
    y += 22
    parts.append(f'<text class="small" x="10" y="{y}">{SCALE}</text>')
    return parts, y + 26
