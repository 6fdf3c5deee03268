"""The output of a script: each line goes to a log, the last lines are kept, all within bounds."""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections import deque
from collections.abc import Callable, Iterable

MAX_LINE = 1_000
MAX_LINES = 1_000
"""Most lines of one run that go to the log; the kept tail is separate."""
TAIL_LINES = 20
CHUNK = 65_536
FLOOD_PAUSE_S = 0.01
HIDDEN = b"***"
"""Stands where a secret was."""


class Output:
    """Splits a stream of bytes into clean lines; feed it, then `finish()`.

    No line shows any of `secrets`: a program may repeat what it was given.
    """

    def __init__(self, log: Callable[[str], None], secrets: Iterable[str] = ()) -> None:
        self._log = log
        lines = {line.strip().encode() for secret in secrets for line in secret.splitlines()}
        self._secrets = sorted(lines - {b""}, key=len, reverse=True)
        self._held = max(map(len, self._secrets), default=0)
        """An endless line is cut so long before its end, where a secret may have begun."""
        self._rest = b""
        self._count = 0
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines, oldest first."""
        return tuple(self._tail)

    @property
    def flooded(self) -> bool:
        """Whether it wrote more than is logged: the rest is read slowly and mostly skipped."""
        return self._count > MAX_LINES

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        data = self._rest + data
        for secret in self._secrets:
            data = data.replace(secret, HIDDEN)
        if self.flooded:
            data = data[-TAIL_LINES * 80 :]
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._line(line)
        # An endless line is cut.
        while len(rest) > MAX_LINE + self._held:
            self._line(rest[:MAX_LINE])
            rest = rest[MAX_LINE:]
        self._rest = rest

    def finish(self) -> None:
        """The stream or the script ended: the rest is a line too."""
        if self._rest:
            self._line(self._rest)
            self._rest = b""

    def _line(self, data: bytes) -> None:
        text = printable(data[:MAX_LINE].decode("utf-8", "replace").rstrip())
        if not text:
            return
        self._tail.append(text)
        self._count += 1
        if self._count <= MAX_LINES:
            self._log(text)
        elif self._count == MAX_LINES + 1:
            self._log(f"(more than {MAX_LINES} lines: the rest is not logged)")


class OutputPipe:
    """The pipe for the output of a script and of the programs that it leaves in the background.

    Start scripts often leave a program running that still has this pipe as its output.  It must
    neither die nor hang when the reader is gone (an agent that restarts).  So the script gets the
    pipe opened for reading *and* writing: as it is a reader itself, its writes never raise SIGPIPE.
    Once the script ended, the pipe no longer blocks either: output beyond its room is lost.
    """

    def __init__(self, log: Callable[[str], None], secrets: Iterable[str] = ()) -> None:
        """Raises OSError: no more files may be open."""
        self.output = Output(log, secrets)
        self._loop = asyncio.get_running_loop()
        self._reader, writer = os.pipe()
        self.writer = -1
        """The script's end; our copy is open until the script ended."""
        try:
            os.set_blocking(self._reader, False)
            self.writer = os.open(f"/proc/self/fd/{writer}", os.O_RDWR)
            self._loop.add_reader(self._reader, self._readable)
        except OSError:
            self.close()
            raise
        finally:
            os.close(writer)

    @property
    def closed(self) -> bool:
        """Whether all writers are gone, or we read no more."""
        return self._reader < 0

    def script_ended(self) -> None:
        """Read the script's last output; background programs may go on writing."""
        while not self.closed and self._take():
            pass
        self.output.finish()
        flags = fcntl.fcntl(self.writer, fcntl.F_GETFL)
        fcntl.fcntl(self.writer, fcntl.F_SETFL, flags | os.O_NONBLOCK)
        os.close(self.writer)
        self.writer = -1

    def close(self) -> None:
        """Stop reading."""
        if not self.closed:
            self._loop.remove_reader(self._reader)
            os.close(self._reader)
            self._reader = -1
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def _take(self) -> bool:
        """Read once; returns whether there may be more."""
        try:
            data = os.read(self._reader, CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self.output.finish()
            self.close()
            return False
        self.output.feed(data)
        return True

    def _readable(self) -> None:
        self._take()
        if not self.closed and self.output.flooded:
            # Endless output must not occupy the loop.
            self._loop.remove_reader(self._reader)
            self._loop.call_later(FLOOD_PAUSE_S, self._resume)

    def _resume(self) -> None:
        if not self.closed:
            self._loop.add_reader(self._reader, self._readable)


def printable(text: str) -> str:
    """The text without terminal control sequences, which must not reach a log or a screen."""
    if text.isprintable():
        return text
    text = text.expandtabs()
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
