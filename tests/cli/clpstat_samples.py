"""Status views as the API sends them: built from the contract's structs, read as a command does."""

from __future__ import annotations

import json
from typing import Any, cast

import msgspec

from clptools.cli.json_types import EventJson, StatusJson
from clptools.core.model.view import (
    ArbiterView,
    BmcView,
    ClusterView,
    GroupView,
    HeartbeatView,
    MonitorOnServerView,
    MonitorView,
    OpenEventView,
    PeerView,
    ResourceView,
    ServerView,
    StatusView,
    WaitingView,
)

LINKS = (("lankhb1", "lankhb"), ("lanhb1", "lanhb"), ("bmchb1", "bmchb"))
NOW = 1_795_403_561.0
"""A wall clock for what shows times."""


def as_json(view: Any) -> Any:
    """What `json.loads` makes of it on the other side of the socket."""
    return json.loads(msgspec.json.encode(view))


def server(name: str, peers: tuple[str, ...], **changes: Any) -> ServerView:
    """A server that hears all its peers."""
    status = changes.pop("heartbeat", "Normal")
    seen = changes.pop("last_seen_s", 0.04)
    fields: dict[str, Any] = {
        "name": name,
        "status": "Online",
        "heartbeats": tuple(
            HeartbeatView(
                name=link,
                type=kind,
                status=status,
                peers={peer: PeerView(status=status, last_seen_s=seen) for peer in peers},
            )
            for link, kind in LINKS
        ),
        "bmc": BmcView(
            address="192.168.0.11", power="on", reachable=True, can_prove=True, latency_ms=3.1
        ),
    }
    return ServerView(**{**fields, **changes})


def group(current: str | None = "server1", **changes: Any) -> GroupView:
    """failover1 with exec1 and fip1."""
    status = changes.get("status", "Online" if current else "Offline")
    fields: dict[str, Any] = {
        "name": "failover1",
        "status": status,
        "current": current,
        "epoch": 7,
        "since_s": 184_263.0,
        "resources": (
            ResourceView(name="fip1", type="fip", status=status),
            ResourceView(name="exec1", type="exec", status=status),
        ),
        "on": {current: status} if current else {},
    }
    return GroupView(**{**fields, **changes})


def monitor(name: str, kind: str, status: str, **on: str) -> MonitorView:
    """A monitor; `on` gives its word on each server."""
    return MonitorView(
        name=name,
        type=kind,
        status=status,
        servers={
            server: MonitorOnServerView(
                status=word, text="drive slot 3: predictive failure" if word == "Stall" else ""
            )
            for server, word in on.items()
        },
    )


def sample(**changes: Any) -> StatusView:
    """The sample cluster in good health, as server1 sees it."""
    fields: dict[str, Any] = {
        "cluster": ClusterView(
            name="cluster",
            status="Normal",
            revision=3,
            coordinator="server1",
            quorate=True,
            electorate=("server1", "server2"),
        ),
        "servers": (
            server("server1", ("server2",), local=True),
            server("server2", ("server1",)),
        ),
        "groups": (group(),),
        "monitors": (
            monitor("userw", "userw", "Normal", server1="Normal", server2="Normal"),
            monitor("mrw1", "mrw", "Normal", server1="Normal", server2="Normal"),
        ),
    }
    return StatusView(**{**fields, **changes})


def status(**changes: Any) -> StatusJson:
    """`sample` as JSON."""
    return cast(StatusJson, as_json(sample(**changes)))


def stall() -> StatusJson:
    """A drive of server2 is about to fail."""
    opened = OpenEventView(
        id=4711,
        event_class="PREDICT",
        meaning="drive slot 3: predictive failure",
        first_s=35.0,
        last_s=2.0,
        count=3,
        monitor="mrw1",
    )
    return status(
        cluster=ClusterView(
            name="cluster",
            status="Caution",
            revision=3,
            coordinator="server1",
            quorate=True,
            electorate=("server1", "server2"),
        ),
        servers=(
            server("server1", ("server2",), local=True),
            server("server2", ("server1",), open_events=(opened,)),
        ),
        monitors=(
            monitor("userw", "userw", "Normal", server1="Normal", server2="Normal"),
            monitor("mrw1", "mrw", "Caution", server1="Normal", server2="Stall"),
        ),
    )


def waits() -> StatusJson:
    """server1 went silent, its BMC too: failover1 waits on server2."""
    waiting = WaitingView(
        text="waits for proof that it is down on server1",
        since_s=35.0,
        server="server1",
        proofs={
            "released": "no: server1 does not answer",
            "power off": "no: its BMC 192.168.0.11 does not answer "
            "(3 tries, 5.0 s each; last: no route)",
            "forced stop": "no: not configured",
            "lease": "not armed: two servers without an arbiter",
        },
        mend="clpnode confirm-down server1 --yes",
    )
    return status(
        cluster=ClusterView(
            name="cluster",
            status="Error",
            revision=3,
            coordinator="",
            quorate=False,
            electorate=("server1", "server2"),
        ),
        servers=(
            server("server1", ("server2",), status="Offline", heartbeat="Offline"),
            server("server2", ("server1",), local=True, heartbeat="Error", last_seen_s=38.8),
        ),
        groups=(group(None, waiting_for=waiting),),
    )


def many(count: int) -> StatusJson:
    """A cluster of `count` servers."""
    names = tuple(f"server{n}" for n in range(1, count + 1))
    return status(
        cluster=ClusterView(
            name="cluster", status="Normal", coordinator="server1", quorate=True, electorate=names
        ),
        servers=tuple(
            server(name, tuple(n for n in names if n != name), local=name == "server1")
            for name in names
        ),
        monitors=(monitor("userw", "userw", "Normal", **dict.fromkeys(names, "Normal")),),
    )


def np(name: str = "pingnp1", kind: str = "ping", word: str = "Normal") -> ArbiterView:
    """One NP resolution resource."""
    return ArbiterView(name=name, type=kind, status=word)


def event(text: str, ago: float, level: str = "INFO") -> EventJson:
    """One recorded event, `ago` seconds before `NOW`."""
    return {
        "schema": 1,
        "cursor": f"{ago}",
        "time": NOW - ago,
        "server": "server1",
        "module": "rm",
        "event_id": 9,
        "level": level,
        "text": text,
        "subjects": [],
        "because": [],
        "event": 0,
    }
