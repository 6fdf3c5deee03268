"""What holds for every order of events: nothing raises, replay is exact, a lie gains nothing."""

from __future__ import annotations

from typing import Any

import msgspec
from hypothesis import HealthCheck, given
from hypothesis import settings as bounded
from hypothesis import strategies as st

from clptools.core.cluster.timeout_ratio import stretched
from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model import requests as r
from clptools.core.model.durable import Durable, HeldGroup
from clptools.core.model.messages import (
    Beat,
    Echo,
    Epoch,
    Forward,
    Grant,
    Holding,
    Intent,
    Order,
    Report,
    Shared,
    Term,
    Vote,
)
from clptools.core.model.settings import Arbiter, Monitor, Recovery, Settings
from clptools.core.model.view import ServerView
from clptools.core.model.words import AfterStop
from clptools.core.node import Node
from tests.core.alone import Alone, encoded
from tests.core.cluster import S, names, settings

MRW = Monitor(
    name="mrw1",
    type="mrw",
    servers=names(3),
    category="BMCNOTICE",
    recovery=Recovery(
        action="failover", target="failover1", after_recovery="reset", final_action="reboot"
    ),
)
GENW = Monitor(
    name="genw1",
    type="genw",
    servers=names(3),
    timing="active",
    target="failover1",
    recovery=Recovery(action="restart", target="exec1", final_action="shutdown"),
)
CONFIGS = (
    settings(1),
    settings(2, monitors=(MRW, GENW), forced_stop="power-off"),
    settings(3, monitors=(MRW, GENW), arbiter=Arbiter(name="etcd1", type="etcd")),
    settings(3, arbiter=Arbiter(name="etcd1", type="etcd", required=True), bmc=False, revision=2),
)

server = st.sampled_from(["server1", "server2", "server3", "nosuch"])
peer = st.sampled_from(["server2", "server3"])
incarnation = st.sampled_from(["me", "server2#1", "server2#2", "server3#1"])
instant = st.sampled_from([0, 1, 999_000, 1_000_000, 1_000_200, 1_003_000, 1_010_000, 9_000_000])
after = st.sampled_from(AfterStop)
word = st.sampled_from(["", "x", "online", "starting", "stop-failed", "move", "lease", "stopped"])
group = st.sampled_from(["failover1", "nosuch"])
resource = st.sampled_from(["fip1", "exec1", "nosuch"])
few = st.lists(server, max_size=2).map(tuple)
term = st.builds(Term, st.integers(0, 4), incarnation)
epoch = st.builds(Epoch, st.integers(0, 4), incarnation, st.integers(0, 5))
echo = st.builds(Echo, incarnation=incarnation, sent_at=instant)
vote = st.builds(Vote, term=term, sent_at=instant, pre=st.booleans())
holding = st.builds(Holding, group=group, seen=epoch, held=st.booleans(), state=word, why=word)
beat = st.builds(
    Beat,
    sender=server,
    to=server,
    incarnation=incarnation,
    seq=st.integers(0, 40),
    sent_at=instant,
    echo=st.none() | echo,
    term=term,
    ask=st.sampled_from(["", "pre", "vote", "x"]),
    ask_term=term,
    vote=st.none() | vote,
    authority=st.booleans(),
    coordinator=server,
    newcomer=st.booleans(),
    ripe=st.booleans(),
    lacks=few,
    counts=st.booleans(),
    left=st.booleans(),
    out=few,
    hears=few,
    holdings=st.lists(holding, max_size=2).map(tuple),
    policy=epoch,
    armed=st.booleans(),
    suspended=st.booleans(),
    stopped=st.booleans(),
    barred=st.booleans(),
    revision=st.integers(0, 3),
)
intent = st.builds(
    Intent,
    group=group,
    wanted=st.booleans(),
    preferred=server,
    avoid=few,
    force=st.booleans(),
    failures=st.integers(0, 3),
    handled=st.integers(0, 5),
    stays=st.booleans(),
)
grant = st.builds(Grant, group=group, epoch=epoch, incarnation=incarnation, sent_at=instant)
order = st.builds(Order, group=group, epoch=epoch, term=term, why=word, factor=word)
shared = st.builds(
    Shared,
    version=epoch,
    suspended=st.booleans(),
    closing=st.booleans(),
    intents=st.lists(intent, max_size=2).map(tuple),
    ratio=st.sampled_from([1, 1, 3]),
    ratio_ms=st.integers(0, 5_000),
    ratio_number=st.integers(0, 2),
)
report = st.builds(
    Report,
    sender=server,
    incarnation=incarnation,
    number=st.integers(0, 9),
    server=st.builds(ServerView, name=server, status=word),
)
request = st.one_of(
    st.builds(r.ServiceStart, server=st.sampled_from(["", "*", "server1", "server2"])),
    st.builds(r.ServiceStop, server=st.sampled_from(["", "*", "server2"]), then=after),
    st.builds(r.Suspend, force=st.booleans()),
    st.just(r.Resume()),
    st.builds(r.StretchTimeouts, ratio=st.integers(1, 3), for_ms=st.integers(0, 5_000)),
    st.builds(r.GroupStart, group=group, server=server, force=st.booleans()),
    st.builds(r.GroupStop, group=group, force=st.booleans()),
    st.builds(r.GroupMove, group=group, to=server, force=st.booleans()),
    st.builds(r.ResourceStart, resource=resource, force=st.booleans()),
    st.builds(r.ResourceStop, resource=resource, force=st.booleans()),
    st.builds(r.MonitorSuspend, monitors=st.just(())),
    st.builds(r.MonitorResume, monitors=st.just(("mrw1",))),
    st.just(r.MonitorClear()),
    st.just(r.MonitorFault()),
    st.just(r.Acknowledge(monitor="mrw1")),
    st.just(r.ExternalNotice(category="BMCNOTICE")),
    st.builds(r.ConfirmDown, down=server, force=st.booleans()),
    st.builds(r.ForceStop, down=server),
)
forward = st.builds(
    Forward, id=st.sampled_from(["a", "b"]), sender=peer, user=st.just("root"), request=request
)
control = st.one_of(grant, order, shared, report, forward)
event = st.one_of(
    st.builds(e.BeatSeen, link=st.sampled_from(["lankhb1", "relay"]), beat=beat),
    st.builds(e.ControlSeen, sender=server, message=control),
    st.builds(e.TimerFired, name=st.sampled_from(["beat", "due", "x"])),
    st.builds(
        e.PowerRead,
        server=server,
        power=st.sampled_from(["on", "off", "unknown"]),
        asked_at=instant,
        session=st.sampled_from(["", "s1", "s2"]),
        session_at=instant,
        echoed=st.booleans(),
    ),
    st.builds(
        e.FenceDone,
        server=server,
        action=st.just("power-off"),
        asked_at=instant,
        sent=st.booleans(),
    ),
    st.builds(e.ArbiterAnswered, name=st.just("etcd1"), held=st.booleans(), asked_at=instant),
    st.builds(
        e.ResourceDone,
        group=group,
        resource=resource,
        op=st.sampled_from(["start", "stop"]),
        epoch=st.integers(0, 5),
        number=st.integers(0, 5),
        ok=st.booleans(),
    ),
    st.builds(e.ScriptDone, token=st.sampled_from(["mrw1:1", "x"]), ok=st.booleans()),
    st.builds(
        e.MonitorResult,
        monitor=st.sampled_from(["genw1", "x"]),
        status=st.sampled_from(["normal", "caution", "error", "x"]),
    ),
    st.builds(
        e.HardwareSeen,
        monitor=st.sampled_from(["mrw1", "x"]),
        key=st.sampled_from(["k1", "k2"]),
        duplicate_key=st.just(""),
        event_class=st.sampled_from(["FATAL", "ERROR", "PREDICT", "INFO", "CLEAR", "x"]),
        meaning=st.just("m"),
        source=st.just("s"),
    ),
    st.builds(e.MessageSeen, category=st.just("BMCNOTICE"), recovered=st.booleans()),
    st.builds(e.WatchdogChanged, armed=st.booleans()),
    st.builds(
        e.RequestSeen, id=st.sampled_from(["r1", "r2"]), user=st.just("root"), request=request
    ),
    st.builds(e.HostActionDone, action=st.just("reboot"), ok=st.booleans()),
    st.just(e.AgentStopping()),
    st.sampled_from(CONFIGS).map(lambda s: e.SettingsChanged(settings=s)),
    st.sampled_from(CONFIGS).map(
        lambda s: e.SettingsChanged(settings=stretched(s, 3), stretch=True)
    ),
)
started = st.builds(
    e.AgentStarted,
    durable=st.none()
    | st.builds(
        Durable,
        term=term,
        vote=server,
        vote_term=term,
        groups=st.just(
            (
                HeldGroup(
                    group="failover1",
                    seen=Epoch(1, "x", 1),
                    held=True,
                    state="online",
                    resources={"fip1": "online", "exec1": "stopping"},
                ),
            )
        ),
        lease_until=instant,
        left=few,
        newcomer=st.booleans(),
        shared=shared,
        waived=st.booleans(),
        ratio_until=instant,
    ),
    member=st.booleans(),
    stopped=st.booleans(),
)
story = st.lists(st.tuples(st.integers(0, 2_000), event), max_size=25)
RELAXED = [HealthCheck.too_slow, HealthCheck.data_too_large]


def tell(
    cfg: Settings, first: e.Event, events: list[tuple[int, e.Event]]
) -> tuple[Node, bytes, list[tuple[int, e.Event]]]:
    """The events to a fresh core, with timers between them; all actions, and what it was told."""
    node = Node(cfg, "server1", "me", 7)
    now = 1_000_000
    told: list[tuple[int, e.Event]] = [(now, first)]
    actions = node.step(first, now)
    for wait, happened in events:
        end = now + wait
        for _ in range(20):
            due = min(node.state.step.timers.items(), key=lambda t: t[1], default=("", end + 1))
            if due[1] > end:
                break
            now = max(now, due[1])
            told.append((now, e.TimerFired(name=due[0])))
            actions += node.step(told[-1][1], now)
        now = end
        told.append((now, happened))
        actions += node.step(happened, now)
        node.view(now + 50)
    return node, encoded(actions), told


@given(st.sampled_from(CONFIGS), started, story)
@bounded(max_examples=120, deadline=None, suppress_health_check=RELAXED)
def test_no_order_of_events_makes_step_raise_and_replay_is_byte_for_byte(
    cfg: Settings, first: e.Event, events: list[tuple[int, e.Event]]
) -> None:
    node, actions, told = tell(cfg, first, events)
    again = Node(cfg, "server1", "me", 7)
    replayed: list[a.Action] = []
    for now, happened in told:
        replayed += again.step(happened, now)
    assert encoded(replayed) == actions
    assert again.snapshot() == node.snapshot()


@given(st.sampled_from(CONFIGS), started, story, st.integers(0, 10))
@bounded(max_examples=80, deadline=None, suppress_health_check=RELAXED)
def test_a_restored_core_goes_on_as_the_one_that_was_saved(
    cfg: Settings, first: e.Event, events: list[tuple[int, e.Event]], cut: int
) -> None:
    node, _, told = tell(cfg, first, events[:cut])
    saved = node.snapshot()
    other = Node.restore(node.settings, saved)
    assert other.snapshot() == saved
    now = told[-1][0]
    for wait, happened in events[cut:]:
        now += wait
        assert encoded(node.step(happened, now)) == encoded(other.step(happened, now))
    assert node.snapshot() == other.snapshot()


@given(st.sampled_from(CONFIGS), started, story)
@bounded(max_examples=60, deadline=None, suppress_health_check=RELAXED)
def test_looking_changes_nothing(
    cfg: Settings, first: e.Event, events: list[tuple[int, e.Event]]
) -> None:
    node, _, told = tell(cfg, first, events)
    before = node.snapshot()
    text = msgspec.json.encode(node.view(told[-1][0] + 5_000))
    assert text
    assert node.snapshot() == before


@given(st.lists(st.tuples(st.integers(0, 300), peer, control), max_size=30))
@bounded(max_examples=120, deadline=None, suppress_health_check=RELAXED)
def test_whatever_peers_say_nothing_starts_without_a_valid_grant(
    said: list[tuple[int, str, Any]],
) -> None:
    """Valid: of the term that this server knows, from its candidate, to this incarnation, fresh."""
    me = Alone(settings(3), durable=Durable(), member=True)
    me.rules("server2", 3)
    me.beat("server3")
    for wait, sender, message in said:
        me.run(wait, lambda: me.rules("server2", 3))
        known = me.node.state.election.term
        seen = me.node.groups.run("failover1").seen
        me.control(sender, message)
        begun = [x for x in me.of(a.RunResource) if x.op == "start"]
        if begun:
            assert isinstance(message, Grant)
            assert sender == "server2"
            assert message.epoch.term == known == Term(3, "server2#1")
            assert message.epoch > seen
            assert message.incarnation == "me"
            assert me.t - 6 * S < message.sent_at <= me.t


@given(st.lists(st.tuples(st.integers(0, 1500), peer, control), max_size=20))
@bounded(max_examples=60, deadline=None, suppress_health_check=RELAXED)
def test_control_messages_alone_neither_elect_nor_extend_a_lease_beyond_H(
    said: list[tuple[int, str, Any]],
) -> None:
    me = Alone(settings(3), durable=Durable(), member=True)
    for wait, sender, message in said:
        me.run(wait)
        me.control(sender, message)
        assert not me.node.authority.in_office()
        assert me.node.state.lease.until <= me.t + 6 * S
