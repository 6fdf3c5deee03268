"""Status queries as processes, beside `crm_mon -1`, each as its Debian package installs it."""

from __future__ import annotations

import time

from clptools.sim.loopback import LoopbackCluster
from tests.bench.one_root import READY_S, Room, room
from tests.bench.report import Row, Section, percentile

PAIRS = 40
WARM_UP = 3
MOST = 1.25
PEER = ("crm_mon", "-1")
PYTHON = "/usr/lib/clptools/bin/python3"
WITHOUT = (PYTHON, "-I", "-m", "clptools.cli.main")
"""The same commands without the launcher, with `site`."""

QUERIES = (
    "clpstat -s",
    "clpstat",
    "clpstat --json",
    "clpstat -m",
    "clpstat --check",
    "clpstat --hw",
    "clpstat --explain failover1",
    "clpgrp -n failover1",
    "clpmonctrl -v",
    "clptoratio -s",
    "clphealthchk",
)
BESIDE = (
    ("`clpstat -s` without launcher", (*WITHOUT, "clpstat", "-s")),
    ("`clpcfset --version`", ("clpcfset", "--version")),
    ("`clpcfset --version` without launcher", (*WITHOUT, "clpcfset", "--version")),
    ("floor: `python3 -IS -c pass`", (PYTHON, "-IS", "-c", "pass")),
    ("`python3 -I -c pass`", (PYTHON, "-I", "-c", "pass")),
)


def measure() -> Section:
    """Pairs in turn, so that both see the same machine.  As root."""
    with LoopbackCluster() as cluster:
        cluster.start()
        node = cluster.nodes[0]
        cluster.wait(node, "cluster normal", 60)
        given = {name: node.environment()[name] for name in ("CLP_ROOT", "CLP_SERVER")}
        with room(node.root.parent, given) as both:
            _wait(both)
            rows = [_query(both, line) for line in QUERIES]
            rows += [_beside(both, what, words) for what, words in BESIDE]
    return Section(
        title="Status queries as processes, beside `crm_mon -1`",
        how=(
            f"Each row {PAIRS} pairs of the command and `crm_mon -1`, in turn, from start to end "
            "of the process; the ratio is the median of the pairs' ratios. clptools as its Debian "
            "package installs it, asking an agent of two servers with a group; corosync 3.1.7 and "
            "pacemaker 2.1.5 of Debian 12 in the same root, a server without resources: the least "
            "that `crm_mon` can have to show."
        ),
        rows=tuple(rows),
    )


def _query(both: Room, line: str) -> Row:
    ratio, text = _pairs(both, tuple(line.split()))
    return Row(what=f"`{line}`", measured=text, target=f"at most {MOST}", met=ratio <= MOST)


def _beside(both: Room, what: str, words: tuple[str, ...]) -> Row:
    return Row(what=what, measured=_pairs(both, words)[1])


def _pairs(both: Room, words: tuple[str, ...]) -> tuple[float, str]:
    pairs = [(both.took_ms(*words), both.took_ms(*PEER)) for _ in range(WARM_UP + PAIRS)]
    pairs = pairs[WARM_UP:]
    ratios = [ours / theirs for ours, theirs in pairs]
    ours_ms, theirs_ms = (percentile([pair[side] for pair in pairs], 50) for side in (0, 1))
    low, high = percentile(ratios, 25), percentile(ratios, 75)
    ratio = percentile(ratios, 50)
    return ratio, (
        f"{ratio:.2f} (half of the pairs {low:.2f} to {high:.2f}); medians {ours_ms:.1f} ms, "
        f"`crm_mon -1` {theirs_ms:.1f} ms"
    )


def _wait(both: Room) -> None:
    until = time.monotonic() + READY_S
    shown = "crm_mon -1 | grep -q 'Online: \\[ server1'"
    while both.try_code("sh", "-c", shown):
        if time.monotonic() > until:
            raise TimeoutError("pacemaker is not online")
        time.sleep(0.5)
