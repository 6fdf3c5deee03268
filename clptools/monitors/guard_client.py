"""The agent's side of the guard: starts or adopts it, feeds it, hears when it is gone."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec

from clptools import paths
from clptools.faults import ClpError, ExitCode

ANSWER_S = 5.0
NAME = "guard.sock"


class GuardClient:
    """One guard.  `now` reads CLOCK_BOOTTIME in ms.

    `gone(text, fired)` is called if it ends unasked; `fired`: because it acted.  `unfed(text)` is
    called while it exists and takes no feedings.
    """

    def __init__(
        self,
        now: Callable[[], int],
        gone: Callable[[str, bool], None],
        unfed: Callable[[str], None],
    ) -> None:
        self._now = now
        self._gone = gone
        self._unfed = unfed
        self._sock: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._timeout_ms = 0
        self._deadline = 0
        """By the last feeding."""
        self._confirms = False
        """Whether it answers feedings; a guard of an older version does not."""
        self._unconfirmed_at = 0
        """When the oldest unanswered feeding was sent; 0: there is none."""
        self._answer: asyncio.Future[list[str]] | None = None

    @property
    def connected(self) -> bool:
        """Whether a guard is there, as far as is known."""
        return self._sock is not None

    async def arm(self, timeout_ms: int, command: tuple[str, ...], *, fed: bool = True) -> str:
        """Start a guard, or take over a running one; returns what it lacks, for people.

        This feeds it, unless `fed` is false: then the last feeding's deadline goes on.

        Raises:
            ClpError: it could not be started or did not answer.
        """
        self._timeout_ms = timeout_ms
        if fed:
            self._deadline = self._now() + timeout_ms
        if self._sock is None:
            self._sock = _connect() or self._start()
            asyncio.get_running_loop().add_reader(self._sock.fileno(), self._readable)
        words = ("arm", str(timeout_ms), str(self._deadline), *command)
        answer = await self._ask("\0".join(words))
        if answer[0] != "armed":
            raise ClpError(ExitCode.FAILED, f"the guard answered {answer[0]}")
        return answer[2]

    def pet(self) -> None:
        """Move its deadline to one timeout from now."""
        now = self._now()
        self._deadline = now + self._timeout_ms
        # Answers that wait because we were held up are no fault of the guard.
        while self._sock is not None and self._readable():
            pass
        if self._sock is None:
            return
        if self._unconfirmed_at and now - self._unconfirmed_at > self._timeout_ms // 4:
            if self._confirms:
                self._unfed("the guard process does not answer")
        elif not self._unconfirmed_at:
            self._unconfirmed_at = now
        # A guard that cannot take it is gone, which `_readable` sees, or has enough waiting.
        with contextlib.suppress(OSError):
            self._sock.send(f"pet\0{self._deadline}".encode())

    async def disarm(self) -> None:
        """End it, also one that an earlier agent left.  Raises `ClpError`."""
        if self._sock is None:
            self._sock = _connect()
            if self._sock is None:
                return
            asyncio.get_running_loop().add_reader(self._sock.fileno(), self._readable)
        await self._ask("disarm")
        self.close()
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)
            self._process = None

    def close(self) -> None:
        """Close the connection: the guard acts at its deadline unless another agent feeds it."""
        if self._sock is not None:
            asyncio.get_running_loop().remove_reader(self._sock.fileno())
            self._sock.close()
            self._sock = None
        self._confirms = False
        self._unconfirmed_at = 0

    async def _ask(self, message: str) -> list[str]:
        assert self._sock is not None
        self._answer = asyncio.get_running_loop().create_future()
        try:
            self._sock.send(message.encode())
            async with asyncio.timeout(ANSWER_S):
                return await self._answer
        except (OSError, TimeoutError) as fault:
            self.close()
            raise ClpError(
                ExitCode.FAILED, f"the guard process did not answer: {fault or 'no time left'}"
            ) from fault
        finally:
            self._answer = None

    def _readable(self) -> bool:
        """Takes one message; returns whether there was one."""
        assert self._sock is not None
        try:
            data = self._sock.recv(8_192)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        words = data.decode("utf-8", "replace").split("\0")
        if words[0] == "fed":
            self._confirms = True
            self._unconfirmed_at = 0
            return True
        if words[0] in ("armed", "disarmed"):
            if self._answer is not None and not self._answer.done():
                self._answer.set_result(words)
            return True
        self.close()
        if self._process is not None:
            # It is gone or about to exit; within a second it is no zombie either.
            asyncio.get_running_loop().call_later(1.0, self._process.poll)
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(ConnectionResetError("it ended"))
        elif words[0] == "fired":
            self._gone("the guard was not fed in time and acted", True)
        else:
            text = "the guard process ended: nothing resets a hung server until it is back"
            self._gone(text, False)
        return True

    def _start(self) -> socket.socket:
        spec = find_spec("clptools.monitors.guard")
        assert spec is not None and spec.origin is not None
        try:
            with _listener() as listener:
                # -I -S: neither the environment nor site-packages is used.
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", spec.origin, str(listener.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    cwd="/",
                    env={},
                    pass_fds=(listener.fileno(),),
                    start_new_session=True,
                )
            sock = _connect()
        except OSError as fault:
            raise ClpError(
                ExitCode.FAILED, f"the guard process cannot be started: {fault.strerror}"
            ) from fault
        if sock is None:
            raise ClpError(ExitCode.FAILED, "the guard process ended at once")
        return sock


@contextlib.contextmanager
def _directory() -> Iterator[str]:
    """The run directory by a short name: paths below `CLP_ROOT` may exceed a socket's 107 bytes."""
    fd = os.open(paths.run_dir(), os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def _connect() -> socket.socket | None:
    """A connection to the guard that listens, or None."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK)
    try:
        with _directory() as directory:
            sock.connect(f"{directory}/{NAME}")
    except (FileNotFoundError, ConnectionRefusedError):
        sock.close()
        return None
    except OSError:
        sock.close()
        raise
    return sock


@contextlib.contextmanager
def _listener() -> Iterator[socket.socket]:
    """A new listening socket in place of the one that an ended guard left."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    os.makedirs(paths.run_dir(), exist_ok=True)
    try:
        with _directory() as directory:
            path = f"{directory}/{NAME}"
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            old = os.umask(0o177)
            try:
                sock.bind(path)
            finally:
                os.umask(old)
            sock.listen(8)
        yield sock
    finally:
        sock.close()
