"""Every single fault at every place of every story over the real core: none may break a promise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.bench.report import Row, Section

MOST = int(os.environ.get("MOST", "1000"))
PROCESSES = 2
_CLPSIM = Path(sys.executable).with_name("clpsim")
_RUNS = (
    ("2 servers, single faults", ("--sample", "2bmc")),
    ("3 servers, single faults", ("--sample", "3bmc")),
    ("5 servers, single faults", ("--sample", "5bmc")),
    (
        "3 servers whose groups wait for each other, single faults",
        ("--sample", "3bmc groups=3 ordered=1 apart=normal"),
    ),
    ("2 servers and an arbiter, single faults", ("--sample", "2bmcstrong")),
    ("3 servers without BMC, single faults", ("--sample", "3lease")),
    ("2 servers, pairs of faults", ("--sample", "2bmc", "--pairs")),
)


def measure() -> Section:
    """A part of what is possible, or all of it."""
    return Section(
        title="Systematic fault schedules",
        how=(
            "Each schedule: one base story, one place in it, one fault (or two), mended, played to "
            "its end; checked as random runs are. MOST=1000 of each cluster are played, "
            "spread over all stories; MOST=0 plays all single faults. `make sim` plays all "
            "of them on two and three servers, and on five for five stories."
        ),
        rows=tuple(_row(what, words) for what, words in _RUNS),
    )


def _row(what: str, words: tuple[str, ...]) -> Row:
    most = MOST or (5_000 if "--pairs" in words else 0)
    told = _clpsim(*words, *(("--most", str(most)) if most else ()))
    [cluster] = told["clusters"]
    broken = told["violations"]
    first = f" ({broken[0]['story']}: {broken[0]['text']})" if broken else ""
    return Row(
        what=f"{what}: promises broken",
        measured=f"{told['broken']}{first} in {cluster['schedules']:,} schedules of "
        f"{cluster['stories']} stories, {cluster['seconds']:,.0f} s",
        target="none",
        met=not broken,
    )


def _clpsim(*words: str) -> dict[str, Any]:
    line = [str(_CLPSIM), "--systematic", *words, "--jobs", str(PROCESSES), "--json"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    told: dict[str, Any] = json.loads(done.stdout)
    return told
