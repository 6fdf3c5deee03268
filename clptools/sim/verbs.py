"""The words of scenario files and fault schedules: one table, each verb with how it is written.

A random schedule of `explore.py` is nothing but lines of these verbs with times, so a failing
seed is a scenario file.  Verbs that find nothing to do (killing an agent that is down) do
nothing: a shrunk schedule stays playable.  `docs/scenarios.md` is made from the tables here.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import NamedTuple, get_args

from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model import requests as r
from clptools.core.model.words import EventClass
from clptools.sim import snapshot
from clptools.sim.bmc_model import Bmc
from clptools.sim.breaks import AT_ONCE, Breaks, Perform
from clptools.sim.host import SECOND, Host, Trigger
from clptools.sim.network import CONTROL
from clptools.sim.revise import push, revised
from clptools.sim.show import describe_world
from clptools.sim.words import BadLine as BadLine
from clptools.sim.words import Words, shown, whole_in
from clptools.sim.world import CUTS, World

CLASSES = tuple(EventClass)
_ACTIONS = tuple(sorted(str(kind.__struct_config__.tag) for kind in get_args(a.Action)))
_MANY = 1_000_000
"""More of anything no story needs."""
_MEDDLE = {
    "disk", "forget", "leave", "message", "monitor", "request", "restore", "revise", "run",
    "script", "storm", "trap", "window", "wipe",
}  # fmt: skip
"""Verbs after which a group may stop for another reason than a fault of machines and networks."""
_LOOKS = {"advance", "until", "log", "state"}
"""Verbs that cannot come between two actions: they let time pass, or are for the reader."""


class Verb(NamedTuple):
    """One verb: what it does, and how a line of it looks."""

    run: Callable[[World, Words], str | None]
    usage: str
    """Its words: capitals stand for something, brackets for what may be left out."""
    example: str
    does: str
    """A sentence, or two."""


def perform(world: World, line: str) -> str:
    """Carry out one line; the text that it prints, or nothing.  Raises BadLine."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        raise BadLine(
            f"{shown(line)}: {str(error).lower()}; close it, or leave the quote out"
        ) from None
    if not words:
        return ""
    verb = VERBS.get(words[0])
    if verb is None:
        raise BadLine(f"{shown(words[0])}: no such verb; known: {' '.join(sorted(VERBS))}")
    if words[0] in _MEDDLE:
        world.check.meddled = True
    try:
        rest = Words(world, [_named(world, word) for word in words[1:]])
        return verb.run(world, rest) or ""
    except BadLine as error:
        if error.line:
            raise  # of a line further up, whose time came only now
        usage = f"; usage: {verb.usage}" if verb.usage != verb.example else ""
        raise BadLine(f"{shown(line)}: {error}{usage}; an example: {verb.example}") from None


def _named(world: World, word: str) -> str:
    """`@coordinator3`, `@holder3`: whoever it is when the word is first met in the schedule."""
    if not word.startswith("@"):
        return word
    if word not in world.aliases:
        world.aliases[word] = _whoever(world, word.rstrip("0123456789")) or word
    found = world.aliases[word]
    return world.settings.names[0] if found == word else found


def _whoever(world: World, word: str) -> str | None:
    if word == "@coordinator":
        offices = (h for h in world.hosts.values() if h.node is not None)
        return next(
            (h.name for h in offices if h.node.state.election.office == "coordinator"), None
        )
    if word == "@holder":
        return next((h.name for h in world.hosts.values() if h.active), None)
    raise BadLine(f"{shown(word)}: not @coordinator or @holder")


# --- parts -----------------------------------------------------------------------------------


def _each(do: Callable[[World, Host], object]) -> Callable[[World, Words], None]:
    """A verb that does the same to every server named (none named: to all)."""

    def run(world: World, words: Words) -> None:
        for host in words.servers():
            do(world, host)

    return run


def _later(number: int) -> Perform:
    """Carries out a line when its time has come; a fault of it is told of the line it is from."""

    def run(world: World, line: str) -> object:
        try:
            return perform(world, line)
        except BadLine as error:
            raise error.of(number) from None

    return run


# --- servers ---------------------------------------------------------------------------------


def _start(world: World, host: Host) -> None:
    host.enabled = True
    world.start_agent(host)


def _on(world: World, host: Host) -> None:
    if host.name in world.vouched:
        # The operator's word includes that it stays off until it is back on the network.
        world.vouched.discard(host.name)
        for other in world.hosts:
            world.network.heal(host.name, other)
        world.network.protected.add(host.name)
        back = world.t + world.boot_us[1] + 10 * SECOND
        world.at(back, world.network.protected.discard, host.name)
    host.enabled = True
    world.power_on(host)


def _pause(world: World, words: Words, *, stalled: bool = False) -> None:
    host = words.server()
    lasts_us = words.us() if words.more else None
    words.end()
    world.freeze(host, stalled=stalled)
    if lasts_us is not None:
        world.at(world.t + lasts_us, world.thaw, host)


def _interrupt(world: World, words: Words) -> None:
    host, count = words.server(), words.whole("COUNT", 0, _MANY)
    how = words.one_of("interruption", "kill", "off", "reset", "pause", "stall", *CUTS)
    lasts_us = words.us() if words.more else 0
    words.end()
    host.stop_after = (count, how, lasts_us)


def _upon(world: World, words: Words) -> None:
    host, action = words.server(), words.one_of("action", *_ACTIONS)
    count, rest = words.whole("COUNT", 0, _MANY), words.rest()
    Words(world, rest[:1]).one_of("verb between two actions", *sorted(AT_ONCE))
    line, run = shlex.join(rest), _later(world.line)
    host.upon.append(Trigger(action, count, lambda: run(world, line)))


def _break(world: World, words: Words, *, before: bool) -> None:
    host, place, rest = words.server(), words.word("COUNT"), words.rest()
    count, plus, later = place.partition("+")
    left = whole_in(count, "COUNT", 1, _MANY)
    later_us = Words(world, [later]).us("SECONDS after the +") if plus else 0
    Words(world, rest[:1]).one_of("verb of a fault", *sorted(set(VERBS) - _LOOKS))
    if not isinstance(world.between, Breaks):
        world.between = Breaks(world)
    line = shlex.join(rest)
    world.between.add(host, left, line, later_us, _later(world.line), before=before)


def _wipe(world: World, host: Host) -> None:
    if host.node is None:
        host.disk.member = host.disk.synced = False


def _forget(world: World, host: Host) -> None:
    if host.node is None:
        host.run = None


def _drift(world: World, words: Words) -> None:
    host, ppm = words.server(), words.whole("PPM", -500_000, 500_000)
    words.end()
    host.drift(world.t, ppm)
    world.executor.clock_changed(host)


def _watchdog(world: World, words: Words) -> None:
    host, how = words.server(), words.one_of("state", "broken", "works", "dies")
    told_us = words.us() if how == "dies" and words.more else None
    words.end()
    if how == "dies":
        world.executor.watchdog_dies(host, told_us)
    else:
        host.watchdog.works = how == "works"


def _run(world: World, words: Words) -> None:
    host, how = words.server(), words.one_of("state", "fails", "works", "wiped")
    words.end()
    if how == "wiped":
        if host.node is None:
            host.run, host.service_stopped = None, False
        host.run_wiped = host.node is not None
    else:
        host.run_fails = how == "fails"
        world.start_agent(host)


def _disk(world: World, words: Words) -> None:
    host, how = words.server(), words.one_of("state", "read-only", "no-notes", "works")
    words.end()
    host.disk.read_only, host.disk.notes = how == "read-only", how == "works"
    world.start_agent(host)


def _boot(world: World, words: Words) -> None:
    host, takes = words.server(), words.seconds()
    words.end()
    host.boot_s = takes


# --- network ---------------------------------------------------------------------------------


def _cut(world: World, words: Words, *, oneway: bool = False) -> None:
    a, b = words.two()
    link = words.one_of("interconnect", *world.network.links) if words.more else ""
    words.end()
    world.network.cut(a, b, link, oneway)


def _cut_off(how: str) -> Verb:
    """`isolate`, `deaf` or `mute`: every server named."""
    does = {
        "isolate": "Nothing passes between it and the others.",
        "deaf": "It sends, and hears nothing.",
    }.get(how, "It hears, and nobody hears it.")
    return Verb(
        _each(lambda w, h: CUTS[how](w.network, h.name, w.hosts)),
        f"{how} [SERVER ...]",
        f"{how} server1",
        does,
    )


def _split(world: World, words: Words) -> None:
    sides = [Words(world, side.split(",")).servers() for side in words.rest()]
    if len(sides) < 2:
        raise BadLine("the other side is missing")
    for i, side in enumerate(sides):
        for other in sides[i + 1 :]:
            for one in side:
                for two in other:
                    world.network.cut(one.name, two.name)


def _heal(world: World, words: Words) -> None:
    if words.more:
        a, b = words.two()
        words.end()
        world.network.heal(a, b)
    else:
        world.network.heal()


def _lose(world: World, words: Words) -> None:
    share = words.number("SHARE", 0, 1)
    pair = words.two() if words.more else None
    words.end()
    if pair is not None:
        world.network.pair_loss[pair] = share
    else:
        world.network.loss = share


def _lose_large(world: World, words: Words) -> None:
    limit = words.whole("BYTES", 0, 65_535)
    pair = words.two() if words.more else None
    words.end()
    if pair is not None:
        world.network.pair_large[pair] = limit
    else:
        world.network.large = limit
        world.network.pair_large.clear()


def _late(world: World, words: Words) -> None:
    share = words.number("SHARE", 0, 1)
    up_to_us = words.us() if words.more else 0
    words.end()
    world.network.late, world.network.late_us = share, up_to_us


def _double(world: World, words: Words) -> None:
    share = words.number("SHARE", 0, 1)
    words.end()
    world.network.double = share


def _hold(world: World, words: Words, *, copy: bool = False) -> None:
    a, b = words.two()
    kinds = (words.one_of("kind", CONTROL),) if words.more else world.network.links
    words.end()
    for kind in kinds:
        (world.network.tapped if copy else world.network.held).add((a, b, kind))


def _record(world: World, words: Words) -> None:
    a, b = words.two()
    words.end()
    world.executor.sniff(a, b)


def _replay(world: World, words: Words) -> None:
    a, b = words.two()
    rate, lasts = words.number("RATE", 0.001, 10_000), words.number("SECONDS", 0, 3600)
    words.end()
    world.executor.replay(a, b, rate, lasts)


def _pass(world: World, words: Words) -> None:
    a, b = words.two()
    words.end()
    for kind in (CONTROL, *world.network.links):
        world.network.held.discard((a, b, kind))


def _release(world: World, words: Words) -> None:
    a, b = words.two()
    words.end()
    for kind in (CONTROL, *world.network.links):
        world.executor.release(a, b, kind)


# --- BMC, arbiter, scripts -------------------------------------------------------------------


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
    how = words.one_of("manner", "fails", "hangs", "takes")
    takes_us = words.us() if how == "takes" else 0
    words.end()
    if how == "fails":
        scripts.failing.add((name, op))
    elif how == "hangs":
        scripts.hanging.add((name, op))
    else:
        scripts.slow_us[name, op] = takes_us


# --- events and requests ---------------------------------------------------------------------


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


def _request(world: World, words: Words) -> None:
    host, what = words.server(), words.one_of("request", *REQUESTS)
    force, mistaken = words.take("force"), words.take("mistaken")
    late = words.take("late")
    made = REQUESTS[what].make(words, force)
    words.end()
    if isinstance(made, r.ConfirmDown) and not mistaken:
        if world.hosts[made.down].powered:
            return
        world.vouched.add(made.down)
    if isinstance(made, r.Resume):
        world.check.resumed()
    if isinstance(made, r.ForceStop):
        world.forced.add(made.down)
    if isinstance(made, r.GroupStop):
        world.check.service.asked(made.group)
    if isinstance(made, r.ServiceStop):
        _service_stop(world, host.name, made)
    world.requests += 1
    asked_at = host.now(world.t) - r.LASTS_MS - 1 if late else 0
    seen = e.RequestSeen(id=f"r{world.requests}", user="root", request=made, asked_at=asked_at)
    world.step(host, seen)


def _service_stop(world: World, here: str, made: r.ServiceStop) -> None:
    """Somebody wants that server down, or all of them: that is no fault of ours."""
    if made.server == "*":
        world.check.service.asked("")
    for name in world.hosts if made.server == "*" else (made.server or here,):
        world.hosts[name].asked_down = True


_THEN = {"restart": "start", "start": "start", "reboot": "reboot", "shutdown": "shutdown"}


def _stop_service(words: Words) -> r.ServiceStop:
    rest = words.rest()
    then = _THEN.get(rest[-1], "") if rest else ""
    left = Words(words.world, rest[:-1] if then else rest)
    server = left.one_of("server", "*", *words.world.hosts) if left.more else ""
    left.end()
    return r.ServiceStop(server=server, then=then)


def _start_service(words: Words) -> r.ServiceStart:
    server = words.one_of("server", "*", *words.world.hosts) if words.more else ""
    return r.ServiceStart(server=server)


def _stretch(words: Words) -> r.StretchTimeouts:
    ratio = words.whole("RATIO", 1, r.MAX_RATIO)
    lasts = words.number("SECONDS", 0, r.MAX_RATIO_MS / 1000) if words.more else 0.0
    return r.StretchTimeouts(ratio=ratio, for_ms=round(lasts * 1000))


def _notice(words: Words, *, clear: bool = False) -> r.ExternalNotice:
    """`RAID sda`: a category, and a device."""
    category = words.word("CATEGORY")
    keyword = words.word("DEVICE") if words.more else ""
    text = f"{category} {keyword}".rstrip()
    return r.ExternalNotice(category=category, keyword=keyword, text=text, clear=clear)


def _maybe(words: Words) -> str:
    """The next word, which may be left out; whether such a thing is there the core says."""
    return words.word("") if words.more else ""


class Ask(NamedTuple):
    """One request: what it becomes, and how it is written."""

    make: Callable[[Words, bool], r.Request]
    usage: str
    does: str


REQUESTS: dict[str, Ask] = {
    "move": Ask(
        lambda w, f: r.GroupMove(group=w.word("GROUP"), to=_maybe(w), force=f),
        "move GROUP [SERVER] [force]",
        "Move a group, as `clpgrp -m`.",
    ),
    "start": Ask(
        lambda w, f: r.GroupStart(group=_maybe(w), server=_maybe(w), force=f),
        "start [GROUP [SERVER]] [force]",
        "Start a group, or all, as `clpgrp -s`.",
    ),
    "stop": Ask(
        lambda w, f: r.GroupStop(group=_maybe(w), force=f),
        "stop [GROUP] [force]",
        "Stop a group, or all, as `clpgrp -t`.",
    ),
    "cancel": Ask(
        lambda w, f: r.GroupCancel(group=w.word("GROUP")),
        "cancel GROUP",
        "Call a planned move off, as `clpgrp --cancel`.",
    ),
    "suspend": Ask(
        lambda w, f: r.Suspend(force=f),
        "suspend [force]",
        "Suspend the cluster, as `clpcl --suspend`.",
    ),
    "resume": Ask(lambda w, f: r.Resume(), "resume", "Resume it, as `clpcl --resume`."),
    "stretch": Ask(
        lambda w, f: _stretch(w),
        "stretch RATIO [SECONDS]",
        "Stretch time-outs for a while, as `clptoratio`.",
    ),
    "confirm-down": Ask(
        lambda w, f: r.ConfirmDown(down=w.server().name, force=f),
        "confirm-down SERVER [force] [mistaken]",
        "Say that a server is down, as `clpnode confirm-down`. Nothing is said of a server that "
        "is on, unless the person is `mistaken`.",
    ),
    "force-stop": Ask(
        lambda w, f: r.ForceStop(down=w.server().name),
        "force-stop SERVER",
        "Power a server off, as `clpforcestop`.",
    ),
    "service-stop": Ask(
        lambda w, f: _stop_service(w),
        "service-stop [SERVER|*] [restart|reboot|shutdown]",
        "Stop the cluster service here, on a server or on all, as `clpcl -t`, `clpcl -r`, "
        "`clpstdn` or `clpdown`.",
    ),
    "service-start": Ask(
        lambda w, f: _start_service(w),
        "service-start [SERVER|*]",
        "Start the cluster service, as `clpcl -s`.",
    ),
    "notice": Ask(
        lambda w, f: _notice(w), "notice CATEGORY [DEVICE]", "Report a fault, as `clprexec`."
    ),
    "clear": Ask(
        lambda w, f: _notice(w, clear=True),
        "clear CATEGORY [DEVICE]",
        "Report its end, as `clprexec --clear`.",
    ),
    "acknowledge": Ask(
        lambda w, f: r.Acknowledge(monitor=w.word("MONITOR")),
        "acknowledge MONITOR",
        "Close open hardware events, as `clpmonctrl --acknowledge`.",
    ),
    "clear-counters": Ask(
        lambda w, f: r.MonitorClear(monitors=tuple(w.rest())),
        "clear-counters [MONITOR ...]",
        "Set counters of recoveries to zero, as `clpmonctrl -c`.",
    ),
    "suspend-monitor": Ask(
        lambda w, f: r.MonitorSuspend(monitors=tuple(w.rest())),
        "suspend-monitor [MONITOR ...]",
        "Suspend monitors, as `clpmonctrl -s`.",
    ),
    "resume-monitor": Ask(
        lambda w, f: r.MonitorResume(monitors=tuple(w.rest())),
        "resume-monitor [MONITOR ...]",
        "Resume monitors, as `clpmonctrl -r`.",
    ),
    "start-resource": Ask(
        lambda w, f: r.ResourceStart(resource=w.word("RESOURCE"), force=f),
        "start-resource RESOURCE [force]",
        "Start one resource, as `clprsc -s`.",
    ),
    "stop-resource": Ask(
        lambda w, f: r.ResourceStop(resource=w.word("RESOURCE"), force=f),
        "stop-resource RESOURCE [force]",
        "Stop one resource, as `clprsc -t`.",
    ),
}


def _revise(world: World, words: Words) -> str:
    host, rest = words.server(), words.rest()
    revised(world, host.settings, [word for word in rest if not word.startswith("-")])
    return push(world, host, rest)


# --- time and looking ------------------------------------------------------------------------


def _advance(world: World, words: Words) -> None:
    seconds = words.seconds()
    words.end()
    world.advance(seconds)


def _until(world: World, words: Words) -> str:
    """Wait till the group is whole on that server: `any`, `-` (nowhere), `!server1` (elsewhere)."""
    group, server, limit = words.group(), words.word("SERVER"), words.seconds()
    words.end()
    if server not in ("any", "-"):
        Words(world, [server.removeprefix("!")]).server()
    begin = world.t
    while world.t < begin + limit * SECOND:
        where = world.check.service.where.get(group)
        if (
            where == (None if server == "-" else server)
            or (server == "any" and where is not None)
            or (server.startswith("!") and where not in (None, server[1:]))
        ):
            return f"{group} is on {where or 'no server'} after {(world.t - begin) / SECOND:.3f} s"
        world.run_until(world.t + 1000)
    return f"{group} is not on {server} after {limit:g} s"


def _log(world: World, words: Words) -> None:
    how = words.one_of("amount", "all", "story", "none")
    words.end()
    world.verbose, world.silent = how == "all", how == "none"


def _state(world: World, words: Words) -> str:
    words.end()
    return describe_world(world)


VERBS: dict[str, Verb] = {
    "start": Verb(
        _each(_start),
        "start [SERVER ...]",
        "start server1 server2",
        "Agents start; with no server named, on all.",
    ),
    "kill": Verb(
        _each(lambda w, h: w.kill(h)),
        "kill [SERVER ...]",
        "kill server1",
        "The agent is killed (SIGKILL); `start` starts it again.",
    ),
    "leave": Verb(
        _each(lambda w, h: w.leave(h)),
        "leave [SERVER ...]",
        "leave server1",
        "The agent is told to end (SIGTERM): it moves its groups and leaves.",
    ),
    "off": Verb(
        _each(lambda w, h: w.power_off(h)),
        "off [SERVER ...]",
        "off server1",
        "The server loses power.",
    ),
    "on": Verb(_each(_on), "on [SERVER ...]", "on server1", "It is switched on, and boots."),
    "reset": Verb(
        _each(lambda w, h: w.reset(h)),
        "reset [SERVER ...]",
        "reset server1",
        "It is reset, and boots.",
    ),
    "boot": Verb(
        _boot,
        "boot SERVER SECONDS",
        "boot server1 90",
        "From now on it boots for so long; 0: as it did before.",
    ),
    "pause": Verb(
        _pause,
        "pause SERVER [SECONDS]",
        "pause server1 4.5",
        "The agent stands still (SIGSTOP), for so long or until `resume`.",
    ),
    "stall": Verb(
        lambda w, x: _pause(w, x, stalled=True),
        "stall SERVER [SECONDS]",
        "stall server1 4.5",
        "The whole machine stands still, as a virtual one may.",
    ),
    "resume": Verb(
        _each(lambda w, h: w.thaw(h)),
        "resume [SERVER ...]",
        "resume server1",
        "What stands still runs on.",
    ),
    "wipe": Verb(
        _each(_wipe),
        "wipe [SERVER ...]",
        "wipe server1",
        "While its agent is down, its disk forgets that it is a member.",
    ),
    "forget": Verb(
        _each(_forget),
        "forget [SERVER ...]",
        "forget server1",
        "While its agent is down, its `/run` is lost.",
    ),
    "run": Verb(
        _run,
        "run SERVER fails|works|wiped",
        "run server1 fails",
        "Its `/run` cannot be written, works again, or is wiped.",
    ),
    "disk": Verb(
        _disk,
        "disk SERVER read-only|no-notes|works",
        "disk server1 read-only",
        "Its disk takes nothing, does not take the note of the boot, or works again.",
    ),
    "snapshot": Verb(
        _each(snapshot.take),
        "snapshot [SERVER ...]",
        "snapshot server1",
        "A snapshot of the virtual machine is taken.",
    ),
    "restore": Verb(
        _each(snapshot.restore),
        "restore [SERVER ...]",
        "restore server1",
        "The machine is set back to its snapshot.",
    ),
    "drift": Verb(
        _drift,
        "drift SERVER PPM",
        "drift server1 10000",
        "Its clock runs so many millionths fast; negative: slow.",
    ),
    "watchdog": Verb(
        _watchdog,
        "watchdog SERVER broken|works|dies [SECONDS]",
        "watchdog server1 dies",
        "Its watchdog cannot be armed, can be again, or stops working; its agent hears of that "
        "after so long.",
    ),
    "interrupt": Verb(
        _interrupt,
        "interrupt SERVER COUNT kill|off|reset|pause|stall|isolate|deaf|mute [SECONDS]",
        "interrupt server1 2 kill",
        "In its next step with more actions than that, it is interrupted after so many; the last "
        "five end after SECONDS.",
    ),
    "upon": Verb(
        _upon,
        "upon SERVER ACTION COUNT VERB ...",
        "upon server1 fence 1 cut server1 server2",
        "Right after its COUNT-th action of that kind comes the rest of the line.",
    ),
    "before": Verb(
        lambda w, x: _break(w, x, before=True),
        "before SERVER COUNT[+SECONDS] VERB ...",
        "before server1 38 cut server1 server2",
        "Right before its COUNT-th action from here on, or so much later, comes the rest of the "
        "line.",
    ),
    "after": Verb(
        lambda w, x: _break(w, x, before=False),
        "after SERVER COUNT[+SECONDS] VERB ...",
        "after server1 37+2.5 heal",
        "The same, right after that action.",
    ),
    "cut": Verb(
        _cut,
        "cut SERVER SERVER [INTERCONNECT]",
        "cut server1 server2 lankhb1",
        "Nothing passes between two servers, on one interconnect or on all.",
    ),
    "cut-oneway": Verb(
        lambda w, x: _cut(w, x, oneway=True),
        "cut-oneway SERVER SERVER [INTERCONNECT]",
        "cut-oneway server1 server2",
        "Nothing passes from the first to the second.",
    ),
    **{how: _cut_off(how) for how in CUTS},
    "split": Verb(
        _split,
        "split SERVER,... SERVER,... ...",
        "split server1,server2 server3",
        "Nothing passes between the sides.",
    ),
    "heal": Verb(
        _heal,
        "heal [SERVER SERVER]",
        "heal server1 server2",
        "The paths between two servers are whole again; with no server named, the whole network "
        "is, loss and delay too.",
    ),
    "lose": Verb(
        _lose,
        "lose SHARE [SERVER SERVER]",
        "lose 0.2 server1 server2",
        "That share of the datagrams is lost, from the first to the second server or everywhere.",
    ),
    "lose-large": Verb(
        _lose_large,
        "lose-large BYTES [SERVER SERVER]",
        "lose-large 1300",
        "Packets of more bytes are lost; 0: none is.",
    ),
    "late": Verb(
        _late,
        "late SHARE [SECONDS]",
        "late 0.3 5",
        "That share of the datagrams is late by up to so much.",
    ),
    "double": Verb(
        _double, "double SHARE", "double 0.1", "That share of the datagrams arrives twice."
    ),
    "hold": Verb(
        _hold,
        "hold SERVER SERVER [control]",
        "hold server1 server2 control",
        "Heartbeats from the first to the second, or control messages, are kept back on the way.",
    ),
    "tap": Verb(
        lambda w, x: _hold(w, x, copy=True),
        "tap SERVER SERVER [control]",
        "tap server1 server2",
        "Copies of them are kept; `release` lets them arrive a second time.",
    ),
    "pass": Verb(
        _pass,
        "pass SERVER SERVER",
        "pass server1 server2",
        "New ones pass again; what is held stays held.",
    ),
    "release": Verb(
        _release,
        "release SERVER SERVER",
        "release server1 server2",
        "What is held arrives now, and nothing is held any more.",
    ),
    "record": Verb(
        _record,
        "record SERVER SERVER",
        "record server1 server2",
        "Somebody records the heartbeats from the first to the second from now on.",
    ),
    "replay": Verb(
        _replay,
        "replay SERVER SERVER RATE SECONDS",
        "replay server1 server2 50 10",
        "What was recorded arrives again, so many a second, for so long.",
    ),
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
        "script SERVER mend",
        "script server1 exec1 stop hangs",
        "From now on that operation of a resource (`*`: of all, but not with `takes`) goes so on "
        "that server; with `run`, the recovery script of that name.",
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
    "request": Verb(
        _request,
        "request SERVER REQUEST ... [late]",
        "request server1 move failover1 server2",
        "A person asks that server for something; see below. `late`: it had waited for more than "
        "10 s.",
    ),
    "revise": Verb(
        _revise,
        "revise SERVER REVISION ... [-SERVER ...]",
        "revise server1 leases 2 4 30",
        "A changed configuration is pushed from that server; see below. A server after `-` is not "
        "told to put it in force; `-nobody`: all are told (else one in ten is missed, by chance).",
    ),
    "advance": Verb(_advance, "advance SECONDS", "advance 12.5", "So much time passes."),
    "until": Verb(
        _until,
        "until GROUP SERVER|any|-|!SERVER SECONDS",
        "until failover1 server2 20",
        "Time passes until the group runs whole on that server (`any`; `-`: on none; `!SERVER`: "
        "on another), at most so long; it prints how long that took.",
    ),
    "log": Verb(
        _log,
        "log all|story|none",
        "log none",
        "How much is printed: events and actions too, what happens, or nothing.",
    ),
    "state": Verb(_state, "state", "state", "Prints what is true, and what each agent believes."),
}
