"""The way of traps as people set it up and prove it, against BMCs that send traps."""

from __future__ import annotations

import io
import itertools
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clptools.api.messages import HardwareOfServer, HardwareView
from clptools.hardware.alerts import Finding
from tests.api.fake import Agent
from tests.cli.conftest import Clp
from tests.config.sample import with_trap_monitor
from tests.hardware.alerting_bmc import AlertingBmc, alerting
from tests.hardware.bmc_sim import PASSWORD

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="NOT TESTED: port 162 needs root")

_numbers = itertools.count(1)


def config(bmcs: tuple[AlertingBmc, AlertingBmc], hosts: list[str]) -> str:
    """Two servers with these BMCs, and their keyword addresses."""
    where = [f"{bmc.address}:{bmc.port}" for bmc in bmcs]
    return with_trap_monitor(where, hosts, 'community = ["clptools"]\n')


@contextmanager
def cluster(root: Path, *quirks: str) -> Iterator[tuple[list[AlertingBmc], list[str]]]:
    """Two servers with BMCs of the same quirks, and the keyword addresses."""
    net = f"127.{100 + os.getpid() % 100}.{200 + next(_numbers)}"
    hosts = [f"{net}.{server}" for server in (1, 2)]
    with (
        alerting(root / "bmc", f"{net}.11", *quirks) as first,
        alerting(root / "bmc", f"{net}.12", *quirks) as second,
    ):
        folder = root / "etc/clptools"
        (folder / "bmc").mkdir(parents=True)
        (root / "run/clptools").mkdir(parents=True, exist_ok=True)
        (folder / "clp.toml").write_text(config((first, second), hosts))
        for server in ("server1", "server2"):
            file = folder / "bmc" / server
            file.write_text(PASSWORD + "\n")
            file.chmod(0o400)
        yield [first, second], hosts


def test_alerts_are_shown_then_set_then_proven(
    node: Path, clp: Clp, monkeypatch: pytest.MonkeyPatch
) -> None:
    with cluster(node) as (bmcs, hosts):
        looked = clp("clpbmccnf", "--alerts", "--check")
        assert looked.code == 9
        lines = looked.out.splitlines()
        assert lines[0] == (
            f"server1 (BMC {bmcs[0].address}:{bmcs[0].port} to {hosts[0]}:162): "
            "6 things in the way."
        )
        assert "  - its community is none that the monitor takes (can be set)" in lines
        assert not bmcs[0].asked(0x0C, 1), "a look sets nothing"

        refused = clp("clptrap", "test", "--through-bmc")
        assert (refused.code, "clpbmccnf --alerts server1" in refused.err) == (1, True)

        for answer in ("", "n\n"):
            monkeypatch.setattr("sys.stdin", io.StringIO(answer))
            unasked = clp("clpbmccnf", "--alerts")
            assert (unasked.code, "Nothing was set." in unasked.err) == (2, True)
            assert "its community is none" in unasked.err
        assert not bmcs[0].asked(0x0C, 1)
        monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
        assert clp("clpbmccnf", "--alerts", "server1").code == 0
        assert not bmcs[1].asked(0x0C, 1)

        done = clp("clpbmccnf", "--alerts", "--yes")
        assert (done.code, done.err) == (0, "")
        assert f"{bmcs[1].port}): its traps are sent to {hosts[1]}:162." in done.out
        again = clp("clpbmccnf", "--alerts", "--check", "--json", "server2")
        found = json.loads(again.out)
        assert (again.code, [way["sends"] for way in found["ways"]]) == (0, [True])

        proven = clp("clptrap", "test", "--through-bmc", "--to", "server1")
        assert (proven.code, proven.err) == (0, "")
        assert proven.out == (
            "The BMC of server1 sent a test trap (alert destination 1 of LAN channel 1). "
            f"It came to {hosts[0]}:162: test trap, INFO.\n"
        )


def test_the_check_of_a_configuration_tells_of_each_server(node: Path, clp: Clp) -> None:
    with cluster(node) as (_, hosts):
        assert clp("clpbmccnf", "--alerts", "--yes", "server1").code == 0
        found = clp("clpcfchk")
        assert f"server1.bmc: its traps are sent to {hosts[0]}:162." in found.out
        assert (
            f"server2.bmc: a trap of it does not reach {hosts[1]}:162: its community" in found.out
        )
        assert "clpbmccnf --alerts server2 sets what can be set." in found.out
        # Without the password nobody can ask.
        (node / "etc/clptools/bmc/server2").unlink()
        checked = clp("clpcfchk").out
        assert "a trap of it does not reach" not in checked
        assert "Set its password: clpbmccnf -u clp server2" in checked
        looked = clp("clpbmccnf", "--alerts", "--check", "server2")
        assert (looked.code, "no BMC password there" in looked.out) == (1, True)
        assert "Set it on this server: clpbmccnf -u clp server2" in looked.out
        asked = clp("clptrap", "test", "--through-bmc", "--to", "server2")
        assert asked.code != 0


def test_a_bmc_that_takes_no_destination_sends_nobody_round_in_circles(
    node: Path, clp: Clp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clptools.paths.server_name", lambda: "server1")
    with cluster(node, "no destinations"):
        for words in (("clpbmccnf", "--alerts", "--check"), ("clptrap", "test", "--through-bmc")):
            told = clp(*words)
            assert told.code
            said = " ".join((told.out + told.err).split())
            assert "in the BMC's own interface" in said
            assert "sets it" not in said


def test_a_bmc_that_cannot_be_asked_is_no_bmc_that_sends(node: Path, clp: Clp) -> None:
    with cluster(node) as (bmcs, _):
        pass
    with cluster(node / "other") as (others, hosts):
        text = config((others[0], bmcs[1]), hosts)
        (node / "etc/clptools/clp.toml").write_text(text)
        looked = clp("clpbmccnf", "--alerts", "--check")
        assert looked.code == 1
        assert "server2" in looked.out and "cannot be told" in looked.out
        assert "things in the way" in looked.out, "the others are told all the same"


def test_a_refusal_names_command_and_right(node: Path, clp: Clp) -> None:
    with cluster(node, "no privilege"):
        done = clp("clpbmccnf", "--alerts", "--yes", "server1")
        assert done.code == 9
        assert "Not set: BMC of server1" in done.out
        assert "account lacks the privilege (0xd4)" in done.out


def test_faults_of_the_command_line(node: Path, clp: Clp) -> None:
    with cluster(node):
        assert clp("clpbmccnf", "--check").code == 2
        assert clp("clpbmccnf", "--alerts", "--snmp", "x").code == 2
        assert clp("clpbmccnf", "--alerts", "server9").code == 5
        assert clp("clptrap", "test", "--through-bmc", "FATAL").code == 2
        assert clp("clptrap", "test", "--through-bmc", "--to", "server9").code == 5
        # Nobody here can see what arrives at another server.
        other = clp("clptrap", "test", "--through-bmc", "--to", "server2")
        assert (other.code, "No agent runs here" in other.err) == (3, True)


def counted(**counters: int) -> HardwareView:
    server = HardwareOfServer(name="server1", open=(), counters=counters, unreachable=None)
    return HardwareView(servers=(server,))


@pytest.mark.parametrize(
    "grown, code, text",
    [
        ("accepted", 0, "and was taken."),
        ("unknown", 0, "no row of the class table knows it"),
        ("bad_community", 1, "wrong community"),
        ("not_allowed", 1, "another address than that of the BMC"),
    ],
)
def test_an_agent_tells_what_became_of_it(
    node: Path, clp: Clp, agent: Agent, grown: str, code: int, text: str
) -> None:
    asked = itertools.count()

    async def hardware() -> HardwareView:
        return counted(received=next(asked), **({grown: 1} if next(asked) > 2 else {}))

    agent.backend.hardware = hardware  # type: ignore[method-assign]
    with cluster(node):
        assert clp("clpbmccnf", "--alerts", "--yes", "server1").code == 0
        proven = clp("clptrap", "test", "--through-bmc")
        assert proven.code == code
        assert text in proven.out + proven.err


def test_nothing_that_comes_is_told_with_what_to_look_for(
    node: Path, clp: Clp, agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clptools.cli import trap_through_bmc

    async def hardware() -> HardwareView:
        return counted()

    agent.backend.hardware = hardware  # type: ignore[method-assign]
    monkeypatch.setattr(trap_through_bmc, "ARRIVES_WITHIN_S", 0.3)
    with cluster(node):
        assert clp("clpbmccnf", "--alerts", "--yes", "server1").code == 0
        silent = clp("clptrap", "test", "--through-bmc")
        assert silent.code == 7
        assert "tcpdump -ni any udp port 162" in silent.err


def test_a_finding_without_a_mend_is_told_with_its_hint() -> None:
    from clptools.cli.bmc_alerts import Way, as_text

    way = Way(
        server="server1",
        bmc="b",
        address="a",
        findings=(Finding(text="it is mute", hint="Speak."),),
    )
    assert as_text(way).splitlines()[1:] == ["  - it is mute", "    Speak."]
