"""The words of scenario files and fault schedules: one table, one example line a verb.

A random schedule of `explore.py` is nothing but lines of these verbs with times, so a failing
seed is a scenario file.  Verbs that find nothing to do (killing an agent that is down) do
nothing: a shrunk schedule stays playable.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from typing import NamedTuple, get_args

from clptools.core import actions as a
from clptools.core import events as e
from clptools.core import requests as r
from clptools.sim import snapshot
from clptools.sim.breaks import AT_ONCE, Breaks
from clptools.sim.host import SECOND, Host, Trigger
from clptools.sim.network import CONTROL
from clptools.sim.revise import push
from clptools.sim.show import describe_world
from clptools.sim.world import CUTS, World

Words = list[str]

_ACTIONS = {str(kind.__struct_config__.tag) for kind in get_args(a.Action)}
_MEDDLE = {
    "disk", "forget", "leave", "message", "monitor", "request", "restore", "revise", "run",
    "script", "storm", "trap", "wipe",
}  # fmt: skip
"""Verbs after which a group may stop for another reason than a fault of machines and networks."""


class BadLine(ValueError):
    """A line that no verb understands; the text says what is wrong."""


class Verb(NamedTuple):
    """One verb: what it does, and how a line of it looks."""

    run: Callable[[World, Words], str | None]
    example: str


def perform(world: World, line: str) -> str:
    """Carry out one line; the text that it prints, or nothing.  Raises BadLine."""
    words = shlex.split(line, comments=True)
    if not words:
        return ""
    words = [_named(world, word) for word in words]
    verb = VERBS.get(words[0])
    if verb is None:
        raise BadLine(f"{words[0]}: no such verb; known: {' '.join(sorted(VERBS))}")
    if words[0] in _MEDDLE:
        world.check.meddled = True
    try:
        return verb.run(world, words[1:]) or ""
    except (IndexError, KeyError, ValueError) as error:
        raise BadLine(f"{line}: {error!r}; an example: {verb.example}") from error


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
        return next((h.name for h in offices if h.node.state.votes.office == "coordinator"), None)
    if word == "@holder":
        return next((h.name for h in world.hosts.values() if h.active), None)
    raise BadLine(f"{word}: not @coordinator or @holder")


# --- parts -----------------------------------------------------------------------------------


def _us(word: str) -> int:
    return round(float(word) * SECOND)


def _hosts(world: World, names: Words) -> list[Host]:
    return [world.hosts[n] for n in names] if names else list(world.hosts.values())


def _each(do: Callable[[World, Host], object]) -> Callable[[World, Words], None]:
    """A verb that does the same to every server named (none named: to all)."""

    def run(world: World, words: Words) -> None:
        for host in _hosts(world, words):
            do(world, host)

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
    host = world.hosts[words[0]]
    world.freeze(host, stalled=stalled)
    if len(words) > 1:
        world.at(world.t + _us(words[1]), world.thaw, host)


def _interrupt(world: World, words: Words) -> None:
    how = words[2]
    if how not in ("kill", "off", "reset", "pause", "stall", *CUTS):
        raise ValueError(how)
    pause = _us(words[3]) if len(words) > 3 else 0
    world.hosts[words[0]].stop_after = (int(words[1]), how, pause)


def _upon(world: World, words: Words) -> None:
    host, action, count, rest = world.hosts[words[0]], words[1], int(words[2]), words[3:]
    if action not in _ACTIONS:
        raise ValueError(action)
    if rest[0] not in AT_ONCE:
        raise ValueError(rest[0])
    verb = VERBS[rest[0]]
    host.upon.append(Trigger(action, count, lambda: verb.run(world, rest[1:])))


def _break(world: World, words: Words, *, before: bool) -> None:
    if not isinstance(world.between, Breaks):
        world.between = Breaks(world, perform)
    count, _, later = words[1].partition("+")
    if words[2] not in VERBS:
        raise ValueError(words[2])
    world.between.add(
        world.hosts[words[0]], int(count), shlex.join(words[2:]), _us(later or "0"), before=before
    )


def _wipe(world: World, host: Host) -> None:
    if host.node is None:
        host.disk.member = host.disk.synced = False


def _forget(world: World, host: Host) -> None:
    if host.node is None:
        host.run = None


def _drift(world: World, words: Words) -> None:
    host = world.hosts[words[0]]
    host.drift(world.t, int(words[1]))
    world.executor.clock_changed(host)


def _watchdog(world: World, words: Words) -> None:
    host, how = world.hosts[words[0]], words[1]
    if how == "dies":
        world.executor.watchdog_dies(host, _us(words[2]) if len(words) > 2 else None)
    elif how in ("broken", "works"):
        host.watchdog.works = how == "works"
    else:
        raise ValueError(how)


def _run(world: World, words: Words) -> None:
    host, how = world.hosts[words[0]], words[1]
    if how == "wiped":
        if host.node is None:
            host.run, host.service_stopped = None, False
        host.run_wiped = host.node is not None
    elif how in ("fails", "works"):
        host.run_fails = how == "fails"
        world.start_agent(host)
    else:
        raise ValueError(how)


def _disk(world: World, words: Words) -> None:
    disk, how = world.hosts[words[0]].disk, words[1]
    if how not in ("read-only", "no-notes", "works"):
        raise ValueError(how)
    disk.read_only, disk.notes = how == "read-only", how == "works"
    world.start_agent(world.hosts[words[0]])


def _boot(world: World, words: Words) -> None:
    world.hosts[words[0]].boot_s = float(words[1])


# --- network ---------------------------------------------------------------------------------


def _cut(world: World, words: Words, *, oneway: bool = False) -> None:
    world.network.cut(words[0], words[1], words[2] if len(words) > 2 else "", oneway)


def _cut_off(how: str) -> Verb:
    """`isolate`, `deaf` or `mute`: every server named."""
    told = {"isolate": "", "deaf": "      # it sends, and hears nothing"}
    example = told.get(how, "      # it hears, and nobody hears it")
    return Verb(
        _each(lambda w, h: CUTS[how](w.network, h.name, w.hosts)), f"{how} server1{example}"
    )


def _split(world: World, words: Words) -> None:
    sides = [w.split(",") for w in words]
    for i, side in enumerate(sides):
        for other in sides[i + 1 :]:
            for one in side:
                for two in other:
                    world.network.cut(one, two)


def _heal(world: World, words: Words) -> None:
    world.network.heal(*words)


def _lose(world: World, words: Words) -> None:
    if len(words) > 1:
        world.network.pair_loss[(words[1], words[2])] = float(words[0])
    else:
        world.network.loss = float(words[0])


def _lose_large(world: World, words: Words) -> None:
    limit = int(words[0])
    if len(words) > 1:
        world.network.pair_large[(words[1], words[2])] = limit
    else:
        world.network.large = limit
        world.network.pair_large.clear()


def _late(world: World, words: Words) -> None:
    world.network.late = float(words[0])
    world.network.late_us = _us(words[1]) if len(words) > 1 else 0


def _double(world: World, words: Words) -> None:
    world.network.double = float(words[0])


def _hold(world: World, words: Words, *, copy: bool = False) -> None:
    kinds = (CONTROL,) if len(words) > 2 and words[2] == CONTROL else world.network.links
    for kind in kinds:
        (world.network.tapped if copy else world.network.held).add((words[0], words[1], kind))


def _record(world: World, words: Words) -> None:
    world.executor.sniff(words[0], words[1])


def _replay(world: World, words: Words) -> None:
    world.executor.replay(words[0], words[1], float(words[2]), float(words[3]))


def _pass(world: World, words: Words) -> None:
    for kind in (CONTROL, *world.network.links):
        world.network.held.discard((words[0], words[1], kind))


def _release(world: World, words: Words) -> None:
    for kind in (CONTROL, *world.network.links):
        world.executor.release(words[0], words[1], kind)


# --- BMC, arbiter, scripts -------------------------------------------------------------------


def _bmc(world: World, words: Words) -> None:
    bmc, how = world.bmcs.of[words[0]], words[1]
    if how == "mend":
        bmc.mend()
    elif how == "slow":
        bmc.slow_us = _us(words[2])
    elif how == "cut":
        bmc.cut_from.update(words[2:] or world.hosts)
    elif how == "dead":
        bmc.dead = True
    elif how == "still":
        world.bmcs.stop_beats(words[0])
    elif how == "stuck-on":
        bmc.stuck_on = True
    elif how == "lies-off":
        bmc.lies_off = True
    elif how == "blinks":
        bmc.blinks = True
    elif how == "fence-fails":
        bmc.fence_fails = True
    elif how == "fence-lies":
        bmc.fence_lies = True
    elif how == "fence-late":
        bmc.fence_late_us = _us(words[2])
    elif how == "sessionless":
        bmc.sessionless = True
    elif how == "swapped":
        bmc.drives, world.bmcs.of[words[2]].drives = words[2], words[0]
    elif how == "restart":
        silent = len(words) > 3 and words[3] == "silent"
        away, blind = (_us(words[2]), 0) if silent else (0, _us(words[2]))
        world.bmcs.restart(words[0], away, blind)
    else:
        raise ValueError(how)


def _arbiter(world: World, words: Words) -> None:
    for arbiter in world.arbiters.values():
        if words[0] == "mend":
            arbiter.mend()
        elif words[0] == "down":
            arbiter.down = True
        elif words[0] == "slow":
            arbiter.slow_us = _us(words[1])
        elif words[0] == "cut":
            arbiter.cut_from.update(words[1:])
        else:
            raise ValueError(words[0])


def _script(world: World, words: Words) -> None:
    scripts = world.hosts[words[0]].scripts
    if words[1] == "mend":
        scripts.clear()
        return
    key, how = (words[1], words[2]), words[3]
    if how == "fails":
        scripts.failing.add(key)
    elif how == "hangs":
        scripts.hanging.add(key)
    elif how == "takes":
        scripts.slow_us[key] = _us(words[4])
    else:
        raise ValueError(how)


# --- events and requests ---------------------------------------------------------------------


def _trap(world: World, words: Words) -> None:
    name, monitor, event_class, key = words[:4]
    world.traps += 1
    seen = e.HardwareSeen(
        monitor=monitor,
        key=key,
        duplicate_key=words[4] if len(words) > 4 else f"{world.traps}",
        event_class=event_class,
        meaning=f"{key} {event_class.lower()}",
        source=f"BMC of {name}",
    )
    world.step(world.hosts[name], seen)


def _storm(world: World, words: Words) -> None:
    world.storms += 1
    for i in range(int(words[2])):
        j = i % 31
        event_class = ("INFO", "PERFORMANCE", "ERROR", "PREDICT", "CLEAR")[j % 5]
        line = [words[0], words[1], event_class, f"sensor{j % 7}", f"{world.storms}.{j}"]
        if words[3:] == ["distinct"]:
            line[2:] = ["PREDICT", f"sensor{i}", f"{world.storms}.{i}"]
        world.at(world.t + i * 2000, _trap, world, line)


def _message(world: World, words: Words) -> None:
    recovered = "recovered" in words[3:]
    keyword = words[2] if len(words) > 2 else ""
    seen = e.MessageSeen(
        category=words[1], keyword=keyword, text=f"{words[1]} {keyword}", recovered=recovered
    )
    world.step(world.hosts[words[0]], seen)


def _monitor(world: World, words: Words) -> None:
    failing = world.hosts[words[0]].scripts.failing
    if words[2] == "error":
        failing.add((words[1], "monitor"))
    else:
        failing.discard((words[1], "monitor"))


def _request(world: World, words: Words) -> None:
    host, what, rest = world.hosts[words[0]], words[1], words[2:]
    force, late = "force" in rest, "late" in rest
    rest = [w for w in rest if w not in ("force", "late")]
    made = REQUESTS[what](rest, force)
    if isinstance(made, r.ConfirmDown) and "mistaken" not in words:
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


def _stop_service(words: Words) -> r.ServiceStop:
    then = {"restart": "start"}.get(words[-1], words[-1]) if words else ""
    if then not in ("start", "reboot", "shutdown"):
        then = ""
    rest = words[:-1] if then else words
    return r.ServiceStop(server=rest[0] if rest else "", then=then)


def _notice(words: Words, *, clear: bool = False) -> r.ExternalNotice:
    """`RAID sda`: a category, and a device."""
    keyword = words[1] if len(words) > 1 else ""
    text = f"{words[0]} {keyword}".rstrip()
    return r.ExternalNotice(category=words[0], keyword=keyword, text=text, clear=clear)


REQUESTS: dict[str, Callable[[Words, bool], r.Request]] = {
    "move": lambda w, f: r.GroupMove(group=w[0], to=w[1] if len(w) > 1 else "", force=f),
    "start": lambda w, f: r.GroupStart(
        group=w[0] if w else "", server=w[1] if len(w) > 1 else "", force=f
    ),
    "stop": lambda w, f: r.GroupStop(group=w[0] if w else "", force=f),
    "suspend": lambda w, f: r.Suspend(force=f),
    "resume": lambda w, f: r.Resume(),
    "stretch": lambda w, f: r.StretchTimeouts(
        ratio=int(w[0]), for_ms=round(float(w[1]) * 1000) if len(w) > 1 else 0
    ),
    "confirm-down": lambda w, f: r.ConfirmDown(down=w[0], force=f),
    "force-stop": lambda w, f: r.ForceStop(down=w[0]),
    "service-stop": lambda w, f: _stop_service(w),
    "service-start": lambda w, f: r.ServiceStart(server=w[0] if w else ""),
    "notice": lambda w, f: _notice(w),
    "clear": lambda w, f: _notice(w, clear=True),
    "acknowledge": lambda w, f: r.Acknowledge(monitor=w[0]),
    "clear-counters": lambda w, f: r.MonitorClear(monitors=tuple(w)),
    "suspend-monitor": lambda w, f: r.MonitorSuspend(monitors=tuple(w)),
    "resume-monitor": lambda w, f: r.MonitorResume(monitors=tuple(w)),
    "start-resource": lambda w, f: r.ResourceStart(resource=w[0], force=f),
    "stop-resource": lambda w, f: r.ResourceStop(resource=w[0], force=f),
}


def _revise(world: World, words: Words) -> str:
    return push(world, world.hosts[words[0]], words[1:])


# --- time and looking ------------------------------------------------------------------------


def _advance(world: World, words: Words) -> None:
    world.advance(float(words[0]))


def _until(world: World, words: Words) -> str:
    """Wait till the group is whole on that server: `any`, `-` (nowhere), `!server1` (elsewhere)."""
    group, server, limit = words[0], words[1], float(words[2])
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
    world.verbose = words[0] == "all"
    world.silent = words[0] == "none"


def _state(world: World, words: Words) -> str:
    return describe_world(world)


VERBS: dict[str, Verb] = {
    "start": Verb(_each(_start), "start server1 server2      # agents (none named: all)"),
    "kill": Verb(_each(lambda w, h: w.kill(h)), "kill server1      # kill -9, then restarted"),
    "leave": Verb(_each(lambda w, h: w.leave(h)), "leave server1      # SIGTERM"),
    "off": Verb(_each(lambda w, h: w.power_off(h)), "off server1"),
    "on": Verb(_each(_on), "on server1"),
    "reset": Verb(_each(lambda w, h: w.reset(h)), "reset server1"),
    "pause": Verb(_pause, "pause server1 4.5      # SIGSTOP; without time until `resume`"),
    "stall": Verb(lambda w, x: _pause(w, x, stalled=True), "stall server1 4.5      # VM pause"),
    "resume": Verb(_each(lambda w, h: w.thaw(h)), "resume server1"),
    "interrupt": Verb(
        _interrupt,
        "interrupt server1 2 kill|off|reset|pause|stall|isolate|deaf|mute [SECONDS]",
    ),
    "upon": Verb(_upon, "upon server1 fence 1 cut server1 server2      # after its first fence"),
    "before": Verb(
        lambda w, x: _break(w, x, before=True),
        "before server1 38 cut server1 server2      # its 38th action from here on",
    ),
    "after": Verb(
        lambda w, x: _break(w, x, before=False),
        "after server1 37+2.5 heal      # 2.5 s after its 37th action from here on",
    ),
    "wipe": Verb(_each(_wipe), "wipe server1      # its disk forgets that it is a member"),
    "forget": Verb(
        _each(_forget), "forget server1      # its /run is lost while its agent is down"
    ),
    "snapshot": Verb(_each(snapshot.take), "snapshot server1      # of a virtual machine"),
    "restore": Verb(_each(snapshot.restore), "restore server1      # set back to it"),
    "drift": Verb(_drift, "drift server1 10000      # its clock runs 1 % fast"),
    "watchdog": Verb(_watchdog, "watchdog server1 broken|works|dies [SECONDS]"),
    "run": Verb(_run, "run server1 fails|works|wiped      # its /run"),
    "disk": Verb(_disk, "disk server1 read-only|no-notes|works"),
    "boot": Verb(_boot, "boot server1 90      # how long it boots from now on; 0: as ever"),
    "cut": Verb(_cut, "cut server1 server2 [lankhb1]"),
    "cut-oneway": Verb(lambda w, x: _cut(w, x, oneway=True), "cut-oneway server1 server2"),
    **{how: _cut_off(how) for how in CUTS},
    "split": Verb(_split, "split server1,server2 server3"),
    "heal": Verb(_heal, "heal [server1 server2]"),
    "lose": Verb(_lose, "lose 0.2 [server1 server2]"),
    "lose-large": Verb(
        _lose_large, "lose-large 1300 [server1 server2]      # what has more bytes; 0: nothing"
    ),
    "late": Verb(_late, "late 0.3 5      # three in ten datagrams up to 5 s late"),
    "double": Verb(_double, "double 0.1"),
    "hold": Verb(_hold, "hold server1 server2 [control]      # keep datagrams on the way"),
    "tap": Verb(
        lambda w, x: _hold(w, x, copy=True),
        "tap server1 server2 [control]      # copies, to arrive again with `release`",
    ),
    "record": Verb(_record, "record server1 server2      # heartbeats, to be replayed"),
    "replay": Verb(_replay, "replay server1 server2 50 10      # 50 a second, for 10 s"),
    "pass": Verb(_pass, "pass server1 server2      # new datagrams pass; held ones stay held"),
    "release": Verb(_release, "release server1 server2      # deliver them now"),
    "bmc": Verb(
        _bmc,
        "bmc server1 dead|slow S|cut [FROM]|stuck-on|lies-off|blinks|still|sessionless"
        "|swapped server2|restart S [silent]|fence-fails|fence-lies|fence-late S|mend",
    ),
    "arbiter": Verb(_arbiter, "arbiter down|cut server1|slow S|mend"),
    "script": Verb(_script, "script server1 exec1 stop fails|hangs|takes S  (or: script X mend)"),
    "trap": Verb(_trap, "trap server1 mrw1 FATAL cpu1 [DUPLICATE-KEY]"),
    "storm": Verb(_storm, "storm server1 mrw1 500 [distinct]"),
    "message": Verb(_message, "message server1 NIC eth0 [recovered]"),
    "monitor": Verb(_monitor, "monitor server1 genw1 error|normal"),
    "request": Verb(_request, "request server1 move failover1 server2"),
    "revise": Verb(
        _revise,
        "revise server1 remove|add server3 | remove-group|add-group G | leases L SELF-STOP WAIT"
        " | userw METHOD | bmc S ADDRESS | group-servers G server1 ... | forced-stop ACTION"
        " | timeouts INTERVAL TIMEOUT | again | same | ... [-server3: not told]",
    ),
    "advance": Verb(_advance, "advance 12.5"),
    "until": Verb(_until, "until failover1 server2 20      # or: any, -, !server1"),
    "log": Verb(_log, "log all|story|none"),
    "state": Verb(_state, "state"),
}
