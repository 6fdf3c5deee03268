"""PET Acknowledge: a BMC that is set up so sends a trap again until somebody says that it came.

Whether it is, its alert destination tells (IPMI 2.0, table 23-4, parameter 18), asked when its
first trap comes.  A BMC that does not tell, but resends, wants it as well.  Acknowledged is what is
on the disk: what could not be kept shall come again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable

from clptools.core.notices.form import Notice
from clptools.faults import ClpError
from clptools.hardware.alerts import SENSOR_EVENT, IpmiAlerts, plain
from clptools.hardware.ipmi import Asked
from clptools.hardware.notices import NotAcknowledged

_PET_ACKNOWLEDGE = 0x17
_WAITING = 256
"""Traps to be acknowledged; in a storm the BMC sends the others again."""
_REMEMBERED = 1_024
_ASK_AGAIN_S = 60.0
_PATIENCE_S = 2.0


def acknowledgement(octets: bytes) -> bytes:
    """The request that acknowledges a PET with these octets (IPMI 2.0, 30.8), LS byte first."""
    return b"".join(
        (octets[17:15:-1], octets[21:17:-1], octets[25:26], octets[27:29], octets[31:34])
    )


class Acknowledger:
    """Acknowledges traps of the own BMC, where that wants it."""

    def __init__(self, on_change: Callable[[Notice], None]) -> None:
        """`on_change` is told where the BMC takes none."""
        self._on_change = on_change
        self._alerts: IpmiAlerts | None = None
        self._bmc: Asked | None = None
        self._hosts: frozenset[str] = frozenset()
        self._wanted: bool | None = None
        """None: not known yet."""
        self._ask_at_s = 0.0
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._queue: asyncio.Queue[bytes] = asyncio.Queue(_WAITING)
        self._working: asyncio.Task[None] | None = None
        self._told = False

    def apply(self, bmc: Asked | None, address: str, hosts: frozenset[str]) -> None:
        """Knows the own BMC, if there is one, and the keyword addresses."""
        if bmc is self._bmc and hosts == self._hosts:
            return
        self.close()
        self._bmc, self._hosts = bmc, frozenset(map(plain, hosts))
        self._alerts = None if bmc is None else IpmiAlerts(bmc, address)
        self._wanted, self._ask_at_s, self._told = None, 0.0, False

    def taken(self, octets: bytes) -> None:
        """A PET of the own BMC is on the disk, now or since before."""
        if self._alerts is None or len(octets) < 34:
            return
        if octets in self._seen:
            self._wanted = True
        self._seen[octets] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        if self._wanted is False or self._queue.full():
            return
        self._queue.put_nowait(octets)
        if self._working is None or self._working.done():
            self._working = asyncio.get_running_loop().create_task(self._work())

    def close(self) -> None:
        """Acknowledges nothing more."""
        if self._working is not None:
            self._working.cancel()
            self._working = None
        while not self._queue.empty():
            self._queue.get_nowait()

    async def _work(self) -> None:
        while not self._queue.empty():
            octets = self._queue.get_nowait()
            if self._wanted is None:
                await self._ask()
            if self._wanted and self._bmc is not None:
                await self._send(self._bmc, octets)

    async def _ask(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if self._alerts is None or now_s < self._ask_at_s:
            return
        self._ask_at_s = now_s + _ASK_AGAIN_S
        try:
            found = await self._alerts.destinations()
        except ClpError:
            return  # that its BMC does not answer is told by others
        if self._wanted is None:
            self._wanted = any(d.acknowledged for d in found if d.address in self._hosts)

    async def _send(self, bmc: Asked, octets: bytes) -> None:
        data = acknowledgement(octets)
        try:
            await bmc.command(
                "PET acknowledge", SENSOR_EVENT, _PET_ACKNOWLEDGE, data, patience_s=_PATIENCE_S
            )
        except ClpError as error:
            if not self._told:
                self._told = True
                self._on_change(NotAcknowledged(error.message))
