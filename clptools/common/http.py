"""HTTP/1.1 by h11 over asyncio's streams: a client and a server, every length bounded.

One exchange a connection, on both sides: a connection that is kept may be half dead, and then
costs the time-out of the next request (`kept_http` is for who needs one all the same).  h11 parses
and frames; here are the limits, TLS, and which client may have how many connections (`places`).
A redirection is an answer like any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import ssl
import stat
from collections.abc import Awaitable, Sequence
from http import HTTPStatus
from typing import Protocol
from urllib.parse import urlsplit

import h11
import msgspec

from clptools.common.host_addresses import HostAddresses
from clptools.common.places import Places, source_of
from clptools.faults import ClpError, ExitCode

MAX_HEAD_BYTES = 16_384
"""Of an answer, with all that is provisional (1xx) before it."""
MAX_BODY_BYTES = 262_144
MAX_ASKED_HEAD_BYTES = 8_192
"""Of a request."""
_MAX_CHUNKS = 2_000
"""Each costs as much time as a head: tens of thousands would hold up who reads them."""
_READ_BYTES = 65_536

HEAD_S = 2.0
"""For TLS and the head of a request: who has something to say, says it at once."""
PATIENCE_S = 5.0
"""For one connection of a server, from its beginning to its end."""


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


# ---------------------------------------------------------------------- client


class Site:
    """A base URL, `http` or `https`, with the address that answers for it.

    It has no time-out of its own: the caller cancels it, and the connection is gone at once.
    """

    def __init__(self, url: str, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        self.url = url
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._netloc = parts.netloc
        self._path = parts.path
        self._query = f"?{parts.query}" if parts.query else ""
        self._tls = tls if parts.scheme == "https" else None
        self._addresses = HostAddresses(self._host)

    async def request(
        self,
        method: str,
        path: str = "",
        *,
        body: bytes = b"",
        headers: Sequence[tuple[str, str]] = (),
        status_only: bool = False,
    ) -> Response:
        """One exchange; `path` is added to the URL's own.  Raises HttpError.

        With `status_only` the answer ends for us with its head, however long its body is.
        """
        target = (self._path.rstrip("/") + path if path else self._path) or "/"
        lines = [
            ("Host", self._netloc),
            ("User-Agent", "clptools"),
            ("Connection", "close"),
            *headers,
        ]
        if body or method not in ("GET", "HEAD"):
            lines.append(("Content-Length", str(len(body))))
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        try:
            head = h11.Request(method=method, target=target + self._query, headers=lines)
            sent = packed(connection, head, body)
        except h11.LocalProtocolError:
            # h11's own text would show a header's value, which may be secret.
            raise HttpError("the request has what HTTP cannot carry") from None
        reader, writer = await self._connect()
        try:
            writer.write(sent)
            await writer.drain()
            return await _response(connection, reader, status_only or method == "HEAD")
        except OSError as error:
            raise HttpError(cause(error)) from None
        finally:
            writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        fault = "no address"
        try:
            addresses = await self._addresses.find()
        except OSError as error:
            raise HttpError(f"{self._host}: {cause(error)}") from None
        for address in addresses:
            try:
                return await asyncio.open_connection(
                    address,
                    self._port,
                    ssl=self._tls,
                    server_hostname=self._host if self._tls else None,
                    limit=MAX_HEAD_BYTES,
                )
            except OSError as error:  # ssl.SSLError is one
                fault = cause(error)
        raise HttpError(fault)


async def _response(
    connection: h11.Connection, reader: asyncio.StreamReader, status_only: bool
) -> Response:
    """The answer to what was sent on `connection`.  Raises HttpError, OSError."""
    incoming = Incoming(connection, reader, MAX_HEAD_BYTES, "the answer")
    head = await incoming.head()
    assert isinstance(head, h11.Response)
    headers = headers_of(head)
    body = b"" if status_only else await incoming.body(headers, MAX_BODY_BYTES)
    return Response(status=head.status_code, headers=headers, body=body)


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
            pass  # TimeoutError is one; a stranger's connection is nobody's concern
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
