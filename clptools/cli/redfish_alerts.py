"""Whether events arrive from a BMC that speaks Redfish; see `bmc_alerts`.

Nothing is set there: the agent opens the stream or subscribes while it runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets

from clptools.common.redfish import ROOT, Json, RedfishError, Service, link, links, path_of
from clptools.config.files import read_bmc_password
from clptools.core.model.settings import Bmc
from clptools.faults import ClpError, ExitCode
from clptools.hardware.alerts import Finding, Wanted
from clptools.hardware.ipmi_requests import BmcError
from clptools.hardware.redfish import access_of, send_test_event
from clptools.intake.redfish_log import find_logs

_SUBSCRIPTIONS_MOST = 32


class RedfishAlerts:
    """Checks whether a service sends its events, by any of three ways."""

    tells = "event"

    def __init__(self, server: str, bmc: Bmc) -> None:
        self._server = server
        self._bmc = bmc
        self.channel = "stream"
        self._service = Service(access_of(bmc), lambda: read_bmc_password(server), _now_ms)

    @property
    def where(self) -> str:
        """Address and port of the service."""
        return self._bmc.where

    async def check(self, wanted: Wanted) -> tuple[Finding, ...]:
        """What keeps events away; empty: they come.  Raises BmcError."""
        try:
            events = await self._event_service()
            log = await self._has_log()
            stream = bool(path_of(events.get("ServerSentEventUri")))
            pushed = not stream and await self._is_subscribed(events, wanted)
        except RedfishError as error:
            raise BmcError(
                self._server, self.where, "event service", 1, str(error), error.status
            ) from None
        if events.get("ServiceEnabled") is False:
            text = "its event service is switched off"
            text += ": its log alone tells, up to 10 s late" if log else ", and it has no log"
            hint = "Switch EventService (Redfish events) on in the BMC's own interface."
            return (Finding(text=text, hint=hint),)
        self.channel = "stream" if stream else "push" if pushed else "log"
        if log or stream or pushed:
            return ()
        if not events:
            text = "it has no event service, and no log of events"
            return (Finding(text=text, hint='Write protocol = "ipmi", and let it send traps.'),)
        return (
            Finding(
                text="it has no event stream, no log of events, and no subscription of this agent",
                hint=f"The agent of {self._server} subscribes while it runs: clpcl -s",
            ),
        )

    async def set(self, finding: Finding) -> None:
        """Raises ClpError: no finding has a change that is made from here."""
        raise ClpError(ExitCode.FAILED, f"{finding.text}: that is not set from here")

    async def send_test(self, wanted: Wanted) -> str:
        """Lets the service itself send an event to all who listen.  Raises BmcError."""
        await send_test_event(wanted.server, self._bmc, secrets.token_hex(4))
        return "Redfish SubmitTestEvent"

    def close(self) -> None:
        """Ends the connection."""
        self._service.close()

    async def _event_service(self) -> Json:
        """Empty where there is none."""
        path = link(await self._service.get(ROOT), "EventService")
        return await self._service.get(path) if path else {}

    async def _has_log(self) -> bool:
        try:
            paths = await find_logs(self._service.get, self._bmc.system)
            for path in paths:
                await self._service.get(path)
        except RedfishError as error:
            if not error.status or error.is_credentials:
                raise
            return False
        return bool(paths)

    async def _is_subscribed(self, events: Json, wanted: Wanted) -> bool:
        """Whether some subscription is the agent's; its secret path is not looked at."""
        path = link(events, "Subscriptions")
        if not path:
            return False
        head = f"https://{wanted.where}/redfish/"
        try:
            members = links(await self._service.get(path), "Members")
        except RedfishError as error:
            if not error.status or error.is_credentials:
                raise
            return False
        for each in members[:_SUBSCRIPTIONS_MOST]:
            with contextlib.suppress(RedfishError):
                found = (await self._service.get(each)).get("Destination")
                if isinstance(found, str) and found.startswith(head):
                    return True
        return False


def _now_ms() -> int:
    return round(asyncio.get_running_loop().time() * 1000)
