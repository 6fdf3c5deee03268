"""Alerts of real agents: each server tells of what it recorded itself."""

from __future__ import annotations

import pytest

from tests.real.cluster import Cluster, Node, until

pytestmark = [pytest.mark.root, pytest.mark.slow]


def told(node: Node) -> list[str]:
    file = node.root / "told"
    return file.read_text().splitlines() if file.exists() else []


def test_an_alert_is_told_once_by_the_server_that_recorded_it() -> None:
    with Cluster() as cluster:
        script = cluster.folder / "tell"
        script.write_text(f'#!/bin/sh\necho "$CLP_MESSAGE" >>{cluster.folder}/"$CLP_SERVER"/told\n')
        script.chmod(0o700)
        cluster.configure(cluster.toml(more=f'[alert]\nscript = "{script}"'))
        cluster.start()
        cluster.online()
        first, second = cluster
        first.ok('clplogcmd -l INFO -m "all is well"')
        first.ok('clplogcmd -l ERROR -m "the lamp is red"')
        until("the script ran", lambda: "the lamp is red" in told(first))
        until("the other server knows, too", lambda: "the lamp is red" in second.alerts())
        second.ok('clplogcmd -l ERROR -m "here as well"')
        until("its script ran", lambda: "here as well" in told(second))
        assert told(first).count("the lamp is red") == 1
        assert "all is well" not in told(first)
        assert "the lamp is red" not in told(second)
        assert "here as well" not in told(first)
