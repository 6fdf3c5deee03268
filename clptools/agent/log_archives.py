"""What this server knows, for `clplogcc` on another one: packed by a child, handed out in parts."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import BinaryIO

from clptools import paths
from clptools.api.messages import LogsPart
from clptools.common import child_process
from clptools.faults import ClpError, ExitCode

PACKED_WITHIN_S = 60.0
PART_BYTES = 256 * 1024
_KEPT_S = 120.0
"""After the last part that was asked for."""
_MOST_KEPT = 2


class Collector:
    """The archives of this server that others are fetching: files without a name."""

    def __init__(self, server: str) -> None:
        self._server = server
        self._kept: dict[str, tuple[BinaryIO, asyncio.TimerHandle]] = {}
        self._packing = asyncio.Lock()

    async def part(
        self, archive: str, offset: int, state: Callable[[], Awaitable[Mapping[str, str]]]
    ) -> LogsPart:
        """The bytes from `offset`; without an `archive` yet, one is packed with that `state`.

        Raises ClpError: FAILED, TIMED_OUT, or NO_SUCH for an archive that is kept no more.
        """
        if not archive:
            async with self._packing:
                archive = self._keep(secrets.token_hex(8), await self._pack(await state()))
        if archive not in self._kept:
            text = f"{self._server}: that archive is kept no more"
            raise ClpError(ExitCode.NO_SUCH, text, "Collect again.")
        file, _ = self._kept[archive]
        size = file.seek(0, 2)
        file.seek(max(0, min(offset, size)))
        data = file.read(PART_BYTES)
        if file.tell() == size:
            self._drop(archive)
        else:
            self._keep(archive, file)
        return LogsPart(archive=archive, size=size, data=data)

    def _keep(self, archive: str, file: BinaryIO) -> str:
        known = self._kept.pop(archive, None)
        if known is not None:
            known[1].cancel()
        while len(self._kept) >= _MOST_KEPT:
            self._drop(next(iter(self._kept)))
        timer = asyncio.get_running_loop().call_later(_KEPT_S, self._drop, archive)
        self._kept[archive] = (file, timer)
        return archive

    def _drop(self, archive: str) -> None:
        file, timer = self._kept.pop(archive)
        timer.cancel()
        file.close()

    async def _pack(self, state: Mapping[str, str]) -> BinaryIO:
        try:
            # In memory: logs are often collected because a disk hangs, which would stop our loop.
            file = tempfile.TemporaryFile(dir=paths.run_dir())  # noqa: SIM115 kept
        except OSError as error:
            raise ClpError(ExitCode.FAILED, f"{paths.run_dir()}: {error.strerror}") from error
        try:
            await self._child(file, state)
        except BaseException:
            file.close()
            raise
        return file

    async def _child(self, file: BinaryIO, state: Mapping[str, str]) -> None:
        child = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "clptools.packing", self._server),
            stdin=asyncio.subprocess.PIPE,
            stdout=file,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(PACKED_WITHIN_S):
                _, said = await child.communicate(json.dumps(dict(state)).encode())
        except TimeoutError:
            text = f"{self._server}: not packed within {PACKED_WITHIN_S:g} s"
            raise ClpError(ExitCode.TIMED_OUT, text) from None
        finally:
            await child_process.end(child)
        if child.returncode:
            last = said.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise ClpError(ExitCode.FAILED, f"{self._server}: {''.join(last)[:200]}")


async def parts(ask: Callable[[str, int], Awaitable[LogsPart]]) -> AsyncIterator[LogsPart]:
    """All parts of an archive that `ask(archive, offset)` gives, in order."""
    archive, offset = "", 0
    while True:
        part = await ask(archive, offset)
        archive, offset = part.archive, offset + len(part.data)
        yield part
        if offset >= part.size or not part.data:
            return
