"""`http`: held while a web server answers.  Weak: both halves of a partition may reach it.

Any status below 500 counts (a page that wants a login is an answer, too), since what is asked
is whether this server is still connected to the rest of the network.
"""

from __future__ import annotations

import asyncio
import ssl

from clptools.arbiters.base import ArbiterContext, Held
from clptools.common.http import HttpError, client_tls
from clptools.common.http_client import Site
from clptools.core.model.options import VariantOptions, read
from clptools.core.model.settings import Arbiter
from clptools.faults import ClpError

_NO_HEAD = (405, 501)


class Options(VariantOptions, frozen=True, kw_only=True):
    """Where it is asked."""

    url: str
    ca: str = ""


def build(arbiter: Arbiter, context: ArbiterContext) -> HttpArbiter:
    """The arbiter of this definition."""
    return HttpArbiter(arbiter, context)


class HttpArbiter:
    """Asks with HEAD, and with GET where that is not understood."""

    def __init__(self, arbiter: Arbiter, context: ArbiterContext) -> None:
        self._name = arbiter.name
        options = read(Options, arbiter.options)
        self._url = options.url
        self._ca = options.ca
        self._timeout_ms = context.timeout_ms
        self._site: Site | None = None

    async def hold(self, lease_ms: int) -> Held:
        """Held if there is an answer; the lease has no end of its own."""
        try:
            async with asyncio.timeout(self._timeout_ms / 1000):
                site = self._open()
                answer = await site.request("HEAD")
                if answer.status in _NO_HEAD:
                    answer = await site.request("GET", status_only=True)
        except ClpError as error:
            return self._failed(error.message)
        except HttpError as error:
            return self._failed(str(error))
        except TimeoutError:
            return self._failed(f"no answer within {self._timeout_ms / 1000:g} s")
        if answer.status >= 500:
            return self._failed(f"answered with status {answer.status}")
        return Held(held=True)

    async def release(self) -> None:
        """Nothing is kept there."""

    async def close(self) -> None:
        """No connection is kept."""

    def _open(self) -> Site:
        if self._site is None:
            tls: ssl.SSLContext | None = client_tls(self._url, self._ca)
            self._site = Site(self._url, tls)
        return self._site

    def _failed(self, text: str) -> Held:
        return Held(error=f"{self._name}: {self._url}: {text}")
