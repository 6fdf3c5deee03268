"""Hardware events of this server's own BMC by Redfish, as a trap would tell them.

`BmcWatch` watches one BMC; this module decides which one, and for which monitors, by the
configuration in force.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Awaitable, Callable

from clptools.core.model.events import HardwareSeen
from clptools.core.model.settings import Bmc, Settings
from clptools.core.notices.form import Notice
from clptools.intake.admission import admissions
from clptools.intake.redfish_events import EventTable
from clptools.intake.redfish_reports import RedfishCounters
from clptools.intake.redfish_watch import BmcWatch

OnEvent = Callable[[HardwareSeen], Awaitable[None]]


def _secret(authkey: bytes, server: str) -> str:
    """The path that the BMC sends to."""
    word = hmac.digest(authkey, f"redfish push {server}".encode(), hashlib.sha256).hex()
    return f"/redfish/{word[:40]}"


class RedfishEvents:
    """The events of one agent's own BMC, while that speaks Redfish.

    `on_event` returns once the event is durable; `note` takes one line for people.
    """

    def __init__(
        self,
        server: str,
        authkey: bytes,
        on_event: OnEvent,
        note: Callable[[Notice], None],
    ) -> None:
        self.counters = RedfishCounters()
        self._server = server
        self._on_event = on_event
        self._note = note
        self._secret = _secret(authkey, server)
        self._settings: Settings | None = None
        self._bmc: Bmc | None = None
        self._watch: BmcWatch | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def apply(self, settings: Settings) -> None:
        """Begins, ends or begins anew what the configuration changes."""
        self._settings = settings
        heard = admissions(settings, self._server)
        own = settings.server(self._server)
        bmc = own.bmc if own is not None and own.bmc is not None and own.bmc.is_redfish else None
        monitors = tuple(m.name for admission in heard for m in admission.monitors)
        address = heard[0].address if heard else None
        if bmc is None or address is None:
            self._end()
            return
        table = EventTable(settings.trap_profiles)
        if self._watch is not None and self._bmc == bmc and self._watch.address == address:
            delivery = self._watch.delivery
            delivery.monitors, delivery.table = monitors, table
            return
        self._end()
        self._bmc = bmc
        self._watch = BmcWatch(self, bmc, address, self._secret, monitors, table)
        self._watch.start()

    def use(self, authkey: bytes) -> None:
        """Has the BMC send to a place that only this key tells."""
        self._secret = _secret(authkey, self._server)
        self._end()
        if self._settings is not None:
            self.apply(self._settings)

    def _end(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            task = asyncio.get_running_loop().create_task(watch.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Ends it; what was taken becomes durable first."""
        self._end()
        await asyncio.gather(*self._closing, return_exceptions=True)

    @property
    def server(self) -> str:
        """Whose BMC it is."""
        return self._server

    def note(self, notice: Notice) -> None:
        """One line for people."""
        self._note(notice)

    async def deliver(self, event: HardwareSeen) -> None:
        """Returns once it is durable.  Raises OSError."""
        await self._on_event(event)
