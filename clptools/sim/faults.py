"""Random fault schedules: lines of `verbs.py` with times, chosen by the seed.

`full` breaks everything that may break; `mild` is one fault at a time with time to settle, as
for the promise that nothing stops without need.  A kind is a function from the random generator
and the names to lines; its own end (heal, power on, resume) is among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import NamedTuple

from clptools.core.model.settings import Settings

Line = tuple[float, str]
"""(true seconds, line)."""


class Draw:
    """What a kind of fault draws from."""

    def __init__(self, settings: Settings, rng: Random, at: float) -> None:
        self.rng = rng
        self.at = at
        self.settings = settings
        self.names = settings.names

    def server(self) -> str:
        """One server: often the one that matters, whoever that will be."""
        choice = self.rng.random()
        if choice < 0.4:
            word = "@coordinator" if choice < 0.2 else "@holder"
            return f"{word}{round(self.at * 1000)}"
        return self.rng.choice(self.names)

    def two(self) -> tuple[str, str]:
        """Two, as a rule different."""
        if len(self.names) < 2:
            return self.names[0], self.names[0]
        first, second = self.rng.sample(self.names, 2)
        if self.rng.random() < 0.4:
            first = self.server()
        return first, second

    def some(self) -> list[str]:
        """One to all but one."""
        return self.rng.sample(self.names, self.rng.randint(1, max(1, len(self.names) - 1)))

    def group(self) -> str:
        """One group."""
        return self.rng.choice([g.name for g in self.settings.groups])

    def resource(self) -> str:
        """One group resource, or all."""
        names = [x.name for g in self.settings.groups for x in g.resources]
        return self.rng.choice([*names, "*"])

    def monitor(self, kind: str) -> str:
        """A monitor of that type, or an empty name."""
        names = [m.name for m in self.settings.monitors if m.type == kind]
        return self.rng.choice(names) if names else ""

    def span(self) -> float:
        """A duration: mostly near the lengths of the rules, at times long."""
        choice = self.rng.random()
        if choice < 0.45:
            return self.rng.uniform(0.1, 4.0)
        if choice < 0.92:
            return self.rng.uniform(2.0, 18.0)
        return self.rng.uniform(15.0, 70.0)

    def long(self) -> float:
        """A duration beyond the lengths of the rules."""
        return self.rng.uniform(20.0, 70.0)

    def silence(self) -> float:
        """How long a cut lasts: about as long as leases do, or longer."""
        return self.rng.choice((self.span(), self.rng.uniform(3.0, 25.0)))


def _off(d: Draw) -> list[Line]:
    name = d.server()
    return [(d.at, f"off {name}"), (d.at + d.span(), f"on {name}")]


def _off_many(d: Draw) -> list[Line]:
    lines: list[Line] = []
    for name in d.some():
        begin = d.at + d.rng.choice((0.0, d.rng.random() * 5))
        lines += [(begin, f"off {name}"), (begin + d.span(), f"on {name}")]
    return lines


def _reset(d: Draw) -> list[Line]:
    return [(d.at, f"reset {d.server()}")]


def _kill(d: Draw) -> list[Line]:
    name = d.server()
    back = d.rng.choice((0.1, 0.5, 2.0, d.span()))
    return [(d.at, f"kill {name}"), (d.at + back, f"start {name}")]


def _forget(d: Draw) -> list[Line]:
    name = d.server()
    back = d.at + d.rng.choice((0.1, 0.5, d.span()))
    return [(d.at, f"kill {name}"), (d.at + 0.01, f"forget {name}"), (back, f"start {name}")]


def _leave(d: Draw) -> list[Line]:
    name = d.server()
    return [(d.at, f"leave {name}"), (d.at + d.span(), f"start {name}")]


def _pause(d: Draw) -> list[Line]:
    word = d.rng.choice(("pause", "stall"))
    return [(d.at, f"{word} {d.server()} {d.silence():.3f}")]


def _interrupt(d: Draw) -> list[Line]:
    how = d.rng.choice(("kill", "off", "reset", "pause", "stall"))
    name, span = d.server(), d.span()
    lines = [(d.at, f"interrupt {name} {d.rng.randint(1, 4)} {how} {span:.3f}")]
    if how == "kill":
        lines.append((d.at + min(span, 3.0), f"start {name}"))
    elif how == "off":
        lines.append((d.at + span, f"on {name}"))
    return lines


def _wipe(d: Draw) -> list[Line]:
    name = d.server()
    on = d.at + d.span()
    return [(d.at, f"off {name}"), (d.at + 0.01, f"wipe {name}"), (on, f"on {name}")]


def _cut(d: Draw) -> list[Line]:
    a, b = d.two()
    word = d.rng.choice(("cut", "cut-oneway"))
    return [(d.at, f"{word} {a} {b}"), (d.at + d.silence(), f"heal {a} {b}")]


def _isolate(d: Draw) -> list[Line]:
    name = d.server()
    word = d.rng.choice(("isolate", "isolate", "deaf", "mute"))
    heal = d.at + d.silence()
    return [(d.at, f"{word} {name}"), *((heal, f"heal {name} {n}") for n in d.names if n != name)]


def _split(d: Draw) -> list[Line]:
    side = d.some()
    other = [n for n in d.names if n not in side]
    if not other:
        return []
    heal = d.at + d.silence()
    heals = [(heal, f"heal {a} {b}") for a in side for b in other]
    return [(d.at, f"split {','.join(side)} {','.join(other)}"), *heals]


def _lose(d: Draw) -> list[Line]:
    share = d.rng.choice((0.05, 0.2, 0.5, 0.9))
    return [(d.at, f"lose {share}"), (d.at + d.span(), "lose 0")]


def _late(d: Draw) -> list[Line]:
    share, late = d.rng.choice((0.02, 0.2)), d.rng.choice((1, 8, 40))
    return [(d.at, f"late {share} {late}"), (d.at + d.span(), "late 0")]


def _double(d: Draw) -> list[Line]:
    return [(d.at, "double 0.2"), (d.at + d.span(), "double 0")]


def _hold(d: Draw) -> list[Line]:
    a, b = d.two()
    return [(d.at, f"hold {a} {b} control"), (d.at + d.span(), f"release {a} {b}")]


def _bmc(d: Draw) -> list[Line]:
    name = d.server()
    how = d.rng.choice(
        ("dead", "cut", f"cut {d.server()}", "slow 3", "still", "stuck-on", "fence-fails")
    )
    return [(d.at, f"bmc {name} {how}"), (d.at + d.span(), f"bmc {name} mend")]


def _bmc_and_power(d: Draw) -> list[Line]:
    name, back = d.server(), d.at + d.span()
    return [
        (d.at, f"bmc {name} dead"),
        (d.at, f"off {name}"),
        (back, f"bmc {name} mend"),
        (back, f"on {name}"),
    ]


def _arbiter(d: Draw) -> list[Line]:
    how = d.rng.choice(("down", "slow 2.5", f"cut {d.server()}"))
    return [(d.at, f"arbiter {how}"), (d.at + d.span(), "arbiter mend")]


def _script(d: Draw) -> list[Line]:
    name, resource = d.server(), d.resource()
    op = d.rng.choice(("start", "stop"))
    how = d.rng.choice(("fails", "hangs", f"takes {d.rng.uniform(1, 9):.1f}"))
    return [
        (d.at, f"script {name} {resource} {op} {how}"),
        (d.at + d.span(), f"script {name} mend"),
    ]


def _trap(d: Draw) -> list[Line]:
    monitor = d.monitor("mrw")
    if not monitor:
        return []
    name, key = d.server(), f"sensor{d.rng.randint(1, 3)}"
    event_class = d.rng.choice(("FATAL", "FATAL", "ERROR", "PREDICT", "PERFORMANCE"))
    return [
        (d.at, f"trap {name} {monitor} {event_class} {key}"),
        (d.at + d.span(), f"trap {name} {monitor} CLEAR {key}"),
    ]


def _predict(d: Draw) -> list[Line]:
    """A failure is expected, and a quiet window comes; clocks jump, people change their minds."""
    name, key = d.server(), f"dimm{d.rng.randint(1, 3)}"
    opens, lasts = d.rng.uniform(0, 300), d.rng.uniform(500, 4000)
    later = d.at + d.rng.uniform(0, 500)
    lines = [
        (d.at, f"window * mrw1 {opens:.0f} {lasts:.0f}"),
        (d.at + d.rng.uniform(0, 5), f"trap {name} mrw1 PREDICT {key}"),
    ]
    lines += d.rng.choice(
        (
            [],
            [],
            [],
            [(later, f"window {d.server()} mrw1 {d.rng.uniform(0, 4000):.0f} 3600")],
            [(later, f"window * mrw1 {d.rng.uniform(0, 4000):.0f} 3600")],
            [(later, f"request {d.server()} cancel failover1")],
            [(later, f"trap {name} mrw1 CLEAR {key}")],
        )
    )
    return lines


def _storm(d: Draw) -> list[Line]:
    monitor = d.monitor("mrw")
    return [(d.at, f"storm {d.server()} {monitor} 60")] if monitor else []


def _message(d: Draw) -> list[Line]:
    name = d.server()
    back = d.at + d.span()
    return [(d.at, f"message {name} NIC eth0"), (back, f"message {name} NIC eth0 recovered")]


def _monitor(d: Draw) -> list[Line]:
    monitor = d.monitor("genw")
    if not monitor:
        return []
    name = d.server()
    return [
        (d.at, f"monitor {name} {monitor} error"),
        (d.at + d.span(), f"monitor {name} {monitor} normal"),
    ]


def _operator(d: Draw) -> list[Line]:
    name, group = d.server(), d.group()
    what = d.rng.choice(
        (f"move {group} {d.server()}", f"move {group}", f"stop {group}", f"start {group}")
    )
    return [
        (d.at, f"request {name} {what}"),
        (d.at + d.span(), f"request {d.server()} start {group}"),
    ]


def _suspend(d: Draw) -> list[Line]:
    return [
        (d.at, f"request {d.server()} suspend"),
        (d.at + d.span(), f"request {d.server()} resume"),
    ]


def _confirm(d: Draw) -> list[Line]:
    a, b = d.two()
    return [
        (d.at, f"off {b}"),
        (d.at + d.rng.uniform(0.5, 20), f"request {a} confirm-down {b}"),
        (d.at + 20 + d.span(), f"on {b}"),
    ]


def _service(d: Draw) -> list[Line]:
    name = d.server()
    which = d.rng.choice((name, name, "*"))
    then = d.rng.choice(("", "", "restart", "reboot", "shutdown"))
    by = d.rng.choice((name, d.server()))
    back = d.at + d.span()
    lines = [(d.at, f"request {by} service-stop {which} {then}".rstrip())]
    if then == "shutdown":
        lines += [(back, f"on {n}") for n in (d.names if which == "*" else (name,))]
    return [*lines, (back + 1, f"request {d.rng.choice((name, d.server()))} service-start {which}")]


def _revise(d: Draw) -> list[Line]:
    by, back = d.server(), d.at + d.span()
    again = (back + 30, f"revise {d.server()} again")
    what = d.rng.choice(("server", "server", "group", "arbiter", "leases", "leases", "again"))
    if what == "leases":
        leases = d.rng.choice(("1.0 2.5 30", "5 15 90", "3 15 60", "2 3 60", "3 6 20"))
        return [(d.at, f"revise {by} leases {leases}"), (back, f"revise {by} again"), again]
    if what == "group":
        group = d.group()
        return [
            (d.at, f"request {by} stop {group}"),
            (d.at + d.rng.uniform(0, 5), f"revise {by} remove-group {group}"),
            (back, f"revise {d.server()} add-group {group}"),
            (back + d.rng.uniform(0, 5), f"request {d.server()} start {group}"),
            again,
        ]
    if what == "arbiter":
        return [(d.at, f"revise {by} remove-arbiter"), (back, f"revise {by} add-arbiter"), again]
    if what == "again":
        return [(d.at, f"revise {by} again")]
    gone = d.rng.choice(d.names)
    word = d.rng.choice(("leave", "off", f"request {gone} service-stop"))
    pushed = d.at + d.rng.uniform(0.5, 12)
    return [
        (d.at, f"{word} {gone}"),
        (pushed, f"revise {by} remove {gone}"),
        (back, f"on {gone}"),
        (back, f"start {gone}"),
        (back + d.rng.uniform(0, 25), f"revise {by} add {gone}"),
        again,
    ]


def _recovery(d: Draw) -> list[Line]:
    monitor = d.monitor("genw")
    if not monitor:
        return []
    name = d.server()
    how = d.rng.choice(("fails", "hangs"))
    return [
        (d.at, f"script {name} * run {how}"),
        (d.at, f"monitor {name} {monitor} error"),
        (d.at + d.span(), f"monitor {name} {monitor} normal"),
        (d.at + d.span(), f"script {name} mend"),
    ]


def _toratio(d: Draw) -> list[Line]:
    begin = f"request {d.server()} stretch {d.rng.choice((2, 3, 5))} {d.span() + 5:.1f}"
    end = f"request {d.server()} stretch 1"
    again = d.rng.choice((begin, end, end))
    return [(d.at, begin), (d.at + d.rng.uniform(1, 60), again)]


def _link(d: Draw) -> list[Line]:
    """One interconnect of several: a cable, a switch port, the whole switch."""
    lans = [i.name for i in d.settings.interconnects if i.is_lan]
    if len(lans) < 2:
        return []
    link, first = d.rng.choice(lans), d.server()
    others = [n for n in d.names if n != first]
    pairs = d.rng.choice(
        (
            [d.two()],
            [(first, n) for n in others],
            [(one, two) for one in d.names for two in d.names if one < two],
        )
    )
    word = d.rng.choice(("cut", "cut", "cut-oneway"))
    heal = d.at + d.silence()
    lines = [(d.at, f"{word} {one} {two} {link}") for one, two in pairs]
    return lines + [(heal, f"heal {one} {two}") for one, two in pairs]


def _lose_one_way(d: Draw) -> list[Line]:
    a, b = d.two()
    share = d.rng.choice((0.3, 0.6, 0.9))
    return [(d.at, f"lose {share} {a} {b}"), (d.at + d.span(), f"lose 0 {a} {b}")]


def _lose_large(d: Draw) -> list[Line]:
    a, b = d.two()
    where = d.rng.choice(("", f" {a} {b}"))
    return [(d.at, f"lose-large 1300{where}"), (d.at + d.silence(), f"lose-large 0{where}")]


def _replay(d: Draw) -> list[Line]:
    """Heartbeats that somebody recorded come again, as a rule after their sender's end."""
    a, b = d.two()
    heard = d.at + d.rng.uniform(0.5, 6.0)
    end = d.rng.choice(("off", "kill", "reset", ""))
    begin = heard + d.rng.choice((0.0, d.rng.uniform(0.0, 4.0), d.span()))
    lines = [
        (d.at, f"record {a} {b}"),
        (begin, f"replay {a} {b} {d.rng.choice((2, 20, 50))} {d.span():.1f}"),
    ]
    if end:
        back = "start" if end == "kill" else "on"
        lines += [(heard, f"{end} {a}"), (heard + d.span(), f"{back} {a}")]
    return lines


def _clock(d: Draw) -> list[Line]:
    """Rates that change while everything runs, by what a crystal may be off."""
    name = d.server()
    return [
        (d.at + i * d.span(), f"drift {name} {d.rng.randint(-10_000, 10_000)}")
        for i in range(d.rng.randint(1, 3))
    ]


def _kill_often(d: Draw) -> list[Line]:
    name, at = d.server(), d.at
    lines: list[Line] = []
    for _ in range(d.rng.randint(2, 6)):
        back = at + d.rng.choice((0.1, 0.1, d.rng.uniform(0.05, 2.0)))
        lines += [(at, f"kill {name}"), (back, f"start {name}")]
        at = back + d.rng.choice((0.05, d.rng.uniform(0.0, 1.0), d.rng.uniform(0.0, 5.0)))
    return lines


def _purge(d: Draw) -> list[Line]:
    """A stop script that fails or hangs where nothing runs, at boot, and goes on doing so."""
    name, resource = d.server(), d.resource()
    how = d.rng.choice(("fails", "hangs"))
    again = d.rng.choice((f"reset {name}", f"kill {name}"))
    lost = [(d.at + 0.01, f"forget {name}"), (d.at + 0.2, f"start {name}")]
    return [
        (d.at, f"script {name} {resource} stop {how}"),
        (d.at, again),
        *(lost if again.startswith("kill") else []),
        (d.at + d.long(), f"script {name} mend"),
    ]


def _boots_long(d: Draw) -> list[Line]:
    """Memory tests, a file system check: longer than the others wait for it."""
    wait_s = d.settings.cluster.startup_wait_ms / 1000
    lines: list[Line] = []
    for name in d.some():
        down = d.rng.choice((f"reset {name}", f"off {name}"))
        lines += [
            (d.at, f"boot {name} {d.rng.uniform(0.8, 1.8) * wait_s:.1f}"),
            (d.at, down),
            (d.at + d.span(), f"on {name}"),
            (d.at + 2 * wait_s, f"boot {name} 0"),
        ]
    return lines


def _switch(d: Draw) -> list[Line]:
    """The switch that carries LAN and BMC network reboots: both are gone, and back together."""
    some = d.names if d.rng.random() < 0.6 else d.some()
    pairs = [(one, two) for one in d.names for two in d.names if one < two]
    gone = [(one, two) for one, two in pairs if one in some or two in some]
    bmcs = [s.name for s in d.settings.servers if s.bmc is not None and s.name in some]
    heal = d.at + d.silence()
    back = heal + d.rng.choice((0.0, 0.0, d.rng.uniform(0.0, 3.0)))
    return [
        *((d.at, f"cut {one} {two}") for one, two in gone),
        *((d.at, f"bmc {name} cut") for name in bmcs),
        *((heal, f"heal {one} {two}") for one, two in gone),
        *((back, f"bmc {name} mend") for name in bmcs),
    ]


def _power_returns(d: Draw) -> list[Line]:
    """Power is gone and comes by itself, while the others still try to make sure that it is."""
    name = d.server()
    back = d.at + d.rng.choice((d.rng.uniform(0.2, 3.0), d.rng.uniform(2.0, 9.0)))
    bmc = d.rng.choice(("dead", "slow 2", ""))
    lines = [(d.at, f"off {name}"), (back, f"on {name}")]
    if bmc and any(s.bmc is not None for s in d.settings.servers):
        lines += [(d.at, f"bmc {name} {bmc}"), (back, f"bmc {name} mend")]
    return lines


def _confirm_late(d: Draw) -> list[Line]:
    """The word that a server is down is on its way while that server comes back."""
    a, b = d.two()
    others = [n for n in d.names if n not in (a, b)]
    if not others:
        return []
    c = d.rng.choice(others)
    said = d.at + d.rng.uniform(0.5, 8.0)
    on = said + d.rng.uniform(0.2, 4.0)
    return [
        (d.at, f"off {b}"),
        (d.at, f"hold {a} {c} control"),
        (said, f"request {a} confirm-down {b}"),
        (on, f"on {b}"),
        (on + d.rng.uniform(0.0, 60.0), f"release {a} {c}"),
    ]


def _push(d: Draw) -> list[Line]:
    """An operator changes the configuration while other things go wrong."""
    by, back = d.server(), d.at + d.span()
    method = d.rng.choice(("none", "guard", "softdog"))
    order = d.rng.sample(d.names, d.rng.randint(1, len(d.names)))
    what = d.rng.choice(
        (
            f"userw {method}",
            f"userw {method}",
            f"group-servers {d.group()} {' '.join(order)}",
            f"forced-stop {d.rng.choice(('none', 'power-off', 'reset'))}",
            f"timeouts {d.rng.choice(('0.2 2', '0.5 4', '0.1 3'))}",
        )
    )
    again = (back + 30, f"revise {d.server()} again")
    return [(d.at, f"revise {by} {what}"), (back, f"revise {d.server()} again"), again]


def _moment(d: Draw) -> list[Line]:
    """Cut off, or struck, right after an action: windows that no time of the clock hits."""
    name, span = d.server(), d.span()
    if d.rng.random() < 0.5:
        how = d.rng.choice(("isolate", "deaf", "mute"))
        return [(d.at, f"interrupt {name} {d.rng.randint(1, 6)} {how} {span:.3f}")]
    action = d.rng.choice(
        ("fence", "run-resource", "run-resource", "send-control", "persist", "set-member")
    )
    other = d.rng.choice(d.names)
    what = d.rng.choice(
        (f"off {name}", f"kill {name}", f"isolate {name}", f"cut {name} {other}", f"off {other}")
    )
    return [
        (d.at, f"upon {name} {action} {d.rng.randint(1, 3)} {what}"),
        (d.at + span, f"start {name}"),
        (d.at + span, f"on {name}"),
        (d.at + span, f"on {other}"),
        *((d.at + span, f"heal {name} {n}") for n in d.names if n != name),
    ]


def _watchdog_missing(d: Draw) -> list[Line]:
    name = d.server()
    again = d.rng.choice((f"reset {name}", f"kill {name}", f"revise {name} userw guard"))
    return [
        (d.at, f"watchdog {name} broken"),
        (d.at + 0.1, again),
        (d.at + 0.3, f"start {name}"),
        (d.at + d.long(), f"watchdog {name} works"),
    ]


def _run(d: Draw) -> list[Line]:
    """`/run` is full, or wiped by somebody's clean-up."""
    name, back = d.server(), d.at + d.span()
    if d.rng.random() < 0.5:
        return [(d.at, f"run {name} fails"), (back, f"run {name} works")]
    return [(d.at, f"run {name} wiped"), (back, f"kill {name}"), (back + 0.2, f"start {name}")]


def _disk(d: Draw) -> list[Line]:
    name = d.server()
    how = d.rng.choice(("read-only", "no-notes"))
    again = d.rng.choice((f"reset {name}", f"leave {name}", f"kill {name}"))
    back = d.at + d.span()
    return [
        (d.at, f"disk {name} {how}"),
        (d.at + d.rng.uniform(0.0, 5.0), again),
        (back, f"disk {name} works"),
        (back + 0.1, f"start {name}"),
    ]


def _bmc_blinks(d: Draw) -> list[Line]:
    """A BMC reads "off" for a moment: its state daemon restarts, a sensor bounces."""
    name = d.server()
    back = d.at + d.rng.choice((0.1, 0.4, d.rng.uniform(0.1, 2.0)))
    return [(d.at, f"bmc {name} blinks"), (back, f"bmc {name} mend")]


def _bmc_lies(d: Draw) -> list[Line]:
    """The same, also about a server that nobody can reach."""
    return [(at, line.replace("blinks", "lies-off")) for at, line in _bmc_blinks(d)]


def _bmc_restarts(d: Draw) -> list[Line]:
    """Its sessions and its timer are gone, and for up to a minute it does not know the power."""
    name, takes = d.server(), d.rng.choice((1.0, d.rng.uniform(1.0, 15.0), 60.0))
    how = d.rng.choice(("off", "silent"))
    lines = [(d.at, f"bmc {name} restart {takes:.1f} {how}")]
    if d.rng.random() < 0.4:  # the network port that it shares is gone for a moment, too
        heal = d.at + d.rng.uniform(0.5, 8.0)
        lines.append((d.at, f"isolate {name}"))
        lines += [(heal, f"heal {name} {n}") for n in d.names if n != name]
    return lines


def _fence_lies(d: Draw) -> list[Line]:
    """A forced stop that is reported as done and cut nothing, or that lands late."""
    name = d.server()
    how = d.rng.choice(("fence-lies", f"fence-late {d.rng.uniform(0.5, 8.0):.1f}"))
    heal = d.at + d.silence()
    return [
        (d.at, f"bmc {name} {how}"),
        (d.at, f"isolate {name}"),
        *((heal, f"heal {name} {n}") for n in d.names if n != name),
        (heal + d.span(), f"bmc {name} mend"),
    ]


def _bmcs_swapped(d: Draw) -> list[Line]:
    a, b = d.two()
    return [(d.at, f"bmc {a} swapped {b}"), (d.at + d.long(), f"bmc {a} mend")]


def _watchdog_dies(d: Draw) -> list[Line]:
    name = d.server()
    told = d.rng.choice(("", " 0.01", f" {d.rng.uniform(0.1, 10.0):.1f}"))
    return [(d.at, f"watchdog {name} dies{told}")]


def _vm_restored(d: Draw) -> list[Line]:
    name = d.server()
    return [(d.at, f"snapshot {name}"), (d.at + d.span(), f"restore {name}")]


class Kind(NamedTuple):
    """A kind of fault: how often, and how."""

    weight: int
    """0: rare, see `_RARE`."""
    make: Callable[[Draw], list[Line]]
    mild: bool = False
    """Among those that must not stop a service for long when they come alone."""
    group: str = "all"
    """`all`: every promise holds all the same; `beyond`: not even the rules can keep two copies
    apart then (see their page)."""
    beside: bool = False
    """Drawn beside the others, by a generator of their own: the seeds of before stay the same."""


KINDS: dict[str, Kind] = {
    "off": Kind(3, _off, mild=True),
    "off-many": Kind(2, _off_many),
    "reset": Kind(3, _reset, mild=True),
    "kill": Kind(4, _kill, mild=True),
    "forget": Kind(1, _forget),
    "leave": Kind(3, _leave),
    "pause": Kind(5, _pause),
    "interrupt": Kind(4, _interrupt),
    "wipe": Kind(1, _wipe),
    "cut": Kind(6, _cut, mild=True),
    "isolate": Kind(9, _isolate, mild=True),
    "split": Kind(6, _split),
    "lose": Kind(2, _lose),
    "late": Kind(3, _late),
    "double": Kind(1, _double),
    "hold": Kind(3, _hold),
    "bmc": Kind(3, _bmc, mild=True),
    "bmc-and-power": Kind(2, _bmc_and_power),
    "arbiter": Kind(3, _arbiter, mild=True),
    "script": Kind(3, _script),
    "trap": Kind(2, _trap),
    "storm": Kind(1, _storm),
    "message": Kind(1, _message),
    "monitor": Kind(1, _monitor),
    "operator": Kind(3, _operator),
    "suspend": Kind(1, _suspend),
    "confirm": Kind(1, _confirm),
    "service": Kind(2, _service),
    "revise": Kind(2, _revise),
    "recovery": Kind(1, _recovery),
    "toratio": Kind(0, _toratio),
    "predict": Kind(0, _predict),
    "link": Kind(3, _link, beside=True),
    "lose-one-way": Kind(2, _lose_one_way, beside=True),
    "lose-large": Kind(1, _lose_large, beside=True),
    "replay": Kind(2, _replay, beside=True),
    "clock": Kind(2, _clock, beside=True),
    "kill-often": Kind(3, _kill_often, beside=True),
    "purge": Kind(3, _purge, beside=True),
    "boots-long": Kind(2, _boots_long, beside=True),
    "switch": Kind(4, _switch, beside=True),
    "power-returns": Kind(4, _power_returns, beside=True),
    "confirm-late": Kind(2, _confirm_late, beside=True),
    "push": Kind(5, _push, beside=True),
    "moment": Kind(6, _moment, beside=True),
    "watchdog-missing": Kind(2, _watchdog_missing, beside=True),
    "run": Kind(2, _run, beside=True),
    "disk": Kind(2, _disk, beside=True),
    "bmc-blinks": Kind(4, _bmc_blinks, beside=True),
    "bmc-restarts": Kind(4, _bmc_restarts, beside=True),
    "bmc-fence-lies": Kind(3, _fence_lies, beside=True),
    "bmc-lies": Kind(2, _bmc_lies, group="beyond", beside=True),
    "bmcs-swapped": Kind(1, _bmcs_swapped, group="beyond", beside=True),
    "watchdog-dies": Kind(1, _watchdog_dies, group="beyond", beside=True),
    "vm-restored": Kind(1, _vm_restored, group="beyond", beside=True),
}
_NEVER_S = 1e9
_RARE = 0.1
"""Share of the runs in which a rare kind happens, twice, beside whatever else does."""


def kinds_of(words: str) -> tuple[str, ...]:
    """`all`, `mild`, or a list of kinds and groups with commas.  Raises ValueError for an unknown
    kind."""
    found: list[str] = []
    groups = {kind.group for kind in KINDS.values()}
    for word in (w.strip() for w in words.split(",") if w.strip()):
        if word == "mild":
            found += [name for name, kind in KINDS.items() if kind.mild]
        elif word in groups:
            found += [name for name, kind in KINDS.items() if kind.group == word]
        else:
            found.append(word)
    unknown = [n for n in found if n not in KINDS]
    if unknown or not found:
        known = ", ".join(["mild", *sorted(groups), *KINDS])
        raise ValueError(f"{', '.join(unknown) or words}: no such fault; known: {known}")
    return tuple(dict.fromkeys(found))


def _possible(kind: str, settings: Settings) -> bool:
    if kind == "arbiter":
        return settings.arbiter is not None
    if kind.startswith("bmc"):
        return any(s.bmc is not None for s in settings.servers)
    if kind == "predict":
        return any(m.name == "mrw1" and m.prepare_on_stall for m in settings.monitors)
    if kind == "link":
        return sum(1 for i in settings.interconnects if i.is_lan) > 1
    return True


def schedule(settings: Settings, seed: int, seconds: float, kinds: Iterable[str]) -> list[Line]:
    """A random schedule for so long, in order of time."""
    wanted = [n for n in kinds if _possible(n, settings)]
    usual = [n for n in wanted if KINDS[n].weight and not KINDS[n].beside]
    beside = [n for n in wanted if KINDS[n].beside]
    lines = _drawn(settings, Random(f"{seed} faults"), seconds, usual, (2.0, 5.0, 12.0))
    # Some runs have none of these, some nearly nothing else.
    paces = (4.0, 12.0, 12.0, 40.0, _NEVER_S) if usual else (4.0, 12.0)
    lines += _drawn(settings, Random(f"{seed} beside"), seconds, beside, paces)
    for name in (n for n in wanted if not KINDS[n].weight):
        apart = Random(f"{seed} {name}")
        # Where predictions plan moves, each run has some.
        if not usual or name == "predict" or apart.random() < _RARE:
            for begin in sorted((apart.uniform(0, seconds), apart.uniform(0, seconds))):
                lines += KINDS[name].make(Draw(settings, apart, round(begin, 3)))
    return sorted((round(t, 3), line) for t, line in lines if t < seconds)


def _drawn(
    settings: Settings, rng: Random, seconds: float, names: list[str], paces: tuple[float, ...]
) -> list[Line]:
    """Faults of these kinds, as often as they weigh."""
    weights = [KINDS[n].weight for n in names]
    # Mean time between faults: some runs are crowded, some let the cluster settle.
    pace = rng.choice(paces)
    lines: list[Line] = []
    at = rng.uniform(0.0, 12.0)
    if pace > seconds:
        return []
    while names and at < seconds:
        name = rng.choices(names, weights)[0]
        lines += KINDS[name].make(Draw(settings, rng, round(at, 3)))
        at += rng.expovariate(1 / pace)
    return lines
