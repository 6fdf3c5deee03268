"""What all arbiters have in common: what they are asked, what they answer.

A lease counts from the moment the holder *asked* (it is given `lease_ms` from before the first
byte left), so an arbiter must keep others out for at least `lease_ms` from when it decides.
"""

from __future__ import annotations

import secrets
from typing import Protocol

import msgspec


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """An arbiter's answer.  `error` says why it gave none; then nothing is held."""

    held: bool = False
    holder: str = ""
    """The server that has it, where the arbiter tells."""
    error: str = ""


class ArbiterContext(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks, and for which cluster."""

    cluster: str
    server: str
    authkey: bytes
    timeout_ms: int
    """For one call; no call takes longer."""
    lease_ms: int = 3000
    """As long as leases of this cluster usually are."""
    place: int = 0
    """The server's place in the configuration, from 0."""
    token: str = msgspec.field(default_factory=lambda: secrets.token_hex(8))
    """This run of the agent.  What an earlier one held is another's until its lease ends, so a
    server that was copied cannot share the lease of its original."""

    def __repr__(self) -> str:
        # The authkey must not reach a log by way of a traceback.
        return f"ArbiterContext({self.cluster}, {self.server})"


class NpResolution(Protocol):
    """One arbiter, asked by one caller at a time.

    No call raises for a fault of the arbiter, and each ends within the context's time-out.  A
    call that is cancelled may still take effect at the arbiter, but never after one that was
    begun later has succeeded.
    """

    async def hold(self, lease_ms: int) -> Held:
        """Take or renew the lease."""

    async def release(self) -> None:
        """Give it back, if it can be done in time; otherwise it runs out."""

    async def close(self) -> None:
        """Close connections and processes; the lease is left to run out."""
