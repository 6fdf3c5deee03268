"""Verbs of servers: agents, power, clocks, disks, watchdogs."""

from __future__ import annotations

from clptools.sim.host import SECOND, Host, restore_snapshot, take_snapshot
from clptools.sim.words import Verb, Words, each
from clptools.sim.world import World


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
    world.note_boot_again(host)
    world.start_agent(host)


def _boot(world: World, words: Words) -> None:
    host, takes = words.server(), words.seconds()
    words.end()
    host.boot_s = takes


SERVER_VERBS: dict[str, Verb] = {
    "start": Verb(
        each(_start),
        "start [SERVER ...]",
        "start server1 server2",
        "Agents start; with no server named, on all.",
    ),
    "kill": Verb(
        each(lambda w, h: w.kill(h)),
        "kill [SERVER ...]",
        "kill server1",
        "The agent is killed (SIGKILL); `start` starts it again.",
    ),
    "leave": Verb(
        each(lambda w, h: w.leave(h)),
        "leave [SERVER ...]",
        "leave server1",
        "The agent is told to end (SIGTERM): it moves its groups and leaves.",
    ),
    "off": Verb(
        each(lambda w, h: w.power_off(h)),
        "off [SERVER ...]",
        "off server1",
        "The server loses power.",
    ),
    "on": Verb(each(_on), "on [SERVER ...]", "on server1", "It is switched on, and boots."),
    "reset": Verb(
        each(lambda w, h: w.reset(h)),
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
        "The agent is stopped (SIGSTOP), for that long or until `resume`.",
    ),
    "stall": Verb(
        lambda w, x: _pause(w, x, stalled=True),
        "stall SERVER [SECONDS]",
        "stall server1 4.5",
        "The whole machine is stopped, as a virtual one may be.",
    ),
    "resume": Verb(
        each(lambda w, h: w.thaw(h)),
        "resume [SERVER ...]",
        "resume server1",
        "What was stopped runs again.",
    ),
    "wipe": Verb(
        each(_wipe),
        "wipe [SERVER ...]",
        "wipe server1",
        "While its agent is down, its disk forgets that it is a member.",
    ),
    "forget": Verb(
        each(_forget),
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
        each(take_snapshot),
        "snapshot [SERVER ...]",
        "snapshot server1",
        "A snapshot of the virtual machine is taken.",
    ),
    "restore": Verb(
        each(restore_snapshot),
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
}
