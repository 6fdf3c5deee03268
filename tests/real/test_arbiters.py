"""Two servers and an arbiter: when they do not hear each other, its winner goes on alone."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.conftest import in_memory
from tests.real.cluster import Cluster, Node, until

pytestmark = [pytest.mark.root, pytest.mark.slow]

SHORT = "lease = 1.0\nself_stop = 2.5\n"
WHERE = "192.168.0.250"


class Tie:
    """A cluster with its arbiter."""

    def __init__(self, cluster: Cluster, kind: str) -> None:
        self.cluster = cluster
        self.kind, _, self.required = kind.partition(" ")
        self.program: subprocess.Popen[bytes] | None = None
        self.data = in_memory()

    def np(self) -> str:
        """The arbiter's table."""
        keys = {
            "etcd": f'endpoints = ["http://{WHERE}:2379"]',
            "witness": f'url = "http://{WHERE}:29003"',
            "disk": f'path = "{self.cluster.folder}/shared"',
        }
        return (
            f'[[np]]\nname = "np1"\ntype = "{self.kind}"\n{keys[self.kind]}\n'
            "interval = 0.3\ntimeout = 0.5\n" + ("required = true\n" if self.required else "")
        )

    def start(self) -> None:
        """Start the arbiter where the wires are."""
        folder = self.cluster.folder
        if self.kind == "disk":
            with open(folder / "shared", "wb") as file:
                file.truncate(1 << 20)
            return
        if self.kind == "etcd":
            if shutil.which("etcd") is None:
                pytest.skip("NOT TESTED: etcd is not installed")
            url, peer = f"http://{WHERE}:2379", "http://127.0.0.1:2380"
            words = ["etcd", "--data-dir", self.data]
            words += ["--listen-client-urls", url, "--advertise-client-urls", url]
            words += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
            words += ["--initial-cluster", f"default={peer}"]
        else:
            words = [sys.executable, "-m", "clptools.arbiters.witness_server"]
            words += ["--listen", f"{WHERE}:29003", "--longest-lease", "1"]
            words += ["--authkey", str(self.cluster[1].config / "authkey")]
        with open(folder / "arbiter.log", "ab") as log:
            self.program = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "KILL"),
                    *("ip", "netns", "exec", self.cluster.wires, *words),
                ],
                stdout=log,
                stderr=log,
            )

    def stop(self) -> None:
        """Lose it."""
        if self.program is not None:
            self.program.kill()
            self.program.wait(10)

    def part(self) -> None:
        """The servers do not hear each other; both reach the arbiter."""
        for node in self.cluster:
            other = 3 - node.number
            addresses = ", ".join(self.cluster.address(lan, other) for lan in (1, 2))
            rules = (
                "table inet parted {\n chain in {\n  type filter hook input priority 0\n"
                f"  ip saddr {{ {addresses} }} drop\n }}\n}}\n"
            )
            subprocess.run(node.within("nft", "-f", "-"), input=rules, text=True, check=True)

    def heal(self) -> None:
        """They hear each other again."""
        for node in self.cluster:
            subprocess.run(node.within("nft", "delete", "table", "inet", "parted"), check=True)


@pytest.fixture(params=["etcd", "witness", "disk", "etcd required"])
def tie(request: pytest.FixtureRequest) -> Iterator[Tie]:
    with Cluster() as cluster:
        subprocess.run(
            ["ip", "-n", cluster.wires, "addr", "add", f"{WHERE}/24", "dev", "br1"], check=True
        )
        made = Tie(cluster, request.param)
        # The guard would end the machine; here it ends nothing, and the diary tells.
        action = cluster.folder / "action"
        action.write_text(f'#!/bin/sh\necho "reset $2" >> {cluster.folder}/resets\n')
        action.chmod(0o700)
        text = f'action_command = "{action}"\n{SHORT}'
        cluster.configure(cluster.toml(cluster=text, userw='method = "guard"', more=made.np()))
        made.start()
        cluster.start()
        try:
            yield made
        finally:
            made.stop()
        cluster.assert_never_two()
        assert not (cluster.folder / "resets").exists()


def group(node: Node) -> dict[str, object]:
    return {each["name"]: each for each in node.status().get("groups", ())}.get("failover1", {})


def coordinates(node: Node) -> bool:
    return bool(node.status().get("cluster", {}).get("coordinator") == node.name)


def counts_the_other(node: Node) -> bool:
    servers = node.status().get("servers", ())
    return not servers or any(s["name"] != node.name and s["status"] == "Online" for s in servers)


def np_status(node: Node) -> str:
    servers = {each["name"]: each for each in node.status().get("servers", ())}
    return str(servers.get(node.name, {}).get("np", [{}])[0].get("status"))


def settled(cluster: Cluster) -> Node:
    first = cluster.online()

    def armed() -> bool:
        servers = cluster[1].status().get("servers", ())
        return len(servers) == 2 and all(s["status"] == "Online" and s["armed"] for s in servers)

    until("both take part", armed)
    return first


def test_the_arbiters_winner_goes_on_alone(tie: Tie) -> None:
    cluster = tie.cluster
    settled(cluster)
    tie.part()
    until("each knows that it is alone", lambda: not any(counts_the_other(n) for n in cluster))

    def winner_runs_it() -> Node | None:
        # Two may answer in turn about different instants; that one holds both is in the diary.
        leaders = [node for node in cluster if coordinates(node)]
        if len(leaders) != 1:
            return None
        found = group(leaders[0])
        here = (found.get("status"), found.get("current")) == ("Online", leaders[0].name)
        return leaders[0] if here else None

    winner = until("one of them is in office and has the group", winner_runs_it, 25)
    assert winner is not None
    loser = cluster.other(winner)
    for _ in range(20):
        until("the winner is in office", lambda: coordinates(winner))
        assert not coordinates(loser)
        time.sleep(0.1)
    cluster.assert_never_two()
    tie.heal()
    until("they are together again", lambda: cluster.online() is winner)


def test_losing_only_the_arbiter_stops_nothing(tie: Tie) -> None:
    if tie.kind == "disk":
        pytest.skip("a disk has no server to lose")
    cluster = tie.cluster
    first = settled(cluster)
    leader = next(node for node in cluster if coordinates(node))
    begun = cluster.diary.read_text()
    tie.stop()
    until("its loss is seen", lambda: np_status(leader) == "Error")
    time.sleep(4)
    assert cluster.online() is first
    assert coordinates(leader)
    assert cluster.diary.read_text() == begun
    lost = "NP resolution cannot decide: np1: http://192.168.0.250:"
    until("it is told", lambda: lost in leader.alerts())
    tie.start()
    until("it is seen again", lambda: np_status(leader) == "Normal")
    until("it is told", lambda: "NP resolution np1 answers again" in leader.alerts())


def test_beats_by_way_of_a_witness_hold_a_cluster_together() -> None:
    """All LAN interconnects are cut; with `witnesshb` nobody is lost, and nothing moves."""
    with Cluster() as cluster:
        subprocess.run(
            ["ip", "-n", cluster.wires, "addr", "add", f"{WHERE}/24", "dev", "br1"], check=True
        )
        tie = Tie(cluster, "witness")
        cluster.configure(
            cluster.toml(
                more='[[interconnect]]\ntype = "witnesshb"\nname = "witnesshb1"\n'
                f'url = "http://{WHERE}:29003"\n'
            )
        )
        tie.start()
        cluster.start()
        try:
            first = cluster.online()

            def paths(node: Node) -> dict[str, str]:
                servers = {each["name"]: each for each in node.status()["servers"]}
                beats = servers[node.name]["heartbeats"]
                return {each["name"]: each["status"] for each in beats}

            until("it carries", lambda: paths(first).get("witnesshb1") == "Normal")
            begun = cluster.diary.read_text()
            tie.part()
            until("the LANs are lost", lambda: paths(first)["lankhb1"] == "Error")
            time.sleep(3)
            for node in cluster:
                assert paths(node)["witnesshb1"] == "Normal"
                assert {s["status"] for s in node.status()["servers"]} <= {"Online", "Caution"}
            assert cluster.diary.read_text() == begun
            tie.heal()
            assert cluster.online() is first
        finally:
            tie.stop()
        cluster.assert_never_two()
