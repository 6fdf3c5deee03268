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
import logging
import secrets
import signal
import ssl
import sys
import time
from collections import OrderedDict

import msgspec

from clptools import paths
from clptools.arbiters.witness import (
    MAC_HEADER,
    MAIL_PATH,
    MAX_BYTES,
    MAX_MAIL_BYTES,
    PATH,
    Answer,
    Ask,
    Mail,
    Post,
    Signer,
)
from clptools.common.child_process import dump_nothing
from clptools.common.http import HttpError, Request, Response, Server, cause, server_tls
from clptools.config.address import Endpoint, endpoint
from clptools.config.files import read_authkey
from clptools.faults import ClpError, ExitCode
from clptools.version import VERSION

logger = logging.getLogger(__name__)

PORT = 29003
LONGEST_LEASE_S = 10.0
MAX_NAME = 256
MAX_CLUSTERS = 256
MAX_SERVERS = 256
"""Tickets of one cluster; the one not used for longest is dropped, its owner asks once more."""
MAX_BOXES = 64
"""Of one cluster."""
MAX_AGE_MS = 2_000
_BASE64_BYTES = MAX_MAIL_BYTES * 3 // 5
"""So much in a box fits into an answer as base64 with its names."""
_MAX_ASKED = 32
"""Length of a nonce in hex."""
_JSON = {"Content-Type": "application/json"}


class _Cluster:
    def __init__(self) -> None:
        self.server = ""
        self.token = ""
        self.until = 0
        self.tickets: OrderedDict[str, str] = OrderedDict()

    def new_ticket(self, server: str) -> str:
        self.tickets[server] = secrets.token_hex(16)
        self.tickets.move_to_end(server)
        if len(self.tickets) > MAX_SERVERS:
            self.tickets.popitem(last=False)
        return self.tickets[server]


class Leases:
    """One lease a cluster; `now` is in ms on a clock that runs on through sleep.

    Nothing is on a disk.  A lease that was held when an earlier run ended lasts `longest_ms` at
    most, because a longer one is never granted.  So for that long after its start a witness grants
    nothing.
    """

    def __init__(self, now: int, longest_ms: int) -> None:
        self._opens_at = now + longest_ms
        self._longest_ms = longest_ms
        self._clusters: dict[str, _Cluster] = {}

    def ask(self, key: str, asked: Ask, now: int) -> Answer:
        """Carry out an authentic request; `key` names the authkey it was signed with."""
        if not asked.server or max(map(len, (asked.server, asked.token, asked.cluster))) > MAX_NAME:
            return Answer(nonce=asked.nonce, ticket="", error="a name is empty or too long")
        name = f"{key} {asked.cluster}"
        if name not in self._clusters and len(self._clusters) >= MAX_CLUSTERS:
            return Answer(nonce=asked.nonce, ticket="", error="it serves too many clusters already")
        cluster = self._clusters.setdefault(name, _Cluster())
        ticket = cluster.tickets.get(asked.server) or cluster.new_ticket(asked.server)
        if asked.ticket != ticket:
            return Answer(nonce=asked.nonce, ticket=ticket, stale=True)
        ticket = cluster.new_ticket(asked.server)
        mine = cluster.server == asked.server and cluster.token == asked.token
        if asked.op == "release":
            if mine:
                cluster.until = now
            return Answer(nonce=asked.nonce, ticket=ticket)
        if asked.op != "hold":
            return Answer(nonce=asked.nonce, ticket=ticket, error=f"it knows no {asked.op!r}")
        if not 0 < asked.lease_ms <= self._longest_ms:
            text = (
                f"a lease of {asked.lease_ms / 1000:g} s is not granted, "
                f"{self._longest_ms / 1000:g} s is the longest (clpwitnessd --longest-lease)"
            )
            return Answer(nonce=asked.nonce, ticket=ticket, error=text)
        if now < self._opens_at:
            text = f"it has just started and grants nothing for {self._opens_at - now} ms more"
            return Answer(nonce=asked.nonce, ticket=ticket, error=text)
        if now < cluster.until and not mine:
            return Answer(nonce=asked.nonce, ticket=ticket, holder=cluster.server)
        cluster.server, cluster.token = asked.server, asked.token
        cluster.until = now + asked.lease_ms
        return Answer(nonce=asked.nonce, ticket=ticket, held=True, holder=asked.server)


class Mailboxes:
    """The newest beat for each pair of servers, until it is asked for.

    Every client here has the authkey; the bounds are against faults, not strangers.
    """

    def __init__(self) -> None:
        self._clusters: dict[str, dict[str, dict[str, tuple[int, bytes]]]] = {}

    def exchange(self, key: str, post: Post, now: int) -> Mail:
        """Put the newest beats into their boxes; empty the server's own.  `now` is in ms."""
        name = f"{key} {post.cluster}"
        if name not in self._clusters and len(self._clusters) >= MAX_CLUSTERS:
            return Mail(nonce=post.nonce, beats={})
        boxes = self._clusters.setdefault(name, {})
        found = boxes.pop(post.server, {})
        for server, beat in post.beats.items():
            if server not in boxes and len(boxes) >= MAX_BOXES:
                continue
            box = boxes.setdefault(server, {})
            box.pop(post.server, None)
            if len(beat) + sum(len(other) for _, other in box.values()) <= _BASE64_BYTES:
                box[post.server] = now, beat
        # A server that was away must not take what it finds for a sign of life.
        young = {sender: beat for sender, (at, beat) in found.items() if now - at <= MAX_AGE_MS}
        return Mail(nonce=post.nonce, beats=young)


class Witness:
    """Answers those who have a cluster's key."""

    def __init__(self, authkeys: tuple[bytes, ...], longest_ms: int) -> None:
        self._signers = tuple(Signer(key) for key in authkeys)
        self._mail_signers = tuple(Signer(key, MAIL_PATH) for key in authkeys)
        self._leases = Leases(_boot_ms(), longest_ms)
        self._mail = Mailboxes()

    def room(self, request: Request) -> int:
        """See `Handler`."""
        if _only_looks(request):
            return 0
        if request.method == "POST" and request.path.endswith(MAIL_PATH):
            return MAX_MAIL_BYTES
        if request.method == "POST" and request.path.endswith(PATH):
            return MAX_BYTES
        raise HttpError("no such path", 404)

    def respond(self, request: Request) -> Response:
        """See `Handler`; only who has a key is answered with a MAC."""
        if _only_looks(request):
            return Response(status=200, body=b"{}\n", headers=_JSON)
        mail = request.path.endswith(MAIL_PATH)
        body, mac = request.body, request.headers.get(MAC_HEADER.lower(), "")
        signers = self._mail_signers if mail else self._signers
        signer = next((each for each in signers if each.is_ask(body, mac)), None)
        if signer is None:
            raise HttpError("no cluster of this witness signed it", 403)
        try:
            said = self._carry(signer.name, body) if mail else self._decide(signer.name, body)
        except msgspec.DecodeError:
            raise HttpError("not understood") from None
        answer = msgspec.json.encode(said)
        headers = {**_JSON, MAC_HEADER: signer.sign_answer(answer)}
        return Response(status=200, body=answer, headers=headers, trusts=True)

    def _carry(self, key: str, body: bytes) -> Mail:
        return self._mail.exchange(key, msgspec.json.decode(body, type=Post), _boot_ms())

    def _decide(self, key: str, body: bytes) -> Answer:
        asked = msgspec.json.decode(body, type=Ask)
        if len(asked.nonce) > _MAX_ASKED:
            raise HttpError("its nonce is too long")
        return self._leases.ask(key, asked, _boot_ms())


def _only_looks(request: Request) -> bool:
    return request.method in ("GET", "HEAD") and request.path == "/"


def _boot_ms() -> int:
    # Runs on through sleep: a lease that ended while this machine slept must be over.
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="clpwitnessd",
        description="Decides which half of a divided cluster goes on (np type witness).",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    parser.add_argument(
        "--listen", metavar="ADDRESS[:PORT]", default=f"0.0.0.0:{PORT}", help="default: %(default)s"
    )
    parser.add_argument(
        "--authkey",
        metavar="FILE",
        action="append",
        help=f"key of a cluster (clpcfctrl --keygen --for witness, or its authkey), mode 0400; "
        f"may be repeated (default: {paths.authkey_file()})",
    )
    parser.add_argument(
        "--cert", metavar="FILE", help="certificate (PEM); with it, answer only https"
    )
    parser.add_argument("--key", metavar="FILE", help="key of the certificate (PEM)")
    parser.add_argument(
        "--longest-lease",
        metavar="SECONDS",
        type=float,
        default=LONGEST_LEASE_S,
        help="longer leases ([cluster] lease) are not granted, and after a start nothing is "
        "granted for this time (default: %(default)g)",
    )
    return parser


async def _serve(arguments: argparse.Namespace) -> None:
    # Before it can be known to run: a client that has an answer may send a signal.
    stopped = asyncio.Event()
    for sign in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, stopped.set)
    files = arguments.authkey or [paths.authkey_file()]
    if not 0.1 <= arguments.longest_lease <= 3600:
        raise ClpError(ExitCode.USAGE, "--longest-lease: from 0.1 to 3600 seconds")
    try:
        listen = endpoint(arguments.listen, PORT)
    except ValueError as error:
        raise ClpError(ExitCode.USAGE, f"--listen {arguments.listen}: {error}") from None
    keys = tuple(read_authkey(file) for file in files)
    try:
        witness = Witness(keys, round(arguments.longest_lease * 1000))
    except ValueError as error:
        raise ClpError(ExitCode.FAILED, f"--authkey {', '.join(files)}: {error}") from None
    server = Server(witness)
    try:
        tls = _tls(arguments.cert, arguments.key)
        port = await server.start(listen.host, listen.port, tls)
    except OSError as error:
        raise ClpError(ExitCode.FAILED, f"cannot listen on {listen}: {cause(error)}") from None
    scheme = "https" if arguments.cert else "http"
    shown = Endpoint(listen.host, port)
    logger.info("answers on %s://%s for %d cluster keys", scheme, shown, len(keys))
    await stopped.wait()
    await server.close()


def _tls(cert: str | None, key: str | None) -> ssl.SSLContext | None:
    if key and not cert:
        raise ClpError(ExitCode.USAGE, "--key without --cert")
    return server_tls(cert, key or "") if cert else None


def main(words: list[str] | None = None) -> int:
    """The command; returns its exit status."""
    arguments = _arguments().parse_args(words)
    dump_nothing()  # also where no unit says so: it has the clusters' keys
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
