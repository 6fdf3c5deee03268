"""`clpstat -s` as a process, against the interpreter alone."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from clptools.sim.loopback import LoopbackCluster
from tests.bench.report import Row, Section, percentile

PAIRS = 60
WARM_UP = 5


def measure() -> Section:
    """Pairs in turn, so that both see the same machine."""
    binary = Path(sys.executable).parent / "clpstat"
    alone = [sys.executable, "-I", "-c", "pass"]
    with LoopbackCluster() as cluster:
        cluster.start()
        node = cluster.nodes[0]
        cluster.wait(node, "cluster normal", 30)
        environment = node.environment()
        ratios: list[float] = []
        clpstat_ms: list[float] = []
        alone_ms: list[float] = []
        for number in range(WARM_UP + PAIRS):
            pair = (_run([str(binary), "-s"], environment), _run(alone, environment))
            if number >= WARM_UP:
                clpstat_ms.append(pair[0])
                alone_ms.append(pair[1])
                ratios.append(pair[0] / pair[1])
    ratio = percentile(ratios, 50)
    return Section(
        title="`clpstat -s` as a process",
        how=f"{PAIRS} pairs of `clpstat -s` (against a running agent) and `python -I -c pass`.",
        rows=(
            Row(
                what="clpstat -s / python -I -c pass, median of the pairs",
                measured=f"{ratio:.2f}",
                target="at most 2.5",
                met=ratio <= 2.5,
            ),
            Row(what="clpstat -s, median", measured=f"{percentile(clpstat_ms, 50):.1f} ms"),
            Row(what="python -I -c pass, median", measured=f"{percentile(alone_ms, 50):.1f} ms"),
        ),
    )


def _run(words: list[str], environment: dict[str, str]) -> float:
    begun = time.perf_counter()
    subprocess.run(words, env=environment, stdout=subprocess.DEVNULL, check=True)
    return (time.perf_counter() - begun) * 1000
