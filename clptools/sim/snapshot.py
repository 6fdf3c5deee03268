"""A virtual machine that is set back to a snapshot: memory, disk, `/run` and clock of then.

No rule survives this while another server runs what the machine ran then; it is here to see what
happens afterwards.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from clptools.core.model.durable import Durable
from clptools.core.model.settings import Settings
from clptools.sim.host import Disk, Watchdog

if TYPE_CHECKING:
    from clptools.sim.host import Host
    from clptools.sim.world import World


@dataclass(slots=True)
class Snapshot:
    """One machine at one instant, between two operations on its resources."""

    node: bytes
    settings: Settings
    now: int
    incarnation: str
    run: Durable | None
    disk: Disk
    watchdog: Watchdog
    timers: dict[str, int]
    active: dict[tuple[str, str], str]


def take(world: World, host: Host) -> None:
    """Keep the machine as it is; nothing is kept where it stands still or begins something."""
    if host.node is None or host.frozen or host.operations:
        return
    host.snapshot = Snapshot(
        node=host.node.snapshot(),
        settings=host.node.settings,
        now=host.now(world.t),
        incarnation=host.incarnation,
        run=host.run,
        disk=deepcopy(host.disk),
        watchdog=deepcopy(host.watchdog),
        timers=dict(host.timers),
        active=dict(host.active),
    )


def restore(world: World, host: Host) -> None:
    """The machine is what it was when the snapshot was taken, its clock too."""
    kept = host.snapshot
    if kept is None:
        return
    world.note(f"{host.name} is set back to its snapshot")
    world.check.end_journal(host)
    host.forget_boot()
    host.powered = host.os_up = True
    host.on_mark += len(world.hosts)
    host.boot_us = world.t - kept.now * 1_000_000_000 // host.rate
    host.settings, host.run, host.disk = kept.settings, kept.run, deepcopy(kept.disk)
    host.disk.noted = host.boots
    host.active = dict(kept.active)
    host.incarnation = kept.incarnation
    host.node = world.restore_node(kept.settings, kept.node)
    if world.journal:
        world.check.begin_journal(host)
    host.watchdog = deepcopy(kept.watchdog)
    world.executor.watchdog_runs_on(host)
    host.timers = dict(kept.timers)
    world.executor.clock_changed(host)
    world.check.changed(host)
