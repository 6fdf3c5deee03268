"""`python -m lab [CASE …]`: runs cases on whole machines; without names, all of them."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import importlib
import os
import pkgutil
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

from lab import cases, network, report
from lab.case import Lab
from lab.cluster import Cluster, sample
from lab.collector import Collector, longest_gap
from lab.guestagent import Failed, GuestGone
from lab.image import SERVERS, prepare
from lab.machine import Machine
from lab.places import SOURCE, Trouble, cache, reports, say

INSIDE = "CLPTOOLS_LAB_INSIDE"
RESTORED_WITHIN_S = 300.0


def known() -> dict[str, ModuleType]:
    """All cases, the first is `boot`."""
    names = sorted(each.name for each in pkgutil.iter_modules(cases.__path__))
    names.sort(key=lambda name: name != "boot")
    return {name.replace("_", "-"): importlib.import_module(f"lab.cases.{name}") for name in names}


def title(case: ModuleType) -> str:
    """The first line of its docstring."""
    return (case.__doc__ or "").strip().splitlines()[0].rstrip(".")


class Room:
    """The servers, and one case after the other on them."""

    def __init__(self, folder: Path, servers: int) -> None:
        self._image = prepare()
        network.build(SERVERS)
        self._collector = Collector()
        self._collector.start()
        machines = [Machine(n, folder, self._image) for n in range(1, servers + 1)]
        self._cluster = Cluster(machines)

    def run(self, name: str, case: ModuleType) -> report.Result:
        """Runs one case, whatever comes of it."""
        say(f"case {name}: {title(case)}")
        lab = Lab(self._cluster, self._collector, self._image.deb)
        load = os.getloadavg()[0]
        try:
            self._ready(getattr(case, "CONFIG", sample()), fresh=getattr(case, "FRESH", False))
            lab = Lab(self._cluster, self._collector, self._image.deb)
            case.run(lab)
            outcome = "passed"
        except (AssertionError, Trouble, GuestGone, Failed) as error:
            outcome = f"{type(error).__name__}: {error}"
        until = time.monotonic()
        broken = report.broken_promises(lab)
        if broken:
            outcome = "; ".join([*broken, outcome])
        result = report.Result(
            case=name,
            title=title(case),
            outcome=outcome,
            proof=lab.proof,
            gap_s=round(longest_gap(lab.words(), lab.begun, until).seconds, 2),
            took_s=round(until - lab.begun, 1),
            figures=lab.figures,
            when=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
            load=load,
        )
        folder = reports() / name
        if outcome != "passed":
            self._cluster.keep_logs(folder / "logs")
        self._heal()
        lab.take_alerts()
        report.save(folder, result, lab, until)
        say(f"case {name}: {outcome}; longest gap {result.gap_s:.2f} s")
        return result

    def close(self) -> None:
        """The end of all servers."""
        for each in self._cluster.servers:
            each.end()

    def _heal(self) -> None:
        """Everything plugged in, awake and powered on."""
        network.heal(SERVERS)
        for each in self._cluster.servers:
            with contextlib.suppress(Trouble, OSError, GuestGone):
                each.freeze_bmc(False)
                if each.on:
                    each.thaw()
                else:
                    each.press_on()

    def _ready(self, configuration: str, *, fresh: bool) -> None:
        """A normal cluster with this configuration; a new one where it cannot be mended."""
        if self._cluster.configuration and not fresh:
            try:
                for each in self._cluster.servers:
                    each.booted(RESTORED_WITHIN_S)
                self._cluster.normal()
                if self._cluster.configuration != configuration:
                    self._cluster.push(configuration)
                    self._cluster.normal()
                return
            except (Trouble, GuestGone, Failed) as error:
                say(f"the cluster is made anew: {error}")
        self._make(configuration)

    def _make(self, configuration: str) -> None:
        self.close_servers()
        for each in self._cluster.servers:
            each.install()
        for each in self._cluster.servers:
            each.press_on()
        for each in self._cluster.servers:
            each.booted()
        self._cluster.create(configuration)
        self._cluster.normal()

    def close_servers(self) -> None:
        """Ends what runs of an earlier cluster."""
        for each in self._cluster.servers:
            each.end()


def main() -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(prog="make real", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE")
    parser.add_argument("--list", action="store_true", help="name the cases and what they do")
    parser.add_argument("--results", action="store_true", help="write lab/RESULTS.md")
    given = parser.parse_args()
    every = known()
    if given.list:
        for name, case in every.items():
            print(f"{name:24} {title(case)}")
        return 0
    unknown = [name for name in given.cases if name not in every]
    if unknown:
        print(f"no such case: {', '.join(unknown)}; known: {', '.join(every)}", file=sys.stderr)
        return 2
    if os.geteuid() != 0:
        print("the laboratory needs root: it makes namespaces and bridges", file=sys.stderr)
        return 1
    try:
        if INSIDE not in os.environ:
            _alone()
            prepare()
            _enter()
        return _run({name: every[name] for name in given.cases or every}, given.results)
    except Trouble as trouble:
        print(f"lab: {trouble}", file=sys.stderr)
        return 1


def _alone() -> None:
    """One laboratory at a time: all its servers live from one image.  Raises Trouble."""
    lock = os.open(cache() / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise Trouble("another laboratory runs on this machine; it uses the same image") from None
    os.set_inheritable(lock, True)


def _enter() -> None:
    """Goes on in namespaces of its own: whatever happens, nothing of it stays."""
    own = ("--net", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc")
    words = ["unshare", *own, sys.executable, "-m", "lab", *sys.argv[1:]]
    os.execvpe(words[0], words, {**os.environ, INSIDE: "1", "KEEP": "1"})


def _run(chosen: dict[str, ModuleType], write: bool) -> int:
    servers = max(getattr(case, "SERVERS", 2) for case in chosen.values())
    with tempfile.TemporaryDirectory(prefix="clptools-lab.") as folder:
        room = Room(Path(folder), servers)
        try:
            done = [room.run(name, case) for name, case in chosen.items()]
        finally:
            room.close()
    if write:
        titles = {name: title(case) for name, case in known().items()}
        (SOURCE / "lab/RESULTS.md").write_text(report.table(report.load(reports()), titles))
    failed = [each.case for each in done if each.outcome != "passed"]
    say(f"{len(done) - len(failed)} of {len(done)} cases passed; reports in {reports()}")
    if failed:
        say(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
