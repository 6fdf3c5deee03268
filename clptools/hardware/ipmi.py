"""IPMI 2.0 over LAN (RMCP+) to the BMCs, without ever holding up the agent.

Each BMC has one process of `ipmi_worker`, in it one session, and at most one request at a time.
An unanswered request leaves the session open (see `ipmi_session`).  After it, the BMC is left alone
for a moment; after a failed login, for a growing while; after a refused password, for much longer,
because BMCs lock accounts.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Callable

import msgspec

from clptools.common import child_process
from clptools.core.model.settings import Bmc
from clptools.faults import ClpError, ExitCode
from clptools.hardware.ipmi_requests import PATIENCE_S, BmcError, Command, Result, boot_ms, refusal

_QUIET_FIRST_S, _QUIET_MOST_S = 0.5, 1.5
"""After a failure.  With more, a BMC that restarted would not be in use again within 3 s."""
_QUIET_REFUSED_S = 60.0
"""After a refused password."""
_QUIET_ACCOUNTS_S = 2.0
_PASSWORDS_OF_A_START, _NAMES_OF_A_START = 3, 30
"""How often, and how far apart, a password is tried that this BMC has accepted before: a BMC that
restarted may not have loaded its accounts yet.  One that knows the user's name may lock it."""
_GRACE_S = 0.2
"""Extra time in which the process reports why there is no answer."""
_MAX_RESULT_BYTES = 4096
_ANSWER_S = 7.0
"""How long the process of a BMC may take to report the result of a command that left."""


def read_password(path: str) -> str:
    """The BMC password in `path`, a file that only we may read.

    Raises ClpError when it is missing, empty, or open to others.
    """
    try:
        # A FIFO there would hold up whoever opens it.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, encoding="utf-8") as file:
            found = os.fstat(file.fileno())
            text = file.read(4096)
    except FileNotFoundError:
        hint = f"clpbmccnf {os.path.basename(path)} stores it"
        raise ClpError(ExitCode.FAILED, f"{path}: no BMC password there", hint) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ClpError(ExitCode.FAILED, f"{path}: {error}") from None
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid not in (0, os.geteuid()):
        text = f"{path}: belongs to user {found.st_uid}, who can read and replace it"
        raise ClpError(ExitCode.FAILED, text, f"chown root {path}")
    if mode & 0o077:
        hint = f"chmod 0400 {path}"
        raise ClpError(ExitCode.FAILED, f"{path}: others may read it ({mode:04o})", hint)
    password = text.rstrip("\r\n")
    if not password:
        raise ClpError(ExitCode.FAILED, f"{path}: empty")
    return password


class IpmiProcesses:
    """The parent of the IPMI processes; started when the first BMC is asked."""

    def __init__(self) -> None:
        self._control: socket.socket | None = None
        self._parent: asyncio.subprocess.Process | None = None
        self._lock = asyncio.Lock()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Starts a process for one BMC.  Raises OSError."""
        async with self._lock:
            if self._parent is None or self._parent.returncode is not None:
                await self._start()
        assert self._control is not None
        ours, theirs = socket.socketpair()
        try:
            socket.send_fds(self._control, [b"."], [theirs.fileno()])
            return await asyncio.open_connection(sock=ours)
        except OSError:
            ours.close()
            raise
        finally:
            theirs.close()

    async def _start(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        self._parent, self._control = await child_process.start("clptools.hardware.ipmi_worker")
        self._control.setblocking(False)

    async def close(self) -> None:
        """Ends the parent; each process ends as its BMC's client is closed."""
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._parent is not None:
            await self._parent.wait()
            self._parent = None


class BmcClient:
    """Requests to one server's BMC, one at a time."""

    def __init__(
        self,
        server: str,
        bmc: Bmc,
        password_file: str,
        processes: IpmiProcesses,
        now_s: Callable[[], float] | None = None,
    ) -> None:
        """`now_s` is a monotonic clock; the event loop's by default."""
        self.server = server
        self.bmc = bmc
        self.where = bmc.where
        self.level = ""
        """The privilege level of our account, as of the last answer's login."""
        self.latency_s = 0.0
        self._password_file = password_file
        self._processes = processes
        self._now_s = now_s or asyncio.get_running_loop().time
        self._lock = asyncio.Lock()
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._number = 0
        self._owed: asyncio.Future[Result] | None = None
        """The result under way; its caller may have given up."""
        self._owed_to = ""
        self._refused_password = ""
        self._taken_password = ""
        """The password that the BMC accepted last."""
        self._refusals = 0
        self._failures = 0
        self._quiet_until_s = 0.0
        self._quiet_s = 0.0
        self._last_fault = ""

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
        """The data and latency (ms) of the answer to one request, called `what` in faults.

        `urgent` asks also while the BMC is left alone.  After `patience_s` the request is sure
        not to be repeated on the wire.  Raises BmcError.
        """
        result = await self.ask(what, netfn, command, data, patience_s=patience_s, urgent=urgent)
        return result.data, result.latency_ms

    async def ask(
        self,
        what: str,
        netfn: int,
        command: int,
        data: bytes = b"",
        *,
        patience_s: float = PATIENCE_S,
        urgent: bool = False,
        leaving: Callable[[], None] = lambda: None,
    ) -> Result:
        """As `command`, with the login that it was answered in.

        `leaving` is called when its turn has come, right before it leaves.  Raises BmcError.
        """
        password = self._password(what)
        quiet = self._now_s() < self._quiet_until_s
        if quiet and not urgent and password != self._refused_password:
            quiet = not self._refused_password
        if quiet and not urgent:
            # Its last answer: this request did not reach it.
            again = f"it is asked again {self._quiet_s:g} s after that"
            raise self._error(what, f"{self._last_fault}; {again}")
        try:
            until_ms = boot_ms() + round(patience_s * 1000)
            async with asyncio.timeout(patience_s + _GRACE_S), self._lock:
                request = self._request(netfn, command, data, password, until_ms)
                result = await self._exchange(what, request, leaving)
            if result.missed == "no answer":
                raise TimeoutError
        except TimeoutError:
            waiting = f" to {self._owed_to}" if self._owed_to not in ("", what) else ""
            text = f"no answer{waiting} within {patience_s:g} s"
            raise self._failed(what, text, _QUIET_FIRST_S) from None
        if result.missed:
            raise self._failed(what, result.missed, _QUIET_FIRST_S)
        return self._told(what, result, password)

    async def once(
        self, what: str, netfn: int, command: int, data: bytes, *, until_ms: int, left_s: float
    ) -> None:
        """Send one datagram by `until_ms` (CLOCK_BOOTTIME), which is `left_s` from now, or never.

        Nothing repeats it.  Also an order that waits for its turn is over then.  Raises BmcError
        unless the BMC accepted it.
        """
        password = self._password(what)
        left = False
        try:
            async with asyncio.timeout(left_s) as limit, self._lock:

                def leaving() -> None:
                    nonlocal left
                    left = True
                    limit.reschedule(asyncio.get_running_loop().time() + left_s + _ANSWER_S)

                request = self._request(netfn, command, data, password, until_ms, once=True)
                result = await self._exchange(what, request, leaving)
        except TimeoutError:
            if left:
                fault = self._failed(what, f"no answer within {left_s + _ANSWER_S:g} s")
                fault.left = True
                raise fault from None
            busy = f", which has not answered to {self._owed_to}" if self._owed_to else ""
            text = f"not sent: its turn did not come within {left_s:g} s{busy}"
            raise self._error(what, text) from None
        self._told(what, result, password)

    def _password(self, what: str) -> str:
        try:
            return read_password(self._password_file)
        except ClpError as fault:
            raise self._error(what, fault.message) from None

    def _told(self, what: str, result: Result, password: str) -> Result:
        """An answer, or BmcError."""
        if result.fault:
            if any(word in result.fault.lower() for word in ("password", "unauthorized")):
                self._refused_password = password
                self._refusals += 1
                name = "password" not in result.fault.lower()
                most = _NAMES_OF_A_START if name else _PASSWORDS_OF_A_START
                soon = password == self._taken_password and self._refusals < most
                quiet_s = _QUIET_ACCOUNTS_S if soon else _QUIET_REFUSED_S
                raise self._failed(what, result.fault, quiet_s)
            raise self._failed(what, result.fault)
        if result.missed:
            fault = self._error(what, result.missed)
            fault.left = result.left
            raise fault
        self._failures = 0
        self._quiet_until_s = 0.0
        self._refused_password = ""
        self._taken_password = password
        self._refusals = 0
        self.level = result.level
        self.latency_s = result.latency_ms / 1000
        if result.code:
            raise BmcError(self.server, self.where, what, 1, refusal(result.code), result.code)
        return result

    def _request(
        self,
        netfn: int,
        command: int,
        data: bytes,
        password: str,
        until_ms: int,
        *,
        once: bool = False,
    ) -> Command:
        self._number += 1
        return Command(
            number=self._number,
            address=self.bmc.address,
            port=self.bmc.port,
            user=self.bmc.user,
            password=password,
            netfn=netfn,
            command=command,
            data=data,
            until_ms=until_ms,
            once=once,
        )

    async def _exchange(self, what: str, command: Command, leaving: Callable[[], None]) -> Result:
        """The result of one command from the BMC's process.  Raises BmcError if that ended."""
        try:
            return await self._sent(what, command, leaving)
        except OSError:
            self._hang_up()
            raise self._failed(what, "the IPMI process ended") from None

    async def _sent(self, what: str, command: Command, leaving: Callable[[], None]) -> Result:
        if self._owed is not None and not self._owed.done():
            # One request in flight: an earlier one, given up by its caller, ends first.
            await asyncio.shield(self._owed)
        if self._writer is None:
            reader, writer = await self._processes.connect()
            self._writer = writer
            self._reading = asyncio.get_running_loop().create_task(self._read(reader, writer))
        leaving()
        self._owed = asyncio.get_running_loop().create_future()
        self._owed_to = what
        self._writer.write(child_process.framed(command))
        return await asyncio.shield(self._owed)

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Hands results to their callers until the process ends."""
        try:
            while True:
                result = await child_process.read(reader, Result, _MAX_RESULT_BYTES)
                if self._owed is not None and not self._owed.done():
                    self._owed.set_result(result)
                if result.fault:
                    return  # that process ends; the next request starts another
        except (OSError, EOFError, ValueError, msgspec.MsgspecError):
            return
        finally:
            writer.close()
            if self._writer is writer:
                self._writer = None
            if self._owed is not None and not self._owed.done():
                self._owed.set_exception(ConnectionResetError())
                self._owed.exception()  # its caller may have given up

    def _failed(self, what: str, fault: str, quiet_s: float = 0.0) -> BmcError:
        self._failures += 1
        grown_s = min(_QUIET_FIRST_S * 2 ** min(self._failures - 1, 8), _QUIET_MOST_S)
        self._quiet_s = quiet_s or grown_s
        self._quiet_until_s = self._now_s() + self._quiet_s
        self._last_fault = fault
        return self._error(what, fault, self._failures)

    def _error(self, what: str, fault: str, attempt: int = 0) -> BmcError:
        return BmcError(self.server, self.where, what, attempt or self._failures + 1, fault)

    def _hang_up(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        self._owed = None

    def rest(self) -> None:
        """As `close`, unless a request is under way; the next request opens another session."""
        if not self._lock.locked() and (self._owed is None or self._owed.done()):
            self._hang_up()

    def close(self) -> None:
        """Ends the process, which ends the session with the BMC."""
        self._hang_up()
