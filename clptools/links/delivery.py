"""Messages to and from one peer over several paths: acknowledgements, requests and replies.

A message goes over the open path of the best priority.  What is not acknowledged within
`PATIENCE_S` goes over the next one as well; after `LIFETIME_S` it is given up, because the core
repeats what matters.  The receiver takes each number once.  No socket in here: a `Path` is
whatever can write bytes, time comes from the event loop.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec

from clptools.faults import ClpError, ExitCode
from clptools.links.connection import (
    MAX_FRAME_BYTES,
    Ack,
    Asked,
    Frame,
    FrameError,
    Said,
    Told,
    encode_frame,
    reply_in,
)
from clptools.links.credentials import OUTSIDE
from clptools.links.wire import ReplayWindow

PATIENCE_S = 0.25
LIFETIME_S = 5.0
UNREACHABLE_S = 1.0
"""A request to a peer without any open path gives up this soon."""

MAX_WAITING = 1024
MAX_WAITING_BYTES = 16 << 20
_SESSIONS = 4
_BYTES_PER_S = 1 << 20
"""Large messages are given this much more time."""
_MAX_SERVED = 64
"""Requests of one peer worked on at once."""

R = TypeVar("R")


class Path(Protocol):
    """One open connection to the peer."""

    priority: int
    """Lower is better: place of its interconnect."""

    def write(self, data: bytes) -> bool:
        """Takes the bytes, or says that its buffer is full."""


class Handlers(NamedTuple):
    """What the control channel carries, and who is handed it."""

    notices: Any
    """Union of the notices that peers send."""
    requests: Any
    """Union of the requests that peers make."""
    outside: tuple[type, ...]
    """The requests that a caller outside the cluster may make."""
    on_control: Callable[[str, Any], None]
    """`on_control(sender, notice)`."""
    on_call: Callable[[str, Any, str], Awaitable[msgspec.Struct]]
    """`on_call(sender, request, source)` returns the reply or raises ClpError.

    The sender `OUTSIDE` is a caller at the address `source` that has the key and is no server.
    """
    on_denied: Callable[[str, str], None]
    """`on_denied(source, why)`: a caller from outside was turned away."""


class _Waiting:
    """A message that is not acknowledged yet."""

    def __init__(self, data: bytes, now: float, lifetime_s: float) -> None:
        self.data = data
        self.tried: list[Path] = []
        self.next_at = now
        self.until = now + lifetime_s + len(data) / _BYTES_PER_S * 4


class Delivery:
    """What goes to one peer, and which of its messages were taken."""

    def __init__(
        self, peer: str, counters: Counter[str], number: int = 0, source: str = ""
    ) -> None:
        """`number`: of the last message that it had from this process, if it had any.

        `source`: the address of a caller that is no server.
        """
        self.peer = peer
        self.source = source
        self.barred = ""
        """Why a caller that is no server may ask for nothing; empty: it may."""
        self.paths: list[Path] = []
        self.fault = ""
        """Why the peer could not be reached when last tried."""
        self._counters = counters
        self._number = number
        self._waiting: OrderedDict[int, _Waiting] = OrderedDict()
        self._waiting_bytes = 0
        self._asked: dict[int, asyncio.Future[Told]] = {}
        self._sessions: OrderedDict[str, ReplayWindow] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def number(self) -> int:
        """Of the last message to the peer."""
        return self._number

    # paths

    def opened(self, path: Path, session: str) -> None:
        """A path opened; `session` is the peer's.  A new one: requests it took are lost."""
        if session not in self._sessions:
            taken = [number for number in self._asked if number not in self._waiting]
            self._fail(taken, f"{self.peer} restarted before it answered")
        self._sessions.setdefault(session, ReplayWindow())
        self._sessions.move_to_end(session)
        if len(self._sessions) > _SESSIONS:
            self._sessions.popitem(last=False)
        self.paths.append(path)
        self.fault = ""
        self._resend()

    def closed(self, path: Path) -> None:
        """A path closed; what it had not delivered goes over another at once."""
        self.paths.remove(path)
        for waiting in self._waiting.values():
            if path in waiting.tried:
                waiting.next_at = 0.0
        self._resend()

    # sending

    def say(self, body: bytes) -> None:
        """Sends a notice and forgets it; what cannot be kept is counted."""
        self._number += 1
        frame = Said(number=self._number, body=msgspec.Raw(body))
        self._post(self._number, frame, LIFETIME_S)

    def tell(self, asked: int, reply: msgspec.Struct | None, fault: ClpError | None = None) -> None:
        """Sends the reply to the request `asked`, or why there is none."""
        self._number += 1
        frame = Told(
            number=self._number,
            asked=asked,
            body=msgspec.Raw(msgspec.msgpack.encode(reply)),
            code=fault.code if fault else 0,
            error=fault.message if fault else "",
            hint=fault.hint if fault else "",
        )
        self._post(self._number, frame, LIFETIME_S)

    async def ask(self, body: bytes, reply: type[R], timeout_s: float) -> R:
        """Sends a request and waits for its reply.

        Raises ClpError: as the peer answered, or FAILED when it cannot be reached, or TIMED_OUT.
        """
        self._number += 1
        number = self._number
        future = asyncio.get_running_loop().create_future()
        self._asked[number] = future
        try:
            lifetime_s = LIFETIME_S if self.paths or not self.fault else UNREACHABLE_S
            frame = Asked(number=number, body=msgspec.Raw(body))
            self._post(number, frame, min(timeout_s, lifetime_s))
            async with asyncio.timeout(timeout_s):
                told = await future
        except TimeoutError:
            text = f"{self.peer} has not answered within {timeout_s:g} s"
            raise ClpError(ExitCode.TIMED_OUT, text) from None
        finally:
            del self._asked[number]
        return reply_in(told, reply, self.peer)

    def _post(self, number: int, frame: Frame, lifetime_s: float) -> None:
        data = encode_frame(frame)
        if len(data) > MAX_FRAME_BYTES:
            self._counters["too_long_to_send"] += 1
            self._give_up(number, f"the message to {self.peer} is too long ({len(data)} bytes)")
            return
        self._waiting[number] = _Waiting(data, self._now(), lifetime_s)
        self._waiting_bytes += len(data)
        while len(self._waiting) > MAX_WAITING or self._waiting_bytes > MAX_WAITING_BYTES:
            self._counters["queue_full"] += 1
            self._drop(next(iter(self._waiting)))
        self._resend()

    # receiving

    def acknowledged(self, number: int) -> None:
        """The peer has the message of this number."""
        waiting = self._waiting.pop(number, None)
        if waiting is not None:
            self._waiting_bytes -= len(waiting.data)

    def fresh(self, session: str, number: int) -> bool:
        """Whether this message of the peer is new."""
        window = self._sessions.get(session)
        return window is not None and window.fresh(number)

    def told(self, frame: Told) -> None:
        """A reply arrived."""
        future = self._asked.get(frame.asked)
        if future is not None and not future.done():
            future.set_result(frame)

    # time

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    def _resend(self) -> None:
        """Sends whatever is due over the best path not tried, and wakes up for the rest."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        now = self._now()
        for number, waiting in list(self._waiting.items()):
            if now >= waiting.until:
                self._counters["not_delivered"] += 1
                self._drop(number)
            elif now >= waiting.next_at:
                self._try_next(waiting, now)
        if self._waiting:
            due = min(min(w.next_at, w.until) for w in self._waiting.values())
            wait_s = max(due - now, PATIENCE_S / 5)
            self._timer = asyncio.get_running_loop().call_later(wait_s, self._resend)

    def _try_next(self, waiting: _Waiting, now: float) -> None:
        for path in sorted(self.paths, key=lambda each: each.priority):
            if path not in waiting.tried and path.write(waiting.data):
                waiting.tried.append(path)
                waiting.next_at = now + PATIENCE_S + len(waiting.data) / _BYTES_PER_S
                return
        # Nothing to try now: a path that opens or closes calls again.
        waiting.next_at = now + PATIENCE_S

    def _drop(self, number: int) -> None:
        self.acknowledged(number)
        why = f": {self.fault}" if self.fault else ""
        self._give_up(number, f"{self.peer} cannot be reached{why}")

    def _give_up(self, number: int, text: str) -> None:
        future = self._asked.get(number)
        if future is not None and not future.done():
            future.set_exception(ClpError(ExitCode.FAILED, text))

    def _fail(self, numbers: list[int], text: str) -> None:
        for number in numbers:
            self._give_up(number, text)

    def close(self) -> None:
        """Ends every request that waits, forgets every message."""
        self._fail(list(self._asked), f"{self.peer} is no longer a peer")
        self._waiting.clear()
        self._waiting_bytes = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class Dispatch:
    """Hands what peers say and ask to the agent, and its replies back to them."""

    def __init__(
        self,
        server: str,
        handlers: Handlers,
        counters: Counter[str],
        begin: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        """`begin` runs a coroutine beside everything else."""
        self._server = server
        self._handlers = handlers
        self._notices = msgspec.msgpack.Decoder(handlers.notices)
        self._requests = msgspec.msgpack.Decoder(handlers.requests)
        self._counters = counters
        self._begin = begin
        self._served: Counter[str] = Counter()

    def take(self, peer: Delivery, path: Path, session: str, frame: Frame, heeded: bool) -> None:
        """A frame arrived from `peer`; `heeded`: its notices count.  Raises FrameError."""
        if isinstance(frame, Ack):
            peer.acknowledged(frame.number)
            return
        if not isinstance(frame, Said | Asked | Told):
            raise FrameError("malformed")
        path.write(encode_frame(Ack(number=frame.number)))
        if not peer.fresh(session, frame.number):
            return
        if isinstance(frame, Told):
            peer.told(frame)
        elif isinstance(frame, Asked):
            self._asked(peer, frame)
        elif not heeded:
            self._counters["unknown_sender"] += 1
        else:
            self._said(peer.peer, frame)

    def _said(self, sender: str, frame: Said) -> None:
        try:
            notice = self._notices.decode(frame.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._counters["malformed"] += 1
            return
        self._handlers.on_control(sender, notice)

    def _asked(self, peer: Delivery, frame: Asked) -> None:
        if self._served[peer.peer] >= _MAX_SERVED:
            fault = ClpError(ExitCode.REFUSED, f"{self._server} is busy", "try again later")
            peer.tell(frame.number, None, fault)
            return
        self._served[peer.peer] += 1
        self._begin(self._answer(peer, frame))

    async def _answer(self, peer: Delivery, frame: Asked) -> None:
        try:
            request = self._requests.decode(frame.body)
            text = peer.barred
            if peer.peer == OUTSIDE and not isinstance(request, self._handlers.outside):
                text = text or "only a server of the cluster may ask this"
            if text:
                self._counters["not_permitted"] += 1
                self._handlers.on_denied(peer.source, text)
                raise ClpError(ExitCode.NOT_PERMITTED, text)
            reply = await self._handlers.on_call(peer.peer, request, peer.source)
            peer.tell(frame.number, reply)
        except ClpError as fault:
            peer.tell(frame.number, None, fault)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._counters["malformed"] += 1
            text = f"{self._server} does not understand the request"
            if peer.source:
                self._handlers.on_denied(peer.source, text)
            peer.tell(frame.number, None, ClpError(ExitCode.FAILED, text))
        except Exception as bug:
            text = f"{self._server} failed on the request; its log says why"
            peer.tell(frame.number, None, ClpError(ExitCode.FAILED, text))
            asyncio.get_running_loop().call_exception_handler(
                {"message": "control channel: a request failed", "exception": bug}
            )
        finally:
            self._served[peer.peer] -= 1
