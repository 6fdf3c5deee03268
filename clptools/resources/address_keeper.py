"""Keeps a floating address on its interface while its resource is online, and announces it anew.

The kernel tells of every change of links and addresses (rtnetlink(7)); each only makes the keeper
look, so one that is lost or doubled does no harm.  An address that is gone is put back: networkd
takes away what it did not set when it configures an interface anew, and the kernel takes IPv6
addresses away from an interface that goes down.  Where that is not possible the resource is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
from collections.abc import Awaitable, Callable

import msgspec

from clptools.faults import ClpError, ExitCode
from clptools.resources.neighbours import Address, Port, announce, announce_often

_GROUPS = 0x1 | 0x10 | 0x100
"""RTMGRP_LINK, RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR (linux/rtnetlink.h)."""
_MESSAGE_BYTES = 65536

SPACING_S = 0.2
"""Between two looks: a server of many containers changes its links all the time."""
POLL_S = 10.0
"""It looks this often although nothing was reported: the kernel drops what is not read in time."""
RETRY_S = 1.0
PATIENCE_S = 10.0
"""How long an address may be impossible to put back: a link that bounces comes back."""
TOLD_AGAIN_S = 60.0
"""An address that is taken away again and again is reported this often."""


class Taken(ClpError):
    """Another machine has the address: waiting does not help."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """How the address was found, or put back."""

    interface: str
    port: Port | None
    """Where it can be announced; None: not on this kind of interface."""
    carrier: bool
    put_back: bool = False


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted of one address."""

    address: Address
    announcements: int
    """How often it is announced where its place may be new."""
    interval_s: float
    """How often it is announced although nothing changed; 0: never."""
    look: Callable[[], Awaitable[Seen]]
    """Finds the address or puts it back.  Raises ClpError (`Taken` among them) and OSError."""
    log: Callable[[str], None]
    lost: Callable[[str], None]
    """The address is gone and cannot be put back: why."""


_kept: dict[Address, asyncio.Task[None]] = {}


def keep(wishes: Wishes, seen: Seen | None = None) -> None:
    """Keep an address from now on; `seen`: how it was found just now."""
    earlier = _kept.pop(wishes.address, None)
    if earlier is not None and not earlier.done():
        earlier.cancel()
    _kept[wishes.address] = asyncio.get_running_loop().create_task(_Keeper(wishes, seen).run())


async def release(address: Address) -> None:
    """Keep it no more; nothing puts it back once this returns."""
    task = _kept.pop(address, None)
    if task is not None and not task.done():
        task.cancel()
        await asyncio.wait({task})


class _Keeper:
    """One address."""

    def __init__(self, wishes: Wishes, seen: Seen | None) -> None:
        self._wishes = wishes
        self._seen = seen
        self._now = asyncio.get_running_loop().time
        self._announced_at = self._now()
        self._failing_since: float | None = None
        self._lost = False
        """Whether it was told that the address is gone for good."""
        self._put_back_at = self._told_at = -TOLD_AGAIN_S
        self._untold = 0

    async def run(self) -> None:
        """Until it is cancelled."""
        with contextlib.closing(_Doorbell()) as bell:
            while True:
                await self._look()
                await bell.rung(self._pause_s())
                await asyncio.sleep(SPACING_S)

    async def _look(self) -> None:
        try:
            seen = await self._wishes.look()
        except TimeoutError:
            self._failed(ClpError(ExitCode.FAILED, "the kernel did not answer"))
        except OSError as fault:
            self._failed(ClpError(ExitCode.FAILED, fault.strerror or str(fault)))
        except ClpError as fault:
            self._failed(fault)
        else:
            await self._found(seen)

    def _failed(self, fault: ClpError) -> None:
        since = self._failing_since = self._failing_since or self._now()
        patient = self._now() - since < PATIENCE_S and not isinstance(fault, Taken)
        if self._lost or patient:
            return
        self._lost = True
        hint = f" ({fault.hint})" if fault.hint else ""
        self._wishes.lost(f"{self._wishes.address} is gone and not put back: {fault.message}{hint}")

    async def _found(self, seen: Seen) -> None:
        before, self._seen = self._seen, seen
        self._failing_since, self._lost = None, False
        if seen.put_back:
            self._tell(seen.interface)
        if seen.port is None or not seen.carrier:
            return
        moved = before is not None and (before.port != seen.port or not before.carrier)
        if seen.put_back or moved:
            announce_often(seen.port, self._wishes.address, self._wishes.announcements)
            self._announced_at = self._now()
        elif self._due_in_s() <= 0:
            with contextlib.suppress(OSError):
                announce(seen.port, self._wishes.address)
            self._announced_at = self._now()
        if seen.put_back:
            # Two programs that undo each other shall not do it thousands of times.
            pause = self._put_back_at + RETRY_S - self._now()
            self._put_back_at = self._now()
            await asyncio.sleep(max(0.0, pause))

    def _tell(self, interface: str) -> None:
        now = self._now()
        self._untold += 1
        if now - self._told_at < TOLD_AGAIN_S:
            return
        times = f" ({self._untold} times)" if self._untold > 1 else ""
        self._wishes.log(
            f"{self._wishes.address} was taken away from {interface} by something else than "
            f"clptools, and is put back{times}"
        )
        self._told_at, self._untold = now, 0

    def _due_in_s(self) -> float:
        """Until the next announcement."""
        interval_s = self._wishes.interval_s
        return self._announced_at + interval_s - self._now() if interval_s else POLL_S

    def _pause_s(self) -> float:
        if self._failing_since is not None:
            return RETRY_S
        return max(0.0, min(POLL_S, self._due_in_s()))


class _Doorbell:
    """Rings whenever a link or an address of this server changes."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._socket: socket.socket | None = None
        with contextlib.suppress(OSError):  # without it the keeper looks often enough
            self._socket = _changes()
            self._loop.add_reader(self._socket.fileno(), self._readable)

    def close(self) -> None:
        """Rings no more."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    async def rung(self, within_s: float) -> None:
        """Returns when something has changed since the last call, or after that time."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self._rung.wait()
        self._rung.clear()

    def _readable(self) -> None:
        assert self._socket is not None
        self._rung.set()
        try:
            while self._socket.recv(_MESSAGE_BYTES):
                pass
        except OSError as fault:
            # ENOBUFS: messages were lost, which does not matter.
            if fault.errno not in (errno.EAGAIN, errno.ENOBUFS, errno.EINTR):
                self._loop.remove_reader(self._socket.fileno())


def _changes() -> socket.socket:
    """A socket for what the kernel tells of links and addresses.  Raises OSError."""
    kind = socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    found = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
    try:
        found.bind((0, _GROUPS))
    except OSError:
        found.close()
        raise
    return found
