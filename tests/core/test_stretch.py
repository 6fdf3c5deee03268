"""Time-outs stretched for a while: which, for how long, and what they never touch."""

from __future__ import annotations

import msgspec

from clptools.core import notices
from clptools.core.cluster.timeout_ratio import stretched
from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.messages import NO_EPOCH, Shared
from clptools.core.model.requests import GroupStop, ServiceStop, StretchTimeouts
from clptools.core.model.settings import Arbiter, ForcedStop, Monitor, Settings
from clptools.core.model.timing import Times, times
from tests.core.alone import Alone
from tests.core.cluster import Cluster, S, settings

HOUR = 3_600_000
GENW = Monitor(name="genw1", type="genw", servers=("server1",), interval_ms=60_000)
TRAPS = Monitor(name="mrw1", type="mrw", servers=("server1",), category="BMCNOTICE")
HEALTH = Monitor(
    name="mrw2",
    type="mrw",
    servers=("server1",),
    category="HA/AM",
    options={"health_command": "check.sh"},
)


def with_everything() -> Settings:
    return settings(
        4,
        arbiter=Arbiter(name="witness1", type="witness"),
        forced_stop="power-off",
        monitors=(GENW, TRAPS, HEALTH),
    )


def paths(before: object, after: object, path: str = "") -> dict[str, tuple[object, object]]:
    """Where two settings differ: path -> (before, after)."""
    if isinstance(before, msgspec.Struct):
        names = before.__struct_fields__
        pairs = [(n, getattr(before, n), getattr(after, n)) for n in names]
    elif isinstance(before, tuple) and isinstance(after, tuple):
        names = [getattr(each, "name", str(i)) for i, each in enumerate(before)]
        pairs = list(zip(names, before, after, strict=True))
    else:
        return {} if before == after else {path: (before, after)}
    found = {}
    for name, one, other in pairs:
        found.update(paths(one, other, f"{path}.{name}" if path else name))
    return found


def test_stretched_is_just_what_the_manual_says() -> None:
    cfg = with_everything()
    differ = paths(cfg, stretched(cfg, 3))
    resources = [
        f"groups.failover1.resources.{name}.{op}_timeout_ms"
        for name in ("fip1", "exec1")
        for op in ("start", "stop", "migrate")
    ]
    assert differ.pop("ratio") == (1, 3)
    assert set(differ) == {
        "cluster.heartbeat_timeout_ms",
        "forced_stop.timeout_ms",
        "groups.failover1.start_wait_ms",
        "groups.failover1.stop_wait_ms",
        *resources,
        "monitors.genw1.interval_ms",
        "monitors.genw1.timeout_ms",
        "monitors.mrw2.interval_ms",
        "monitors.mrw2.timeout_ms",
    }
    for before, after in differ.values():
        assert isinstance(before, int)
        assert after == 3 * before


def test_no_length_of_promise_1_is_stretched_and_nothing_is_by_1() -> None:
    cfg = with_everything()
    assert stretched(cfg, 1) is cfg
    long = stretched(cfg, 10_000)
    before, after = times(cfg.cluster), times(long.cluster)
    differ = [n for n in Times.__struct_fields__ if getattr(before, n) != getattr(after, n)]
    assert differ == ["lost_ms"]
    assert long.voters == cfg.voters
    assert long.arbiters == cfg.arbiters


def test_servers_with_ratio_1_say_what_they_always_said() -> None:
    said = msgspec.json.decode(msgspec.json.encode(Shared(version=NO_EPOCH)))
    assert set(said) == {"type", "version"}
    changed = e.SettingsChanged(settings=settings(2))
    assert set(msgspec.json.decode(msgspec.json.encode(changed))) == {"type", "settings"}


def stretch(c: Cluster, ratio: int, for_ms: int = 0, at: str = "server2") -> int:
    return c.answer(at, StretchTimeouts(ratio=ratio, for_ms=for_ms)).code


def ratios(c: Cluster) -> list[int]:
    """As each server that runs shows it."""
    return [c.view(n).cluster.toratio for n, h in c.hosts.items() if h.node is not None]


def lost_ms(c: Cluster) -> set[int]:
    return {h.node.times.lost_ms for h in c.hosts.values() if h.node is not None}


def test_every_server_has_it_when_the_command_is_through_and_it_ends_by_itself() -> None:
    c = Cluster(settings(3))
    c.settle()
    assert stretch(c, 4, 60 * S) == 0
    assert ratios(c) == [4, 4, 4]
    assert lost_ms(c) == {12_000}
    assert c.said(notices.cluster.TimeoutsStretched)[0].startswith(
        "Time-outs are 4 times as long for 1 m, by root;"
    )
    c.run(58 * S)
    assert ratios(c) == [4, 4, 4]
    c.run(3 * S)
    assert ratios(c) == [1, 1, 1]
    assert lost_ms(c) == {3_000}
    assert len(c.said(notices.cluster.TimeoutsAsConfigured)) == 3
    assert not any("took over" in text for text in c.said(notices.cluster.RevisionInForce))


def test_a_silent_server_is_lost_later_and_fenced_later() -> None:
    cfg = settings(2, forced_stop="power-off")
    c = Cluster(cfg)
    holder = c.settle()
    assert stretch(c, 5, HOUR) == 0
    c.cut(holder)
    c.run(14 * S)
    assert c.said(notices.cluster.ServerLost) == []
    assert c.did(a.Fence) == []
    c.until(lambda: bool(c.did(a.Fence)), 10 * S)
    fencer = next(name for _, name, x in c.done if isinstance(x, a.Fence))
    assert c.node(fencer).settings.forced_stop.timeout_ms == 5 * ForcedStop().timeout_ms


def test_it_needs_every_server_but_its_end_does_not() -> None:
    c = Cluster(settings(3))
    c.settle()
    assert stretch(c, 10, HOUR) == 0
    c.power_off("server3")
    c.run(4 * S)
    assert c.said(notices.cluster.ServerLost) == []
    refused = c.answer("server2", StretchTimeouts(ratio=2, for_ms=HOUR))
    assert (refused.code, "server3 is not" in refused.text) == (6, True)
    assert ratios(c) == [10, 10]
    ended = c.answer("server1", StretchTimeouts())
    assert (ended.code, ended.did) == (0, "The time-outs are as configured again.")
    assert ratios(c) == [1, 1]
    assert c.answer("server1", StretchTimeouts()).text.endswith("already as configured.")


def test_without_a_coordinator_each_server_ends_it_when_its_time_is_over() -> None:
    c = Cluster(settings(2, bmc=False))
    c.settle()
    assert stretch(c, 1000, 60 * S) == 0
    c.cut("server1")
    c.run(62 * S)
    assert c.coordinator() == ""
    assert (ratios(c), lost_ms(c)) == ([1, 1], {3_000})
    assert len(c.said(notices.cluster.ServerLost)) == 2
    c.heal()
    c.run(5 * S)
    assert c.coordinator()
    assert ratios(c) == [1, 1]
    assert len(c.said(notices.cluster.TimeoutsAsConfigured)) == 2


def test_without_a_coordinator_the_operator_ends_it_where_he_is() -> None:
    c = Cluster(settings(2, bmc=False))
    c.settle()
    assert stretch(c, 1000, HOUR) == 0
    c.cut("server1")
    c.run(10 * S)
    refused = c.answer("server2", StretchTimeouts(ratio=2, for_ms=HOUR), 1 * S)
    assert refused.code == 6
    ended = c.answer("server2", StretchTimeouts(), 1 * S)
    assert (ended.code, "server2 alone" in ended.text) == (0, True)
    assert ratios(c) == [1000, 1]
    c.kill("server2")
    c.start("server2")
    c.run(10 * S)
    assert ratios(c) == [1000, 1]
    again = c.answer("server2", StretchTimeouts())
    assert (again.text, again.hint) == (
        "Nobody is coordinator: the time-outs are as configured on server2 alone.",
        "On the others, too: clptoratio -i",
    )
    c.heal()
    c.run(5 * S)
    assert stretch(c, 1, at="server1") == 0
    assert ratios(c) == [1, 1]


def test_a_dead_coordinator_is_not_asked_for_long() -> None:
    c = Cluster(settings(2, bmc=False))
    c.settle()
    assert stretch(c, 1000, HOUR) == 0
    dead = c.coordinator()
    other = next(n for n in c.cfg.names if n != dead)
    c.kill(dead)
    asked = c.answer(other, GroupStop(group="failover1"), 5 * S)
    assert (asked.code, dead in asked.text) == (7, True)
    assert c.answer(other, GroupStop(group="failover1"), 1 * S).code == 6


def test_a_ratio_without_a_time_is_refused() -> None:
    c = Cluster(settings(2))
    c.settle()
    assert stretch(c, 2) == 6
    assert ratios(c) == [1, 1]


def test_the_same_again_counts_from_then_on() -> None:
    c = Cluster(settings(3))
    c.settle()
    assert stretch(c, 2, 30 * S) == 0
    c.run(20 * S)
    assert stretch(c, 2, 30 * S) == 0
    c.run(20 * S)
    assert ratios(c) == [2, 2, 2]
    c.run(11 * S)
    assert ratios(c) == [1, 1, 1]


def test_it_outlives_the_coordinator_and_who_comes_back_hears_of_it() -> None:
    c = Cluster(settings(3))
    c.settle()
    assert stretch(c, 2, 60 * S) == 0
    gone = c.coordinator()
    c.power_off(gone)
    c.run(20 * S)
    assert c.coordinator()
    assert ratios(c) == [2, 2]
    c.power_on(gone)
    c.run(20 * S)
    assert ratios(c) == [2, 2, 2]
    c.run(21 * S)
    assert ratios(c) == [1, 1, 1]


def test_an_agent_that_starts_again_goes_on_with_it_and_does_not_count_anew() -> None:
    c = Cluster(settings(1))
    c.until(lambda: c.coordinator() == "server1")
    assert stretch(c, 7, 60 * S, at="server1") == 0
    c.run(40 * S)
    c.kill("server1")
    c.start("server1")
    c.run(5 * S)
    assert (ratios(c), lost_ms(c)) == ([7], {21_000})
    c.run(16 * S)
    assert (ratios(c), lost_ms(c)) == ([1], {3_000})


def test_it_ends_with_the_cluster_service() -> None:
    c = Cluster(settings(1))
    c.until(lambda: c.coordinator() == "server1")
    assert stretch(c, 7, HOUR, at="server1") == 0
    assert c.answer("server1", ServiceStop()).code == 0
    assert ratios(c) == [1]


def test_a_mere_stretch_is_no_new_configuration() -> None:
    cfg = settings(3, groups=(), monitors=(GENW,))
    me = Alone(cfg)
    me.forget()
    done = me.tell(e.SettingsChanged(settings=stretched(cfg, 3), stretch=True))
    assert me.node.settings.cluster.heartbeat_timeout_ms == 9_000
    assert not [x for x in done if isinstance(x, a.Record | a.ArmWatchdog | a.SetMember)]
    assert me.node.state.revision.names == ()
