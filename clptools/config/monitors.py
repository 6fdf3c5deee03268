"""Reading `[[monitor]]`: monitors, their recovery, and the refusals that concern them."""

from __future__ import annotations

import msgspec

from clptools.config import fields_of_monitors as fields
from clptools.config.groups import ALL_GROUPS
from clptools.config.interconnects import options_of, variant
from clptools.config.keywords import BMCNOTICE, Keywords, is_driver_category
from clptools.config.servers import note_keepalive
from clptools.config.table import Names, Source, Table, build, elements, known_servers, near, shown
from clptools.config.variants import Registries
from clptools.core.settings import Group, Monitor, Option, Recovery, Server, ServerGroup, SnmpUser

MONITOR_SCRIPTS = "monitor.s"
"""Folder under `scripts/` for the scripts of monitors, as in the original."""


class Surroundings(msgspec.Struct, frozen=True, kw_only=True):
    """What monitors refer to, already read."""

    servers: tuple[Server, ...]
    groups: tuple[Group, ...]
    server_groups: tuple[ServerGroup, ...]
    suggestions: dict[str, tuple[str, str]]
    """Server -> (an address of it that a keyword could be, where that comes from)."""

    @property
    def names(self) -> tuple[str, ...]:
        """Server names."""
        return tuple(server.name for server in self.servers)

    @property
    def targets(self) -> tuple[str, ...]:
        """Groups, each followed by its resources."""
        return tuple(n for g in self.groups for n in (g.name, *(r.name for r in g.resources)))


class _Monitors:
    def __init__(self, source: Source, registries: Registries, around: Surroundings) -> None:
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
        self._check_target(table, values)
        monitor = build(
            Monitor,
            values,
            name=name,
            servers=servers,
            options=options_of(values, own),
            recovery=self._recovery(table, values, name),
        )
        if is_mrw:
            return self._received(table, values, monitor)
        if monitor.type == "userw":
            return self._user_mode(table, monitor)
        return monitor

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
            snmpv3_users=users,
        )

    def _user_mode(self, table: Table, monitor: Monitor) -> Monitor:
        if self.userw:
            table.error("type", "there is a user mode monitor already, and one is enough")
        self.userw = True
        if monitor.options.get("method") != "keepalive":
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
        values = table.read(fields.recovery(self.registries))
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
        if recovery.action in ("restart", "failover") or recovery.final_action == "stop-group":
            return msgspec.structs.replace(recovery, target=ALL_GROUPS)
        return recovery

    def _check_steps(self, table: Table, recovery: Recovery) -> None:
        """That the chosen steps have what they need, and nothing is set in vain."""
        if recovery.action == "script" and not recovery.script:
            table.error("script", 'is missing, and action = "script" runs it')
        if recovery.action != "script" and recovery.script:
            table.error("script", f'is not run by action = "{recovery.action}"')
        if recovery.final_action == "stop-resource" and not any(
            group.resource(recovery.target) for group in self.around.groups
        ):
            table.error("final_action", "needs a group resource as recovery.target")

    def _check_kind(self, table: Table, recovery: Recovery, kind: str, category: str) -> None:
        """Keys that only some monitors may have."""
        if recovery.pre_action_script and is_driver_category(category):
            table.error(
                "pre_action_script",
                f"not for category {category}: a driver's message is acted on at once",
                "Leave it out, or use a category of your own.",
            )
        if recovery.pre_action_script and category == BMCNOTICE and recovery.action == "final":
            table.error(
                "pre_action_script",
                f"no script runs before the final action of {BMCNOTICE}",
                'Leave it out, or write action = "failover".',
            )
        if recovery.after_recovery != "none" and category != BMCNOTICE:
            table.error(
                "after_recovery",
                f"only for mrw of category {BMCNOTICE}: it is what the BMC was going to do",
            )
        elif recovery.after_recovery != "none" and recovery.action != "failover":
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


def read_monitors(
    source: Source,
    document: dict[str, object],
    registries: Registries,
    around: Surroundings,
) -> tuple[Monitor, ...]:
    """`[[monitor]]`; a `userw` is added where there is none, as the original does."""
    monitors = _Monitors(source, registries, around)
    found = [monitors.read(table) for table in elements(source, document, "monitor")]
    read = [monitor for monitor in found if monitor is not None]
    if not monitors.userw and around.servers:
        read.append(_added_userw(source, registries, around))
    return tuple(read)


def _added_userw(source: Source, registries: Registries, around: Surroundings) -> Monitor:
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
