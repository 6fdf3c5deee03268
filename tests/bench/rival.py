"""Whole machines, beside corosync and pacemaker: the newest rounds of the laboratory."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Sequence

from lab.rival.contender import OURS
from lab.rival.duel import Duel, Round, load
from tests.bench.report import Row, Section

CASES = ("rival-power-loss", "rival-panic", "rival-frozen")
ROUNDS = "3"


def measure() -> Section:
    """What the laboratory has measured; if it has nothing, it measures now (as root)."""
    if not any(load(name) for name in CASES):
        environment = {**os.environ, "ROUNDS": os.environ.get("ROUNDS", ROUNDS)}
        subprocess.run([sys.executable, "-m", "lab", *CASES], env=environment, check=True)
    duels = [duel for name in CASES if (duel := load(name)) is not None]
    rounds = [each for duel in duels for each in duel.rounds]
    loads = [each.load for each in rounds]
    runs = (
        f"{min(each.when for each in rounds)} to {max(each.when for each in rounds)} UTC, "
        f"load averages {min(loads):.1f} to {max(loads):.1f}, {_nice(rounds)}"
    )
    return Section(
        title="Whole machines, beside corosync and pacemaker",
        how=HOW.format(cases=" ".join(CASES), runs=runs),
        rows=tuple(row for duel in duels for row in rows(duel)),
    )


HOW = """\
The same two emulated servers, BMCs (`ipmi_sim`), floating address, application and faults; first \
clptools, then, with clptools stopped, corosync 3.1.7 and pacemaker 2.1.5 of Debian 12 \
(configuration: `lab/rival/pacemaker.py`). The gap is the silence that a client of the floating \
address heard. Both prove death by the BMC before they start anything. clptools has its defaults: \
heartbeats every 0.2 s, time-out 3 s (1 s in the rows that say so); behind cut cables the holder \
shoots at once, the other 5 s later, and the BMC heartbeat tells a server that hangs from one \
behind cut cables. Pacemaker has `two_node`, `fence_ipmilan` with `stonith-action=off`, IPaddr2 \
and the same start and stop scripts. *token 3 s*: the defaults of corosync and of \
`fence_ipmilan`. *token 1 s, no power_wait*: as quick as is sensible. In both, the delay against \
mutual fencing is on the side that these faults do not meet: the survivor never waits, and behind \
cut cables it is the holder that is shot. *The holder shoots first*: `priority-fencing-delay=5s` \
in its place, as clptools does. In the panic rounds of token 3 s its throttle was still on. \
corosync gives a server up after token and consensus, 2.2 times the token. Steps are medians in \
seconds after the fault, from pacemaker's own log. Emulation makes programs many times slower \
than on hardware, so what is above the timers is an upper bound for everyone. `make real \
CASE="{cases}" ROUNDS=3` measures again; here are the newest rounds: {runs}.\
"""


def rows(duel: Duel) -> list[Row]:
    """A row for each contender; ours are met where they are shorter than every comparable one."""
    found = []
    for name in duel.contenders():
        mine = duel.of(name)
        others = [
            _median(duel.of(other))
            for other in duel.contenders()
            if not other.startswith(OURS) and duel.of(other)[0].silence_s == mine[0].silence_s
        ]
        compared = name.startswith(OURS) and bool(others)
        found.append(
            Row(
                what=f"{duel.fault}: {name}",
                measured=_measured(mine),
                target=f"shorter than pacemaker's of {mine[0].silence_s:g} s" if compared else "",
                met=_median(mine) < min(others) if compared else None,
            )
        )
    return found


def _nice(rounds: Sequence[Round]) -> str:
    found = sorted({each.nice for each in rounds})
    return f"the emulators at nice {' or '.join(map(str, found))}"


def _median(rounds: Sequence[Round]) -> float:
    return statistics.median(each.gap_s for each in rounds)


def _measured(rounds: Sequence[Round]) -> str:
    gaps = [each.gap_s for each in rounds]
    text = f"median {_median(rounds):.2f} s, longest {max(gaps):.2f} (n = {len(gaps)})"
    names = dict.fromkeys(name for each in rounds for name in each.steps)
    steps = [
        f"{name} {statistics.median(r.steps[name] for r in rounds if name in r.steps):.1f}"
        for name in names
    ]
    return f"{text}; {', '.join(steps)}" if steps else text
