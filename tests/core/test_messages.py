"""Messages of drivers: which fault of a device is open, and what closes it."""

from __future__ import annotations

from clptools.core.model.events import AgentStarted, Event, MessageSeen
from clptools.core.model.settings import Monitor, Server, Settings
from clptools.core.node import Node


def told(*events: Event) -> tuple[list[str], str]:
    """What is open in the end, and the monitor's word."""
    monitor = Monitor(name="nic1", type="mrw", servers=("server1",), category="NIC")
    node = Node(Settings(servers=(Server(name="server1"),), monitors=(monitor,)), "server1", "i", 1)
    node.step(AgentStarted(durable=None, member=False), 0)
    for at, event in enumerate(events, start=1):
        node.step(event, at)
    word = node.monitor_runs.run("nic1").status.value
    return [event.key for event in node.state.ledger.events.values()], word


def nic(fault: str, *, recovered: bool = False, predictive: bool = False) -> MessageSeen:
    return MessageSeen(
        category="NIC",
        keyword="eth0",
        fault=fault,
        text="x",
        recovered=recovered,
        predictive=predictive,
    )


def test_a_link_that_is_back_does_not_close_the_drivers_fault() -> None:
    faults = (nic("link"), nic("firmware"), nic("link", recovered=True))
    assert told(*faults) == (["NIC/eth0#firmware"], "Error")
    assert told(*faults, nic("firmware", recovered=True)) == ([], "Normal")


def test_a_warning_and_a_fault_of_one_device_stand_side_by_side() -> None:
    member, link = nic("member eth1", predictive=True), nic("link")
    assert told(member)[1] == "Caution"
    assert told(member, link)[1] == "Error"
    assert told(member, link, nic("link", recovered=True)) == (["NIC/eth0#member eth1"], "Caution")


def test_a_message_without_a_fault_is_a_fault_of_its_own() -> None:
    assert told(nic("link"), nic("", recovered=True)) == (["NIC/eth0#link"], "Error")
    assert told(nic(""), nic("", recovered=True)) == ([], "Normal")
