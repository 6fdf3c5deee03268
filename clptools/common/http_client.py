"""Clients of HTTP/1.1: one request to a site, or a TLS connection that is kept.

h11 parses and frames, within the limits of `http`.  A redirection is an answer like any other.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

import h11

from clptools.common.http import (
    MAX_BODY_BYTES,
    MAX_HEAD_BYTES,
    HttpError,
    Incoming,
    Response,
    cause,
    client_tls,
    headers_of,
    packed,
)
from clptools.common.threads import in_daemon_thread

LOOK_UP_S = 0.3
"""How long a look-up is waited for while there is an earlier answer."""
_READ_BYTES = 65_536
_KEEPALIVE_S = 10
"""TCP keep-alive: a stream on which nothing happens is found dead after three of these."""


class HostAddresses:
    """The addresses of `host`, an address or a name; a name service that hangs delays little.

    A look-up runs in a thread of its own, one at a time for each name; what was found last is
    used while the next one is late or fails.
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self._known: tuple[str, ...] = ()
        self._pending: asyncio.Future[tuple[str, ...]] | None = None
        with contextlib.suppress(ValueError):
            self._known = (str(ip_address(host)),)
        self._literal = bool(self._known)

    async def find(self) -> tuple[str, ...]:
        """The addresses, best first.  Raises OSError; bounded only by the caller's time-out."""
        if self._literal:
            return self._known
        if self._pending is None or self._pending.done():
            self._pending = in_daemon_thread(f"look up {self.host}", self._look_up)
        patience = LOOK_UP_S if self._known else None
        try:
            async with asyncio.timeout(patience):
                self._known = await asyncio.shield(self._pending)
        except OSError:  # TimeoutError is one
            if not self._known:
                raise
        return self._known

    def _look_up(self) -> tuple[str, ...]:
        try:
            rows = socket.getaddrinfo(self.host, None, type=socket.SOCK_STREAM)
        except UnicodeError:
            raise OSError(f"{self.host}: not a host name") from None
        return tuple(dict.fromkeys(str(row[4][0]) for row in rows))


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
        except (h11.LocalProtocolError, UnicodeEncodeError):
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


# ---------------------------------------------------------------------- kept connections


def pinned_tls(certificate: str, ca: str) -> ssl.SSLContext:
    """What connections are made with: a CA's word, or none where the certificate is pinned.

    Raises ClpError if `ca` cannot be used.
    """
    if not certificate:
        context = client_tls("https:", ca)
        assert context is not None
        return context
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # `KeptConnection.open` compares the certificate itself
    return context


def fingerprint(certificate: bytes) -> str:
    """SHA-256 of a certificate in DER, as `[server.bmc] certificate` has it."""
    return f"sha256:{hashlib.sha256(certificate).hexdigest()}"


class KeptConnection:
    """One TLS connection that is kept: requests one after the other, or one endless answer.

    It is evidence: what answers on it is what was connected to, and has not restarted since.
    Whom it leads to is decided once, before anything is sent: by the SHA-256 of its certificate,
    or by a CA.  It has no time-out of its own: who cancels a request must close it.
    """

    def __init__(
        self, host: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._host = host
        self._reader = reader
        self._writer = writer
        self._connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._used = False
        self.certificate = ""
        """Its fingerprint."""

    @classmethod
    async def open(
        cls, address: str, port: int, tls: ssl.SSLContext, certificate: str = ""
    ) -> KeptConnection:
        """Connects; with `certificate` (`fingerprint`) to that one alone.  Raises HttpError."""
        try:
            reader, writer = await asyncio.open_connection(
                address, port, ssl=tls, server_hostname=address, limit=_READ_BYTES
            )
        except OSError as error:  # ssl.SSLError is one
            raise HttpError(cause(error)) from None
        found = fingerprint(writer.get_extra_info("ssl_object").getpeercert(True))
        if certificate and found != certificate:
            writer.transport.abort()
            raise HttpError(f"it shows another certificate than the pinned one: {found}")
        made = cls(f"[{address}]:{port}" if ":" in address else f"{address}:{port}", reader, writer)
        made.certificate = found
        made._outlive_nothing()
        return made

    @property
    def usable(self) -> bool:
        """Whether another request may be sent on it."""
        return (
            self._connection.our_state is h11.IDLE
            and not self._writer.is_closing()
            and not self._reader.at_eof()
        )

    @property
    def used(self) -> bool:
        """Whether something was asked on it before."""
        return self._used

    def close(self) -> None:
        """At once; what the kernel has not sent yet is never sent."""
        self._writer.transport.abort()

    async def request(
        self,
        method: str,
        path: str,
        *,
        body: bytes = b"",
        headers: Sequence[tuple[str, str]] = (),
        most: int,
    ) -> Response:
        """One exchange; the answer's body may be `most` bytes long.

        Raises HttpError, and then the connection is closed.
        """
        try:
            incoming, head = await self._asked(method, path, body, headers)
            found = headers_of(head)
            data = await incoming.body(found, most)
            if self._connection.their_state is h11.DONE:
                self._connection.start_next_cycle()
                if self._connection.trailing_data[0]:
                    raise HttpError("more came than was asked for")
            else:
                self.close()
            return Response(status=head.status_code, headers=found, body=data)
        except OSError as error:
            self.close()
            raise HttpError(cause(error)) from None
        except BaseException:
            self.close()
            raise

    async def stream(
        self, path: str, headers: Sequence[tuple[str, str]] = ()
    ) -> tuple[Response, AsyncIterator[bytes]]:
        """The head of an answer, and its body piece by piece as it comes.  Raises HttpError."""
        try:
            incoming, head = await self._asked("GET", path, b"", headers)
        except OSError as error:
            raise HttpError(cause(error)) from None
        return (
            Response(status=head.status_code, headers=headers_of(head)),
            self._pieces(incoming),
        )

    async def _pieces(self, incoming: Incoming) -> AsyncIterator[bytes]:
        try:
            while (piece := await incoming.piece()) is not None:
                yield piece
        except OSError as error:
            raise HttpError(cause(error)) from None

    def never_late(self, within_ms: int) -> None:
        """What is sent from now on and not taken within that time is never sent.

        Else the kernel would repeat it for minutes, and an order would come late.
        """
        line = self._socket()
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, max(within_ms, 1))

    async def _asked(
        self, method: str, path: str, body: bytes, headers: Sequence[tuple[str, str]]
    ) -> tuple[Incoming, h11.Response]:
        lines = [("Host", self._host), ("User-Agent", "clptools"), *headers]
        if body or method not in ("GET", "HEAD"):
            lines.append(("Content-Length", str(len(body))))
        self._used = True
        try:
            head = h11.Request(method=method, target=path, headers=lines)
            self._writer.write(packed(self._connection, head, body))
        except (h11.LocalProtocolError, UnicodeEncodeError):
            # h11's own text would show a header's value, which is secret.
            raise HttpError("the request has what HTTP cannot carry") from None
        await self._writer.drain()
        incoming = Incoming(self._connection, self._reader, MAX_HEAD_BYTES, "the answer")
        answer = await incoming.head()
        assert isinstance(answer, h11.Response)
        return incoming, answer

    def _outlive_nothing(self) -> None:
        line = self._socket()
        with contextlib.suppress(OSError):
            # Closing it throws away what is unsent.
            line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _KEEPALIVE_S)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _KEEPALIVE_S)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)

    def _socket(self) -> socket.socket:
        found: socket.socket = self._writer.get_extra_info("socket")
        return found
