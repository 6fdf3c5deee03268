"""Random partitions, deaths and standstills of real servers: is a group ever active twice?"""

from __future__ import annotations

import secrets
from collections import Counter

from tests.bench.report import Row, Section, spread
from tests.real.cluster import Cluster
from tests.real.partition import Partitions, gaps_s

ROUNDS_SHORT = 20
ROUNDS_DEFAULT = 10
BACK_S = 30.0
"""With every server up and every path whole, a group that still waits has a fault."""


def measure() -> Section:
    """Rounds with short leases, where take-over falls into the fault, then at defaults."""
    seed = secrets.randbelow(1 << 16)
    rows: list[Row] = []
    kinds: Counter[str] = Counter()
    for what, tables, rounds, fault_s in (
        ("lease = 1, self_stop = 2.5", "lease = 1\nself_stop = 2.5", ROUNDS_SHORT, (2.0, 9.0)),
        ("defaults", "", ROUNDS_DEFAULT, (4.0, 20.0)),
    ):
        with Cluster(servers=3) as cluster:
            tried = Partitions(cluster, seed, tables)
            tried.start()
            for _ in range(rounds):
                tried.round(fault_s)
            rows += _rows(f"{what}; {rounds} rounds", tried)
            kinds += tried.done
    faults = ", ".join(f"{name} {count}" for name, count in sorted(kinds.items()))
    return Section(
        title="Partitions of real servers: two copies, ever?",
        how=(
            "Three servers in network namespaces, watchdogs armed (a guard process whose action "
            "ends everything on the server), two groups.  A round is one or two faults at random, "
            f"then everything is healed and all agents run (seed {seed}: {faults}).  The "
            "resource of a group writes `begin`, a `beat` every 20 ms and `end`, with "
            "CLOCK_MONOTONIC, to one file; two copies of a group at once show there."
        ),
        rows=tuple(rows),
    )


def _rows(what: str, tried: Partitions) -> list[Row]:
    # A round in which two copies ran has ended the measurement with an error.
    lines = tried.lines()
    gaps = gaps_s(lines)
    resets = sum(line.word == "reset" for line in lines)
    beats = sum(line.word == "beat" for line in lines)
    moved = f"{len(gaps)} take-overs, {resets} resets, {beats} beats"
    return [
        Row(
            what=f"{what}: two copies of a group at once",
            measured=f"never ({moved})",
            target="never",
            met=True,
        ),
        Row(
            what="end of one copy until the begin of the next elsewhere",
            measured=f"shortest {min(gaps):.2f}; {spread(gaps, 's', 2)}"
            if gaps
            else "no take-over",
        ),
        Row(
            what="all healed until every group runs",
            measured=spread(tried.back_s, "s", 2),
            target=f"within {BACK_S:g} s",
            met=max(tried.back_s) <= BACK_S,
        ),
    ]
