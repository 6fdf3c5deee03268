"""Whether alerts of BMCs arrive: `clpbmccnf --alerts`, `clptrap test --through-bmc`, `clpcfchk`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from clptools import paths
from clptools.faults import ClpError, ExitCode
from clptools.hardware.alerts import AlertWay, Finding, Wanted
from clptools.hardware.ipmi import BmcClient, IpmiProcesses
from clptools.hardware.ipmi_alerts import IpmiAlerts
from clptools.hardware.ipmi_device import LocalIpmi, OwnBmc
from clptools.hardware.ipmi_requests import BmcError
from clptools.hardware.ipmi_requests import mend as mend_of
from clptools.intake.admission import admissions, communities

if TYPE_CHECKING:
    from clptools.cli.redfish_alerts import RedfishAlerts
    from clptools.core.model.settings import Bmc, Settings

_CHANNELS = {"stream": "event stream", "log": "log"}
PATIENCE_S = 60.0
"""For all requests to one BMC: up to 200, each of 0.1 s where the BMC is slow."""


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """The way of alerts from one BMC to one keyword address, as it was found."""

    server: str
    bmc: str
    address: str
    findings: tuple[Finding, ...] = ()
    fault: str = ""
    """Why it could not be checked; empty: it was."""
    mend: str = ""
    """What a person can do about that; empty: nothing is known."""
    tells: str = "trap"
    """What comes this way: `trap`, or `event` of Redfish."""
    channel: str = "push"
    """As `AlertWay` has it."""

    @property
    def clear(self) -> bool:
        """Whether a trap would arrive."""
        return not self.findings and not self.fault

    @property
    def arrival(self) -> str:
        """How what it tells arrives, where nothing is in the way."""
        if self.channel == "push":
            return f"its {self.tells}s are sent to {self.address}"
        return f"the agent reads its {self.tells}s from its {_CHANNELS[self.channel]}"


def wanted_of(settings: Settings, server: str) -> tuple[Wanted, ...]:
    """The keyword addresses of one server, and what its monitors take there.

    Redfish events go to the first alone, for all monitors.
    """
    places = admissions(settings, server)[: 1 if is_redfish(settings, server) else None]
    own = settings.server(server)
    user = own.bmc.user if own is not None and own.bmc is not None else ""
    return tuple(
        Wanted(
            server=server,
            host=place.address.host,
            port=place.address.port,
            communities=tuple(
                community.decode()
                for monitor in place.monitors
                for community in sorted(communities(monitor))
            ),
            user=user,
        )
        for place in places
    )


def is_redfish(settings: Settings, server: str) -> bool:
    """Whether the BMC of that server speaks Redfish."""
    found = settings.server(server)
    return found is not None and found.bmc is not None and found.bmc.is_redfish


def servers_of(settings: Settings, names: Iterable[str]) -> tuple[str, ...]:
    """The servers whose BMC is to send traps.  Raises ClpError: one is unknown, or none."""
    chosen = tuple(names) or settings.names
    for name in chosen:
        if settings.server(name) is None:
            known = ", ".join(settings.names)
            raise ClpError(ExitCode.NO_SUCH, f"{name}: no such server.", f"Known: {known}")
    found = tuple(
        name
        for name in chosen
        if (own := settings.server(name)) and own.bmc and admissions(settings, name)
    )
    if not found:
        raise ClpError(
            ExitCode.NO_SUCH,
            f"No message receive monitor waits for traps of a BMC on {' or '.join(chosen)}.",
            'Give an mrw category = "BMCNOTICE" and keyword_on, and each server its [server.bmc].',
        )
    return found


@asynccontextmanager
async def alert_ways(
    settings: Settings, servers: Iterable[str], own: str
) -> AsyncIterator[dict[str, AlertWay]]:
    """The access to the alerts of these servers' BMCs; `own`: this server."""
    processes = IpmiProcesses()
    closing: list[BmcClient | OwnBmc | RedfishAlerts] = []
    ways: dict[str, AlertWay] = {}
    try:
        for name in servers:
            server = settings.server(name)
            assert server is not None and server.bmc is not None, "servers_of() comes first"
            ways[name] = _way(name, server.bmc, name == own, processes, closing)
        yield ways
    finally:
        for each in closing:
            each.close()
        await processes.close()


def _way(
    server: str,
    bmc: Bmc,
    is_own: bool,
    processes: IpmiProcesses,
    closing: list[BmcClient | OwnBmc | RedfishAlerts],
) -> AlertWay:
    """The access for the BMC's protocol; no other place knows the protocols."""
    if bmc.is_redfish:
        from clptools.cli.redfish_alerts import RedfishAlerts

        service = RedfishAlerts(server, bmc)
        closing.append(service)
        return service
    lan = BmcClient(server, bmc, paths.bmc_password_file(server), processes)
    closing.append(lan)
    # A node below CLP_ROOT does not stand for the machine that it runs on.
    if not is_own or paths.root():
        return IpmiAlerts(lan, bmc.address)
    asked = OwnBmc(lan, LocalIpmi())
    closing.append(asked)
    return IpmiAlerts(asked, bmc.address)


async def look(settings: Settings, servers: Iterable[str], own: str) -> list[Way]:
    """The ways from these servers' BMCs; all BMCs are asked at once."""
    async with alert_ways(settings, servers, own) as ways:
        found = await asyncio.gather(
            *(
                looked_at(way, wanted)
                for name, way in ways.items()
                for wanted in wanted_of(settings, name)
            )
        )
    return list(found)


async def looked_at(way: AlertWay, wanted: Wanted) -> Way:
    """The way from one BMC to one address."""
    found: tuple[Finding, ...] = ()
    fault = hint = ""
    try:
        async with asyncio.timeout(PATIENCE_S):
            found = await way.check(wanted)
    except TimeoutError:
        fault = f"its BMC was not through within {PATIENCE_S:g} s"
    except ClpError as error:
        fault, hint = error.message, how_to_mend(error, wanted)
    return Way(
        server=wanted.server,
        bmc=way.where,
        address=wanted.where,
        findings=found,
        fault=fault,
        mend=hint,
        tells=way.tells,
        channel=way.channel,
    )


def how_to_mend(error: ClpError, wanted: Wanted) -> str:
    """What a person can do about a BMC that does not answer as it should."""
    own = isinstance(error, BmcError) and mend_of(wanted.server, wanted.user, error.fault)
    return own or error.hint


async def mend(settings: Settings, servers: Iterable[str], own: str) -> tuple[list[Way], list[str]]:
    """Sets what can be set; returns the ways afterwards, and what the BMCs refused."""
    refused: list[str] = []
    async with alert_ways(settings, servers, own) as ways:
        found: list[Way] = []
        for name, way in ways.items():
            # One address after the other: the second must not replace the first.
            for wanted in wanted_of(settings, name):
                refused += await _set(way, await looked_at(way, wanted))
            found += [await looked_at(way, wanted) for wanted in wanted_of(settings, name)]
    return found, refused


async def _set(way: AlertWay, found: Way) -> list[str]:
    refused = []
    for finding in found.findings:
        if not finding.changes:
            continue
        try:
            await way.set(finding)
        except ClpError as error:
            refused.append(f"{error.message}.")
    return refused


def as_text(way: Way) -> str:
    """One way in lines."""
    head = f"{way.server} (BMC {way.bmc} to {way.address}): "
    if way.fault:
        return f"{head}cannot be told. {way.fault}." + (f"\n    {way.mend}" if way.mend else "")
    if way.clear:
        return f"{way.server} (BMC {way.bmc}): {way.arrival}."
    lines = [f"{head}"]
    lines[0] += f"{len(way.findings)} thing{'s' * (len(way.findings) > 1)} in the way."
    for finding in way.findings:
        lines.append(f"  - {finding.text}" + (" (can be set)" if finding.changes else ""))
        if finding.hint:
            lines.append(f"    {finding.hint}")
    return "\n".join(lines)


def as_object(way: Way) -> dict[str, object]:
    """One way for programs."""
    return {
        "server": way.server,
        "bmc": way.bmc,
        "address": way.address,
        "sends": None if way.fault else way.clear,
        "channel": way.channel if way.clear else None,
        "error": way.fault or None,
        "findings": [
            {"text": f.text, "can_be_set": bool(f.changes), "hint": f.hint or None}
            for f in way.findings
        ],
    }
