"""Reading `[[monitor]]`: monitors, their recovery and their keywords.

Categories and keywords: hardware guide 2.2.5, 2.2.6, 3.4.2.  For `BMCNOTICE` the keyword is the
address on which a server receives its BMC's traps, so no two servers share one, and one server
receives on one port.  Elsewhere it names a device.
"""

from __future__ import annotations

import msgspec

from clptools.config import fields_of_monitors as fields
from clptools.config.address import Endpoint, endpoint
from clptools.config.field import near
from clptools.config.groups import ALL_GROUPS
from clptools.config.quiet_window import windows
from clptools.config.servers import note_keepalive
from clptools.config.table import Names, Source, Table, build, elements, known_servers, shown
from clptools.config.typed_tables import options_of, variant
from clptools.config.variants import Registries
from clptools.core.model.options import WatchdogOptions, read
from clptools.core.model.settings import (
    Group,
    Monitor,
    Option,
    QuietWindow,
    Recovery,
    Resource,
    Server,
    ServerGroup,
    SnmpUser,
)
from clptools.core.model.words import BmcAction, FinalAction, RecoveryStep, Timing

MONITOR_SCRIPTS = "monitor.s"
"""Folder under `scripts/` for the scripts of monitors, as in the original."""


ACTIVE_TYPES = ("fipw", "ocfw", "pidw")
"""Types that run only while their target is online, unless `timing` says otherwise."""


class KnownParts(msgspec.Struct, frozen=True, kw_only=True):
    """What monitors refer to, already read."""

    servers: tuple[Server, ...]
    groups: tuple[Group, ...]
    server_groups: tuple[ServerGroup, ...]
    suggestions: dict[str, tuple[str, str]]
    """Server -> (an address of it that could be the keyword, where that address is configured)."""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(server.name for server in self.servers)

    @property
    def targets(self) -> tuple[str, ...]:
        """Groups, each followed by its resources."""
        return tuple(n for g in self.groups for n in (g.name, *(r.name for r in g.resources)))


class _Monitors:
    def __init__(self, source: Source, registries: Registries, around: KnownParts) -> None:
        self.source = source
        self.registries = registries
        self.around = around
        self.names = Names("a monitor")
        self.keywords = Keywords(around.names, around.suggestions)
        self.userw = False

    def read(self, table: Table) -> Monitor | None:
        own = variant(table, "monitor", self.registries.monitors)
        if own is None:
            return None
        is_mrw = table.raw.get("type") == "mrw"
        if is_mrw:
            own = (*own, *self.registries.sources.get(str(table.raw.get("category")), ()))
        inner = ("recovery", "snmpv3_user") if is_mrw else ("recovery",)
        values = table.read(fields.MONITOR, own, fields.MRW if is_mrw else (), inner=inner)
        name = str(values["name"] or self._default_name(str(values["type"])))
        self.names.take(table, name)
        servers = values["servers"]
        if isinstance(servers, tuple):
            known_servers(table, "servers", servers, self.around.names)
        else:
            servers = self.around.names
        self._default_timing(table, values)
        self._check_target(table, values)
        monitor = build(
            Monitor,
            values,
            name=name,
            servers=servers,
            options=options_of(table, values, own, self.around.names),
            recovery=self._recovery(table, values, name),
        )
        if is_mrw:
            return self._received(table, values, monitor)
        if monitor.type == "userw":
            return self._user_mode(table, monitor)
        return monitor

    def of_resources(self, read: list[Monitor]) -> list[Monitor]:
        """The monitors that `monitor_interval` of `ocf` resources asks for, unless one of `read`
        has the resource for its target."""
        own = {monitor.target for monitor in read if monitor.type == "ocfw"}
        found: list[Monitor] = []
        for index, group in enumerate(self.around.groups):
            for resource in group.resources:
                interval_ms = resource.options.get("monitor_interval_ms")
                if resource.type != "ocf" or not interval_ms or resource.name in own:
                    continue
                monitor = _of_resource(resource, group)
                if self.names.is_taken(monitor.name):
                    self._name_taken(index, group, resource, monitor.name)
                else:
                    found.append(monitor)
        return found

    def _name_taken(self, index: int, group: Group, resource: Resource, name: str) -> None:
        self.source.say(
            "error",
            ("group", index, "resource"),
            f"group.{group.name}.resource.{resource.name}.monitor_interval",
            f"group resource {resource.name}: monitor_interval: the monitor that it makes would be "
            f'called "{name}", as another one is.',
            f'Rename that monitor, or write type = "ocfw", target = "{resource.name}" in it.',
        )

    def _default_timing(self, table: Table, values: dict[str, Option]) -> None:
        """What watches a program or an address has nothing to watch where its target is not."""
        if values["type"] in ACTIVE_TYPES and "timing" not in table.raw and values["target"]:
            values["timing"] = "active"

    def _default_name(self, kind: str) -> str:
        return kind if kind == "userw" else self.names.number(kind)

    def _check_target(self, table: Table, values: dict[str, Option]) -> None:
        target = values["target"]
        if values["timing"] == "active" and "target" not in table.raw:
            table.error("timing", "needs target, the group or resource that it follows")
        if isinstance(target, str) and target not in self.around.targets:
            self._no_target(table, "target", target, self.around.targets)

    def _no_target(self, table: Table, name: str, target: str, known: tuple[str, ...]) -> None:
        names = ", ".join(shown(one) if " " in one else one for one in known) or "none"
        hint = near(target, known)
        table.error(
            name,
            f"no such group or resource; known: {names}",
            hint if hint.startswith("Did") else "",
        )

    # -- types that the core knows ----------------------------------------------------------

    def _received(self, table: Table, values: dict[str, Option], monitor: Monitor) -> Monitor:
        """A message receive monitor: keywords by server, and whose traps are taken."""
        users = tuple(
            build(SnmpUser, inner.read(fields.SNMP_USER)) for inner in table.many("snmpv3_user")
        )
        keywords = self.keywords.resolve(table, values, monitor)
        if monitor.category != BMCNOTICE:
            for name in ("community", "snmpv3_user"):
                if name in table.raw:
                    table.say("warning", name, f"{name} is not used: only {BMCNOTICE} takes traps")
        return msgspec.structs.replace(
            monitor,
            keywords=keywords,
            communities=values["community"] or (),
            quiet_windows=self._quiet(table, values, monitor),
            snmpv3_users=users,
        )

    def _quiet(
        self, table: Table, values: dict[str, Option], monitor: Monitor
    ) -> tuple[QuietWindow, ...]:
        """The quiet windows; a planned move needs them, and more."""
        found = windows(str(values["quiet_window"] or ""))
        if not monitor.prepare_on_stall:
            if found:
                table.say(
                    "warning",
                    "quiet_window",
                    "quiet_window is not used: nothing plans a move",
                    "Write prepare_on_stall = true, or leave it out.",
                )
            return found
        if not monitor.stall_on_predictive_failure:
            table.error(
                "prepare_on_stall",
                "needs stall_on_predictive_failure = true: without it there is no Stall",
            )
        if not found:
            table.error(
                "prepare_on_stall", "needs quiet_window", 'Write quiet_window = "02:00-04:00".'
            )
        if not monitor.recovery.target:
            table.error(
                "prepare_on_stall",
                "needs recovery.target, the group that is to move",
                "Add target to [monitor.recovery].",
            )
        return found

    def _user_mode(self, table: Table, monitor: Monitor) -> Monitor:
        if self.userw:
            table.error("type", "there is a user mode monitor already, and one is enough")
        self.userw = True
        if read(WatchdogOptions, monitor.options).method != "keepalive":
            return monitor
        table.say(
            "note",
            "method",
            'method = "keepalive" needs the original\'s kernel driver: it is taken as "guard"',
            'Write "softdog" or "ipmi" where there is such a timer: it holds even if the kernel '
            "hangs.",
        )
        return msgspec.structs.replace(monitor, options={**monitor.options, "method": "guard"})

    # -- recovery ---------------------------------------------------------------------------

    def _recovery(self, monitor: Table, of: dict[str, Option], name: str) -> Recovery:
        table = monitor.one("recovery")
        if table is None:
            return Recovery()
        values = table.read(fields.RECOVERY)
        for key in ("script", "pre_action_script"):
            script = str(values[key])
            if script and not script.startswith("/"):
                values[key] = f"{MONITOR_SCRIPTS}/{name}/{script}"
        recovery = build(Recovery, values)
        recovery = self._target(table, recovery)
        self._check_steps(table, recovery)
        self._check_kind(table, recovery, str(of["type"]), str(of.get("category", "")))
        note_keepalive(table, "final_action", recovery.final_action)
        return recovery

    def _target(self, table: Table, recovery: Recovery) -> Recovery:
        known = (*self.around.targets, ALL_GROUPS)
        if recovery.target:
            if recovery.target not in known:
                self._no_target(table, "target", recovery.target, known)
            return recovery
        if (
            recovery.action in (RecoveryStep.RESTART, RecoveryStep.FAILOVER)
            or recovery.final_action is FinalAction.STOP_GROUP
        ):
            return msgspec.structs.replace(recovery, target=ALL_GROUPS)
        return recovery

    def _check_steps(self, table: Table, recovery: Recovery) -> None:
        """Checks that each step has what it needs, and that no key is without effect."""
        if recovery.action is RecoveryStep.SCRIPT and not recovery.script:
            table.error("script", 'is missing, and action = "script" runs it')
        if recovery.action is not RecoveryStep.SCRIPT and recovery.script:
            table.error("script", f'is not run by action = "{recovery.action}"')
        if recovery.final_action is FinalAction.STOP_RESOURCE and not any(
            group.resource(recovery.target) for group in self.around.groups
        ):
            table.error("final_action", "needs a group resource as recovery.target")

    def _check_kind(self, table: Table, recovery: Recovery, kind: str, category: str) -> None:
        """Checks keys that only some monitors may have."""
        if recovery.pre_action_script and is_driver_category(category):
            table.error(
                "pre_action_script",
                f"not for category {category}: a driver's message is acted on at once",
                "Leave it out, or use a category of your own.",
            )
        if (
            recovery.pre_action_script
            and category == BMCNOTICE
            and recovery.action is RecoveryStep.FINAL
        ):
            table.error(
                "pre_action_script",
                f"no script runs before the final action of {BMCNOTICE}",
                'Leave it out, or write action = "failover".',
            )
        if recovery.after_recovery is not BmcAction.NONE and category != BMCNOTICE:
            table.error(
                "after_recovery",
                f"only for mrw of category {BMCNOTICE}: it is what the BMC was going to do",
            )
        elif (
            recovery.after_recovery is not BmcAction.NONE
            and recovery.action is not RecoveryStep.FAILOVER
        ):
            table.say(
                "warning",
                "after_recovery",
                f'recovery.after_recovery follows a failover, not action = "{recovery.action}"',
                'Write action = "failover".',
            )
        if recovery.failover_outside_server_group:
            self._check_outside(table, recovery, kind)

    def _check_outside(self, table: Table, recovery: Recovery, kind: str) -> None:
        key = "failover_outside_server_group"
        if kind != "mrw":
            table.error(key, "only for mrw monitors")
        elif not self.around.server_groups:
            table.error(key, "there are no server groups", "Add [[server_group]] tables.")
        else:
            for group in self.around.groups:
                concerned = recovery.target in (ALL_GROUPS, group.name) or group.resource(
                    recovery.target
                )
                if concerned and not group.server_groups:
                    hint = f"Add server_groups to group {group.name}."
                    table.error(key, f"group {group.name} has no server groups", hint)


def _of_resource(resource: Resource, group: Group) -> Monitor:
    """The monitor of an `ocf` resource: it is restarted here, and then its group fails over."""
    options = resource.options
    return Monitor(
        name=f"{resource.name}w",
        type="ocfw",
        servers=group.servers,
        interval_ms=int(str(options["monitor_interval_ms"])),
        timeout_ms=int(str(options["monitor_timeout_ms"])),
        timing=Timing.ACTIVE,
        target=resource.name,
        recovery=Recovery(action=RecoveryStep.RESTART, target=resource.name),
    )


def read_monitors(
    source: Source,
    document: dict[str, object],
    registries: Registries,
    around: KnownParts,
) -> tuple[Monitor, ...]:
    """`[[monitor]]`; a `userw` is added where there is none, as the original does."""
    monitors = _Monitors(source, registries, around)
    found = [monitors.read(table) for table in elements(source, document, "monitor")]
    read = [monitor for monitor in found if monitor is not None]
    read += monitors.of_resources(read)
    if not monitors.userw and around.servers:
        read.append(_added_userw(source, registries, around))
    return tuple(read)


def _added_userw(source: Source, registries: Registries, around: KnownParts) -> Monitor:
    """The default user mode monitor.

    The original adds one with its keepalive driver, which is `guard` here.
    """
    own = registries.monitors["userw"]
    options = {field.option: field.default_value() for field in own}
    options["method"] = "guard"
    source.say(
        "note",
        ("monitor",),
        "monitor.userw",
        'configuration: there is no userw monitor: one with method "guard" is added.',
        'Add [[monitor]] type = "userw" with method "softdog" or "ipmi" where there is such a '
        'timer, or "none" for no watchdog (and so no proof by lease).',
    )
    return Monitor(name="userw", type="userw", servers=around.names, options=options)


# ---------------------------------------------------------------------- keywords


BMCNOTICE = "BMCNOTICE"

DRIVER_CATEGORIES = ("NIC", "FC", "HA/SS", "HA/AM", "HA/RS", "SPS", "MCE")
"""Categories that sources of this system fill; the linkage owns them."""

CATEGORIES = (BMCNOTICE, *DRIVER_CATEGORIES)

TRAP_PORT = 162
"""snmptrap/udp, RFC 3417."""


def is_driver_category(category: str) -> bool:
    """Whether messages of this category come from drivers and system sources."""
    return category in DRIVER_CATEGORIES or category.startswith("HA/")


class Keywords:
    """The keywords of all message receive monitors so far."""

    def __init__(self, servers: tuple[str, ...], suggestions: dict[str, tuple[str, str]]) -> None:
        self._servers = servers
        self._suggestions = suggestions
        self._owners: dict[Endpoint, str] = {}
        """Trap address -> the server that receives on it."""
        self._ports: dict[str, tuple[int, str]] = {}
        """Server -> its trap port and the monitor that named it first."""

    def resolve(self, table: Table, values: dict[str, Option], monitor: Monitor) -> dict[str, str]:
        """Server -> its keyword; what is wrong with them is reported."""
        common = values["keyword"]
        single = values["keyword_on"]
        single = single if isinstance(single, dict) else {}
        known_servers(table, "keyword_on", single, self._servers)
        found: dict[str, str] = {}
        for server in monitor.servers:
            keyword = single.get(server, common)
            if isinstance(keyword, str) and keyword:
                found[server] = keyword
        if monitor.category == BMCNOTICE:
            self._check_trap_addresses(table, monitor, found, single)
        return found

    def _check_trap_addresses(
        self, table: Table, monitor: Monitor, found: dict[str, str], single: dict[str, str]
    ) -> None:
        missing = [server for server in monitor.servers if server not in found]
        if missing and "keyword" not in table.raw:
            example = ", ".join(f'{s} = "{self._example(s)}"' for s in missing)
            table.error(
                "keyword_on",
                f"none for {' and '.join(missing)}, and {BMCNOTICE} needs the address to which "
                "the BMC sends its traps",
                f"Write keyword_on = {{ {example} }}.",
            )
        for server, keyword in found.items():
            name, at = ("keyword_on", (server,)) if server in single else ("keyword", ())
            try:
                address = endpoint(keyword, TRAP_PORT)
            except ValueError as fault:
                table.error(name, str(fault), 'Write "address" or "address:port".', at)
                if name == "keyword":
                    return
                continue
            self._check_owner(table, address, server, name, at)
            self._check_port(table, address.port, server, monitor.name, name, at)

    def _check_owner(
        self, table: Table, address: Endpoint, server: str, name: str, at: tuple[str, ...]
    ) -> None:
        owner = self._owners.setdefault(address, server)
        if owner == server:
            return
        if name == "keyword":
            table.error(
                name,
                f"{owner} and {server} would share it; each server needs its own",
                f'Add keyword_on = {{ {server} = "{self._example(server)}" }}.',
            )
            return
        suggestion = self._suggestions.get(server)
        hint = f"Use the address on which {server} receives from its BMC"
        if suggestion is not None and suggestion[0] != address.host:
            hint += f', e.g. "{suggestion[0]}" ({suggestion[1]})'
        table.error(name, f"same address as {owner}; each server needs its own", f"{hint}.", at)

    def _check_port(
        self, table: Table, port: int, server: str, monitor: str, name: str, at: tuple[str, ...]
    ) -> None:
        first, by = self._ports.setdefault(server, (port, monitor))
        if first != port:
            table.error(
                name,
                f"port {port}, but {by} has port {first} on {server}: one server receives its "
                "traps on one port",
                f"Use port {first} in both.",
                at,
            )

    def _example(self, server: str) -> str:
        suggestion = self._suggestions.get(server)
        return suggestion[0] if suggestion is not None else "…"
