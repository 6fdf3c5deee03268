"""A small HTTP/1.1 client: one request a connection, every length bounded.

It has no time-out of its own; the caller cancels it, and the connection is gone at once.
"""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import Sequence
from urllib.parse import urlsplit

import msgspec

from clptools.common.host_addresses import HostAddresses
from clptools.faults import ClpError, ExitCode

MAX_HEAD_BYTES = 16_384
MAX_BODY_BYTES = 262_144


class WebError(Exception):
    """No answer, or none that is HTTP; the text is the cause alone."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Status and body; the body is empty where it was not wanted."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = {}
    """By name in lower case."""

    def header(self, name: str) -> str:
        """Its value; empty if it is absent."""
        return self.headers.get(name.lower(), "")


class Site:
    """A base URL, `http` or `https`, with the address that answers for it."""

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
    ) -> Answer:
        """One exchange; `path` is added to the URL's own.  Raises WebError."""
        target = (self._path.rstrip("/") + path if path else self._path) or "/"
        lines = [
            f"{method} {target}{self._query} HTTP/1.1",
            f"Host: {self._netloc}",
            "User-Agent: clptools",
            "Connection: close",
            *(f"{name}: {value}" for name, value in headers),
        ]
        if method == "POST":
            lines.append(f"Content-Length: {len(body)}")
        sent = "\r\n".join([*lines, "", ""]).encode("ascii") + body
        reader, writer = await self._connect()
        try:
            writer.write(sent)
            await writer.drain()
            return await _read_answer(reader, method)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            raise WebError("the answer is cut off or too long") from None
        except OSError as error:
            raise WebError(cause(error)) from None
        finally:
            writer.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        fault = "no address"
        try:
            addresses = await self._addresses.find()
        except OSError as error:
            raise WebError(f"{self._host}: {cause(error)}") from None
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
        raise WebError(fault)


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


def _unusable(file: str, error: OSError) -> ClpError:
    return ClpError(ExitCode.FAILED, f"{file}: {cause(error)}", "a PEM file is wanted")


async def _read_answer(reader: asyncio.StreamReader, method: str) -> Answer:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    words = head[0].split(" ", 2)
    if not words[0].startswith("HTTP/1.") or len(words) < 2 or not _digits(words[1], 3):
        raise WebError("the answer is not HTTP")
    status = int(words[1])
    if method == "HEAD" or status in (204, 304):
        return Answer(status=status)
    fields = {}
    for line in head[1:]:
        name, _, value = line.partition(":")
        fields[name.strip().lower()] = value.strip()
    if method == "GET":
        return Answer(status=status)  # only its status is ever asked for
    if "chunked" in fields.get("transfer-encoding", "").lower():
        return Answer(status=status, body=await _read_chunks(reader), headers=fields)
    length = fields.get("content-length")
    if length is None:
        body = await reader.read(MAX_BODY_BYTES + 1)
        while len(body) <= MAX_BODY_BYTES and not reader.at_eof():
            body += await reader.read(MAX_BODY_BYTES + 1 - len(body))
        if len(body) > MAX_BODY_BYTES:
            raise WebError("the answer is too long")
        return Answer(status=status, body=body, headers=fields)
    if not _digits(length, 6) or int(length) > MAX_BODY_BYTES:
        raise WebError("the answer is too long")
    body = await reader.readexactly(int(length))
    return Answer(status=status, body=body, headers=fields)


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = b""
    while True:
        line = await reader.readuntil(b"\r\n")
        try:
            size = int(line.split(b";")[0].strip()[:8], 16)
        except ValueError:
            raise WebError("the answer is malformed") from None
        if size == 0:
            return body
        if size < 0 or len(body) + size > MAX_BODY_BYTES:
            raise WebError("the answer is too long")
        body += await reader.readexactly(size)
        await reader.readexactly(2)


def _digits(text: str, most: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= most
