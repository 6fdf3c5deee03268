"""`disk`: a lease kept by compare-and-swap on a shared block device or file.  Strong.

The algorithm and the format are in `disk_lease`; the disk itself is touched only by the process
`disk_worker`, so a disk that hangs holds up that process alone.
"""

from __future__ import annotations

import asyncio
import contextlib

import msgspec

from clptools.arbiters.base import ArbiterContext, Held
from clptools.arbiters.disk_lease import SLOTS
from clptools.arbiters.disk_worker import Command, Result, Setup
from clptools.common import child_process
from clptools.common.child_process import framed
from clptools.core.model.options import PerServer, VariantOptions, on_server, read
from clptools.core.model.settings import Arbiter

_MAX_RESULT_BYTES = 16_384
_LAST_S = 1.0
"""How long a worker is waited for at the end; one that is stuck ends when its disk lets it."""


class Options(VariantOptions, frozen=True, kw_only=True):
    """The shared block device or file."""

    path: PerServer


def build(arbiter: Arbiter, context: ArbiterContext) -> DiskArbiter:
    """The arbiter of this definition; it begins to join the disk at once."""
    found = DiskArbiter(arbiter, context)
    found.join()
    return found


class DiskArbiter:
    """One shared disk, by way of one process."""

    def __init__(self, arbiter: Arbiter, context: ArbiterContext) -> None:
        self._path = on_server(read(Options, arbiter.options).path, context.server)
        self._name = arbiter.name
        self._context = context
        self._starting = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._joining: asyncio.Task[None] | None = None
        self._number = 0
        self._owed: dict[int, asyncio.Future[Held]] = {}
        """Results under way, also of commands whose caller has given up."""
        self._busy_since = 0.0

    async def hold(self, lease_ms: int) -> Held:
        """Take or renew the lease."""
        if not self._path:
            return self._failed(f"no path for {self._context.server}")
        held = await self._perform("hold", lease_ms)
        return held if not held.error else self._failed(f"{self._path}: {held.error}")

    async def release(self) -> None:
        """Give the lease back; a stuck worker does it as soon as it can."""
        if self._writer is not None:
            await self._perform("release", self._context.lease_ms)

    def join(self) -> None:
        """Begin to get a slot."""
        if self._path:
            self._joining = asyncio.get_running_loop().create_task(self._join())

    async def _join(self) -> None:
        while (await self._perform("join", self._context.lease_ms)).error:
            await asyncio.sleep(self._context.lease_ms / 1000)

    async def close(self) -> None:
        """End the process; the lease is left to run out."""
        for task in (self._joining, self._reading):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self._drop("closed")
        if self._process is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_S):
                    await self._process.wait()

    def _failed(self, text: str) -> Held:
        return Held(error=f"{self._name}: {text}")

    # The process

    async def _perform(self, op: str, lease_ms: int) -> Held:
        loop = asyncio.get_running_loop()
        timeout_ms = self._context.timeout_ms
        if len(self._owed) > 1 or (self._owed and op == "join"):
            # One it works on and one that waits are enough: a stuck disk gets no queue.
            stuck_s = loop.time() - self._busy_since
            return Held(error=f"no answer since {stuck_s:.1f} s, it may hang")
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                result = await self._send(op, lease_ms, timeout_ms * 3 // 4)
                return await asyncio.shield(result)
        except TimeoutError:
            return Held(error=f"no answer within {timeout_ms / 1000:g} s, it may hang")
        except OSError as error:
            return Held(error=f"no process for it: {error.strerror or error}")

    async def _send(self, op: str, lease_ms: int, patience_ms: int) -> asyncio.Future[Held]:
        async with self._starting:
            if self._writer is None:
                await self._start()
        assert self._writer is not None
        loop = asyncio.get_running_loop()
        if not self._owed:
            self._busy_since = loop.time()
        self._number += 1
        result: asyncio.Future[Held] = loop.create_future()
        self._owed[self._number] = result
        command = Command(number=self._number, op=op, lease_ms=lease_ms, patience_ms=patience_ms)
        self._writer.write(framed(command))
        return result

    async def _start(self) -> None:
        self._process, ours = await child_process.start("clptools.arbiters.disk_worker")
        try:
            reader, self._writer = await asyncio.open_connection(sock=ours)
        except BaseException:
            ours.close()
            raise
        self._reading = asyncio.get_running_loop().create_task(self._read(reader))
        setup = Setup(
            path=self._path,
            cluster=self._context.cluster,
            server=self._context.server,
            token=self._context.token,
            preferred=self._context.place % SLOTS,
        )
        self._writer.write(framed(setup))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                result = await child_process.read(reader, Result, _MAX_RESULT_BYTES)
                owed = self._owed.pop(result.number, None)
                self._busy_since = asyncio.get_running_loop().time()
                if owed is not None and not owed.done():
                    owed.set_result(result.held)
        except (OSError, EOFError, ValueError, msgspec.MsgspecError):
            pass
        self._drop("its process ended")

    def _drop(self, why: str) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        owed, self._owed = self._owed, {}
        for each in owed.values():
            if not each.done():
                each.set_result(Held(error=why))
