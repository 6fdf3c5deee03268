"""What is known of the clocks of SNMPv3 engines (RFC 3414, section 2.3), kept over restarts.

A recorded trap must stay a replay after the agent started again.  The file holds, for each key,
source and engine, the boots and time of the newest message.  It is written in a thread, a moment
after a clock went on; what is lost with a crash is that moment.

Within a boot of this server the time since then is known, and counts.  After another boot it is
not: a wall clock may be wrong, and would have an honest BMC refused.  So the clock goes on from
where it was, which refuses whatever is older than that by the window.

A BMC that forgot its boots is refused like a replay.  Who knows that it did removes the file: that
is seen at its next trap, which is still refused, and all clocks are learned anew.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from functools import partial

import msgspec

from clptools.common.threads import in_daemon_thread
from clptools.config.files import replace_file

ENGINES = 32
"""Most engines remembered; only those that proved a key are."""
WRITE_AFTER_S = 1.0
"""Clocks that go on within this time are written together."""
CLOSE_S = 1.0
"""At the end a disk that hangs is not waited for any longer."""
MAX_FILE_BYTES = 64 * 1024

EngineKey = tuple[bytes, str, bytes]
"""Fingerprint of the user's key, source address, engine ID.  With a new passphrase an old message
proves nothing, so its clock begins anew."""


class EngineClock(msgspec.Struct):
    """Boots and time of the newest message."""

    boots: int
    time: int
    at_ms: int
    """When it came, by the clock of the receiver's loop."""


class _KeptClock(msgspec.Struct, frozen=True, kw_only=True):
    key: EngineKey
    boots: int
    time: int
    at_ms: int
    """Milliseconds since boot."""


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    boot: bytes
    """Id of this server's boot."""
    clocks: tuple[_KeptClock, ...]


_kept = msgspec.msgpack.Decoder(_Kept)


class EngineClocks:
    """The clocks of all engines that speak to one server."""

    def __init__(
        self,
        file: str = "",
        boot: bytes = b"",
        boot_ms: Callable[[], int] = lambda: 0,
        on_fault: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`file`: where they are kept, nowhere if empty; `boot_ms`: time since `boot` began.

        `on_fault(text)`: it cannot be read or written; told once, and empty when it can be again.
        """
        self.file = file
        self._boot = boot
        self._boot_ms = boot_ms
        self._on_fault = on_fault
        self._clocks: dict[EngineKey, EngineClock] = {}
        self._fault = ""
        self._kept = False
        """The file was there; if it is gone, somebody removed it."""
        self._timer: asyncio.TimerHandle | None = None
        self._busy: asyncio.Future[bool] | None = None
        """A thread that looks at the file or writes it; at most one."""
        self._again = False
        """There is something to write once it has ended."""

    def load(self, now_ms: int) -> None:
        """Take what an earlier agent kept.  `now_ms`: by the clock of the receiver's loop."""
        if not self.file:
            return
        try:
            fd = os.open(self.file, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
            with open(fd, "rb") as file:
                kept = _kept.decode(file.read(MAX_FILE_BYTES))
        except FileNotFoundError:
            return
        except OSError as error:
            self._tell(f"{self.file} cannot be read ({_cause(error)})")
            return
        except msgspec.MsgspecError:
            self._tell(f"{self.file} is garbled")
            return
        self._kept = True
        for one in kept.clocks[-ENGINES:]:
            since = max(0, self._boot_ms() - one.at_ms) if kept.boot == self._boot else 0
            self._clocks[one.key] = EngineClock(one.boots, one.time, now_ms - since)

    def get(self, key: EngineKey) -> EngineClock | None:
        """The clock of one engine, if it is known."""
        return self._clocks.get(key)

    def learn(self, key: EngineKey, boots: int, time: int, now_ms: int) -> None:
        """The clock went on, or is new: kept in a moment."""
        if key not in self._clocks and len(self._clocks) >= ENGINES:
            oldest = min(self._clocks, key=lambda known: self._clocks[known].at_ms)
            del self._clocks[oldest]
        self._clocks[key] = EngineClock(boots, time, now_ms)
        if self.file and self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(WRITE_AFTER_S, self._write)

    def refused(self) -> None:
        """A clock went back: if somebody removed the file, all are learned anew."""
        if self._kept and self._busy is None:
            self._begin(partial(os.path.lexists, self.file))

    async def close(self) -> None:
        """Write what is not yet written."""
        if self._timer is not None:
            self._timer.cancel()
            self._write()
        try:
            async with asyncio.timeout(CLOSE_S):
                while self._busy is not None:
                    await asyncio.wait([self._busy])
        except TimeoutError:
            return

    def _write(self) -> None:
        self._timer = None
        if self._busy is not None:
            self._again = True
            return
        ahead = self._boot_ms() - int(asyncio.get_running_loop().time() * 1000)
        clocks = tuple(
            _KeptClock(key=key, boots=one.boots, time=one.time, at_ms=one.at_ms + ahead)
            for key, one in self._clocks.items()
        )
        content = msgspec.msgpack.encode(_Kept(boot=self._boot, clocks=clocks))
        self._begin(partial(_replace, self.file, content, was_there=self._kept))

    def _begin(self, work: Callable[[], bool]) -> None:
        self._busy = in_daemon_thread("SNMPv3 clocks", work)
        self._busy.add_done_callback(self._done)

    def _done(self, done: asyncio.Future[bool]) -> None:
        self._busy = None
        if done.cancelled():
            return
        error = done.exception()
        if error is not None:
            self._tell(f"{self.file} cannot be written ({_cause(error)})")
        elif done.result():
            self._kept = True
            self._tell("")
        else:
            self._kept = False
            self._clocks.clear()
        if self._again:
            self._again = False
            self._write()

    def _tell(self, fault: str) -> None:
        if fault != self._fault:
            self._fault = fault
            self._on_fault(fault)


def _cause(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error).lower()


def _replace(path: str, content: bytes, *, was_there: bool) -> bool:
    """Write the file; False: somebody removed it, and nothing is written.  Raises OSError."""
    if was_there and not os.path.lexists(path):
        return False
    replace_file(path, content, 0o600)
    return True
