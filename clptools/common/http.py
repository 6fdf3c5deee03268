"""HTTP/1.1 by h11 over asyncio's streams: messages and the server, every length bounded.

One exchange a connection: a connection that is kept may be half dead, and then costs the
time-out of the next request.  h11 parses and frames; here are the limits, TLS, and which client
may have how many connections.  Clients are in `http_client`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
import ssl
import stat
from collections import Counter
from collections.abc import Awaitable
from http import HTTPStatus
from typing import Protocol
from urllib.parse import urlsplit

import h11
import msgspec

from clptools.faults import ClpError, ExitCode

MAX_HEAD_BYTES = 16_384
"""Of an answer, with all that is provisional (1xx) before it."""
MAX_BODY_BYTES = 262_144
MAX_ASKED_HEAD_BYTES = 8_192
"""Of a request."""
_MAX_CHUNKS = 2_000
"""Each costs as much time as a head: tens of thousands would hold up the reader."""
_READ_BYTES = 65_536

HEAD_S = 2.0
"""For TLS and the head of a request: a client with a request sends it at once."""
PATIENCE_S = 5.0
"""For one connection of a server, from its beginning to its end."""

MAX_CONNECTIONS = 256
MAX_OF_A_SOURCE = 64
"""A whole cluster may be behind one address."""
MAX_STRANGERS = 128
MAX_OF_A_STRANGER = 16
MAX_KNOWN = 1024


class HttpError(Exception):
    """No message, or none that is HTTP; the text is the cause alone."""

    def __init__(self, text: str, status: int = 400) -> None:
        """`status`: what a server answers to it."""
        super().__init__(text)
        self.status = status


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """What a client wants."""

    method: str
    path: str
    """As it was sent, with its query."""
    headers: dict[str, str] = {}
    """By name in lower case."""
    body: bytes = b""


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """What a server answers; the body is empty where it was not wanted."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = {}
    """By name in lower case."""
    trusts: bool = False
    """On a server: the client has shown a key, so its source is no stranger from now on."""

    def header(self, name: str) -> str:
        """Its value; empty if it is absent."""
        return self.headers.get(name.lower(), "")


class Incoming:
    """The message that arrives on one stream, read within a budget of bytes."""

    def __init__(
        self, connection: h11.Connection, reader: asyncio.StreamReader, budget: int, name: str
    ) -> None:
        """`budget`: for its head; `name`: of the message, for faults."""
        self._connection = connection
        self._reader = reader
        self._budget = budget
        self._name = name
        self.cut_off = False
        """The other end has closed."""

    async def head(self) -> h11.Request | h11.Response:
        """Its head.  Raises HttpError, OSError."""
        while True:
            event = await self._event("is not HTTP")
            if isinstance(event, h11.Request | h11.Response):
                if not event.http_version.startswith(b"1."):
                    raise HttpError(f"{self._name} is not HTTP", 505)
                return event
            if isinstance(event, h11.ConnectionClosed):
                raise HttpError(f"{self._name} is cut off")

    async def body(self, headers: dict[str, str], most: int) -> bytes:
        """All of its body, `most` bytes long.  Raises HttpError, OSError."""
        if int(headers.get("content-length", "0")) > most:
            raise self._too_long(413)
        self._budget = most + MAX_HEAD_BYTES  # what frames chunks may be as long as a head
        body, chunks = bytearray(), 0
        while isinstance(event := await self._event("is malformed"), h11.Data):
            body += event.data
            chunks += event.chunk_start
            if len(body) > most or chunks > _MAX_CHUNKS:
                raise self._too_long(413)
        return bytes(body)

    async def piece(self) -> bytes | None:
        """What comes next of a body that has no end; None: it ended.  Raises HttpError, OSError."""
        self._budget = MAX_HEAD_BYTES + MAX_BODY_BYTES
        event = await self._event("is malformed")
        return bytes(event.data) if isinstance(event, h11.Data) else None

    async def _event(self, fault: str) -> h11.Event:
        while True:
            try:
                event = self._connection.next_event()
            except h11.RemoteProtocolError as error:
                text = f"{self._name} {'is cut off' if self.cut_off else fault}"
                raise HttpError(text, error.error_status_hint) from None
            if isinstance(event, h11.Event):
                return event
            if event is h11.PAUSED:  # never before the end of a message
                raise HttpError(f"{self._name} {fault}")
            if self._budget <= 0:
                raise self._too_long(431)
            data = await self._reader.read(min(self._budget, _READ_BYTES))
            self._budget -= len(data)
            self.cut_off = not data
            self._connection.receive_data(data)

    def _too_long(self, status: int) -> HttpError:
        return HttpError(f"{self._name} is too long", status)


def headers_of(message: h11.Request | h11.Response) -> dict[str, str]:
    return {name.decode("ascii"): value.decode("latin-1") for name, value in message.headers}


def packed(connection: h11.Connection, head: h11.Request | h11.Response, body: bytes) -> bytes:
    """A whole message in bytes.  Raises h11.LocalProtocolError: something cannot be sent."""
    events = [head, h11.Data(data=body), h11.EndOfMessage()] if body else [head, h11.EndOfMessage()]
    return b"".join(connection.send(event) or b"" for event in events)


def cause(error: OSError) -> str:
    """What went wrong, in a few words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or str(error)).lower().replace('_', ' ')}"
    if error.errno and error.errno > 0:
        return os.strerror(error.errno).lower()  # asyncio's own text repeats the address
    return (error.strerror or str(error) or "connection lost").lower()


def client_tls(url: str, ca: str = "", cert: str = "", key: str = "") -> ssl.SSLContext | None:
    """What a connection to `url` is made with; None for `http`.

    Raises ClpError if a file cannot be used; the file is named.
    """
    if urlsplit(url).scheme != "https":
        return None
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except (OSError, ssl.SSLError) as error:
        raise _unusable(ca, error) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if cert:
        try:
            context.load_cert_chain(cert, key or None)
        except (OSError, ssl.SSLError) as error:
            raise _unusable(f"{cert} with {key}" if key else cert, error) from None
    return context


# ---------------------------------------------------------------------- server


def server_tls(cert: str, key: str = "") -> ssl.SSLContext:
    """What connections are taken with.  Raises ClpError if a file cannot be used."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key or None)
    except (OSError, ssl.SSLError) as error:
        raise _unusable(cert, error) from None
    return context


def _unusable(file: str, error: OSError) -> ClpError:
    return ClpError(ExitCode.FAILED, f"{file}: {cause(error)}", "a PEM file is wanted")


class Handler(Protocol):
    """What a server answers with."""

    def room(self, request: Request) -> int:
        """How long the body of this request may be.  Raises HttpError: it is refused."""

    def respond(self, request: Request) -> Response | Awaitable[Response]:
        """The answer to a whole request.  Raises HttpError: it is refused."""


class Places:
    """How many connections may be open at once, by where they come from.

    A client that has not shown a key shares some places with all other strangers, so that
    strangers cannot shut out a client that has.
    """

    def __init__(self) -> None:
        self._taken: Counter[str] = Counter()
        self._known: dict[str, None] = {}

    def take(self, source: str) -> tuple[str, ...]:
        """Places for one from `source`, to be given back; none where one of them is full."""
        known = source in self._known
        wanted = {"all": MAX_CONNECTIONS, source: MAX_OF_A_SOURCE if known else MAX_OF_A_STRANGER}
        if not known:
            wanted["strangers"] = MAX_STRANGERS
        if any(self._taken[place] >= most for place, most in wanted.items()):
            return ()
        self._taken.update(wanted.keys())
        return tuple(wanted)

    def give_back(self, places: tuple[str, ...]) -> None:
        """The connection is over."""
        self._taken.subtract(places)
        for place in places:
            if not self._taken[place]:
                del self._taken[place]

    def know(self, source: str) -> None:
        """It has a key; of too many, the one that showed it longest ago is forgotten."""
        self._known.pop(source, None)
        self._known[source] = None
        if len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]


def source_of(address: str) -> str:
    """What counts as one source: an IPv4 address, or an IPv6 network of one site (/64)."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return str(ipaddress.ip_network((found, 64), strict=False))
        found = found.ipv4_mapped
    return str(found)


class Server:
    """Answers on one address; one exchange a connection."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._tls: ssl.SSLContext | None = None
        self._places = Places()

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> int:
        """Begin to answer; returns the port.  Raises OSError."""
        self._tls = tls
        self._server = await asyncio.start_server(
            self._connected, host, port, limit=MAX_ASKED_HEAD_BYTES
        )
        chosen: int = self._server.sockets[0].getsockname()[1]
        return chosen

    async def start_unix(self, path: str) -> None:
        """Begin to answer on a Unix socket that its user and group may use.  Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISSOCK(os.lstat(path).st_mode):
                raise FileExistsError(errno.EEXIST, "another file is there", path)
            os.unlink(path)
        mask = os.umask(0o117)
        try:
            self._server = await asyncio.start_unix_server(
                self._connected, path, limit=MAX_ASKED_HEAD_BYTES
            )
        finally:
            os.umask(mask)

    async def close(self) -> None:
        """Stop answering."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")  # None: it is gone already
        local = writer.get_extra_info("socket").family == socket.AF_UNIX
        source = "local" if local else source_of(peer[0]) if peer else ""
        places = self._places.take(source) if source else ()
        if not places:
            writer.transport.abort()
            return
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self._exchange(reader, writer, source)
        except OSError:
            pass  # TimeoutError is one; nothing depends on a stranger's connection
        finally:
            self._places.give_back(places)
            writer.transport.abort()

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, source: str
    ) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_ASKED_HEAD_BYTES)
        incoming = Incoming(connection, reader, MAX_ASKED_HEAD_BYTES, "the request")
        method = ""
        try:
            async with asyncio.timeout(HEAD_S):
                if self._tls is not None:
                    # Here, not before: a handshake that never ends has its place, too.
                    await writer.start_tls(self._tls)
                head = await incoming.head()
            assert isinstance(head, h11.Request)
            method = head.method.decode("ascii")
            request = Request(
                method=method, path=head.target.decode("ascii"), headers=headers_of(head)
            )
            body = await incoming.body(request.headers, self._handler.room(request))
            answer = self._handler.respond(msgspec.structs.replace(request, body=body))
            response = answer if isinstance(answer, Response) else await answer
        except HttpError as error:
            if incoming.cut_off:
                return
            response = Response(status=error.status)
        if response.trusts:
            self._places.know(source)
        writer.write(_written(connection, response, method))
        writer.write_eof() if writer.can_write_eof() else writer.close()
        await writer.drain()
        # Until the other end closes: what it still sends must not cut off our answer.
        while await reader.read(_READ_BYTES):
            pass


def _written(connection: h11.Connection, response: Response, method: str) -> bytes:
    head = h11.Response(
        status_code=response.status,
        reason=HTTPStatus(response.status).phrase,
        headers=[
            *response.headers.items(),
            ("Content-Length", str(len(response.body))),
            ("Connection", "close"),
        ],
    )
    return packed(connection, head, b"" if method == "HEAD" else response.body)
