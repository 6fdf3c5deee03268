"""Faults of servers: power, agents, clocks, scripts, watchdogs, disks and `/run`.

Each is a function from what chance draws to lines of `verbs.py`; its own end is among them.
"""

from __future__ import annotations

from clptools.sim.draw import Draw, Line


def off(d: Draw) -> list[Line]:
    name = d.server()
    return [(d.at, f"off {name}"), (d.at + d.span(), f"on {name}")]


def off_many(d: Draw) -> list[Line]:
    lines: list[Line] = []
    for name in d.some():
        begin = d.at + d.rng.choice((0.0, d.rng.random() * 5))
        lines += [(begin, f"off {name}"), (begin + d.span(), f"on {name}")]
    return lines


def reset(d: Draw) -> list[Line]:
    return [(d.at, f"reset {d.server()}")]


def kill(d: Draw) -> list[Line]:
    name = d.server()
    back = d.rng.choice((0.1, 0.5, 2.0, d.span()))
    return [(d.at, f"kill {name}"), (d.at + back, f"start {name}")]


def kill_often(d: Draw) -> list[Line]:
    name, at = d.server(), d.at
    lines: list[Line] = []
    for _ in range(d.rng.randint(2, 6)):
        back = at + d.rng.choice((0.1, 0.1, d.rng.uniform(0.05, 2.0)))
        lines += [(at, f"kill {name}"), (back, f"start {name}")]
        at = back + d.rng.choice((0.05, d.rng.uniform(0.0, 1.0), d.rng.uniform(0.0, 5.0)))
    return lines


def forget(d: Draw) -> list[Line]:
    name = d.server()
    back = d.at + d.rng.choice((0.1, 0.5, d.span()))
    return [(d.at, f"kill {name}"), (d.at + 0.01, f"forget {name}"), (back, f"start {name}")]


def leave(d: Draw) -> list[Line]:
    name = d.server()
    return [(d.at, f"leave {name}"), (d.at + d.span(), f"start {name}")]


def pause(d: Draw) -> list[Line]:
    word = d.rng.choice(("pause", "stall"))
    return [(d.at, f"{word} {d.server()} {d.silence():.3f}")]


def interrupt(d: Draw) -> list[Line]:
    how = d.rng.choice(("kill", "off", "reset", "pause", "stall"))
    name, span = d.server(), d.span()
    lines = [(d.at, f"interrupt {name} {d.rng.randint(1, 4)} {how} {span:.3f}")]
    if how == "kill":
        lines.append((d.at + min(span, 3.0), f"start {name}"))
    elif how == "off":
        lines.append((d.at + span, f"on {name}"))
    return lines


def moment(d: Draw) -> list[Line]:
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


def wipe(d: Draw) -> list[Line]:
    name = d.server()
    on = d.at + d.span()
    return [(d.at, f"off {name}"), (d.at + 0.01, f"wipe {name}"), (on, f"on {name}")]


def boots_long(d: Draw) -> list[Line]:
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


def clock(d: Draw) -> list[Line]:
    """Clock rates change at run time, by as much as a crystal may be off."""
    name = d.server()
    return [
        (d.at + i * d.span(), f"drift {name} {d.rng.randint(-10_000, 10_000)}")
        for i in range(d.rng.randint(1, 3))
    ]


def purge(d: Draw) -> list[Line]:
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


def script(d: Draw) -> list[Line]:
    name, resource = d.server(), d.resource()
    op = d.rng.choice(("start", "stop"))
    how = d.rng.choice(("fails", "hangs", f"takes {d.rng.uniform(1, 9):.1f}"))
    return [
        (d.at, f"script {name} {resource} {op} {how}"),
        (d.at + d.span(), f"script {name} mend"),
    ]


def watchdog_missing(d: Draw) -> list[Line]:
    name = d.server()
    again = d.rng.choice((f"reset {name}", f"kill {name}", f"revise {name} userw guard"))
    return [
        (d.at, f"watchdog {name} broken"),
        (d.at + 0.1, again),
        (d.at + 0.3, f"start {name}"),
        (d.at + d.long(), f"watchdog {name} works"),
    ]


def watchdog_dies(d: Draw) -> list[Line]:
    name = d.server()
    told = d.rng.choice(("", " 0.01", f" {d.rng.uniform(0.1, 10.0):.1f}"))
    return [(d.at, f"watchdog {name} dies{told}")]


def run(d: Draw) -> list[Line]:
    """`/run` is full, or wiped by a clean-up."""
    name, back = d.server(), d.at + d.span()
    if d.rng.random() < 0.5:
        return [(d.at, f"run {name} fails"), (back, f"run {name} works")]
    return [(d.at, f"run {name} wiped"), (back, f"kill {name}"), (back + 0.2, f"start {name}")]


def disk(d: Draw) -> list[Line]:
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


def vm_restored(d: Draw) -> list[Line]:
    name = d.server()
    return [(d.at, f"snapshot {name}"), (d.at + d.span(), f"restore {name}")]
