"""Revisions of the configuration while the cluster runs, distributed as `clpcfctrl --push` does.

A push is prepared on every server of the new configuration, and put in force on all or on none;
only the last word to put it in force may be lost on the way.  Servers that join get it once
the others have it.  It goes on without servers that are proven down; these fetch it when they are
back.  The settings that the world began
with say all there is: a revision leaves something of them out, or takes it in again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from clptools.core.cluster.revision import joining
from clptools.core.cluster.timeout_ratio import stretched
from clptools.core.model import events as e
from clptools.core.model.settings import Monitor, Settings
from clptools.core.model.words import Exclusive
from clptools.sim.words import BadLine, Words

if TYPE_CHECKING:
    from clptools.sim.host import Host
    from clptools.sim.world import World

_LOST = 0.1
"""Share of the words "put it in force" that do not arrive."""


def revised(world: World, now: Settings, words: list[str]) -> Settings:
    """What `now` becomes.  Raises BadLine."""
    line = Words(world, words)
    change = REVISIONS[line.one_of("revision", *REVISIONS)]
    made = change.make(world.settings, now, line)
    line.end()
    return made


def _servers(line: Words) -> set[str]:
    if not line.more:
        raise BadLine("SERVER is missing")
    return {host.name for host in line.servers()}


def _remove(whole: Settings, now: Settings, line: Words) -> Settings:
    gone = _servers(line)
    return _with_servers(whole, now, tuple(n for n in now.names if n not in gone))


def _add(whole: Settings, now: Settings, line: Words) -> Settings:
    wanted = {*now.names, *_servers(line)}
    return _with_servers(whole, now, tuple(n for n in whole.names if n in wanted))


def _remove_group(whole: Settings, now: Settings, line: Words) -> Settings:
    gone = line.group()
    return msgspec.structs.replace(now, groups=tuple(g for g in now.groups if g.name != gone))


def _add_group(whole: Settings, now: Settings, line: Words) -> Settings:
    known = {g.name for g in now.groups} | {line.group()}
    groups = tuple(g for g in whole.groups if g.name in known)
    return _with_servers(whole, msgspec.structs.replace(now, groups=groups), now.names)


def _group_servers(whole: Settings, now: Settings, line: Words) -> Settings:
    group = line.group()
    order = tuple(h.name for h in line.servers() if h.name in now.names)
    groups = tuple(
        msgspec.structs.replace(g, servers=order) if g.name == group else g for g in now.groups
    )
    return msgspec.structs.replace(now, groups=groups)


def _start_after(whole: Settings, now: Settings, line: Words) -> Settings:
    group = line.group()
    new = _with_group(now, group, start_after=_groups(line))
    awaited = {g.name: (*g.start_after, *g.start_after_same_server) for g in new.groups}
    found, more = {group}, list(awaited.get(group, ()))
    while more:
        name = more.pop()
        if name == group:
            raise BadLine(f"{group} would wait for itself")  # no `clp.toml` may say that
        if name not in found:
            found.add(name)
            more += awaited.get(name, ())
    return new


def _exclusive(whole: Settings, now: Settings, line: Words) -> Settings:
    group, how = line.group(), line.one_of("strength", *Exclusive)
    return _with_group(now, group, exclusive_with=_groups(line), exclusive=Exclusive(how))


def _groups(line: Words) -> tuple[str, ...]:
    found = []
    while line.more:
        found.append(line.group())
    return tuple(found)


def _with_group(now: Settings, name: str, **changes: object) -> Settings:
    groups = tuple(
        msgspec.structs.replace(g, **changes) if g.name == name else g for g in now.groups
    )
    return msgspec.structs.replace(now, groups=groups)


def _ms(line: Words, what: str, low: float) -> int:
    return round(line.number(what, low, 3600) * 1000)


def _leases(whole: Settings, now: Settings, line: Words) -> Settings:
    changed = msgspec.structs.replace(
        now.cluster,
        lease_ms=_ms(line, "LEASE", 0.2),
        self_stop_ms=_ms(line, "SELF-STOP", 0.2),
        startup_wait_ms=_ms(line, "STARTUP-WAIT", 1),
    )
    return msgspec.structs.replace(now, cluster=changed)


def _timeouts(whole: Settings, now: Settings, line: Words) -> Settings:
    changed = msgspec.structs.replace(
        now.cluster,
        heartbeat_interval_ms=_ms(line, "INTERVAL", 0.02),
        heartbeat_timeout_ms=_ms(line, "TIMEOUT", 0.1),
    )
    return msgspec.structs.replace(now, cluster=changed)


def _forced_stop(whole: Settings, now: Settings, line: Words) -> Settings:
    action = line.one_of("action", "none", "power-off", "reset", "power-cycle", "nmi")
    forced = msgspec.structs.replace(now.forced_stop, action=action)
    return msgspec.structs.replace(now, forced_stop=forced)


def _userw(whole: Settings, now: Settings, line: Words) -> Settings:
    method = line.one_of("method", "none", "softdog", "ipmi", "guard", "keepalive")
    monitors = tuple(_by_method(m, method) for m in now.monitors)
    return msgspec.structs.replace(now, monitors=monitors)


def _bmc(whole: Settings, now: Settings, line: Words) -> Settings:
    name, address = line.server().name, line.word("ADDRESS")
    servers = tuple(
        msgspec.structs.replace(s, bmc=msgspec.structs.replace(s.bmc, address=address))
        if s.name == name and s.bmc is not None
        else s
        for s in now.servers
    )
    return msgspec.structs.replace(now, servers=servers)


class Revision(NamedTuple):
    """One change of the configuration, and how it is written."""

    make: Callable[[Settings, Settings, Words], Settings]
    """From what the world began with, and what is in force."""
    usage: str
    does: str


REVISIONS: dict[str, Revision] = {
    "same": Revision(lambda whole, now, line: now, "same", "Nothing changes but the number."),
    "again": Revision(
        lambda whole, now, line: msgspec.structs.replace(whole, revision=now.revision),
        "again",
        "All is as it was when the story began.",
    ),
    "remove": Revision(_remove, "remove SERVER ...", "Servers are taken out of the cluster."),
    "add": Revision(_add, "add SERVER ...", "They are taken in again."),
    "remove-group": Revision(_remove_group, "remove-group GROUP", "A group is taken out."),
    "add-group": Revision(_add_group, "add-group GROUP", "It is taken in again."),
    "remove-arbiter": Revision(
        lambda whole, now, line: msgspec.structs.replace(now, arbiters=()),
        "remove-arbiter",
        "The arbiter is taken out.",
    ),
    "add-arbiter": Revision(
        lambda whole, now, line: msgspec.structs.replace(now, arbiters=whole.arbiters),
        "add-arbiter",
        "It is taken in again.",
    ),
    "group-servers": Revision(
        _group_servers, "group-servers GROUP SERVER ...", "A group's servers, in this order."
    ),
    "start-after": Revision(
        _start_after,
        "start-after GROUP [GROUP ...]",
        "The first group starts after the others; after none if none is named.",
    ),
    "exclusive": Revision(
        _exclusive,
        "exclusive GROUP normal|absolute [GROUP ...]",
        "The first group is kept apart from the others, so strictly.",
    ),
    "leases": Revision(
        _leases,
        "leases LEASE SELF-STOP STARTUP-WAIT",
        "`lease`, `self_stop` and `startup_wait`, in seconds.",
    ),
    "timeouts": Revision(
        _timeouts,
        "timeouts INTERVAL TIMEOUT",
        "`heartbeat_interval` and `heartbeat_timeout`, in seconds.",
    ),
    "userw": Revision(
        _userw, "userw METHOD", "`method` of the user mode monitor, and so the watchdog."
    ),
    "bmc": Revision(_bmc, "bmc SERVER ADDRESS", "Where a server's BMC is asked from now on."),
    "forced-stop": Revision(
        _forced_stop, "forced-stop ACTION", "`action` of the forced stop; `none`: there is none."
    ),
}


def _by_method(monitor: Monitor, method: str) -> Monitor:
    if monitor.type != "userw":
        return monitor
    return msgspec.structs.replace(monitor, options={**monitor.options, "method": method})


def _with_servers(whole: Settings, now: Settings, names: tuple[str, ...]) -> Settings:
    """`now` with these servers; groups may run where the whole configuration lets them."""
    configured = {g.name: g for g in whole.groups}
    return msgspec.structs.replace(
        now,
        servers=tuple(s for s in whole.servers if s.name in names),
        groups=tuple(
            msgspec.structs.replace(
                g, servers=tuple(n for n in configured.get(g.name, g).servers if n in names)
            )
            for g in now.groups
        ),
        monitors=tuple(msgspec.structs.replace(m, servers=names) for m in now.monitors),
    )


def push(world: World, by: Host, words: list[str]) -> str:
    """One push from a server; returns why it failed, or nothing.

    Words: `-server3`: the commit to that server is lost; `without-server3`: the operator vouches
    for a server that is not reached.
    """
    vouched = {word.removeprefix("without-") for word in words if word.startswith("without-")}
    words = [word for word in words if not word.startswith("without-")]
    lost = {word[1:] for word in words if word.startswith("-")}
    words = [word for word in words if not word.startswith("-")]
    if by.node is None or not by.configured:
        return f"{by.name} has no agent to push with"
    new = revised(world, by.settings, words)
    if not any(new.names) or any(not g.servers for g in new.groups):
        return "no server would be left"
    hosts = [world.hosts[name] for name in new.names]
    dark = [h for h in hosts if not _answers(world, by, h)]
    for host in dark:
        why = by.node.revision.unready(new, host.name, host.name in vouched)
        if why:
            return f"{host.name} does not answer; {why}"
    hosts = [h for h in hosts if h not in dark]
    removed = [world.hosts[n] for n in by.settings.names if n not in new.names]
    running = [h.name for h in removed if h is by or by.node.peers.is_online(h.name)]
    if running:
        return f"{running[0]} still runs"
    refused = [r for h in hosts if h.node is not None and (r := h.node.refuses(new))]
    if refused:
        return str(refused[0].text)
    number = max(h.settings.revision for h in world.hosts.values()) + 1
    new = msgspec.structs.replace(new, revision=number)
    for host in hosts:
        if host.node is not None and host.configured:
            world.step(host, e.SettingsOffered(settings=new))
    for host in dark:
        world.note(f"revision {number} is pushed without {host.name}")
    known = {h.name: h.settings.names if h.configured else () for h in hosts}
    last = joining(known, known)
    older = [h for h in hosts if h.name not in last]
    longest = 0
    for host in sorted(hosts, key=lambda h: h.name in last):
        if host.name in lost or (not lost and world.rng.random() < _LOST):
            world.note(f"{host.name} is not told to put revision {number} in force")
            continue
        took = 200 + int(world.rng.random() * 50_000)
        waits_for = older if host.name in last else []
        longest = max(longest, took)
        when = world.t + took + (longest if waits_for else 0)
        world.at(when, _commit, world, host, host.boots, host.incarnation, new, waits_for)
    for host in removed:
        _unconfigure(world, host)
    return ""


def fetch(world: World, host: Host) -> str:
    """A server takes over what another one has and it has not; what was in the way, or nothing."""
    if host.node is None or not host.configured or host.frozen:
        return f"{host.name} has no agent to ask with"
    others = (h for h in world.hosts.values() if h is not host and h.node is not None)
    newer = [
        h
        for h in others
        if h.settings.revision > host.settings.revision
        and host.name in h.settings.names
        and _answers(world, host, h)
    ]
    if not newer:
        return ""
    new = max(newer, key=lambda h: h.settings.revision).settings
    if refused := host.node.refuses(new):
        return str(refused.text)
    world.step(host, e.SettingsOffered(settings=new))
    _commit(world, host, host.boots, host.incarnation, new, [])
    return ""


def _answers(world: World, by: Host, host: Host) -> bool:
    if host is by:
        return True
    up = host.node is not None if host.configured else host.os_up and host.powered
    return (
        up
        and not host.frozen
        and not host.disk.read_only
        and world.network.connected(by.name, host.name)
    )


def _commit(
    world: World,
    host: Host,
    boots: int,
    incarnation: str,
    new: Settings,
    waits_for: list[Host],
) -> None:
    """Puts it in force, if the agent that prepared it still runs and `waits_for` have it."""
    lacking = [h.name for h in waits_for if h.settings.revision < new.revision]
    if lacking:
        world.note(f"{host.name} does not join yet: {', '.join(lacking)} has not taken it over")
        return
    if host.boots != boots or host.incarnation != incarnation or host.frozen:
        return
    if host.configured and host.node is None:
        return
    if host.node is not None and host.node.refuses(new):
        return
    host.settings = new
    world.note(f"{host.name} has revision {new.revision}: {', '.join(new.names)}")
    if host.configured:
        world.step(host, e.SettingsChanged(settings=stretched(new, host.ratio)))
    else:
        host.configured = True
        world.start_agent(host)


def _unconfigure(world: World, host: Host) -> None:
    """A server that is no longer among the cluster's: its configuration is taken away.

    While it is down that is done before it is switched on again.
    """
    if not host.active:
        world.end_agent(host)
        host.configured = False
        host.run, host.service_stopped = None, False
        host.disk.member = host.disk.synced = False
