"""The promises, checked after every step against the ground truth of the world.

`promises.py` says what each of I1 to I14 promises; AUTH is the reason behind I1, and I8 is
judged at the end of a story (`explore.py`).

I4, I6 and I7 look into the core's state; they cost time and are checked in deep runs.  I5 over
the whole cluster, and I10 to I13, are judged with `strict` (`evidence.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clptools.core.cluster.peers import majority
from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.messages import NO_EPOCH, Beat, Epoch
from clptools.core.model.timing import times, turn_ms
from clptools.core.model.words import Failback, Operation
from clptools.sim.evidence import LOOK_US, Evidence, Situation
from clptools.sim.order import Order
from clptools.sim.promises import Service, Violation
from clptools.sim.records import Counts, Records
from clptools.sim.replay import Recorder

if TYPE_CHECKING:
    from clptools.core.model.settings import Group
    from clptools.sim.host import Host
    from clptools.sim.world import World

DESTRUCTIVE = {
    "shutdown",
    "reboot",
    "sysrq-panic",
    "keepalive-reset",
    "keepalive-panic",
    "bmc-reset",
    "bmc-power-off",
    "bmc-power-cycle",
    "bmc-nmi",
}
_AUDIBLE_US = 1_000_000
_ON_ITS_WAY_US = 120_000_000
"""How long a request may be held up between servers."""


class Checker:
    """Watches one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.violations: list[Violation] = []
        self.deep = False
        self.strict = True
        self.waited = False
        self.meddled = False
        """People, monitors or hardware gave reasons to stop something."""
        self.service = Service(world)
        self.evidence = Evidence(world)
        self.order = Order(world, self.evidence, self.service.where)
        self.counts = Counts(world)
        self.records = Records(self.report)
        self._begun: dict[tuple[str, str, int], int] = {}
        self._suspension: Epoch | None = None
        """The newest suspension that a majority knew, while it is not resumed."""
        self._resumed_at = -_ON_ITS_WAY_US
        self._could_run: dict[str, tuple[int, Situation]] = {}
        """Group that does not run -> since when the situation is this one."""
        world.at(LOOK_US, self._look)

    def report(self, invariant: str, text: str, *servers: str, group: str = "") -> None:
        """Remember a violation; each kind once a group and run is enough."""
        if any(v.invariant == invariant and v.group == group for v in self.violations):
            return
        found = Violation(
            seed=self.world.seed,
            invariant=invariant,
            time_s=round(self.world.t / 1_000_000, 3),
            group=group,
            servers=servers,
            text=text,
        )
        self.violations.append(found)
        self.world.note(f"VIOLATED {found.line()}")

    # --- I1 ------------------------------------------------------------------------------

    def running(self, host: Host, action: a.RunResource) -> None:
        """The start or stop of a resource begins."""
        if action.op == Operation.START:
            self._only_here(host, action.group)
            self.evidence.begun(host, action.group)
            if self._suspended(host, acts_alone=False) and not self._was_under_way(host, action):
                self.report("I5", f"started {action.group} while suspended", host.name)
        if action.op == Operation.STOP and self.strict:
            self._needless(host, action)
        disorder = self.order.broken(host, action)
        if disorder:
            self.report("I14", disorder, host.name, group=action.group)
        self._begun.setdefault((host.name, action.group, action.epoch), self.world.t)
        self.service.running(host, action)

    def _was_under_way(self, host: Host, action: a.RunResource) -> bool:
        """Whether this grant was being carried out before the suspension: that is finished."""
        begun = self._begun.get((host.name, action.group, action.epoch))
        return begun is not None and begun < self._suspended_since(host)

    def _only_here(self, host: Host, group: str) -> None:
        for other in self.world.hosts.values():
            if other is not host and any(g == group for g, _ in other.active):
                self.report(
                    "I1", "active on two servers at once", other.name, host.name, group=group
                )

    def changed(self, host: Host) -> None:
        """Something physical ended, settled or came back on this server."""
        for group in host.groups_active():
            self._only_here(host, group)
        self.service.changed(host)

    # --- AUTH ----------------------------------------------------------------------------

    def sent(self, host: Host, beat: Beat) -> None:
        """A heartbeat is about to leave."""

    def _two_authorities(self, host: Host) -> None:
        arbiter = host.settings.arbiter
        if arbiter is not None and not arbiter.strong:
            return  # both halves may win it: what they then start is I1
        rulers = []
        for other in self.world.hosts.values():
            node = other.node
            if node is None or node.state.election.office != "coordinator":
                continue
            kept, node.context.now = node.now, other.now(self.world.t)
            if node.authority.in_office():
                rulers.append(other.name)
            node.context.now = kept
        if len(rulers) > 1:
            self.report("AUTH", "two coordinators with authority", *rulers)

    # --- every step ----------------------------------------------------------------------

    def before(self, host: Host, event: e.Event, actions: list[a.Action]) -> None:
        """Between the decision and its execution."""
        broken = self.counts.saw(host, event, actions)
        if broken:
            self.report("I2", broken, host.name)
        if self.deep:
            self.records.saw(host, event, actions)

    def after(self, host: Host) -> None:
        """The step is through."""
        if host.node.state.election.office == "coordinator":
            self._two_authorities(host)

    def _suspended(self, host: Host, *, acts_alone: bool = True) -> bool:
        """Whether the cluster is suspended for this server: it knows so and no server knows of the
        end; or a majority has known it for longer than any grant lives."""
        if host.node is None or not (host.node.state.policy.shared.suspended or self.strict):
            return False
        nodes = [h.node for h in self.world.hosts.values() if h.node is not None]
        newest = max((n.state.policy.shared for n in nodes), key=lambda x: x.version)
        if not newest.suspended:
            return False
        if host.node.state.policy.shared.suspended:
            return True
        if acts_alone or not self.strict:
            return False
        lives_us = times(host.settings.cluster).grant_dead_ms * 1000
        return self._suspended_since(host) < self.world.t - lives_us

    def _suspended_since(self, host: Host) -> int:
        """When this server learned it, or a majority had, or "now" if it has not."""
        if host.node.state.policy.shared.suspended:
            return host.when(host.node.state.policy.suspended_at)
        learned = sorted(
            h.when(h.node.state.policy.suspended_at)
            for h in self.world.hosts.values()
            if h.node is not None and h.node.state.policy.shared.suspended
        )
        most = majority(len(host.settings.names))
        return learned[most - 1] if len(learned) >= most else self.world.t

    def resumed(self) -> None:
        """An operator ends the suspension; the word may be long on its way."""
        self._resumed_at = self.world.t

    def _look_at_suspension(self) -> None:
        """What a majority knows as suspended stays so until an operator resumes, or all forget."""
        known = [
            h.node.state.policy.shared for h in self.world.hosts.values() if h.node is not None
        ]
        suspended = [shared.version for shared in known if shared.suspended]
        newest = max((shared.version for shared in known), default=NO_EPOCH)
        kept = self._suspension
        if self.world.t - self._resumed_at < _ON_ITS_WAY_US:
            kept = None
        if kept is not None and not suspended and newest > kept:
            self.report("I5", "resumed, and nobody had asked for it")
        if not suspended:
            self._suspension = None
        elif len(suspended) >= majority(len(self.world.settings.names)):
            self._suspension = max(suspended)

    # --- I3, I5 --------------------------------------------------------------------------

    def script(self, host: Host, action: a.RunScript) -> None:
        """A recovery script begins."""
        if self._suspended(host):
            self.report("I5", f"ran {action.script} while suspended", host.name)

    def fencing(self, host: Host, action: a.Fence) -> None:
        """A forced stop begins, and no person asked for it (`clpforcestop`)."""
        p = host.node.state.peers.known.get(action.server)
        if p is not None and p.fence.wanted_by:
            return
        if self._suspended(host, acts_alone=False):
            self.report("I5", f"fenced {action.server} while suspended", host.name)

    def host_action(self, host: Host, action: a.HostAction) -> None:
        """A final action begins."""
        if action.action not in DESTRUCTIVE:
            return
        if self._suspended(host):
            self.report("I5", f"{action.action} while suspended", host.name)
        others = [h for h in self.world.hosts.values() if h is not host and h.node is not None]
        if not others and len(self.world.hosts) > 1 and not host.asked_down:
            self.report("I3", f"{action.action} of the last server", host.name)

    # --- I10 to I13 ----------------------------------------------------------------------

    def heard(self, sender: Host, hearer: Host, beat: Beat) -> None:
        """A heartbeat arrived at an agent that runs."""
        if self.strict:
            self.evidence.heard(sender, hearer, beat)

    def struck(self, by: Host, victim: Host, sent_us: int) -> None:
        """A forced stop switches a server off, or resets it; its command left at `sent_us`.

        Called by the model of the BMCs just before the power goes.
        """
        if not self.strict or victim.name in self.world.forced:
            return
        audible = self.evidence.audible_us(by, victim.name, sent_us)
        if audible > _AUDIBLE_US:
            self.report(
                "I12",
                f"powered off by {by.name}, which heard it for {audible / 1e6:.1f} s",
                victim.name,
            )
        victim.struck_by = by.name
        others = [h for h in self.world.hosts.values() if h is not victim]
        none_left = others and by.struck_by and not any(h.powered for h in others)
        # A BMC that takes longer for an order than a turn is no turn's fault.
        turn_us = turn_ms(victim.settings.cluster) * 1000
        victim.struck_late = self.world.t - sent_us > turn_us * 4 // 5
        if victim.struck_late or by.struck_late:
            return
        if none_left or (by.struck_by == victim.name and not by.powered):
            names = dict.fromkeys((by.name, victim.name))  # one, if it switched itself off
            self.report("I13", "the servers switched each other off", *names)

    def _needless(self, host: Host, action: a.RunResource) -> None:
        """A stop begins: what ran whole here had a reason to stop, or had none."""
        if self.service.where.get(action.group) != host.name:
            return
        cluster = host.settings.cluster
        rules = times(cluster)
        calm_us = 1000 * (rules.holder_ms + 2 * rules.lease_ms + rules.lost_ms)
        if self.evidence.healthy_us(host) <= calm_us:
            return
        if action.forced:
            self.report(
                "I11",
                "stopped by its lease, and was heard all the time",
                host.name,
                group=action.group,
            )
        elif not self.meddled and not self._returns(host, action):
            self.report(
                "I11", f"stopped ({action.factor}) without a reason", host.name, group=action.group
            )

    def _returns(self, host: Host, action: a.RunResource) -> bool:
        """Whether the configuration says that a group goes back to a better server."""
        group = host.settings.group(action.group)
        better = group.servers[: group.servers.index(host.name)] if group is not None else ()
        return (
            group is not None
            and group.failback == Failback.AUTO
            and any(self.world.hosts[name].node is not None for name in better)
        )

    def _look(self) -> None:
        self.world.at(self.world.t + LOOK_US, self._look)
        if not self.strict:
            return
        self.evidence.look()
        self._look_at_suspension()
        away = [g for g in self.world.settings.groups if not self._serves(g.name)]
        for name in [n for n in self._could_run if n not in {g.name for g in away}]:
            del self._could_run[name]
        if not away:
            return
        cliques = self.evidence.cliques()
        for group in away:
            self._in_time(group, cliques)

    def _serves(self, group: str) -> bool:
        where = self.service.where.get(group)
        if where is None:
            return self.service.is_asked(group)
        return not self.world.hosts[where].stalled

    def _in_time(self, group: Group, cliques: list[list[Host]]) -> None:
        bounds = [self.evidence.bound_us(group, clique) for clique in cliques]
        within_us, situation = max(bounds, default=(0, Situation()))
        if not within_us or not self.world.network.calm:
            self._could_run.pop(group.name, None)
            return
        since, was = self._could_run.get(group.name, (self.world.t, situation))
        if was != situation:
            since = self.world.t
        self._could_run[group.name] = since, situation
        if self.world.t - since > within_us:
            self.report(
                "I10",
                f"not running for {(self.world.t - since) / 1e6:.0f} s, and could be "
                f"({', '.join(situation.proofs) or 'all are up'})",
                *situation.servers,
                group=group.name,
            )

    # --- I9 ------------------------------------------------------------------------------

    def begin_anew(self, host: Host) -> None:
        """The core's state was changed from outside: it is judged by what it does from here on."""
        self.records.forget(host)
        self.begin_journal(host)

    def begin_journal(self, host: Host) -> None:
        """An incarnation begins whose events are kept."""
        host.recorder = Recorder(self.world.restore_node, host.node, host.node.settings)

    def journal(self, host: Host, now: int, event: e.Event, actions: list[a.Action]) -> None:
        """Keep one event and what it led to."""
        assert host.recorder is not None
        host.recorder.keep(now, event, actions)
        if host.recorder.full:
            self.end_journal(host)
            self.begin_journal(host)

    def end_journal(self, host: Host) -> None:
        """The incarnation, or a segment of it, ended: what was kept must come out again."""
        recorder, host.recorder = host.recorder, None
        if recorder is None or host.node is None:
            return
        differs = recorder.replay(host.node)
        if differs:
            self.report("I9", differs, host.name)

    def finish(self) -> None:
        """The run is over: what is still kept is replayed."""
        for host in self.world.hosts.values():
            self.end_journal(host)
