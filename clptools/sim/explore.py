"""Random runs: a seed makes a world and a fault schedule, the promises are checked throughout.

After the faults everything is mended and switched on.  Where only machines and networks failed
that must be enough; else an operator resumes, acknowledges and starts what is stopped.  Within
`settle_s` each group must then be whole on exactly one server (I8): `B + d`, a boot, a lease
proof and the time-outs of the scripts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from random import Random
from time import process_time

import msgspec

from clptools.core.model.settings import Settings
from clptools.core.node import Node
from clptools.sim.draw import Line
from clptools.sim.faults import kinds_of, schedule
from clptools.sim.host import SECOND, MakeNode
from clptools.sim.invariants import Violation
from clptools.sim.shrink import shrink
from clptools.sim.verbs import perform
from clptools.sim.world import Tell, World

_LOOK_S = 1.0
_AIDED = frozenset(
    {"request", "revise", "script", "trap", "monitor", "wipe", "forget", "run", "disk"}
)
"""Verbs after which a mended cluster may need a person; all others leave nothing behind."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a run follows from, but its seed."""

    settings: Settings
    seconds: float
    faults: str = "all"
    deep: bool = False
    """Check I4, I6, I7 and I9 too (slower)."""
    strict: bool = True
    """Check I5 over the whole cluster and I10 to I13 too."""
    lines: tuple[Line, ...] | None = None
    """A schedule instead of the seed's own."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """How one run went."""

    seed: int
    simulated_s: float
    cpu_s: float
    steps: int
    violations: tuple[Violation, ...] = ()
    gaps_s: tuple[float, ...] = ()
    """How long groups were out of service, each time."""
    waited: bool = False
    """A group could only go on because a person vouched, or everything was mended."""


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


def run_seed(
    plan: Plan,
    seed: int,
    *,
    make_node: MakeNode = Node,
    restore_node: MakeNode = Node.restore,
    tell: Tell | None = None,
) -> Run:
    """One whole run."""
    begun = process_time()
    world = World(plan.settings, seed, make_node, restore_node, tell=tell, journal=plan.deep)
    world.check.deep = plan.deep
    world.check.strict = plan.strict
    lines = plan.lines
    if lines is None:
        lines = tuple(schedule(plan.settings, seed, plan.seconds, kinds_of(plan.faults)))
    _begin(world)
    for at, line in lines:
        world.run_until(round(at * SECOND))
        if tell is not None:
            tell(f"{at:9.3f}  = {line}")
        perform(world, line)
        if world.check.violations:
            break
    if not world.check.violations:
        world.run_until(round(plan.seconds * SECOND))
    mend_and_settle(world, aided=needs_help(line for _, line in lines))
    world.check.finish()
    return Run(
        seed=seed,
        simulated_s=world.t / SECOND,
        cpu_s=process_time() - begun,
        steps=world.steps,
        violations=tuple(world.check.violations),
        gaps_s=tuple(gap.seconds for gap in world.check.service.gaps),
        waited=bool(world.vouched) or world.check.waited,
    )


def _begin(world: World) -> None:
    rng = Random(f"{world.seed} begin")
    known = rng.random() < 0.7  # else this is the very first start of the cluster
    for host in world.hosts.values():
        host.disk.member = host.disk.synced = known
        world.at(round(rng.random() * 3 * SECOND), world.start_agent, host)


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


def mend_and_settle(world: World, *, aided: bool) -> None:
    """The end of every story: all is mended and switched on, and must then be well in time."""
    if not world.check.violations:
        _mend(world)
        _settle(world, aided)


def needs_help(lines: Iterable[str]) -> bool:
    """Whether a person may have to put right what these lines leave behind."""
    return any(line.split()[0] in _AIDED for line in lines)


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


def _run_one(job: tuple[Plan, int]) -> Run:
    return run_seed(*job)


def run_jobs(jobs: Sequence[tuple[Plan, int]], processes: int = 1) -> Iterator[Run]:
    """The runs of several (plan, seed), in their order."""
    if processes <= 1 or len(jobs) < 2:
        yield from map(_run_one, jobs)
        return
    with ProcessPoolExecutor(processes) as pool:
        yield from pool.map(_run_one, jobs, chunksize=max(1, min(8, len(jobs) // 16)))


def shorten(
    plan: Plan, seed: int, tries: int = 150, *, tell: Tell | None = None
) -> tuple[tuple[Line, ...], Run]:
    """A seed's schedule without the lines that its first broken promise does not need.

    Takes up to `tries` runs; the story of the last one is told.
    """
    lines = tuple(schedule(plan.settings, seed, plan.seconds, kinds_of(plan.faults)))
    whole = run_seed(plan, seed)
    if not whole.violations:
        return lines, whole if tell is None else run_seed(plan, seed, tell=tell)
    wanted = whole.violations[0].invariant
    if wanted != "I8":
        # What came after it does not matter.
        end = min(plan.seconds, whole.violations[0].time_s + 1)
        lines = tuple(line for line in lines if line[0] < end)
        plan = msgspec.structs.replace(plan, seconds=end)

    def broken(candidate: tuple[Line, ...]) -> bool:
        again = run_seed(msgspec.structs.replace(plan, lines=candidate), seed)
        return any(v.invariant == wanted for v in again.violations)

    short = shrink(lines, broken, tries)
    return short, run_seed(msgspec.structs.replace(plan, lines=short), seed, tell=tell)
