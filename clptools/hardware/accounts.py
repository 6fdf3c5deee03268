"""What our accounts may do at the BMCs, and how soon these answer, asked once, for whoever checks
a configuration.

Sources: IPMI 2.0, 22.18 and appendix G (Chassis Control needs OPERATOR); DMTF DSP0266,
privilege model, and DSP8011: ComputerSystem.Reset needs the privilege ConfigureComponents, which
the standard roles Administrator and Operator have and ReadOnly has not.
"""

from __future__ import annotations

import asyncio
import contextlib
from math import ceil

from clptools import paths
from clptools.common.redfish import ROOT, RedfishError, Service, link, links, system_path, text_of
from clptools.config.files import read_bmc_password
from clptools.core.model.machine import AccountFault
from clptools.core.model.settings import Bmc, Settings
from clptools.core.model.words import BmcAction
from clptools.hardware.ipmi import BmcClient, IpmiProcesses
from clptools.hardware.ipmi_requests import CHASSIS, BmcError, mend
from clptools.hardware.redfish import access_of

WITHIN_S = 8.0
"""For all of them, which are asked at once."""
_STATUS = 0x01
_ACCOUNTS = 32
_NEEDED = "ConfigureComponents"
_ANSWERS = 4
"""Of a BMC, from the order to the off that is read: so many did forced stops of slow BMCs take."""


async def account_faults(
    settings: Settings, servers: tuple[str, ...], within_s: float = WITHIN_S
) -> dict[str, AccountFault]:
    """Server -> what our account lacks at its BMC, or what keeps it out.

    Servers whose account suffices are omitted.
    """
    processes = IpmiProcesses()
    bmcs = {s.name: s.bmc for s in settings.servers if s.bmc is not None and s.name in servers}
    try:
        faults = await asyncio.gather(
            *(_asked(settings, name, bmc, processes, within_s) for name, bmc in bmcs.items())
        )
    finally:
        await processes.close()
    return {name: fault for name, fault in zip(bmcs, faults, strict=True) if fault is not None}


async def _asked(
    settings: Settings, server: str, bmc: Bmc, processes: IpmiProcesses, within_s: float
) -> AccountFault | None:
    try:
        async with asyncio.timeout(within_s):
            if bmc.is_redfish:
                lacks, answer_ms = await _by_redfish(server, bmc)
            else:
                lacks, answer_ms = await _by_ipmi(server, bmc, processes, within_s - 1)
    except (BmcError, RedfishError) as error:
        fault = error.fault if isinstance(error, BmcError) else str(error)
        text = f"the rights of our account cannot be told: {fault}"
        return AccountFault(text=text, mend=mend(server, bmc.user, fault))
    except TimeoutError:
        text = f"the rights of our account cannot be told: no answer within {within_s:g} s"
        return AccountFault(text=text)
    if not lacks:
        return _slow(settings, answer_ms)
    text = f"{lacks}: a forced stop, and final actions of this BMC, will be refused"
    return AccountFault(text=text, mend=mend(server, bmc.user, "level user"), reads=True)


def _slow(settings: Settings, answer_ms: int) -> AccountFault | None:
    """What a BMC's slowness means for servers that take turns in fencing each other.

    Four fifths of a turn are what is left of it once the other server noticed (`docs/rules.md`,
    *Known remaining risks*).
    """
    delay_ms, stop_ms = settings.cluster.fence_delay_ms, _ANSWERS * answer_ms
    fences = settings.forced_stop.action is not BmcAction.NONE and settings.halves_take_turns
    if not fences or stop_ms * 5 <= delay_ms * 4:
        return None
    return AccountFault(
        text=f"it takes {answer_ms / 1000:.1f} s for an answer, so a forced stop takes "
        f"{stop_ms / 1000:.0f} s or more; with fence_delay = {delay_ms / 1000:g} two servers that "
        "do not hear each other can both go off",
        mend=f"Write fence_delay = {ceil(stop_ms / 800)} or more.",
        reads=True,
        stops=True,
    )


async def _by_ipmi(
    server: str, bmc: Bmc, processes: IpmiProcesses, patience_s: float
) -> tuple[str, int]:
    """What the account lacks, and how long one answer took in a session (ms).  Raises BmcError."""
    client = BmcClient(server, bmc, paths.bmc_password_file(server), processes)
    try:
        read = await client.ask("chassis status", CHASSIS, _STATUS, patience_s=patience_s)
        lacks = f"{bmc.user} has the level USER there" if client.level == "USER" else ""
        return lacks, read.latency_ms
    finally:
        client.close()


async def _by_redfish(server: str, bmc: Bmc) -> tuple[str, int]:
    """As `_by_ipmi`.  Raises RedfishError."""
    loop = asyncio.get_running_loop()
    service = Service(
        access_of(bmc), lambda: read_bmc_password(server), lambda: round(loop.time() * 1000)
    )
    try:
        path = await system_path(service, bmc.system)
        begun = loop.time()
        await service.get(path)
        answer_ms = round((loop.time() - begun) * 1000)
        # Who may not even read accounts is not told apart from who may do all.
        with contextlib.suppress(RedfishError):
            return await _role(service, bmc.user), answer_ms
        return "", answer_ms
    finally:
        service.close()


async def _role(service: Service, user: str) -> str:
    """What the role of that account lacks; empty: nothing, or nobody says.  Raises RedfishError."""
    accounts = link(await service.get(ROOT), "AccountService")
    members = link(await service.get(accounts), "Accounts") if accounts else ""
    for path in links(await service.get(members), "Members")[:_ACCOUNTS] if members else ():
        account = await service.get(path)
        if account.get("UserName") != user:
            continue
        role = text_of(account.get("RoleId"), 40)
        where = link(account, "Links", "Role")
        has = (await service.get(where)).get("AssignedPrivileges") if where else None
        lacks = _NEEDED not in has if isinstance(has, list) else role == "ReadOnly"
        return f"{user} has the role {role or 'without a name'} there" if lacks else ""
    return ""
