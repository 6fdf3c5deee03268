"""`ping`: held while one of some addresses answers.  Weak: both halves may reach them."""

from __future__ import annotations

import asyncio

from clptools.arbiters.base import ArbiterContext, Held
from clptools.common.ping import ping
from clptools.core.model.options import VariantOptions, read
from clptools.core.model.settings import Arbiter


class Options(VariantOptions, frozen=True, kw_only=True):
    """Who is asked."""

    targets: tuple[str, ...]


def build(arbiter: Arbiter, context: ArbiterContext) -> PingArbiter:
    """The arbiter of this definition."""
    return PingArbiter(arbiter, context)


class PingArbiter:
    """Asks all targets at once, each a few times within the time-out."""

    def __init__(self, arbiter: Arbiter, context: ArbiterContext) -> None:
        self._name = arbiter.name
        self._targets = read(Options, arbiter.options).targets
        self._timeout_ms = context.timeout_ms

    async def hold(self, lease_ms: int) -> Held:
        """Held as soon as one target answers; the lease has no end of its own."""
        timeout_s = self._timeout_ms / 1000
        asked = [asyncio.create_task(ping(target, timeout_s)) for target in self._targets]
        faults: set[str] = set()
        try:
            for done in asyncio.as_completed(asked):
                try:
                    if await done:
                        return Held(held=True)
                except OSError as error:
                    faults.add((error.strerror or str(error)).lower())
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        reason = f" ({', '.join(sorted(faults))})" if faults else ""
        names = ", ".join(self._targets)
        return Held(error=f"{self._name}: no answer from {names} within {timeout_s:g} s{reason}")

    async def release(self) -> None:
        """Nothing is kept there."""

    async def close(self) -> None:
        """No socket is kept."""
