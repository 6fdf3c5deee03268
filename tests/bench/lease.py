"""Power loss of a server whose BMC dies with it: only its lease can prove that it has stopped."""

from __future__ import annotations

from clptools.sim.loopback import LoopbackCluster
from tests.bench.marks import SCRIPT
from tests.bench.power import losses
from tests.bench.report import Row, Section, spread

ROUNDS = 4
GUARD = 'method = "guard"\nguard_action = "/bin/true"'
"""Below `CLP_ROOT` the guard needs a program of its own to be armed; what it does is no matter
here, since the server is off."""


def measure() -> Section:
    """Three servers at defaults, then with short leases."""
    default = losses(LoopbackCluster(3, userw=GUARD, script=SCRIPT), ROUNDS, bmc_too=True)
    short = losses(
        LoopbackCluster(3, cluster="lease = 1\nself_stop = 2.5", userw=GUARD, script=SCRIPT),
        ROUNDS,
        bmc_too=True,
    )
    return Section(
        title="Power loss, the BMC dead too: proof by lease",
        how=(
            "Three servers, watchdogs armed. The server that runs the group loses power and its "
            "BMC answers nothing; measured until the start script runs elsewhere."
        ),
        rows=(
            _row("defaults (lease 3 s, self_stop 6 s)", default, 17),
            _row("lease = 1, self_stop = 2.5", short, 8),
        ),
    )


def _row(what: str, found: list[tuple[float, bool]], target_s: float) -> Row:
    took_s = [took / 1000 for took, _ in found]
    coordinators = sum(coordinated for _, coordinated in found)
    return Row(
        what=f"{what}; the dead one was coordinator {coordinators} times",
        measured=spread(took_s, "s"),
        target=f"within {target_s:g} s",
        met=max(took_s) <= target_s,
    )
