"""The holder's own lease and its watchdog (`design.md`, *Lease of the holder*).

A holder may run its groups until `H` after the send time of its newest heartbeat that a
coordinator with authority answered.  Past it, it has `self_stop` to stop them; the watchdog,
no longer fed, sees to it that a server which cannot stop them is reset in time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clptools.core import sentences as say
from clptools.core.actions import ArmWatchdog, DisarmWatchdog, HostAction, PetWatchdog
from clptools.core.events import WatchdogChanged
from clptools.core.quorum import NEVER
from clptools.core.states import GroupState, GroupWhy

if TYPE_CHECKING:
    from clptools.core.node import Node

_ARMED_AGAIN_MS = 60_000
"""How long a watchdog that could not be armed is left alone."""


class Lease:
    """Whether this server may still run what it holds."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def runs(self) -> bool:
        """Whether the lease runs, or does not bind us."""
        return not self.binds() or self.node.now < self.node.state.lease_until

    def binds(self) -> bool:
        """Whether passing the lease obliges us to stop."""
        return self.node.settings.leases_armed and not self.node.state.waived

    def promised(self) -> bool:
        """What our beats say: the watchdog is armed and the lease binds."""
        state = self.node.state
        binds = self.binds() and not state.shared.suspended
        return state.armed and binds

    def answered(self, sent_at: int) -> None:
        """A coordinator with authority answered our beat of `sent_at`."""
        node = self.node
        until = sent_at + node.times.holder_ms
        if until <= node.state.lease_until or sent_at > node.now:
            return
        node.state.lease_until = until
        # Written now and then only: an older lease after an agent restart errs to the safe side.
        if until - node.state.lease_written > node.times.lease_ms // 2:
            node.dirty = True

    def shorten(self, by_ms: int) -> None:
        """The holder's lease became shorter by that much: so does what was given of it."""
        if by_ms > 0 and self.node.state.lease_until != NEVER:
            self.node.state.lease_until -= by_ms

    def settle(self) -> None:
        """Renews our own lease in office; stops everything once it is over."""
        node = self.node
        if node.votes.in_office():
            self.answered(node.now)
        self._waive()
        if not self.runs():
            self._self_stop()

    def _waive(self) -> None:
        """Suspended, nobody stops by lease: but only once all know that we shall not."""
        node = self.node
        state = node.state
        if not state.shared.suspended:
            # The lease binds again from the first that a coordinator gives us; until then our
            # beats do not say that it does, and nobody clears us by it.
            if state.waived and node.now < state.lease_until:
                state.waived = False
                node.dirty = True
                node.urgent = True
            return
        if state.waived:
            return
        state.waived = all(
            node.membership.is_out(name)
            or (
                p.beat is not None
                and p.beat.suspended
                and p.beat.echo is not None
                and p.beat.echo.sent_at > state.suspended_at
            )
            for name, p in state.peers.items()
        )
        node.dirty = node.dirty or state.waived

    def _self_stop(self) -> None:
        node = self.node
        stopping = [
            name
            for name, run in node.state.groups.items()
            if run.held
            and (run.state in (GroupState.STARTING, GroupState.ONLINE) or run.migrations)
        ]
        if not stopping:
            return
        overdue = node.now - node.state.lease_until
        node.record(
            "nm", 40, "ERROR", (node.me, *stopping), say.lease_over(node.me, stopping, overdue)
        )
        for name in stopping:
            node.groups.stop(name, GroupWhy.LEASE, "GROUPSTOP", forced=True)
        action = node.settings.cluster.partition_action
        if action not in ("none", "stop"):
            node.emit(HostAction(action=action, reason=say.partition(node.me)))

    # ------------------------------------------------------------------ watchdog

    def arm(self) -> None:
        """Arms the watchdog where a `userw` of ours has a method; anew where that changed."""
        node = self.node
        method = next(
            (
                str(m.options.get("method", "none"))
                for m in node.settings.monitors
                if m.type == "userw" and node.me in m.servers
            ),
            "none",
        )
        wanted = method != "none"
        how = f"{method} {node.times.watchdog_ms}"
        if wanted and (not node.state.watchdog_wanted or node.state.watchdog_as != how):
            # Not armed until it says so: it may still have the longer time-out of before.
            node.state.armed = False
            node.state.watchdog_as = how
            node.state.watchdog_fault = ""
            self._arm()
        elif node.state.watchdog_wanted and not wanted:
            self.disarm()
        node.state.watchdog_wanted = wanted

    def disarm(self) -> None:
        """Disarms it; only while nothing is held, or the cluster is suspended."""
        node = self.node
        if node.state.watchdog_wanted:
            node.state.watchdog_wanted = False
            node.state.armed = False
            node.emit(DisarmWatchdog())

    def _arm(self) -> None:
        node = self.node
        node.state.watchdog_again_at = node.now + _ARMED_AGAIN_MS
        node.emit(ArmWatchdog(timeout_ms=node.times.watchdog_ms))

    def changed(self, event: WatchdogChanged) -> None:
        """The watchdog was armed, or could not be: said once, and tried again."""
        node = self.node
        node.state.armed = event.armed
        node.state.watchdog = event.method
        node.urgent = True
        node.report_due = True
        node.state.watchdog_again_at = node.now + _ARMED_AGAIN_MS
        fault = "" if event.armed else event.text
        if fault and fault != node.state.watchdog_fault and node.state.watchdog_wanted:
            node.record("userw", 2, "WARN", (node.me, "userw"), fault)
        node.state.watchdog_fault = fault

    def pet(self) -> None:
        """Feeds the watchdog while the lease runs or nothing is held.

        Arming feeds as well, so one that could not be armed is tried again only then.
        """
        node = self.node
        if not node.state.watchdog_wanted or (not self.runs() and node.groups.holds_any()):
            return
        node.emit(PetWatchdog())
        if not node.state.armed and node.now >= node.state.watchdog_again_at:
            self._arm()
