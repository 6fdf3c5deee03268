"""Runs one fence agent: parameters on its standard input, one action, a limit of time and output.

An agent that is given no action, or one that it does not know, *reboots* the plug and ends with 0.
So the action is one of an enumeration, stands last, and nothing else may name one.  Any argument
on the command line would switch the standard input off; there is none, and so no password either.

    off, on   0: done ("Success: Already OFF": nothing was sent)   else: not done, or not seen
    status    0 and "Status: ON": on   2 and "Status: OFF": off   else: not known

Its children may leave its process group (pexpect gives each a session of its own).  What a run
started is found by its descent, and by a token in its environment, and killed with it.

Source: fence-agents 4.12.1, `lib/fencing.py.py` (`fence_action`, `process_input`).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import pwd
import re
import secrets
import signal
import subprocess
from collections.abc import Callable, Mapping
from enum import StrEnum

import msgspec

from clptools.common.foreign_files import check_script
from clptools.config.fence_agents import present_name
from clptools.config.files import read_secret
from clptools.core.model.settings import FenceAgent
from clptools.core.model.words import PowerState
from clptools.faults import ClpError, ExitCode, plain

MAX_OUTPUT = 1 << 20
"""An agent that writes more than this many bytes is killed."""
MAX_INPUT = 32_768
"""Half of a pipe (pipe(7)): it is written at once, whatever the agent reads."""
_TAIL = 4_096
_SHOWN = 200
_CHUNK = 65_536
_GRACE_S = 0.2
"""From TERM to KILL, where a read gives way to an order."""
_SWEEPS = 5
_STATUS_OFF = 2
_STATUS = re.compile(r"STATUS: (ON|OFF)\b")
"""What a `status` prints (`fence_action`)."""
_TOKEN = "CLP_FENCE_RUN"
_STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ (?:[A-Z]+: )?")
"""Before each line that `fencing.py` logs."""
_NOTHING_SENT = re.compile(r"unable to connect|connection (refused|timed out|lost)|login", re.I)


class AgentAction(StrEnum):
    """All that an agent is ever asked for; `reboot` is its default and never is."""

    OFF = "off"
    ON = "on"
    STATUS = "status"


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended."""

    status: int | None
    """Exit status; None: it was killed, or by a signal."""
    output: str
    said: str
    """The last line that it wrote to its standard error, or what kept it from its end."""
    gave_way: bool = False
    """It was ended for an order."""

    @property
    def power(self) -> PowerState:
        """What a `status` says, both by its exit status and in words; else it says nothing."""
        said = set(_STATUS.findall(self.output.upper()))
        if self.status == 0 and said == {"ON"}:
            return PowerState.ON
        # Shells and interpreters end with 2 as well: a file that is not there, a wrong line in it.
        if self.status == _STATUS_OFF and said == {"OFF"}:
            return PowerState.OFF
        return PowerState.UNKNOWN

    @property
    def nothing_sent(self) -> bool:
        """Whether it says itself that it sent no order."""
        already = "already off" in self.output.lower() or "already on" in self.output.lower()
        return already if self.status == 0 else bool(_NOTHING_SENT.search(self.said))


def input_of(fence: FenceAgent, action: AgentAction, secret: tuple[str, str] = ("", "")) -> bytes:
    """What the agent reads; `secret`: parameter and value.

    Raises ClpError (REFUSED) rather than let it find another action, or none.
    """
    stated = AgentAction(action)
    lines = [f"{name}={value}" for name, value in fence.parameters.items()]
    if secret[0]:
        lines.append("=".join(secret))
    lines.append(f"action={stated}")
    for name in fence.parameters:
        if present_name(name.lower()) == "action":
            raise ClpError(ExitCode.REFUSED, f"{fence.name}: {name} would replace the action")
    if any(re.search(r"[\x00-\x1f\x7f]", line) for line in lines):
        raise ClpError(ExitCode.REFUSED, f"{fence.name}: a parameter with a control character")
    text = "".join(f"{line}\n" for line in lines).encode()
    if len(text) > MAX_INPUT:
        raise ClpError(ExitCode.REFUSED, f"{fence.name}: {len(text)} bytes of parameters")
    return text


def read_password(fence: FenceAgent) -> str:
    """The password of the agent, from its file; empty: it has none.

    Its disk may hang, so this is not for the agent's loop.

    Raises ClpError: others may read the file, or an agent could not take what is in it.
    """
    if not fence.password_file:
        return ""
    content = read_secret(fence.password_file, f"Write the password of {fence.name} into it.")
    try:
        found = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        found = "\0"
    if not found or not found.isprintable() or found != found.strip() or found[0] in "\"'":
        raise ClpError(
            ExitCode.FAILED,
            f"{fence.password_file}: no password that a fence agent can take",
            "One line, without blanks or quotes at its ends.",
        )
    return found


class Run:
    """One run.  `await finish()` once; `give_way()` ends it early."""

    def __init__(self, path: str, text: bytes, secret: str = "") -> None:
        """Starts it.  Raises ClpError: it may not or cannot be run."""
        check_script(path)
        self._path = path
        self._secret = secret
        self._token = secrets.token_hex(8)
        self._output = bytearray()
        self._errors = bytearray()
        self._written = 0
        self._why = ""
        self._gave_way = False
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        try:
            self._popen = subprocess.Popen(
                [path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=_environment() | {_TOKEN: self._token},
                cwd="/",
                start_new_session=True,
                umask=0o077,
            )
        except OSError as fault:
            raise ClpError(ExitCode.FAILED, f"{path}: cannot be run: {fault.strerror}") from fault
        assert self._popen.stdin and self._popen.stdout and self._popen.stderr
        self._fds = (self._popen.stdout.fileno(), self._popen.stderr.fileno())
        try:
            self._pidfd = os.pidfd_open(self._popen.pid)
        except OSError as fault:
            # It would have no deadline, and its end would not be noticed.
            self._popen.kill()
            raise ClpError(ExitCode.FAILED, f"{path}: {fault.strerror}") from fault
        self._loop.add_reader(self._pidfd, self._on_end)
        for fd, into in zip(self._fds, (self._output, self._errors), strict=True):
            os.set_blocking(fd, False)
            self._loop.add_reader(fd, self._on_output, fd, into)
        # It may end without reading.
        with contextlib.suppress(BrokenPipeError), self._popen.stdin as pipe:
            pipe.write(text)

    async def finish(self, timeout_s: float, *, sweep: bool) -> Ended:
        """Its end, or the end of its time.

        `sweep`: what it left running is killed after a good end as well; it could act later.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._ended)
        except TimeoutError:
            self._why = self._why or f"it did not end within {timeout_s:g} s and was killed"
        except asyncio.CancelledError:
            self._why = "it was called off"
            await self._kill()
            self._reap()
            raise
        if sweep or not self._ended.done() or self._why:
            await self._kill()
        else:
            self._signal(signal.SIGKILL)
        return self._reap()

    def give_way(self, why: str = "it gave way to an order") -> None:
        """Ends a read, for an order that may not wait, or what is not wanted any more."""
        if not self._ended.done():
            self._why, self._gave_way = why, True
            self._signal(signal.SIGTERM)
            self._loop.call_later(_GRACE_S, self._signal, signal.SIGKILL)

    async def _kill(self) -> None:
        """Everything that it started, too: in a thread, as all of `/proc` is looked through."""
        await asyncio.to_thread(_end_all, self._popen.pid, self._token)
        self._signal(signal.SIGKILL)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GRACE_S):
                await asyncio.shield(self._ended)

    def _signal(self, number: int) -> None:
        if self._pidfd < 0:
            return  # it was reaped, and its number may be another's
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._popen.pid, number)

    def _on_end(self) -> None:
        self._loop.remove_reader(self._pidfd)
        if not self._ended.done():
            self._ended.set_result(None)

    def _on_output(self, fd: int, into: bytearray) -> None:
        try:
            data = os.read(fd, _CHUNK)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(fd)
            return
        self._written += len(data)
        into += data
        del into[:-_TAIL]
        if self._written > MAX_OUTPUT and not self._why:
            self._why = f"it wrote more than {MAX_OUTPUT >> 20} MiB and was killed"
            self._signal(signal.SIGKILL)

    def _reap(self) -> Ended:
        for fd, into in zip(self._fds, (self._output, self._errors), strict=True):
            # A daemon that it left may hold the pipe for ever: what is there now is all.
            with contextlib.suppress(BlockingIOError):
                into += os.read(fd, _CHUNK)[-_TAIL:]
            self._loop.remove_reader(fd)
        assert self._popen.stdout and self._popen.stderr
        self._popen.stdout.close()
        self._popen.stderr.close()
        code: int | None = None
        if self._ended.done():
            code = self._popen.wait()
        else:
            self._popen.returncode = -signal.SIGKILL  # it hangs in the kernel
            self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        status = code if code is not None and code >= 0 and not self._why else None
        said = self._why or self._last_line()
        if not said and code is not None and code < 0:
            said = f"it was killed by signal {-code}"
        if not said and status not in (0, _STATUS_OFF):
            said = f"it ended with exit status {code}"
        return Ended(
            status=status,
            output=self._shown(bytes(self._output)),
            said=said,
            gave_way=self._gave_way,
        )

    def _last_line(self) -> str:
        lines = [line.strip() for line in self._shown(bytes(self._errors)).splitlines()]
        last = next((line for line in reversed(lines) if line), "")
        return plain(_STAMP.sub("", last)[:_SHOWN])

    def _shown(self, data: bytes) -> str:
        text, secret = data.decode("utf-8", "replace"), self._secret
        if len(data) >= _TAIL:
            # Of a secret at the cut only the end is left.
            ends = (secret[at:] for at in range(1, len(secret)))
            text = text.removeprefix(next(filter(text.startswith, ends), ""))
        return text.replace(secret, "***") if secret else text


async def run(
    fence: FenceAgent,
    path: str,
    action: AgentAction,
    secret: tuple[str, str] = ("", ""),
    started: Callable[[Run], None] = lambda run: None,
) -> Ended:
    """Runs it to its end; `secret`: parameter and value.  It has begun before anything is awaited.

    Raises ClpError: it may not or cannot be run.
    """
    running = Run(path, input_of(fence, action, secret), secret[1])
    started(running)
    return await running.finish(fence.timeout_ms / 1000, sweep=action is not AgentAction.STATUS)


@functools.cache
def _home() -> str:
    """For ssh and its known hosts; looked up once: a name service may hang."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return "/"


def _environment() -> dict[str, str]:
    """All of it.  Never `PCMK_service`: by that agents drop their time-outs."""
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "LC_ALL": "C",
        "HOME": _home(),
    }


def _end_all(leader: int, token: str) -> None:
    """KILL to a process, its group, its descendants, and whoever carries the token.

    Some may fork meanwhile, so it is done again until nobody is left.
    """
    marks = f"{_TOKEN}={token}".encode()
    for _ in range(_SWEEPS):
        found = _family(leader, marks)
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not found:
            return


def _family(leader: int, marks: bytes) -> set[int]:
    """Those of the run that live now; zombies are none."""
    parents: dict[int, int] = {}
    found: set[int] = set()
    for name in os.listdir("/proc"):
        if not name.isdecimal():
            continue
        pid = int(name)
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/stat", "rb") as file:
                state, parent, group = file.read().rpartition(b")")[2].split()[:3]
            if state in (b"Z", b"X"):
                continue
            parents[pid] = int(parent)
            with open(f"/proc/{pid}/environ", "rb") as file:
                marked = marks in file.read(_CHUNK).split(b"\0")
            if pid == leader or int(group) == leader or marked:
                found.add(pid)
    return found | _descendants(parents, leader)


def _descendants(parents: Mapping[int, int], leader: int) -> set[int]:
    found: set[int] = {leader}
    grew = True
    while grew:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found |= more
        grew = bool(more)
    return found - {leader}
