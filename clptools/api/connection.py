"""One caller's connection to the socket: varlink calls in, replies out, within limits.

Source: https://varlink.org/Interface-Definition, /Method-Call and /Service.  A message is a
JSON object and a NUL; NUL cannot occur inside, since JSON escapes it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import NamedTuple, NoReturn

import msgspec

from clptools.api.local_socket import boot_ms
from clptools.api.messages import Backend
from clptools.api.methods import METHODS, Caller, Method, Parameters
from clptools.core import replies
from clptools.core.model.requests import LASTS_MS
from clptools.core.notices.requests import AskedLate
from clptools.faults import ClpError, ExitCode
from clptools.version import VERSION

CHUNK_BYTES = 65_536
PAUSE_S = 0.01
"""Before each call of a reader: heartbeats and leases must not wait for its questions."""


class Limits(NamedTuple):
    """What a caller may take up; times in seconds, sizes in bytes."""

    reader_message: int = 65_536
    writer_message: int = 16 * 1024 * 1024
    """A pushed configuration with its scripts."""
    connections: int = 128
    connections_per_user: int = 32
    """Of users other than root and the agent's own."""
    connections_of_readers: int = 96
    """Of all these together: the other places are always root's."""
    refused: int = 16
    """This many at a time learn why they are refused; the rest are only hung up on."""
    refused_s: float = 1.0
    """How long a refused caller's call is waited for before it is answered."""
    idle_s: float = 300.0
    frame_s: float = 10.0
    """From the first byte of a message to its NUL."""
    write_s: float = 30.0
    """A caller that has not taken a reply for this long is dropped."""


class Turns:
    """The share of one reading user in the agent's loop, however many connections it has.

    Its calls come one after the other, and between two of them all others are served.
    """

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def next(self) -> None:
        """Returns when it is the caller's turn, to run until it waits for something."""
        async with self._turn:
            await asyncio.sleep(PAUSE_S)


class Connection:
    """Serves one caller until it hangs up, is idle for too long or breaks a limit.

    Raises `Malformed`, TimeoutError (half a message, or a reply not taken) or
    ConnectionError; whatever else it raises is a bug of the backend.
    """

    def __init__(
        self,
        backend: Backend,
        caller: Caller,
        reader: asyncio.StreamReader,
        limits: Limits,
        turns: Turns,
    ) -> None:
        """`turns`: of the caller's user; a caller that may write does not wait for them."""
        self._backend = backend
        self._caller = caller
        self._reader = reader
        self._writer: asyncio.StreamWriter
        self._limits = limits
        self._turns = turns
        self._buffer = bytearray()
        self.asked = False
        """A whole call came."""
        self.working = False
        """A call is being answered."""
        self._bound = limits.writer_message if caller.may_write else limits.reader_message

    def answer_by(
        self, transport: asyncio.Transport, protocol: asyncio.StreamReaderProtocol
    ) -> None:
        """Answers leave by `transport`; before anything is served or refused."""
        # `drain` then waits until the kernel has everything: a caller who does not read is
        # noticed at the first reply that the socket's own buffer does not hold.
        transport.set_write_buffer_limits(high=0)
        loop = asyncio.get_running_loop()
        self._writer = asyncio.StreamWriter(transport, protocol, self._reader, loop)

    async def serve(self) -> None:
        """Answers call after call, in order."""
        while (frame := await self._frame()) is not None:
            call = decode_call(frame)
            self.asked = self.working = True
            if call.more and not call.oneway:
                await self._answer_while_connected(call)
            else:
                await self._answer(call)
            self.working = False

    async def refuse(self, error: ClpError) -> None:
        """Answers the first call, whatever it is, with `error`; and if none comes soon."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.refused_s):
                await self._frame()
        await self._write(fault(error))

    async def _answer(self, call: Call) -> None:
        # Neither a call that is there already nor a reply that the socket takes suspends.
        await self._turn()
        async with contextlib.aclosing(answer(self._backend, call, self._caller)) as replies:
            async for reply in replies:
                if not call.oneway:
                    await self._write(reply)
                if call.more:
                    await self._turn()

    async def _turn(self) -> None:
        if self._caller.may_write:
            await asyncio.sleep(0)
        else:
            await self._turns.next()

    async def _answer_while_connected(self, call: Call) -> None:
        """A reply may take for ever to come: hanging up must end the wait for it."""
        answering = asyncio.ensure_future(self._answer(call))
        hangup = asyncio.ensure_future(self._fill_until_hangup())
        try:
            await asyncio.wait({answering, hangup}, return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                answering.result()
            else:
                hangup.result()
        finally:
            for task in (answering, hangup):
                task.cancel()
            await asyncio.gather(answering, hangup, return_exceptions=True)

    async def _fill_until_hangup(self) -> None:
        while chunk := await self._reader.read(CHUNK_BYTES):
            self._buffer += chunk
            if len(self._buffer) > self._bound:
                raise Malformed("calls pile up while one is answered")

    async def _frame(self) -> bytes | None:
        """The next message without its NUL; None when the caller hung up or idles."""
        searched = 0
        deadline = None
        loop = asyncio.get_running_loop()
        while (end := self._buffer.find(b"\0", searched)) < 0:
            searched = len(self._buffer)
            if searched > self._bound:
                await self._refuse_length()
            if searched and deadline is None:
                deadline = loop.time() + self._limits.frame_s
            wait = self._limits.idle_s if deadline is None else deadline - loop.time()
            try:
                # Not `wait_for`: before Python 3.12 it may swallow a cancellation.
                async with asyncio.timeout(wait):
                    chunk = await self._reader.read(CHUNK_BYTES)
            except TimeoutError:
                if searched:
                    raise
                return None
            if not chunk:
                if searched:
                    raise Malformed("half a message, then hung up")
                return None
            self._buffer += chunk
        if end > self._bound:
            await self._refuse_length()
        frame = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return frame

    async def _refuse_length(self) -> NoReturn:
        text = f"The call is longer than {self._bound} bytes."
        hint = "Keep large files out of the scripts folder."
        await self._write(fault(ClpError(ExitCode.USAGE, text, hint)))
        raise Malformed("a message over the limit")

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        async with asyncio.timeout(self._limits.write_s):
            await self._writer.drain()


INTERFACE = "org.clptools.Node"
SERVICE = "org.varlink.service"

SERVICE_DESCRIPTION = """\
# The Varlink Service Interface is provided by every varlink service. It
# describes the service and the interfaces it implements.
interface org.varlink.service

# Get a list of all the interfaces a service provides and information
# about the implementation.
method GetInfo() -> (
  vendor: string,
  product: string,
  version: string,
  url: string,
  interfaces: []string
)

# Get the description of an interface that is implemented by this service.
method GetInterfaceDescription(interface: string) -> (description: string)

# The requested interface was not found.
error InterfaceNotFound (interface: string)

# The requested method was not found
error MethodNotFound (method: string)

# The interface defines the requested method, but the service does not
# implement it.
error MethodNotImplemented (method: string)

# One of the passed parameters is invalid.
error InvalidParameter (parameter: string)
"""


class Malformed(Exception):
    """What came is no varlink call; varlink has no answer to that but hanging up."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A call as it comes in."""

    method: str
    parameters: msgspec.Raw = msgspec.Raw(b"{}")
    oneway: bool = False
    more: bool = False
    upgrade: bool = False
    asked_at: int = 0
    """Ours: time since boot (ms) of this host when it was asked for; 0: not said."""


_decode_call = msgspec.json.Decoder(Call)


def decode_call(frame: bytes) -> Call:
    """The call in a frame (without its NUL).  Raises `Malformed`."""
    try:
        return _decode_call.decode(frame)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed(str(error)) from error


async def answer(backend: Backend, call: Call, caller: Caller) -> AsyncGenerator[bytes, None]:
    """The frames of the reply to `call`, each with its NUL.

    A fault becomes an error reply; it raises only what is a bug of the backend, after having
    told the caller.
    """
    try:
        if call.upgrade:
            yield _error(f"{SERVICE}.InvalidParameter", {"parameter": "upgrade"})
            return
        interface, _, name = call.method.rpartition(".")
        if interface == SERVICE:
            yield _service(name, call)
            return
        method = METHODS.get(name) if interface == INTERFACE else None
        if method is None:
            kind = "method" if interface == INTERFACE else "interface"
            value = call.method if interface == INTERFACE else interface
            yield _error(f"{SERVICE}.{kind.title()}NotFound", {kind: value})
            return
        _permit(method, caller)
        if call.oneway and not method.writes:
            return  # the answer would not be sent, and making it may be costly
        asked = msgspec.json.decode(call.parameters, type=method.parameters)
        _refuse_late(backend, asked, caller, call.asked_at)
        caller = caller._replace(asked_at=call.asked_at)
        async with contextlib.aclosing(method.handle(backend, asked, caller, call.more)) as replies:
            async for continues, reply in replies:
                yield _reply(reply, continues)
                if not continues:
                    return
    except ClpError as error:
        yield fault(error)
    except (msgspec.MsgspecError, RecursionError) as error:
        yield _error(f"{SERVICE}.InvalidParameter", {"parameter": _place(str(error))})
    except Exception as error:
        yield fault(
            ClpError(
                ExitCode.FAILED,
                f"The node agent failed at {call.method}: {type(error).__name__}: {error}",
                "This is a bug; the log of clpnode has the details.",
            )
        )
        raise


def fault(error: ClpError) -> bytes:
    """The error reply for a fault."""
    return _error(
        f"{INTERFACE}.Fault",
        {
            "code": int(error.code),
            "name": error.code.name,
            "message": error.message,
            "hint": error.hint,
        },
    )


def _permit(method: Method, caller: Caller) -> None:
    if method.writes and not caller.may_write:
        raise ClpError(
            ExitCode.NOT_PERMITTED,
            f"{caller.user} may read the state of the cluster, but not change it.",
            "Run it as root.",
        )


def _refuse_late(backend: Backend, asked: Parameters, caller: Caller, asked_at: int) -> None:
    """Raises ClpError for a change that was asked for before the agent stood still for long."""
    waited_ms = boot_ms() - asked_at if asked_at else 0
    if waited_ms <= LASTS_MS or not (what := asked.changes()):
        return
    user = caller.on_behalf_of(getattr(asked, "user", None) or "")
    late = AskedLate(what, user, waited_ms)
    backend.refused_late(late)
    raise ClpError(ExitCode.REFUSED, late.told(), replies.ASK_AGAIN)


class _InterfaceName(msgspec.Struct, frozen=True, kw_only=True):
    interface: str


def _service(name: str, call: Call) -> bytes:
    if name == "GetInfo":
        return _reply(
            {
                "vendor": "clptools",
                "product": "clptools node agent",
                "version": VERSION,
                "url": "",
                "interfaces": [SERVICE, INTERFACE],
            }
        )
    if name == "GetInterfaceDescription":
        wanted = msgspec.json.decode(call.parameters, type=_InterfaceName).interface
        if wanted == SERVICE:
            return _reply({"description": SERVICE_DESCRIPTION})
        if wanted == INTERFACE:
            return _reply({"description": description()})
        return _error(f"{SERVICE}.InterfaceNotFound", {"interface": wanted})
    return _error(f"{SERVICE}.MethodNotFound", {"method": call.method})


def description() -> str:
    """The interface description, as it lies beside this file."""
    return (Path(__file__).parent / "clptools.varlink").read_text()


def _place(message: str) -> str:
    """The parameter that a message of msgspec speaks of, and what is wrong with it."""
    what, _, where = message.partition(" - at `$.")
    return f"{where.rstrip('`')}: {what}" if where else what


def _reply(parameters: msgspec.Struct | dict[str, object], continues: bool = False) -> bytes:
    body: dict[str, object] = {"parameters": parameters}
    if continues:
        body["continues"] = True
    return msgspec.json.encode(body) + b"\0"


def _error(error: str, parameters: dict[str, object]) -> bytes:
    return msgspec.json.encode({"error": error, "parameters": parameters}) + b"\0"
