"""Forced stop: who may power whom off, and when (`docs/rules.md`, *Fencing*).

    lost --> [order: one command, within half a second] --> reads off: proof
               ^                                    |
               '-- still lost, still ours to give --'-- time-out --> failed, again later

The core gives one order after another, and each only while the reasons for it hold: the server is
not heard, and its BMC has answered for a second without a gap (where both networks come back
together, its heartbeats come first).  What the BMC answers to an order is no evidence; off reads
are, by the one rule of `power.py`.

Only a coordinator that hears a majority fences, or an exact half.  There both sides may mean to,
so each has turns of its own: from the last exchange on, place by place takes its turn of
`fence_delay`, and an order leaves only in the first fifth of it, so that its victim is off before
the next one begins.  Place 0 is the holder of the first configured group; all others follow by
name.  An arbiter decides this, too: whom it says yes to has place 0.  There is no such danger where
the BMC heartbeat stopped with the others: a server whose BMC heartbeat stopped is hung and cannot
fence us.  A server that stood still itself, a paused machine for instance, fences nobody before it
has listened again: the silence was its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clptools.core import sentences as say
from clptools.core.actions import Fence
from clptools.core.events import FenceDone
from clptools.core.holdings import holds
from clptools.core.quorum import NEVER
from clptools.core.settings import InForce
from clptools.core.state import ForcedStopState, PeerState, Phase

if TYPE_CHECKING:
    from clptools.core.node import Node

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


class Fencing:
    """Stops by BMC what cannot be cleared otherwise."""

    def __init__(self, node: Node) -> None:
        self.node = node

    # ------------------------------------------------------------------ each settling

    def settle(self) -> None:
        """Goes on with forced stops that are under way, and begins those that are needed."""
        node = self.node
        for server in node.settings.servers:
            p = node.state.peers.get(server.name)
            if p is None or server.bmc is None:
                continue
            if p.fence.since != NEVER:
                self._end(server.name, p)
            elif self._needed(server.name, p) and self._may(p):
                self.begin(server.name, p)
            if p.fence.since != NEVER:
                self._order(server.name, p)

    def _needed(self, name: str, p: PeerState) -> bool:
        """It is lost, was in contact with us since boot, is not out, and something waits for it."""
        node = self.node
        if node.settings.forced_stop.action == "none" or not self._able():
            return False
        if not p.lost or node.membership.is_out(name):
            return False
        if node.now < p.fence.retry_at or self._may_boot(p):
            return False
        # In a tie that an arbiter decided, too: the loser may not know that it lost.
        if not node.votes.in_office() or node.membership.hears_half():
            return True
        held = any(h.held for h in holds(p))
        return held or any(name in w.servers for w, _ in node.state.waiting.values())

    def _able(self) -> bool:
        """Whether we take part, and know what is wanted."""
        node = self.node
        running = node.state.phase is Phase.RUNNING and not node.state.newcomer
        return running and not node.state.shared.suspended and not node.policy.behind()

    def _order(self, name: str, p: PeerState) -> None:
        """Gives the next order, if it may leave now."""
        node, fence = self.node, p.fence
        if fence.ordered_at != NEVER and node.now - fence.ordered_at < _ORDER_STUCK_MS:
            return
        if node.now < fence.again_at:
            return
        if fence.orders > node.settings.forced_stop.retries:
            return
        if not (self._strikable(name, p) and (fence.wanted_by or (self._able() and self._may(p)))):
            return
        fence.ordered_at = node.now
        command = self._command(p)
        node.emit(Fence(server=name, action=command, ordered_at=node.now, within_ms=_WITHIN_MS))

    def _command(self, p: PeerState) -> str:
        """What the BMC is told: a reset begins as power off, so that it can be read back."""
        nmi = self.node.settings.forced_stop.action == "nmi" and not p.fence.wanted_by
        return "nmi" if nmi else "power-off"

    def _strikable(self, name: str, p: PeerState) -> bool:
        """Whether the order would hit a silent server, by a BMC whose word can be proof after."""
        node, bmc = self.node, p.bmc
        if bmc.power != "on" or (node.membership.is_out(name) and not p.fence.wanted_by):
            return False
        steady = bmc.answers_since != NEVER and node.now - bmc.answers_since >= _STEADY_MS
        if not steady or node.now - bmc.at > _STEADY_MS:
            return False
        if p.fence.wanted_by:
            return True  # a person wants it off, heard or not
        silent_ms = node.now - max(p.heard_at, p.any_heard_at)
        return silent_ms > node.times.lost_ms and not self._may_boot(p)

    def _may_boot(self, p: PeerState) -> bool:
        """Whether it was off since it was last heard, for all that its BMC said, proof or not."""
        off_at = p.bmc.off_seen_at
        heard_at = max(p.heard_at, p.any_heard_at)
        return off_at > heard_at and self.node.now - off_at < self.node.times.startup_ms

    def begin(self, name: str, p: PeerState, user: str = "") -> None:
        """Begins a forced stop; `user`: who asked for it, whatever is heard of that server."""
        node = self.node
        word = node.settings.forced_stop.action
        if user or (len(node.settings.servers) == 2 and word != "nmi"):
            # With two servers a reset would not lower the electorate: only power off is proof.
            word = "power-off"
        p.fence = ForcedStopState(since=node.now, wanted_by=user, text=say.fence_under_way)
        number = {"power-off": 400, "power-cycle": 401, "reset": 402, "nmi": 403}[word]
        silent_ms = node.now - p.heard_at
        text = say.fences(node.me, name, word, silent_ms, p.fence.wanted_by)
        node.record("rc", number, "WARN", (name, node.me), text)

    def _end(self, name: str, p: PeerState) -> None:
        """Ends a forced stop that is through, not wanted any more, or over its time."""
        node, fence = self.node, p.fence
        forced = node.settings.forced_stop
        if fence.wanted_by:
            off = p.off_asked_at >= fence.since
        else:
            off = node.membership.is_out(name)
        if off and node.membership.out_reason(name) != "power off":
            self._over(p, "", 0)  # another proof came first
        elif off:
            sent = fence.sent_at != NEVER
            self._over(p, say.fence_done, node.times.boot_ms)
            node.record("rc", 404, "INFO", (name, node.me), say.fenced(name, sent))
            two = len(node.settings.servers) == 2
            again = forced.action in ("reset", "power-cycle") and not (two or fence.wanted_by)
            if sent and again and not node.state.shared.suspended:
                node.emit(
                    Fence(
                        server=name,
                        action="power-on",
                        ordered_at=node.now,
                        within_ms=_POWER_ON_MS,
                    )
                )
        elif not fence.wanted_by and not p.lost:
            self._over(p, say.fence_called_off(name), 0)
            node.record("rc", 434, "INFO", (name, node.me), say.fence_called_off(name))
        elif node.now - fence.since >= forced.timeout_ms:
            self._failed(name, p, fence)

    def _failed(self, name: str, p: PeerState, fence: ForcedStopState) -> None:
        node = self.node
        why = fence.text if fence.text != say.fence_under_way else ""
        why = why or say.still_on(node.settings.forced_stop.timeout_ms, p.bmc.error, p.bmc.doubt)
        self._over(p, why, _RETRY_MS)
        groups = node.status.waiting_for(name)
        text = say.fence_failed(name, why, groups)
        node.record("rc", 433, "WARN", (name, node.me, *groups), text)
        node.changed = True

    def _over(self, p: PeerState, text: str, pause_ms: int) -> None:
        """`pause_ms`: one that was stopped boots now; it is left alone for so long."""
        p.fence = ForcedStopState(text=text, retry_at=self.node.now + pause_ms)
        self.node.changed = True

    # ------------------------------------------------------------------ answers

    def done(self, event: FenceDone) -> None:
        """An order was carried out, or never left."""
        node = self.node
        p = node.state.peers.get(event.server)
        if p is None or event.action == "power-on":
            if p is not None and not event.sent:
                text = say.stays_off(event.server, event.error)
                node.record("rc", 435, "WARN", (event.server, node.me), text)
            return
        p.fence.ordered_at = NEVER
        if p.fence.since == NEVER:
            return
        p.fence.again_at = node.now + (_AGAIN_MS if event.sent or event.left else _BUSY_MS)
        changes = p.fence.sent_at != NEVER  # then even a lack of privilege passes
        if event.sent or event.left:
            p.fence.orders += 1
            p.fence.sent_at = node.now
        p.fence.text = event.error
        if event.sent:
            p.fence.text = say.nmi_proves_nothing if event.action == "nmi" else ""
        elif event.refused and not changes:
            self._failed(event.server, p, p.fence)
            return
        node.power.ask(event.server)
        node.changed = True

    # ------------------------------------------------------------------ whose turn it is

    def _may(self, p: PeerState) -> bool:
        node = self.node
        membership = node.membership
        if node.now - node.woke_at <= node.times.hear_ms:
            return False
        if node.votes.in_office() and membership.hears_majority():
            return True
        if not membership.hears_half() or node.power.looks_hung(p):
            return False
        if node.power.stands_still(p):
            return True
        revisions = node.revision.turns()
        places = [self._place(r) for r in revisions]
        if any(place is None for place in places):
            return False
        place = max(x for x in places if x is not None)
        return all(self._turn_of(place, p, r) for r in revisions)

    def _turn_of(self, place: int, p: PeerState, revision: InForce) -> bool:
        """Whether an order given now leaves in the first fifth of the turn of this place.

        A BMC holds the button for 4 s: its victim is to be off before the next turn begins.
        """
        turn_ms = max(revision.cluster.fence_delay_ms, _SHORTEST_MS)
        silent_ms = self.node.now - p.turns_at - revision.lost_ms
        if silent_ms < 0:
            return False
        turn, into_ms = divmod(silent_ms, turn_ms)
        mine = turn % self._places(revision) == place
        window_ms = max(turn_ms // 5, _WITHIN_MS + 2 * self.node.times.interval_ms)
        return mine and into_ms + _WITHIN_MS <= window_ms

    def _places(self, revision: InForce) -> int:
        """How many places take turns."""
        weak = revision.arbiter is not None and not revision.arbiter.strong
        return 1 + len(revision.names) * (2 if weak else 1)

    def _place(self, revision: InForce) -> int | None:
        """Our place among those who may fence in an exact half; None: we do not.

        The arbiter's winner comes before the loser, whoever holds a group: a holder behind cut
        cables must not stop the server that its clients still reach.
        """
        node, arbiter = self.node, revision.arbiter
        if node.me not in revision.names:
            return None
        by_name = 1 + sorted(revision.names).index(node.me)
        if arbiter is None:
            return 0 if self._holds(revision.first) else by_name
        if node.votes.in_office():
            # A weak arbiter says yes to both halves.
            return 0 if arbiter.strong or self._holds(revision.first) else by_name
        votes = node.state.votes
        if not votes.arbiter_error and node.now - votes.arbiter_ok_at <= node.times.lease_ms:
            return None  # it can be asked, and its yes is not ours
        # Who holds a group may change before this, by the end of a lease; our place does not.
        return by_name if arbiter.strong else len(revision.names) + by_name

    def _holds(self, group: str) -> bool:
        """Whether we hold the first group; one that we granted to another is that one's."""
        node = self.node
        run = node.state.groups.get(group)
        # One that is only stopped because our state is lost may be another one's.
        if run is None or not run.held or run.purge:
            return False
        grant = node.state.grants.get(group)
        return grant is None or grant.server == node.me
