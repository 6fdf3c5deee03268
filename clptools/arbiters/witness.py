"""`witness`: a lease kept by `clpwitnessd` on a third machine, over HTTP.  Strong."""

from __future__ import annotations

import asyncio
import secrets

import msgspec

from clptools.arbiters.base import ArbiterContext, Held
from clptools.arbiters.web import Site, WebError, client_tls
from clptools.arbiters.witness_messages import MAC_HEADER, PATH, Answer, Ask, Signer
from clptools.core.settings import Arbiter
from clptools.faults import ClpError


def build(arbiter: Arbiter, context: ArbiterContext) -> WitnessArbiter:
    """The arbiter of this definition."""
    return WitnessArbiter(arbiter, context)


class WitnessArbiter:
    """Asks one witness server."""

    def __init__(self, arbiter: Arbiter, context: ArbiterContext) -> None:
        self._name = arbiter.name
        self._url = str(arbiter.options["url"])
        self._ca = str(arbiter.options.get("ca") or "")
        self._context = context
        self._signer = Signer(context.authkey)
        self._site: Site | None = None
        self._ticket = ""

    async def hold(self, lease_ms: int) -> Held:
        """Take or renew the lease."""
        timeout_s = self._context.timeout_ms / 1000
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._ask("hold", lease_ms)
        except ClpError as error:
            return self._failed(error.message)
        except WebError as error:
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
        except (ClpError, WebError, TimeoutError):
            return  # it runs out

    async def close(self) -> None:
        """No connection is kept."""

    async def _ask(self, op: str, lease_ms: int) -> Answer:
        if self._site is None:
            self._site = Site(self._url, client_tls(self._url, self._ca))
        for _ in range(3):  # a request of before, still on its way, may use up a ticket
            answer = await self._exchange(self._site, op, lease_ms)
            self._ticket = answer.ticket
            if not answer.stale:
                return answer
        raise WebError("other requests of this server come between")

    async def _exchange(self, site: Site, op: str, lease_ms: int) -> Answer:
        nonce = secrets.token_hex(16)
        body = msgspec.json.encode(
            Ask(
                cluster=self._context.cluster,
                server=self._context.server,
                token=self._context.token,
                op=op,
                lease_ms=lease_ms,
                ticket=self._ticket,
                nonce=nonce,
            )
        )
        headers = (("Content-Type", "application/json"), (MAC_HEADER, self._signer.sign_ask(body)))
        found = await site.request("POST", PATH, body=body, headers=headers)
        if found.status == 403:
            raise WebError("it does not know this cluster's authkey")
        if found.status != 200:
            raise WebError(f"answered with status {found.status}")
        if not self._signer.is_answer(found.body, found.header(MAC_HEADER)):
            raise WebError("the answer is not signed with this cluster's authkey")
        try:
            answer = msgspec.json.decode(found.body, type=Answer)
        except msgspec.DecodeError:
            raise WebError("the answer is not a witness's") from None
        if answer.nonce != nonce:
            raise WebError("the answer belongs to another request")
        return answer

    def _failed(self, text: str) -> Held:
        return Held(error=f"{self._name}: {self._url}: {text}")
