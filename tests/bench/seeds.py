"""Random fault schedules over the real core, as `make sim` runs them: none may break a promise."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.bench.report import Row, Section

SEEDS = int(os.environ.get("SEEDS", "300"))
LARGE = max(4, SEEDS // 250)
PROCESSES = 2
_CLPSIM = Path(sys.executable).with_name("clpsim")


def measure() -> Section:
    """The sample clusters in turn, then the large ones."""
    return Section(
        title="Random fault schedules",
        how=(
            "All faults; after every step everything is checked that `clpsim` checks without "
            "`--deep`; seeds from 1, the sample clusters in turn. SEEDS=10000 is what `make sim` "
            "runs."
        ),
        rows=(
            *_rows("1 to 5 servers", SEEDS),
            *_rows("7 to 32 servers", LARGE, "--sample", "large"),
        ),
    )


def _rows(what: str, seeds: int, *sample: str) -> tuple[Row, ...]:
    told = _clpsim(*sample, "--seeds", f"1:{seeds}")
    broken = told["violations"]
    back = told["takeover_s"]
    return (
        Row(
            what=f"{what}, {seeds:,} seeds: promises broken",
            measured=f"{len(broken)}{f' ({broken[0]})' if broken else ''} in "
            f"{told['simulated_s'] / 86_400:.1f} simulated days, {told['cpu_s'] / 60:.0f} CPU min",
            target="none",
            met=not broken,
        ),
        Row(
            what=f"{what}: a group that was interrupted is back in service",
            measured=f"p50 {back['p50']:.1f} s, p95 {back['p95']:.1f} s, longest "
            f"{back['max']:.0f} s; in {len(told['waited'])} runs it waited for a person",
        ),
    )


def _clpsim(*words: str) -> dict[str, Any]:
    line = [str(_CLPSIM), *words, "--faults", "all", "--jobs", str(PROCESSES), "--json"]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    told: dict[str, Any] = json.loads(done.stdout)
    return told
