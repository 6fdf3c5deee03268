"""Where the laboratory keeps what it makes, and how it runs programs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
"""The source tree."""


class Trouble(Exception):
    """The laboratory itself cannot go on; the text is for the person who started it."""


def cache() -> Path:
    """What is made once and kept: the system's files, the packages, the image."""
    folder = Path(os.environ.get("CLPTOOLS_LAB_CACHE", "/var/cache/clptools-lab"))
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    return folder


def reports() -> Path:
    """The reports of the runs, one folder a case."""
    folder = Path(os.environ.get("CLPTOOLS_LAB_REPORTS", str(cache() / "reports")))
    folder.mkdir(mode=0o755, parents=True, exist_ok=True)
    return folder


def run(*words: str | Path, cwd: Path | None = None, text: str = "") -> str:
    """Runs a program to its end and returns what it wrote.  Raises Trouble."""
    line = [str(word) for word in words]
    done = subprocess.run(line, cwd=cwd, input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip()[-2000:]
        raise Trouble(f"{' '.join(line)}: exit status {done.returncode}\n{last}")
    return done.stdout


def say(text: str) -> None:
    """One line of progress."""
    print(f"lab: {text}", file=sys.stderr, flush=True)


def missing(programs: Sequence[str]) -> list[str]:
    """Those of the programs that are not installed."""
    from shutil import which

    return [name for name in programs if which(name) is None]
