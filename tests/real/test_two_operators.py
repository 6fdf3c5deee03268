"""Two operators at once, each on a server of their own: nothing is lost."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from subprocess import CompletedProcess

import pytest

from tests.real.cluster import Cluster, Node, until

pytestmark = pytest.mark.root

WITHIN_S = 60.0
COUNTED = "for n in 1 2 3 4 5 6 7 8 9; do clpcfctrl --push && exit; sleep 1; done; exit 1"
"""A push that is refused because another one is under way says so: again in a moment."""


def edit(node: Node, timeout_s: float) -> None:
    path = node.config / "clp.toml"
    kept = [x for x in path.read_text().splitlines() if not x.startswith("heartbeat_timeout")]
    at = kept.index("[cluster]") + 1
    text = "\n".join([*kept[:at], f"heartbeat_timeout = {timeout_s}", *kept[at:]]) + "\n"
    path.write_text(text)


def scripts_of_all(cluster: Cluster) -> None:
    """The same on every server, as a push hands those of one to all."""
    for node in cluster:
        for op, word in (("start", "begin"), ("stop", "end")):
            text = f'#!/bin/sh\necho "{word} $CLP_SERVER failover1" >> {cluster.diary}\n'
            node.script(f"failover1/exec1/{op}.sh", text)


def history(node: Node) -> list[tuple[int, str, str]]:
    """Number, how and server of each revision."""
    kept = json.loads(node.ok("clpcfctrl --history --json"))["history"]
    found = [(e["revision"], e["pushed"]["how"], e["pushed"]["server"]) for e in kept]
    return [each for each in found if each[1] != "first start"]  # each server has its own


def at_once(cluster: Cluster, *commands: str) -> list[CompletedProcess[str]]:
    """One command on each server, at the same time."""
    with ThreadPoolExecutor(len(commands)) as pool:
        return list(pool.map(lambda x: x[0].run(x[1], WITHIN_S), zip(cluster, commands)))  # noqa: B905  # fewer commands


def test_what_two_do_at_once_comes_one_after_the_other_and_nothing_is_lost() -> None:
    with Cluster() as cluster:
        cluster.configure()
        scripts_of_all(cluster)
        cluster.start()
        first = cluster.online()
        one, two = cluster

        # Two pushes: both in force, one after the other.
        edit(one, 3.5)
        edit(two, 4.5)
        done = at_once(cluster, COUNTED, COUNTED)
        assert [x.returncode for x in done] == [0, 0], done
        found = until("both are kept", lambda: history(one) if history(one) == history(two) else [])
        pushed = [entry for entry in found if entry[1] == "push"]
        assert {server for _, _, server in pushed} == {"server1", "server2"}
        early = pushed[0][0]
        texts = [(node.config / "clp.toml").read_text() for node in cluster]
        assert texts[0] == texts[1]

        # A push and a rollback.
        edit(one, 5.5)
        done = at_once(cluster, COUNTED, f"clpcfctrl --rollback {early}")
        assert done[0].returncode == 0, done
        assert done[1].returncode in (0, 6), done
        found = until("both have it", lambda: history(one) if history(one) == history(two) else [])
        assert (found[-1][0], "push", "server1") in found or found[-1][1].startswith("rollback")

        # A push and a move by hand.
        edit(one, 6.5)
        other = two if first is one else one
        move = f"clpgrp -m failover1 -a {other.name}"
        done = at_once(cluster, COUNTED, move)
        assert [x.returncode for x in done] == [0, 0], done
        assert cluster.online() is other
        for node in cluster:
            assert not [line for line in node.status()["servers"] if line["status"] != "Online"]
            assert "heartbeat_timeout = 6.5" in (node.config / "clp.toml").read_text()
        cluster.assert_never_two()


def test_edits_that_two_pushes_replaced_are_both_kept() -> None:
    with Cluster() as cluster:
        cluster.configure()
        cluster.start()
        one, two = cluster
        for timeout_s in (3.5, 4.5):
            edit(two, timeout_s + 10)
            edit(one, timeout_s)
            one.ok("clpcfctrl --push")
            until("it is in force", lambda: history(one) == history(two))
        until("both are kept", lambda: len(list(two.config.glob("clp.toml.edited*"))) == 2)
        kept = sorted(two.config.glob("clp.toml.edited*"))
        told = "".join(path.read_text() for path in kept)
        assert "heartbeat_timeout = 13.5" in told and "heartbeat_timeout = 14.5" in told
        for path in kept:
            assert f"the edit is kept as {path}" in two.alerts()
