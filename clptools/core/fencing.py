"""Forced stop: who may power whom off, and when (`design.md`, *Fencing manners*).

Only a coordinator that hears a majority fences, or an exact half: there the holder of the group
of the best priority at once, the other after `fence_delay`, which is longer than a forced stop
takes, so that two servers never shoot each other.  An arbiter decides this tie, too: whom it
says yes to comes first, the other half later, or not at all.  There is no such danger where the
BMC heartbeat stopped with the others: whoever does not beat in its own BMC stands still, and
shoots at nobody.  Nor does one fence that stood still itself, a paused machine for instance,
before it has listened again: the silence was its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clptools.core import sentences as say
from clptools.core.actions import Fence
from clptools.core.events import FenceDone
from clptools.core.holdings import holds
from clptools.core.quorum import NEVER
from clptools.core.state import PeerState, Phase

if TYPE_CHECKING:
    from clptools.core.node import Node

_RETRY_MS = 10_000
_STILL_MS = 2_000
"""A beat in the BMC that did not change for so long, and was read: longer than a slow BMC takes."""


class Fencing:
    """Stops by BMC what cannot be cleared otherwise."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def settle(self) -> None:
        """Begins a forced stop of each lost server where manners allow it."""
        node = self.node
        if node.settings.forced_stop.action == "none" or node.state.shared.suspended:
            return
        if node.state.phase is not Phase.RUNNING or node.state.newcomer:
            return
        for server in node.settings.servers:
            p = node.state.peers.get(server.name)
            if p is None or server.bmc is None:
                continue
            if self._needed(server.name, p) and self._may(p):
                self._begin(server.name, p)

    def _needed(self, name: str, p: PeerState) -> bool:
        """It is lost, was in contact with us since boot, is not out, and something waits for it."""
        node = self.node
        if not p.lost or not p.incarnation or node.membership.is_out(name):
            return False
        if p.fence_asked_at != NEVER or node.now < p.fence_retry_at:
            return False
        # In a tie that an arbiter decided, too: the loser may not know that it lost.
        if not node.votes.in_office() or node.membership.hears_half():
            return True
        held = any(h.held for h in holds(p))
        waited = any(w[0].startswith(name + "\n") for w in node.state.waiting.values())
        return held or waited

    def _may(self, p: PeerState) -> bool:
        node = self.node
        membership = node.membership
        if node.now - node.woke_at <= node.times.hear_ms:
            return False
        if node.votes.in_office() and membership.hears_majority():
            return True
        if not membership.hears_half():
            return False
        if self._stands_still(p):
            return True
        turn = self._turn()
        return turn is not None and (
            node.now - p.fence_wait_from >= turn * node.times.fence_delay_ms
        )

    def _turn(self) -> int | None:
        """In an exact half: after how many `fence_delay` it is ours to stop the other half.

        The arbiter's winner comes before the loser, whoever holds a group: a holder behind cut
        cables must not stop the server that its clients still reach.  None: not at all.
        """
        node = self.node
        arbiter = node.settings.arbiter
        first = self._holds_best()
        if arbiter is None:
            return 0 if first else 1
        if node.votes.in_office():
            # A weak arbiter says yes to both halves.
            return 0 if first or arbiter.strong else 1
        votes = node.state.votes
        if not votes.arbiter_error and node.now - votes.arbiter_ok_at <= node.times.lease_ms:
            return None  # it can be asked, and its yes is not ours
        # Who holds a group may change before this, by the end of a lease; our place does not.
        return 2 + node.settings.names.index(node.me)

    def _stands_still(self, p: PeerState) -> bool:
        """Whether its BMC shows that it fell silent as a whole.

        Behind cut cables it would go on beating there.  A beat that stopped long before, or after,
        tells of another trouble: of the timer that carries it.
        """
        bmc = p.bmc
        unseen_ms = 2 * self.node.power.interval_ms()
        if bmc.power != "on" or bmc.beat_at == NEVER:
            return False
        together = abs(bmc.beat_at - p.heard_at) <= unseen_ms
        return together and bmc.beat_read_at - bmc.beat_at >= max(unseen_ms, _STILL_MS)

    def _holds_best(self) -> bool:
        """Whether we hold the first configured group that anybody holds."""
        node = self.node
        for group in node.settings.groups:
            holders = [h.server for h in node.placement.reports(group.name) if h.held]
            if holders:
                return node.me in holders
        return False

    def _begin(self, name: str, p: PeerState) -> None:
        node = self.node
        forced = node.settings.forced_stop
        # With two servers a reset would not lower the electorate: only power off is proof.
        action = "power-off" if len(node.settings.servers) == 2 else forced.action
        p.fence_asked_at = node.now
        p.fence_text = say.fence_under_way
        events = {"power-off": 400, "power-cycle": 401, "reset": 402, "nmi": 403}
        node.record(
            "rc",
            events.get(action, 400),
            "WARN",
            (name, node.me),
            say.fences(node.me, name, action, node.now - p.heard_at),
        )
        node.emit(
            Fence(
                server=name,
                action=action,
                timeout_ms=forced.timeout_ms,
                retries=forced.retries,
            )
        )

    def done(self, event: FenceDone) -> None:
        """A forced stop ended: verified off counts as an off read, a failure holds the failover."""
        node = self.node
        p = node.state.peers.get(event.server)
        if p is None:
            return
        p.fence_asked_at = NEVER
        # One that was stopped boots now: not again before it is heard, or had the time to be.
        p.fence_retry_at = node.now + (node.times.boot_ms if event.verified else _RETRY_MS)
        if not event.verified:
            p.fence_text = event.error
            node.record(
                "rc", 433, "WARN", (event.server, node.me), say.fence_failed(event.server, event)
            )
            node.changed = True
            return
        p.fence_text = say.fence_done
        node.record("rc", 404, "INFO", (event.server, node.me), say.fenced(event))
        if event.action == "power-off" and p.any_heard_at < event.asked_at:
            p.bmc.power = "off"
            p.off_asked_at = max(p.off_asked_at, event.asked_at)
        node.power.ask(event.server)
        node.changed = True
