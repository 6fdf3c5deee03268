"""The witness's lease protocol: JSON over HTTP, each message under the cluster's authkey.

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
"""

from __future__ import annotations

import hashlib
import hmac

import msgspec

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


class Signer:
    """Signs and checks with keys made from one authkey, for one purpose (a path)."""

    def __init__(self, authkey: bytes, purpose: str = PATH) -> None:
        self._ask = _derived(authkey, f"clptools witness ask {purpose}".encode())
        self._answer = _derived(authkey, f"clptools witness answer {purpose}".encode())
        self.name = _derived(authkey, b"clptools witness name 1").hex()[:16]
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
