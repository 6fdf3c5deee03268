"""A BMC out of its box is set up, proves its way, and its fatal event then moves a group."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.real.bmc import PASSWORD as BMC_PASSWORD
from tests.real.cluster import Cluster, Node, until
from tests.real.page import play

pytestmark = [pytest.mark.root, pytest.mark.slow]


@contextmanager
def alerting(cluster: Cluster, node: Node) -> Iterator[None]:
    """Its BMC, one that can send traps; every server has the password."""
    for each in cluster:
        path = each.config / "bmc" / node.name
        path.parent.mkdir(exist_ok=True)
        path.write_text(BMC_PASSWORD)
        path.chmod(0o400)
    settings = {
        "address": cluster.bmc(node.number),
        "port": 623,
        "user": "clp",
        "quirks": (),
        "log": str(node.root / "asked"),
    }
    process = subprocess.Popen(
        [
            *("setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", cluster.wires),
            *(sys.executable, "-m", "tests.hardware.alerting_bmc", json.dumps(settings)),
        ],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def processor_fails(cluster: Cluster) -> None:
    """What its BMC now notices comes by filter and policy: a processor's internal error."""
    raw = "raw 0x04 0x02 0x04 0x07 0x31 0x6f 0x00 0xff 0xff"
    sent = cluster.wires_run(
        *("ipmitool", "-I", "lanplus", "-H", cluster.bmc(1), "-C", "3"),
        *("-U", "clp", "-P", BMC_PASSWORD, *raw.split()),
    )
    assert sent.returncode == 0, sent.stderr


def test_a_bmc_is_set_up_and_proven_and_then_moves_a_group() -> None:
    """By its page, from both servers."""
    with Cluster() as cluster:
        first, second = cluster
        cluster.configure()
        with alerting(cluster, first):
            cluster.start()
            assert cluster.online() is first
            look = "clpbmccnf --alerts --check server1"

            def is_stored() -> None:
                until("its BMC is looked at", lambda: second.run(look).returncode == 9)

            play(
                "bmc-set-up.md",
                cluster,
                {
                    "the password of server1's BMC is stored on both servers": is_stored,
                    "a processor of server1 fails": lambda: processor_fails(cluster),
                },
            )
            told = second.ok("clptrap test --through-bmc --to server1")
            assert "and was taken." in told
            cluster.assert_never_two()
