"""The guard of `userw`: a second small process that acts when the agent does not feed it.

It is started by its path, with no more of Python than it needs, locks its memory and runs with
real-time priority, so that it still runs where a hung or starved agent does not.  It listens on
a socket in `/run/clptools`, not on a pipe: an agent that restarts finds the guard of its
predecessor and goes on feeding it, so that there is always a guard.

Messages (SOCK_SEQPACKET, fields separated by NUL):
`arm TIMEOUT_MS DEADLINE [COMMAND ...]`, answered `armed DEADLINE [REMARK]`; a guard that is armed
already keeps its deadline, so agents that start over and over cannot put it off.
`pet DEADLINE`, answered `fed`.  `disarm`, answered `disarmed`, ends it.  `fired` reports that it
acted.
Deadlines are milliseconds of CLOCK_BOOTTIME.  The end of a connection does not disarm it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import socket
import struct
import sys
import time

SLICE_MS = 100
"""Longest sleep: poll(2) does not count the time that the host slept, the deadline does."""

RETRY_MS = 1_000
ACTION_MS = 10_000
"""A command that takes longer is taken to hang: it is killed and run again."""
NOBODY_MS = 30_000
"""A guard that is not armed within this time exits: its agent died while starting it."""

PRIORITY = 50
MCL_CURRENT_AND_FUTURE = 3
RB_AUTOBOOT = 0x01234567
IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGPIPE)
MESSAGE_BYTES = 8_192


def now_ms() -> int:
    """Milliseconds since boot, sleep included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def _harden() -> str:
    """Lock memory, take real-time priority, ignore signals that end ordinary processes.

    Returns what failed; the guard works without it, less reliably.
    """
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    lacking = []
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mlockall(MCL_CURRENT_AND_FUTURE) != 0:
        lacking.append(f"memory not locked ({os.strerror(ctypes.get_errno())})")
    try:
        # What the guard starts must not have real-time priority.
        policy = os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
        os.sched_setscheduler(0, policy, os.sched_param(PRIORITY))
    except OSError as fault:
        lacking.append(f"no real-time priority ({fault.strerror})")
    return ", ".join(lacking)


class Reset:
    """Resets this machine; every file is opened before it is needed."""

    def __init__(self, trigger: str = "/proc/sysrq-trigger", kmsg: str = "/dev/kmsg") -> None:
        self._trigger = _open(trigger)
        self._kmsg = _open(kmsg)

    @property
    def lacking(self) -> str:
        """What could not be opened."""
        return "" if self._trigger >= 0 else "no sysrq, only reboot(2)"

    def __call__(self, text: str) -> bool:
        """Resets; on success this does not return."""
        for fd, data in ((self._kmsg, f"<0>clptools guard: {text}"), (self._trigger, "b")):
            if fd >= 0:
                with contextlib.suppress(OSError):
                    os.write(fd, data.encode())
        return reboot() == 0


def reboot() -> int:
    """reboot(2) at once, without syncing."""
    result: int = ctypes.CDLL(None).reboot(RB_AUTOBOOT)
    return result


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError:
        return -1


class Action:
    """A command that runs beside the guard and never blocks it."""

    def __init__(self) -> None:
        self.pid = 0
        """0: it does not run."""
        self._until = 0

    def succeeded(self, command: list[str], now: int) -> bool:
        """Starts it unless it runs; returns whether it has ended with success."""
        if not self.pid:
            self._begin(command, now)
        if not self.pid:
            return False
        ended, status = os.waitpid(self.pid, os.WNOHANG)
        if ended:
            self.pid = 0
            return os.waitstatus_to_exitcode(status) == 0
        if now >= self._until:
            with contextlib.suppress(OSError):
                os.killpg(self.pid, signal.SIGKILL)
            self.pid = 0
        return False

    def _begin(self, command: list[str], now: int) -> None:
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass  # those that were killed
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}
        with contextlib.suppress(OSError):
            self.pid = os.posix_spawn(
                command[0], command, environment, setsid=True, setsigdef=IGNORED
            )
        self._until = now + ACTION_MS


class Guard:
    """Its state, and what each message does to it."""

    def __init__(self, remark: str = "") -> None:
        self.remark = remark
        self.deadline: int | None = None
        """None: not armed."""
        self.timeout_ms = 0
        self.command: list[str] = []
        self.over = False
        self.reset: Reset | None = None
        self._action = Action()
        self._try_at = 0

    def message(self, data: bytes, now: int) -> bytes:
        """Take one message; returns the answer, if any.  Raises ValueError for nonsense."""
        word, *rest = data.decode().split("\0")
        if word == "pet" and self.deadline is not None:
            self.deadline = self._within(int(rest[0]), now)
            return b"fed"
        elif word == "arm":
            self.timeout_ms = int(rest[0])
            self.command = rest[2:]
            if self.deadline is None:
                self.deadline = self._within(int(rest[1]), now)
            remark = self.remark
            if not self.command:
                self.reset = self.reset or Reset()
                remark = ", ".join(filter(None, (remark, self.reset.lacking)))
            return "\0".join(("armed", str(self.deadline), remark)).encode()
        elif word == "disarm":
            self.over = True
            return b"disarmed"
        return b""

    def _within(self, deadline: int, now: int) -> int:
        """Bounds a deadline to one timeout from now."""
        return min(deadline, now + self.timeout_ms)

    def due(self, now: int) -> bool:
        """Whether it is to act now."""
        if self.over or self.deadline is None:
            return False
        return bool(self._action.pid) or now >= max(self.deadline, self._try_at)

    def sleep_ms(self, now: int) -> int:
        """How long it may sleep unless a message comes."""
        if self.deadline is None or self._action.pid:
            return SLICE_MS
        return max(0, min(SLICE_MS, max(self.deadline, self._try_at) - now))

    def act(self, now: int) -> bool:
        """Run the action; returns whether it worked.  If not, it is due again after a while.

        Each call also checks a running command.
        """
        text = f"not fed for {self.timeout_ms} ms"
        if self.command:
            self.over = self._action.succeeded(self.command, now)
        else:
            self.over = self.reset is not None and self.reset(text)
        self._try_at = now + RETRY_MS
        return self.over


def allowed(client: socket.socket) -> bool:
    """Whether the other end is root or our own user."""
    size = struct.calcsize("3i")
    creds = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    uid = struct.unpack("3i", creds)[1]
    return uid in (0, os.geteuid())


def serve(listener: socket.socket, guard: Guard) -> None:
    """Listen, and act when it is time."""
    clients: dict[int, socket.socket] = {}
    poll = select.poll()
    poll.register(listener, select.POLLIN)
    began = now_ms()

    def answer(fd: int, data: bytes) -> None:
        with contextlib.suppress(OSError):
            clients[fd].send(data)

    def drop(fd: int) -> None:
        poll.unregister(fd)
        clients.pop(fd).close()

    while not guard.over:
        # Waiting messages are read before the deadline is checked: a message sent in time
        # counts, even if we ran late.
        for fd, _ in poll.poll(guard.sleep_ms(now_ms())):
            if fd == listener.fileno():
                client, _ = listener.accept()
                client.setblocking(False)
                if allowed(client):
                    clients[client.fileno()] = client
                    poll.register(client, select.POLLIN)
                else:
                    client.close()
                continue
            try:
                while data := clients[fd].recv(MESSAGE_BYTES):
                    with contextlib.suppress(ValueError, IndexError):
                        reply = guard.message(data, now_ms())
                        if reply:
                            answer(fd, reply)
                drop(fd)
            except BlockingIOError:
                continue
            except OSError:
                drop(fd)
        now = now_ms()
        if guard.due(now) and guard.act(now):
            for fd in clients:
                answer(fd, b"fired")
        if guard.deadline is None and now - began > NOBODY_MS:
            return


def main() -> None:
    """`guard.py FD`: the listening socket is inherited."""
    listener = socket.socket(fileno=int(sys.argv[1]))
    listener.setblocking(False)
    serve(listener, Guard(_harden()))


if __name__ == "__main__":
    main()
