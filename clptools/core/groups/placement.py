"""The coordinator's work: where each group should be, and one grant at a time to get it there.

Only with authority, and never while the cluster is suspended.  What is wanted of the groups
(`Shared`) is policy: losing it costs comfort, never safety; the proof is in
`core/safety/clearance.py`.
"""

from __future__ import annotations

import msgspec

from clptools.core import phrases as say
from clptools.core.cluster.election import Election
from clptools.core.cluster.holdings import holds, says_unproven
from clptools.core.cluster.peers import Peers
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.groups.intents import Intents
from clptools.core.groups.lifecycle import Lifecycle, pause_ms
from clptools.core.groups.selection import Selection
from clptools.core.model.actions import SendControl
from clptools.core.model.messages import Epoch, Grant, Intent, Order
from clptools.core.model.quorum import NEVER
from clptools.core.model.settings import Group
from clptools.core.model.state import GrantState, GroupRun, OfficeState, Phase, Waiting
from clptools.core.model.states import GrantStage, GroupState, GroupWhy, group_why
from clptools.core.model.transitions import GRANT, GrantChange
from clptools.core.notices import groups as notices
from clptools.core.notices import safety as of_safety
from clptools.core.safety.clearance import Clearance
from clptools.core.safety.fencing import Stake, StopFailed
from clptools.core.step import Change, Step

_ORDER_MS = 1_000
"""Proofs that say that a server has no power."""


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What one server says of one group."""

    server: str
    seen: Epoch
    held: bool
    state: str
    why: str


class Placement:
    """Decides, in office, who runs what."""

    def __init__(
        self,
        step: Step,
        state: OfficeState,
        peers: Peers,
        policy: SharedPolicy,
        election: Election,
        clearance: Clearance,
        intents: Intents,
        selection: Selection,
        lifecycle: Lifecycle,
    ) -> None:
        self.step = step
        self.state = state
        self.peers = peers
        self.policy = policy
        self.election = election
        self.clearance = clearance
        self.intents = intents
        self.selection = selection
        self.lifecycle = lifecycle

    def office_begins(self) -> None:
        """Nothing of an earlier office is carried over but the shared policy."""
        self.state.grants = {}
        self.clearance.office_begins()
        self.state.ordered_at = {}
        self.state.waiting = {}
        self.state.waiting_told = []
        self.state.retry_at = {}

    # ------------------------------------------------------------------ each settling

    def settle(self) -> None:
        """One look at every group."""
        step = self.step
        if not self.election.in_office():
            if self.state.waiting:
                self.state.waiting = {}
            return
        if self.policy.shared.suspended:
            self.state.waiting = {}
            return
        behind = self.policy.behind()
        if behind:
            for group in step.settings.groups:
                if not self.holders(group.name):
                    self._wait(group.name, say.waits_for_policy(behind), ())
            return
        if self.policy.shared.closing and (not self.policy.state.closing or self._stop_is_over()):
            # Left over from a stop of all that is over: somebody did not hear or follow it.
            self.policy.stop_is_over()
            self.policy.share(msgspec.structs.replace(self.policy.shared, closing=False))
        for group in step.settings.groups:
            self._place(group)

    def _stop_is_over(self) -> bool:
        """Whether nobody follows it any more: all that are heard, we too, have started since."""
        step = self.step
        return step.life.phase is Phase.RUNNING and not any(
            p.left or (p.beat is not None and p.beat.stopped) for p in self.peers.values()
        )

    def reports(self, group: str) -> list[Held]:
        """What every server, out or not, last said of a group; ours first."""
        step = self.step
        found: list[Held] = []
        run = self.lifecycle.runs.get(group)
        if run is not None:
            found.append(_own(step.me, run))
        for name, p in self.peers.items():
            found.extend(
                Held(server=name, seen=h.seen, held=h.held, state=h.state, why=h.why)
                for h in holds(p)
                if h.group == group
            )
        return found

    def holders(self, group: str) -> list[Held]:
        """Servers that say, or last said, that they hold it and are not cleared by being out."""
        return [
            h
            for h in self.reports(group)
            if h.held and (h.server == self.step.me or not self.peers.is_out(h.server))
        ]

    def waiting_for(self, server: str) -> tuple[str, ...]:
        """Groups that wait until it is proven down."""
        found = {g.name: self.wait_of(g.name) for g in self.step.settings.groups}
        return tuple(group for group, wait in found.items() if wait and server in wait[0].servers)

    def wait_of(self, group: str) -> tuple[Waiting, int] | None:
        """What a group waits for, and since when."""
        return self.state.waiting.get(group) or self._no_office(group)

    def _no_office(self, group: str) -> tuple[Waiting, int] | None:
        """Nobody can decide: what a group that is not run by anybody heard waits for."""
        step = self.step
        serving = step.life.phase is Phase.RUNNING
        if self.election.quorate() or not serving or not self.intents.of(group).wanted:
            return None
        if any(self.peers.is_online(h.server) for h in self.holders(group)):
            return None
        # Lost, or dark since we started: a server that boots alone waits, too.
        dark = [
            n
            for n, p in self.peers.items()
            if not self.peers.is_out(n) and (p.lost or not p.believed)
        ]
        if not dark:
            return None
        since = max(max(self.peers[n].lost_since for n in dark), step.life.started_at)
        return Waiting(text=say.waits_for_quorum(dark), servers=tuple(dark)), since

    def stop_failed(self, failed: StopFailed) -> None:
        """A forced stop ended without proof: says so, and which groups go on waiting."""
        groups = self.waiting_for(failed.server)
        self.step.notice(of_safety.ForcedStopFailed(failed.server, failed.why, groups))

    def stake(self) -> Stake:
        """What our work on groups means for forced stops."""
        return Stake(
            waited_for=frozenset(s for w, _ in self.state.waiting.values() for s in w.servers),
            granted={group: grant.server for group, grant in self.state.grants.items()},
        )

    def unproven(self) -> tuple[str, ...]:
        """Groups that could not start elsewhere, were they stopped where they run."""
        step = self.step
        dark = [s for s in self.peers if not self.peers.is_online(s)]
        if not dark:
            return ()
        return tuple(g.name for g in step.settings.groups if self._is_unproven(g.name, dark))

    def _is_unproven(self, group: str, dark: list[str]) -> bool:
        holders = {h.server for h in self.holders(group)}
        return any(s not in holders and not self.clearance.cleared(group, s).ok for s in dark)

    def _place(self, group: Group) -> None:
        reports = self.reports(group.name)
        self._react(group, reports)
        intent = self.intents.of(group.name)
        holders = [
            h for h in reports if h.held and not self.clearance.cleared(group.name, h.server).ok
        ]
        grant = self.state.grants.get(group.name)
        if grant is not None:
            self._follow(group, grant, holders)
            grant = self.state.grants.get(group.name)
        if holders:
            dark = [h.server for h in holders if not self.peers.is_online(h.server)]
            if intent.wanted and len(dark) == len(holders):
                self._wait(group.name, say.waits_for_proof(dark), tuple(dark))
            elif intent.wanted and all(_is_stuck_purge(h) for h in holders):
                self._wait(group.name, say.waits_for_stop([h.server for h in holders]), ())
            else:
                self.state.waiting.pop(group.name, None)
            self._keep(group, intent, holders)
            return
        if grant is not None:
            return
        if not intent.wanted or self.policy.shared.closing:
            self.state.waiting.pop(group.name, None)
            return
        self._start(group, intent)

    def _react(self, group: Group, reports: list[Held]) -> None:
        """Acts once on each release: what comes next depends on why it was released."""
        intent = self.intents.of(group.name)
        released = [h for h in reports if not h.held and h.why and h.seen.n > intent.handled]
        if not released:
            return
        newest = max(released, key=lambda h: h.seen)
        if any(h.held and h.seen > newest.seen for h in reports):
            return
        why = group_why(newest.why)
        change = msgspec.structs.replace(
            intent, handled=newest.seen.n, previous=newest.server, event="FAILOVER"
        )
        if why is GroupWhy.STOPPED:
            change = msgspec.structs.replace(change, wanted=False, event="START", previous="")
        elif why is GroupWhy.FAILOVER:
            change = msgspec.structs.replace(
                change,
                avoid=_with(intent.avoid, newest.server),
                stays=intent.stays or newest.server == group.servers[0],
            )
        elif why is GroupWhy.START_FAILED:
            change = msgspec.structs.replace(
                change,
                avoid=_with(intent.avoid, newest.server),
                stays=intent.stays or newest.server == group.servers[0],
                failures=intent.failures + 1,
                preferred="",
            )
        self.intents.amend(change)

    def _follow(self, group: Group, grant: GrantState, holders: list[Held]) -> None:
        """A grant under way: taken, refused, or to be said again."""
        step = self.step
        change = self._found(group, grant, holders)
        grant.stage = GRANT.after(grant.stage, change)
        if grant.stage in (GrantStage.DONE, GrantStage.VOID):
            del self.state.grants[group.name]
        if grant.stage is GrantStage.DONE:
            self._settled(group, grant.server)
        if change is GrantChange.UNSEEN:
            last = self.clearance.granted_at(group.name, grant.server)
            if step.now - last >= step.times.interval_ms:
                self._send_grant(group.name, grant)

    def _found(self, group: Group, grant: GrantState, holders: list[Held]) -> GrantChange:
        """What became of a grant, by what all servers say of the group."""
        step = self.step
        target = grant.server
        said = [h for h in self.reports(group.name) if h.server == target]
        if said and said[0].seen >= grant.epoch:
            if not said[0].held:
                return GrantChange.NOT_HELD
            online = said[0].state == GroupState.ONLINE
            return GrantChange.ONLINE if online else GrantChange.HELD
        if target == step.me or holders:
            return GrantChange.OVERTAKEN
        if target not in self.peers or not self.selection.eligible(group, target):
            # Never said again to one that is out, leaves, or is not configured any more.
            return GrantChange.NOT_ELIGIBLE
        if step.now - grant.granted_at > step.times.holder_ms:
            return GrantChange.EXPIRED
        return GrantChange.UNSEEN

    def _settled(self, group: Group, server: str) -> None:
        """It runs: what was remembered for its way there is over."""
        intent = self.intents.of(group.name)
        calm = Intent(
            group=group.name,
            wanted=True,
            event="FAILOVER",
            previous=server,
            handled=intent.handled,
            stays=intent.stays,
        )
        if calm != intent:
            self.intents.amend(calm)

    def _keep(self, group: Group, intent: Intent, holders: list[Held]) -> None:
        """Held somewhere: stop or move it where that is wanted."""
        step = self.step
        newest = max(holders, key=lambda h: h.seen)
        for other in holders:
            if other is not newest and other.state != GroupState.STOP_FAILED and other.seen.n:
                self._order(group, other, GroupWhy.MOVE, "GROUPSTOP", say.twice(group.name))
        if newest.state == GroupState.STOPPING:
            if intent.force and not intent.wanted:
                # The stop itself is tried once, however it ends; what goes before it is given up.
                if newest.server != step.me or self.lifecycle.run(group.name).migrations:
                    self._order(group, newest, GroupWhy.STOPPED, "GROUPSTOP", intent.reason)
                self.intents.amend(msgspec.structs.replace(intent, force=False))
            return
        if not intent.wanted or self.policy.shared.closing:
            if newest.state != GroupState.STOP_FAILED or intent.force:
                self._order(group, newest, GroupWhy.STOPPED, "GROUPSTOP", intent.reason)
            return
        if newest.state != GroupState.ONLINE:
            return
        preferred = intent.preferred
        may_move = group.name not in self.unproven()
        if newest.server not in group.servers and may_move:
            target, _ = self.selection.choose(group, intent)
            if target:
                reason = say.not_its_server(group.name, newest.server)
                self._order(group, newest, GroupWhy.MOVE, "GROUPMOVE", reason)
                return
        if preferred != newest.server and may_move and self.selection.would_take(group, intent):
            factor = "GROUPFAILOVER" if intent.avoid else "GROUPMOVE"
            self._order(group, newest, GroupWhy.MOVE, factor, intent.reason)
            return
        # A move to a server that cannot take it any more is given up: it must not leap there later.
        self._settled(group, newest.server)
        best = self._failback(group, newest.server) if may_move else ""
        if best:
            reason = say.failback(group.name, best)
            self.intents.amend(msgspec.structs.replace(intent, preferred=best, reason=reason))

    def _failback(self, group: Group, current: str) -> str:
        """The best server, if the group should go back to it by itself."""
        if group.failback != "auto" or group.servers[0] == current:
            return ""
        best = group.servers[0]
        intent = self.intents.of(group.name)
        if intent.stays:
            if not self.peers.is_online(best):
                self.intents.amend(msgspec.structs.replace(intent, stays=False))
            return ""
        if not self.selection.eligible(group, best):
            return ""
        if not self.selection.is_free(group, best):
            return ""
        return best

    def _order(self, group: Group, held: Held, why: GroupWhy, factor: str, reason: str) -> None:
        step = self.step
        if held.server == step.me:
            self.lifecycle.stop(group.name, why, factor, reason=reason)
            return
        key = f"{group.name}/{held.server}"
        if step.now - self.state.ordered_at.get(key, NEVER) < _ORDER_MS:
            return
        self.state.ordered_at[key] = step.now
        step.do(
            SendControl(
                to=held.server,
                message=Order(
                    group=group.name,
                    epoch=held.seen,
                    term=self.election.state.office_term,
                    why=why,
                    factor=factor,
                    reason=reason,
                ),
            )
        )

    def ordered(self, order: Order) -> None:
        """The coordinator wants a group of ours stopped."""
        run = self.lifecycle.runs.get(order.group)
        if run is None or not run.held or run.seen != order.epoch:
            return
        if order.term < self.election.state.term:
            return
        if run.state is GroupState.STOPPING and not run.migrations:
            return
        self.lifecycle.stop(order.group, group_why(order.why), order.factor, reason=order.reason)

    # ------------------------------------------------------------------ starting

    def _start(self, group: Group, intent: Intent) -> None:
        others = [s for s in self.peers if not self.clearance.cleared(group.name, s).ok]
        own = self.lifecycle.runs.get(group.name)
        if own is not None and own.held:
            return
        intent = self._tried_again(group, intent)
        target, reason = self.selection.choose(group, intent)
        if not target:
            self._wait(group.name, reason, ())
            return
        uncleared = [s for s in others if s != target]
        if uncleared:
            self._wait(group.name, say.waits_for_proof(uncleared), tuple(uncleared))
            return
        proofs = {s: self.clearance.cleared(group.name, s).proof for s in self.peers if s != target}
        self._grant(group, intent, target, reason, proofs)

    def _tried_again(self, group: Group, intent: Intent) -> Intent:
        """A group that starts nowhere is left alone for a while, then begins from its first server.

        The pauses grow; an operator's start is a new intent, and begins at once.
        """
        step = self.step
        if not self.selection.exhausted(group, intent):
            self.state.retry_at.pop(group.name, None)
            return intent
        at = self.state.retry_at.get(group.name)
        if at is None:
            pause = pause_ms(intent.rounds)
            self.state.retry_at[group.name] = step.now + pause
            tried = intent.avoid or (say.any_server,)
            step.notice(notices.GroupStartsNowhere(group.name, tried, pause))
            if group.name not in self.state.waiting_told:
                # With this it is told what it waits for.
                self.state.waiting_told = [*self.state.waiting_told, group.name]
        elif step.now >= at:
            del self.state.retry_at[group.name]
            # Manual is about lost servers: it was started, and is to be tried to the end.
            event = "START" if group.failover == "manual" else intent.event
            again = msgspec.structs.replace(
                intent, avoid=(), failures=0, rounds=intent.rounds + 1, event=event
            )
            self.intents.amend(again)
            return again
        return intent

    def _wait(self, group: str, text: str, servers: tuple[str, ...]) -> None:
        """Notes what a group waits for; said once the wait is no mere round trip."""
        step = self.step
        waiting = self.state.waiting
        wait = Waiting(text=text, servers=servers)
        was, began = waiting.get(group, (None, step.now))
        if was == wait:
            if group not in self.state.waiting_told and step.now - began > step.times.lease_ms // 2:
                self.state.waiting_told = [*self.state.waiting_told, group]
                step.notice(notices.GroupWaits(group, text))
            return
        waiting[group] = (wait, began)
        step.changed(Change.REPORT)

    def _grant(
        self, group: Group, intent: Intent, target: str, reason: str, proofs: dict[str, str]
    ) -> None:
        step = self.step
        term = self.election.state.office_term
        numbers = [h.seen.n for h in self.reports(group.name)]
        numbers += [e.n for e in self.clearance.epochs(group.name)]
        numbers.append(intent.handled)
        epoch = Epoch(term.number, term.candidate, max(numbers, default=0) + 1)
        ran = [h.server for h in self.reports(group.name) if h.held and h.server != target]
        event = "FAILOVER" if ran else intent.event
        previous = ran[0] if ran else intent.previous
        if previous == target:
            previous = ""
        self.clearance.granted(group.name, target, epoch)
        # An order is not repeated for a while; one to stop this epoch would be the first.
        self.state.ordered_at.pop(f"{group.name}/{target}", None)
        grant = GrantState(
            server=target,
            epoch=epoch,
            granted_at=step.now,
            event=event,
            previous=previous,
            reason=reason,
            off=tuple(s for s, proof in proofs.items() if proof == "power off"),
        )
        waited = self.state.waiting.pop(group.name, None)
        self.state.waiting_told = [g for g in self.state.waiting_told if g != group.name]
        step.notice(
            notices.GroupGranted(group.name, target, epoch.n, reason),
            because=say.proofs(group.name, proofs, step.now - waited[1] if waited else 0),
        )
        if target == step.me:
            self.lifecycle.begin(group.name, epoch, event, previous, grant.off)
            self.state.grants[group.name] = grant
            return
        self.state.grants[group.name] = grant
        self._send_grant(group.name, grant)

    def _send_grant(self, group: str, grant: GrantState) -> None:
        """Says a grant, or says it again; each time it is granted anew as far as proof goes."""
        step = self.step
        p = self.peers[grant.server]
        if p.beat is None:
            return
        self.clearance.granted(group, grant.server, grant.epoch)
        step.do(
            SendControl(
                to=grant.server,
                message=Grant(
                    group=group,
                    epoch=grant.epoch,
                    incarnation=p.incarnation,
                    sent_at=p.beat.sent_at,
                    event=grant.event,
                    previous=grant.previous,
                    reason=grant.reason,
                    off=grant.off,
                ),
            )
        )

    def stays(self, group: Group, outside: str = "") -> str:
        """Why the group had better stay here; empty: another server would take it, and could.

        `outside`: a server found for it in another server group.
        """
        step = self.step
        ruler = self.election.coordinator()
        if ruler == step.me:
            unproven = group.name in self.unproven()
        else:
            p = self.peers.get(ruler)
            unproven = p is not None and says_unproven(p, group.name)
        if unproven:
            return say.nowhere_proven
        able = any(
            s != step.me and not self.selection.not_eligible(s) and not self.selection.is_barred(s)
            for s in group.servers
        )
        return "" if outside or able else say.nowhere


def _is_stuck_purge(held: Held) -> bool:
    """Whether a server holds it only because what it may have left there could not be stopped."""
    return held.state == GroupState.STOP_FAILED and not held.seen.n


def _own(me: str, run: GroupRun) -> Held:
    return Held(server=me, seen=run.seen, held=run.held, state=run.state, why=run.why)


def _with(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return names if name in names else (*names, name)
