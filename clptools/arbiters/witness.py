"""`witness`: a lease kept by `clpwitnessd` on a third machine, over HTTP.  Strong.

The protocol is JSON over HTTP, each message under the cluster's authkey:

    POST <url>/v1/lease      body: Ask       header Clptools-Mac: hex HMAC-SHA-256 of the body
    200                      body: Answer    header Clptools-Mac: likewise, over the answer

There is one lease for each cluster (authkey and name).  Each server of it has a *ticket* at the
witness, a random number that changes with every request that took effect.  A request must carry
the ticket that is in force; otherwise it changes nothing, and the answer (`stale`) tells the
ticket, with which the server asks once more.  So

* a request takes effect at most once, and none that was recorded on the network ever again;
* of two requests with the same ticket one takes effect, so a late one cannot undo a newer one;
* `nonce` comes back in the answer, so an old answer is not taken for a new one.

Requests and answers are signed with different keys, so none passes for the other.  Nothing in
them is secret; `https` hides who talks, and is not needed to keep strangers out.

Heartbeats of type `witnesshb` go the same way, to `/v1/beats`: `MailExchange`.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
from typing import TypeVar

import msgspec

from clptools.arbiters.base import ArbiterContext, Held
from clptools.common.derived_keys import DERIVED_FIELD, REMAKE, is_derived
from clptools.common.http import HttpError, client_tls
from clptools.common.http_client import Site
from clptools.core.model.options import VariantOptions, read
from clptools.core.model.settings import Arbiter
from clptools.faults import ClpError, ExitCode

PATH = "/v1/lease"
MAIL_PATH = "/v1/beats"
MAC_HEADER = "Clptools-Mac"
MAX_BYTES = 4096
MAX_MAIL_BYTES = 262_144


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """What a server wants."""

    cluster: str
    server: str
    token: str
    """The run of its agent."""
    op: str
    """`hold` or `release`."""
    lease_ms: int = 0
    ticket: str = ""
    nonce: str


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What the witness says."""

    nonce: str
    ticket: str
    """To be carried by the next request."""
    stale: bool = False
    """The request's ticket was not in force; nothing was done."""
    held: bool = False
    holder: str = ""
    error: str = ""


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """A server's newest beats, and its wish for those of the others (`witnesshb`).

    Sent to `MAIL_PATH`.  There are no tickets: a beat that is delivered twice, or after a newer
    one, is dropped by who gets it.
    """

    cluster: str
    server: str
    nonce: str
    beats: dict[str, bytes]
    """Server -> datagram for it."""


class Mail(msgspec.Struct, frozen=True, kw_only=True):
    """What was there for the server: each datagram is delivered once."""

    nonce: str
    beats: dict[str, bytes]
    """Sender -> its newest datagram."""


class WitnessKey(msgspec.Struct, frozen=True, kw_only=True, tag_field=DERIVED_FIELD, tag="witness"):
    """The file of `clpcfctrl --keygen --for witness`, JSON: what a witness signs and checks with.

    These are the keys that servers make from the authkey, so they need not know of the file.
    """

    name: str
    pairs: dict[str, tuple[bytes, bytes]]
    """Path -> the keys of requests and of answers."""


def witness_key(authkey: bytes) -> bytes:
    """What a witness needs instead of the authkey."""
    return msgspec.json.encode(_witness_key(authkey))


def _witness_key(authkey: bytes) -> WitnessKey:
    if is_derived(authkey):
        try:
            key = msgspec.json.decode(authkey, type=WitnessKey)
        except msgspec.MsgspecError:
            raise ValueError(f"it was made for another purpose ({REMAKE} witness)") from None
        if not {PATH, MAIL_PATH} <= key.pairs.keys():
            raise ValueError(f"it is of another version ({REMAKE} witness)")
        return key
    pairs = {
        path: (
            _derived(authkey, f"clptools witness ask {path}".encode()),
            _derived(authkey, f"clptools witness answer {path}".encode()),
        )
        for path in (PATH, MAIL_PATH)
    }
    return WitnessKey(name=_derived(authkey, b"clptools witness name 1").hex()[:16], pairs=pairs)


class Signer:
    """Signs and checks with keys made from one authkey, for one purpose (a path)."""

    def __init__(self, authkey: bytes, purpose: str = PATH) -> None:
        """`authkey`: the cluster's, or a `WitnessKey`.  Raises ValueError: for someone else."""
        key = _witness_key(authkey)
        self._ask, self._answer = key.pairs[purpose]
        self.name = key.name
        """Tells clusters of the same name apart; says nothing of the key."""

    def sign_ask(self, body: bytes) -> str:
        """The MAC of a request."""
        return hmac.digest(self._ask, body, "sha256").hex()

    def sign_answer(self, body: bytes) -> str:
        """The MAC of an answer."""
        return hmac.digest(self._answer, body, "sha256").hex()

    def is_ask(self, body: bytes, mac: str) -> bool:
        """Whether one who has the authkey asked this."""
        return hmac.compare_digest(self.sign_ask(body).encode(), mac.encode())

    def is_answer(self, body: bytes, mac: str) -> bool:
        """Whether one who has the authkey answered this."""
        return hmac.compare_digest(self.sign_answer(body).encode(), mac.encode())


def _derived(authkey: bytes, purpose: bytes) -> bytes:
    return hmac.digest(authkey, purpose, hashlib.sha256)


# ---------------------------------------------------------------------- the arbiter

A = TypeVar("A", Answer, Mail)


def build(arbiter: Arbiter, context: ArbiterContext) -> WitnessArbiter:
    """The arbiter of this definition."""
    return WitnessArbiter(arbiter, context)


class _Witness:
    """One purpose (a path) of one witness server; both ends sign."""

    def __init__(self, url: str, ca: str, context: ArbiterContext, path: str) -> None:
        self.url = url
        self._ca = ca
        self._path = path
        self._signer = Signer(context.authkey, path)
        self._site: Site | None = None

    async def exchange(self, asked: Ask | Post, kind: type[A]) -> A:
        """What it answers to exactly this.  Raises HttpError, ClpError; bounded by the caller."""
        if self._site is None:
            self._site = Site(self.url, client_tls(self.url, self._ca))
        body = msgspec.json.encode(asked)
        headers = (("Content-Type", "application/json"), (MAC_HEADER, self._signer.sign_ask(body)))
        found = await self._site.request("POST", self._path, body=body, headers=headers)
        if found.status == 403:
            raise HttpError("it does not know this cluster's authkey")
        if found.status != 200:
            raise HttpError(f"answered with status {found.status}")
        if not self._signer.is_answer(found.body, found.header(MAC_HEADER)):
            raise HttpError("the answer is not signed with this cluster's authkey")
        try:
            answer = msgspec.json.decode(found.body, type=kind)
        except msgspec.DecodeError:
            raise HttpError("the answer is not a witness's") from None
        if answer.nonce != asked.nonce:
            raise HttpError("the answer belongs to another request")
        return answer


class Options(VariantOptions, frozen=True, kw_only=True):
    """Where the witness is."""

    url: str
    ca: str = ""


class WitnessArbiter:
    """Holds this cluster's lease at one witness server."""

    def __init__(self, arbiter: Arbiter, context: ArbiterContext) -> None:
        self._name = arbiter.name
        self._context = context
        options = read(Options, arbiter.options)
        self._witness = _Witness(options.url, options.ca, context, PATH)
        self._ticket = ""

    async def hold(self, lease_ms: int) -> Held:
        """Take or renew the lease."""
        timeout_s = self._context.timeout_ms / 1000
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._ask("hold", lease_ms)
        except ClpError as error:
            return self._failed(error.message)
        except HttpError as error:
            return self._failed(str(error))
        except TimeoutError:
            return self._failed(f"no answer within {timeout_s:g} s")
        if answer.error:
            return self._failed(answer.error)
        return Held(held=answer.held, holder=answer.holder)

    async def release(self) -> None:
        """Give the lease back."""
        try:
            async with asyncio.timeout(self._context.timeout_ms / 1000):
                await self._ask("release", 0)
        except (ClpError, HttpError, TimeoutError):
            return  # it runs out

    async def close(self) -> None:
        """No connection is kept."""

    async def _ask(self, op: str, lease_ms: int) -> Answer:
        for _ in range(3):  # an earlier request, still on its way, may use up a ticket
            asked = Ask(
                cluster=self._context.cluster,
                server=self._context.server,
                token=self._context.token,
                op=op,
                lease_ms=lease_ms,
                ticket=self._ticket,
                nonce=secrets.token_hex(16),
            )
            answer = await self._witness.exchange(asked, Answer)
            self._ticket = answer.ticket
            if not answer.stale:
                return answer
        raise HttpError("other requests of this server come between")

    def _failed(self, text: str) -> Held:
        return Held(error=f"{self._name}: {self._witness.url}: {text}")


class MailExchange:
    """Beats to and from the other servers by way of one witness server."""

    def __init__(self, url: str, context: ArbiterContext) -> None:
        self._context = context
        self._witness = _Witness(url, "", context, MAIL_PATH)

    async def __call__(self, beats: dict[str, bytes]) -> dict[str, bytes]:
        """Server -> datagram for it; returns sender -> datagram.  Raises ClpError."""
        timeout_s = self._context.timeout_ms / 1000
        post = Post(
            cluster=self._context.cluster,
            server=self._context.server,
            nonce=secrets.token_hex(16),
            beats=beats,
        )
        try:
            async with asyncio.timeout(timeout_s):
                return (await self._witness.exchange(post, Mail)).beats
        except TimeoutError:
            fault = f"no answer within {timeout_s:g} s"
        except HttpError as error:
            fault = str(error)
        raise ClpError(ExitCode.FAILED, f"{self._witness.url}: {fault}")
