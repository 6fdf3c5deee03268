"""Random fault schedules: lines of `verbs.py` with times, chosen by the seed.

`full` breaks everything that may break; `mild` is one fault at a time with time to settle, as
for the promise that nothing stops without need.  A kind is a function from the random generator
and the names to lines; its own end (heal, power on, resume) is among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random
from typing import NamedTuple

from clptools.core.settings import Settings

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


class Kind(NamedTuple):
    """A kind of fault: how often, and how."""

    weight: int
    """0: rare, see `_RARE`."""
    make: Callable[[Draw], list[Line]]
    mild: bool = False
    """Among those that must not stop a service for long when they come alone."""


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
}
_RARE = 0.1
"""Share of the runs in which a rare kind happens, twice, beside whatever else does."""


def kinds_of(words: str) -> tuple[str, ...]:
    """`all`, `mild`, or a list with commas.  Raises ValueError for an unknown kind."""
    if words == "all":
        return tuple(KINDS)
    if words == "mild":
        return tuple(name for name, kind in KINDS.items() if kind.mild)
    names = tuple(w.strip() for w in words.split(",") if w.strip())
    unknown = [n for n in names if n not in KINDS]
    if unknown or not names:
        raise ValueError(
            f"{', '.join(unknown) or words}: no such fault; known: all, mild, {', '.join(KINDS)}"
        )
    return names


def _possible(kind: str, settings: Settings) -> bool:
    if kind == "arbiter":
        return settings.arbiter is not None
    if kind.startswith("bmc"):
        return any(s.bmc is not None for s in settings.servers)
    return True


def schedule(settings: Settings, seed: int, seconds: float, kinds: Iterable[str]) -> list[Line]:
    """A random schedule for so long, in order of time."""
    rng = Random(f"{seed} faults")
    wanted = [n for n in kinds if _possible(n, settings)]
    names = [n for n in wanted if KINDS[n].weight]
    weights = [KINDS[n].weight for n in names]
    pace = rng.choice((2.0, 5.0, 12.0))
    """Mean time between faults: some runs are crowded, some let the cluster settle."""
    lines: list[Line] = []
    at = rng.uniform(0.0, 12.0)
    while names and at < seconds:
        name = rng.choices(names, weights)[0]
        lines += KINDS[name].make(Draw(settings, rng, round(at, 3)))
        at += rng.expovariate(1 / pace)
    for name in (n for n in wanted if not KINDS[n].weight):
        apart = Random(f"{seed} {name}")
        if not names or apart.random() < _RARE:
            for begin in sorted((apart.uniform(0, seconds), apart.uniform(0, seconds))):
                lines += KINDS[name].make(Draw(settings, apart, round(begin, 3)))
    return sorted((round(t, 3), line) for t, line in lines if t < seconds)
