"""Faults of BMCs and arbiters, and what hardware and monitors report."""

from __future__ import annotations

from clptools.sim.draw import Draw, Line


def bmc(d: Draw) -> list[Line]:
    name = d.server()
    how = d.rng.choice(
        ("dead", "cut", f"cut {d.server()}", "slow 3", "still", "stuck-on", "fence-fails")
    )
    return [(d.at, f"bmc {name} {how}"), (d.at + d.span(), f"bmc {name} mend")]


def bmc_and_power(d: Draw) -> list[Line]:
    name, back = d.server(), d.at + d.span()
    return [
        (d.at, f"bmc {name} dead"),
        (d.at, f"off {name}"),
        (back, f"bmc {name} mend"),
        (back, f"on {name}"),
    ]


def power_returns(d: Draw) -> list[Line]:
    """Power is gone and comes by itself, while the others still try to make sure that it is."""
    name = d.server()
    back = d.at + d.rng.choice((d.rng.uniform(0.2, 3.0), d.rng.uniform(2.0, 9.0)))
    bmc = d.rng.choice(("dead", "slow 2", ""))
    lines = [(d.at, f"off {name}"), (back, f"on {name}")]
    if bmc and any(s.has_power_control for s in d.settings.servers):
        lines += [(d.at, f"bmc {name} {bmc}"), (back, f"bmc {name} mend")]
    return lines


def bmc_blinks(d: Draw) -> list[Line]:
    """A BMC reads "off" for a moment: its state daemon restarts, a sensor bounces."""
    name = d.server()
    back = d.at + d.rng.choice((0.1, 0.4, d.rng.uniform(0.1, 2.0)))
    return [(d.at, f"bmc {name} blinks"), (back, f"bmc {name} mend")]


def bmc_lies(d: Draw) -> list[Line]:
    """The same, also of a server that no other can reach."""
    return [(at, line.replace("blinks", "lies-off")) for at, line in bmc_blinks(d)]


def bmc_restarts(d: Draw) -> list[Line]:
    """Its sessions and its timer are gone, and for up to a minute it does not know the power."""
    name, takes = d.server(), d.rng.choice((1.0, d.rng.uniform(1.0, 15.0), 60.0))
    how = d.rng.choice(("off", "silent"))
    lines = [(d.at, f"bmc {name} restart {takes:.1f} {how}")]
    if d.rng.random() < 0.4:  # the network port that it shares is gone for a moment, too
        heal = d.at + d.rng.uniform(0.5, 8.0)
        lines.append((d.at, f"isolate {name}"))
        lines += [(heal, f"heal {name} {n}") for n in d.names if n != name]
    return lines


def fence_lies(d: Draw) -> list[Line]:
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


def bmcs_swapped(d: Draw) -> list[Line]:
    a, b = d.two()
    return [(d.at, f"bmc {a} swapped {b}"), (d.at + d.long(), f"bmc {a} mend")]


def arbiter(d: Draw) -> list[Line]:
    how = d.rng.choice(("down", "slow 2.5", f"cut {d.server()}"))
    return [(d.at, f"arbiter {how}"), (d.at + d.span(), "arbiter mend")]


def trap(d: Draw) -> list[Line]:
    monitor = d.monitor("mrw")
    if not monitor:
        return []
    name, key = d.server(), f"sensor{d.rng.randint(1, 3)}"
    event_class = d.rng.choice(("FATAL", "FATAL", "ERROR", "PREDICT", "PERFORMANCE"))
    return [
        (d.at, f"trap {name} {monitor} {event_class} {key}"),
        (d.at + d.span(), f"trap {name} {monitor} CLEAR {key}"),
    ]


def predict(d: Draw) -> list[Line]:
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


def storm(d: Draw) -> list[Line]:
    monitor = d.monitor("mrw")
    return [(d.at, f"storm {d.server()} {monitor} 60")] if monitor else []


def message(d: Draw) -> list[Line]:
    name = d.server()
    back = d.at + d.span()
    return [(d.at, f"message {name} NIC eth0"), (back, f"message {name} NIC eth0 recovered")]


def monitor(d: Draw) -> list[Line]:
    monitor = d.monitor("genw")
    if not monitor:
        return []
    name = d.server()
    return [
        (d.at, f"monitor {name} {monitor} error"),
        (d.at + d.span(), f"monitor {name} {monitor} normal"),
    ]
