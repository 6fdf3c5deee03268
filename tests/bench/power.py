"""Power loss of the server that runs the group; its BMC says off, and that is the proof."""

from __future__ import annotations

import json
import time

from clptools.sim.loopback import LoopbackCluster, LoopbackServer
from tests.bench.marks import SCRIPT, Marks
from tests.bench.report import Row, Section, percentile, spread

ROUNDS = 24
ROUNDS_OF_THREE = 20
SETTLED_S = 3.5
"""A server that came back is silent in votes for L + d (3.2 s); losses are of settled clusters."""
BMC_HEARTBEAT = '[[interconnect]]\ntype = "bmchb"'


def measure() -> Section:
    """Two servers, then three."""
    two = losses(LoopbackCluster(servers=2, more=BMC_HEARTBEAT, script=SCRIPT), ROUNDS)
    three = losses(LoopbackCluster(servers=3, more=BMC_HEARTBEAT, script=SCRIPT), ROUNDS_OF_THREE)
    of_two, of_three = ([took for took, led in found if led] for found in (two, three))
    return Section(
        title="Power loss, proof by BMC",
        how=(
            "The server that runs the group loses power (0.2 s heartbeats, two interconnects and "
            "the BMC heartbeat); measured from the moment its BMC is told to switch off until the "
            "start script runs elsewhere. Then it is switched on; the next loss comes when it "
            "votes again."
        ),
        rows=(
            _row("two servers", [took for took, _ in two], 1000),
            _row("of these, the dead one was coordinator", of_two, 1000),
            _row("three servers", [took for took, _ in three], 1800),
            _row("of these, the dead one was coordinator", of_three, 1800),
        ),
    )


def _row(what: str, values: list[float], target_ms: int) -> Row:
    if not values:
        return Row(what=what, measured="did not happen")
    return Row(
        what=what,
        measured=spread(values, "ms", 0),
        target=f"p95 within {target_ms / 1000:g} s",
        met=percentile(values, 95) <= target_ms,
    )


def losses(
    cluster: LoopbackCluster, rounds: int, bmc_too: bool = False, within_s: float = 60.0
) -> list[tuple[float, bool]]:
    """(milliseconds until it runs elsewhere, whether the dead one was coordinator)."""
    found: list[tuple[float, bool]] = []
    with cluster:
        marks = Marks(cluster.times)
        cluster.start()
        holder = cluster.nodes[0]
        _settle(cluster, holder)
        for number in range(rounds):
            coordinator = cluster[_coordinator(holder)]
            if coordinator is not holder and number % 4:
                # The harder case: an election comes before the takeover.
                holder.run("clpgrp", "-m", "failover1", "-a", coordinator.name)
                holder = coordinator
                _settle(cluster, holder)
            marks.forget()
            coordinated = coordinator is holder
            begun_ns = time.monotonic_ns()
            cluster.power_loss(holder, bmc_too=bmc_too)
            mark = marks.wait("start", within_s)
            found.append(((mark.at_ns - begun_ns) / 1e6, coordinated))
            cluster.power_on(holder)
            holder = cluster[mark.server]
            _settle(cluster, holder)
    return found


def _settle(cluster: LoopbackCluster, holder: LoopbackServer) -> None:
    """The group is online there, and every server takes part and is seen to."""
    for node in cluster.nodes:
        cluster.wait(node, f"group failover1 online on {holder.name}", 60)
    for node in cluster.nodes:
        cluster.wait(node, "cluster normal", 60)
    time.sleep(SETTLED_S)


def _coordinator(server: LoopbackServer) -> str:
    status = json.loads(server.run("clpstat", "--json").stdout)
    return str(status["cluster"]["coordinator"])
