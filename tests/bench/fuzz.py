"""Coverage-guided fuzzing of each parser (`tests/fuzz`): inputs, and what was found."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from tests.bench.report import Row, Section

SECONDS = int(os.environ.get("SECONDS", "20"))
"""For each parser."""
_LINE = re.compile(r"^(\w+) +([\d,]+) inputs +([\d,]+)/s  covers (\S+?)(  FOUND)?$", re.M)


def measure() -> Section:
    """Needs atheris: `pip install -e .[fuzz]`."""
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", str(SECONDS)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    rows = [
        Row(
            what=name.replace("_", " "),
            measured=f"{inputs} inputs, {a_second} a second" + (", found something" if bad else ""),
            target="nothing found",
            met=not bad,
        )
        for name, inputs, a_second, _, bad in _LINE.findall(said)
    ]
    return Section(
        title="Fuzzing, guided by coverage",
        how=f"atheris (libFuzzer), {SECONDS} s for each parser in a process of its own, from its "
        "corpus in tests/fuzz/corpus; an input that takes 5 s is a finding, too. The start of the "
        "process counts. `make fuzz HOURS=8` does the same for a night.",
        rows=tuple(rows),
    )
