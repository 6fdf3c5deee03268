"""The cluster as it was at an instant, from records alone: compared with what it showed then."""

from __future__ import annotations

import pytest

from clptools.core.model.view import StatusView
from clptools.core.report.history import at
from clptools.core.report.order import in_order
from tests.core.told_by_servers import Servers

STORIES = {
    "move": ("request server1 move failover1 server2", "advance 6"),
    "trap": ("trap server1 mrw1 FATAL cpu1", "advance 8", "trap server1 mrw1 CLEAR cpu1"),
    "power loss": ("off server1", "advance 20", "on server1", "advance 40"),
    "dead BMC": ("bmc server1 dead", "advance 3", "off server1", "advance 20"),
    "stop and start": (
        "request server1 stop failover1",
        "advance 5",
        "request server2 start failover1",
        "advance 5",
    ),
    "service": (
        "request server1 service-stop server1",
        "advance 8",
        "request server1 service-start server1",
        "advance 8",
    ),
    "suspended monitor": (
        "request server1 suspend-monitor mrw1",
        "advance 3",
        "trap server1 mrw1 FATAL cpu1",
        "advance 3",
        "request server1 resume-monitor mrw1",
        "advance 3",
        "request server1 suspend-monitor userw",
        "advance 2",
        "request server1 resume-monitor userw",
        "advance 3",
    ),
    "suspend": ("request server1 suspend", "advance 3", "request server2 resume", "advance 3"),
}
ME = "server2"
LOOKS_S = 1.0


def groups(view: StatusView) -> list[tuple[object, ...]]:
    return [
        (g.name, g.current, g.status, g.epoch if g.current else 0, g.waiting_for is not None)
        for g in view.groups
    ]


def monitors(view: StatusView) -> dict[str, dict[str, str]]:
    """All but the one that runs only where its target does: no record tells where that is."""
    return {
        m.name: {n: s.status for n, s in m.servers.items()}
        for m in view.monitors
        if m.name != "genw1"
    }


@pytest.mark.parametrize("name", STORIES)
def test_the_past_is_as_it_was(name: str) -> None:
    servers = Servers()
    servers.play("start server1 server2", "advance 30")
    looks: list[tuple[float, StatusView]] = []
    for line in STORIES[name]:
        if not line.startswith("advance"):
            servers.play(line)
            continue
        for _ in range(int(line.split()[1])):
            servers.play(f"advance {LOOKS_S}")
            looks.append((servers.now, servers.view(ME)))
    # What happens to be under way when somebody looks takes a record's time to arrive.
    records = in_order(servers.known_to(ME), ME)
    settled = [
        (when, view)
        for when, view in looks
        if all(abs(true.at - when) > 0.5 for true in servers.told)
    ]
    assert len(settled) >= len(looks) / 3
    present = servers.view(ME)
    for when, view in settled:
        found = at(present, records, when, servers.now)
        assert groups(found) == groups(view), f"{when - looks[0][0]:.1f} s"
        assert found.cluster.suspended == view.cluster.suspended
        for server, shown in zip(found.servers, view.servers, strict=True):
            up = shown.status in ("Online", "Caution")
            assert (server.status == "Online") == up, server.name
            if up:
                mine = {m: s[server.name] for m, s in monitors(found).items() if server.name in s}
                theirs = {m: s[server.name] for m, s in monitors(view).items() if server.name in s}
                assert mine == theirs
                events = {e.id for e in server.open_events}
                assert events == {e.id for e in shown.open_events if not e.acknowledged}


def test_one_that_is_cut_off_is_silent_and_not_all_whom_it_does_not_hear() -> None:
    servers = Servers("3bmc")
    servers.play("start server1 server2 server3", "advance 30", "isolate server3", "advance 20")
    for me in ("server1", "server3"):
        records = in_order(servers.known_to(me), me)
        found = at(servers.view(me), records, servers.now, servers.now)
        assert {s.name: s.status == "Online" for s in found.servers} == {
            "server1": True,
            "server2": True,
            "server3": False,
        }


@pytest.mark.parametrize("name", STORIES)
def test_what_is_older_than_all_records_is_read_off_the_next_ones(name: str) -> None:
    """The records of the start are gone; nothing happened between then and the story."""
    servers = Servers()
    servers.play("start server1 server2", "advance 30")
    before, when = servers.view(ME), servers.now
    servers.play(*STORIES[name], "advance 2")
    records = [r for r in in_order(servers.known_to(ME), ME) if r.time > when]
    found = at(servers.view(ME), records, when, servers.now)
    told = {s.name: s.status for s in found.servers}
    assert told == {s.name: s.status for s in before.servers}
    assert [(g.current, g.status) for g in found.groups] == [
        (g.current, g.status) for g in before.groups
    ]
    assert monitors(found) == monitors(before)
