"""Beats by way of the witness server: the boxes there, and a server's side of the exchange."""

from __future__ import annotations

import asyncio
import secrets

import msgspec

from clptools.arbiters.base import ArbiterContext
from clptools.arbiters.web import Site, WebError, client_tls
from clptools.arbiters.witness_messages import (
    MAC_HEADER,
    MAIL_PATH,
    MAX_MAIL_BYTES,
    Mail,
    Post,
    Signer,
)
from clptools.faults import ClpError, ExitCode

MAX_SERVERS = 64
MAX_CLUSTERS = 256
MAX_AGE_MS = 2_000
_BASE64_BYTES = MAX_MAIL_BYTES * 3 // 5
"""So much in a box fits into an answer as base64 with its names."""


class Mailboxes:
    """Whoever is here has the authkey; the bounds are against faults, not strangers."""

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
            if server not in boxes and len(boxes) >= MAX_SERVERS:
                continue
            box = boxes.setdefault(server, {})
            box.pop(post.server, None)
            if len(beat) + sum(len(other) for _, other in box.values()) <= _BASE64_BYTES:
                box[post.server] = now, beat
        # A server that was away must not take what it finds for a sign of life.
        young = {sender: beat for sender, (at, beat) in found.items() if now - at <= MAX_AGE_MS}
        return Mail(nonce=post.nonce, beats=young)


class MailExchange:
    """One server's way to one witness."""

    def __init__(self, url: str, context: ArbiterContext) -> None:
        self._url = url
        self._context = context
        self._signer = Signer(context.authkey, MAIL_PATH)
        self._site: Site | None = None

    async def __call__(self, beats: dict[str, bytes]) -> dict[str, bytes]:
        """Server -> datagram for it; returns sender -> datagram.  Raises ClpError."""
        timeout_s = self._context.timeout_ms / 1000
        try:
            async with asyncio.timeout(timeout_s):
                return await self._exchange(beats)
        except TimeoutError:
            fault = f"no answer within {timeout_s:g} s"
        except WebError as error:
            fault = str(error)
        raise ClpError(ExitCode.FAILED, f"{self._url}: {fault}")

    async def _exchange(self, beats: dict[str, bytes]) -> dict[str, bytes]:
        if self._site is None:
            self._site = Site(self._url, client_tls(self._url))
        nonce = secrets.token_hex(16)
        body = msgspec.json.encode(
            Post(
                cluster=self._context.cluster,
                server=self._context.server,
                nonce=nonce,
                beats=beats,
            )
        )
        headers = ((MAC_HEADER, self._signer.sign_ask(body)),)
        answer = await self._site.request("POST", MAIL_PATH, body=body, headers=headers)
        if answer.status == 403:
            raise WebError("it does not know this cluster's authkey")
        if answer.status != 200:
            raise WebError(f"answered with status {answer.status}")
        if not self._signer.is_answer(answer.body, answer.header(MAC_HEADER)):
            raise WebError("the answer is not signed with this cluster's authkey")
        try:
            mail = msgspec.json.decode(answer.body, type=Mail)
        except msgspec.DecodeError:
            raise WebError("the answer is not a witness's") from None
        if mail.nonce != nonce:
            raise WebError("the answer belongs to another request")
        return mail.beats
