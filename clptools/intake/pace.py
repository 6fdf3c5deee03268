"""How fast events are judged, so that who never stops talking does not keep the agent busy."""

from __future__ import annotations

import asyncio

JUDGE_S, REST_S = 0.002, 0.006
"""How long events are judged in one turn, and the pause before the next."""


class Pace:
    """Gives turns: heartbeats, and everything else in the loop, come between them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._ends_at = 0.0
        self._lock = asyncio.Lock()

    async def turn(self) -> None:
        """Returns when one more event may be judged: at once, unless many came before it."""
        async with self._lock:
            since_s = self._loop.time() - self._ends_at
            if since_s < 0:
                return
            await asyncio.sleep(REST_S if since_s < REST_S else 0)
            self._ends_at = self._loop.time() + JUDGE_S
