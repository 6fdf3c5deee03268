"""The holder's own lease and its watchdog (`docs/rules.md`, *The holder's lease and the watchdog*).

A holder may run its groups until `H` after the send time of its newest heartbeat that a
coordinator with authority answered.  Past it, it has `self_stop` to stop them; the watchdog,
no longer fed, sees to it that a server which cannot stop them is reset in time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from clptools.core import sentences as say
from clptools.core.model.actions import ArmWatchdog, DisarmWatchdog, HostAction, PetWatchdog
from clptools.core.model.events import WatchdogChanged
from clptools.core.model.quorum import NEVER
from clptools.core.model.state import PeerState, Phase
from clptools.core.model.states import GroupState, GroupWhy

if TYPE_CHECKING:
    from clptools.core.node import Node

_ARMED_AGAIN_MS = 5_000
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
        return self.node.revision.leases_bind() and not self.node.state.waived

    def promised(self) -> bool:
        """What our beats say: the watchdog is armed and the lease binds."""
        state = self.node.state
        binds = self.binds() and not state.shared.suspended
        return state.armed and binds and state.disarmed_from == NEVER

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
            or (p.beat is not None and p.beat.suspended and self._knows(p, state.suspended_at))
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
    #
    #   off --arm--> armed --another method, or none, is configured--> told --all know--> off, armed
    #
    # Others may clear us by our lease as long as they believe that a watchdog binds us.  So one
    # that is not wanted any more runs on until everybody has answered a beat that did not say so.

    def begin(self) -> None:
        """The agent started: what its predecessor armed may still run."""
        if not self._configured()[0]:
            self.node.state.watchdog_as = ("left", 0)
        self.arm()

    def arm(self) -> None:
        """Brings the watchdog to what is configured, as far as that is allowed now.

        Opening a device feeds it: that needs the lease as feeding does.
        """
        node = self.node
        state = node.state
        wanted = self._configured()
        if wanted == state.watchdog_as:
            state.disarmed_from = NEVER
            return
        if state.watchdog_as[0] not in ("", wanted[0]) and not self._may_disarm():
            return
        if not wanted[0]:
            self.disarm()
        elif self._may_feed():
            # Not armed until it says so: it may still have the longer time-out of before.
            state.armed = False
            state.watchdog_fault = ""
            state.watchdog_as = wanted
            state.watchdog_wanted = True
            state.disarmed_from = NEVER
            self._arm()

    def _configured(self) -> tuple[str, int]:
        """Method and time-out that are configured for us; `("", 0)`: none."""
        node = self.node
        for monitor in node.settings.monitors:
            if monitor.type == "userw" and node.me in monitor.servers:
                method = str(monitor.options.get("method", "none"))
                return (method, node.times.watchdog_ms) if method != "none" else ("", 0)
        return ("", 0)

    def _may_feed(self) -> bool:
        return self.runs() or not self.node.groups.holds_any()

    def _may_disarm(self) -> bool:
        """Whether nobody believes any more that the watchdog binds us."""
        node = self.node
        state = node.state
        if state.disarmed_from == NEVER:
            state.disarmed_from = node.now
            node.urgent = True
        if not node.revision.leases_bind():
            return True
        return all(
            node.membership.is_out(name) or self._knows(p, state.disarmed_from)
            for name, p in state.peers.items()
        )

    def _knows(self, p: PeerState, since: int) -> bool:
        """Whether it answered a beat of ours that was sent after `since`."""
        echo = p.beat.echo if p.beat is not None else None
        return echo is not None and echo.sent_at > since

    def disarm(self) -> None:
        """Disarms it; only while nobody relies on it."""
        state = self.node.state
        if state.watchdog_as[0]:
            state.watchdog_wanted = False
            state.watchdog_as = ("", 0)
            state.armed = False
            state.disarmed_from = NEVER
            self.node.emit(DisarmWatchdog())

    def _arm(self) -> None:
        node = self.node
        method, timeout_ms = node.state.watchdog_as
        node.state.watchdog_again_at = node.now + _ARMED_AGAIN_MS
        node.emit(ArmWatchdog(timeout_ms=timeout_ms, method=method))

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
        if node.state.phase not in (Phase.RUNNING, Phase.LEAVING):
            return  # it has left, and disarmed it
        self.arm()
        if not node.state.watchdog_wanted or not self._may_feed():
            return
        node.emit(PetWatchdog())
        if not node.state.armed and node.now >= node.state.watchdog_again_at:
            self._arm()
