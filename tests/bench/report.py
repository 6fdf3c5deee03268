"""What a measurement hands back, and how it looks in BENCHMARKS.md."""

from __future__ import annotations

import math
import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

FILE = Path(__file__).parent.parent.parent / "BENCHMARKS.md"


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One number with what it should be."""

    what: str
    measured: str
    target: str = ""
    met: bool | None = None
    """None: there is no target."""


class Section(msgspec.Struct, frozen=True, kw_only=True):
    """One measurement."""

    title: str
    how: str
    """What was done, so that a reader knows what the numbers mean."""
    rows: tuple[Row, ...]


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest rank: the smallest value that `percent` of all do not exceed."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(len(ranked) * percent / 100) - 1)]


def spread(values: Sequence[float], unit: str, digits: int = 1) -> str:
    """`p50 … p99 … longest …`"""
    shown = [f"{name} {percentile(values, p):.{digits}f}" for name, p in _SHOWN]
    return f"{', '.join(shown)} {unit}, longest {max(values):.{digits}f} (n = {len(values)})"


_SHOWN = (("p50", 50.0), ("p95", 95.0), ("p99", 99.0))


def machine() -> str:
    """The machine, in a line."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = " ".join(line.partition(":")[2].split())
            break
    return (
        f"{os.cpu_count()} cores ({model}), Linux {platform.release()}, "
        f"Python {platform.python_version()}"
    )


def busy(name: str, begun_load: float) -> str:
    """How one section came about: command, time, and what else the machine did."""
    now = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    nice = os.nice(0)
    priority = f", all processes of it at nice {nice}" if nice else ""
    return (
        f"`make bench` or `.venv/bin/python -m tests.bench {name}`; {now}, "
        f"load average {begun_load:.1f} when it began{priority}; {machine()}."
    )


def markdown(section: Section, name: str, load: float) -> str:
    """The section's text, from its heading on."""
    lines = [f"## {section.title}", "", section.how, "", busy(name, load), ""]
    lines += ["| what | measured | target | |", "|---|---|---|---|"]
    for row in section.rows:
        verdict = {True: "met", False: "**missed**", None: ""}[row.met]
        lines.append(f"| {row.what} | {row.measured} | {row.target} | {verdict} |")
    return "\n".join(lines) + "\n"
