"""Warnings on a configuration as this machine would run it: files, devices, rival programs.

`facts` looks at the machine; this module only compares.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address

import msgspec

from clptools.common.system_bus import unit_name
from clptools.config.address import endpoint
from clptools.config.check import Places
from clptools.config.facts import is_device, pushed_from
from clptools.config.field import near
from clptools.config.load import Loaded
from clptools.config.monitors import BMCNOTICE, TRAP_PORT
from clptools.config.safety import Lacks
from clptools.config.scripts import ScriptUse, scripts_of
from clptools.config.variants import Registries
from clptools.core.model.machine import AgentFault, Facts, FileFault, ServerFacts
from clptools.core.model.options import watchdog_method
from clptools.core.model.settings import Monitor, Settings
from clptools.reports import Report

RIVALS = {
    "ipmievd": "shuts the server down on its own when a critical event comes",
    "bmc-watchdog": "feeds or sets the BMC's watchdog timer, which belongs to clpnode",
    "watchdog": "holds /dev/watchdog and reboots the server by its own rules",
    "wd_keepalive": "holds /dev/watchdog and feeds it whatever happens",
    "keepalived": "moves addresses by its own rules",
    "pacemakerd": "starts and stops services by its own rules",
    "corosync": "belongs to another cluster manager, which fences by its own rules",
}
"""Other programs that act on BMC events or watchdogs (hardware guide 2.2.2)."""

CLOCK_S = 2.0
"""Clocks that are further apart are reported."""

MOST_SHOWN = 12
"""A hint lists no more devices than this."""

ESMPRO_EVENTS = "C00001FD, C0000203, C0000454"


def check_machine(loaded: Loaded, facts: Facts, registries: Registries) -> tuple[Report, ...]:
    """The warnings; if this machine is none of the servers, only that."""
    settings = loaded.settings
    if settings is None:
        return ()
    return tuple(_checks(settings, Places(loaded), facts, registries))


def check_others(
    loaded: Loaded, here: str, told: Sequence[ServerFacts], registries: Registries
) -> tuple[Report, ...]:
    """The warnings on the other servers, by what their agents told; `here` is left out."""
    settings = loaded.settings
    if settings is None:
        return ()
    places = Places(loaded)
    found: list[Report] = []
    silent: dict[str, str] = {}
    own = next((one.facts.agents for one in told if one.facts and one.name == here), {})
    for server in told:
        if server.name == here or settings.server(server.name) is None:
            continue
        if server.facts is None:
            silent[server.name] = server.unreachable
            continue
        agents = _differing(server.facts.agents, own)
        facts = msgspec.structs.replace(server.facts, agents=agents)
        reports = _checks(settings, places, facts, registries)
        found += [_told_of(report, server.name) for report in reports]
        if abs(server.clock_off_s) > CLOCK_S:
            way = "ahead of" if server.clock_off_s > 0 else "behind"
            found.append(
                places.warn(
                    f"server {server.name}",
                    f"its clock is {abs(server.clock_off_s):.0f} s {way} that of {here}: the "
                    "times of the alert logs do not fit together",
                    "Set it once, and let chrony or systemd-timesyncd keep it.",
                    table=f"server:{server.name}",
                )
            )
    return (*found, *(nothing_known(places, name, why) for name, why in silent.items()))


def foreign_addresses(loaded: Loaded, here: str, told: Sequence[ServerFacts]) -> tuple[Report, ...]:
    """The warnings on addresses of `here` that it does not have, by what its agent told."""
    settings = loaded.settings
    own = next((one.facts for one in told if one.name == here), None)
    if settings is None or own is None or settings.server(here) is None:
        return ()
    return tuple(_told_of(report, here) for report in _addresses(settings, own, Places(loaded)))


def _differing(
    agents: dict[str, tuple[AgentFault, ...]], own: dict[str, tuple[AgentFault, ...]]
) -> dict[str, tuple[AgentFault, ...]]:
    """The faults of another server's agents that this one does not have: warnings, as the
    configuration may be right for an agent of another version."""
    return {
        resource: tuple(
            msgspec.structs.replace(one, severity="warning") if one.severity == "error" else one
            for one in faults
            if one not in own.get(resource, ())
        )
        for resource, faults in agents.items()
    }


def agents_unseen(loaded: Loaded, here: str) -> tuple[Report, ...]:
    """Says, of a machine that is none of the servers, which agents were compared with nothing."""
    settings = loaded.settings
    if settings is None:
        return ()
    count = sum(one.type == "ocf" for group in settings.groups for one in group.resources)
    found = [f"{count} ocf resource{'s' if count > 1 else ''}"] if count else []
    found += ["[[fence]]"] if any(one.fences for one in settings.servers) else []
    if not found:
        return ()
    message = (
        f"{here} is none of the servers: whether the agents of {' and '.join(found)} are there, "
        "and take what they are given, is not checked"
    )
    hint = "Run clpcfchk on one of the servers: it asks the others."
    return (Places(loaded).note("", message, hint),)


def nothing_known(places: Places, server: str, why: str) -> Report:
    """Nobody told anything of a server."""
    return places.note(
        f"server {server}",
        f"nothing is known of its machine ({why.rstrip('.')}): what it promises is taken at its "
        "word",
        table=f"server:{server}",
    )


def _told_of(report: Report, server: str) -> Report:
    """A report on this machine as one on another server."""
    message = report.message.replace("this machine", server)
    if server not in message:
        message = f"on {server}: {message}"
    return msgspec.structs.replace(report, message=message)


def lacks(settings: Settings, facts: Iterable[Facts]) -> Lacks:
    """Which promises of the configuration servers cannot keep, as far as is known."""
    watchdogs: dict[str, str] = {}
    unfenced: set[str] = set()
    unread: set[str] = set()
    passwords: dict[str, list[str]] = {}
    for one in facts:
        fault = _unarmed(settings, one)
        if fault:
            watchdogs[one.server] = fault
        for server, account in one.bmc.items():
            # Each server looks at its own BMC, and whoever has a password at others'.
            if not account.stops:
                unfenced.add(server)
            if not account.reads:
                unread.add(server)
        for victim in settings.servers:
            path = f"/bmc/{victim.name}"
            asks = victim.bmc is not None and victim.name != one.server
            if asks and any(file.endswith(path) for file in one.files):
                passwords.setdefault(victim.name, []).append(one.server)
        for misfit in one.fences:
            fenced = settings.server(misfit.server)
            if fenced is not None and fenced.bmc is None and len(fenced.levels) == 1:
                unfenced.add(misfit.server)
                unread.add(misfit.server)
    return Lacks(
        watchdogs=watchdogs,
        unfenced=frozenset(unfenced | set(passwords)),
        unread=frozenset(unread | set(passwords)),
        passwords={name: tuple(others) for name, others in passwords.items()},
    )


def _unarmed(settings: Settings, facts: Facts) -> str:
    """Why the configured watchdog cannot be armed on that machine; empty: nothing is known."""
    method = watchdog_method(settings, facts.server)
    own = settings.server(facts.server)
    by_lan = own is not None and own.bmc is not None and not own.bmc.is_redfish
    if method == "ipmi" and by_lan:
        return ""  # its BMC is reached over the network
    return facts.watchdogs.get(method, "")


def _checks(
    settings: Settings, places: Places, facts: Facts, registries: Registries
) -> Iterator[Report]:
    if settings.server(facts.server) is None:
        yield places.warn(
            "",
            f"this machine is {facts.server}, which is none of the servers: only the "
            "configuration itself was checked",
        )
        return
    yield from _rivals(facts, places)
    yield from _power_key(settings, facts, places)
    yield from _addresses(settings, facts, places)
    yield from _files(settings, facts, places, registries)
    for server, fault in facts.bmc.items():
        table = f"server:{server}.bmc"
        yield places.warn(f"{server}.bmc", fault.text, fault.mend, table=table)
    for misfit in facts.fences:
        yield places.warn(
            f"fence agent {misfit.fence}",
            f"for {misfit.server}, on {facts.server}: {misfit.text}",
            misfit.mend,
            table=f"fence:{misfit.fence}",
            key=misfit.key,
        )
    for server in sorted(facts.unechoed):
        yield places.warn(
            f"server {server}",
            "it answers here, but not to ICMP echoes: if its BMC errs, nothing tells a server "
            "whose agent hangs from one that is off",
            f"Let echo requests from {facts.server} through in the firewall of {server}.",
            table=f"server:{server}",
        )
    yield from _timers(settings, facts, places)
    yield from _kernel(facts, places)
    yield from _enabled(settings, facts, places)
    yield from _agents(facts.agents, places)
    for monitor in settings.monitors:
        if facts.server in monitor.servers:
            yield from _device(monitor, facts, places)


def _kernel(facts: Facts, places: Places) -> Iterator[Report]:
    """Ports, the clock and interfaces as they are."""
    for place, program in facts.taken.items():
        yield places.warn(
            "",
            f"{program} on {facts.server} has {place}, where clpnode is to listen",
            f"systemctl disable --now {program}" if " " not in program else "",
        )
    if facts.clock:
        yield places.warn(
            "",
            f"the clock of {facts.server} is not synchronised: {facts.clock}",
            "systemctl enable --now chrony, or systemd-timesyncd.",
        )
    for resource, manager in facts.managed.items():
        yield places.note(
            f"group resource {resource}",
            f"{manager} on {facts.server}, and may take its address away when it does so anew: "
            "clpnode puts it back",
            "Of networkd, KeepConfiguration=yes in its .network file spares that.",
            table=f"group.resource:{resource}",
        )


def _power_key(settings: Settings, facts: Facts, places: Places) -> Iterator[Report]:
    """Some BMCs power off by the power button; the OS then shuts down first, which takes long."""
    own = settings.server(facts.server)
    if own is None or own.bmc is None:
        return
    who = "acpid" if "acpid" in facts.processes else "logind" if facts.power_key else ""
    if who:
        mend = (
            "systemctl disable --now acpid"
            if who == "acpid"
            else "HandlePowerKey=ignore in /etc/systemd/logind.conf, then restart it"
        )
        yield places.warn(
            "",
            f"{who} of {facts.server} shuts down when the power button is pressed, as some BMCs do "
            "for a forced stop: that then takes as long as the shutdown",
            mend,
        )


def _rivals(facts: Facts, places: Places) -> Iterator[Report]:
    for name, does in RIVALS.items():
        if name in facts.processes:
            unit = "watchdog wd_keepalive" if name in ("watchdog", "wd_keepalive") else name
            yield places.warn(
                "", f"{name} runs on {facts.server} and {does}: systemctl disable --now {unit}"
            )
    if any(name.startswith("ESM") for name in facts.processes):
        yield places.warn(
            "",
            f"ESMPRO Agent runs on {facts.server}: set the events {ESMPRO_EVENTS} of "
            "ESMCOMMONSERVICE from Shutdown to No Operation, or it shuts the server down before "
            "the recovery",
        )


def _is_own(address: str, facts: Facts) -> bool:
    """Whether this machine has the address; every machine has all of 127.0.0.0/8."""
    return address.partition("%")[0] in facts.addresses or ip_address(address).is_loopback


def _reachable(facts: Facts) -> list[str]:
    """The addresses of this machine that another machine can reach."""
    own = (address.partition("%")[0] for address in facts.addresses)
    return sorted(address for address in own if not ip_address(address).is_loopback)


def _addresses(settings: Settings, facts: Facts, places: Places) -> Iterator[Report]:
    if not facts.addresses:
        return
    for link in settings.interconnects:
        address = link.addresses.get(facts.server, "")
        if link.is_lan and not _is_own(address, facts):
            yield places.warn(
                f"interconnect {link.name}",
                f'address.{facts.server} = "{address}" is no address of this machine',
                near(address, _reachable(facts)),
                table=f"interconnect:{link.name}",
                key=f"address.{facts.server}",
            )
    for monitor in settings.monitors:
        keyword = monitor.keywords.get(facts.server, "")
        if monitor.category == BMCNOTICE and keyword:
            host = endpoint(keyword, TRAP_PORT).host
            if not _is_own(host, facts):
                yield places.warn(
                    f"monitor {monitor.name}",
                    f'keyword "{keyword}" is no address of this machine ({facts.server}): traps '
                    "cannot be received",
                    near(host, _reachable(facts)),
                    table=f"monitor:{monitor.name}",
                    key=f"keyword_on.{facts.server}",
                )


def left_out(loaded: Loaded, folder: str, registries: Registries) -> dict[str, Report]:
    """Scripts that the configuration needs and a push of `folder` does not bring, by their path
    in the folder.

    Those of the same name that a server has now are no help: the push takes them away.
    """
    settings, places = loaded.settings, Places(loaded)
    if settings is None:
        return {}
    found: dict[str, Report] = {}
    for server in settings.names:
        for use in scripts_of(settings, registries, server):
            source = pushed_from(folder, use.path)
            if source and not os.path.isfile(source):
                fault = FileFault(
                    text=f"{source}: no such script",
                    mend="Put it there: a push takes away every script that its folder lacks.",
                )
                found.setdefault(os.path.relpath(source, folder), _of_script(use, fault, places))
    return found


def _of_script(use: ScriptUse, fault: FileFault, places: Places) -> Report:
    what, _, rest = use.table.partition(".")
    label = f"group resource {use.owner}" if what == "group" else f"monitor {use.owner}"
    inner = f".{rest}" if what == "monitor" and rest else ""
    table = f"{use.table if what == 'group' else what}:{use.owner}{inner}"
    return places.warn(label, f"{use.key}: {fault.text}", fault.mend, table=table, key=use.key)


def _files(
    settings: Settings, facts: Facts, places: Places, registries: Registries
) -> Iterator[Report]:
    told: set[str] = set()
    for use in scripts_of(settings, registries, facts.server):
        fault = facts.files.get(use.path)
        if fault is not None:
            told.add(use.path)
            yield _of_script(use, fault, places)
    for path, fault in facts.files.items():
        if path not in told:
            yield places.warn("", fault.text, fault.mend)


def _timers(settings: Settings, facts: Facts, places: Places) -> Iterator[Report]:
    method = watchdog_method(settings, facts.server)
    name = next((m.name for m in settings.monitors if m.type == "userw"), "userw")
    if method == "softdog" and (fault := facts.watchdogs.get(method)):
        yield places.warn(
            f"monitor {name}",
            f'method "softdog", but {fault}: the watchdog of {facts.server} cannot be armed',
            "modprobe softdog, or better the driver of the machine's own timer.",
            table=f"monitor:{name}",
            key="method",
        )
    own = settings.server(facts.server)
    if "/dev/ipmi0" not in facts.absent or own is None:
        return
    if own.bmc is not None and own.bmc.is_redfish:
        if method == "ipmi":
            yield places.warn(
                f"monitor {name}",
                'method "ipmi", but /dev/ipmi0 is not there, and by Redfish the timer of the BMC '
                "is not reached: the watchdog cannot be armed",
                'modprobe ipmi_si ipmi_devintf (the ipmi service), or method = "softdog".',
                table=f"monitor:{name}",
                key="method",
            )
    elif own.bmc is not None:
        yield places.warn(
            f"{own.name}.bmc",
            "the ipmi service does not run here (/dev/ipmi0 is not there): the own BMC is reached "
            "over the network alone",
            "systemctl enable --now ipmi, or modprobe ipmi_si ipmi_devintf.",
            table=f"server:{own.name}.bmc",
        )
    elif method == "ipmi":
        yield places.warn(
            f"monitor {name}",
            'method "ipmi", but /dev/ipmi0 is not there and the server has no [server.bmc]',
            "modprobe ipmi_si ipmi_devintf (the ipmi service), or add [server.bmc].",
            table=f"monitor:{name}",
            key="method",
        )


def _enabled(settings: Settings, facts: Facts, places: Places) -> Iterator[Report]:
    """A boot proves that nothing of a group runs only if systemd starts nothing of it."""
    for group in settings.groups:
        for resource in group.resources:
            if resource.type != "service":
                continue
            unit = unit_name(str(resource.options.get("unit")))
            by = facts.enabled.get(unit)
            if by:
                yield places.warn(
                    f"group resource {resource.name}",
                    f"{by} is enabled on {facts.server}: systemd starts {unit} at boot, wherever "
                    f"{group.name} runs",
                    f"Only clpnode may start it: systemctl disable {by}",
                    table=f"group.resource:{resource.name}",
                    key="unit",
                )


def agent_reports(agents: dict[str, tuple[AgentFault, ...]], loaded: Loaded) -> list[Report]:
    """The faults of agents as reports."""
    return list(_agents(agents, Places(loaded)))


def _agents(agents: dict[str, tuple[AgentFault, ...]], places: Places) -> Iterator[Report]:
    """Resource agents that are not there, and parameters that they do not take."""
    for resource, faults in agents.items():
        for fault in faults:
            report = places.warn(
                f"group resource {resource}",
                f"{fault.key}: {fault.text}" if "." in fault.key else fault.text,
                fault.mend,
                table=f"group.resource:{resource}",
                key=fault.key,
            )
            yield msgspec.structs.replace(report, severity=fault.severity)


def _near_device(name: str, known: frozenset[str]) -> str:
    """The nearest name, or all if they are few: a server has hundreds of units."""
    hint = near(name, sorted(known))
    return hint if hint.startswith("Did") or len(known) <= MOST_SHOWN else ""


def _device(monitor: Monitor, facts: Facts, places: Places) -> Iterator[Report]:
    """A device that the monitor names and this machine does not have."""
    keyword = monitor.keywords.get(facts.server, "")
    table = f"monitor:{monitor.name}"
    known = facts.devices.get(monitor.category)
    # With one of these the monitor watches no unit, and its keyword may be any name.
    free = any(monitor.options.get(key) for key in ("pid_file", "health_command"))
    checked = keyword and not keyword.startswith("/") and not free
    if checked and known is not None and not is_device(keyword, monitor.category, known):
        yield places.warn(
            f"monitor {monitor.name}",
            f'keyword "{keyword}" names no {monitor.category} device of {facts.server}',
            _near_device(keyword, known),
            table=table,
            key="keyword",
        )
    interface = monitor.options.get("interface")
    if isinstance(interface, dict):
        interface = interface.get(facts.server)
    interfaces = facts.devices.get("NIC")
    if isinstance(interface, str) and interfaces is not None and interface not in interfaces:
        yield places.warn(
            f"monitor {monitor.name}",
            f'interface "{interface}" is not there on {facts.server}',
            _near_device(interface, interfaces),
            table=table,
            key="interface",
        )
    path = monitor.options.get("path")
    if isinstance(path, dict):
        path = path.get(facts.server)
    for one in (path, keyword):
        if isinstance(one, str) and one.startswith("/") and one in facts.absent:
            key = "path" if one == path else "keyword"
            yield places.warn(
                f"monitor {monitor.name}",
                f'{key} "{one}" is not there on {facts.server}',
                table=table,
                key=key,
            )
