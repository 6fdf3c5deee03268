"""Faults of the network: cuts, loss, and datagrams that are late, doubled or replayed."""

from __future__ import annotations

from clptools.sim.draw import Draw, Line


def cut(d: Draw) -> list[Line]:
    a, b = d.two()
    word = d.rng.choice(("cut", "cut-oneway"))
    return [(d.at, f"{word} {a} {b}"), (d.at + d.silence(), f"heal {a} {b}")]


def isolate(d: Draw) -> list[Line]:
    name = d.server()
    word = d.rng.choice(("isolate", "isolate", "deaf", "mute"))
    heal = d.at + d.silence()
    return [(d.at, f"{word} {name}"), *((heal, f"heal {name} {n}") for n in d.names if n != name)]


def split(d: Draw) -> list[Line]:
    side = d.some()
    other = [n for n in d.names if n not in side]
    if not other:
        return []
    heal = d.at + d.silence()
    heals = [(heal, f"heal {a} {b}") for a in side for b in other]
    return [(d.at, f"split {','.join(side)} {','.join(other)}"), *heals]


def link(d: Draw) -> list[Line]:
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


def switch(d: Draw) -> list[Line]:
    """The switch that carries LAN and BMC network reboots: both are gone, and back together."""
    some = d.names if d.rng.random() < 0.6 else d.some()
    pairs = [(one, two) for one in d.names for two in d.names if one < two]
    gone = [(one, two) for one, two in pairs if one in some or two in some]
    bmcs = [s.name for s in d.settings.servers if s.has_power_control and s.name in some]
    heal = d.at + d.silence()
    back = heal + d.rng.choice((0.0, 0.0, d.rng.uniform(0.0, 3.0)))
    return [
        *((d.at, f"cut {one} {two}") for one, two in gone),
        *((d.at, f"bmc {name} cut") for name in bmcs),
        *((heal, f"heal {one} {two}") for one, two in gone),
        *((back, f"bmc {name} mend") for name in bmcs),
    ]


def lose(d: Draw) -> list[Line]:
    share = d.rng.choice((0.05, 0.2, 0.5, 0.9))
    return [(d.at, f"lose {share}"), (d.at + d.span(), "lose 0")]


def lose_one_way(d: Draw) -> list[Line]:
    a, b = d.two()
    share = d.rng.choice((0.3, 0.6, 0.9))
    return [(d.at, f"lose {share} {a} {b}"), (d.at + d.span(), f"lose 0 {a} {b}")]


def lose_large(d: Draw) -> list[Line]:
    a, b = d.two()
    where = d.rng.choice(("", f" {a} {b}"))
    return [(d.at, f"lose-large 1300{where}"), (d.at + d.silence(), f"lose-large 0{where}")]


def late(d: Draw) -> list[Line]:
    share, late = d.rng.choice((0.02, 0.2)), d.rng.choice((1, 8, 40))
    return [(d.at, f"late {share} {late}"), (d.at + d.span(), "late 0")]


def double(d: Draw) -> list[Line]:
    return [(d.at, "double 0.2"), (d.at + d.span(), "double 0")]


def hold(d: Draw) -> list[Line]:
    a, b = d.two()
    return [(d.at, f"hold {a} {b} control"), (d.at + d.span(), f"release {a} {b}")]


def replay(d: Draw) -> list[Line]:
    """Recorded heartbeats come again, as a rule after their sender's end."""
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
