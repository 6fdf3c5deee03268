"""`clpwitnessd`: the witness server, for a machine outside the cluster.

    clpwitnessd --listen [::]:29003 --authkey /etc/clptools/authkey

It keeps the lease of np type `witness`, and carries the beats of `witnesshb`.  It serves every
cluster whose authkey it is given, answers nobody else, and needs no rights.
`GET /` answers 200, so that an `http` arbiter or a load balancer may look whether it lives.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ipaddress
import logging
import signal
import ssl
import sys
import time
from collections import Counter

import msgspec

from clptools import paths
from clptools.arbiters.web import cause
from clptools.arbiters.witness_leases import Leases
from clptools.arbiters.witness_mail import Mailboxes
from clptools.arbiters.witness_messages import (
    MAC_HEADER,
    MAIL_PATH,
    MAX_BYTES,
    MAX_MAIL_BYTES,
    PATH,
    Ask,
    Post,
    Signer,
)
from clptools.config.address import Endpoint, endpoint
from clptools.config.secretfile import read_authkey
from clptools.faults import ClpError, ExitCode

logger = logging.getLogger(__name__)

PORT = 29003
LONGEST_LEASE_S = 10.0
_PATIENCE_S = 5.0
"""For one connection, from its beginning to its end."""
_HEAD_S = 2.0
"""For TLS and the head of the request: who has something to say, says it at once."""
MAX_CONNECTIONS = 256
MAX_OF_A_SOURCE = 64
"""A whole cluster may be behind one address."""
MAX_STRANGERS = 128
MAX_OF_A_STRANGER = 16
_MAX_KNOWN = 1024
_MAX_HEAD_BYTES = 8192
_MAX_ASKED = 32
"""Length of a nonce in hex."""

_REASONS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found"}


class Places:
    """How many connections may be open at once, by where they come from.

    Who has not shown a cluster's key shares some places with all other strangers, so that
    whoever fills them shuts out no server that was here before.
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
        """It has a cluster's key; of too many, the one that showed it longest ago is forgotten."""
        self._known.pop(source, None)
        self._known[source] = None
        if len(self._known) > _MAX_KNOWN:
            del self._known[next(iter(self._known))]


def source_of(address: str) -> str:
    """What counts as one source: an IPv4 address, or an IPv6 network of one site (/64)."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is None:
            return str(ipaddress.ip_network((found, 64), strict=False))
        found = found.ipv4_mapped
    return str(found)


class WitnessServer:
    """Answers on one address; at most one exchange a connection."""

    def __init__(self, authkeys: tuple[bytes, ...], longest_ms: int) -> None:
        self._signers = tuple(Signer(key) for key in authkeys)
        self._mail_signers = tuple(Signer(key, MAIL_PATH) for key in authkeys)
        self._mail = Mailboxes()
        self._leases = Leases(_boot_ms(), longest_ms)
        self._server: asyncio.Server | None = None
        self._tls: ssl.SSLContext | None = None
        self._places = Places()

    async def start(self, listen: Endpoint, tls: ssl.SSLContext | None = None) -> int:
        """Begin to answer; returns the port.  Raises OSError."""
        self._tls = tls
        self._server = await asyncio.start_server(
            self._connected, listen.host, listen.port, limit=_MAX_HEAD_BYTES
        )
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Stop answering."""
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")  # None: it is gone already
        source = source_of(peer[0]) if peer else ""
        places = self._places.take(source) if peer else ()
        if not places:
            writer.transport.abort()
            return
        try:
            async with asyncio.timeout(_PATIENCE_S):
                async with asyncio.timeout(_HEAD_S):
                    if self._tls is not None:
                        # Here, not before: a handshake that never ends has its place, too.
                        await writer.start_tls(self._tls)
                    asked = await reader.readuntil(b"\r\n\r\n")
                status, body, mac = await self._exchange(asked, reader)
                if mac:
                    self._places.know(source)
                head = (
                    f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(body)}\r\nConnection: close\r\n"
                )
                head += f"{MAC_HEADER}: {mac}\r\n" if mac else ""
                writer.write(head.encode("ascii") + b"\r\n" + body)
                writer.write_eof() if writer.can_write_eof() else writer.close()
                await writer.drain()
                await reader.read(1)  # until the other end closes: nothing of ours is cut off
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # TimeoutError is an OSError; a stranger's connection is nobody's concern
        finally:
            self._places.give_back(places)
            writer.transport.abort()

    async def _exchange(self, asked: bytes, reader: asyncio.StreamReader) -> tuple[int, bytes, str]:
        """Status, body and MAC of the answer; only what has the key is answered with a MAC."""
        head = asked.decode("latin-1").split("\r\n")
        words = head[0].split(" ")
        if len(words) != 3:
            return 400, b"", ""
        method, path, _ = words
        if method in ("GET", "HEAD") and path == "/":
            return 200, b"" if method == "HEAD" else b"{}\n", ""
        mail = path.endswith(MAIL_PATH)
        if method != "POST" or not (mail or path.endswith(PATH)):
            return 404, b"", ""
        fields = {}
        for line in head[1:]:
            name, _, value = line.partition(":")
            fields[name.strip().lower()] = value.strip()
        length = fields.get("content-length", "")
        if not (length.isascii() and length.isdigit() and len(length) < 7):
            return 400, b"", ""
        if int(length) > (MAX_MAIL_BYTES if mail else MAX_BYTES):
            return 400, b"", ""
        body = await reader.readexactly(int(length))
        mac = fields.get(MAC_HEADER.lower(), "")
        return self._answer_mail(body, mac) if mail else self._answer(body, mac)

    def _answer(self, body: bytes, mac: str) -> tuple[int, bytes, str]:
        signer = next((s for s in self._signers if s.is_ask(body, mac)), None)
        if signer is None:
            return 403, b"", ""
        try:
            asked = msgspec.json.decode(body, type=Ask)
        except msgspec.DecodeError:
            return 400, b"", ""
        if len(asked.nonce) > _MAX_ASKED:
            return 400, b"", ""
        answer = msgspec.json.encode(self._leases.ask(signer.name, asked, _boot_ms()))
        return 200, answer, signer.sign_answer(answer)

    def _answer_mail(self, body: bytes, mac: str) -> tuple[int, bytes, str]:
        signer = next((s for s in self._mail_signers if s.is_ask(body, mac)), None)
        if signer is None:
            return 403, b"", ""
        try:
            post = msgspec.json.decode(body, type=Post)
        except msgspec.DecodeError:
            return 400, b"", ""
        mail = msgspec.json.encode(self._mail.exchange(signer.name, post, _boot_ms()))
        return 200, mail, signer.sign_answer(mail)


def _boot_ms() -> int:
    # Runs on through sleep: a lease that ended while this machine slept must be over.
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clpwitnessd",
        description="Decides which half of a divided cluster goes on (np type witness).",
    )
    parser.add_argument(
        "--listen", metavar="ADDRESS[:PORT]", default=f"0.0.0.0:{PORT}", help="default: %(default)s"
    )
    parser.add_argument(
        "--authkey",
        metavar="FILE",
        action="append",
        help=f"authkey of a cluster, mode 0400; may be repeated (default: {paths.authkey_file()})",
    )
    parser.add_argument("--cert", metavar="FILE", help="certificate (PEM): answer https only")
    parser.add_argument("--key", metavar="FILE", help="its key (PEM)")
    parser.add_argument(
        "--longest-lease",
        metavar="SECONDS",
        type=float,
        default=LONGEST_LEASE_S,
        help="no cluster's [cluster] lease may be longer; nothing is granted for so long after "
        "a start (default: %(default)g)",
    )
    return parser


async def _serve(arguments: argparse.Namespace) -> None:
    files = arguments.authkey or [paths.authkey_file()]
    if not 0.1 <= arguments.longest_lease <= 3600:
        raise ClpError(ExitCode.USAGE, "--longest-lease: from 0.1 to 3600 seconds")
    try:
        listen = endpoint(arguments.listen, PORT)
    except ValueError as error:
        raise ClpError(ExitCode.USAGE, f"--listen {arguments.listen}: {error}") from None
    keys = tuple(read_authkey(file) for file in files)
    server = WitnessServer(keys, round(arguments.longest_lease * 1000))
    try:
        port = await server.start(listen, _tls(arguments.cert, arguments.key))
    except OSError as error:
        raise ClpError(ExitCode.FAILED, f"cannot listen on {listen}: {cause(error)}") from None
    scheme = "https" if arguments.cert else "http"
    shown = Endpoint(listen.host, port)
    logger.info("answers on %s://%s for %d cluster keys", scheme, shown, len(keys))
    stopped = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, stopped.set)
    await stopped.wait()
    await server.close()


def _tls(cert: str | None, key: str | None) -> ssl.SSLContext | None:
    if not cert:
        if key:
            raise ClpError(ExitCode.USAGE, "--key without --cert")
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise ClpError(ExitCode.FAILED, f"{cert}: {cause(error)}", "a PEM file is wanted") from None
    return context


def main(words: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    arguments = _arguments().parse_args(words)
    logging.basicConfig(format="clpwitnessd: %(message)s", level=logging.INFO)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(arguments))
    except ClpError as error:
        hint = f"  {error.hint}" if error.hint else ""
        logger.error("%s%s", error.message, hint and f"\n{hint}")
        return int(error.code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
