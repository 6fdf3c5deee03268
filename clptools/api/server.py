"""The agent's Unix socket: who may call, and how many at a time.

Each connection is one coroutine.  Whatever a caller does (garbage, endless frames, never
reading, never finishing) costs a bounded amount of memory and ends in a counter and a closed
connection, never in an exception that leaves this module.
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
from weakref import WeakValueDictionary

from clptools.api.address import SocketAddress
from clptools.api.backend import Backend
from clptools.api.connection import Connection, Limits, Turns
from clptools.api.methods import Caller
from clptools.api.varlink import Malformed
from clptools.paths import socket_file
from clptools.reports import ClpError, ExitCode

logger = logging.getLogger(__name__)

GROUP = "clptools"
SO_PEERGROUPS = 59
"""Linux 4.13 (include/uapi/asm-generic/socket.h); the socket module has no name for it."""
LIMITS = Limits()


class Server:
    """The socket of one agent; `counters` counts what was dropped, by reason."""

    def __init__(self, backend: Backend, path: str = "", limits: Limits = LIMITS) -> None:
        self.path = path or socket_file()
        self.counters: dict[str, int] = {}
        self._backend = backend
        self._limits = limits
        self._server: asyncio.Server | None = None
        self._users: dict[asyncio.Task[None], int] = {}
        """Who is served, as uid."""
        self._refused: set[asyncio.Task[None]] = set()
        self._turns: WeakValueDictionary[int, Turns] = WeakValueDictionary()
        self._own_uid = os.getuid()
        self._own_name = _user_name(self._own_uid)
        self._group_id = _group_id()

    async def start(self) -> None:
        """Binds the socket and takes calls from now on.

        Raises ClpError (FAILED) when another agent answers there, or the place is unusable.
        """
        listening = _listen(self.path, self._group_id)
        self._server = await asyncio.start_unix_server(self._accepted, sock=listening)

    async def stop(self) -> None:
        """Takes no more calls, drops those that run, removes the socket."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        tasks = [*self._users, *self._refused]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)

    def _count(self, reason: str) -> None:
        self.counters[reason] = self.counters.get(reason, 0) + 1

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        try:
            caller, uid = self._caller(writer.get_extra_info("socket"))
            turns = self._turns.setdefault(uid, Turns())
            connection = Connection(self._backend, caller, reader, writer, self._limits, turns)
            refusal = self._refusal(caller, uid)
            if refusal is None:
                self._users[task] = uid
                await connection.serve()
            elif len(self._refused) < self._limits.refused:
                self._refused.add(task)
                await connection.refuse(refusal)
        except ConnectionError:
            pass
        except asyncio.CancelledError:
            pass  # `stop`: nobody waits for this task but it
        except TimeoutError:
            self._count("slow")
        except Malformed:
            self._count("malformed")
        except Exception:
            self._count("bug")
            logger.exception("a call on the socket failed")
        finally:
            self._users.pop(task, None)
            self._refused.discard(task)
            writer.transport.abort()

    def _refusal(self, caller: Caller, uid: int) -> ClpError | None:
        if not caller.may_read:
            self._count("not_permitted")
            return ClpError(
                ExitCode.NOT_PERMITTED,
                f"{caller.user} may not use {self.path}.",
                f"Run it as root, or, to read only, as a member of the group {GROUP}.",
            )
        full = len(self._users) >= self._limits.connections
        if not caller.may_write:
            readers = [each for each in self._users.values() if each not in (0, self._own_uid)]
            full |= readers.count(uid) >= self._limits.connections_per_user
            full |= len(readers) >= self._limits.connections_of_readers
        if full:
            self._count("too_many")
            return ClpError(
                ExitCode.FAILED,
                "The node agent has too many connections.",
                "End some (clpstat --watch, --follow, clpwait), then try again.",
            )
        return None

    def _caller(self, sock: socket.socket) -> tuple[Caller, int]:
        """The caller by the kernel's word, and his uid.

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


def _listen(path: str, group_id: int | None) -> socket.socket:
    """A listening socket at `path`, mode 0660, of the group `clptools` where it exists."""
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
        with SocketAddress(path) as address:
            _remove_stale(address, path)
            mask = os.umask(0o117)
            try:
                listening.bind(address)
            finally:
                os.umask(mask)
            if group_id is not None:
                os.chown(address, -1, group_id)
        listening.listen(64)
        listening.setblocking(False)
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


def _remove_stale(address: str, path: str) -> None:
    """Removes a socket that nobody listens on any more."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(address)
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            os.unlink(address)
            return
        except (TimeoutError, BlockingIOError):
            pass  # someone holds it, even though he does not answer
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
