"""Prometheus reads an agent, and a runner of plug-ins runs `clpstat --check`, on a live cluster."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import LIMIT_S
from tests.real.cluster import Cluster, Node, until

pytestmark = [pytest.mark.root, pytest.mark.slow]

EXAMPLES = Path(__file__).parents[2] / "examples/monitoring"
NEGATE = "/usr/lib/nagios/plugins/negate"
"""Runs a plug-in, and turns its verdict round."""


def need(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"NOT TESTED: {program} is not installed")


def without_bmcs(toml: str) -> str:
    """The sample cluster of servers that have none: nothing to warn of."""
    return re.sub(r"\[server\.bmc\]\n.*\n.*\n", "", toml)


def asked(node: Node, path: str) -> Any:
    """An answer of the Prometheus on that server."""
    done = subprocess.run(
        node.within("promtool", "query", "instant", "-o", "json", "http://127.0.0.1:9090", path),
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
    )
    return json.loads(done.stdout) if done.returncode == 0 else []


def test_prometheus_scrapes_an_agent_and_its_alerts_fire(tmp_path: Path) -> None:
    need("prometheus", "promtool")
    with Cluster() as cluster:
        text = cluster.toml(cluster='metrics = "127.0.0.1:9402"')
        cluster.configure(without_bmcs(text))
        cluster.start()
        holder = cluster.online()
        text = holder.ok("clpstat --metrics")
        checked = subprocess.run(
            ["promtool", "check", "metrics"],
            input=text,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert checked.stderr == "", "promtool has no remarks"
        rules = (EXAMPLES / "clptools.rules.yml").read_text()
        rules = re.sub(r"for: \d+[sm]\b", "for: 1s", rules)
        (tmp_path / "clptools.rules.yml").write_text(rules)
        config = (EXAMPLES / "prometheus.yml").read_text().replace("interval: 5s", "interval: 1s")
        config = config.replace("global:", "global:\n  evaluation_interval: 1s")
        (tmp_path / "prometheus.yml").write_text(config)
        with open(tmp_path / "log", "w") as log:
            prometheus = subprocess.Popen(
                holder.within(
                    "prometheus",
                    f"--config.file={tmp_path}/prometheus.yml",
                    f"--storage.tsdb.path={tmp_path}/data",
                    "--web.listen-address=127.0.0.1:9090",
                ),
                stdout=log,
                stderr=log,
            )
        try:

            def runs_here() -> bool:
                found = asked(holder, 'clptools_group_online{group="failover1"}')
                return [(one["metric"]["server"], one["value"][1]) for one in found] == [
                    (holder.name, "1")
                ]

            until("Prometheus knows where the group runs", runs_here)
            holder.ok("clpgrp -t failover1")
            holder.ok("clpmonctrl -s -m mrw1")

            def stopped() -> bool:
                found = asked(holder, 'clptools_group_wanted{group="failover1"}')
                return [one["value"][1] for one in found] == ["0"]

            until("Prometheus knows that it was stopped by request", stopped)
            assert asked(holder, 'ALERTS{alertname="GroupDown"}') == []
            other = next(node for node in cluster if node is not holder)
            other.kill()

            def fires() -> bool:
                found = asked(holder, 'ALERTS{alertname="ServerDown"}')
                return [one["metric"]["server"] for one in found] == [other.name]

            until("the alert for the dead server is there", fires)
        finally:
            prometheus.terminate()
            prometheus.wait(30)


def test_the_check_is_a_plug_in() -> None:
    need(NEGATE)
    with Cluster(servers=3) as cluster:
        cluster.configure(without_bmcs(cluster.toml()))
        cluster.start()
        holder = cluster.online()

        def check(*options: str) -> tuple[int, str]:
            """As `negate` sees it, which exchanges OK and CRITICAL, in the word as well."""
            done = subprocess.run(
                holder.within(NEGATE, "-s", str(cluster.bin / "clpstat"), "--check", *options),
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
                env=os.environ | holder.environment(),
            )
            return done.returncode, done.stdout.strip()

        until("the check says OK", lambda: check()[0] == 2)
        well = f"CRITICAL - 3 servers online; failover1 on {holder.name} | servers_away=0;0;0:;0;3"
        assert well in check()[1]
        other = next(node for node in cluster if node is not holder)
        other.kill()
        until("it warns", lambda: check()[0] == 1)
        code, text = check("-c", "0")
        assert code == 0 and f"{other.name} is " in text and "servers_away=1;0;0;0;3" in text
        assert check("-w", "x:y")[0] == 3
        holder.kill()
        code, text = check()
        assert code == 3 and text.startswith("CLPTOOLS UNKNOWN - ")
