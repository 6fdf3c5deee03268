"""Warnings on a configuration that loads: what would not work, or not as intended.

This module checks the configuration alone; `check_machine` compares it with this machine.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Iterator

import msgspec

from clptools.config.fence_agents import READS_AS_OFF, SHOWS_PASSWORD
from clptools.config.lines import Lines, Path
from clptools.config.load import LEASE_BEATS, Loaded, lease_that_fits
from clptools.config.monitors import BMCNOTICE, CATEGORIES
from clptools.core.model.options import WatchdogOptions, read
from clptools.core.model.settings import Monitor, Settings
from clptools.core.model.words import BmcAction, Startup
from clptools.core.phrases import listed
from clptools.reports import Report, legible

STARTUP_WAIT_MS = 120_000
"""A minute for the boot, and one for the BMC's session."""
FENCE_DELAY_MS = 5000
"""A forced stop takes 1 to 5 s; with less delay two servers can stop each other."""
AGENT_DELAY_MS = 15_000
"""One by a fence agent takes 3 to 12 s: it logs in, and switches then."""
LEVEL_MS = 30_000
"""What each way to stop a server is given: a BMC, or a level of fence agents."""


def check(loaded: Loaded) -> tuple[Report, ...]:
    """The warnings, beside those of the loading; none where it has errors."""
    settings = loaded.settings
    return tuple(_checks(settings, Places(loaded))) if settings is not None else ()


def _checks(settings: Settings, places: Places) -> Iterator[Report]:
    yield from _links(settings, places)
    yield from _lengths(settings, places)
    yield from _watchdogs(settings, places)
    yield from _names(settings, places)
    yield from _waits(settings, places)
    yield from _fences(settings, places)
    yield from _arbiters(settings, places)
    yield from _migrations(settings, places)
    yield from _preparations(settings, places)
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
        verb = "has" if len(with_bmc) == 1 else "have"
        yield places.warn(
            "interconnect",
            f"{listed(with_bmc)} {verb} a BMC, but there is no bmchb interconnect: that a BMC "
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


def _lengths(settings: Settings, places: Places) -> Iterator[Report]:
    """Lengths that are valid, but can cost a healthy cluster an outage."""
    # Arbiters were checked by the loading: what fits this lease fits a longer one.
    lease, interval = settings.cluster.lease_ms, settings.cluster.heartbeat_interval_ms
    if settings.leases_armed and lease < LEASE_BEATS * interval:
        yield places.warn(
            "cluster",
            f"lease ({lease / 1000:g} s) is short for heartbeats every {interval / 1000:g} s: a "
            "candidate has a quarter of it to be elected, and a lost heartbeat costs the election; "
            "a healthy holder may stop itself before a server is elected",
            f"Write lease = {lease_that_fits(settings.cluster)} or more.",
            table="cluster",
            key="lease",
        )
    wait = settings.cluster.startup_wait_ms
    with_bmc = any(server.has_power_control for server in settings.servers)
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


def _arbiters(settings: Settings, places: Places) -> Iterator[Report]:
    for arbiter in settings.arbiters:
        urls = arbiter.options.get("endpoints")
        every = urls if isinstance(urls, tuple) else ()
        plain = [url for url in every if url.startswith("http://")]
        if arbiter.options.get("user") and plain:
            yield places.warn(
                f"np {arbiter.name}",
                f"the password of user {arbiter.options['user']} goes to {plain[0]} as it is: who "
                "hears it can give away the key of this cluster",
                "Let the endpoints begin with https://, and set ca.",
                table=f"np:{arbiter.name}",
                key="endpoints",
            )


def _fences(settings: Settings, places: Places) -> Iterator[Report]:
    """What fence agents ask of the rest of the configuration, and what they give away."""
    fences = {fence.name: fence for server in settings.servers for fence in server.fences}
    for fence in fences.values():
        table = f"fence:{fence.name}"
        if fence.agent in SHOWS_PASSWORD and fence.password_file:
            program, way = SHOWS_PASSWORD[fence.agent]
            yield places.warn(
                f"fence agent {fence.name}",
                f"{fence.agent} hands its password to {program}",
                f"{way[0].upper()}{way[1:]}.",
                table=table,
                key="agent",
            )
        if fence.agent in READS_AS_OFF and not fence.poll:
            yield places.warn(
                f"fence agent {fence.name}",
                f"{fence.agent} takes for off {READS_AS_OFF[fence.agent]}; without poll that shows "
                "only once it counts",
                "Write poll = true: reading off while its server is heard, it is believed no more.",
                table=table,
                key="poll",
            )
    if not fences or settings.forced_stop.action is BmcAction.NONE:
        if fences:
            yield places.note(
                f"fence agent {next(iter(fences))}",
                "it reads the power and stops nobody: there is no [forced_stop]",
                'Write [forced_stop] action = "power-off".',
                table=f"fence:{next(iter(fences))}",
            )
        return
    delay = settings.cluster.fence_delay_ms
    if settings.halves_take_turns and FENCE_DELAY_MS <= delay < AGENT_DELAY_MS:
        yield places.warn(
            "cluster",
            f"fence_delay ({delay / 1000:g} s) is short for a fence agent, which logs in first and "
            "takes longer than a BMC from the order to off: two servers that do not hear each "
            "other can both go off",
            f"Write fence_delay = {AGENT_DELAY_MS / 1000:g}, or a quarter more than its off takes.",
            table="cluster",
            key="fence_delay",
        )
    ways = max(len(s.levels) + (s.bmc is not None) for s in settings.servers)
    wait = settings.forced_stop.timeout_ms
    if ways > 1 and wait < ways * LEVEL_MS:
        yield places.warn(
            "forced_stop",
            f"timeout ({wait / 1000:g} s) may be over before the last of {ways} ways to stop a "
            "server was tried",
            f"Write timeout = {ways * LEVEL_MS // 1000} or more.",
            table="forced_stop",
            key="timeout",
        )


def _watchdogs(settings: Settings, places: Places) -> Iterator[Report]:
    # Without leases no proof depends on the watchdog, so its method is only worth a note.
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


def _waits(settings: Settings, places: Places) -> Iterator[Report]:
    """A group that starts by itself waits for ever for one that nobody starts."""
    manual = {group.name for group in settings.groups if group.startup == Startup.MANUAL}
    for group in settings.groups:
        for key in ("start_after", "start_after_same_server"):
            named = [name for name in getattr(group, key) if name in manual]
            if named and group.startup != Startup.MANUAL:
                verb = "has" if len(named) == 1 else "have"
                yield places.warn(
                    f"group {group.name}",
                    f'{key} names {listed(named)}, which {verb} startup = "manual": '
                    f"{group.name} does not start before somebody starts "
                    f"{'that' if len(named) == 1 else 'those'}",
                    f'Set startup = "auto" of {listed(named)}, or "manual" of {group.name}, too.',
                    table=f"group:{group.name}",
                    key=key,
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
    """A migration needs a monitor that asks for it and a resource that supports it."""
    used: set[str] = set()
    for monitor in settings.monitors:
        recovery = monitor.recovery
        if not recovery.migrate_before_failover and not monitor.prepare_on_stall:
            continue
        groups = [
            group
            for group in settings.groups
            if recovery.target in ("All Groups", group.name) or group.resource(recovery.target)
        ]
        able = [r.name for group in groups for r in group.resources if r.migrates]
        used.update(able)
        if not able and recovery.migrate_before_failover:
            names = listed([group.name for group in groups]) or "its target"
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
                    "migrate_before_failover = true, none that moves it prepare_on_stall = true",
                    "Set one of them; no other stop or move migrates.",
                    table=f"group.resource:{resource.name}",
                    key="migrate",
                )


def _preparations(settings: Settings, places: Places) -> Iterator[Report]:
    """A prepare script needs a monitor that plans a move, and a move a server to go to."""
    planned: set[str] = set()
    for monitor in settings.monitors:
        if not monitor.prepare_on_stall:
            continue
        target = monitor.recovery.target
        groups = [
            g for g in settings.groups if target in ("All Groups", g.name) or g.resource(target)
        ]
        planned.update(g.name for g in groups)
        for group in groups:
            if len(group.servers) < 2:
                yield places.warn(
                    f"monitor {monitor.name}",
                    f"prepare_on_stall = true, but {group.name} has no second server to move to",
                    "Give it another server, or leave the key out.",
                    table=f"monitor:{monitor.name}",
                    key="prepare_on_stall",
                )
    for group in settings.groups:
        for resource in group.resources:
            if resource.prepare and group.name not in planned:
                yield places.warn(
                    f"group resource {resource.name}",
                    f"prepare is never run: no monitor plans a move of {group.name}",
                    "Set prepare_on_stall = true in a monitor whose recovery.target it is.",
                    table=f"group.resource:{resource.name}",
                    key="prepare",
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
            f"no [server.bmc] for {listed(lacking)}: traps are taken from the server's own "
            "BMC alone, so none will be taken there",
            "Add [server.bmc] with the address from which the BMC sends.",
            table=table,
        )


def _one_letter_from(word: str, known: Iterable[str]) -> str:
    """The known word that differs from `word` by one letter; empty: none does."""
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


# ---------------------------------------------------------------------- places in the file


class Places:
    """Makes reports on objects by name, each with its line."""

    def __init__(self, loaded: Loaded) -> None:
        self._file = loaded.file
        self._lines = Lines(loaded.text)
        self._document = tomllib.loads(loaded.text)
        settings = loaded.settings or Settings()
        self._orders = {
            "interconnect": [link.name for link in settings.interconnects],
            "monitor": [monitor.name for monitor in settings.monitors],
        }
        """Names in the order of the file, which may leave them out."""

    def warn(
        self, label: str, message: str, hint: str = "", *, table: str = "", key: str = ""
    ) -> Report:
        """A warning on key `key` of the object `label`, as in `monitor mrw1`.

        `table` is its place: `cluster`, `server:server1.bmc`, `monitor:mrw1.recovery`,
        `group.resource:exec1`; empty: on no place in the file.
        """
        path = (*self._path(table), *key.split(".")) if key else self._path(table)
        dotted = table.replace(":", ".") + (f".{key}" if key else "")
        return Report(
            severity="warning",
            message=legible(f"{label}: {message}." if label else f"{message}."),
            hint=legible(hint),
            file=self._file if table else "",
            line=self._lines.line(path) if table else 0,
            key=dotted,
        )

    def note(
        self, label: str, message: str, hint: str = "", *, table: str = "", key: str = ""
    ) -> Report:
        """A note: good to know, but nothing has to change."""
        report = self.warn(label, message, hint, table=table, key=key)
        return msgspec.structs.replace(report, severity="note")

    def _path(self, table: str) -> Path:
        before, colon, after = table.partition(":")
        if not colon:
            return tuple(before.split(".")) if before else ()
        name, _, inner = after.partition(".")
        found = self._find(self._document, before.split("."), name)
        return (*found, *inner.split(".")) if inner else found

    def _find(self, inside: object, steps: list[str], name: str) -> Path:
        """The path of the element called `name` in the list at `steps`; else that of the list."""
        order = self._orders.get(steps[0], [])
        if name in order:
            return (steps[0], order.index(name))
        elements = inside.get(steps[0], []) if isinstance(inside, dict) else []
        if not isinstance(elements, list):
            return (steps[0],)
        for index, element in enumerate(elements):
            if len(steps) > 1:
                deeper = self._find(element, steps[1:], name)
                if len(deeper) > 1:
                    return (steps[0], index, *deeper)
            elif isinstance(element, dict) and element.get("name") == name:
                return (steps[0], index)
        return (steps[0],)
