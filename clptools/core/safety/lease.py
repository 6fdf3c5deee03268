"""The holder's own lease and its watchdog (`docs/rules.md`, *The holder's lease and the watchdog*).

A holder may run its groups until `H` after the send time of its newest heartbeat that a
coordinator with authority answered.  After that it has `self_stop` to stop them; the watchdog,
which is no longer fed, resets in time a server that cannot stop them.
"""

from __future__ import annotations

import msgspec

from clptools.core import phrases as say
from clptools.core.cluster.authority import Authority
from clptools.core.cluster.peers import Peers
from clptools.core.cluster.revision import Revision
from clptools.core.cluster.shared_policy import SharedPolicy
from clptools.core.model.actions import ArmWatchdog, DisarmWatchdog, HostAction, PetWatchdog
from clptools.core.model.cluster_state import PeerState
from clptools.core.model.events import WatchdogChanged
from clptools.core.model.group_state import Runs, holds_any
from clptools.core.model.options import watchdog_method
from clptools.core.model.state import LeaseState, Phase
from clptools.core.model.states import GroupState, WatchdogState
from clptools.core.model.timing import NEVER
from clptools.core.model.transitions import WATCHDOG, WatchdogChange
from clptools.core.notices import safety as notices
from clptools.core.step import Change, Step

_ARMED_AGAIN_MS = 5_000
"""How long a watchdog that could not be armed is left alone."""


class SelfStop(msgspec.Struct, frozen=True):
    """The lease is over: these groups stop at once; `action`, if set, ends the server."""

    groups: list[str]
    action: HostAction | None


class Lease:
    """Whether this server may still run what it holds."""

    def __init__(
        self,
        step: Step,
        state: LeaseState,
        group_runs: Runs,
        peers: Peers,
        policy: SharedPolicy,
        revision: Revision,
        authority: Authority,
    ) -> None:
        self.step = step
        self.state = state
        self.group_runs = group_runs
        self.peers = peers
        self.policy = policy
        self.revision = revision
        self.authority = authority

    def runs(self) -> bool:
        """Whether the lease runs, or does not bind us."""
        return not self.binds() or self.step.now < self.state.until

    def binds(self) -> bool:
        """Whether passing the lease obliges us to stop."""
        return self.revision.leases_bind() and not self.state.waived

    def deadline(self) -> int:
        """When the lease ends, if we hold anything and it binds us; else `NEVER`."""
        return self.state.until if holds_any(self.group_runs) and self.binds() else NEVER

    def promised(self) -> bool:
        """What our beats say: the watchdog is armed and the lease binds."""
        binds = self.binds() and not self.policy.shared.suspended
        return self.state.armed and binds and self.state.disarmed_from == NEVER

    def answered(self, sent_at: int) -> None:
        """A coordinator with authority answered our beat of `sent_at`."""
        step = self.step
        until = sent_at + step.times.holder_ms
        if until <= self.state.until or sent_at > step.now:
            return
        self.state.until = until

    def shorten(self, by_ms: int) -> None:
        """Shortens the running lease by as much as the configured one was shortened."""
        if by_ms > 0 and self.state.until != NEVER:
            self.state.until -= by_ms

    def settle(self) -> SelfStop | None:
        """In office, renews our own lease; returns what is to be stopped once it is over."""
        step = self.step
        if self.authority.in_office():
            self.answered(step.now)
        self._waive()
        return None if self.runs() else self._self_stop()

    def _waive(self) -> None:
        """While suspended no server stops by its lease, but only once all know that it will not."""
        step = self.step
        if not self.policy.shared.suspended:
            # The lease binds again once a coordinator has renewed it; until then our beats do not
            # say that it binds, and no server clears us by it.
            if self.state.waived and step.now < self.state.until:
                self.state.waived = False
                step.changed(Change.BEATS)
            return
        if self.state.waived:
            return
        self.state.waived = all(
            self.peers.is_out(name)
            or (
                p.beat is not None
                and p.beat.suspended
                and self._knows(p, self.policy.state.suspended_at)
            )
            for name, p in self.peers.items()
        )

    def _self_stop(self) -> SelfStop | None:
        step = self.step
        stopping = [
            name
            for name, run in self.group_runs.items()
            if run.held
            and (run.state in (GroupState.STARTING, GroupState.ONLINE) or run.migrations)
        ]
        if not stopping:
            return None
        overdue = step.now - self.state.until
        step.notice(notices.LeaseEnded(stopping, overdue))
        word = step.settings.cluster.partition_action
        ends = word not in ("none", "stop")
        action = HostAction(action=word, reason=say.partition(step.me)) if ends else None
        return SelfStop(stopping, action)

    # ------------------------------------------------------------------ watchdog
    #
    # Others may clear us by our lease as long as they believe that a watchdog binds us.  So a
    # watchdog that is not wanted any more runs on until every server has answered a beat that
    # did not say so
    # (`WATCHDOG` in `core/model/transitions.py`).

    def begin(self) -> None:
        """The agent started: what its predecessor armed may still run."""
        if not self._configured()[0]:
            self._turn(WatchdogChange.PREDECESSOR)
        self.arm()

    def arm(self) -> None:
        """Arms or disarms the watchdog as configured, as far as that is allowed now.

        Opening the device feeds it, so arming needs the lease as feeding does.
        """
        wanted, state = self._configured(), self.state
        left = state.watchdog_state is WatchdogState.LEFT
        if wanted == state.watchdog_as and not left:
            if state.watchdog_state is WatchdogState.TOLD:
                self._turn(WatchdogChange.KEEP)
            return
        if (left or state.watchdog_as[0] not in ("", wanted[0])) and not self._may_disarm():
            return
        if not wanted[0]:
            self.disarm()
        elif self._may_feed():
            # Not armed until it says so: it may still have the longer time-out of before.
            state.armed = False
            state.watchdog_fault = ""
            state.watchdog_as = wanted
            self._turn(WatchdogChange.ARM)
            self._arm()

    def _turn(self, change: WatchdogChange) -> None:
        """The one place where the state of the watchdog changes."""
        state = self.state
        state.watchdog_state = WATCHDOG.after(state.watchdog_state, change)
        state.disarmed_from = self.step.now if change is WatchdogChange.UNWANTED else NEVER

    def _configured(self) -> tuple[str, int]:
        """Method and time-out that are configured for us; `("", 0)`: none."""
        method = watchdog_method(self.step.settings, self.step.me)
        return (method, self.step.times.watchdog_ms) if method != "none" else ("", 0)

    def _is_fed(self) -> bool:
        return self.state.watchdog_state in (WatchdogState.FED, WatchdogState.TOLD)

    def _may_feed(self) -> bool:
        return self.runs() or not holds_any(self.group_runs)

    def _may_disarm(self) -> bool:
        """Whether no server believes any more that the watchdog binds us."""
        step = self.step
        if self.state.disarmed_from == NEVER:
            self._turn(WatchdogChange.UNWANTED)
            step.changed(Change.BEATS)
        if not self.revision.leases_bind():
            return True
        return all(
            self.peers.is_out(name) or self._knows(p, self.state.disarmed_from)
            for name, p in self.peers.items()
        )

    def _knows(self, p: PeerState, since: int) -> bool:
        """Whether it answered a beat of ours that was sent after `since`."""
        echo = p.beat.echo if p.beat is not None else None
        return echo is not None and echo.sent_at > since

    def disarm(self) -> None:
        """Disarms the watchdog; only while no server relies on it."""
        if self.state.watchdog_state is not WatchdogState.OFF:
            self._turn(WatchdogChange.DISARM)
            self.state.watchdog_as = ("", 0)
            self.state.armed = False
            self.step.do(DisarmWatchdog())

    def _arm(self) -> None:
        step = self.step
        method, timeout_ms = self.state.watchdog_as
        self.state.watchdog_again_at = step.now + _ARMED_AGAIN_MS
        step.do(ArmWatchdog(timeout_ms=timeout_ms, method=method))

    def changed(self, event: WatchdogChanged) -> None:
        """The watchdog was armed, or could not be: recorded once, and tried again."""
        step = self.step
        self.state.armed = event.armed
        self.state.watchdog = event.method
        step.changed(Change.BEATS, Change.REPORT)
        self.state.watchdog_again_at = step.now + _ARMED_AGAIN_MS
        fault = "" if event.armed else event.text
        if fault and fault != self.state.watchdog_fault and self._is_fed():
            step.notice(notices.WatchdogNotArmed(fault))
        self.state.watchdog_fault = fault

    def pet(self) -> None:
        """Feeds the watchdog while the lease runs or nothing is held.

        Arming feeds it as well, so a failed arming is repeated only then.
        """
        step = self.step
        if step.life.phase not in (Phase.RUNNING, Phase.LEAVING):
            return  # it has left, and disarmed it
        self.arm()
        if not self._is_fed() or not self._may_feed():
            return
        step.do(PetWatchdog())
        if not self.state.armed and step.now >= self.state.watchdog_again_at:
            self._arm()
