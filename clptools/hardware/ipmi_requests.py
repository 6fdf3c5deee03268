"""IPMI requests: what is asked of a BMC, what comes back, and how a request fails."""

from __future__ import annotations

import time
from typing import Protocol

import msgspec

from clptools.faults import ClpError, ExitCode

CHASSIS, APP = 0x00, 0x06
"""Network functions (IPMI 2.0, table 5-1)."""

PATIENCE_S = 3.0
"""For one request, the login of a new session included."""

_CODES = {
    0x80: "refused in this state",
    0xC0: "BMC busy",
    0xC1: "command not supported",
    0xC3: "BMC timed out over it",
    0xC4: "BMC out of space",
    0xC7: "wrong length",
    0xC9: "value out of range",
    0xCC: "invalid field",
    0xD2: "BMC starts up",
    0xD3: "destination unavailable",
    0xD4: "account lacks the privilege",
    0xD5: "not possible in the present state",
    0xFF: "refused without a reason, it may be busy",
}
"""Completion codes (IPMI 2.0, table 5-2)."""
_FOR_GOOD = frozenset((0xC1, 0xC2, 0xC7, 0xC8, 0xC9, 0xCC, 0xCD, 0xD4, 0xD6))
"""Refusals that a repetition does not change.  Not D4h while the power changes: some BMCs then mean
"not now" by it (openbmc issue 1812)."""


class BmcError(ClpError):
    """A request to a BMC failed; the message names server, address, command and attempt."""

    def __init__(
        self,
        server: str,
        where: str,
        command: str,
        attempt: int,
        fault: str,
        code: int = 0,
        left: bool = False,
    ) -> None:
        super().__init__(
            ExitCode.FAILED,
            f"BMC of {server} ({where}): {command}, attempt {attempt}: {fault}",
            mend(server, "", fault),
        )
        self.fault = fault
        """The fault without the BMC's name."""
        self.completion_code = code
        """The BMC's own refusal; 0: it did not answer."""
        self.left = left
        """The request left, and may have been carried out."""

    @property
    def for_good(self) -> bool:
        """Whether the BMC would refuse it again; if not, it is busy or in a state that passes."""
        return self.completion_code in _FOR_GOOD


def refusal(code: int) -> str:
    """A completion code that is not 0, for people."""
    return f"{_CODES.get(code, 'refused')} ({code:#04x})"


def mend(server: str, user: str, fault: str) -> str:
    """What a person can do about a fault of a login; empty: nothing, or it passes by itself."""
    low = fault.lower()
    account = user or "the account"
    write = f"clpbmccnf {f'-u {user} ' if user else ''}{server}"
    if "must be changed" in low:
        return f"Change the password of {account} in the BMC of {server}, then store it: {write}"
    if "lock" in low and "password" in low:
        return f"Unlock {account} in the BMC of {server}, or wait, and check the password: {write}"
    if "unauthorized name" in low:
        return (
            f"In the BMC of {server}, {account} must be an account that is switched on, not "
            f"locked, and may use IPMI over LAN; for another one: {write}"
        )
    if "password" in low:
        return f"Set it on this server: {write}"
    if "session" in low and ("resources" in low or "maximum" in low or "limit" in low):
        return (
            f"End sessions with the BMC of {server} that nobody needs (its web page, other "
            "programs): it has no free one."
        )
    if "is closed there" in low or "ipmi 1.5" in low or "without authentication" in low:
        return f"Switch IPMI 2.0 over LAN on in the BMC of {server}."
    if "privilege" in low or "level user" in low or "invalid role" in low:
        return f"Give {account} the level OPERATOR in the BMC of {server}."
    if "another certificate" in low:
        return (
            f"If the BMC of {server} was given a new one, look at it (clpbmccnf --certificate "
            f"{server}) and pin that."
        )
    return ""


class Asked(Protocol):
    """A BMC that takes IPMI requests."""

    server: str
    latency_s: float
    """How long its last answer took."""

    @property
    def where(self) -> str:
        """How it is reached, for messages."""

    async def command(
        self,
        what: str,
        netfn: int,
        command: int,
        data: bytes = b"",
        *,
        patience_s: float = PATIENCE_S,
        urgent: bool = False,
    ) -> tuple[bytes, int]:
        """The data and latency (ms) of the answer; see `BmcClient.command`."""


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One IPMI request to one BMC."""

    number: int
    address: str
    port: int
    user: str
    password: str
    netfn: int
    command: int
    data: bytes = b""
    until_ms: int
    """No datagram of it leaves later (CLOCK_BOOTTIME)."""
    once: bool = False
    """It is sent as one datagram or never; if False, it is repeated until it is answered."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a `Command`."""

    number: int
    code: int = 0
    """IPMI completion code; 0 is success."""
    data: bytes = b""
    fault: str = ""
    """Why there is no session.  The process ends."""
    missed: str = ""
    """Why it has no answer.  An open session stays open."""
    latency_ms: int = 0
    session: str = ""
    """Name of the login that it was answered in."""
    session_at: int = 0
    """When that login was complete (CLOCK_BOOTTIME, ms)."""
    guid: bytes = b""
    """The system's GUID, as the BMC said at that login (IPMI 2.0, 13.21)."""
    level: str = ""
    """The privilege level that the account got there."""
    left: bool = False
    """With `missed`: the request left."""


def boot_ms() -> int:
    """Milliseconds since boot, suspend included: a suspend must not delay an order either."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
