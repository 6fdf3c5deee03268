"""The agent's Unix sockets: who may call, and how many at a time.

There are two, the second for root and the agent's own user alone: a queue of connections belongs
to its socket, and so nobody else can fill theirs.  Each connection is one coroutine.  Whatever a
caller does (garbage, endless frames, never reading, never finishing) costs a bounded amount of
memory and ends in a counter and a closed connection, never in an exception that leaves this
module.
"""

from __future__ import annotations

import asyncio
import contextlib
import grp
import logging
import os
import pwd
import socket
import struct
from typing import NamedTuple
from weakref import WeakValueDictionary

from clptools.api.connection import PAUSE_S, Connection, Limits, Malformed, Turns
from clptools.api.local_socket import SocketAddress, private_path
from clptools.api.messages import Backend
from clptools.api.methods import Caller
from clptools.faults import ClpError, ExitCode
from clptools.paths import file_id, socket_file

logger = logging.getLogger(__name__)

GROUP = "clptools"
SO_PEERGROUPS = 59
"""Linux 4.13 (include/uapi/asm-generic/socket.h); the socket module has no name for it."""
LIMITS = Limits()
_BACKLOG = 64
_BATCH_OF_ALL = 8
_BATCH_OF_ROOT = 32


class _Guest(NamedTuple):
    """A caller that is served."""

    uid: int
    may_write: bool
    connection: Connection


class _Door:
    """A listening socket, and the file that leads to it."""

    def __init__(self, path: str, mode: int, batch: int) -> None:
        self.path = path
        self.mode = mode
        self.batch = batch
        """Connections taken before the loop has its turn again."""
        self.socket: socket.socket | None = None
        self.file = (0, 0)


class Server:
    """The sockets of one agent; `counters` counts what was dropped, by reason."""

    def __init__(self, backend: Backend, path: str = "", limits: Limits = LIMITS) -> None:
        self.path = path or socket_file()
        self.counters: dict[str, int] = {}
        self._backend = backend
        self._limits = limits
        self._doors = (
            _Door(self.path, 0o660, _BATCH_OF_ALL),
            _Door(private_path(self.path), 0o600, _BATCH_OF_ROOT),
        )
        self._users: dict[asyncio.Task[None], _Guest] = {}
        """The callers that are served, the longest-served first."""
        self._refused: set[asyncio.Task[None]] = set()
        self._turns: WeakValueDictionary[int, Turns] = WeakValueDictionary()
        self._own_uid = os.getuid()
        self._own_name = _user_name(self._own_uid)
        self._group_id = _group_id()

    async def start(self) -> None:
        """Binds the sockets and takes calls from now on.

        Raises ClpError (FAILED) when another agent answers there, or the place is unusable.
        """
        for door in self._doors:
            self._open(door)

    def keep(self) -> bool:
        """Makes a socket again whose file is gone or another one; whether one was.

        Callers that are served stay so.  Raises ClpError like `start`.
        """
        made = False
        for door in self._doors:
            if door.socket is not None and file_id(door.path) != door.file:
                self._open(door)
                made = True
        return made

    async def stop(self) -> None:
        """Takes no more calls, drops those that run, removes the sockets."""
        for door in self._doors:
            self._close(door)
        tasks = [*self._users, *self._refused]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _open(self, door: _Door) -> None:
        listening = _listen(door.path, self._group_id, door.mode)
        if door.socket is not None:
            asyncio.get_running_loop().remove_reader(door.socket)
            door.socket.close()
        door.socket = listening
        door.file = file_id(door.path)
        self._await_calls(door)

    def _close(self, door: _Door) -> None:
        if door.socket is None:
            return
        asyncio.get_running_loop().remove_reader(door.socket)
        door.socket.close()
        door.socket = None
        if file_id(door.path) == door.file:
            os.unlink(door.path)

    def _await_calls(self, door: _Door) -> None:
        if door.socket is not None:
            asyncio.get_running_loop().add_reader(door.socket, self._knocked, door)

    def _knocked(self, door: _Door) -> None:
        assert door.socket is not None, "its reader goes with it"
        for _ in range(door.batch):
            try:
                sock, _ = door.socket.accept()
            except BlockingIOError:
                return
            except OSError:
                self._count("no_handles")  # those that are open must end first
                break
            self._let_in(sock)
        # More may wait.  A caller that connects in a loop must not take the agent's whole time.
        loop = asyncio.get_running_loop()
        loop.remove_reader(door.socket)
        loop.call_later(PAUSE_S, self._await_calls, door)

    def _let_in(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        try:
            caller, uid = self._caller(sock)
        except OSError:
            sock.close()
            return
        refusal = self._refusal(caller, uid)
        if refusal is not None and len(self._refused) >= self._limits.refused:
            sock.close()
            return
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(reader)
        connection = Connection(
            self._backend, caller, reader, self._limits, self._turns.setdefault(uid, Turns())
        )
        task = loop.create_task(self._serve(sock, protocol, connection, refusal))
        if refusal is None:
            self._users[task] = _Guest(uid, caller.may_write, connection)
            task.add_done_callback(lambda ended: self._users.pop(ended, None))
        else:
            self._refused.add(task)
            task.add_done_callback(self._refused.discard)
        # Also of a task that was cancelled before its first step.
        task.add_done_callback(lambda _: sock.close())

    def _count(self, reason: str) -> None:
        self.counters[reason] = self.counters.get(reason, 0) + 1

    async def _serve(
        self,
        sock: socket.socket,
        protocol: asyncio.StreamReaderProtocol,
        connection: Connection,
        refusal: ClpError | None,
    ) -> None:
        loop = asyncio.get_running_loop()
        transport: asyncio.Transport | None = None
        try:
            transport, _ = await loop.connect_accepted_socket(lambda: protocol, sock)
            connection.answer_by(transport, protocol)
            if refusal is None:
                await connection.serve()
            else:
                await connection.refuse(refusal)
        except ConnectionError:
            pass
        except asyncio.CancelledError:
            pass  # `stop`, or another one has its place now: nothing waits for this task but it
        except TimeoutError:
            self._count("slow")
        except Malformed:
            self._count("malformed")
        except Exception:
            self._count("bug")
            logger.exception("a call on the socket failed")
        finally:
            if transport is not None:
                transport.abort()

    def _refusal(self, caller: Caller, uid: int) -> ClpError | None:
        """Why a caller is not served; makes room for it where another one gives way."""
        if not caller.may_read:
            self._count("not_permitted")
            return ClpError(
                ExitCode.NOT_PERMITTED,
                f"{caller.user} may not use {self.path}.",
                f"Run it as root, or, to read only, as a member of the group {GROUP}.",
            )
        if caller.may_write:
            self._make_room_for_root()
            return None
        if not self._make_room_for_reader(uid):
            self._count("too_many")
            return ClpError(
                ExitCode.FAILED,
                "The node agent has too many connections.",
                "End some (clpstat --watch, --follow, clpwait), then try again.",
            )
        return None

    def _make_room_for_reader(self, uid: int) -> bool:
        """Whether there is a place; a reader that never asked gives way, first of the same user."""
        readers = [task for task, guest in self._users.items() if not guest.may_write]
        own = [task for task in readers if self._users[task].uid == uid]
        if len(own) >= self._limits.connections_per_user:
            return self._gives_way(own)
        if len(readers) >= self._limits.connections_of_readers:
            return self._gives_way(readers)
        return len(self._users) < self._limits.connections or self._gives_way(readers)

    def _gives_way(self, tasks: list[asyncio.Task[None]]) -> bool:
        for task in tasks:
            if not self._users[task].connection.asked:
                self._end(task)
                return True
        return False

    def _make_room_for_root(self) -> None:
        """The caller that loses least gives way: never asked, asks nothing now, a reader, any."""
        if len(self._users) < self._limits.connections:
            return

        def cost(task: asyncio.Task[None]) -> tuple[bool, bool, bool]:
            guest = self._users[task]
            return guest.connection.asked, guest.connection.working, guest.may_write

        self._end(min(self._users, key=cost))  # of equals the first, which is there the longest

    def _end(self, task: asyncio.Task[None]) -> None:
        self._count("gave_way")
        del self._users[task]
        task.cancel()

    def _caller(self, sock: socket.socket) -> tuple[Caller, int]:
        """The caller by the kernel's word, and its uid.

        Names of others are not looked up: the name service may hang, and the agent with it.
        """
        raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("iII"))
        _pid, uid, gid = struct.unpack("iII", raw)
        if uid == 0:
            return Caller("root", may_write=True), uid
        if uid == self._own_uid:
            return Caller(self._own_name, may_write=True), uid
        member = self._group_id is not None and self._group_id in (gid, *_groups(sock))
        return Caller(f"uid {uid}", may_write=False, may_read=member), uid


def _listen(path: str, group_id: int | None, mode: int) -> socket.socket:
    """A listening socket at `path`; of the group `clptools`, where it exists, if it may use it.

    It is made beside its place and moved there, so that it listens before it can be found.
    """
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made = f"{path}.new"
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with SocketAddress(path) as address:
            _not_another_agents(address, path)
        with SocketAddress(made) as address:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(address)
            mask = os.umask(0o777 & ~mode)
            try:
                listening.bind(address)
            finally:
                os.umask(mask)
            if group_id is not None and mode & 0o070:
                os.chown(address, -1, group_id)
        listening.listen(_BACKLOG)
        listening.setblocking(False)
        os.rename(made, path)
    except OSError as error:
        listening.close()
        raise ClpError(
            ExitCode.FAILED,
            f"The socket {path} cannot be made: {error.strerror}.",
            "See that the folder exists and belongs to the user the agent runs as.",
        ) from error
    except ClpError:
        listening.close()
        raise
    return listening


def _not_another_agents(address: str, path: str) -> None:
    """Raises ClpError where another agent listens, OSError where something else is there."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(address)
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            os.unlink(address)
            return
        except BlockingIOError:
            pass  # another agent holds it, even if it does not answer
    raise ClpError(
        ExitCode.FAILED,
        f"Another node agent already runs with {path}.",
        "Stop it first, or give this one its own CLP_ROOT.",
    )


def _group_id() -> int | None:
    try:
        return grp.getgrnam(GROUP).gr_gid
    except KeyError:
        return None


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _groups(sock: socket.socket) -> tuple[int, ...]:
    """Supplementary groups of the peer; none where the kernel does not tell."""
    try:
        raw = sock.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 1024)
    except OSError:
        return ()
    return struct.unpack(f"{len(raw) // 4}I", raw)
