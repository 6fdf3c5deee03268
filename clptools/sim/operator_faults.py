"""What operators do while other things fail, including mistakes."""

from __future__ import annotations

from clptools.sim.draw import Draw, Line


def operator(d: Draw) -> list[Line]:
    name, group = d.server(), d.group()
    what = d.rng.choice(
        (f"move {group} {d.server()}", f"move {group}", f"stop {group}", f"start {group}")
    )
    return [
        (d.at, f"request {name} {what}"),
        (d.at + d.span(), f"request {d.server()} start {group}"),
    ]


def suspend(d: Draw) -> list[Line]:
    return [
        (d.at, f"request {d.server()} suspend"),
        (d.at + d.span(), f"request {d.server()} resume"),
    ]


def confirm(d: Draw) -> list[Line]:
    a, b = d.two()
    return [
        (d.at, f"off {b}"),
        (d.at + d.rng.uniform(0.5, 20), f"request {a} confirm-down {b}"),
        (d.at + 20 + d.span(), f"on {b}"),
    ]


def confirm_late(d: Draw) -> list[Line]:
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


def service(d: Draw) -> list[Line]:
    name = d.server()
    which = d.rng.choice((name, name, "*"))
    then = d.rng.choice(("", "", "restart", "reboot", "shutdown"))
    by = d.rng.choice((name, d.server()))
    back = d.at + d.span()
    lines = [(d.at, f"request {by} service-stop {which} {then}".rstrip())]
    if then == "shutdown":
        lines += [(back, f"on {n}") for n in (d.names if which == "*" else (name,))]
    return [*lines, (back + 1, f"request {d.rng.choice((name, d.server()))} service-start {which}")]


def revise(d: Draw) -> list[Line]:
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


def push(d: Draw) -> list[Line]:
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


def order(d: Draw) -> list[Line]:
    """Which groups wait for others, or are kept apart, is changed; or one of them is stopped."""
    names = [g.name for g in d.settings.groups]
    first, second = sorted(d.rng.sample(range(len(names)), 2))
    by, back = d.server(), d.at + d.span()
    how = d.rng.choice(("normal", "absolute"))
    what = d.rng.choice(
        (
            f"revise {by} start-after {names[second]} {names[first]}",
            f"revise {by} start-after {names[second]}",
            f"revise {by} exclusive {names[first]} {how} {names[second]}",
            f"revise {by} exclusive {names[first]} {how}",
            f"request {by} stop {names[first]}",
            f"request {by} stop",
        )
    )
    again = (back + 30, f"revise {d.server()} again")
    return [(d.at, what), (back, f"request {d.server()} start"), again]


def recovery(d: Draw) -> list[Line]:
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


def toratio(d: Draw) -> list[Line]:
    begin = f"request {d.server()} stretch {d.rng.choice((2, 3, 5))} {d.span() + 5:.1f}"
    end = f"request {d.server()} stretch 1"
    again = d.rng.choice((begin, end, end))
    return [(d.at, begin), (d.at + d.rng.uniform(1, 60), again)]
