"""`python -m lab [CASE …]`: runs cases on whole machines; without names, all of them."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import pkgutil
import shutil
import sys
import time
import traceback
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

from lab import alone, cases, network, report
from lab.case import Lab
from lab.cluster import Cluster, sample
from lab.collector import Collector, longest_gap
from lab.guestagent import Failed, GuestGone
from lab.image import SERVERS, prepare
from lab.machine import SHARED_DISK_MB, Machine
from lab.places import SOURCE, Trouble, reports, say

RESTORED_WITHIN_S = 300.0


def known() -> dict[str, ModuleType]:
    """All cases in the order of a whole run: `boot`, then what shares its servers."""
    names = [each.name for each in pkgutil.iter_modules(cases.__path__)]
    found = {name.replace("_", "-"): importlib.import_module(f"lab.cases.{name}") for name in names}

    def order(item: tuple[str, ModuleType]) -> tuple[object, ...]:
        # Another BMC in band costs boots, another server one, another configuration a push.
        name, case = item
        wanted = configuration(case)
        hardware = own_timer(case), shared_disk(case)
        first = name != "boot", *hardware, servers(case), wanted != sample()
        return *first, wanted, not fresh(case), name

    return dict(sorted(found.items(), key=order))


def configuration(case: ModuleType) -> str:
    """The cluster's file for it."""
    return str(getattr(case, "CONFIG", sample()))


def servers(case: ModuleType) -> int:
    """How many servers its cluster has."""
    return int(getattr(case, "SERVERS", 2))


def fresh(case: ModuleType) -> bool:
    """Whether it wants servers that nothing happened to."""
    return bool(getattr(case, "FRESH", False))


def own_timer(case: ModuleType) -> bool:
    """Whether its servers need a BMC in band whose watchdog timer can be fed."""
    return bool(getattr(case, "OWN_TIMER", False))


def shared_disk(case: ModuleType) -> bool:
    """Whether its servers share a disk."""
    return bool(getattr(case, "SHARED_DISK", False))


def asked_only(case: ModuleType) -> bool:
    """Whether it is left out of a whole run: it measures, and takes its time."""
    return bool(getattr(case, "ASKED_ONLY", False))


def title(case: ModuleType) -> str:
    """The first line of its docstring."""
    return (case.__doc__ or "").strip().splitlines()[0].rstrip(".")


class Room:
    """The servers, and one case after the other on them."""

    def __init__(self, folder: Path) -> None:
        self._image = prepare()
        network.build(SERVERS)
        self._collector = Collector()
        self._collector.start()
        self._machines = [Machine(n, folder, self._image) for n in range(1, SERVERS + 1)]
        self._cluster = Cluster([])
        self._own_timer = False
        self._shared_disk = False
        self._folder = folder

    def run(self, name: str, case: ModuleType) -> report.Result:
        """Runs one case, whatever comes of it."""
        say(f"case {name}: {title(case)}")
        came = time.monotonic()
        lab = Lab(self._cluster, self._collector, self._image.deb)
        load = os.getloadavg()[0]
        try:
            self._ready(case)
            lab = Lab(self._cluster, self._collector, self._image.deb)
            case.run(lab)
            outcome = "passed"
        except Exception as error:
            # Also what the case's author did not think of: the other cases go on.
            if not isinstance(error, AssertionError | Trouble | GuestGone | Failed):
                traceback.print_exc()
            outcome = f"{type(error).__name__}: {error}"
        until = time.monotonic()
        broken = report.broken_promises(lab)
        if broken:
            outcome = "; ".join([*broken, outcome])
        gap_s = longest_gap(lab.words(), lab.begun, until).seconds
        result = report.Result(
            case=name,
            title=title(case),
            outcome=outcome,
            proof=lab.proof,
            gap_s=round(gap_s if lab.gap_s is None else lab.gap_s, 2),
            took_s=round(until - lab.begun, 1),
            figures=lab.figures,
            when=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
            load=load,
            steps=report.own_steps(lab),
        )
        folder = reports() / name
        shutil.rmtree(folder / "logs", ignore_errors=True)
        silent = self._cluster.keep_logs(folder / "logs") if outcome != "passed" else []
        self._heal()
        lab.take_alerts()
        report.save(folder, result, lab, until)
        for each in silent:
            with contextlib.suppress(Trouble):
                each.booted(RESTORED_WITHIN_S)
        self._cluster.keep_logs(folder / "logs", silent)
        took = f"{time.monotonic() - came:.0f} s in all"
        say(f"case {name}: {outcome}; longest gap {result.gap_s:.2f} s; {took}")
        return result

    def close(self) -> None:
        """The end of all servers."""
        for each in self._machines:
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

    def _ready(self, case: ModuleType) -> None:
        """A normal cluster as the case wants it; a new one where it cannot be mended."""
        wanted = configuration(case)
        present = len(self._cluster.servers)
        hardware = self._own_timer == own_timer(case) and self._shared_disk == shared_disk(case)
        usable = 0 < present <= servers(case) and hardware
        if usable and not fresh(case):
            try:
                for each in self._cluster.servers:
                    each.booted(RESTORED_WITHIN_S)
                self._cluster.normal()
                if present < servers(case):
                    self._add(self._machines[present : servers(case)], wanted)
                elif self._cluster.configuration != wanted:
                    self._cluster.push(wanted)
                    self._cluster.normal()
                return
            except (Trouble, GuestGone, Failed) as error:
                say(f"the cluster is made anew: {error}")
        self._own_timer = own_timer(case)
        self._shared_disk = shared_disk(case)
        self._make(servers(case), wanted)

    def _make(self, number: int, wanted: str) -> None:
        self.close()
        if self._shared_disk:
            with open(self._folder / "shared.raw", "wb") as disk:
                disk.truncate(SHARED_DISK_MB << 20)
        self._cluster = Cluster(self._machines[:number])
        self._boot(self._cluster.servers)
        self._cluster.create(wanted)
        self._cluster.normal()

    def _add(self, new: list[Machine], wanted: str) -> None:
        """New servers for the cluster that runs."""
        self._boot(new)
        self._cluster.add(new, wanted)
        self._cluster.normal()

    def _boot(self, new: list[Machine]) -> None:
        disk = self._folder / "shared.raw" if self._shared_disk else None
        for each in new:
            each.install(self._own_timer, disk)
        for each in new:
            each.press_on()
        for each in new:
            each.booted()


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
        names = given.cases or [name for name, case in every.items() if not asked_only(case)]
        chosen = {name: every[name] for name in every if name in names}
        if not alone.inside():
            lock = alone.take()
            _prepare(chosen)
            return alone.enter(lock)
        return _run(chosen, given.results, not given.cases)
    except Trouble as trouble:
        print(f"lab: {trouble}", file=sys.stderr)
        return 1


def _prepare(chosen: dict[str, ModuleType]) -> None:
    """What needs the network of this machine, which there is none of inside."""
    image = prepare()
    for name, case in chosen.items():
        if hasattr(case, "prepare"):
            try:
                case.prepare(image)
            except Trouble as trouble:
                say(f"case {name} will fail: {trouble}")


def _run(chosen: dict[str, ModuleType], write: bool, whole: bool) -> int:
    begun = time.monotonic()
    room = Room(alone.folder())
    try:
        done = [room.run(name, case) for name, case in chosen.items()]
    finally:
        room.close()
    passed = [each for each in done if each.outcome == "passed"]
    if whole:
        took = report.Whole(
            cases=len(done),
            passed=len(passed),
            minutes=round((time.monotonic() - begun) / 60, 1),
            when=datetime.now(UTC).strftime("%Y-%m-%d %H:%M"),
        )
        report.save_whole(reports(), took)
    if write:
        titles = {name: title(case) for name, case in known().items()}
        page = SOURCE / "lab/RESULTS.md"
        results, last = report.load(reports()), report.load_whole(reports())
        page.write_text(report.table(results, titles, last, page.read_text()))
    failed = [each.case for each in done if each.outcome != "passed"]
    say(f"{len(passed)} of {len(done)} cases passed; reports in {reports()}")
    if failed:
        say(f"failed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
