"""Random fault schedules: lines of `verbs.py` with times, chosen by the seed.

`all` breaks everything that may break; `mild` is one fault at a time with time to settle, as
for the promise that nothing stops without need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import NamedTuple

from clptools.core.model.settings import Settings
from clptools.sim import hardware_faults as hardware
from clptools.sim import network_faults as network
from clptools.sim import operator_faults as operator
from clptools.sim import server_faults as server
from clptools.sim.draw import Draw, Line


class Kind(NamedTuple):
    """A kind of fault: how often, and how."""

    weight: int
    """0: rare, see `_RARE`."""
    make: Callable[[Draw], list[Line]]
    mild: bool = False
    """Among those that must not stop a service for long when they come alone."""
    group: str = "all"
    """`all`: every promise holds all the same; `beyond`: not even the rules can keep two copies
    apart then (see their page)."""
    beside: bool = False
    """Drawn beside the others, by a generator of their own: the seeds of before stay the same."""


KINDS: dict[str, Kind] = {
    "off": Kind(3, server.off, mild=True),
    "off-many": Kind(2, server.off_many),
    "reset": Kind(3, server.reset, mild=True),
    "kill": Kind(4, server.kill, mild=True),
    "forget": Kind(1, server.forget),
    "leave": Kind(3, server.leave),
    "pause": Kind(5, server.pause),
    "interrupt": Kind(4, server.interrupt),
    "wipe": Kind(1, server.wipe),
    "cut": Kind(6, network.cut, mild=True),
    "isolate": Kind(9, network.isolate, mild=True),
    "split": Kind(6, network.split),
    "lose": Kind(2, network.lose),
    "late": Kind(3, network.late),
    "double": Kind(1, network.double),
    "hold": Kind(3, network.hold),
    "bmc": Kind(3, hardware.bmc, mild=True),
    "bmc-and-power": Kind(2, hardware.bmc_and_power),
    "arbiter": Kind(3, hardware.arbiter, mild=True),
    "script": Kind(3, server.script),
    "trap": Kind(2, hardware.trap),
    "storm": Kind(1, hardware.storm),
    "message": Kind(1, hardware.message),
    "monitor": Kind(1, hardware.monitor),
    "operator": Kind(3, operator.operator),
    "suspend": Kind(1, operator.suspend),
    "confirm": Kind(1, operator.confirm),
    "service": Kind(2, operator.service),
    "revise": Kind(2, operator.revise),
    "recovery": Kind(1, operator.recovery),
    "toratio": Kind(0, operator.toratio),
    "predict": Kind(0, hardware.predict),
    "order": Kind(0, operator.order),
    "link": Kind(3, network.link, beside=True),
    "lose-one-way": Kind(2, network.lose_one_way, beside=True),
    "lose-large": Kind(1, network.lose_large, beside=True),
    "replay": Kind(2, network.replay, beside=True),
    "clock": Kind(2, server.clock, beside=True),
    "kill-often": Kind(3, server.kill_often, beside=True),
    "purge": Kind(3, server.purge, beside=True),
    "boots-long": Kind(2, server.boots_long, beside=True),
    "switch": Kind(4, network.switch, beside=True),
    "power-returns": Kind(4, hardware.power_returns, beside=True),
    "confirm-late": Kind(2, operator.confirm_late, beside=True),
    "push": Kind(5, operator.push, beside=True),
    "moment": Kind(6, server.moment, beside=True),
    "watchdog-missing": Kind(2, server.watchdog_missing, beside=True),
    "run": Kind(2, server.run, beside=True),
    "disk": Kind(2, server.disk, beside=True),
    "bmc-blinks": Kind(4, hardware.bmc_blinks, beside=True),
    "bmc-restarts": Kind(4, hardware.bmc_restarts, beside=True),
    "bmc-fence-lies": Kind(3, hardware.fence_lies, beside=True),
    "bmc-lies": Kind(2, hardware.bmc_lies, group="beyond", beside=True),
    "bmcs-swapped": Kind(1, hardware.bmcs_swapped, group="beyond", beside=True),
    "watchdog-dies": Kind(1, server.watchdog_dies, group="beyond", beside=True),
    "vm-restored": Kind(1, server.vm_restored, group="beyond", beside=True),
}
_NEVER_S = 1e9
_RARE = 0.1
"""Share of the runs in which a rare kind happens, twice, beside whatever else does."""


def kinds_of(words: str) -> tuple[str, ...]:
    """`all`, `mild`, or a list of kinds and groups with commas.  Raises ValueError for an unknown
    kind."""
    found: list[str] = []
    groups = {kind.group for kind in KINDS.values()}
    for word in (w.strip() for w in words.split(",") if w.strip()):
        if word == "mild":
            found += [name for name, kind in KINDS.items() if kind.mild]
        elif word in groups:
            found += [name for name, kind in KINDS.items() if kind.group == word]
        else:
            found.append(word)
    unknown = [n for n in found if n not in KINDS]
    if unknown or not found:
        known = ", ".join(["mild", *sorted(groups), *KINDS])
        raise ValueError(f"{', '.join(unknown) or words}: no such fault; known: {known}")
    return tuple(dict.fromkeys(found))


def _possible(kind: str, settings: Settings) -> bool:
    if kind == "arbiter":
        return settings.arbiter is not None
    if kind.startswith("bmc"):
        return any(s.has_power_control for s in settings.servers)
    if kind == "predict":
        return any(m.name == "mrw1" and m.prepare_on_stall for m in settings.monitors)
    if kind == "order":
        return len(settings.groups) > 1
    if kind == "link":
        return sum(1 for i in settings.interconnects if i.is_lan) > 1
    return True


def schedule(settings: Settings, seed: int, seconds: float, kinds: Iterable[str]) -> list[Line]:
    """A random schedule for so long, in order of time."""
    wanted = [n for n in kinds if _possible(n, settings)]
    usual = [n for n in wanted if KINDS[n].weight and not KINDS[n].beside]
    beside = [n for n in wanted if KINDS[n].beside]
    lines = _drawn(settings, Random(f"{seed} faults"), seconds, usual, (2.0, 5.0, 12.0))
    # Some runs have none of these, some nearly nothing else.
    paces = (4.0, 12.0, 12.0, 40.0, _NEVER_S) if usual else (4.0, 12.0)
    lines += _drawn(settings, Random(f"{seed} beside"), seconds, beside, paces)
    for name in (n for n in wanted if not KINDS[n].weight):
        apart = Random(f"{seed} {name}")
        # Where predictions plan moves, each run has some.
        if not usual or name == "predict" or apart.random() < _RARE:
            for begin in sorted((apart.uniform(0, seconds), apart.uniform(0, seconds))):
                lines += KINDS[name].make(Draw(settings, apart, round(begin, 3)))
    return sorted((round(t, 3), line) for t, line in lines if t < seconds)


def _drawn(
    settings: Settings, rng: Random, seconds: float, names: list[str], paces: tuple[float, ...]
) -> list[Line]:
    """Faults of these kinds, as often as they weigh."""
    weights = [KINDS[n].weight for n in names]
    # Mean time between faults: some runs are crowded, some let the cluster settle.
    pace = rng.choice(paces)
    lines: list[Line] = []
    at = rng.uniform(0.0, 12.0)
    if pace > seconds:
        return []
    while names and at < seconds:
        name = rng.choices(names, weights)[0]
        lines += KINDS[name].make(Draw(settings, rng, round(at, 3)))
        at += rng.expovariate(1 / pace)
    return lines
