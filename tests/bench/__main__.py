"""Runs measurements and writes their sections into BENCHMARKS.md; others keep theirs."""

from __future__ import annotations

import os
import re
import signal
import sys
from importlib import import_module

from tests.bench.report import FILE, markdown

NAMES = (
    "trap",
    "storm",
    "families",
    "move",
    "ocf",
    "power",
    "bmcs",
    "lease",
    "partition",
    "idle",
    "sources",
    "startup",
    "cfset",
    "beats",
    "simulator",
    "coordinator",
    "seeds",
    "systematic",
    "fuzz",
    "house",
    "false_takeover",
    "whole",
    "rival",
    "redfish",
)
_HEAD = """\
# Benchmarks

Every table is written by the command that stands above it; nothing here is typed by hand. `make
bench` repeats all of them, which takes about thirty-five minutes. Real agents, real sockets, real
scripts; power loss is OpenIPMI's `ipmi_sim` ending the agent and all its children at once.

{machine}
"""
_MARK = re.compile(r"<!-- (\w+) -->\n(.*?)(?=<!-- \w+ -->\n|\Z)", re.DOTALL)


def main(names: list[str]) -> int:
    """Measures `names`, or everything; returns 1 when a target is missed."""
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        print(f"bench: {unknown[0]}: no such measurement; known: {', '.join(NAMES)}")
        return 2
    # Ended by a signal, it still ends the agents that it started.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    missed = False
    for name in names or NAMES:
        print(f"{name} ...", flush=True)
        load = os.getloadavg()[0]
        section = import_module(f"tests.bench.{name}").measure()
        text = markdown(section, name, load)
        print(text, flush=True)
        _write(name, text)
        missed = missed or any(row.met is False for row in section.rows)
    return 1 if missed else 0


def _write(name: str, text: str) -> None:
    old = FILE.read_text() if FILE.exists() else ""
    found = dict(_MARK.findall(old))
    found[name] = text + "\n"
    parts = [f"<!-- {each} -->\n{found[each]}" for each in NAMES if each in found]
    # Sections of before each named its own were all measured on the one in the head.
    head = re.search(r"^(?:Machine|Where a section names none)[^\n]*: (.*)\n", old, re.MULTILINE)
    line = f"Where a section names none, the machine: {head[1]}\n" if head else ""
    FILE.write_text(_HEAD.format(machine=line) + "".join(parts).rstrip() + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
