"""A fault that a restart does not mend shall not restart the server for ever."""

from __future__ import annotations

import msgspec

from clptools.core.model.actions import Action, HostAction, KeepLedger, Record
from clptools.core.model.durable import LedgerFile
from clptools.core.model.events import AgentStarted, BeatSeen, MessageSeen, RequestSeen
from clptools.core.model.messages import Beat, Echo
from clptools.core.model.requests import Acknowledge, ClearHalts
from clptools.core.model.settings import Cluster, Monitor, Recovery, Server, Settings
from clptools.core.node import Node
from clptools.core.notices.form import Kinds
from clptools.core.notices.monitors import TooManyHalts

SETTINGS = Settings(
    cluster=Cluster(max_reboots=2, max_reboots_reset_ms=600_000),
    servers=(Server(name="server1"), Server(name="server2")),
    monitors=(
        Monitor(
            name="mrw1",
            type="mrw",
            servers=("server1",),
            category="Fan",
            recovery=Recovery(action="final", final_action="sysrq-panic"),
        ),
    ),
)


def started(ledger: LedgerFile) -> Node:
    node = Node(SETTINGS, "server1", "one", 1)
    node.step(AgentStarted(durable=None, member=False, ledger=ledger), 1_000)
    hear(node, 1_100)
    return node


def hear(node: Node, now: int) -> None:
    """server2 is heard, so that a final action would not take the last server."""
    beat = Beat(
        sender="server2",
        to="server1",
        incarnation="two",
        seq=now,
        sent_at=now,
        echo=Echo(incarnation="one", sent_at=now - 10),
    )
    node.step(BeatSeen(link="lan", beat=beat), now)


def fails(node: Node, now: int) -> list[Action]:
    """The fan fails anew: what is open from before was acknowledged."""
    acknowledge = Acknowledge(monitor="mrw1")
    node.step(RequestSeen(id=f"a{now}", user="root", request=acknowledge), now)
    hear(node, now)
    return node.step(MessageSeen(category="Fan", text="stands still"), now + 1)


def panics(actions: list[Action]) -> int:
    return sum(isinstance(a, HostAction) for a in actions)


def kept(actions: list[Action]) -> LedgerFile:
    return [a.ledger for a in actions if isinstance(a, KeepLedger)][-1]


def test_after_max_reboots_in_a_row_the_final_action_is_not_run_and_says_so() -> None:
    ledger = LedgerFile()
    for boot in range(2):
        actions = fails(started(ledger), 2_000)
        assert panics(actions) == 1
        ledger = kept(actions)
        assert ledger.halts == {"rm": boot + 1}
    actions = fails(started(ledger), 2_000)
    assert panics(actions) == 0
    said = [a for a in actions if isinstance(a, Record) and a in Kinds(TooManyHalts)]
    assert "2 final actions in a row" in said[0].text


def test_the_count_is_on_disk_before_the_machine_ends() -> None:
    actions = fails(started(LedgerFile()), 2_000)
    order = [type(a) for a in actions]
    assert order.index(KeepLedger) < order.index(HostAction)


def test_a_server_that_ran_long_enough_starts_the_count_again() -> None:
    node = started(LedgerFile(halts={"rm": 2}))
    assert panics(fails(node, 2_000)) == 0
    assert panics(fails(node, 700_000)) == 1


def test_the_command_starts_the_count_again() -> None:
    node = started(LedgerFile(halts={"rm": 2, "rc": 1}))
    actions = node.step(RequestSeen(id="c", user="root", request=ClearHalts(kind="rm")), 1_500)
    assert kept(actions).halts == {"rc": 1}
    assert node.view(1_600).servers[0].halts == {"rc": 1}
    assert panics(fails(node, 2_000)) == 1


def test_without_a_limit_nothing_is_held_back() -> None:
    unlimited = msgspec.structs.replace(SETTINGS, cluster=Cluster(max_reboots=0))
    node = Node(unlimited, "server1", "one", 1)
    ledger = LedgerFile(halts={"rm": 50})
    node.step(AgentStarted(durable=None, member=False, ledger=ledger), 1_000)
    hear(node, 1_100)
    assert panics(fails(node, 2_000)) == 1
