"""`python -m lab.roots [CASE …]`."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
import traceback

from lab import alone, roots
from lab.network import BMC_BASE
from lab.places import Trouble, run, say
from lab.roots.cases import CASES
from lab.roots.made import Made, prepare
from lab.roots.root import NETWORKS, ROOTS


def _networks() -> None:
    """Two networks, as the sample cluster has them, and each server in a namespace of its own."""
    run("mount", "-t", "tmpfs", "tmpfs", "/run/netns")
    run("ip", "link", "set", "lo", "up")
    for name, prefix in NETWORKS.items():
        run("ip", "link", "add", name, "type", "bridge", "forward_delay", "0")
        run("ip", "link", "set", name, "up")
        for number in (1, 2):
            # The BMCs are here.
            run("ip", "address", "add", f"{prefix}.{BMC_BASE + number}/24", "dev", name)
    for number in (1, 2):
        server = f"server{number}"
        inside = ("ip", "-n", server)
        run("ip", "netns", "add", server)
        run(*inside, "link", "set", "lo", "up")
        for name, prefix in NETWORKS.items():
            plug = f"{server}{name}"
            run("ip", "link", "add", plug, "type", "veth", "peer", "name", name, "netns", server)
            run("ip", "link", "set", plug, "master", name, "up")
            run(*inside, "address", "add", f"{prefix}.{number}/24", "dev", name)
            run(*inside, "link", "set", name, "up")


def _run(names: list[str]) -> int:
    made = Made()
    _networks()
    # In memory: dpkg waits for the disk after each file, which would be most of a case.
    run("mount", "-t", "tmpfs", "-o", "size=3g", "tmpfs", alone.folder())
    failed = []
    for name in names:
        case = CASES[name]
        say(f"case {name}: {(case.__doc__ or '').strip()}")
        begun = time.monotonic()
        outcome = "passed"
        try:
            case(made)
        except Exception as error:
            # Also what the case's author did not think of: the other cases go on.
            if not isinstance(error, Trouble):
                traceback.print_exc()
            outcome = f"{type(error).__name__}: {error}"
            failed.append(name)
        say(f"case {name}: {outcome}; {time.monotonic() - begun:.0f} s")
        for root in ROOTS:
            root.remove()
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
