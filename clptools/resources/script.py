"""Runs scripts: resources' start and stop, recovery and pre-action scripts.

A script gets its own session and process group, a clean environment, no standard input, and a
deadline (TERM to the group, KILL after a grace).  A run is over when the script itself ends;
programs that it left in the background go on, as start scripts intend.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import os
import pwd
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping

import msgspec

from clptools import paths
from clptools.common.foreign_files import check_script
from clptools.faults import ClpError, ExitCode
from clptools.resources.leftovers import NOTED_AFTER_S, POLL_S, Register, Running, end, signal_group
from clptools.resources.output import OutputPipe

GRACE_MS = 5_000
"""From TERM to KILL."""

FORCED_GRACE_MS = 500
"""A start script that hangs must not use up the seconds of a forced stop."""

UNKILLABLE_MS = 2_000
"""How long a killed process may take to end before it counts as unkillable."""


class Script(msgspec.Struct, frozen=True, kw_only=True):
    """What to run."""

    name: str
    """Its owner (`failover1/exec1`).  A name runs one script at a time."""
    path: str
    """Absolute."""
    timeout_ms: int
    environment: dict[str, str] = {}
    """`CLP_*` variables; nothing else of the agent's environment reaches the script."""
    grace_ms: int = GRACE_MS
    """From TERM to KILL, of this script and of one that it supersedes."""
    background: bool = False
    """It is not waited for: it goes on by itself, and no later script of its name ends it."""
    arguments: tuple[str, ...] = ()
    variables: dict[str, str] = {}
    """Further variables, which go before ours (`PATH`): of a program that is not the operator's."""
    label: str = ""
    """Begins each of its lines in the log: which action of a program it is."""
    secrets: tuple[str, ...] = ()
    """What it is given and may repeat; none of it shows in the log or in its result."""
    quiet: bool = False
    """It is run again and again: its lines go to the log only if it fails, and it gets no place
    of its own."""


class ScriptResult(msgspec.Struct, frozen=True, kw_only=True):
    """How it ended."""

    ok: bool
    """Exit status 0, in time."""
    timed_out: bool = False
    exit_status: int | None = None
    """None: it was killed."""
    killable: bool = True
    """False: it is still there after KILL (a process that hangs in the kernel)."""
    text: str = ""
    """One sentence for people, with the last line it wrote."""
    tail: tuple[str, ...] = ()
    """Its last lines."""
    superseded: bool = False
    """It was ended for another script of its name."""


class _Process:
    """One running script."""

    def __init__(
        self, script: Script, entry: Running, popen: subprocess.Popen[bytes], pipe: OutputPipe
    ) -> None:
        """Raises OSError: its end cannot be watched."""
        self.script = script
        self.entry = entry
        self.popen = popen
        self.pipe = pipe
        self.superseded = False
        self.noting: asyncio.TimerHandle | None = None
        """Will write its entry, which has no file yet."""
        loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = loop.create_future()
        """The script ended.  Until it is reaped, no other process group gets its number."""
        self.reported: asyncio.Future[None] = loop.create_future()
        """Its result is complete: another script of that name may run."""
        self._pidfd = os.pidfd_open(popen.pid)
        try:
            loop.add_reader(self._pidfd, self._on_end)
        except OSError:
            os.close(self._pidfd)
            raise

    def _on_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1
        self.ended.set_result(None)

    def forget(self) -> None:
        """Stop watching it."""
        if self._pidfd >= 0:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
            self._pidfd = -1

    async def wait(self, timeout_ms: int) -> bool:
        """Whether it ended within the time."""
        done, _ = await asyncio.wait((self.ended,), timeout=timeout_ms / 1000)
        return bool(done)


class ScriptRunner:
    """Runs scripts and remembers which run.

    `log(name, line)` gets every line they write, `place(name, pid)` may move a new script into a
    control group of its own (`exec.Scopes`).
    """

    def __init__(
        self,
        *,
        log: Callable[[str, str], None] = lambda name, line: None,
        place: Callable[[str, int], None] = lambda name, pid: None,
        grace_ms: int = GRACE_MS,
    ) -> None:
        self._log = log
        self._place = place
        self._grace_ms = grace_ms
        self._register = Register(paths.run_dir() + "/scripts")
        self._running: dict[str, _Process] = {}
        self._left: set[_Process] = set()
        """Those in the background, until they end."""
        self._shielded = _oom_score_adj() < 0
        _home()

    async def run(self, script: Script) -> ScriptResult:
        """Run it to its end or deadline.

        A script of the same name that still runs, of this agent or an earlier one, is ended
        first: a forced stop must not wait for a hung start.  Cancelling leaves the script
        running, to be found as a leftover.

        Raises:
            ClpError: it may not or cannot be run; with the reason and the remedy.
        """
        check_script(script.path)
        await self.end(script.name, script.grace_ms)
        process = await self._start(script)
        if script.background:
            return self._leave(process)
        try:
            timed_out = not await process.wait(script.timeout_ms)
            if timed_out:
                await self._end(process, self._grace(script))
        except asyncio.CancelledError:
            self._forget(process)
            raise
        return self._result(process, timed_out)

    async def end(self, name: str, grace_ms: int) -> None:
        """End what still runs under that name, of this agent or an earlier one.

        Raises:
            ClpError: it cannot be killed.
        """
        grace_ms = min(self._grace_ms, grace_ms)
        while (before := self._running.get(name)) is not None:
            await self._supersede(before, grace_ms)
        for left in self.leftovers():
            if left.name == name:
                await self._end_leftover(left, grace_ms)

    @property
    def running(self) -> tuple[str, ...]:
        """Names whose script runs now."""
        return tuple(self._running)

    def leftovers(self) -> tuple[Running, ...]:
        """Scripts of an earlier agent that still run."""
        own = {process.entry.token for process in self._running.values()}
        return tuple(entry for entry in self._register.entries() if entry.token not in own)

    def close(self) -> None:
        """Stop watching; running scripts are left alone, for the next agent to find."""
        for process in list(self._running.values()):
            self._forget(process)
        for process in self._left:
            process.forget()

    def _grace(self, script: Script) -> int:
        return min(self._grace_ms, script.grace_ms)

    async def _supersede(self, process: _Process, grace_ms: int) -> None:
        process.superseded = True
        await self._end(process, grace_ms)
        await asyncio.wait((process.reported,), timeout=UNKILLABLE_MS / 1000)
        if not process.reported.done():
            raise ClpError(
                ExitCode.FAILED,
                f"{process.script.name}: {process.script.path} still runs (pid "
                f"{process.popen.pid}) and cannot be killed",
                "look what it waits for: cat /proc/PID/stack",
            )

    async def _end_leftover(self, left: Running, grace_ms: int) -> None:
        self._log(left.name, f"script of an earlier agent still ran (pid {left.pid}): ended")
        if not await end(left, grace_ms):
            raise ClpError(
                ExitCode.FAILED,
                f"{left.name}: a script of an earlier agent still runs (pid {left.pid}) and "
                "cannot be killed",
                "look what it waits for: cat /proc/PID/stack",
            )
        self._register.close(left)

    async def _start(self, script: Script) -> _Process:
        """Waits only for the end of a script that it cannot watch."""
        token = secrets.token_hex(8)
        entry = self._register.unwritten(script.name, token)
        try:
            if not script.quiet:
                entry = self._register.open(script.name, token)
        except OSError as fault:
            raise ClpError(
                ExitCode.FAILED, f"{script.name}: {fault.filename}: {fault.strerror}"
            ) from fault
        name, label = script.name, f"{script.label}: " if script.label else ""
        try:
            pipe = OutputPipe(
                lambda line: None if script.quiet else self._log(name, f"{label}{line}"),
                script.secrets,
            )
        except OSError as fault:
            self._forget_entry(entry)
            raise _cannot_be_run(script, fault) from fault
        try:
            # Popen takes vfork here (no preexec_fn, no other user), so a large agent costs
            # nothing; asyncio's own would add a thread or a child watcher.
            popen = subprocess.Popen(
                [script.path, *script.arguments],
                stdin=subprocess.DEVNULL,
                stdout=pipe.writer,
                stderr=pipe.writer,
                env=environment(script.environment) | script.variables | {"CLP_RUN_ID": token},
                cwd=os.path.dirname(script.path),
                start_new_session=True,
                umask=0o022,
            )
        except OSError as fault:
            pipe.close()
            self._forget_entry(entry)
            raise _cannot_be_run(script, fault) from fault
        try:
            process = _Process(script, entry, popen, pipe)
        except OSError as fault:
            # Left running, it would have no deadline, and its end would not be noticed.
            pipe.close()
            if await _kill(popen):
                self._forget_entry(entry)
            raise _cannot_be_run(script, fault) from fault
        if self._shielded:
            _unshield(popen.pid)
        if not script.quiet:
            # What is run every few seconds would fill the journal of systemd with its scopes.
            self._place(name, popen.pid)
        self._running[name] = process
        if script.quiet:
            loop = asyncio.get_running_loop()
            process.noting = loop.call_later(NOTED_AFTER_S, self._note, process)
        else:
            self._note(process)
        return process

    def _note(self, process: _Process) -> None:
        """Write which process it is."""
        process.noting = None
        # Where that fails, the next agent still finds a script that has a file by its token.
        with contextlib.suppress(OSError):
            process.entry = self._register.started(process.entry, process.popen.pid)

    def _leave(self, process: _Process) -> ScriptResult:
        """It goes on; nobody waits for its end but to reap it."""
        self._forget_entry(process.entry)
        del self._running[process.script.name]
        process.reported.set_result(None)
        self._left.add(process)
        process.ended.add_done_callback(lambda _: self._reap(process))
        return ScriptResult(ok=True, text=f"{process.script.path} goes on in the background")

    def _reap(self, process: _Process) -> None:
        self._left.discard(process)
        process.popen.wait()
        process.pipe.script_ended()

    def _forget_entry(self, entry: Running) -> None:
        """If the file stays, it names no live process and goes at the next check."""
        with contextlib.suppress(OSError):
            self._register.close(entry)

    async def _end(self, process: _Process, grace_ms: int) -> None:
        """TERM, then KILL, to the whole group."""
        pid = process.popen.pid
        signal_group(pid, signal.SIGTERM)
        await process.wait(grace_ms)
        # Processes of the group that outlived the script's TERM must not stay.
        signal_group(pid, signal.SIGKILL)
        await process.wait(UNKILLABLE_MS)

    def _result(self, process: _Process, timed_out: bool) -> ScriptResult:
        script = process.script
        killable = process.ended.done()
        if killable:
            process.popen.wait()
            if process.noting is None:
                self._register.close(process.entry)
        else:
            # It stays in the register: the next run of this name must deal with it.
            process.popen.returncode = -signal.SIGKILL
        process.pipe.script_ended()
        self._forget(process)
        code = process.popen.returncode if killable else -signal.SIGKILL
        how = _how_it_ended(code)
        if process.superseded:
            how = "was ended for another script of the same resource"
        elif timed_out:
            how = f"did not end within {script.timeout_ms / 1000:g} s and was killed"
        if not killable:
            how += f", but is still there (pid {process.popen.pid})"
        tail = process.pipe.output.tail
        said = f': "{tail[-1]}"' if tail and code != 0 else ""
        if script.quiet and code != 0:
            for line in tail:
                self._log(script.name, f"{script.label}: {line}" if script.label else line)
        return ScriptResult(
            ok=code == 0 and not timed_out and not process.superseded,
            timed_out=timed_out,
            exit_status=code if code >= 0 and not timed_out and not process.superseded else None,
            killable=killable,
            text=f"{script.path} {how}{said}",
            tail=tail,
            superseded=process.superseded,
        )

    def _forget(self, process: _Process) -> None:
        process.forget()
        if process.noting is not None:
            process.noting.cancel()
            if not process.ended.done():
                self._note(process)
        if self._running.get(process.script.name) is process:
            del self._running[process.script.name]
        if not process.reported.done():
            process.reported.set_result(None)


@functools.cache
def _home() -> str:
    """Looked up once: a name service that hangs must not hang a failover."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return "/"


def _oom_score_adj() -> int:
    with open("/proc/self/oom_score_adj", encoding="ascii") as file:
        return int(file.read())


def _unshield(pid: int) -> None:
    """The agent may be exempt from the out-of-memory killer; its scripts must not be."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/oom_score_adj", "w") as file:
        file.write("0")


def _cannot_be_run(script: Script, fault: OSError) -> ClpError:
    interpreter = "its first line must name an interpreter that is there: #!/bin/sh"
    return ClpError(
        ExitCode.FAILED,
        f"{script.path}: cannot be run: {fault.strerror}",
        interpreter if fault.errno in (errno.ENOENT, errno.ENOEXEC, errno.EACCES) else "",
    )


async def _kill(popen: subprocess.Popen[bytes]) -> bool:
    """KILL to a script that cannot be watched, and its group; returns whether it is gone."""
    signal_group(popen.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(UNKILLABLE_MS / 1000):
            while popen.poll() is None:
                await asyncio.sleep(POLL_S)
            return True
    popen.returncode = -signal.SIGKILL
    return False


def _how_it_ended(code: int) -> str:
    if code == 0:
        return "succeeded"
    if code < 0:
        return f"was killed by {_signal_name(-code)}"
    return f"ended with exit status {code}"


def _signal_name(number: int) -> str:
    """Signals between the first and the last real-time one have no name (signal(7))."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a script; only names that begin with `CLP_` are taken."""
    commands = os.path.join(sys.prefix, "bin")
    clean = {
        "PATH": f"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:{commands}",
        "LANG": "C.UTF-8",
        "HOME": _home(),
        "CLP_PATH": sys.prefix,
        # Commands that the script calls speak to this agent, not to another on this machine.
        "CLP_NODE": paths.server_name(),
    }
    if paths.root():
        clean["CLP_ROOT"] = paths.root()
    taken = {k: v.replace("\0", "") for k, v in variables.items() if k.startswith("CLP_")}
    return clean | taken
