"""`clptools.varlink` says what the agent really speaks: its types and methods are the structs."""

from __future__ import annotations

import re

import msgspec

from clptools.api import messages, methods
from clptools.api.client import Client
from clptools.api.connection import description
from clptools.core.model import machine, requests, settings, view
from tests.api.fake import Agent

STRUCTS: dict[str, type[msgspec.Struct]] = {
    "Peer": view.PeerView,
    "Heartbeat": view.HeartbeatView,
    "Arbiter": view.ArbiterView,
    "Bmc": view.BmcView,
    "OpenEvent": view.OpenEventView,
    "Condition": view.ConditionView,
    "MonitorOnServer": view.MonitorOnServerView,
    "Resource": view.ResourceView,
    "HeldGroup": view.HeldGroupView,
    "Server": view.ServerView,
    "Waiting": view.WaitingView,
    "PlannedMove": view.PlannedMoveView,
    "Group": view.GroupView,
    "Monitor": view.MonitorView,
    "Cluster": view.ClusterView,
    "Status": view.StatusView,
    "Because": messages.Because,
    "Explanation": messages.Explanation,
    "OpenHardware": messages.OpenHardware,
    "BmcFault": messages.BmcFault,
    "HardwareOfServer": messages.HardwareOfServer,
    "Hardware": messages.HardwareView,
    "FileFault": machine.FileFault,
    "AccountFault": machine.AccountFault,
    "AgentFault": machine.AgentFault,
    "FenceFault": machine.FenceFault,
    "Facts": machine.Facts,
    "ServerFacts": machine.ServerFacts,
    "Event": messages.EventRecord,
    "LogsPart": messages.LogsPart,
    "Pushed": settings.Pushed,
    "Outcome": requests.Outcome,
}


def fields(text: str) -> set[str]:
    """The names in `a: x, b: y`."""
    return set(re.findall(r"(\w+):", text))


def test_types_are_the_structs() -> None:
    found = dict(re.findall(r"^type (\w+) \((.*?)\)$", description(), re.M | re.S))
    assert set(found) == set(STRUCTS)
    for name, text in found.items():
        known = {field.encode_name for field in msgspec.structs.fields(STRUCTS[name])}
        assert fields(text) == known, name


def test_methods_are_those_that_are_answered() -> None:
    found = re.findall(r"^method (\w+)\((.*?)\) -> \(", description(), re.M | re.S)
    assert {name for name, _ in found} == set(methods.METHODS)
    for name, text in found:
        takes = methods.METHODS[name].parameters
        assert fields(text) == {f.encode_name for f in msgspec.structs.fields(takes)}, name


def test_methods_marked_read_are_those_that_readers_may_call() -> None:
    found = re.findall(r"^# ?(\(read\))?[^\n]*\n(?:#[^\n]*\n)*method (\w+)", description(), re.M)
    assert {name for _, name in found} == set(methods.METHODS)
    for read, name in found:
        assert bool(read) != methods.METHODS[name].writes, name


def test_requests_in_the_description_are_those_of_the_core() -> None:
    told = set(re.findall(r"[a-z]+-[a-z]+|suspend|resume|acknowledge", description()))
    tags = {str(each.__struct_config__.tag) for each in requests.RequestBase.__subclasses__()}
    assert tags <= told


def test_the_description_comes_over_the_socket(agent: Agent) -> None:
    with Client(agent.path) as client:
        client._send(
            {
                "method": "org.varlink.service.GetInterfaceDescription",
                "parameters": {"interface": "org.clptools.Node"},
            }
        )
        assert client._reply("")[0] == {"description": description()}
