"""What people ask a server for: the requests of scenarios, each as the command that makes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from clptools.core.model import events as e
from clptools.core.model import requests as r
from clptools.core.model.words import AfterStop
from clptools.sim.host import Host
from clptools.sim.words import Verb, Words
from clptools.sim.world import World


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
    ask(world, host, made, asked_at=host.now(world.t) - r.LASTS_MS - 1 if late else 0)


def ask(world: World, host: Host, made: r.Request, *, user: str = "root", asked_at: int = 0) -> str:
    """A person asks that server for something; returns the request's id.

    What the promises allow for is noted: what a person wants stopped is no fault.
    """
    world.check.meddled = True
    if isinstance(made, r.Resume):
        world.check.resumed()
    if isinstance(made, r.ForceStop):
        world.forced.add(made.down)
    if isinstance(made, r.GroupStart | r.GroupMove) and made.force:
        world.check.order.forced(made.group)
    if isinstance(made, r.GroupStop):
        world.check.service.asked(made.group)
        world.check.order.stopped(made.group)
    if isinstance(made, r.ServiceStop):
        _service_stop(world, host.name, made)
    world.requests += 1
    number = f"r{world.requests}"
    world.step(host, e.RequestSeen(id=number, user=user, request=made, asked_at=asked_at))
    return number


def _service_stop(world: World, here: str, made: r.ServiceStop) -> None:
    """An operator wants that server down, or all of them: that is no fault."""
    if made.server == "*":
        world.check.service.asked("")
        world.check.order.closes()
    named = tuple(world.hosts) if made.server == "*" else (made.server or here,)
    for name, host in world.hosts.items():
        host.asked_down = host.asked_down or name in named


_THEN = {
    "restart": AfterStop.START,
    "start": AfterStop.START,
    "reboot": AfterStop.REBOOT,
    "shutdown": AfterStop.SHUTDOWN,
}


def _stop_service(words: Words) -> r.ServiceStop:
    rest = words.rest()
    then = _THEN.get(rest[-1], AfterStop.NOTHING) if rest else AfterStop.NOTHING
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
    "outdate": Ask(
        lambda w, f: r.OutdateCopy(
            resource=w.word("RESOURCE"), peer=w.server().name, current=not w.take("stale")
        ),
        "outdate RESOURCE SERVER [stale]",
        "DRBD has lost its peer on that server, as `clpfencepeer`. `stale`: it is not known that "
        "the copy here is current.",
    ),
    "in-sync": Ask(
        lambda w, f: r.OutdateCopy(resource=w.word("RESOURCE"), server=_maybe(w), in_sync=True),
        "in-sync RESOURCE [SERVER]",
        "The copy here, or there, is in sync again, as `clpfencepeer --clear`.",
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

REQUEST_VERBS: dict[str, Verb] = {
    "request": Verb(
        _request,
        "request SERVER REQUEST ... [late]",
        "request server1 move failover1 server2",
        "A person asks that server for something; see below. `late`: it had waited for more than "
        "10 s.",
    ),
}
