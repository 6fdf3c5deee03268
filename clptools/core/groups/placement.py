"""The coordinator's work: where each group should be, and one grant at a time to get it there.

Only with authority, and never while the cluster is suspended.  What is wanted of the groups
(`Shared`) is policy: losing it costs comfort, never safety; the proof is in `core/safety/clearance.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from clptools.core import sentences as say
from clptools.core.cluster.holdings import holds
from clptools.core.groups.lifecycle import pause_ms
from clptools.core.model.actions import SendControl
from clptools.core.model.messages import Epoch, Grant, Intent, Order
from clptools.core.model.quorum import NEVER
from clptools.core.model.settings import Group
from clptools.core.model.state import GrantState, GroupRun, Phase, Waiting
from clptools.core.model.states import GroupState, GroupWhy, group_why

if TYPE_CHECKING:
    from clptools.core.node import Node

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

    def __init__(self, node: Node) -> None:
        self.node = node

    # ------------------------------------------------------------------ shared policy

    def office_begins(self) -> None:
        """Nothing of an earlier office is carried over but the shared policy."""
        state = self.node.state
        state.grants = {}
        state.granted_at = {}
        state.granted_epoch = {}
        state.ordered_at = {}
        state.waiting = {}
        state.waiting_told = []
        state.retry_at = {}

    # ------------------------------------------------------------------ each settling

    def settle(self) -> None:
        """One look at every group."""
        node = self.node
        if not node.votes.in_office():
            if node.state.waiting:
                node.state.waiting = {}
            return
        if node.state.shared.suspended:
            node.state.waiting = {}
            return
        behind = self.node.policy.behind()
        if behind:
            for group in node.settings.groups:
                if not self.holders(group.name):
                    self._wait(group.name, say.waits_for_policy(behind), ())
            return
        if node.state.shared.closing and (not node.state.closing or self._stop_is_over()):
            # Left over from a stop of all that is over: somebody did not hear or follow it.
            node.state.closing = False
            self.node.policy.share(msgspec.structs.replace(node.state.shared, closing=False))
        for group in node.settings.groups:
            self._place(group)

    def _stop_is_over(self) -> bool:
        """Whether nobody follows it any more: all that are heard, we too, have started since."""
        node = self.node
        return node.state.phase is Phase.RUNNING and not any(
            p.left or (p.beat is not None and p.beat.stopped) for p in node.state.peers.values()
        )

    def reports(self, group: str) -> list[Held]:
        """What every server, out or not, last said of a group; ours first."""
        node = self.node
        found: list[Held] = []
        run = node.state.groups.get(group)
        if run is not None:
            found.append(_own(node.me, run))
        for name, p in node.state.peers.items():
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
            if h.held and (h.server == self.node.me or not self.node.membership.is_out(h.server))
        ]

    def unproven(self) -> tuple[str, ...]:
        """Groups that could not start elsewhere, were they stopped where they run."""
        node = self.node
        dark = [s for s in node.state.peers if not node.membership.is_online(s)]
        if not dark:
            return ()
        return tuple(g.name for g in node.settings.groups if self._is_unproven(g.name, dark))

    def _is_unproven(self, group: str, dark: list[str]) -> bool:
        holders = {h.server for h in self.holders(group)}
        return any(s not in holders and not self.node.proof.cleared(group, s).ok for s in dark)

    def _place(self, group: Group) -> None:
        node = self.node
        reports = self.reports(group.name)
        self._react(group, reports)
        intent = self.node.policy.intent(group.name)
        holders = [h for h in reports if h.held and not node.proof.cleared(group.name, h.server).ok]
        grant = node.state.grants.get(group.name)
        if grant is not None:
            self._follow(group, grant, holders)
            grant = node.state.grants.get(group.name)
        if holders:
            dark = [h.server for h in holders if not node.membership.is_online(h.server)]
            if intent.wanted and len(dark) == len(holders):
                self._wait(group.name, say.waits_for_proof(dark), tuple(dark))
            elif intent.wanted and all(_is_stuck_purge(h) for h in holders):
                self._wait(group.name, say.waits_for_stop([h.server for h in holders]), ())
            else:
                node.state.waiting.pop(group.name, None)
            self._keep(group, intent, holders)
            return
        if grant is not None:
            return
        if not intent.wanted or node.state.shared.closing:
            node.state.waiting.pop(group.name, None)
            return
        self._start(group, intent)

    def _react(self, group: Group, reports: list[Held]) -> None:
        """Acts once on each release: what comes next depends on why it was released."""
        intent = self.node.policy.intent(group.name)
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
        self.node.policy.amend(change)

    def _follow(self, group: Group, grant: GrantState, holders: list[Held]) -> None:
        """A grant under way: taken, refused, or to be said again."""
        node = self.node
        target = grant.server
        said = [h for h in self.reports(group.name) if h.server == target]
        if said and said[0].seen >= grant.epoch:
            holding = said[0]
            if holding.held and holding.state == GroupState.ONLINE:
                del node.state.grants[group.name]
                self._settled(group, target)
            elif not holding.held:
                del node.state.grants[group.name]
            return
        if target == node.me or holders:
            node.state.grants.pop(group.name, None)
            return
        p = node.state.peers.get(target)
        if p is None or not self.node.choice.eligible(group, target):
            # Never said again to one that is out, leaves, or is not configured any more.
            del node.state.grants[group.name]
            return
        if node.now - grant.granted_at > node.times.holder_ms:
            del node.state.grants[group.name]
            return
        last = node.state.granted_at[group.name][target]
        if node.now - last >= node.times.interval_ms:
            self._send_grant(group.name, grant)

    def _settled(self, group: Group, server: str) -> None:
        """It runs: what was remembered for its way there is over."""
        intent = self.node.policy.intent(group.name)
        calm = Intent(
            group=group.name,
            wanted=True,
            event="FAILOVER",
            previous=server,
            handled=intent.handled,
            stays=intent.stays,
        )
        if calm != intent:
            self.node.policy.amend(calm)

    def _keep(self, group: Group, intent: Intent, holders: list[Held]) -> None:
        """Held somewhere: stop or move it where that is wanted."""
        node = self.node
        newest = max(holders, key=lambda h: h.seen)
        for other in holders:
            if other is not newest and other.state != GroupState.STOP_FAILED and other.seen.n:
                self._order(group, other, GroupWhy.MOVE, "GROUPSTOP", say.twice(group.name))
        if newest.state == GroupState.STOPPING:
            if intent.force and not intent.wanted:
                # The stop itself is tried once, however it ends; what goes before it is given up.
                if newest.server != node.me or node.groups.run(group.name).migrations:
                    self._order(group, newest, GroupWhy.STOPPED, "GROUPSTOP", intent.reason)
                self.node.policy.amend(msgspec.structs.replace(intent, force=False))
            return
        if not intent.wanted or node.state.shared.closing:
            if newest.state != GroupState.STOP_FAILED or intent.force:
                self._order(group, newest, GroupWhy.STOPPED, "GROUPSTOP", intent.reason)
            return
        if newest.state != GroupState.ONLINE:
            return
        preferred = intent.preferred
        may_move = group.name not in self.unproven()
        if newest.server not in group.servers and may_move:
            target, _ = self.node.choice.choose(group, intent)
            if target:
                reason = say.not_its_server(group.name, newest.server)
                self._order(group, newest, GroupWhy.MOVE, "GROUPMOVE", reason)
                return
        if preferred != newest.server and may_move and self.node.choice.would_take(group, intent):
            factor = "GROUPFAILOVER" if intent.avoid else "GROUPMOVE"
            self._order(group, newest, GroupWhy.MOVE, factor, intent.reason)
            return
        # A move to a server that cannot take it any more is given up: it must not leap there later.
        self._settled(group, newest.server)
        best = self._failback(group, newest.server) if may_move else ""
        if best:
            reason = say.failback(group.name, best)
            self.node.policy.amend(msgspec.structs.replace(intent, preferred=best, reason=reason))

    def _failback(self, group: Group, current: str) -> str:
        """The best server, if the group should go back to it by itself."""
        if group.failback != "auto" or group.servers[0] == current:
            return ""
        best = group.servers[0]
        intent = self.node.policy.intent(group.name)
        if intent.stays:
            if not self.node.membership.is_online(best):
                self.node.policy.amend(msgspec.structs.replace(intent, stays=False))
            return ""
        if not self.node.choice.eligible(group, best):
            return ""
        if not self.node.choice.is_free(group, best):
            return ""
        return best

    def _order(self, group: Group, held: Held, why: GroupWhy, factor: str, reason: str) -> None:
        node = self.node
        if held.server == node.me:
            node.groups.stop(group.name, why, factor, reason=reason)
            return
        key = f"{group.name}/{held.server}"
        if node.now - node.state.ordered_at.get(key, NEVER) < _ORDER_MS:
            return
        node.state.ordered_at[key] = node.now
        node.emit(
            SendControl(
                to=held.server,
                message=Order(
                    group=group.name,
                    epoch=held.seen,
                    term=node.state.votes.office_term,
                    why=why,
                    factor=factor,
                    reason=reason,
                ),
            )
        )

    def ordered(self, order: Order) -> None:
        """The coordinator wants a group of ours stopped."""
        node = self.node
        run = node.state.groups.get(order.group)
        if run is None or not run.held or run.seen != order.epoch:
            return
        if order.term < node.state.votes.term:
            return
        if run.state is GroupState.STOPPING and not run.migrations:
            return
        node.groups.stop(order.group, group_why(order.why), order.factor, reason=order.reason)

    # ------------------------------------------------------------------ starting

    def _start(self, group: Group, intent: Intent) -> None:
        node = self.node
        others = [s for s in node.state.peers if not node.proof.cleared(group.name, s).ok]
        own = node.state.groups.get(group.name)
        if own is not None and own.held:
            return
        intent = self._tried_again(group, intent)
        target, reason = self.node.choice.choose(group, intent)
        if not target:
            self._wait(group.name, reason, ())
            return
        uncleared = [s for s in others if s != target]
        if uncleared:
            self._wait(group.name, say.waits_for_proof(uncleared), tuple(uncleared))
            return
        proofs = {
            s: node.proof.cleared(group.name, s).proof for s in node.state.peers if s != target
        }
        self._grant(group, intent, target, reason, proofs)

    def _tried_again(self, group: Group, intent: Intent) -> Intent:
        """A group that starts nowhere is left alone for a while, then begins from its first server.

        The pauses grow; an operator's start is a new intent, and begins at once.
        """
        node = self.node
        if not node.choice.exhausted(group, intent):
            node.state.retry_at.pop(group.name, None)
            return intent
        at = node.state.retry_at.get(group.name)
        if at is None:
            pause = pause_ms(intent.rounds)
            node.state.retry_at[group.name] = node.now + pause
            text = say.starts_nowhere(group.name, intent.avoid, pause)
            node.record("rc", 12, "ERROR", (group.name,), text)
            if group.name not in node.state.waiting_told:
                # With this it is told what it waits for.
                node.state.waiting_told = [*node.state.waiting_told, group.name]
        elif node.now >= at:
            del node.state.retry_at[group.name]
            # Manual is about lost servers: it was started, and is to be tried to the end.
            event = "START" if group.failover == "manual" else intent.event
            again = msgspec.structs.replace(
                intent, avoid=(), failures=0, rounds=intent.rounds + 1, event=event
            )
            node.policy.amend(again)
            return again
        return intent

    def _wait(self, group: str, text: str, servers: tuple[str, ...]) -> None:
        """Notes what a group waits for; said once the wait is no mere round trip."""
        node = self.node
        waiting = node.state.waiting
        wait = Waiting(text=text, servers=servers)
        was, began = waiting.get(group, (None, node.now))
        if was == wait:
            if group not in node.state.waiting_told and node.now - began > node.times.lease_ms // 2:
                node.state.waiting_told = [*node.state.waiting_told, group]
                node.record("rc", 65, "WARN", (group,), say.waits(group, text))
            return
        waiting[group] = (wait, began)
        self.node.report_due = True

    def _grant(
        self, group: Group, intent: Intent, target: str, reason: str, proofs: dict[str, str]
    ) -> None:
        node = self.node
        state = node.state
        term = state.votes.office_term
        numbers = [h.seen.n for h in self.reports(group.name)]
        granted = state.granted_epoch.setdefault(group.name, {})
        numbers += [e.n for e in granted.values()]
        numbers.append(intent.handled)
        epoch = Epoch(term.number, term.candidate, max(numbers, default=0) + 1)
        ran = [h.server for h in self.reports(group.name) if h.held and h.server != target]
        event = "FAILOVER" if ran else intent.event
        previous = ran[0] if ran else intent.previous
        if previous == target:
            previous = ""
        state.granted_at.setdefault(group.name, {})[target] = node.now
        granted[target] = epoch
        # An order is not repeated for a while; one to stop this epoch would be the first.
        state.ordered_at.pop(f"{group.name}/{target}", None)
        grant = GrantState(
            server=target,
            epoch=epoch,
            granted_at=node.now,
            event=event,
            previous=previous,
            reason=reason,
            off=tuple(s for s, proof in proofs.items() if proof == "power off"),
        )
        waited = state.waiting.pop(group.name, None)
        state.waiting_told = [g for g in state.waiting_told if g != group.name]
        node.record(
            "rc",
            64,
            "INFO",
            (group.name, target),
            say.granted(node.me, group.name, epoch.n, target, reason),
            because=say.proofs(group.name, proofs, node.now - waited[1] if waited else 0),
        )
        if target == node.me:
            node.groups.begin(group.name, epoch, event, previous, grant.off)
            state.grants[group.name] = grant
            return
        state.grants[group.name] = grant
        self._send_grant(group.name, grant)

    def _send_grant(self, group: str, grant: GrantState) -> None:
        """Says a grant, or says it again; each time it is granted anew as far as proof goes."""
        node = self.node
        p = node.state.peers[grant.server]
        if p.beat is None:
            return
        node.state.granted_at[group][grant.server] = node.now
        node.emit(
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


def _is_stuck_purge(held: Held) -> bool:
    """Whether a server holds it only because what it may have left there could not be stopped."""
    return held.state == GroupState.STOP_FAILED and not held.seen.n


def _own(me: str, run: GroupRun) -> Held:
    return Held(server=me, seen=run.seen, held=run.held, state=run.state, why=run.why)


def _with(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return names if name in names else (*names, name)
