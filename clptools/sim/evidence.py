"""What the servers could know, from the ground truth: who hears whom, who is fit, what is provable.

The promises about service *during* faults are judged by this (`invariants.py`).  Everything here
errs on the side of saying nothing: what is unclear, half connected or just changing is not judged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from clptools.core.cluster.peers import majority
from clptools.core.model.messages import Beat
from clptools.core.model.settings import Arbiter, Group
from clptools.core.model.state import Phase
from clptools.core.model.states import GroupState
from clptools.core.model.timing import times
from clptools.core.model.words import Exclusive, Failover, Startup
from clptools.sim.bmc_model import Bmc

if TYPE_CHECKING:
    from clptools.sim.host import Host
    from clptools.sim.world import World

LOOK_US = 250_000
_GAP = 3.5
"""Intervals without a heartbeat after which it counts as not heard."""
_PROMPT_MS = 1_000
"""A heartbeat that took longer on its way says nothing about now."""
_YOUNG_MS = 62_000
"""How long an "off" is no proof in a BMC session that never read "on"."""
_KNOWN_US = 10_000_000
"""Contact of this length before a server went: each server that reads its BMC has read on."""
_NEVER = -(10**12)


class Situation(NamedTuple):
    """Who could run a group, and by which proofs of the others."""

    servers: tuple[str, ...] = ()
    proofs: tuple[str, ...] = ()


class Evidence:
    """Follows one world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._streaks: dict[tuple[str, str], tuple[int, int]] = {}
        """(hearer, speaker) -> first and last arrival of heartbeats without a gap."""
        self._echoed: set[tuple[str, str]] = set()
        """(hearer's incarnation, speaker's) that once echoed it."""
        self._met: dict[tuple[str, str], bool] = {}
        """(hearer's incarnation, speaker) -> whether its newest heartbeat said "armed"."""
        self._started: dict[tuple[str, int], set[str]] = {}
        """(server, boot) -> groups of which something was started."""
        self._forgot: set[tuple[str, int]] = set()
        """(server, boot) of which the state in `/run` was lost: what it stops then, it may hold."""
        self._fit_since: dict[str, int] = {}
        self._off_since: dict[str, int] = {}
        self._sound_since: dict[str, int] = {}
        self._healthy_since: dict[str, int] = {}

    # --- what happens --------------------------------------------------------------------

    def heard(self, sender: Host, hearer: Host, beat: Beat) -> None:
        """A heartbeat arrives at an agent that runs."""
        now = self._world.t
        if sender.node is None or beat.incarnation != sender.incarnation:
            return
        if beat.to != hearer.name:
            return  # it only passes it on
        if sender.now(now) - beat.sent_at > _PROMPT_MS:
            return
        # One that never echoed us may be a replay, for all we know: it does not count as heard.
        if beat.echo is not None and beat.echo.incarnation == hearer.incarnation:
            self._echoed.add((hearer.incarnation, sender.incarnation))
        if (hearer.incarnation, sender.incarnation) not in self._echoed:
            return
        key = hearer.name, sender.name
        first, last = self._streaks.get(key, (now, _NEVER))
        self._streaks[key] = (now if now - last > self._gap_us(hearer) else first, now)
        self._met[hearer.incarnation, sender.name] = beat.armed

    def begun(self, host: Host, group: str) -> None:
        """Something of a group is started."""
        self._started.setdefault((host.name, host.boots), set()).add(group)

    def started(self, host: Host) -> None:
        """Another agent begins, however short the time without one was."""
        self._fit_since.pop(host.name, None)
        self._healthy_since.pop(host.name, None)

    def forgot(self, host: Host) -> None:
        """Its agent starts without state, and not for the first time since it booted."""
        self._forgot.add((host.name, host.boots))

    # --- who hears whom ------------------------------------------------------------------

    def _gap_us(self, hearer: Host, intervals: float = _GAP) -> int:
        return int(hearer.settings.cluster.heartbeat_interval_ms * 1000 * intervals)

    def audible_us(self, hearer: Host, speaker: str, at: int) -> int:
        """For how long before `at`, and from then on, its heartbeats arrived without a gap."""
        first, last = self._streaks.get((hearer.name, speaker), (0, _NEVER))
        if self._world.t - last > self._gap_us(hearer):
            return 0
        return max(0, at - first)

    def _hears(self, hearer: Host, speaker: Host, within: float = _GAP) -> bool:
        _, last = self._streaks.get((hearer.name, speaker.name), (0, _NEVER))
        return self._world.t - last <= self._gap_us(hearer, within)

    def _mutual(self, one: Host, two: Host, within: float = _GAP) -> bool:
        return self._hears(one, two, within) and self._hears(two, one, within)

    # --- who is fit ----------------------------------------------------------------------

    def look(self) -> None:
        """Note since when each server is fit, off, healthy, and its BMC sound."""
        now, hosts = self._world.t, list(self._world.hosts.values())
        for host in hosts:
            _since(self._fit_since, host.name, self._is_fit(host), now)
            _since(self._off_since, host.name, not host.powered, now)
            _since(self._sound_since, host.name, sound(self._world.bmcs.of[host.name], now), now)
        for host in hosts:
            _since(self._healthy_since, host.name, self._is_healthy(host), now)

    def healthy_us(self, host: Host) -> int:
        """For how long it has exchanged heartbeats with a majority that is fit, and may vote.

        0: not just now.
        """
        if not self._is_healthy(host, within=1.5):
            return 0
        return self._world.t - self._healthy_since.get(host.name, self._world.t)

    def _is_healthy(self, host: Host, within: float = _GAP) -> bool:
        """`within`: the intervals in which a heartbeat must have come, each way."""
        if host.name not in self._fit_since or not self._decides(host):
            return False
        heard = 1 + sum(
            self._mutual(host, other, within)
            for other in self._world.hosts.values()
            if other is not host and self._votes(other) and _alike(host, other)
        )
        return heard >= majority(len(host.settings.names))

    def _votes(self, host: Host) -> bool:
        """An agent that starts is silent in elections at first, however short it was away."""
        return host.name in self._fit_since and host.node is not None and host.node.peers.ripe()

    def _is_fit(self, host: Host) -> bool:
        """Its agent runs, takes part fully and has no configuration to take over."""
        node = host.node
        if node is None or host.frozen or not host.configured or not host.os_up:
            return False
        state = node.state
        return (
            state.life.phase is Phase.RUNNING
            and not state.life.newcomer
            and not state.revision.names
            and state.ratio.ratio == 1
            and host.name in host.settings.names
        )

    def _decides(self, host: Host) -> bool:
        """Whether no arbiter that replaces the majority is out of order."""
        arbiter = host.settings.arbiter
        if arbiter is None or not arbiter.required:
            return True
        holder = self._world.arbiters[arbiter.name].holder
        mine = holder in ("", host.name) or self._mutual(host, self._world.hosts[holder])
        return mine and self._arbiter_sound(host)

    def _arbiter_sound(self, host: Host) -> bool:
        settings = host.settings.arbiter
        model = self._world.arbiters.get(settings.name) if settings is not None else None
        return model is not None and not (model.down or model.slow_us or model.cut_from)

    # --- what could run, and by which proof ----------------------------------------------

    def cliques(self) -> list[list[Host]]:
        """Fit servers that all hear each other, and hear and are heard by no other server."""
        hosts = list(self._world.hosts.values())
        left = [h for h in hosts if h.name in self._fit_since]
        found: list[list[Host]] = []
        while left:
            first, *rest = left
            clique = [first, *(o for o in rest if _alike(first, o) and self._mutual(first, o))]
            left = [o for o in left if o not in clique]
            others = [o for o in hosts if o not in clique]
            whole = all(self._mutual(a, b) for a in clique for b in clique if a is not b)
            apart = not any(self._hears(a, b) or self._hears(b, a) for a in clique for b in others)
            if whole and apart:
                found.append(clique)
        return found

    def bound_us(self, group: Group, clique: list[Host]) -> tuple[int, Situation]:
        """Within what time the group must run, were the clique left as it is; 0: not said.

        Another situation is counted anew.
        """
        names = {h.name for h in clique}
        settings = clique[0].settings
        rules = times(settings.cluster)
        proofs: list[str] = []
        if not self._may_start(group, clique):
            return 0, Situation()
        for name in settings.names:
            if name not in names:
                proofs.append(self._proof(self._world.hosts[name], clique))
                if not proofs[-1]:
                    return 0, Situation()
        off = sum(1 for p in proofs if p.startswith("off"))
        voters = len(settings.names) - off
        if len(clique) < voters and not self._may_rule(clique, voters, proofs):
            return 0, Situation()
        ms = rules.lost_ms + rules.silence_ms + 3 * rules.lease_ms + 5_000
        if "fence" in proofs:
            ms += (2 + len(settings.names)) * rules.fence_delay_ms + 25_000
        if "lease" in proofs:
            ms += rules.clear_by_lease_ms
        if "off-young" in proofs:
            ms += _YOUNG_MS
        if any(self._is_held(h, group) for h in clique):
            ms += sum(r.stop_timeout_ms for r in group.resources)
        ms += len(group.resources) * self._world.script_us[1] // 1000
        return ms * 1020, Situation(tuple(sorted(names)), tuple(proofs))

    def _may_rule(self, clique: list[Host], voters: int, proofs: list[str]) -> bool:
        arbiter = clique[0].settings.arbiter
        if arbiter is not None and self._is_held_elsewhere(arbiter, clique):
            return False
        if arbiter is not None and arbiter.required:
            return self._arbiter_sound(clique[0])
        if len(clique) >= majority(voters):
            return True
        if 2 * len(clique) != voters:
            return False
        if arbiter is not None:
            return arbiter.strong and self._arbiter_sound(clique[0])
        return all(p == "fence" or p.startswith("off") for p in proofs)

    def _is_held_elsewhere(self, arbiter: Arbiter, clique: list[Host]) -> bool:
        """Whether a server outside of the clique rules by the arbiter, and by its own policy."""
        holder = self._world.arbiters[arbiter.name].holder
        return holder in self._fit_since and all(holder != h.name for h in clique)

    def _may_start(self, group: Group, clique: list[Host]) -> bool:
        """Whether the clique's policy wants it, and nothing that people did is in the way."""
        shared = max((h.node.state.policy.shared for h in clique), key=lambda x: x.version)
        # A push may have changed its servers, or be under way: what all of the clique know counts.
        known = [_group(h, group.name) for h in clique]
        if any(
            g is None or g.startup != Startup.AUTO or g.failover != Failover.AUTO for g in known
        ):
            return False
        # One that cannot note its boot takes no group, and keeps none from the others.
        fit = [h for h in clique if h.disk.noted == h.boots]
        # Nor does one whose copy of the group's data is old.
        fit = [h for h in fit if not any(map(group.resource, h.node.state.mirrors.behind))]
        able = [h for h in fit if all(h.name in g.servers for g in known if g)]
        if not any(self._is_alone(group.name, h, clique) for h in able):
            return False
        if not all(self._is_online(name, clique) for g in known if g for name in awaited(g)):
            return False
        if shared.suspended or shared.closing:
            return False
        intent = next((i for i in shared.intents if i.group == group.name), None)
        if intent is not None and (not intent.wanted or intent.failures):
            return False
        for host in clique:
            if any(g == group.name for g, _ in host.active) or not self._scripts_work(host, group):
                return False
            # Else the boot is the proof, whatever its stop script says.
            if self._is_held(host, group) and not self._is_clean(host, group):
                return False
        return True

    def _is_alone(self, group: str, host: Host, clique: list[Host]) -> bool:
        """Whether nothing may run there from which the group is strictly kept apart."""
        apart = {
            other
            for h in clique
            for other, how in h.settings.apart.get(group, {}).items()
            if how is Exclusive.ABSOLUTE
        }
        runs = host.node.state.lifecycle.runs
        return not any(g in apart for g, _ in host.active) and not any(
            run.held for name, run in runs.items() if name in apart
        )

    def _is_online(self, group: str, clique: list[Host]) -> bool:
        """Whether a group runs whole on one of the clique, as far as it is configured."""
        if all(_group(h, group) is None for h in clique):
            return True
        runs = (h.node.state.lifecycle.runs.get(group) for h in clique)
        return any(r is not None and r.held and r.state is GroupState.ONLINE for r in runs)

    def _is_held(self, host: Host, group: Group) -> bool:
        run = host.node.state.lifecycle.runs.get(group.name)
        return run is not None and bool(run.held)

    def _is_clean(self, host: Host, group: Group) -> bool:
        """Whether nothing of the group can have been started since it booted, for all to know."""
        boot = host.name, host.boots
        return boot not in self._forgot and group.name not in self._started.get(boot, ())

    def _scripts_work(self, host: Host, group: Group) -> bool:
        scripts = host.scripts
        if any(op == "monitor" for _, op in scripts.failing):
            return False
        ops = {"start"} if self._is_clean(host, group) else {"start", "stop"}
        names = {r.name for r in group.resources} | {"*"}
        broken = scripts.failing | scripts.hanging | set(scripts.slow_us)
        return not any(name in names and op in ops for name, op in broken)

    def _proof(self, host: Host, clique: list[Host]) -> str:
        """By what a server outside of the clique can be cleared; empty: by nothing certain."""
        world, settings = self._world, clique[0].settings
        server = settings.server(host.name)
        readable = server is not None and server.has_power_control
        readable = readable and host.name in self._sound_since
        # A lie is no proof where it was seen, until the BMC reads on while its server is heard.
        readable = readable and not any(
            m.node.state.peers.known[host.name].bmc.lies for m in clique
        )
        if not host.powered:
            if not readable:
                return ""
            off = self._off_since.get(host.name, world.t)
            known = all(self._fit_since[m.name] < off - _KNOWN_US for m in clique)
            known = known and self._sound_since[host.name] < off - _KNOWN_US
            # Others than these two may have had no session with its BMC before.
            keep = [name for name in settings.names if name != host.name][:2]
            if server is None or not server.power_is_polled:
                return "off-young"
            return "off" if known and all(m.name in keep for m in clique) else "off-young"
        if not host.os_up or (host.node is not None and host.node.state.life.newcomer):
            return ""
        if not all((m.incarnation, host.name) in self._met for m in clique):
            return ""
        known = (
            all(self._fit_since[m.name] < world.t - _KNOWN_US for m in clique)
            and self._sound_since.get(host.name, world.t) < world.t - _KNOWN_US
        )
        if readable and known and settings.forced_stop.action in ("power-off", "reset"):
            return "fence"
        if settings.leases_armed and all(self._met[m.incarnation, host.name] for m in clique):
            return "lease"
        return ""


def awaited(group: Group) -> tuple[str, ...]:
    """Groups after which it starts, wherever they run."""
    return (*group.start_after, *group.start_after_same_server)


def sound(bmc: Bmc, now: int) -> bool:
    """Whether nothing is wrong with it, or with the way to it."""
    wrong = bmc.dead or bmc.slow_us or bmc.stuck_on or bmc.lies_off or bmc.blinks or bmc.fence_fails
    tricks = bmc.fence_lies or bmc.fence_late_us or bmc.drives or bmc.still or bmc.cut_from
    busy = bmc.fence_busy_us or bmc.fence_unanswered
    return not (wrong or tricks or busy or now < max(bmc.away_until, bmc.blind_until))


def _since(when: dict[str, int], name: str, true: bool, now: int) -> None:
    if true:
        when.setdefault(name, now)
    else:
        when.pop(name, None)


def _group(host: Host, name: str) -> Group | None:
    """A group as the configuration of that server has it."""
    return next((g for g in host.settings.groups if g.name == name), None)


def _alike(one: Host, two: Host) -> bool:
    """Whether both vote by the same configuration."""
    return bool(one.node is not None and two.node is not None) and (
        one.node.settings.voters == two.node.settings.voters
    )
