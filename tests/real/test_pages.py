"""The pages of `docs/` for an operator at night: what they say to type, typed in that order."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.real.cluster import Cluster, until
from tests.real.page import play

pytestmark = [pytest.mark.root, pytest.mark.slow]


@pytest.fixture
def machines() -> Iterator[Cluster]:
    """Two whole servers with BMCs, and a group on server1."""
    with Cluster() as cluster:
        cluster.configure()
        for node in cluster:
            node.power_on()
        for node in cluster:
            until(f"{node.name} answers", node.ready)
        assert cluster.online() is cluster[1]
        yield cluster


def test_a_group_waits(machines: Cluster) -> None:
    first = machines[1]

    def power_is_lost() -> None:
        first.press("freeze")
        machines.unplug(first)

    play(
        "a-group-waits.md",
        machines,
        {"server1 loses its power, and its BMC with it": power_is_lost},
    )


def test_a_trap_does_not_arrive(machines: Cluster) -> None:
    first = machines[1]
    closed = (
        "table inet fw {\n"
        " chain in {\n  type filter hook input priority 0\n  udp dport 162 drop\n }\n}\n"
    )
    play(
        "a-trap-does-not-arrive.md",
        machines,
        {
            "the BMC of server1 sends with another community": lambda: machines.trap(
                first, options="-v2c -c secret"
            ),
            "a firewall drops traps on server1": lambda: first.nft(closed),
            "the firewall lets them through": lambda: first.nft("delete table inet fw\n"),
            "the hardware of server1 fails": lambda: machines.trap(first),
        },
    )
    assert machines.online() is machines[2]


def test_the_servers_do_not_hear_each_other(machines: Cluster) -> None:
    first = machines[1]

    def cables(up: bool) -> None:
        first.link(1, up)
        first.link(2, up)

    play(
        "split-brain.md",
        machines,
        {
            "every cable between the servers is cut": lambda: cables(False),
            "the cables are plugged in again": lambda: cables(True),
        },
    )
    assert machines.diary.read_text().count("begin") == 1


def test_undo_a_configuration(machines: Cluster) -> None:
    first = machines[1]
    file = first.config / "clp.toml"

    def edit() -> None:
        first.write_config(file.read_text().replace("timeout = 60", "timeout = 90"))

    def push() -> None:
        edit()
        first.ok("clpcfctrl --push")

    play(
        "undo-a-configuration.md",
        machines,
        {"somebody edits clp.toml on server1": edit, "somebody pushes a change": push},
    )
    assert "timeout = 60" in file.read_text()


def test_add_or_replace_a_server() -> None:
    with Cluster(servers=3) as cluster:
        first, second, third = cluster
        two = cluster.toml(servers=2)
        for node in (first, second):
            node.write_config(two)
            cluster.diary_scripts(node, "failover1", "exec1")
            node.power_on()
        for node in (first, second):
            until(f"{node.name} answers", node.ready)
        until("its group runs", lambda: first.run("clpgrp -n failover1").stdout == "server1\n")

        def is_installed() -> None:
            third.power_on()
            until("it answers", third.ready)

        def is_another_machine() -> None:
            (second.config / "clp.toml").unlink()
            for kept in ("etc/clptools/history", "etc/clptools/scripts", "var/lib/clptools"):
                shutil.rmtree(second.root / kept)
            second.press("on")
            until("it answers", second.ready)

        play(
            "add-or-replace-a-server.md",
            cluster,
            {
                "server3 is installed": is_installed,
                "clp.toml on server1 names server3": lambda: first.write_config(cluster.toml()),
                "server2 is switched off for good": lambda: second.press("off"),
                "the new server2 is installed": is_another_machine,
                "clp.toml on server1 names server3 no more": lambda: first.write_config(two),
            },
        )


def test_roll_the_authkey(machines: Cluster) -> None:
    before = {node.name: (node.config / "authkey").read_bytes() for node in machines}
    play("roll-the-authkey.md", machines, {})
    after = {(node.config / "authkey").read_bytes() for node in machines}
    assert len(after) == 1 and not after & set(before.values())
    assert machines.diary.read_text().count("begin") == 1


def test_the_first_cluster() -> None:
    with Cluster() as cluster:
        first, second = cluster
        for node in cluster:
            (node.config / "authkey").unlink()
        toml = first.config / "clp.toml"

        def scripts_are_written() -> None:
            frames = first.config / "scripts/failover1/exec1"
            assert {path.name for path in frames.iterdir()} >= {"start.sh", "stop.sh"}
            cluster.diary_scripts(first, "failover1", "exec1")

        def softdog_is_loaded() -> None:
            toml.write_text(toml.read_text().replace('"softdog"', '"none"'))

        def agents_start() -> None:
            for node in cluster:
                node.power_on()
            for node in cluster:
                until(f"{node.name} answers", node.ready)

        def is_on_again() -> None:
            first.press("on")
            until("it answers", first.ready)

        play(
            "first-cluster.md",
            cluster,
            {
                "the package is on both servers": lambda: None,
                "the scripts are written": scripts_are_written,
                "softdog is loaded": softdog_is_loaded,
                "the authkey is copied to server2": lambda: second.write_key(
                    (first.config / "authkey").read_bytes()
                ),
                "clpbmccnf server1 and clpbmccnf server2 are typed on both servers": lambda: [
                    node.prepare_bmc() for node in cluster
                ],
                "clpnode starts on both servers": agents_start,
                "server1 is switched on again": is_on_again,
            },
        )
        cluster.assert_never_two()
