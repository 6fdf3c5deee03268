"""A fatal trap at the socket: until the stop script begins, until the group runs elsewhere."""

from __future__ import annotations

import json
import time

from clptools.intake.rehearsal import build_pet_trap, pet_event
from clptools.sim.loopback import LoopbackCluster, LoopbackServer
from tests.bench.marks import SCRIPT, Marks
from tests.bench.report import Row, Section, percentile, spread

ROUNDS = 120
FATAL = "07h/6F/0"
PAUSE_S = 0.3
"""So that a round does not meet the reports and records of the one before."""


def measure() -> Section:
    """Traps to and fro between two agents."""
    with LoopbackCluster(recovery="failover_count = 255", script=SCRIPT) as cluster:
        marks = Marks(cluster.times)
        cluster.start()
        holder, other = cluster.nodes
        cluster.wait(holder, f"group failover1 online on {holder.name}", 30)
        cluster.wait(holder, "cluster normal", 30)
        stop_ms: list[float] = []
        start_ms: list[float] = []
        sent_at: list[float] = []
        for number in range(ROUNDS):
            time.sleep(PAUSE_S)
            marks.forget()
            sent_at.append(time.time())
            begun_ns = time.monotonic_ns()
            _send(cluster, holder, 2 * number + 1, deasserted=False)
            stop_ms.append((marks.wait("stop", 10, holder.name).at_ns - begun_ns) / 1e6)
            start_ms.append((marks.wait("start", 10, other.name).at_ns - begun_ns) / 1e6)
            # The fault is over, so that the server may take the group in the next round.
            _send(cluster, holder, 2 * number + 2, deasserted=True)
            cluster.wait(holder, f"monitor mrw1 normal on {holder.name}", 10)
            cluster.wait(other, f"group failover1 online on {other.name}", 10)
            holder, other = other, holder
        online_ms = [
            (online - sent) * 1000
            for sent, online in zip(sent_at, _onlines(holder, sent_at[0]), strict=True)
        ]
    return Section(
        title="A BMC's fatal trap until the group runs elsewhere",
        how=(
            f"{ROUNDS} PETs (v2c) through the UDP socket, to and fro between two real agents on "
            "loopback; start and stop scripts write one line into a pipe. Online is the time of "
            "the record in which the agent says that the group has started."
        ),
        rows=(
            Row(
                what="trap sent until the stop script runs",
                measured=spread(stop_ms, "ms"),
                target="p99 under 20 ms, idle machine",
                met=percentile(stop_ms, 99) < 20,
            ),
            Row(what="trap sent until the start script runs", measured=spread(start_ms, "ms")),
            Row(
                what="trap sent until online on the other server",
                measured=spread(online_ms, "ms"),
                target="under 300 ms",
                met=max(online_ms) < 300,
            ),
        ),
    )


def _send(cluster: LoopbackCluster, server: LoopbackServer, number: int, deasserted: bool) -> None:
    event = pet_event(FATAL, deasserted=deasserted, sequence=number)
    cluster.send_trap(server, build_pet_trap(event, request_id=number))


def _onlines(server: LoopbackServer, since: float) -> list[float]:
    """Wall clock of every record (rc 11, a group has started) since then."""
    lines = server.run("clpstat", "--events", "--json").stdout.splitlines()
    events = [json.loads(line) for line in lines]
    return sorted(
        event["time"]
        for event in events
        if (event["module"], event["event_id"]) == ("rc", 11) and event["time"] > since
    )
