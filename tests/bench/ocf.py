"""Ten `ocf:heartbeat:Dummy` in a group, beside corosync and pacemaker doing the same."""

from __future__ import annotations

import os
import re
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import msgspec

from lab import alone, image
from tests.bench.pacemaker import Pacemaker
from tests.bench.report import Row, Section
from tests.real.cluster import Cluster, Node, until

NAMES = tuple(f"dummy{number}" for number in range(1, 11))
INTERVAL_S = 10
ROUNDS = 6
WINDOW_S = 60.0
SETTLE_S = 30.0
"""Both look at all resources at their start; clptools does so again after ten minutes."""
WITHIN_S = 60.0
POLL_S = 0.002

_RESOURCE = """
[[group.resource]]
type = "ocf"
name = "{name}"
agent = "ocf:heartbeat:Dummy"
monitor_interval = {interval_s}
depends = {depends}
"""


class Measured(msgspec.Struct, kw_only=True):
    """Of one contender; times in seconds from the command's own start."""

    start_s: list[float]
    stop_s: list[float]
    move_s: list[float]
    stopped: float = 0.0
    """Processor time of everything on both servers while the group is stopped, % of a core."""
    monitoring: float = 0.0
    """The same while the ten are monitored; both 0: not measured."""

    @property
    def run_ms(self) -> float:
        """Processor time that a run of one monitor adds."""
        return (self.monitoring - self.stopped) / 100 * INTERVAL_S / len(NAMES) * 1000


class Contender:
    """Words of a command, and who carries them out."""

    def __init__(
        self, cluster: Cluster, command: Callable[[Node, str], subprocess.Popen[str]]
    ) -> None:
        self.cluster = cluster
        self.command = command

    def count(self, node: Node) -> int:
        """How many of the ten run there, by the file that each keeps."""
        here = set(os.listdir(node.root / "run/resource-agents"))
        return sum(f"Dummy-{name}.state" in here for name in NAMES)

    def takes(self, word: str, node: Node, done: Callable[[], bool]) -> float:
        """Seconds from the command's start until it is so.  Raises AssertionError."""
        begun = time.monotonic()
        program = self.command(node, word)
        while not done():
            refused = program.poll()
            if refused or time.monotonic() > begun + WITHIN_S:
                program.kill()
                said = program.communicate()[0]
                raise AssertionError(f"{word} {node.name}: not within {WITHIN_S:g} s: {said}")
            time.sleep(POLL_S)
        took = time.monotonic() - begun
        said = program.communicate(timeout=WITHIN_S)[0]
        assert program.returncode == 0, said
        # What the cluster has to do with itself afterwards is not the next command's.
        time.sleep(1)
        return took

    def _moved(self, here: Node, there: Node) -> bool:
        return self.count(there) == len(NAMES) and not self.count(here)

    def measure(self, meter: Meter, costs: bool) -> Measured:
        """Everything, from a stopped group on; `costs`: processor time, too."""
        first, second = self.cluster.nodes

        def all_on(node: Node) -> bool:
            return self.count(node) == len(NAMES)

        time.sleep(SETTLE_S)
        stopped = _percent(meter) if costs else 0.0
        start_s = [self.takes("start", first, lambda: all_on(first))]
        time.sleep(SETTLE_S)
        monitoring = _percent(meter) if costs else 0.0
        move_s, stop_s = [], []
        for _ in range(ROUNDS):
            for here, there in ((first, second), (second, first)):
                moved = partial(self._moved, here, there)
                move_s.append(self.takes("move", there, moved))
            stop_s.append(self.takes("stop", first, lambda: not self.count(first)))
            start_s.append(self.takes("start", first, lambda: all_on(first)))
        return Measured(
            start_s=start_s, stop_s=stop_s, move_s=move_s, stopped=stopped, monitoring=monitoring
        )


def measure() -> Section:
    """Both, in order and side by side; as root."""
    lock = alone.take()
    try:
        tree = image.tree()
        # In turn, so that what else the machine does meets both.
        found = {}
        for ordered in (True, False):
            for name, contender in (("clptools", _ours), ("pacemaker", _theirs)):
                meter = Meter()
                try:
                    found[name, ordered] = contender(meter, tree, ordered)
                finally:
                    meter.close()
    finally:
        os.close(lock)
    rows: list[Row] = []
    for what, of in (("start", "start_s"), ("stop", "stop_s"), ("move", "move_s")):
        for ordered, how in ((True, "one after the other"), (False, "side by side")):
            ours, theirs = (getattr(found[n, ordered], of) for n in ("clptools", "pacemaker"))
            rows += [
                Row(
                    what=f"{what} ten, {how}: clptools",
                    measured=_spread(ours),
                    target="below pacemaker's median",
                    met=statistics.median(ours) < statistics.median(theirs),
                ),
                Row(what=f"{what} ten, {how}: pacemaker", measured=_spread(theirs)),
            ]
    for name in ("clptools", "pacemaker"):
        one = found[name, True]
        rows.append(
            Row(
                what=f"CPU of all processes of both servers: {name}",
                measured=(
                    f"{one.stopped:.2f} % of a core while stopped, {one.monitoring:.2f} % while "
                    f"monitored: {one.run_ms:.1f} ms for each run of a monitor"
                ),
            )
        )
    return Section(
        title="Ten resource agents, beside corosync and pacemaker",
        how=HOW,
        rows=tuple(rows),
    )


HOW = f"""\
A group of ten `ocf:heartbeat:Dummy`, each monitored every {INTERVAL_S} s, on two servers that are \
network namespaces of this machine: first clptools, then corosync 3.1.7 and pacemaker 2.1.5 of \
Debian 12 (`tests/bench/pacemaker.py`). The same agent (resource-agents 4.12.0), the same two \
interconnects, no fencing, no BMC, default timers: clptools beats every 0.2 s on both \
interconnects. Times begin with the program of the command (`clpgrp`, `crm_resource`); they end \
when the state files of all ten are there, after a move none of the old ones (read every \
{POLL_S * 1000:g} ms). One after the other: pacemaker's group, `depends` in clptools; side by \
side: the group with `ordered=false`, `depends = []`. Processor time is that of the control group \
in which everything of both servers is, agents included, over {WINDOW_S:g} s.\
"""


def _spread(values: list[float]) -> str:
    middle = statistics.median(values) * 1000
    return f"median {middle:.0f} ms, longest {max(values) * 1000:.0f} (n = {len(values)})"


def _ours(meter: Meter, _: Path, ordered: bool) -> Measured:
    with Cluster() as cluster:
        resources = "".join(
            _RESOURCE.format(
                name=name,
                interval_s=INTERVAL_S,
                depends=f'["{NAMES[number - 1]}"]' if ordered and number else "[]",
            )
            for number, name in enumerate(NAMES)
        )
        text = cluster.toml(resources=resources, group='startup = "manual"\n')
        # Nobody answers there.
        text = re.sub(r"\[server\.bmc\]\naddress = .*\nuser = .*\n", "", text)
        cluster.configure(text)
        for node in cluster:
            (node.root / "run/resource-agents").mkdir(parents=True, exist_ok=True)
        with meter.inside():
            cluster.start()
        words = {
            "start": "clpgrp -s failover1 -h {}",
            "stop": "clpgrp -t failover1",
            "move": "clpgrp -m failover1 -a {}",
        }

        def command(node: Node, word: str) -> subprocess.Popen[str]:
            line = words[word].format(node.name)
            asked = cluster[1]
            return subprocess.Popen(
                asked.within("sh", "-c", line),
                env=asked.environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )

        until("it is normal", lambda: _normal(cluster), WITHIN_S)
        return Contender(cluster, command).measure(meter, ordered)


def _normal(cluster: Cluster) -> bool:
    return all(
        s["status"] == "Online" for node in cluster for s in node.status().get("servers", [{}])
    )


def _theirs(meter: Meter, tree: Path, ordered: bool) -> Measured:
    with Cluster() as cluster:
        pacemaker = Pacemaker(cluster, tree, NAMES, INTERVAL_S, ordered)
        try:
            with meter.inside():
                pacemaker.start()
            role = "--resource failover1 --meta --set-parameter target-role --parameter-value"
            words = {
                "start": f"crm_resource {role} Started",
                "stop": f"crm_resource {role} Stopped",
                "move": "crm_resource --move --resource failover1 --node {}",
            }

            def command(node: Node, word: str) -> subprocess.Popen[str]:
                return pacemaker.begin(cluster[1], *words[word].format(node.name).split())

            return Contender(cluster, command).measure(meter, ordered)
        finally:
            pacemaker.close()


class Meter:
    """A control group (v2) and the processor time of everything in it."""

    def __init__(self) -> None:
        top = Path("/sys/fs/cgroup/unified")
        self._top = top if top.exists() else top.parent
        self._group = self._top / f"clpbench{os.getpid()}"

    @contextmanager
    def inside(self) -> Iterator[None]:
        """What is started meanwhile is counted, with all that it starts."""
        self._group.mkdir(exist_ok=True)
        home = re.findall(r"^0::/(.*)$", Path("/proc/self/cgroup").read_text(), re.MULTILINE)[0]
        self._enter(self._group)
        try:
            yield
        finally:
            self._enter(self._top / home)

    def used_s(self) -> float:
        """Seconds of processor time until now."""
        return int((self._group / "cpu.stat").read_text().split()[1]) / 1e6

    def close(self) -> None:
        """Once everything in it has ended."""
        until("they have ended", lambda: not (self._group / "cgroup.procs").read_text())
        self._group.rmdir()

    def _enter(self, group: Path) -> None:
        (group / "cgroup.procs").write_text(str(os.getpid()))


def _percent(meter: Meter) -> float:
    before, begun = meter.used_s(), time.monotonic()
    time.sleep(WINDOW_S)
    return (meter.used_s() - before) / (time.monotonic() - begun) * 100
