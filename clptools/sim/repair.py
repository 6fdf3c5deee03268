"""The end of every story: all is mended and switched on, and must then be well in time (I8).

Where only machines and networks failed that must be enough; else an operator resumes,
acknowledges and starts what is stopped.  Within `settle_s` each group must be whole on exactly
one server: `B + d`, a boot, a lease proof and the time-outs of the scripts.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from clptools.core.model.settings import Settings
from clptools.sim.host import SECOND
from clptools.sim.verbs import perform
from clptools.sim.world import World

_LOOK_S = 1.0
_AIDED = frozenset(
    {"request", "revise", "script", "trap", "monitor", "wipe", "forget", "run", "disk"}
)
"""Verbs after which a mended cluster may need a person; all others leave nothing behind."""


def settle_s(settings: Settings) -> float:
    """The stated bound of I8: how long a mended cluster may take until all is well."""
    cluster = settings.cluster
    boot_s = 30.0
    slowest = max(
        (sum(r.start_timeout_ms + r.stop_timeout_ms for r in g.resources) for g in settings.groups),
        default=0,
    )
    rules = cluster.startup_wait_ms + 2 * cluster.lease_ms + cluster.self_stop_ms
    return boot_s + rules * 1.05 / 1000 + min(slowest / 1000, 120.0) + 60.0


def mend_and_settle(world: World, *, aided: bool) -> None:
    """The end of every story: all is mended and switched on, and must then be well in time."""
    if not world.check.violations:
        _mend(world)
        _settle(world, aided)


def needs_help(lines: Iterable[str]) -> bool:
    """Whether a person may have to put right what these lines leave behind."""
    return any(line.split()[0] in _AIDED for line in lines)


def settled(world: World) -> bool:
    """Whether every group is whole somewhere and all follow one coordinator."""
    for group in world.settings.groups:
        where = world.check.service.where.get(group.name)
        if where is None:
            return False
    told = set()
    for host in world.hosts.values():
        if not host.configured or host.node is None or host.node.state.life.newcomer:
            return False
        told.add(host.node.state.election.told)
    return len(told) == 1 and "" not in told


def _mend(world: World) -> None:
    """Everything works again, and is switched on."""
    world.check.waited = any(
        bool(wait.servers) and host.now(world.t) - since > 30_000
        for host in world.hosts.values()
        if host.node is not None
        for wait, since in host.node.state.office.waiting.values()
    )
    world.network.protected.clear()
    world.network.heal()
    world.network.keys.clear()
    for held in [*world.network.held, *world.network.tapped]:
        world.executor.delivery.release(*held)
    for bmc in world.bmcs.of.values():
        bmc.mend()
    for arbiter in world.arbiters.values():
        arbiter.mend()
    for host in world.hosts.values():
        host.scripts.clear()
        host.stop_after = None
        host.upon.clear()
        host.watchdog.works = True
        host.run_fails = False
        host.disk.read_only, host.disk.notes = False, True
        world.note_boot_again(host)
        host.boot_s = 0.0
        world.thaw(host)
        host.enabled = True
        world.power_on(host)
        world.start_agent(host)
    world.note("everything is mended")


def _settle(world: World, aided: bool) -> None:
    bound = world.t + round(settle_s(world.settings) * SECOND)
    begun = world.t
    next_word = world.t + 15 * SECOND
    stops = False
    while world.t < bound:
        world.advance(_LOOK_S)
        if world.check.violations:
            return
        if settled(world) and world.t > begun + 5 * SECOND:
            return
        if world.t >= next_word:
            _switch_on(world)
            if aided:
                _operator(world, stops)
            stops = not stops
            next_word = world.t + 20 * SECOND
    whole = world.check.service.where
    took = f"{settle_s(world.settings):.0f} s after the faults"
    took += "" if aided else ", nobody having helped"
    for group in world.settings.groups:
        if group.name not in whole:
            world.check.report("I8", f"not running {took}", group=group.name)
    if not world.check.violations:
        world.check.report("I8", f"no coordinator that all follow {took}")


def _switch_on(world: World) -> None:
    """A server that a forced stop or a final action powered off is switched on."""
    for host in world.hosts.values():
        world.power_on(host)
        world.start_agent(host)


def _operator(world: World, stops: bool) -> None:
    """What a person would do who finds groups not running, or the configuration in parts."""
    part = [h for h in world.hosts.values() if h.configured and h.node is not None]
    if not part:
        return
    name = part[0].name
    numbers = {h.settings.revision if h.configured else -1 for h in world.hosts.values()}
    newest = max(part, key=lambda h: h.settings.revision)
    whole = msgspec.structs.replace(newest.settings, revision=0) == world.settings
    if (len(numbers) > 1 or not whole) and perform(world, f"revise {newest.name} again"):
        # Refused: what did not reach all comes first.
        perform(world, f"revise {newest.name} same")
    for host in part:
        if host.service_stopped:
            perform(world, f"request {host.name} service-start {host.name}")
    perform(world, f"request {name} resume")
    for monitor in world.settings.monitors:
        if monitor.type == "mrw":
            for host in part:
                perform(world, f"request {host.name} acknowledge {monitor.name}")
    for group in world.settings.groups:
        if group.name in world.check.service.where:
            continue
        if stops:
            perform(world, f"request {name} stop {group.name} force")
        else:
            perform(world, f"request {name} start {group.name} force")
