"""`clpstat -i` and `--cl --sv --hb --np --fnc --svg --grp --rsc --mon --xcl`: what is configured.

One bracketed section an object, one `Key : value` line a property, durations in milliseconds
as the original prints them.  Heading and columns are those of samples of the original's.
`--detail` adds the keys that are seldom looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from itertools import chain
from typing import Any

import msgspec

from clptools.cli.render.status import COMMENTS, FOOTER, NP_COMMENTS
from clptools.cli.render.text import clean
from clptools.common.ocf import parameters_shown
from clptools.config.load import Alert
from clptools.config.quiet_window import in_text
from clptools.core.model.options import WatchdogOptions, read
from clptools.core.model.settings import (
    Arbiter,
    FenceAgent,
    Group,
    Interconnect,
    Monitor,
    Option,
    Resource,
    Server,
    ServerGroup,
    Settings,
)

HEADER = " =======================  CLUSTER INFORMATION  ======================="
KEY_COLUMNS = 57

Lines = Iterator[tuple[str, str]]
"""Key and value; an empty value is not shown."""


class Kind(StrEnum):
    """What may be listed; the value is the option of `clpstat` without its dashes."""

    CLUSTER = "cl"
    SERVER = "sv"
    HEARTBEAT = "hb"
    NP = "np"
    FENCING = "fnc"
    SERVER_GROUP = "svg"
    GROUP = "grp"
    RESOURCE = "rsc"
    MONITOR = "mon"
    EXCLUSION = "xcl"


WHOLE = tuple(kind for kind in Kind if kind is not Kind.FENCING)
"""What `-i` shows: everything once.  Forced stop belongs to the cluster as well."""

WORDS = {
    Kind.SERVER: "server",
    Kind.HEARTBEAT: "heartbeat resource",
    Kind.NP: "NP resolution resource",
    Kind.FENCING: "NP resolution resource or forced stop",
    Kind.SERVER_GROUP: "server group",
    Kind.GROUP: "group",
    Kind.RESOURCE: "group resource",
    Kind.MONITOR: "monitor resource",
    Kind.EXCLUSION: "exclusion rule",
}


def configuration(
    settings: Settings,
    alert: Alert,
    kinds: tuple[Kind, ...],
    name: str = "",
    *,
    detail: bool = False,
) -> str:
    """The sections of `kinds`, all objects of each or the one called `name`."""
    lines = [HEADER]
    for kind in kinds:
        before = len(lines)
        for title, found, pairs in SECTIONS[kind](settings, detail):
            if name and found != name:
                continue
            lines.append(f"  [{title} : {clean(found)}]")
            if kind is Kind.CLUSTER and detail:
                pairs = chain(pairs, _alert_lines(alert))
            lines += [f"    {key:<{KEY_COLUMNS}}: {clean(value)}" for key, value in pairs if value]
        if len(lines) == before and kinds == (kind,):
            lines.append(f"  No {WORDS[kind]} is configured.")
    return "\n".join([*lines, FOOTER]) + "\n"


def configuration_fields(
    settings: Settings, alert: Alert, kinds: Iterable[Kind], name: str = ""
) -> dict[str, object]:
    """The same as an object for programs, durations in milliseconds.

    SNMP communities stay out: they admit traps.  So does the place of a password.
    """
    fields: dict[str, object] = {"revision": settings.revision}
    for kind in kinds:
        if kind is Kind.CLUSTER:
            fields["cluster"] = msgspec.to_builtins(settings.cluster)
            fields["forced_stop"] = msgspec.to_builtins(settings.forced_stop)
            told = msgspec.to_builtins(alert)
            hidden = ("snmp_community", "smtp_password_file")
            fields["alert"] = {key: value for key, value in told.items() if key not in hidden}
            continue
        if kind is Kind.FENCING:
            fields["forced_stop"] = msgspec.to_builtins(settings.forced_stop)
        key, objects = OBJECTS[kind]
        found = [msgspec.to_builtins(one) for one in objects(settings)]
        for one in found:
            one.pop("communities", None)
            for fence in one.get("fences", ()):
                del fence["password_file"]
            for resource in [one] if kind is Kind.RESOURCE else one.get("resources", ()):
                _hide(resource)
        fields[key] = [one for one in found if name in ("", one["name"])]
    return fields


def _hide(resource: dict[str, Any]) -> None:
    """Takes out what nobody should see of a resource."""
    if resource["type"] == "ocf":
        options = resource["options"]
        options["parameters"] = parameters_shown(options)
        options.pop("parameters_on", None)


def names_of(settings: Settings, kind: Kind) -> tuple[str, ...]:
    """Names of all objects of a kind."""
    return tuple(found for _, found, _ in SECTIONS[kind](settings, False))


Section = tuple[str, str, Lines]
"""Title in the brackets, name, lines."""


def _cluster(settings: Settings, detail: bool) -> Iterator[Section]:
    yield "Cluster", settings.cluster.name, _cluster_lines(settings, detail)


def _cluster_lines(settings: Settings, detail: bool) -> Lines:
    cluster = settings.cluster
    yield "Heartbeat Timeout", str(cluster.heartbeat_timeout_ms)
    yield "Heartbeat Interval", str(cluster.heartbeat_interval_ms)
    yield "Heartbeat Port Number", str(cluster.port)
    if not detail:
        return
    yield (
        "Configuration Revision",
        str(settings.revision or "none: it was never in force like this"),
    )
    yield "Vote Lease", str(cluster.lease_ms)
    yield "Self Stop", str(cluster.self_stop_ms)
    yield "Holder's Lease", "in force" if settings.leases_armed else "not in force"
    yield "Server Startup Wait", str(cluster.startup_wait_ms)
    yield "Takeover Without Proof", _onoff(cluster.takeover_without_proof)
    yield "Action at NP Occurrence", cluster.partition_action
    yield from _forced_stop_lines(settings)
    userw = next((m for m in settings.monitors if m.type == "userw"), None)
    if userw is not None:
        yield "Shutdown Monitoring Method", read(WatchdogOptions, userw.options).method
    yield "Action Command", cluster.action_command
    yield "Journal Size (bytes)", str(cluster.journal_bytes)
    yield "Metrics", cluster.metrics


def _alert_lines(alert: Alert) -> Lines:
    """Who is told of alerts; without the community, which admits traps."""
    yield "Alert Level", str(alert.level)
    if alert.mail_to:
        yield "E-mail Address", ", ".join(alert.mail_to)
        yield "E-mail Sender", alert.mail_from
        yield "SMTP Server", alert.smtp
        yield "SMTP Encryption", alert.smtp_tls
    for receiver in alert.snmp_to:
        yield "SNMP Trap Destination", f"{receiver} (v{alert.snmp_version})"
    yield "Alert Script", alert.script


def _forced_stop_lines(settings: Settings) -> Lines:
    stop = settings.forced_stop
    yield "Forced Stop Action", stop.action
    if stop.action != "none":
        yield "Forced Stop Timeout", str(stop.timeout_ms)
        yield "Forced Stop Retries", str(stop.retries)
        yield "Forced Stop Delay", str(settings.cluster.fence_delay_ms)


def _servers(settings: Settings, detail: bool) -> Iterator[Section]:
    for index, server in enumerate(settings.servers):
        yield f"Server{index}", server.name, _server_lines(settings, server, index, detail)


def _server_lines(settings: Settings, server: Server, index: int, detail: bool) -> Lines:
    yield "Priority", str(index + 1)
    for path in settings.interconnects:
        address = path.addresses.get(server.name, "")
        if path.is_lan and address:
            yield "IP Address", f"{address} ({path.name})"
    if server.bmc is not None:
        yield "BMC IP Address", server.bmc.address
        if detail:
            yield "BMC Port Number", str(server.bmc.port)
            yield "BMC User Name", server.bmc.user
    yield "Fence Agent", ", ".join(fence.name for fence in server.fences)
    if detail:
        groups = [g.name for g in settings.server_groups if server.name in g.servers]
        yield "Server Groups", ", ".join(groups)


def _heartbeats(settings: Settings, detail: bool) -> Iterator[Section]:
    for index, path in enumerate(settings.interconnects):
        yield f"HB{index}", path.name, _heartbeat_lines(path, index, detail)


def _heartbeat_lines(path: Interconnect, index: int, detail: bool) -> Lines:
    yield "Type", path.type
    yield "Comment", COMMENTS.get(path.type, "")
    yield "Priority", str(index + 1)
    for server, address in path.addresses.items():
        yield "IP Address", f"{address} ({server})"
    yield "URL", path.url
    if detail:
        yield "Heartbeat Interval", str(path.interval_ms)


def _arbiters(settings: Settings, detail: bool) -> Iterator[Section]:
    for index, arbiter in enumerate(settings.arbiters):
        yield f"NP{index}", arbiter.name, _arbiter_lines(arbiter, detail)


def _arbiter_lines(arbiter: Arbiter, detail: bool) -> Lines:
    yield "Type", arbiter.type
    yield "Comment", NP_COMMENTS.get(arbiter.type, "")
    yield from _options(arbiter.options)
    if detail:
        yield "Interval", str(arbiter.interval_ms)
        yield "Timeout", str(arbiter.timeout_ms)
        yield "Strong", _onoff(arbiter.strong)
        yield "Required", _onoff(arbiter.required)


def _fencing(settings: Settings, detail: bool) -> Iterator[Section]:
    yield from _arbiters(settings, detail)
    if settings.forced_stop.action != "none":
        yield "ForcedStop", "forced_stop", _forced_stop_lines(settings)
    fences = {(f.name, s.name): f for s in settings.servers for f in s.fences}
    for index, ((name, server), fence) in enumerate(sorted(fences.items())):
        yield f"Fence{index}", name, _fence_lines(fence, server, detail)


def _fence_lines(fence: FenceAgent, server: str, detail: bool) -> Lines:
    yield "Agent", fence.agent
    yield "Server", server
    yield "Order", str(fence.order)
    yield from fence.parameters.items()
    if detail:
        yield "Poll", _onoff(fence.poll)
        yield "Timeout", str(fence.timeout_ms)


def _server_groups(settings: Settings, detail: bool) -> Iterator[Section]:
    for index, group in enumerate(settings.server_groups):
        yield f"ServerGroup{index}", group.name, _server_group_lines(group)


def _server_group_lines(group: ServerGroup) -> Lines:
    yield "Servers", ", ".join(group.servers)


def _groups(settings: Settings, detail: bool) -> Iterator[Section]:
    for index, group in enumerate(settings.groups):
        yield f"Group{index}", group.name, _group_lines(group, detail)


def _group_lines(group: Group, detail: bool) -> Lines:
    yield "Type", "failover"
    yield "Comment", group.comment
    yield "Servers", ", ".join(group.servers)
    yield "Startup Attribute", group.startup
    yield "Failover Attribute", group.failover
    yield "Failback Attribute", group.failback
    if detail:
        yield "Server Groups", ", ".join(group.server_groups)
        if group.start_after or group.start_after_same_server:
            yield "Starts After", ", ".join(group.start_after)
            yield "Starts After, Same Server", ", ".join(group.start_after_same_server)
            yield "Start Wait", str(group.start_wait_ms)
        if group.stop_after:
            yield "Stops After", ", ".join(group.stop_after)
            yield "Stops After, At", ", ".join(group.stop_after_at)
            yield "Stop Wait", str(group.stop_wait_ms)
        if group.exclusive_with:
            yield "Exclusive With", ", ".join(group.exclusive_with)
            yield "Exclusive", group.exclusive
        yield "Resources", ", ".join(resource.name for resource in group.resources)


def _resources(settings: Settings, detail: bool) -> Iterator[Section]:
    every = ((group, resource) for group in settings.groups for resource in group.resources)
    for index, (group, resource) in enumerate(every):
        yield f"Resource{index}", resource.name, _resource_lines(group, resource, detail)


RESOURCE_KEYS = {
    "interface": "Interface",
    "start": "Start Script Path",
    "stop": "Stop Script Path",
    "unit": "Service Name",
}


def _resource_lines(group: Group, resource: Resource, detail: bool) -> Lines:
    yield "Type", resource.type
    yield "Comment", resource.comment
    yield "Group", group.name
    options = dict(resource.options)
    # Old scripts give what stands there to arping -s, which takes no prefix length.
    address = options.pop("address", None)
    of_each = address if isinstance(address, dict) else {"": str(address)} if address else {}
    for server, one in of_each.items():
        host, _, prefix = one.partition("/")
        of_it = f" ({server})" if server else ""
        yield "IP Address", f"{host}{of_it}"
        yield "Prefix Length", f"{prefix}{of_it}"
    if resource.type == "ocf":
        yield from _agent_lines(options)
    else:
        yield from _options(options, RESOURCE_KEYS)
    if not detail:
        return
    yield "Depends On", ", ".join(resource.depends)
    yield "Start Timeout", str(resource.start_timeout_ms)
    yield "Stop Timeout", str(resource.stop_timeout_ms)
    yield "Activation Retry Threshold", str(resource.start_retries)
    yield "Failover Threshold", str(resource.failover_on_failure)
    yield "Final Action", resource.final_action


def _agent_lines(options: dict[str, Option]) -> Lines:
    """The agent and what it is given, without what nobody should see."""
    yield "Agent", str(options.pop("agent"))
    for name, value in parameters_shown(options).items():
        yield "Parameter", f"{name} = {value}"
    yield from _options({k: v for k, v in options.items() if not k.startswith("parameters")})


def _monitors(settings: Settings, detail: bool) -> Iterator[Section]:
    for index, monitor in enumerate(settings.monitors):
        yield f"Monitor{index}", monitor.name, _monitor_lines(monitor, detail)


def _monitor_lines(monitor: Monitor, detail: bool) -> Lines:
    yield "Type", monitor.type
    yield "Comment", monitor.comment
    yield "Category", monitor.category
    for server, keyword in monitor.keywords.items():
        yield "Keyword", f"{keyword} ({server})"
    yield from _options(monitor.options)
    yield "Target", monitor.target
    recovery = monitor.recovery
    yield "Recovery Action", recovery.action
    yield "Recovery Target", recovery.target
    yield "Final Action", recovery.final_action
    if not detail:
        return
    yield "Servers", ", ".join(monitor.servers)
    yield "Interval", str(monitor.interval_ms)
    yield "Timeout", str(monitor.timeout_ms)
    yield "Retry Count", str(monitor.retries)
    yield "Wait Time to Start", str(monitor.start_wait_ms)
    yield "Monitor Timing", monitor.timing
    yield "Script Path", recovery.script
    yield "Script before Recovery", recovery.pre_action_script
    yield "Restart Threshold", str(recovery.restart_count)
    yield "Failover Threshold", str(recovery.failover_count)
    yield "Threshold Window", str(recovery.window_ms)
    if monitor.category:
        yield "Recover On", ", ".join(monitor.recover_on)
        yield "Stall on Predicted Failure", _onoff(monitor.stall_on_predictive_failure)
        yield "Stall on Performance Down", _onoff(monitor.stall_on_performance_down)
        yield "Prepare on Stall", _onoff(monitor.prepare_on_stall)
        yield "Quiet Window", in_text(monitor.quiet_windows)
        yield "Failover outside Server Group", _onoff(recovery.failover_outside_server_group)
        yield "After Recovery", recovery.after_recovery


class ExclusionRule(msgspec.Struct, frozen=True, kw_only=True):
    """Groups that are kept apart, by the word of one of them."""

    name: str
    """That group's: the rule has no other."""
    exclusive: str
    groups: tuple[str, ...]


def _rules(settings: Settings) -> Iterator[ExclusionRule]:
    for group in settings.groups:
        if group.exclusive_with:
            yield ExclusionRule(
                name=group.name,
                exclusive=group.exclusive,
                groups=(group.name, *group.exclusive_with),
            )


def _exclusions(settings: Settings, detail: bool) -> Iterator[Section]:
    for index, rule in enumerate(_rules(settings)):
        yield f"Exclusion{index}", rule.name, _exclusion_lines(rule)


def _exclusion_lines(rule: ExclusionRule) -> Lines:
    yield "Exclusive", rule.exclusive
    yield "Groups", ", ".join(rule.groups)


SECTIONS: dict[Kind, Callable[[Settings, bool], Iterator[Section]]] = {
    Kind.CLUSTER: _cluster,
    Kind.SERVER: _servers,
    Kind.HEARTBEAT: _heartbeats,
    Kind.NP: _arbiters,
    Kind.FENCING: _fencing,
    Kind.SERVER_GROUP: _server_groups,
    Kind.GROUP: _groups,
    Kind.RESOURCE: _resources,
    Kind.MONITOR: _monitors,
    Kind.EXCLUSION: _exclusions,
}


OBJECTS: dict[Kind, tuple[str, Callable[[Settings], Iterable[msgspec.Struct]]]] = {
    Kind.SERVER: ("servers", lambda settings: settings.servers),
    Kind.HEARTBEAT: ("interconnects", lambda settings: settings.interconnects),
    Kind.NP: ("np", lambda settings: settings.arbiters),
    Kind.FENCING: ("np", lambda settings: settings.arbiters),
    Kind.SERVER_GROUP: ("server_groups", lambda settings: settings.server_groups),
    Kind.GROUP: ("groups", lambda settings: settings.groups),
    Kind.RESOURCE: ("resources", lambda s: (r for group in s.groups for r in group.resources)),
    Kind.MONITOR: ("monitors", lambda settings: settings.monitors),
    Kind.EXCLUSION: ("exclusions", _rules),
}
"""Kind -> its key for programs, and where its objects are."""


def _options(options: dict[str, Option], keys: dict[str, str] | None = None) -> Lines:
    """The variant's own keys, under the original's names where it has one."""
    for key, value in options.items():
        named = (keys or {}).get(key, key.removesuffix("_ms").replace("_", " ").title())
        if key == "address" and isinstance(value, str):
            # Scripts take the value of the line with "IP" as it is: `arping -s` has no prefix.
            address, _, prefix = value.partition("/")
            yield named, address
            yield "Prefix Length", prefix
        else:
            yield named, _text(value)


def _text(value: Option) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return _onoff(value)
    if isinstance(value, tuple):
        return ", ".join(value)
    if isinstance(value, dict):
        return ", ".join(f"{found} ({server})" for server, found in value.items())
    return str(value)


def _onoff(value: bool) -> str:
    return "On" if value else "Off"
