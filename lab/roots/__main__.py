"""`python -m lab.roots [CASE …]`."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time

from lab import alone, roots
from lab.places import Trouble, run, say
from lab.roots.cases import CASES
from lab.roots.made import Made, prepare
from lab.roots.root import ROOTS


def _networks() -> None:
    """One network of both servers, in a namespace each."""
    run("mount", "-t", "tmpfs", "tmpfs", "/run/netns")
    run("ip", "link", "set", "lo", "up")
    for number in (1, 2):
        run("ip", "netns", "add", f"server{number}")
    peer = ("peer", "name", "lan", "netns", "server2")
    run("ip", "link", "add", "lan", "netns", "server1", "type", "veth", *peer)
    for number in (1, 2):
        inside = ("ip", "-n", f"server{number}")
        run(*inside, "addr", "add", f"10.0.0.{number}/24", "dev", "lan")
        for name in ("lo", "lan"):
            run(*inside, "link", "set", name, "up")


def _run(names: list[str]) -> int:
    made = Made()
    _networks()
    failed = []
    for name in names:
        case = CASES[name]
        say(f"case {name}: {(case.__doc__ or '').strip()}")
        begun = time.monotonic()
        outcome = "passed"
        try:
            case(made)
        except Trouble as trouble:
            outcome = str(trouble)
            failed.append(name)
        say(f"case {name}: {outcome}; {time.monotonic() - begun:.0f} s")
        for root in ROOTS:
            root.end()
        ROOTS.clear()
        for folder in alone.folder().iterdir():
            shutil.rmtree(folder) if folder.is_dir() else folder.unlink()
    say(f"{len(names) - len(failed)} of {len(names)} cases passed")
    return 1 if failed else 0


def main() -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lab.roots", description=roots.__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    given = parser.parse_args()
    unknown = [name for name in given.cases if name not in CASES]
    if unknown:
        print(f"no such case: {', '.join(unknown)}; known: {', '.join(CASES)}", file=sys.stderr)
        return 2
    if os.geteuid() != 0:
        print("the laboratory needs root: it makes namespaces and containers", file=sys.stderr)
        return 1
    try:
        if alone.inside():
            return _run(given.cases or list(CASES))
        lock = alone.take()
        prepare()
        return alone.enter(lock, "lab.roots")
    except Trouble as trouble:
        print(f"lab: {trouble}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
