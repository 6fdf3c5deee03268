"""Warnings on a configuration that loads: what would not work, or not as it was meant.

Two kinds: what the configuration alone shows, and what it shows together with facts of this
machine (`config.facts`).
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from ipaddress import ip_address

from clptools.config.address import endpoint
from clptools.config.facts import Facts
from clptools.config.field import near
from clptools.config.limits import LEASE_BEATS, lease_that_fits
from clptools.config.load import Loaded
from clptools.config.machine import is_device, unit_name
from clptools.config.monitors import BMCNOTICE, CATEGORIES, TRAP_PORT
from clptools.config.places import Places
from clptools.config.scripts import scripts_of
from clptools.config.variants import Registries
from clptools.core.model.options import WatchdogOptions, read, watchdog_method
from clptools.core.model.settings import Monitor, Settings
from clptools.core.model.words import BmcAction
from clptools.reports import Report

STARTUP_WAIT_MS = 120_000
"""A minute for the boot, and one for the BMC's session."""
FENCE_DELAY_MS = 5000
"""A forced stop takes 1 to 5 s; with less delay two servers can stop each other."""

RIVALS = {
    "ipmievd": "shuts the server down on its own when a critical event comes",
    "bmc-watchdog": "feeds or sets the BMC's watchdog timer, which belongs to clpnode",
    "watchdog": "holds /dev/watchdog and reboots the server by its own rules",
    "wd_keepalive": "holds /dev/watchdog and feeds it whatever happens",
}
"""Other programs that act on BMC events or watchdogs (hardware guide 2.2.2)."""

MOST_SHOWN = 12
"""Devices that a hint lists."""

ESMPRO_EVENTS = "C00001FD, C0000203, C0000454"


def check(loaded: Loaded, registries: Registries, facts: Facts | None = None) -> tuple[Report, ...]:
    """The warnings, beside those of the loading; none where it has errors.

    Without `facts` only the configuration itself is looked at.
    """
    settings = loaded.settings
    if settings is None:
        return ()
    places = Places(loaded)
    found = list(_alone(settings, places))
    if facts is not None:
        found += _here(settings, places, facts, registries)
    return tuple(found)


# -- the configuration alone ------------------------------------------------------------------


def _alone(settings: Settings, places: Places) -> Iterator[Report]:
    yield from _links(settings, places)
    yield from _watchdogs(settings, places)
    yield from _names(settings, places)
    yield from _migrations(settings, places)
    for monitor in settings.monitors:
        if monitor.type == "mrw":
            yield from _received(monitor, settings, places)


def _links(settings: Settings, places: Places) -> Iterator[Report]:
    types = [link.type for link in settings.interconnects]
    lans = sum(link.is_lan for link in settings.interconnects)
    if lans == 1 and len(settings.servers) > 1:
        yield places.warn(
            "interconnect",
            "there is one LAN interconnect: one cable or switch separates the servers",
            'Add a second [[interconnect]] with type = "lanhb" on another network.',
            table="interconnect",
        )
    with_bmc = [server.name for server in settings.servers if server.bmc is not None]
    if with_bmc and "bmchb" not in types:
        yield places.warn(
            "interconnect",
            f"{' and '.join(with_bmc)} have a BMC, but there is no bmchb interconnect: that a BMC "
            "cannot be reached shows only when it is needed",
            'Add [[interconnect]] with type = "bmchb".',
            table=f"server:{with_bmc[0]}.bmc",
        )
    for server in settings.servers:
        if server.bmc is not None and not server.bmc.user:
            yield places.warn(
                f"{server.name}.bmc",
                "no user, so the BMC is asked as its anonymous account",
                "Set user, and its password: clpbmccnf -u USER SERVER.",
                table=f"server:{server.name}.bmc",
            )
    # Arbiters need no look: what fits this lease fits a longer one.
    lease, interval = settings.cluster.lease_ms, settings.cluster.heartbeat_interval_ms
    if settings.leases_armed and lease < LEASE_BEATS * interval:
        yield places.warn(
            "cluster",
            f"lease ({lease / 1000:g} s) is short for heartbeats every {interval / 1000:g} s: a "
            "candidate has a quarter of it to be elected, and a lost heartbeat costs the election; "
            "a healthy holder may stop itself before somebody is elected",
            f"Write lease = {lease_that_fits(settings.cluster)} or more.",
            table="cluster",
            key="lease",
        )
    wait = settings.cluster.startup_wait_ms
    if with_bmc and wait < STARTUP_WAIT_MS:
        yield places.warn(
            "cluster",
            f"startup_wait ({wait / 1000:g} s) is shorter than a server takes to boot and a BMC to "
            f"be believed again after a restart ({STARTUP_WAIT_MS / 1000:g} s): a server that was "
            "off counts again for the majority before it takes part",
            f"Write startup_wait = {STARTUP_WAIT_MS // 1000} or more.",
            table="cluster",
            key="startup_wait",
        )
    delay = settings.cluster.fence_delay_ms
    if settings.forced_stop.action is not BmcAction.NONE and delay < FENCE_DELAY_MS:
        yield places.warn(
            "cluster",
            f"fence_delay ({delay / 1000:g} s) is shorter than a forced stop takes "
            f"([forced_stop] action, up to {FENCE_DELAY_MS / 1000:g} s): two servers that do not "
            "hear each other can both go off",
            "Write fence_delay = 5.0 or more.",
            table="cluster",
            key="fence_delay",
        )


def _watchdogs(settings: Settings, places: Places) -> Iterator[Report]:
    # Where no lease binds, the method is a choice with a cost, and no promise rests on it.
    armed = settings.leases_armed
    say = places.warn if armed else places.note
    for monitor in settings.monitors:
        if monitor.type != "userw":
            continue
        method = read(WatchdogOptions, monitor.options).method
        if method == "guard":
            yield say(
                f"monitor {monitor.name}",
                'method "guard" is weaker than a hardware timer: it does not act when the kernel '
                f"hangs{', and the proof by lease rests on it' if armed else ''}",
                'Use method "ipmi", or "softdog" with a hardware watchdog driver.',
                table=f"monitor:{monitor.name}",
                key="method",
            )
        elif method == "none":
            yield say(
                f"monitor {monitor.name}",
                'method "none" gives no proof by lease: other proofs alone clear its servers',
                'Use method "ipmi", "softdog" or "guard".',
                table=f"monitor:{monitor.name}",
                key="method",
            )


def _names(settings: Settings, places: Places) -> Iterator[Report]:
    """One name for two things makes `clpstat --explain NAME` ambiguous."""
    kinds: dict[str, str] = {server.name: "server" for server in settings.servers}
    for group in settings.groups:
        for name, kind in ((group.name, "group"), *((r.name, "resource") for r in group.resources)):
            if name in kinds:
                table = "group" if kind == "group" else "group.resource"
                yield places.warn(
                    f"{kind} {name}",
                    f"a {kinds[name]} has the same name: commands that take either show the first",
                    table=f"{table}:{name}",
                )
            kinds.setdefault(name, kind)


def _migrations(settings: Settings, places: Places) -> Iterator[Report]:
    """A migration needs both: a monitor that asks for it, and a resource that can."""
    used: set[str] = set()
    for monitor in settings.monitors:
        recovery = monitor.recovery
        if not recovery.migrate_before_failover:
            continue
        groups = [
            group
            for group in settings.groups
            if recovery.target in ("All Groups", group.name) or group.resource(recovery.target)
        ]
        able = [r.name for group in groups for r in group.resources if r.migrates]
        used.update(able)
        if not able:
            names = " and ".join(group.name for group in groups) or "its target"
            yield places.warn(
                f"monitor {monitor.name}",
                f"migrate_before_failover = true, but no resource of {names} has migrate: it is "
                "failed over without migration",
                'Add migrate = "migrate.sh" to an exec resource, or leave the key out.',
                table=f"monitor:{monitor.name}.recovery",
                key="migrate_before_failover",
            )
    for group in settings.groups:
        for resource in group.resources:
            if resource.migrates and resource.name not in used:
                yield places.warn(
                    f"group resource {resource.name}",
                    f"migrate is never run: no monitor that fails {group.name} over has "
                    "migrate_before_failover = true",
                    "Set it in [monitor.recovery]; no other stop or move migrates.",
                    table=f"group.resource:{resource.name}",
                    key="migrate",
                )


def _received(monitor: Monitor, settings: Settings, places: Places) -> Iterator[Report]:
    label, table = f"monitor {monitor.name}", f"monitor:{monitor.name}"
    if monitor.category not in CATEGORIES:
        meant = _one_letter_from(monitor.category, CATEGORIES)
        if meant:
            yield places.warn(
                label,
                f'category "{monitor.category}" is taken as one of your own, but is one letter '
                f"from {meant}",
                table=table,
                key="category",
            )
    if monitor.category != BMCNOTICE:
        return
    lacking = [s.name for s in settings.servers if s.bmc is None and s.name in monitor.servers]
    if lacking:
        yield places.warn(
            label,
            f"no [server.bmc] for {' and '.join(lacking)}: traps are taken from the server's own "
            "BMC alone, so none will be taken there",
            "Add [server.bmc] with the address from which the BMC sends.",
            table=table,
        )


def _one_letter_from(word: str, known: Iterable[str]) -> str:
    """The known word from which one letter was left out, added, changed or swapped."""
    for one in known:
        if word.upper() == one:
            return one
        if abs(len(word) - len(one)) > 1 or min(len(word), len(one)) < 3:
            continue
        matcher = difflib.SequenceMatcher(None, word.upper(), one, autojunk=False)
        same = sum(block.size for block in matcher.get_matching_blocks())
        if same >= max(len(word), len(one)) - 1:
            return one
    return ""


# -- with the facts of this machine -----------------------------------------------------------


def _here(
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
    for server in sorted(facts.unechoed):
        yield places.warn(
            f"server {server}",
            "it answers here, but to no ICMP echo: nothing tells then a server whose agent "
            "stands still from one that is off, should its BMC err",
            f"Let echo requests from {facts.server} through in the firewall of {server}.",
            table=f"server:{server}",
        )
    yield from _timers(settings, facts, places)
    yield from _enabled(settings, facts, places)
    for monitor in settings.monitors:
        if facts.server in monitor.servers:
            yield from _device(monitor, facts, places)


def _power_key(settings: Settings, facts: Facts, places: Places) -> Iterator[Report]:
    """Some BMCs press the power button for a power off: then the OS shuts down by itself first."""
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
    """Whether this machine has the address; all of 127.0.0.0/8 is every machine's."""
    return address.partition("%")[0] in facts.addresses or ip_address(address).is_loopback


def _reachable(facts: Facts) -> list[str]:
    """The addresses of this machine that another one can reach."""
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


def _files(
    settings: Settings, facts: Facts, places: Places, registries: Registries
) -> Iterator[Report]:
    told: set[str] = set()
    for use in scripts_of(settings, registries, facts.server):
        fault = facts.files.get(use.path)
        if fault is not None:
            told.add(use.path)
            what, _, rest = use.table.partition(".")
            label = f"group resource {use.owner}" if what == "group" else f"monitor {use.owner}"
            inner = f".{rest}" if what == "monitor" and rest else ""
            table = f"{use.table if what == 'group' else what}:{use.owner}{inner}"
            yield places.warn(
                label, f"{use.key}: {fault.text}", fault.mend, table=table, key=use.key
            )
    for path, fault in facts.files.items():
        if path not in told:
            yield places.warn("", fault.text, fault.mend)


def _timers(settings: Settings, facts: Facts, places: Places) -> Iterator[Report]:
    method = watchdog_method(settings, facts.server)
    name = next((m.name for m in settings.monitors if m.type == "userw"), "userw")
    if method == "softdog" and "/dev/watchdog" in facts.absent:
        yield places.warn(
            f"monitor {name}",
            'method "softdog", but /dev/watchdog is not there: the watchdog cannot be armed',
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
    """After a boot nothing of a group may run: only then the boot proves that."""
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
                    f"Nobody but clpnode may start it: systemctl disable {by}",
                    table=f"group.resource:{resource.name}",
                    key="unit",
                )


def _near_device(name: str, known: frozenset[str]) -> str:
    """The nearest name, or all if they are few: a server has hundreds of units."""
    hint = near(name, sorted(known))
    return hint if hint.startswith("Did") or len(known) <= MOST_SHOWN else ""


def _device(monitor: Monitor, facts: Facts, places: Places) -> Iterator[Report]:
    """A device that the monitor names and this machine does not have."""
    keyword = monitor.keywords.get(facts.server, "")
    table = f"monitor:{monitor.name}"
    known = facts.devices.get(monitor.category)
    # An application that has one of these is no unit, and its keyword any name.
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
    for one in (path, keyword):
        if isinstance(one, str) and one.startswith("/") and one in facts.absent:
            key = "path" if one == path else "keyword"
            yield places.warn(
                f"monitor {monitor.name}",
                f'{key} "{one}" is not there on {facts.server}',
                table=table,
                key=key,
            )
