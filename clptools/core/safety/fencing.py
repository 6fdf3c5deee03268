"""Forced stop: which server may power off which, and when (`docs/rules.md`, *Fencing*).

    lost --> [order: one command, within half a second] --> reads off: proof
               ^                                    |
               '-- still lost, still ours to give --'-- time-out --> failed, again later

The core gives one order after another, and each only while the reasons for it hold: the server is
not heard, and its BMC has answered for a second without a gap (where both networks come back
together, its heartbeats arrive first).  What the BMC answers to an order is no evidence; off reads
are, by the one rule of `power.py`.

Only a coordinator that hears a majority fences, or an exact half without newcomers.  There both
sides may try to, so each has turns of its own: from the last exchange on, place by place takes its
turn (`timing.turn_ms`), and an order leaves only at its beginning (`_turn_of`), so that its victim
is off before the next one begins.  Place 0 is the holder of the first configured group; all others
follow by name.  An arbiter decides this, too: a server to which it says yes has place 0.  There is
no such danger where the BMC heartbeat stopped with the others: a server whose BMC heartbeat
stopped is hung and cannot fence us.  A server that stalled itself, such as a paused machine, fences
nobody before it has listened again: the silence was its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from clptools.core import phrases as say
from clptools.core.cluster.authority import Authority
from clptools.core.cluster.holdings import holds
from clptools.core.cluster.peers import Peers
from clptools.core.cluster.power import Power
from clptools.core.cluster.revision import Revision
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.model import timing
from clptools.core.model.actions import CallOffFence, Fence
from clptools.core.model.cluster_state import ForcedStopState, PeerState
from clptools.core.model.events import FenceDone
from clptools.core.model.group_state import Runs
from clptools.core.model.messages import Beat
from clptools.core.model.settings import InForce
from clptools.core.model.state import Phase
from clptools.core.model.timing import NEVER
from clptools.core.model.words import BmcAction, BmcOrder, PowerState
from clptools.core.notices import safety as notices
from clptools.core.step import Change, Step

_RETRY_MS = 10_000
_WITHIN_MS = 500
"""An order leaves within this, or never."""
_STEADY_MS = 1_000
"""So long its BMC has answered, without a gap, before it gets an order."""
_ORDER_STUCK_MS = 10_000
_AGAIN_MS = 3_000
"""How long a BMC that accepted an order has to carry it out before it gets another one."""
_BUSY_MS = 500
"""After an order that a busy BMC refused, or that did not leave: it was none."""
_POWER_ON_MS = 60_000
_SHORTEST_MS = 1_000
"""Of a turn, whatever an older configuration says."""
_ROUNDS_OUTDATED = 4
"""Turns of the revision that we lack may be longer than ours."""


class Stake(msgspec.Struct, frozen=True):
    """What is at stake for groups in a forced stop: what the coordinator knows of them."""

    waited_for: frozenset[str] = frozenset()
    """Servers for whose stop a group is waiting to see proof."""
    granted: Mapping[str, str] = {}
    """Group -> server to which it was granted, and that has not answered."""


class StopFailed(msgspec.Struct, frozen=True):
    """A forced stop that ended without an off read."""

    server: str
    why: str


class Fencing:
    """Powers off by BMC, or fence agent, the servers that cannot be cleared otherwise."""

    def __init__(
        self,
        step: Step,
        group_runs: Runs,
        peers: Peers,
        power: Power,
        policy: SharedPolicy,
        revision: Revision,
        authority: Authority,
    ) -> None:
        self.step = step
        self.group_runs = group_runs
        self.peers = peers
        self.power = power
        self.policy = policy
        self.revision = revision
        self.authority = authority

    # ------------------------------------------------------------------ each settling

    def settle(self, stake: Stake) -> list[StopFailed]:
        """Goes on with forced stops that are under way, and begins those that are needed.

        Returns those that failed.
        """
        step = self.step
        failed: list[StopFailed] = []
        for server in step.settings.servers:
            p = self.peers.get(server.name)
            if p is None or not server.has_power_control:
                continue
            if p.fence.since != NEVER:
                ended = self._end(server.name, p)
                failed += [ended] if ended is not None else []
            elif self._needed(server.name, p, stake) and self._may(p, stake):
                self.begin(server.name, p)
            if p.fence.since != NEVER:
                self._order(server.name, p, stake)
        return failed

    def _needed(self, name: str, p: PeerState, stake: Stake) -> bool:
        """Whether a server is lost, not out, and something needs it to be proven down."""
        step = self.step
        if not p.lost or self.peers.is_out(name):
            return False
        if step.settings.forced_stop.action == BmcAction.NONE or not self._able():
            return False
        if step.now < p.fence.retry_at or self._may_boot(p):
            return False
        if self._was_off(p) and self.peers.hears_majority() and name not in stake.waited_for:
            return False  # a power-off would only begin its long boot anew
        # In a tie that an arbiter decided as well: the loser may not know that it lost.
        if not self.authority.in_office() or self.peers.hears_half():
            return True
        held = any(h.held for h in holds(p))
        return held or name in stake.waited_for

    def may_begin(self) -> bool:
        """Whether this server may stop any other now, in its turn."""
        return self._able() and (self.peers.hears_majority() or self.peers.hears_half())

    def _able(self) -> bool:
        """Whether we take part, are not suspended, and know the newest policy."""
        step = self.step
        running = step.life.phase is Phase.RUNNING and not step.life.newcomer
        return running and not self.policy.shared.suspended and not self.policy.behind()

    def _order(self, name: str, p: PeerState, stake: Stake) -> None:
        """Gives the next order, if it may leave now."""
        step, fence = self.step, p.fence
        server = step.settings.server(name)
        stuck_ms = _ORDER_STUCK_MS + (server.order_ms if server is not None else 0)
        if fence.ordered_at != NEVER and step.now - fence.ordered_at < stuck_ms:
            return
        if step.now < fence.again_at:
            return
        if fence.orders > step.settings.forced_stop.retries:
            return
        if not (
            self._may_order(name, p) and (fence.wanted_by or (self._able() and self._may(p, stake)))
        ):
            return
        fence.ordered_at = step.now
        command = self._command(p)
        step.do(Fence(server=name, action=command, ordered_at=step.now, within_ms=_WITHIN_MS))

    def _command(self, p: PeerState) -> BmcOrder:
        """The order for the BMC: a reset begins as power off, so that it can be read back."""
        nmi = self.step.settings.forced_stop.action == BmcAction.NMI and not p.fence.wanted_by
        return BmcOrder.NMI if nmi else BmcOrder.POWER_OFF

    def _may_order(self, name: str, p: PeerState) -> bool:
        """Whether the server is silent, and its BMC could prove the stop afterwards."""
        step, bmc = self.step, p.bmc
        if bmc.power != PowerState.ON or (self.peers.is_out(name) and not p.fence.wanted_by):
            return False
        steady = bmc.answers_since != NEVER and step.now - bmc.answers_since >= _STEADY_MS
        # A fence agent that takes seconds to answer has the next answer as late.
        late_ms = bmc.latency_ms if bmc.by else 0
        if not steady or step.now - bmc.at > _STEADY_MS + late_ms:
            return False
        if p.fence.wanted_by:
            return True  # a person wants it off, heard or not
        silent_ms = step.now - max(p.heard_at, p.any_heard_at)
        return silent_ms > step.times.lost_ms and not self._may_boot(p)

    def _may_boot(self, p: PeerState) -> bool:
        """Whether it was off since it was last heard, and not long ago."""
        recent = self.step.now - p.bmc.off_seen_at < self.step.times.startup_ms
        return recent and self._was_off(p)

    def _was_off(self, p: PeerState) -> bool:
        """Whether its BMC read off since it was last heard, proof or not."""
        return p.bmc.off_seen_at > max(p.heard_at, p.any_heard_at)

    def begin(self, name: str, p: PeerState, user: str = "") -> None:
        """Begins a forced stop; `user`: who asked for it, whatever is heard of that server."""
        step = self.step
        word = step.settings.forced_stop.action
        if user or (len(step.settings.servers) == 2 and word != BmcAction.NMI):
            # With two servers a reset would not lower the electorate: only power off is proof.
            word = BmcAction.POWER_OFF
        p.fence = ForcedStopState(since=step.now, wanted_by=user, text=say.fence_under_way)
        why = say.why_fenced(step.now - p.heard_at, user)
        step.notice(notices.ForcedStopBegins(name, word, why, self.power.means(name)))

    def _end(self, name: str, p: PeerState) -> StopFailed | None:
        """Ends a forced stop that is through, not wanted any more, or over its time."""
        step, fence = self.step, p.fence
        forced = step.settings.forced_stop
        if fence.wanted_by:
            off = p.off_asked_at >= fence.since
        else:
            off = self.peers.is_out(name)
        if off and self.peers.out_reason(name) != "power off":
            self._over(name, p, "", 0)  # another proof came first
        elif off:
            sent = fence.sent_at != NEVER
            self._over(name, p, say.fence_done, step.times.boot_ms)
            ended = notices.ForcedStopDone if sent else notices.ForcedStopNotNeeded
            step.notice(ended(name, self.power.means(name)))
            two = len(step.settings.servers) == 2
            again = forced.action in (BmcAction.RESET, BmcAction.POWER_CYCLE) and not (
                two or fence.wanted_by
            )
            if sent and again and not self.policy.shared.suspended:
                step.do(
                    Fence(
                        server=name,
                        action=BmcOrder.POWER_ON,
                        ordered_at=step.now,
                        within_ms=_POWER_ON_MS,
                    )
                )
        elif not fence.wanted_by and not p.lost:
            called_off = notices.ForcedStopCalledOff(name)
            self._over(name, p, called_off.told(), 0)
            step.notice(called_off)
        elif step.now - fence.since >= forced.timeout_ms:
            return self._failed(name, p, fence)
        return None

    def _failed(self, name: str, p: PeerState, fence: ForcedStopState) -> StopFailed:
        step = self.step
        why = fence.text if fence.text != say.fence_under_way else ""
        timeout_ms = step.settings.forced_stop.timeout_ms
        why = why or say.still_on(self.power.means(name), timeout_ms, p.bmc.error, p.bmc.doubt)
        self._over(name, p, why, _RETRY_MS)
        step.changed(Change.DECISIONS)
        return StopFailed(name, why)

    def _over(self, name: str, p: PeerState, text: str, pause_ms: int) -> None:
        """Ends a forced stop; no other begins within `pause_ms`: that server may boot now."""
        server = self.step.settings.server(name)
        if p.fence.ordered_at != NEVER and server is not None and server.fences:
            self.step.do(CallOffFence(server=name))
        p.fence = ForcedStopState(text=text, retry_at=self.step.now + pause_ms)
        self.step.changed(Change.DECISIONS)

    # ------------------------------------------------------------------ answers

    def done(self, event: FenceDone) -> StopFailed | None:
        """An order was carried out, or never left; returns a forced stop that failed by it."""
        step = self.step
        p = self.peers.get(event.server)
        if p is None or event.action == BmcOrder.POWER_ON:
            if p is not None and not event.sent:
                why = event.error or say.not_switched_on(self.power.means(event.server))
                step.notice(notices.ForcedStopStaysOff(event.server, why))
            return None
        p.fence.ordered_at = NEVER
        if p.fence.since == NEVER:
            return None
        p.fence.again_at = step.now + (_AGAIN_MS if event.sent or event.left else _BUSY_MS)
        changes = p.fence.sent_at != NEVER  # then even a lack of privilege passes
        if event.sent or event.left:
            p.fence.orders += 1
            p.fence.sent_at = step.now
        p.fence.text = event.error
        if event.sent:
            p.fence.text = say.nmi_proves_nothing if event.action == BmcOrder.NMI else ""
        elif event.refused and not changes:
            return self._failed(event.server, p, p.fence)
        self.power.ask(event.server)
        step.changed(Change.DECISIONS)
        return None

    # ------------------------------------------------------------------ whose turn it is

    def _may(self, p: PeerState, stake: Stake) -> bool:
        step = self.step
        if step.now - step.woke_at <= step.times.hear_ms:
            return False
        if self.authority.in_office() and self.peers.hears_majority():
            return True
        if not self.peers.hears_half() or self.power.looks_hung(p):
            return False
        if self.power.stands_still(p):
            return True
        if self.peers.hears_newcomer():
            return False
        revisions = self.revision.turns()
        places = [self._place(r, stake) for r in revisions]
        if any(place is None for place in places):
            return False
        place = max(x for x in places if x is not None)
        rounds = self._rounds_left_out(place, p)
        return all(self._turn_of(place, p, r) and self._later(rounds, p, r) for r in revisions)

    def _rounds_left_out(self, place: int, p: PeerState) -> int:
        """How many rounds of all turns we let pass, as another server's order may be on its way."""
        if p.newest_revision > self.step.settings.revision:
            return _ROUNDS_OUTDATED  # it counts turns by a revision that we do not have
        if self.power.cannot_see_itself():
            return 1  # it may have seen our beat stop, and waits for no turn
        if p.beat is not None and any(p.beat.sender in b.hears for b in self._beats_heard()):
            return 1  # one of ours hears it: it may be of a majority, which takes no turns
        # Turns count for each pair: of four servers each could be shot by one that dies of another.
        deputy = any(name < self.step.me and self.peers.hears(name) for name in self.peers)
        return 1 if place and deputy else 0

    def _beats_heard(self) -> Iterator[Beat]:
        """The newest beat of each server that we hear."""
        for name, p in self.peers.items():
            if p.beat is not None and self.peers.hears(name):
                yield p.beat

    def _later(self, rounds: int, p: PeerState, revision: InForce) -> bool:
        """Whether it has been silent for that many rounds of turns beyond the time-out."""
        round_ms = self._places(revision) * self._turn_ms(revision)
        silent_ms = self.step.now - max(p.heard_at, p.any_heard_at) - revision.lost_ms
        return silent_ms >= rounds * round_ms

    def _turn_of(self, place: int, p: PeerState, revision: InForce) -> bool:
        """Whether an order given now leaves at the beginning of the turn of this place.

        That is the first fifth, or half a second and two intervals, whichever is longer.  A BMC
        holds the button for 4 s: its victim should be off before the next turn begins.
        """
        turn_ms = self._turn_ms(revision)
        silent_ms = self.step.now - p.turns_at - revision.lost_ms
        if silent_ms < 0:
            return False
        turn, into_ms = divmod(silent_ms, turn_ms)
        mine = turn % self._places(revision) == place
        interval_ms = revision.cluster.heartbeat_interval_ms
        window_ms = max(turn_ms // 5, _WITHIN_MS + 2 * interval_ms)
        return mine and into_ms + _WITHIN_MS <= window_ms

    def _turn_ms(self, revision: InForce) -> int:
        return max(timing.turn_ms(revision.cluster), _SHORTEST_MS)

    def _places(self, revision: InForce) -> int:
        """How many places take turns."""
        weak = revision.arbiter is not None and not revision.arbiter.strong
        return 1 + len(revision.names) * (2 if weak else 1)

    def _place(self, revision: InForce, stake: Stake) -> int | None:
        """Our place among the servers that may fence in an exact half; None: we may not.

        The arbiter's winner comes before the loser, whoever holds a group: a holder behind cut
        cables must not stop the server that its clients still reach.
        """
        step, arbiter = self.step, revision.arbiter
        if step.me not in revision.names:
            return None
        by_name = 1 + sorted(revision.names).index(step.me)
        if arbiter is None:
            return 0 if self._holds(revision.first, stake) else by_name
        if self.authority.in_office():
            # A weak arbiter says yes to both halves.
            return 0 if arbiter.strong or self._holds(revision.first, stake) else by_name
        votes = self.authority.state
        if not votes.arbiter_error and step.now - votes.arbiter_ok_at <= step.times.lease_ms:
            return None  # it can be asked, and its yes is not ours
        # A lease may end meanwhile and change who holds a group; our place stays.
        return by_name if arbiter.strong else len(revision.names) + by_name

    def _holds(self, group: str, stake: Stake) -> bool:
        """Whether we hold the first group; after a grant to another server, that one does."""
        run = self.group_runs.get(group)
        # A group that we only purge may be held by another server.
        if run is None or not run.held or run.purge:
            return False
        return stake.granted.get(group, self.step.me) == self.step.me
