"""A clean `clpgrp -m` with empty scripts."""

from __future__ import annotations

import time

from clptools.sim.loopback import LoopbackCluster
from tests.bench.marks import SCRIPT, Marks
from tests.bench.report import Row, Section, percentile, spread

ROUNDS = 30


def measure() -> Section:
    """Moves to and fro; the command runs on the server that gives the group up."""
    with LoopbackCluster(script=SCRIPT) as cluster:
        marks = Marks(cluster.times)
        cluster.start()
        holder, other = cluster.nodes
        cluster.wait(holder, f"group failover1 online on {holder.name}", 30)
        cluster.wait(holder, "cluster normal", 30)
        whole_ms: list[float] = []
        outage_ms: list[float] = []
        for _ in range(ROUNDS):
            time.sleep(0.3)
            marks.forget()
            begun_ns = time.monotonic_ns()
            done = holder.run("clpgrp", "-m", "failover1", "-a", other.name)
            ended_ns = time.monotonic_ns()
            if done.returncode:
                raise RuntimeError(done.stderr)
            stopped = marks.wait("stop", 5, holder.name).at_ns
            outage_ms.append((marks.wait("start", 5, other.name).at_ns - stopped) / 1e6)
            whole_ms.append((ended_ns - begun_ns) / 1e6)
            holder, other = other, holder
    return Section(
        title="A group moved by command",
        how=f"{ROUNDS} times `clpgrp -m failover1 -a OTHER` with empty scripts, to and fro.",
        rows=(
            Row(
                what="the whole command, its own start included",
                measured=spread(whole_ms, "ms"),
                target="within 300 ms",
                met=percentile(whole_ms, 95) <= 300,
            ),
            Row(
                what="stop script begun until start script begun", measured=spread(outage_ms, "ms")
            ),
        ),
    )
