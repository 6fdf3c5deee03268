"""The socket for messages of drivers, agents and scripts: `message.sock`.

Each datagram is one JSON object, from root or the agent's own user only; the kernel names the
sender (SCM_CREDENTIALS, unix(7)).  A sender that bound an address is answered once the event is
durable.  Nothing that arrives can raise out of here; what is not taken is counted by reason.
"""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import struct
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum

import msgspec

from clptools.core.model.events import MessageSeen

DATAGRAM_BYTES = 16_384
CATEGORY_BYTES = 32
KEYWORD_BYTES = 1_023
TEXT_BYTES = 4_096

PENDING = 1_024
"""Messages taken and not yet durable; beyond it they are dropped and counted."""
BATCH = 64

_UCRED = struct.Struct("=3i")
OnMessage = Callable[[MessageSeen], Awaitable[None]]
Takers = Callable[[MessageSeen], Sequence[str]]
"""The names of the monitors that take a message."""


class State(StrEnum):
    """The state that a message reports."""

    ERROR = "error"
    RECOVERED = "recovered"


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A datagram's content."""

    category: str
    text: str
    keyword: str = ""
    state: State = State.ERROR


class DoorCounters(msgspec.Struct, kw_only=True):
    """Messages by fate, since the agent started."""

    received: int = 0
    accepted: int = 0
    not_permitted: int = 0
    malformed: int = 0
    queue_full: int = 0
    undelivered: int = 0

    def as_dict(self) -> dict[str, int]:
        """Name -> count."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


def bind_door(address: str) -> socket.socket:
    """A socket bound at `address`, mode 0600 from the first moment; a dead one is replaced.

    Raises OSError if a file of another kind is in the way.
    """
    try:
        if stat.S_ISSOCK(os.lstat(address).st_mode):
            os.unlink(address)
    except FileNotFoundError:
        pass
    door = socket.socket(
        socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    )
    try:
        door.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        # Before bind: the file gets the socket's mode, less the umask, and is never open to others.
        os.fchmod(door.fileno(), 0o600)
        door.bind(address)
    except OSError:
        door.close()
        raise
    return door


class MessageDoor:
    """Receives at a socket of `bind_door`; `on_message` returns once the event is durable."""

    def __init__(
        self, door: socket.socket, on_message: OnMessage, takers: Takers = lambda _: ()
    ) -> None:
        self.counters = DoorCounters()
        self._door = door
        self._on_message = on_message
        self._takers = takers
        self._users = frozenset({0, os.geteuid()})
        self._pending: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Starts reading in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._door.fileno(), self._readable)

    async def close(self) -> None:
        """Stops reading, and waits until what was taken is durable and answered."""
        if self._loop is not None:
            self._loop.remove_reader(self._door.fileno())
        if self._pending:
            await asyncio.gather(*self._pending, return_exceptions=True)
        self._door.close()

    def _readable(self) -> None:
        for _ in range(BATCH):
            try:
                data, control, flags, sender = self._door.recvmsg(
                    DATAGRAM_BYTES, socket.CMSG_SPACE(_UCRED.size) + 256
                )
            except OSError:
                return
            self.counters.received += 1
            pid, uid = -1, -1
            for level, kind, value in control:
                if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                    pid, uid, _ = _UCRED.unpack(value[: _UCRED.size])
                elif level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    _close_gifts(value)
            self._message(data, bool(flags & socket.MSG_TRUNC), pid, uid, sender)

    def _message(self, data: bytes, cut: bool, pid: int, uid: int, sender: str | bytes) -> None:
        if uid not in self._users:
            self.counters.not_permitted += 1
            self._answer(sender, "only root may put messages in here")
            return
        fault = f"more than {DATAGRAM_BYTES} bytes" if cut else ""
        try:
            event = None if cut else read_message(data, _origin(pid))
        except ValueError as error:
            event, fault = None, str(error)
        if event is None:
            self.counters.malformed += 1
            self._answer(sender, fault)
            return
        if len(self._pending) >= PENDING or self._loop is None:
            self.counters.queue_full += 1
            self._answer(sender, f"{PENDING} messages wait for the disk already")
            return
        task = self._loop.create_task(self._deliver(event, sender))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _deliver(self, event: MessageSeen, sender: str | bytes) -> None:
        try:
            await self._on_message(event)
        except Exception as error:
            self.counters.undelivered += 1
            self._answer(sender, f"could not be kept: {error}")
            return
        self.counters.accepted += 1
        self._answer(sender, "", self._takers(event))

    def _answer(self, sender: str | bytes, fault: str, takers: Sequence[str] = ()) -> None:
        if not sender:
            return
        answer: dict[str, object] = {"accepted": True, "monitors": takers}
        if fault:
            answer = {"accepted": False, "error": fault}
        try:
            self._door.sendto(msgspec.json.encode(answer), sender)
        except OSError:
            # The sender no longer waits for the answer, or reads too slowly.
            return


def read_message(data: bytes, origin: str) -> MessageSeen:
    """The event in a datagram.  Raises ValueError, with a plain sentence."""
    try:
        message = msgspec.json.decode(data, type=Message)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"not a message: {error}") from None
    for name, value, limit in (
        ("category", message.category, CATEGORY_BYTES),
        ("keyword", message.keyword, KEYWORD_BYTES),
        ("text", message.text, TEXT_BYTES),
    ):
        try:
            size = len(value.encode())
        except UnicodeEncodeError:
            raise ValueError(f"{name} is not Unicode text") from None
        if size > limit:
            raise ValueError(f"{name} has {size} bytes, at most {limit}")
    if not message.category or not message.category.isprintable():
        raise ValueError("category is empty or not printable")
    if not message.keyword.isprintable():
        raise ValueError("keyword is not printable")
    text = "".join(c if c.isprintable() else " " for c in message.text)
    return MessageSeen(
        category=message.category,
        keyword=message.keyword,
        text=" ".join(text.split()),
        recovered=message.state is State.RECOVERED,
        origin=origin,
    )


def _origin(pid: int) -> str:
    """The sender as a person knows it."""
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            name = file.read(64).strip()
    except OSError:
        name = ""
    name = "".join(c for c in name if c.isprintable())
    return f"{name} (pid {pid})" if name else f"pid {pid}"


def _close_gifts(value: bytes) -> None:
    """Closes file descriptors that a sender attached, which would otherwise pile up."""
    count = len(value) // 4
    for (fd,) in struct.iter_unpack("=i", value[: count * 4]):
        os.close(fd)
