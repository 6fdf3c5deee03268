"""Whether a healthy cluster on a bad network ever takes a group over without need."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from random import Random

from clptools.core.node import Node
from clptools.sim.clusters import sample
from clptools.sim.verbs import perform
from clptools.sim.world import World
from tests.bench.report import Row, Section

SAMPLES = ("2bmc", "3bmc")
HOURS = float(os.environ.get("HOURS", "20"))
PROCESSES = 2
LOSS = 0.2
PAUSE_S = 0.5
EVERY_S = 20.0
"""Mean time between pauses, of one server or the other."""
_FIRST_SEED = 1


def measure() -> Section:
    """Two and three servers, defaults, for HOURS simulated hours altogether."""
    rows = []
    for name in SAMPLES:
        hours = HOURS / len(SAMPLES)
        with ProcessPoolExecutor(PROCESSES) as pool:
            told = pool.map(partial(false_takeovers, name), _seeds(hours), chunksize=4)
            found = [text for hour in told for text in hour]
        rows.append(
            Row(
                what=f"{name[0]} servers, {hours:g} simulated hours: groups moved or stopped",
                measured=str(len(found)) + (f" ({found[0]})" if found else ""),
                target="none",
                met=not found,
            )
        )
    return Section(
        title="False take-overs",
        how=(
            f"Nothing is broken: {LOSS:.0%} of all datagrams are lost, and about every "
            f"{EVERY_S:g} s a whole server stands still for {PAUSE_S * 1000:g} ms. Defaults: "
            "heartbeats every 0.2 s, time-out 3 s, lease 3 s. HOURS=1000 runs as long as you ask."
        ),
        rows=tuple(rows),
    )


def _seeds(hours: float) -> Iterable[int]:
    return range(_FIRST_SEED, _FIRST_SEED + max(1, round(hours)))


def false_takeovers(name: str, seed: int, seconds: float = 3600.0) -> list[str]:
    """What happened in one hour that should not have."""
    told: list[str] = []
    world = World(sample(name), seed, Node, Node.restore, tell=told.append)
    rng = Random(f"{seed} pauses")
    perform(world, "start")
    perform(world, "advance 10")
    perform(world, f"lose {LOSS}")
    at = 0.0
    while at < seconds:
        wait = rng.expovariate(1 / EVERY_S) + PAUSE_S
        world.advance(wait)
        at += wait
        perform(world, f"stall {rng.choice(world.settings.names)} {PAUSE_S}")
    gaps = world.check.service.gaps
    found = [f"{name} seed {seed}: out of service for {gap.seconds:.1f} s" for gap in gaps]
    found += [
        f"{name} seed {seed}: not running at the end"
        for group in world.settings.groups
        if group.name not in world.check.service.where
    ]
    found += [f"{name} seed {seed}: {line.strip()}" for line in told if "forced stop of" in line]
    found += [f"{name} seed {seed}: {v.line()}" for v in world.check.violations]
    return found
