"""What an agent costs while nothing happens: two servers, heartbeats every 0.2 s."""

from __future__ import annotations

import os
import time
from pathlib import Path

from clptools.sim.loopback import LoopbackCluster
from tests.bench.report import Row, Section

WINDOW_S = 60.0
SETTLE_S = 5.0
BMC_HEARTBEAT = '[[interconnect]]\ntype = "bmchb"'
_TICKS = os.sysconf("SC_CLK_TCK")


def measure() -> Section:
    """Without and with the BMC heartbeat."""
    lan = _idle("")
    bmc = _idle(BMC_HEARTBEAT)
    return Section(
        title="An idle agent",
        how=(
            f"Two servers, two interconnects at 0.2 s, a window of {WINDOW_S:g} s, /proc of the "
            "agent; the worse of the two agents. Its children are the processes that speak IPMI: "
            "their memory is counted as PSS, since they share most of it with each other."
        ),
        rows=(
            Row(
                what="RSS of the agent",
                measured=f"{lan.rss_mb:.1f} MB",
                target="under 60 MB",
                met=lan.rss_mb < 60,
            ),
            Row(
                what="CPU of the agent",
                measured=f"{lan.cpu:.2f} % of a core",
                target="under 1 %",
                met=lan.cpu < 1,
            ),
            Row(
                what="CPU of the agent and its children",
                measured=f"{lan.tree_cpu:.2f} % of a core",
            ),
            Row(what="PSS of the agent and its children", measured=f"{lan.tree_pss_mb:.1f} MB"),
            Row(
                what="CPU of the agent, with a BMC heartbeat every second",
                measured=f"{bmc.cpu:.2f} % of a core",
            ),
            Row(
                what="CPU of the agent and its children, with a BMC heartbeat",
                measured=f"{bmc.tree_cpu:.2f} % of a core",
            ),
            Row(
                what="PSS of the agent and its children, with a BMC heartbeat",
                measured=f"{bmc.tree_pss_mb:.1f} MB",
            ),
        ),
    )


class _Idle:
    """The cost of the dearer agent."""

    def __init__(self) -> None:
        self.rss_mb = self.cpu = self.tree_cpu = self.tree_pss_mb = 0.0


def _idle(more: str) -> _Idle:
    found = _Idle()
    with LoopbackCluster(more=more) as cluster:
        cluster.start()
        for node in cluster.nodes:
            cluster.wait(node, "group failover1 online on server1", 30)
            cluster.wait(node, "cluster normal", 30)
        time.sleep(SETTLE_S)
        agents = [node.agent_pid() for node in cluster.nodes]
        before = {pid: (_ticks(pid), _tree_ticks(pid)) for pid in agents}
        begun = time.monotonic()
        time.sleep(WINDOW_S)
        window = time.monotonic() - begun
        for pid in agents:
            own, tree = before[pid]
            found.cpu = max(found.cpu, _percent(_ticks(pid) - own, window))
            found.tree_cpu = max(found.tree_cpu, _percent(_tree_ticks(pid) - tree, window))
            found.rss_mb = max(found.rss_mb, _kb(pid, "status", "VmRSS:") / 1024)
            pss_kb = sum(_kb(each, "smaps_rollup", "Pss:") for each in _tree(pid))
            found.tree_pss_mb = max(found.tree_pss_mb, pss_kb / 1024)
    return found


def _percent(ticks: int, window_s: float) -> float:
    return ticks / _TICKS / window_s * 100


def _tree(pid: int) -> list[int]:
    """The process and all that descend from it."""
    found = [pid]
    for each in found:
        # A child belongs to the thread that started it.
        for children in Path(f"/proc/{each}/task").glob("*/children"):
            found += [int(child) for child in children.read_text().split()]
    return found


def _ticks(pid: int) -> int:
    """Processor time of one process, user and system."""
    return sum(_times(pid)[:2])


def _tree_ticks(pid: int) -> int:
    """The same of it and all that descend from it, also of those that have ended meanwhile."""
    return sum(sum(_times(each)) for each in _tree(pid))


def _times(pid: int) -> list[int]:
    """Its own time in user and system mode, then that of its children that it has waited for."""
    after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return [int(field) for field in after_name[11:15]]


def _kb(pid: int, file: str, key: str) -> int:
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    return 0
