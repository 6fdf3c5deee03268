"""Verbs of BMCs, arbiters and scripts, and of what hardware and monitors report."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from clptools.core.model import events as e
from clptools.core.model.words import EventClass, Severity
from clptools.sim.bmc_model import Bmc
from clptools.sim.host import Host
from clptools.sim.words import BadLine, Verb, Words, shown
from clptools.sim.world import World

CLASSES = tuple(EventClass)


def _restart(world: World, name: str, words: Words) -> None:
    takes_us = words.us()
    silent = words.more and words.one_of("manner", "off", "silent") == "silent"
    world.bmcs.restart(name, *((takes_us, 0) if silent else (0, takes_us)))


def _swap(world: World, bmc: Bmc, name: str, other: str) -> None:
    bmc.drives, world.bmcs.of[other].drives = other, name


class Way(NamedTuple):
    """What a BMC can do wrong."""

    run: Callable[[World, Bmc, str, Words], object]
    usage: str
    does: str


BMC_WAYS: dict[str, Way] = {
    "dead": Way(lambda w, b, n, x: setattr(b, "dead", True), "dead", "It answers nobody."),
    "slow": Way(
        lambda w, b, n, x: setattr(b, "slow_us", x.us()),
        "slow SECONDS",
        "Each answer takes that much longer.",
    ),
    "cut": Way(
        lambda w, b, n, x: b.cut_from.update(h.name for h in x.servers()),
        "cut [SERVER ...]",
        "It does not hear these servers; with none named it hears nobody.",
    ),
    "restart": Way(
        lambda w, b, n, x: _restart(w, n, x),
        "restart SECONDS [off|silent]",
        "It restarts: its sessions are lost, and for so long it reads off (`off`, the default) or "
        "does not answer (`silent`).",
    ),
    "still": Way(lambda w, b, n, x: w.bmcs.stop_beats(n), "still", "Its heartbeat stops."),
    "stuck-on": Way(
        lambda w, b, n, x: setattr(b, "stuck_on", True), "stuck-on", "It reads on whatever happens."
    ),
    "lies-off": Way(
        lambda w, b, n, x: setattr(b, "lies_off", True), "lies-off", "It reads off though it is on."
    ),
    "blinks": Way(
        lambda w, b, n, x: setattr(b, "blinks", True),
        "blinks",
        "It reads off, but only while something could contradict it.",
    ),
    "sessionless": Way(
        lambda w, b, n, x: setattr(b, "sessionless", True),
        "sessionless",
        "Its protocol keeps no session.",
    ),
    "swapped": Way(
        lambda w, b, n, x: _swap(w, b, n, x.server().name),
        "swapped SERVER",
        "It drives that server, and the BMC of that one drives this.",
    ),
    "fence-fails": Way(
        lambda w, b, n, x: setattr(b, "fence_fails", True),
        "fence-fails",
        "It refuses to switch the power.",
    ),
    "fence-busy": Way(
        lambda w, b, n, x: setattr(b, "fence_busy_us", x.us()),
        "fence-busy SECONDS",
        "It refuses to switch the power for that long from the first time on, as it is busy.",
    ),
    "fence-unanswered": Way(
        lambda w, b, n, x: setattr(b, "fence_unanswered", True),
        "fence-unanswered",
        "It switches the power and does not answer to it.",
    ),
    "fence-lies": Way(
        lambda w, b, n, x: setattr(b, "fence_lies", True),
        "fence-lies",
        "It accepts a power-down, and does nothing.",
    ),
    "fence-late": Way(
        lambda w, b, n, x: setattr(b, "fence_late_us", x.us()),
        "fence-late SECONDS",
        "It switches the power that much later.",
    ),
    "mend": Way(lambda w, b, n, x: b.mend(), "mend", "It works again."),
}


def _bmc(world: World, words: Words) -> None:
    name = words.server().name
    way = BMC_WAYS[words.one_of("way of a BMC", *BMC_WAYS)]
    way.run(world, world.bmcs.of[name], name, words)
    words.end()


def _arbiter(world: World, words: Words) -> None:
    how = words.one_of("state", "down", "slow", "cut", "mend")
    slow_us = words.us() if how == "slow" else 0
    away = [h.name for h in words.servers()] if how == "cut" else []
    words.end()
    for arbiter in world.arbiters.values():
        if how == "mend":
            arbiter.mend()
        elif how == "down":
            arbiter.down = True
        elif how == "slow":
            arbiter.slow_us = slow_us
        else:
            arbiter.cut_from.update(away)


_SEVERITIES = {"fails-here": Severity.HARD, "fails-everywhere": Severity.FATAL}


def _script(world: World, words: Words) -> None:
    scripts, name = words.server().scripts, words.word("RESOURCE")
    if name == "mend":
        words.end()
        scripts.clear()
        return
    op = words.one_of("operation", "start", "stop", "migrate", "monitor", "run")
    if op in ("start", "stop", "migrate"):
        resources = (x.name for g in world.settings.groups for x in g.resources)
        Words(world, [name]).one_of("resource", "*", *resources)
    also = tuple(_SEVERITIES) if op == "start" else ()
    how = words.one_of("manner", "fails", "hangs", "takes", *also)
    takes_us = words.us() if how == "takes" else 0
    words.end()
    if how == "fails":
        scripts.failing.add((name, op))
    elif how in _SEVERITIES:
        scripts.failing.add((name, op))
        scripts.severity[name] = _SEVERITIES[how]
    elif how == "hangs":
        scripts.hanging.add((name, op))
    else:
        scripts.slow_us[name, op] = takes_us


def _trap(world: World, words: Words) -> None:
    host, monitor = words.server(), words.monitor()
    event_class = EventClass(words.one_of("class", *CLASSES))
    key = words.word("EVENT")
    twice = words.word("DUPLICATE-KEY") if words.more else ""
    words.end()
    _trapped(world, host, monitor, event_class, key, twice)


def _trapped(
    world: World, host: Host, monitor: str, event_class: EventClass, key: str, twice: str = ""
) -> None:
    world.traps += 1
    seen = e.HardwareSeen(
        monitor=monitor,
        key=key,
        duplicate_key=twice or f"{world.traps}",
        event_class=event_class,
        meaning=f"{key} {event_class.lower()}",
        source=f"BMC of {host.name}",
    )
    world.step(host, seen)


def _window(world: World, words: Words) -> None:
    name = words.one_of("server", "*", *world.hosts)
    monitor = words.monitor()
    opens_us = world.t + words.us("IN")
    closes_us = opens_us + words.us("LASTS")
    words.end()
    for host in world.hosts.values():
        if name in ("*", host.name):
            host.windows[monitor] = (opens_us, closes_us)
            world.tell_window(host, monitor)


def _storm(world: World, words: Words) -> None:
    host, monitor, count = words.server(), words.monitor(), words.whole("COUNT", 1, 100_000)
    distinct = words.more and bool(words.one_of("manner", "distinct"))
    words.end()
    world.storms += 1
    for i in range(count):
        j = i % 31
        event_class = (
            EventClass.INFO,
            EventClass.PERFORMANCE,
            EventClass.ERROR,
            EventClass.PREDICT,
            EventClass.CLEAR,
        )[j % 5]
        seen = (event_class, f"sensor{j % 7}", f"{world.storms}.{j}")
        if distinct:
            seen = (EventClass.PREDICT, f"sensor{i}", f"{world.storms}.{i}")
        world.at(world.t + i * 2000, _trapped, world, host, monitor, *seen)


def _message(world: World, words: Words) -> None:
    host = words.server()
    recovered = words.take("recovered")
    category = words.word("CATEGORY")
    keyword = words.word("DEVICE") if words.more else ""
    words.end()
    seen = e.MessageSeen(
        category=category, keyword=keyword, text=f"{category} {keyword}", recovered=recovered
    )
    world.step(host, seen)


def _monitor(world: World, words: Words) -> None:
    failing = words.server().scripts.failing
    name, how = words.monitor(), words.one_of("state", "error", "normal")
    words.end()
    if how == "error":
        failing.add((name, "monitor"))
    else:
        failing.discard((name, "monitor"))


def _lost(world: World, words: Words) -> None:
    host, name = words.server(), words.word("RESOURCE")
    group = world.settings.group_of(name)
    if group is None or group.resource(name) is None:
        raise BadLine(f"{shown(name)}: no such resource")
    words.end()
    if host.node is not None:
        world.step(host, e.ResourceLost(group=group.name, resource=name, text="it was taken away"))


def _unwell(world: World, words: Words) -> None:
    host, name = words.server(), words.word("NAME")
    over = words.take("over")
    monitors = []
    while words.more:
        monitors.append(words.monitor())
    if host.node is not None:
        text = "" if over else f"{name} is not well"
        world.step(host, e.ConditionSeen(name=name, text=text, monitors=tuple(monitors)))


HARDWARE_VERBS: dict[str, Verb] = {
    "bmc": Verb(
        _bmc,
        "bmc SERVER " + "|".join(way.usage for way in BMC_WAYS.values()),
        "bmc server1 dead",
        "The BMC of that server does something wrong; see below.",
    ),
    "arbiter": Verb(
        _arbiter,
        "arbiter down|slow SECONDS|cut [SERVER ...]|mend",
        "arbiter down",
        "The arbiter answers nobody, answers late, does not hear these servers (none named: "
        "anybody), or works again.",
    ),
    "script": Verb(
        _script,
        "script SERVER RESOURCE|* start|stop|migrate|monitor|run fails|hangs|takes SECONDS, or: "
        "script SERVER RESOURCE|* start fails-here|fails-everywhere, or: script SERVER mend",
        "script server1 exec1 stop hangs",
        "From now on that operation of a resource (`*`: of all, but not with `takes`) goes so on "
        "that server; with `run`, the recovery script of that name. A start that `fails-here` "
        "says that only a mend on that server ends it, as a resource agent can; "
        "`fails-everywhere`: that it would fail on every server.",
    ),
    "trap": Verb(
        _trap,
        "trap SERVER MONITOR CLASS EVENT [DUPLICATE-KEY]",
        "trap server1 mrw1 FATAL cpu1",
        f"The server's BMC sends a trap. CLASS is {', '.join(CLASSES[:-1])} or {CLASSES[-1]}; "
        "two traps with one DUPLICATE-KEY are one that came twice.",
    ),
    "window": Verb(
        _window,
        "window SERVER|* MONITOR IN LASTS",
        "window * mrw1 600 7200",
        "By the server's wall clock the next quiet window of a monitor opens in so many seconds, "
        "and lasts so long; 0: there is none. Of a clock that was wrong, the last word counts.",
    ),
    "storm": Verb(
        _storm,
        "storm SERVER MONITOR COUNT [distinct]",
        "storm server1 mrw1 500",
        "So many traps come, 2 ms apart, none of them fatal; `distinct`: no two are alike.",
    ),
    "message": Verb(
        _message,
        "message SERVER CATEGORY [DEVICE] [recovered]",
        "message server1 NIC eth0",
        "A message arrives at the server's message socket.",
    ),
    "monitor": Verb(
        _monitor,
        "monitor SERVER MONITOR error|normal",
        "monitor server1 genw1 error",
        "An active monitor finds its target broken from now on, or well.",
    ),
    "gone": Verb(
        _lost,
        "gone SERVER RESOURCE",
        "gone server1 exec1",
        "A resource that ran is found gone there, and cannot be put back in place.",
    ),
    "unwell": Verb(
        _unwell,
        "unwell SERVER NAME [MONITOR ...] [over]",
        "unwell server1 port162 mrw1",
        "Something on the server itself is not well from now on, or is well again (`over`).",
    ),
}
