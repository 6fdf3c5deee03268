"""The coordinator's work: where each group should be, and one grant at a time to get it there.

Only with authority, and never while the cluster is suspended.  What is wanted of the groups
(`Shared`) is policy: losing it costs comfort, never safety; the proof is in
`core/safety/clearance.py`.
"""

from __future__ import annotations

import msgspec

from clptools.core import phrases as say
from clptools.core.cluster.authority import Authority
from clptools.core.cluster.holdings import says_unproven
from clptools.core.cluster.peers import Peers
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.groups.exclusion import Exclusion
from clptools.core.groups.grants import Grants
from clptools.core.groups.holders import Held, Holders
from clptools.core.groups.lifecycle import Lifecycle
from clptools.core.groups.runs import GroupRuns, pause_ms
from clptools.core.groups.selection import Selection
from clptools.core.groups.start_order import StartOrder
from clptools.core.groups.stop_order import StopOrder
from clptools.core.groups.waits import Waits
from clptools.core.model.actions import SendControl
from clptools.core.model.group_state import OfficeState
from clptools.core.model.messages import Intent, Order
from clptools.core.model.settings import Group
from clptools.core.model.state import Phase
from clptools.core.model.states import GroupState, GroupWhy, group_why
from clptools.core.model.timing import NEVER
from clptools.core.model.transitions import GrantChange
from clptools.core.model.words import StopKind
from clptools.core.notices import groups as notices
from clptools.core.safety.clearance import Clearance
from clptools.core.safety.fencing import Stake
from clptools.core.step import Step

_ORDER_MS = 1_000
"""An order to stop is not repeated within this."""


class Placement:
    """Decides, in office, who runs what."""

    def __init__(
        self,
        step: Step,
        state: OfficeState,
        peers: Peers,
        policy: SharedPolicy,
        authority: Authority,
        clearance: Clearance,
        holders: Holders,
        selection: Selection,
        exclusion: Exclusion,
        start_order: StartOrder,
        stop_order: StopOrder,
        groups: GroupRuns,
        lifecycle: Lifecycle,
        waits: Waits,
        grants: Grants,
    ) -> None:
        self.step = step
        self.state = state
        self.peers = peers
        self.policy = policy
        self.authority = authority
        self.clearance = clearance
        self.holders = holders
        self.selection = selection
        self.exclusion = exclusion
        self.start_order = start_order
        self.stop_order = stop_order
        self.groups = groups
        self.lifecycle = lifecycle
        self.waits = waits
        self.grants = grants
        self._calm: dict[str, tuple[str, Intent]] = {}
        """Group -> server and intent that `_settled` found calm, or made so: values, so they stay
        true, and as a rule the next ones are the same."""

    def office_begins(self) -> None:
        """Carries nothing over from an earlier office but the shared policy."""
        self.state.grants = {}
        self.clearance.office_begins()
        self.state.ordered_at = {}
        self.state.waiting = {}
        self.state.waiting_told = []
        self.state.retry_at = {}

    # ------------------------------------------------------------------ each settling

    def settle(self) -> None:
        """Decides what comes next for every group."""
        step = self.step
        if not self.authority.in_office():
            if self.state.waiting:
                self.state.waiting = {}
            return
        if self.policy.shared.suspended:
            self.state.waiting = {}
            return
        behind = self.policy.behind()
        if behind:
            for group in step.settings.groups:
                if not self.holders.of(group.name):
                    self.waits.note(group.name, say.waits_for_policy(behind))
            return
        if self.policy.shared.closing and (not self.policy.state.closing or self._stop_is_over()):
            # It is left over from a stop of all servers that is over.
            self.policy.stop_is_over()
            self.policy.share(msgspec.structs.replace(self.policy.shared, closing=False))
        dark = self._dark()
        for group in step.settings.groups:
            self._place(group, dark)

    def _stop_is_over(self) -> bool:
        """Whether no server still obeys it: all that are heard, and we, have started since."""
        step = self.step
        return step.life.phase is Phase.RUNNING and not any(
            p.left or (p.beat is not None and p.beat.stopped) for p in self.peers.values()
        )

    def stake(self) -> Stake:
        """What our work on groups means for forced stops."""
        return Stake(
            waited_for=frozenset(s for w, _ in self.state.waiting.values() for s in w.servers),
            granted={group: grant.server for group, grant in self.state.grants.items()},
        )

    def unproven(self) -> tuple[str, ...]:
        """Groups that could not start elsewhere, were they stopped where they run."""
        dark = self._dark()
        groups = self.step.settings.groups if dark else ()
        return tuple(g.name for g in groups if self._is_unproven(g.name, dark))

    def _dark(self) -> list[str]:
        """Servers that do not take part now; nothing that placement does changes it."""
        return [s for s in self.peers if not self.peers.is_online(s)]

    def _is_unproven(self, group: str, dark: list[str]) -> bool:
        if not dark:
            return False
        holders = {h.server for h in self.holders.of(group)}
        return any(s not in holders and not self.clearance.cleared(group, s).ok for s in dark)

    def _place(self, group: Group, dark: list[str]) -> None:
        reports = self.holders.reports(group.name)
        self._react(group, reports)
        holders = [
            h for h in reports if h.held and not self.clearance.cleared(group.name, h.server).ok
        ]
        grant = self.state.grants.get(group.name)
        if grant is not None:
            change = self.grants.follow(group, grant, holders)
            if change is GrantChange.ONLINE and self._as_wanted(group, grant.server):
                self._settled(group, grant.server)
            elif change is GrantChange.EXPIRED:
                self._not_taken(group, grant.server)
            grant = self.state.grants.get(group.name)
        intent = self.policy.intent_of(group.name)
        if holders:
            silent = [h.server for h in holders if not self.peers.is_online(h.server)]
            if intent.wanted and len(silent) == len(holders):
                self.waits.note(group.name, say.waits_for_proof(silent), tuple(silent))
            elif intent.wanted and all(_is_stuck_purge(h) for h in holders):
                self.waits.note(group.name, say.waits_for_stop([h.server for h in holders]))
            else:
                self.state.waiting.pop(group.name, None)
            self._keep(group, intent, holders, dark)
            return
        if grant is not None:
            return
        if not intent.wanted or self.policy.shared.closing:
            self.state.waiting.pop(group.name, None)
            return
        self._start(group, intent)

    def _react(self, group: Group, reports: list[Held]) -> None:
        """Acts once on each release; what comes next depends on its reason."""
        intent = self.policy.intent_of(group.name)
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
        elif why in (GroupWhy.START_FAILED, GroupWhy.START_FATAL):
            change = msgspec.structs.replace(
                change,
                avoid=_with(intent.avoid, newest.server),
                stays=intent.stays or newest.server == group.servers[0],
                failures=intent.failures + 1,
                preferred="",
                fatal=why is GroupWhy.START_FATAL,
            )
        self.policy.amend(change)

    def _as_wanted(self, group: Group, server: str) -> bool:
        """Whether nothing else was asked for while it started there."""
        intent = self.policy.intent_of(group.name)
        return intent.wanted and intent.preferred in ("", server)

    def _settled(self, group: Group, server: str) -> None:
        """The group runs: its intent is only that it goes on."""
        intent = self.policy.intent_of(group.name)
        if self._calm.get(group.name) == (server, intent):
            return
        calm = Intent(
            group=group.name,
            wanted=True,
            event="FAILOVER",
            previous=server,
            handled=intent.handled,
            stays=intent.stays,
        )
        if calm != intent:
            self.policy.amend(calm)
        self._calm[group.name] = server, calm

    def _not_taken(self, group: Group, server: str) -> None:
        """A server that is heard did not take the group: another one is tried first."""
        intent = self.policy.intent_of(group.name)
        avoid = _with(intent.avoid, server)
        self.policy.amend(msgspec.structs.replace(intent, avoid=avoid, preferred=""))

    def _keep(self, group: Group, intent: Intent, holders: list[Held], dark: list[str]) -> None:
        """Stops or moves a group that is held, where that is wanted."""
        step = self.step
        newest = max(holders, key=lambda h: h.seen)
        for other in holders:
            if other is not newest and other.state != GroupState.STOP_FAILED and other.seen.n:
                self._order(group, other, GroupWhy.MOVE, "GROUPSTOP", say.twice(group.name))
        if newest.state == GroupState.STOPPING:
            if intent.force and not intent.wanted:
                # The stop itself is tried once, however it ends; a migration before it is given up.
                if newest.server != step.me or self.groups.run(group.name).migrations:
                    self._order(group, newest, GroupWhy.STOPPED, "GROUPSTOP", intent.reason)
                self.policy.amend(msgspec.structs.replace(intent, force=False))
            return
        if not intent.wanted or self.policy.shared.closing:
            if intent.force or self._may_stop(group, newest):
                self._order(group, newest, GroupWhy.STOPPED, "GROUPSTOP", intent.reason)
            return
        if newest.state != GroupState.ONLINE:
            return
        preferred = intent.preferred
        may_move = not self._is_unproven(group.name, dark)
        wrong = self._wrong_server(group, newest.server)
        if wrong and may_move:
            target, _ = self.selection.choose(group, intent)
            if target and not self.start_order.held_up(group, target):
                self._order(group, newest, GroupWhy.MOVE, "GROUPMOVE", wrong)
                return
        if not intent.force and self.start_order.held_up(group, preferred):
            may_move = False
        if preferred != newest.server and may_move and self.selection.would_take(group, intent):
            factor = "GROUPFAILOVER" if intent.avoid else "GROUPMOVE"
            self._order(group, newest, GroupWhy.MOVE, factor, intent.reason, intent.planned)
            return
        # A move to a server that cannot take it any more is given up, and not made up for later.
        self._settled(group, newest.server)
        best = self._failback(group, newest.server) if may_move else ""
        if best and not self.start_order.awaited(group, best):
            reason = say.failback(group.name, best)
            self.policy.amend(msgspec.structs.replace(intent, preferred=best, reason=reason))

    def _may_stop(self, group: Group, held: Held) -> bool:
        """Whether a stop that stays may begin: not again after it failed, and in order."""
        if held.state == GroupState.STOP_FAILED:
            return False
        closing = self.policy.shared.closing
        kind = StopKind.CLUSTER if closing else StopKind.GROUP
        # Who leaves tells of its own groups.
        return not self.stop_order.waits(group, kind, tells=not closing)

    def _wrong_server(self, group: Group, server: str) -> str:
        """Why a group must not stay where it runs, as after a push; empty: it may."""
        if server not in group.servers:
            return say.not_its_server(group.name, server)
        other = self.exclusion.intrudes(group.name, server)
        return say.shares_server(group.name, other, server) if other else ""

    def _failback(self, group: Group, current: str) -> str:
        """The server that the group should go back to by itself; empty: none."""
        if group.failback != "auto" or group.servers[0] == current:
            return ""
        best = group.servers[0]
        intent = self.policy.intent_of(group.name)
        if intent.stays:
            if not self.peers.is_online(best):
                self.policy.amend(msgspec.structs.replace(intent, stays=False))
            return ""
        if not self.selection.eligible(group, best):
            return ""
        if not self.selection.is_free(group, best) or self.selection.is_unfit(group, best):
            return ""
        return "" if self.exclusion.neighbour(group.name, best) else best

    def stop_older(self, group: Group, server: str) -> bool:
        """Orders a server that runs an older copy of a group to stop it; whether it does run one.

        That happens by itself as well, but not again once it failed.
        """
        holders = self.holders.of(group.name)
        newest = max(holders, key=lambda h: h.seen, default=None)
        older = next((h for h in holders if h.server == server and h is not newest), None)
        if older is None:
            return False
        self.state.ordered_at.pop(f"{group.name}/{server}", None)
        self._order(group, older, GroupWhy.MOVE, "GROUPSTOP", say.twice(group.name))
        return True

    def _order(
        self,
        group: Group,
        held: Held,
        why: GroupWhy,
        factor: str,
        reason: str,
        planned: int = 0,
    ) -> None:
        """Orders a holder to stop; `planned`: the event behind a planned move, or 0."""
        step = self.step
        if held.server == step.me:
            self.lifecycle.stop(group.name, why, factor, migrate=bool(planned), reason=reason)
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
                    term=self.authority.state.office_term,
                    why=why,
                    factor=factor,
                    reason=reason,
                    planned=planned,
                ),
            )
        )

    # ------------------------------------------------------------------ starting

    def _start(self, group: Group, intent: Intent) -> None:
        others = [s for s in self.peers if not self.clearance.cleared(group.name, s).ok]
        own = self.groups.runs.get(group.name)
        if own is not None and own.held:
            return
        intent = self._tried_again(group, intent)
        target, reason = self.selection.choose(group, intent)
        if not target:
            self.waits.note(group.name, reason)
            return
        uncleared = [s for s in others if s != target]
        if uncleared:
            self.waits.note(group.name, say.waits_for_proof(uncleared), tuple(uncleared))
            return
        if not intent.force and self.start_order.awaited(group, target):
            self.state.waiting.pop(group.name, None)  # `StartOrder` notes what it waits for
            return
        self.grants.give(group, intent, target, reason)
        if intent.preferred not in ("", target):
            # It cannot take it now: what is asked for from here on is a new wish.
            self.policy.amend(msgspec.structs.replace(intent, preferred=""))

    def _tried_again(self, group: Group, intent: Intent) -> Intent:
        """A group that could start nowhere pauses, then is tried from its first server again.

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
            tried = self.selection.failures(group.name, intent.avoid) or (say.any_server,)
            # What is wrong with the configuration is wrong on the others, too.
            left = () if intent.fatal else self.selection.untried(group, intent)
            to = left[0] if left else ""
            step.notice(notices.GroupStartsNowhere(group.name, tried, pause, left, to))
            self.waits.mark_recorded(group.name)  # by this record
        elif step.now >= at:
            del self.state.retry_at[group.name]
            # Manual is about lost servers: a group that was started is tried to the end.
            event = "START" if group.failover == "manual" else intent.event
            again = msgspec.structs.replace(
                intent, avoid=(), failures=0, fatal=False, rounds=intent.rounds + 1, event=event
            )
            self.policy.amend(again)
            return again
        return intent

    def stays(self, group: Group, outside: str = "") -> str:
        """Why a recovery leaves the group here; empty: another server would take it, and could.

        `outside`: a server found for it in another server group.
        """
        step = self.step
        ruler = self.authority.coordinator()
        if ruler == step.me:
            unproven = group.name in self.unproven()
        else:
            p = self.peers.get(ruler)
            unproven = p is not None and says_unproven(p, group.name)
        if unproven:
            return say.nowhere_proven
        others = [s for s in group.servers if s != step.me and not self.selection.is_barred(s)]
        able = [s for s in others if self.selection.would_do(group, s)]
        if not outside and not able:
            return say.nowhere
        held_up = [self.start_order.held_up(group, s) for s in ([outside] if outside else able)]
        return say.would_wait_for(held_up[0]) if all(held_up) else ""


def _is_stuck_purge(held: Held) -> bool:
    """Whether a server holds it only because what it may have left there could not be stopped."""
    return held.state == GroupState.STOP_FAILED and not held.seen.n


def _with(names: tuple[str, ...], name: str) -> tuple[str, ...]:
    return names if name in names else (*names, name)
