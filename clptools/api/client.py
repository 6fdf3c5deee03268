"""The socket as a command sees it: varlink calls, blocking, from the standard library alone.

Reading commands import nothing heavier than this, so that `clpstat` starts about as fast as
the interpreter does.  Hence `_socket`, too: what `socket` adds to it takes more time than the
call.  Replies are the plain objects of `clptools.varlink`.
"""

from __future__ import annotations

import json
import os
import sys
import time
from _socket import AF_UNIX, SO_PEERCRED, SO_SNDTIMEO, SOCK_CLOEXEC, SOCK_STREAM, SOL_SOCKET
from _socket import socket as Socket
from _struct import pack
from collections.abc import Iterator

from clptools.api.local_socket import SocketAddress, boot_ms, private_path
from clptools.faults import ClpError, ExitCode
from clptools.paths import socket_file

Json = dict[str, object]

INTERFACE = "org.clptools.Node"
REPLY_LIMIT_BYTES = 64 * 1024 * 1024
READ_TIMEOUT_S = 10.0
"""For calls that only read: the agent answers them from memory."""
SILENCE_S = 5.0
"""After so long without a word the agent is asked whether it lives, however long the work takes."""
LIVES_WITHIN_S = 5.0
LAST_LOOK_S = 1.0
"""The same where the time is up: whether the work goes on is to be told."""


class Silent(ClpError):
    """The agent gives no sign of life: the message names its process."""


class SocketMissing(ClpError):
    """The agent runs, and its socket is not there: it makes it again."""

    def __init__(self, pid: int, path: str) -> None:
        super().__init__(
            ExitCode.NO_AGENT,
            f"The node agent (process {pid}) runs, but its socket {path} is missing.",
            "It makes it at once: ask again in a second. If it does not: systemctl status clpnode",
        )


class Client:
    """One connection to an agent; use it in a `with` block.

    `timeout_s` bounds the wait for a connection (at most `READ_TIMEOUT_S`) and for each reply
    (None: as long as the agent lives), unless `finish_within` bounds the whole.  An agent
    that gives no sign of life for 10 s is waited for no longer, whatever these say.
    Every fault is a `ClpError`: no agent 3, not permitted 4, no reply in time 7 (`Silent`: no
    sign of life), else the code that the agent gave.
    """

    def __init__(self, path: str = "", timeout_s: float | None = READ_TIMEOUT_S) -> None:
        self.path = path or socket_file()
        self.timeout_s = timeout_s
        self._deadline: float | None = None
        self._is_look = False
        """Whether this one only checks that the agent lives, for another connection."""
        self._buffer = bytearray()
        self._socket = self._connect()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    @property
    def agent_pid(self) -> int:
        """Process id of the agent at the other end."""
        credentials = self._socket.getsockopt(SOL_SOCKET, SO_PEERCRED, 12)
        return int.from_bytes(credentials[:4], sys.byteorder)

    def finish_within(self, seconds: float | None) -> None:
        """From now on replies may take this long altogether; None: as long as the agent lives."""
        self.timeout_s = seconds
        self._deadline = None if seconds is None else time.monotonic() + seconds

    def call(self, method: str, **parameters: object) -> Json:
        """One call, one reply."""
        self._send({"method": f"{INTERFACE}.{method}", "parameters": parameters})
        return self._reply(method)[0]

    def stream(self, method: str, **parameters: object) -> Iterator[Json]:
        """One call, every reply as it comes."""
        self._send({"method": f"{INTERFACE}.{method}", "parameters": parameters, "more": True})
        while True:
            reply, continues = self._reply(method)
            yield reply
            if not continues:
                return

    def _connect(self) -> Socket:
        """The socket of root and of the agent's user where we may use it, else everybody's."""
        for path in (private_path(self.path), self.path):
            sock = Socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
            try:
                self._wait_for_place(sock, path)
            except OSError as error:
                sock.close()
                if path != self.path and not isinstance(error, BlockingIOError):
                    continue
                raise self._no_connection(error) from error
            return sock
        raise AssertionError("the last path returns or raises")

    def _wait_for_place(self, sock: Socket, path: str) -> None:
        """Connects; while the agent's queue is full it waits its turn there.  Raises OSError."""
        patience_s = READ_TIMEOUT_S if self.timeout_s is None else self.timeout_s
        patience_s = max(min(patience_s, READ_TIMEOUT_S), 0.001)
        # A socket with Python's time-out does not wait in the queue: EAGAIN comes at once.
        whole, part = divmod(int(patience_s * 1_000_000), 1_000_000)
        sock.setsockopt(SOL_SOCKET, SO_SNDTIMEO, pack("ll", whole, part))
        with SocketAddress(path) as address:
            sock.connect(address)
        sock.setsockopt(SOL_SOCKET, SO_SNDTIMEO, pack("ll", 0, 0))

    def _no_connection(self, error: OSError) -> ClpError:
        if isinstance(error, PermissionError):
            return ClpError(
                ExitCode.NOT_PERMITTED,
                f"You may not use {self.path}.",
                "Run it as root, or, to read only, as a member of the group clptools.",
            )
        if isinstance(error, (TimeoutError, BlockingIOError)):
            from clptools.api import agent_process

            pid = agent_process.beside(self.path)
            if agent_process.is_stopped(pid):
                return Silent(ExitCode.TIMED_OUT, *agent_process.described(pid, self.path))
            return ClpError(
                ExitCode.TIMED_OUT,
                f"The node agent at {self.path} takes no connection.",
                "It stands still, or is overloaded: see `systemctl status clpnode`.",
            )
        if isinstance(error, (FileNotFoundError, ConnectionRefusedError)):
            # Imported where it is needed: commands that find the socket start without it.
            from clptools.api.agent_process import agent_pid

            pid = agent_pid() if self.path == socket_file() else 0
            if pid:
                return SocketMissing(pid, self.path)
            return ClpError(
                ExitCode.NO_AGENT,
                f"No node agent answers at {self.path}.",
                "Start it here: clpcl -s",
            )
        return ClpError(ExitCode.FAILED, f"Cannot connect to {self.path}: {error.strerror}.")

    def _send(self, call: Json) -> None:
        # An agent that was stopped must know how old a call is.
        call["asked_at"] = boot_ms()
        data = json.dumps(call, ensure_ascii=False, separators=(",", ":")).encode() + b"\0"
        left = self._left(time.monotonic())
        self._socket.settimeout(READ_TIMEOUT_S if left is None else min(left, READ_TIMEOUT_S))
        try:
            self._socket.sendall(data)
        except TimeoutError as error:
            raise self._silent() from error
        except (BrokenPipeError, ConnectionResetError):
            # The agent may have said why before it hung up; the reply, or its lack, tells.
            return

    def _reply(self, method: str) -> tuple[Json, bool]:
        try:
            reply = json.loads(self._frame())
        except ValueError as error:
            raise self._not_an_agent() from error
        if not isinstance(reply, dict):
            raise self._not_an_agent()
        parameters = reply.get("parameters")
        if not isinstance(parameters, dict):
            parameters = {}
        if "error" in reply:
            raise fault(str(reply["error"]), parameters, method)
        return parameters, bool(reply.get("continues"))

    def _frame(self) -> bytes:
        """The next message, without its NUL."""
        seen = 0
        while (end := self._buffer.find(b"\0", seen)) < 0:
            seen = len(self._buffer)
            if seen > REPLY_LIMIT_BYTES:
                raise self._not_an_agent()
            if not (chunk := self._receive()):
                raise ClpError(
                    ExitCode.NO_AGENT,
                    f"The node agent at {self.path} closed the connection.",
                    "It has stopped or is restarting; whether the work goes on: clpstat",
                )
            self._buffer += chunk
        frame = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return frame

    def _receive(self) -> bytes:
        """What comes next; nothing: the agent hung up.  Raises ClpError (TIMED_OUT)."""
        begun = time.monotonic()
        while True:
            left = self._left(begun)
            last = left is not None and (self._is_look or left <= SILENCE_S)
            self._socket.settimeout(left if last else SILENCE_S)
            try:
                return self._socket.recv(262_144)
            except TimeoutError:
                pass
            except ConnectionResetError:
                return b""
            if not last:
                if not self._lives(LIVES_WITHIN_S):
                    raise self._silent()
            elif self._deadline is not None and not self._lives(LAST_LOOK_S):
                raise self._silent()
            else:
                raise self._no_reply()

    def _left(self, begun: float) -> float | None:
        """Seconds for a wait that began then; None: as long as the agent lives."""
        until = self._deadline
        if until is None and self.timeout_s is not None:
            until = begun + self.timeout_s
        # 0 would mean not to wait at all, and that is another error.
        return None if until is None else max(until - time.monotonic(), 0.001)

    def _lives(self, within_s: float) -> bool:
        """Whether the agent answers on another connection: here calls are answered in order."""
        try:
            with Client(self.path, within_s) as other:
                other._is_look = True
                other._send({"method": "org.varlink.service.GetInfo"})
                other._reply("GetInfo")
        except ClpError as error:
            # A refusal is an answer, and of an agent that ended this connection will tell.
            return error.code != ExitCode.TIMED_OUT
        return True

    def _silent(self) -> Silent:
        from clptools.api import agent_process

        message, hint = agent_process.described(self.agent_pid, self.path)
        return Silent(ExitCode.TIMED_OUT, message, hint)

    def _no_reply(self) -> ClpError:
        from clptools.api import agent_process

        if agent_process.is_stopped(self.agent_pid):
            return self._silent()
        return ClpError(
            ExitCode.TIMED_OUT,
            f"The node agent at {self.path} did not answer within {self.timeout_s:g} s.",
            "What was asked may still go on: clpstat.  Is it alive? systemctl status clpnode",
        )

    def _not_an_agent(self) -> ClpError:
        return ClpError(ExitCode.FAILED, f"What answers at {self.path} is not a node agent.")


def fault(error: str, parameters: Json, method: str) -> ClpError:
    """The varlink error of a reply as a `ClpError`."""
    if error == f"{INTERFACE}.Fault":
        code = parameters.get("code")
        return ClpError(
            next((known for known in ExitCode if known == code), ExitCode.FAILED),
            str(parameters.get("message", "")),
            str(parameters.get("hint", "")),
        )
    if error == "org.varlink.service.MethodNotFound":
        return ClpError(
            ExitCode.FAILED,
            f"The node agent does not know {method}.",
            "It is of another version than this command: restart it.",
        )
    if error == "org.varlink.service.InvalidParameter":
        return ClpError(
            ExitCode.USAGE, f"{method}: not a valid value: {parameters.get('parameter', '')}."
        )
    return ClpError(ExitCode.FAILED, f"{method}: the node agent answered {error}.")


def user() -> str:
    """The user behind `sudo`, for the record of who asked; empty: root itself."""
    return os.environ.get("SUDO_USER", "")
