"""What the executor acts on: the rooms' objects, and stand-ins for what a server does not have.

A stand-in answers as the real thing does when it cannot act: a server without a BMC reads as
unknown, an absent arbiter is not held, an absent watchdog is not armed.
"""

from __future__ import annotations

from typing import Protocol

from clptools.core.model.actions import Fence, ReadPower
from clptools.core.model.events import (
    ArbiterAnswered,
    FenceDone,
    HostActionDone,
    PowerRead,
    WatchdogChanged,
)
from clptools.core.model.messages import Beat, Control
from clptools.core.model.words import PowerState
from clptools.resources.script import ScriptRunner


class Heartbeats(Protocol):
    """`links.lan.LanHeartbeats`."""

    def send(self, beat: Beat, via: str = "") -> None:
        """To `beat.to`, or to `via`, who relays it."""


class Peers(Protocol):
    """`links.peer`: the control channel."""

    def send(self, server: str, message: Control) -> None:
        """Queue it; it may be lost."""


class Bmcs(Protocol):
    """The BMCs of all servers.  `asked_at` is returned in the answer."""

    async def read_power(self, action: ReadPower, asked_at: int) -> PowerRead:
        """Power state and beat."""

    async def fence(self, action: Fence, asked_at: int) -> FenceDone:
        """One control command, in time or never."""

    def call_off(self, server: str) -> None:
        """End fence agents that carry out an order for that server."""

    async def arm_deadman(self, action: str, deadline_ms: int) -> HostActionDone:
        """Make our own BMC act at the deadline unless it is told otherwise."""

    async def stand_down(self) -> str:
        """Disarm the dead-man; returns why that failed, or nothing."""


class Arbiters(Protocol):
    """NP resolution resources by name."""

    async def hold(self, name: str, lease_ms: int, asked_at: int) -> ArbiterAnswered:
        """Take or renew the lease."""

    async def release(self, name: str) -> None:
        """Give it back; if that fails, it runs out."""


class Watchdog(Protocol):
    """The `userw` watchdog."""

    async def arm(self, timeout_ms: int, method: str) -> WatchdogChanged:
        """Arm it by `method`, or say why not."""

    def pet(self) -> None:
        """Feed it; harmless when it is not armed."""

    async def disarm(self) -> WatchdogChanged:
        """Disarm it cleanly."""


class Monitors(Protocol):
    """The active monitors' engine."""

    def run(self, monitor: str, on: bool) -> None:
        """Begin or end its rounds."""

    def fault(self, monitor: str, on: bool) -> None:
        """Begin or end a simulated failure (`clpmonctrl`)."""


class Host(Protocol):
    """Actions on this host or by its own BMC."""

    async def perform(self, action: str, reason: str) -> HostActionDone:
        """Does it, or says why it was refused."""


class Devices:
    """All of them; the agent replaces stand-ins as the configuration names the real ones."""

    def __init__(
        self, heartbeats: Heartbeats, peers: Peers, scripts: ScriptRunner, host: Host
    ) -> None:
        self.heartbeats = heartbeats
        self.peers = peers
        self.scripts = scripts
        self.host = host
        self.bmcs: Bmcs = NoBmcs()
        self.arbiters: Arbiters = NoArbiters()
        self.watchdog: Watchdog = NoWatchdog()
        self.monitors: Monitors = NoMonitors()


class NoBmcs:
    """No BMC is configured."""

    async def read_power(self, action: ReadPower, asked_at: int) -> PowerRead:
        """Unknown."""
        return PowerRead(
            server=action.server,
            power=PowerState.UNKNOWN,
            asked_at=asked_at,
            error="no BMC configured",
        )

    async def fence(self, action: Fence, asked_at: int) -> FenceDone:
        """Not done."""
        return FenceDone(
            server=action.server,
            action=action.action,
            asked_at=asked_at,
            error="no BMC configured",
        )

    def call_off(self, server: str) -> None:
        """There is none."""

    async def arm_deadman(self, action: str, deadline_ms: int) -> HostActionDone:
        """Not armed."""
        return HostActionDone(action=action, ok=False, text="no BMC configured")

    async def stand_down(self) -> str:
        """There is none."""
        return ""


class NoArbiters:
    """No arbiter is configured."""

    async def hold(self, name: str, lease_ms: int, asked_at: int) -> ArbiterAnswered:
        """Not held."""
        return ArbiterAnswered(name=name, held=False, asked_at=asked_at, error="not configured")

    async def release(self, name: str) -> None:
        """Nothing to give back."""


class NoWatchdog:
    """No `userw` monitor is configured."""

    async def arm(self, timeout_ms: int, method: str) -> WatchdogChanged:
        """Not armed."""
        return WatchdogChanged(armed=False, text="no userw monitor is configured")

    def pet(self) -> None:
        """Nothing to feed."""

    async def disarm(self) -> WatchdogChanged:
        """Not armed."""
        return WatchdogChanged(armed=False)


class NoMonitors:
    """No active monitor is configured."""

    def run(self, monitor: str, on: bool) -> None:
        """Nothing runs."""

    def fault(self, monitor: str, on: bool) -> None:
        """Nothing to fail."""
