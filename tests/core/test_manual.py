"""The rules that keep promise 1, sentence by sentence; each docstring quotes `docs/rules.md`."""

from __future__ import annotations

from typing import Any

import pytest

from clptools.core import notices
from clptools.core import phrases as say
from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.durable import Durable, HeldGroup, LedgerFile
from clptools.core.model.messages import (
    Answer,
    Beat,
    Echo,
    Epoch,
    Forward,
    Grant,
    Holding,
    Order,
    Shared,
    Term,
    Vote,
)
from clptools.core.model.requests import (
    ConfirmDown,
    ForceStop,
    GroupMove,
    GroupStop,
    MonitorSuspend,
    Outcome,
    ServiceStop,
)
from clptools.core.model.settings import Arbiter, Group
from clptools.core.model.states import Office
from clptools.core.model.timing import NEVER, drift_ms
from clptools.core.node import Node
from tests.core.alone import Alone
from tests.core.cluster import Cluster, Host, S, names, settings

L, H, D = 3 * S, 6 * S, 160
HELD = (Holding(group="failover1", seen=Epoch(1, "x", 1), held=True, state="online"),)
ETCD = Arbiter(name="etcd1", type="etcd")
REQUIRED = Arbiter(name="etcd1", type="etcd", required=True)


def member(count: int = 3, name: str = "server1", **more: Any) -> Alone:
    """An agent with state of this boot, so no newcomer; it has run for more than `L + d`."""
    started = {"durable": Durable(), "member": True} | {
        k: more.pop(k) for k in ("durable", "member", "at") if k in more
    }
    me = Alone(settings(count, **more), name, **started)
    me.run(L + D + 100)
    return me


def coordinator(count: int = 3, **more: Any) -> Alone:
    """One that the others have elected."""
    me = member(count, **more)
    others = [n for n in me.node.settings.names if n != me.node.me]
    me.run(3 * S, lambda: [me.votes(n) for n in others] and None)
    assert me.node.authority.in_office()
    return me


def others(me: Alone) -> list[str]:
    return [n for n in me.node.settings.names if n != me.node.me]


def grant(me: Alone, **fields: Any) -> Grant:
    """A grant that this server would take, but for `fields`; from server2, coordinator."""
    base: dict[str, Any] = {
        "group": "failover1",
        "epoch": Epoch(9, "server2#1", 4),
        "incarnation": "me",
        "sent_at": me.t - 100,
    }
    made = Grant(**{**base, **fields})
    me.control("server2", made)
    return made


def holds(me: Alone) -> bool:
    run = me.node.state.lifecycle.runs.get("failover1")
    return run is not None and run.held


def led(**more: Any) -> Alone:
    """A server that hears server2 in office, in term 9."""
    me = member(**more)
    me.rules("server2", 9)
    return me


# ---------------------------------------------------------------------- incarnations and terms


def test_answers_carry_the_askers_incarnation_and_send_time() -> None:
    """Answers carry back the asker's incarnation and send time."""
    me = member()
    me.beat("server2", sent_at=777)
    me.run(200)
    assert me.sent["server2"].echo == Echo(incarnation="server2#1", sent_at=777)


def test_answers_to_another_incarnation_renew_nothing() -> None:
    """Answers to another incarnation [...] are dropped."""
    me = led()
    lease = me.node.state.lease.until
    me.run(300)
    me.rules("server2", 9, echo=Echo(incarnation="before", sent_at=me.t))
    assert me.node.state.lease.until == lease


def test_messages_of_one_that_left_are_dropped() -> None:
    """[...] and messages of one that left, are dropped."""
    me = led()
    me.run(10)
    me.run(200)
    me.beat("server2", left=True)
    assert me.node.peers.is_out("server2")
    me.rules("server2", 9)
    assert me.node.peers.is_out("server2")


def test_a_term_names_its_candidate() -> None:
    """A term is (number, candidate's incarnation)."""
    me = coordinator()
    assert me.node.state.election.office_term.candidate == "me"
    assert Term(7, "a") != Term(7, "b")


def test_two_that_do_not_hear_each_other_are_relayed() -> None:
    """Two servers that do not hear each other are relayed by one that hears both."""
    c = Cluster(settings(3))
    here = c.settle()
    stops = len(c.did(a.RunResource))
    c.cut("server1", "server2")
    c.run(60 * S)
    assert c.online() == here
    assert len(c.did(a.RunResource)) == stops
    for name in c.cfg.names:
        assert {s.status for s in c.view(name).servers} <= {"Online", "Caution"}


# ---------------------------------------------------------------------- state


class Watched(Cluster):
    """Checks at every beat that what it says was written before."""

    def _do(self, host: Host, node: Any, action: a.Action) -> None:
        if isinstance(action, a.SendBeat) and action.beat.sender == host.name:
            self._told(host, action.beat)
        super()._do(host, node, action)

    def _told(self, host: Host, beat: Beat) -> None:
        if beat.left:
            assert host.run is None
            assert not host.member
            return
        run = host.run
        assert run is not None
        assert beat.term <= run.term
        if beat.vote is not None and not beat.vote.pre:
            assert beat.vote.term <= run.vote_term
        written = {x.group: x for x in run.groups}
        for said in beat.holdings:
            assert (written[said.group].seen, written[said.group].held) == (said.seen, said.held)
        for name in beat.out:
            reason = host.node.peers.out_reason(name) if host.node else ""
            if reason == "left":
                assert name in run.left
            if reason == "operator":
                assert name in run.confirmed


def test_state_is_written_before_it_is_used_or_told() -> None:
    """Term, vote, holdings, last epoch, [...] who left or was confirmed down live in /run [...],
    written before they are used or told."""
    c = Watched(settings(3))
    c.settle()
    c.power_off(c.coordinator())
    c.run(15 * S)
    name = next(n for n, h in c.hosts.items() if h.node)
    c.answer(name, ServiceStop())
    c.run(10 * S)


def test_every_start_of_a_resource_is_written_first() -> None:
    """[...] written before they are used."""
    c = Cluster(settings(3))
    c.settle()
    seen: dict[str, Durable | None] = {}
    for _, name, action in c.done:
        if isinstance(action, a.Persist):
            seen[name] = action.durable
        if isinstance(action, a.RunResource) and action.op == "start":
            durable = seen[name]
            assert durable is not None
            held = {g.group: g for g in durable.groups}[action.group]
            assert (held.held, held.seen.n) == (True, action.epoch)


def test_an_agent_without_state_says_that_it_holds_until_all_is_stopped() -> None:
    """An agent without state stops every group before it says that it holds none."""
    me = Alone(settings(3))
    assert [r.op for r in me.of(a.RunResource)] == ["stop"]
    me.run(300)
    assert [h.held for h in me.sent["server2"].holdings] == [True]
    me.scripts_end()
    me.run(300)
    assert not any(h.held for h in me.sent["server2"].holdings)


def test_the_member_bit_is_set_when_admitted() -> None:
    """The disk keeps one bit, member: admitted, and has not left."""
    me = Alone(settings(2))
    me.run(300)
    assert not me.of(a.SetMember, last=False)
    me.beat("server2")
    assert [x.member for x in me.of(a.SetMember)] == [True]


# ---------------------------------------------------------------------- out


def test_a_server_is_out_while_its_bmc_read_off_until_B() -> None:
    """A server is out for us while its BMC read off (until B after the newest such read was
    asked)."""
    me = member(startup_wait_ms=20 * S)
    asked = me.t
    me.power("server2", "off", asked)
    assert me.node.peers.is_out("server2")
    me.run(20 * S - 1)
    assert me.node.peers.is_out("server2")
    me.run(1)
    assert not me.node.peers.is_out("server2")


def test_a_later_read_of_off_lasts_longer_and_on_ends_nothing() -> None:
    """[...] (until B after the newest such read was asked)."""
    me = member(startup_wait_ms=20 * S)
    me.power("server2", "off")
    me.run(5 * S)
    me.power("server2", "off")
    me.run(1 * S)
    me.power("server2", "on")
    me.run(18 * S)
    assert me.node.peers.is_out("server2"), "it may be booting"


@pytest.mark.parametrize("heard_after", [False, True])
def test_a_read_counts_only_if_nothing_was_heard_since_it_was_asked(heard_after: bool) -> None:
    """A read, or "left", counts only if nothing was heard of the server since it was asked."""
    me = member()
    me.beat("server2")
    me.run(500)
    asked = me.t
    me.run(100)
    if heard_after:
        me.beat("server2")
    me.power("server2", "off", asked)
    assert me.node.peers.is_out("server2") is not heard_after


def silent(me: Alone, ms: int = 500) -> None:
    """Two beats of server2 are missed, or more."""
    me.run(ms)


def test_an_off_counts_only_if_two_beats_were_missed_when_it_was_asked() -> None:
    """[...] if its server had been silent for two beats when the BMC was asked."""
    me = member()
    me.beat("server2")
    me.run(300)
    asked = me.t
    me.run(5 * S)
    me.power("server2", "off", asked)
    assert not me.node.peers.is_out("server2"), "one beat had been missed then"
    me.power("server2", "off")
    assert me.node.peers.is_out("server2")


def test_an_off_does_not_count_while_the_kernel_answers() -> None:
    """[...] and is silent still: the kernel, too."""
    me = member()
    silent(me)
    me.power("server2", "off", echoed=True)
    assert not me.node.peers.is_out("server2")
    me.power("server2", "off")
    assert me.node.peers.is_out("server2"), "its BMC is no liar for that"


def test_with_the_question_goes_an_echo_once_two_beats_are_missed() -> None:
    """The kernel, too, which an ICMP echo asks together with the question."""
    me = member()
    me.bmc("server2", "on")
    me.run(3 * S, lambda: me.beat("server2") and None)
    me.forget()
    me.run(3 * S, lambda: me.beat("server2") and None)
    asked = [x.echo for x in me.of(a.ReadPower, last=False) if x.server == "server2"]
    assert asked
    assert not any(asked)
    me.forget()
    me.run(2 * S)
    assert any(x.echo for x in me.of(a.ReadPower, last=False) if x.server == "server2")


@pytest.mark.parametrize(("age", "counts"), [(60 * S - 1, False), (60 * S, True)])
def test_in_a_young_session_an_off_does_not_count(age: int, counts: bool) -> None:
    """[...] in a session in which it read on before, or that is 60 s old: a BMC that restarted
    has lost its sessions."""
    me = member()
    me.power("server2", "off", session="s1", session_at=me.t - age)
    assert me.node.peers.is_out("server2") is counts


def test_unless_it_read_on_in_the_same() -> None:
    """[...] in a session in which it read on before."""
    me = member()
    me.power("server2", "on", session="s1", session_at=me.t)
    me.run(1 * S)
    me.power("server2", "off", session="s2", session_at=me.t)
    assert not me.node.peers.is_out("server2"), "another session"
    me.power("server2", "off", session="s1", session_at=me.t)
    assert not me.node.peers.is_out("server2"), "what it read before is forgotten by now"
    me.power("server2", "on", session="s3", session_at=me.t)
    me.run(1 * S)
    me.power("server2", "off", session="s3", session_at=me.t)
    assert me.node.peers.is_out("server2")


@pytest.mark.parametrize(("ago", "counts"), [(10 * S, True), (10 * S + 1, False)])
def test_without_sessions_an_on_stands_for_one_for_ten_seconds(ago: int, counts: bool) -> None:
    """Where the protocol keeps none, within 10 s of an "on": none restarts in less."""
    me = member()
    me.power("server2", "off", session="")
    assert not me.node.peers.is_out("server2")
    me.power("server2", "on", session="")
    me.run(ago)
    me.power("server2", "off", session="")
    assert me.node.peers.is_out("server2") is counts


def liars(me: Alone) -> list[tuple[str, ...]]:
    return [x.ledger.liars for x in me.of(a.KeepLedger, last=False)]


def test_a_bmc_whose_server_answers_what_was_sent_after_the_off_is_no_proof() -> None:
    """It lies if its server answers a heartbeat that was sent after the BMC had answered off;
    then nothing it says is proof until it reads on while its server is heard."""
    me = member()
    me.beat("server2")
    before = me.sent["server2"]
    silent(me)
    me.power("server2", "off")
    me.run(10)
    me.beat("server2", answers=before)
    assert liars(me) == [], "one that was on its way proves nothing"
    me.run(300)
    me.beat("server2")
    assert liars(me) == [("server2",)]
    silent(me)
    me.power("server2", "off")
    assert not me.node.peers.is_out("server2")
    me.power("server2", "on")
    assert me.node.state.peers.known["server2"].bmc.lies, "it is not heard"
    me.beat("server2")
    me.power("server2", "on")
    assert liars(me) == [("server2",), ()]
    silent(me)
    me.power("server2", "off")
    assert me.node.peers.is_out("server2")


def test_a_server_that_booted_since_makes_its_bmc_no_liar() -> None:
    """Not so of one that booted since it was asked."""
    me = member()
    me.beat("server2")
    silent(me, 2 * S)
    me.power("server2", "off")
    me.run(60 * S)
    me.beat("server2", incarnation="server2#2")
    me.run(300)
    me.beat("server2", incarnation="server2#2")
    assert me.node.state.peers.known["server2"].incarnation == "server2#2"
    assert liars(me) == []


def test_who_lied_is_remembered_over_a_boot() -> None:
    """It is kept on disk."""
    me = Alone(settings(3), durable=None, member=True, ledger=LedgerFile(liars=("server2",)))
    me.run(5 * S)
    me.power("server2", "off")
    assert not me.node.peers.is_out("server2")


@pytest.mark.parametrize("answers", [False, True])
def test_a_stranger_that_only_replays_keeps_no_off_from_counting(answers: bool) -> None:
    """Only what is believed, or answers us from after it was heard last, counts as heard."""
    me = member()
    me.beat("server2")
    old = Echo(incarnation="before", sent_at=me.t)
    silent(me, 600)

    def stranger() -> None:
        me.beat("server2", incarnation="server2#0", **({} if answers else {"echo": old}))

    me.run(300, stranger)
    stranger()
    me.power("server2", "off")
    assert me.node.peers.is_out("server2") is not answers


def test_a_late_left_counts_for_nothing() -> None:
    """A read, or "left", counts only if nothing was heard of the server since it was asked."""
    me = member()
    me.beat("server2")
    me.run(200)
    asked = me.sent["server2"]
    me.run(50)
    me.beat("server2")
    me.beat("server2", left=True, answers=asked)
    assert not me.node.peers.is_out("server2")
    me.run(200)
    me.beat("server2", left=True)
    assert me.node.peers.is_out("server2")


def test_left_without_an_answer_to_us_counts_for_nothing() -> None:
    """Answers carry back the asker's incarnation: a replayed "left" is none."""
    me = member()
    for echo in (None, Echo(incarnation="before", sent_at=me.t)):
        me.beat("server2", left=True, echo=echo)
        assert not me.node.peers.is_out("server2")


def confirm(me: Alone, *, force: bool = False) -> None:
    """A person vouches for server2, on this server."""
    request = ConfirmDown(down="server2", force=force)
    me.tell(e.RequestSeen(id="r1", user="anna", request=request))


def outcome(me: Alone) -> Outcome:
    return next(x.outcome for x in me.of(a.Reply, last=False) if x.id == "r1")


def test_confirm_down_names_it() -> None:
    """[...] or confirm-down named it."""
    me = member()
    confirm(me)
    me.power("server2", "unknown", error="no answer")
    assert me.node.peers.out_reason("server2") == "operator"
    assert outcome(me).text == "server2 counts as down until it is heard again."
    (written,) = me.of(a.Persist)
    assert written.durable.confirmed == {"server2": "anna"}


def test_who_is_heard_cannot_be_confirmed_down() -> None:
    """[...] who vouches that it stays off until it is back on the network."""
    me = member()
    me.beat("server2")
    me.tell(e.RequestSeen(id="r1", user="anna", request=ConfirmDown(down="server2")))
    assert me.of(a.Reply)[0].outcome.code == 6
    me.tell(e.RequestSeen(id="r2", user="anna", request=ConfirmDown(down="server1")))
    assert me.of(a.Reply)[0].outcome.code == 6
    me.tell(e.RequestSeen(id="r3", user="anna", request=ConfirmDown(down="nosuch")))
    assert me.of(a.Reply)[0].outcome.code == 5


def test_a_word_against_the_reading_is_refused_with_the_reading() -> None:
    """The word is checked: an operator at night may mean another server."""
    me = member()
    confirm(me)
    me.power("server2", "on")
    assert outcome(me).code == 6
    assert "its BMC read on" in outcome(me).text
    assert outcome(me).hint == "Make it true: clpforcestop server2 --yes"
    assert not me.node.peers.is_out("server2")


def test_it_waits_for_the_answers_and_no_longer() -> None:
    """Every reachable server and the BMC are asked."""
    me = member()
    me.beat("server3")
    confirm(me)
    ((to, asked),) = me.control_of(Forward)
    assert (to, asked.request) == ("server3", ConfirmDown(down="server2", only_look=True))
    me.power("server2", "unknown", error="no answer")
    assert not me.of(a.Reply, last=False)
    me.run(3200)
    assert outcome(me).code == 0


def test_with_force_it_counts_against_a_reading_which_is_recorded() -> None:
    """--force: whatever evidence there is against it."""
    me = member()
    confirm(me, force=True)
    me.power("server2", "on")
    assert outcome(me).code == 0
    assert me.node.peers.out_reason("server2") == "operator"
    assert outcome(me).text == "server2 counts as down until it is heard again."
    (text,) = me.said(notices.safety.ConfirmedDown)
    assert "against what was known (server1: its BMC read on" in text


def test_and_never_against_being_heard() -> None:
    """[...] but never against being heard, here or anywhere."""
    me = member()
    me.beat("server3")
    confirm(me, force=True)
    ((_, asked),) = me.control_of(Forward)
    me.power("server2", "on")
    heard = Outcome(code=6, text="server2 is heard.")
    me.control("server3", Answer(id=asked.id, outcome=heard))
    assert outcome(me).code == 6
    assert "server3: server2 is heard." in outcome(me).text
    assert not me.node.peers.is_out("server2")
    me = member()
    confirm(me, force=True)
    me.beat("server2")
    me.run(300)
    assert outcome(me).code == 6


def test_a_server_that_is_asked_says_what_speaks_against_it_and_does_nothing() -> None:
    """Every reachable server [...] is asked."""
    me = member()
    me.beat("server3")
    me.beat("server2")
    look = ConfirmDown(down="server2", only_look=True)
    said = Forward(id="x", sender="server3", user="anna", request=look, incarnation="me")
    me.control("server3", said)
    ((to, answer),) = me.control_of(Answer)
    assert (to, answer.outcome.code) == ("server3", 6)
    assert answer.outcome.text == "server2 is heard."
    assert not me.node.peers.is_out("server2")


@pytest.mark.parametrize(
    ("age", "heard_ago", "counts"),
    [
        pytest.param(9 * S, 60 * S, True, id="in time"),
        pytest.param(10 * S + 10, 60 * S, False, id="too late"),
        pytest.param(5 * S, 4 * S, False, id="heard since"),
        pytest.param(-1 * S, 60 * S, False, id="not sent yet"),
    ],
)
def test_a_late_word_does_nothing(age: int, heard_ago: int, counts: bool) -> None:
    """It reaches each server with the send time of its own newest beat, and counts there as an
    off read does: only if nothing was heard of the server since."""
    me = member()
    me.beat("server2")
    me.run(heard_ago)
    word = Forward(
        id="x",
        sender="server3",
        user="anna",
        request=ConfirmDown(down="server2"),
        incarnation="me",
        sent_at=me.t - age,
    )
    me.control("server3", word)
    assert me.node.peers.is_out("server2") is counts


def test_a_word_names_the_beat_of_each_server_that_it_goes_to() -> None:
    """[...] with the send time of its own newest beat."""
    me = member()
    me.beat("server3", sent_at=4711)
    confirm(me)
    me.forget()
    me.power("server2", "unknown", error="no answer")
    me.run(3300, lambda: me.beat("server3", sent_at=4712) and None)
    ((to, word),) = me.control_of(Forward)
    assert (to, word.request.only_look, word.sent_at) == ("server3", False, 4712)


@pytest.mark.parametrize("reason", ["power off", "left", "operator"])
def test_hearing_it_ends_all_three(reason: str) -> None:
    """Hearing it ends all three."""
    me = member()
    p = me.node.state.peers.known["server2"]
    if reason == "power off":
        me.power("server2", "off")
    elif reason == "left":
        p.left = True
    else:
        p.confirmed = "anna"
    assert me.node.peers.out_reason("server2") == reason
    me.run(200)
    me.beat("server2", newcomer=True)
    assert not me.node.peers.is_out("server2")


@pytest.mark.parametrize(
    ("fields", "ends"),
    [
        ({"newcomer": True, "lacks": ("server1", "server3")}, False),
        ({"newcomer": True, "ripe": True, "lacks": ("server1", "server3")}, False),
        ({"newcomer": True, "ripe": False, "lacks": ("server1",)}, False),
        ({"newcomer": True, "ripe": True, "lacks": ("server1",)}, True),
        ({"newcomer": True, "ripe": True, "lacks": ()}, True),
        ({"newcomer": False}, True),
    ],
)
def test_for_a_coordinator_hearing_a_newcomer_does_not(fields: dict[str, Any], ends: bool) -> None:
    """[...] for a coordinator, hearing that it is no newcomer, or one that after its first L + d
    lacks nothing but us."""
    me = coordinator(3)
    me.learned("server2", left=True)
    me.votes("server3")
    assert me.node.authority.in_office()
    me.beat("server2", **fields)
    assert me.node.peers.is_out("server2") is not ends


# ---------------------------------------------------------------------- newcomer


def newcomer(count: int = 3, **started: Any) -> Alone:
    me = Alone(settings(count), **started)
    me.scripts_end()
    me.run(L + D + 300)
    assert me.node.state.life.newcomer
    return me


def test_a_newcomer_neither_votes_nor_stands() -> None:
    """An agent that starts without state [...] neither votes, stands nor takes grants."""
    me = newcomer()
    me.rules("server2", 9, counts=False)
    me.rules("server3", 9, counts=False)
    me.run(5 * S)
    assert all(
        b.vote is None and not b.ask for b in (x.beat for x in me.of(a.SendBeat, last=False))
    )
    assert me.node.state.election.office is Office.NONE


def test_a_newcomer_takes_no_grant() -> None:
    """[...] nor takes grants."""
    me = newcomer()
    me.rules("server2", 9, counts=False)
    grant(me)
    assert not holds(me)


def test_until_every_other_server_is_out_or_counts_it() -> None:
    """[...] until every other server is out for it or has answered that it counts it."""
    me = newcomer()
    me.beat("server2", counts=False)
    me.beat("server3")
    assert me.node.peers.lacks() == ("server2",)
    assert me.node.state.life.newcomer
    me.run(500)
    me.power("server2", "off")
    assert not me.node.state.life.newcomer


def test_an_answer_to_another_incarnation_admits_nobody() -> None:
    """[...] has answered that it counts it."""
    me = newcomer(2)
    me.beat("server2", echo=Echo(incarnation="before", sent_at=me.t))
    assert me.node.state.life.newcomer


def test_a_member_is_admitted_by_time_from_B_after_boot() -> None:
    """If its disk says member, also from B + d after boot on."""
    me = Alone(settings(3), at=30 * S, durable=None, member=True)
    me.scripts_end()
    me.run(306_100 - 30 * S - 250)
    assert me.node.state.life.newcomer
    me.run(500)
    assert not me.node.state.life.newcomer


def test_one_that_left_is_never_admitted_by_time() -> None:
    """The disk keeps one bit, member; cleared by leaving [...]; without it no end by time."""
    me = Alone(settings(3), at=30 * S, durable=None, member=False)
    me.scripts_end()
    me.run(900 * S)
    assert me.node.state.life.newcomer


def test_without_bmc_a_member_is_admitted_at_once() -> None:
    """[...] without BMC at once."""
    me = Alone(settings(3, bmc=False), at=30 * S, durable=None, member=True)
    assert not me.node.state.life.newcomer
    me = Alone(settings(3, bmc=False), at=30 * S, durable=None, member=False)
    assert me.node.state.life.newcomer


# ---------------------------------------------------------------------- leaving


def test_leaving_releases_clears_the_bit_deletes_the_state_and_only_then_answers() -> None:
    """Leaving: release all, clear the bit [...], delete the state, answer "left", stop."""
    held = HeldGroup(
        group="failover1",
        seen=Epoch(1, "x", 1),
        held=True,
        state="online",
        resources={"fip1": "online", "exec1": "online"},
    )
    me = member(durable=Durable(groups=(held,), lease_until=2_000_000))
    for name in others(me):
        me.beat(name)
    me.tell(e.AgentStopping())
    assert not me.of(a.SetMember)
    me.scripts_end()
    me.run(300)
    order = [
        x
        for x in me.all
        if isinstance(x, a.SetMember)
        or (isinstance(x, a.Persist) and x.durable is None)
        or (isinstance(x, a.SendBeat) and x.beat.left)
    ]
    assert [type(x) for x in order[:4]] == [a.SetMember, a.Persist, a.SendBeat, a.SendBeat]
    me.run(3 * S)
    assert me.of(a.Exit, last=False)


# ---------------------------------------------------------------------- vote


def ask(me: Alone, sender: str, number: int, kind: str = "vote") -> Vote | None:
    """A candidate asks; the vote it gets at once, or with the next beat."""
    term = Term(number, f"{sender}#1")
    me.beat(sender, ask=kind, ask_term=term, term=term if kind == "vote" else Term(0, ""))
    me.run(200)
    vote = me.sent[sender].vote
    return vote if vote is not None and vote.term == term else None


def test_a_vote_promises_not_to_vote_for_another_for_L_from_the_answer() -> None:
    """Answering a coordinator's heartbeat renews the promise not to vote for another for L from
    the answer."""
    me = member()
    assert ask(me, "server2", 5) is not None
    me.rules("server2", 5)
    answered = me.t
    me.run(L - 300)
    assert ask(me, "server3", 6) is None
    me.run(answered + L - me.t)
    assert ask(me, "server3", 7) is not None


def test_the_promise_is_void_while_that_coordinator_is_out() -> None:
    """[...] void while that coordinator is out."""
    me = member()
    assert ask(me, "server2", 5) is not None
    assert ask(me, "server3", 6) is None
    me.run(500)
    me.power("server2", "off")
    assert ask(me, "server3", 7) is not None


def test_a_vote_is_given_once_a_term() -> None:
    """A term is (number, candidate's incarnation): no two votes in one."""
    me = member()
    assert ask(me, "server2", 5) is not None
    me.run(L)
    assert ask(me, "server3", 4) is None, "below the highest known"
    me.node.state.election.promise_until = 0
    term = Term(5, "server2#1")
    assert me.node.state.election.vote_term == term


@pytest.mark.parametrize(("vote", "given"), [("server2", True), ("server3", False), ("", False)])
def test_an_agent_that_starts_votes_only_for_whom_its_state_names(vote: str, given: bool) -> None:
    """For L + d an agent that starts votes only for the server its state names."""
    state = Durable(term=Term(5, "x"), vote=vote, vote_term=Term(5, "x") if vote else Term(0, ""))
    me = Alone(settings(3), durable=state, member=True)
    assert (ask(me, "server2", 6) is not None) is given
    me.run(L + D)
    assert ask(me, "server2", 7) is not None


def test_it_heartbeats_at_once() -> None:
    """[...] it heartbeats at once."""
    me = Alone(settings(3), durable=Durable(), member=True)
    assert {x.beat.to for x in me.of(a.SendBeat)} == {"server2", "server3"}


# ---------------------------------------------------------------------- coordinator


@pytest.mark.parametrize(
    ("count", "voters", "office"),
    [(2, 1, True), (3, 1, True), (4, 1, False), (4, 2, True), (5, 1, False), (5, 2, True)],
)
def test_a_strict_majority_its_own_vote_included(count: int, voters: int, office: bool) -> None:
    """Strict majority of the electorate, its own vote included."""
    me = member(count)
    give = others(me)[:voters]
    rest = others(me)[voters:]
    me.run(4 * S, lambda: [me.votes(n) for n in give] + [me.beat(n) for n in rest] and None)
    assert me.node.authority.in_office() is office


def test_authority_lasts_until_L_less_d_after_the_send_time_of_what_was_answered() -> None:
    """Authority lasts until L - d after the send time of what that majority answered."""
    me = coordinator()
    me.run(200)
    asked = me.sent["server2"]
    assert asked.ask == "vote"
    me.run(500)
    me.votes("server2", vote=Vote(term=asked.ask_term, sent_at=asked.sent_at))
    until = me.node.authority.until()
    newest = max(p.vote_at for p in me.node.state.peers.known.values())
    assert until == newest + L - D
    assert newest <= me.t - 500, "send time, not when the answer came"


def test_lapsed_authority_ends_the_office() -> None:
    """Lapsed authority ends the office: a new term, nothing carried over."""
    me = coordinator()
    term = me.node.state.election.office_term
    since = me.node.state.election.office_at
    me.run(L)
    assert me.node.state.election.office is not Office.COORDINATOR
    me.run(3 * S, lambda: [me.votes(n) for n in others(me)] and None)
    assert me.node.authority.in_office()
    assert me.node.state.election.office_term > term
    assert me.node.state.election.office_at > since


def test_an_office_that_lapsed_unnoticed_is_not_revived_by_a_late_answer() -> None:
    """Lapsed authority ends the office: a new term, nothing carried over."""
    me = coordinator()
    me.run(400)
    late = me.sent["server2"]
    term = me.node.state.election.office_term
    me.t = max(p.vote_at for p in me.node.state.peers.known.values()) + L - D + 1  # no timer fires
    assert late.sent_at + L - D > me.t
    me.votes("server2", vote=Vote(term=late.ask_term, sent_at=late.sent_at))
    state = me.node.state.election
    assert not (state.office is Office.COORDINATOR and state.office_term == term)


def test_it_asks_for_votes_only_while_it_hears_a_majority() -> None:
    """It asks for votes only while it hears a majority."""
    me = coordinator(5)
    me.run(200, lambda: [me.votes(n) for n in others(me)] and None)
    assert me.sent["server2"].ask == "vote"
    me.run(1500, lambda: me.votes("server2"))
    assert me.node.authority.in_office()
    assert me.sent["server2"].ask == ""


def test_it_stands_again_above_any_higher_term() -> None:
    """[...] and stands again above any higher term."""
    me = coordinator()
    number = me.node.state.election.office_term.number
    me.votes("server2", term=Term(number + 5, "server2#1"))
    assert len(me.said(notices.cluster.HigherTerm)) == 1
    assert me.node.state.election.office is Office.CANDIDATE
    assert me.node.state.election.office_term == Term(number + 6, "me")
    me.run(500, lambda: [me.votes(n) for n in others(me)] and None)
    assert me.node.authority.in_office()


def test_candidates_ask_first_whether_they_would_be_given_the_vote() -> None:
    """Candidates: pre-vote."""
    me = member()
    term = me.node.state.election.term
    me.run(2 * S, lambda: [me.beat(n) for n in others(me)] and None)
    asked = {x.beat.ask for x in me.of(a.SendBeat, last=False)}
    assert asked == {"", "pre"}
    assert me.node.state.election.term == term, "a pre-vote raises no term"


def test_candidates_wait_by_priority() -> None:
    """[...] priority with a growing delay."""

    def first(name: str) -> int:
        me = Alone(settings(3), name, durable=Durable(), member=True)
        me.run(L + D + 400)
        start = me.t
        me.forget()
        me.run(2 * S, lambda: [me.beat(n) for n in others(me)] and None)
        del start
        return next(x.beat.sent_at for x in me.of(a.SendBeat, last=False) if x.beat.ask == "pre")

    times = [first(n) for n in ("server1", "server2", "server3")]
    assert times == sorted(times)
    assert times[0] < times[2]


def test_none_when_all_others_are_out() -> None:
    """[...] none when all others are out."""
    me = member(2)
    me.run(200)
    me.power("server2", "off")
    assert me.node.authority.in_office()


def test_after_a_quarter_of_L_one_gives_up_and_its_promise_to_itself_ends() -> None:
    """[...] after L / 4 one gives up, and its promise to itself ends."""
    me = member()

    def pre() -> None:
        for n in others(me):
            mine = me.sent[n]
            vote = Vote(term=mine.ask_term, sent_at=mine.sent_at, pre=True)
            me.beat(n, vote=vote if mine.ask == "pre" else None)

    me.run(2 * S, pre)
    began = [x.beat.sent_at for x in me.of(a.SendBeat, last=False) if x.beat.ask == "vote"]
    assert began
    me2 = member()
    while me2.node.state.election.office is not Office.CANDIDATE:
        me2.run(10, lambda: None)
        for n in others(me2):
            mine = me2.sent[n]
            if mine.ask == "pre":
                me2.beat(n, vote=Vote(term=mine.ask_term, sent_at=mine.sent_at, pre=True))
            else:
                me2.beat(n)
    stood = me2.t
    me2.run(L // 4 + 10)
    assert me2.t - stood < L
    assert me2.node.state.election.office is not Office.CANDIDATE
    assert me2.node.election.bound_to() == ""


# ---------------------------------------------------------------------- electorate


def test_all_configured_servers_less_those_out_for_L_and_d() -> None:
    """All configured servers, less those out for L + d."""
    me = member(3)
    me.power("server2", "off")
    began = me.t
    me.run(L + D - 50)
    assert me.node.peers.electorate() == ("server1", "server2", "server3")
    me.run(began + L + D - me.t)
    assert me.node.peers.electorate() == ("server1", "server3")


def test_at_once_when_all_others_are_out() -> None:
    """[...] or at once when all others are out."""
    me = member(3)
    me.power("server2", "off")
    me.power("server3", "off")
    assert me.node.peers.electorate() == ("server1",)


@pytest.mark.parametrize(("reached", "office"), [(True, True), (False, False)])
def test_an_arbiter_decides_an_exact_tie(reached: bool, office: bool) -> None:
    """An arbiter, a lease counted from send time, decides an exact tie."""
    c = Cluster(settings(2, bmc=False, arbiter=ETCD))
    c.settle()
    c.cut("server1")
    c.reach_arbiter(*(["server2"] if reached else []))
    c.run(20 * S)
    assert (c.coordinator() == "server2") is office


def test_the_arbiters_lease_counts_from_send_time() -> None:
    """An arbiter, a lease counted from send time."""
    me = member(2, arbiter=ETCD)
    me.run(1 * S, lambda: me.beat("server2") and None)
    asked = me.node.state.election.arbiter_asked_at
    assert asked > 0
    me.tell(e.ArbiterAnswered(name="etcd1", held=True, asked_at=asked))
    assert me.node.state.election.arbiter_at == asked


def test_a_required_arbiter_replaces_the_majority_for_everyone() -> None:
    """With required = true (etcd) it replaces the majority, for everyone."""
    c = Cluster(settings(3, bmc=False, arbiter=REQUIRED))
    c.settle()
    c.cut("server3")
    c.reach_arbiter("server3")
    c.run(30 * S)
    assert c.coordinator() == "server3", "alone, with the arbiter"


def test_without_it_the_votes_of_all_in_the_electorate_do() -> None:
    """[...] else the votes of all in the electorate do."""
    c = Cluster(settings(3, bmc=False, arbiter=REQUIRED))
    c.reach_arbiter()
    c.settle()
    c.cut("server3")
    c.run(20 * S)
    assert c.coordinator() == ""


# ---------------------------------------------------------------------- grant


def test_a_grant_for_this_incarnation_term_and_beat_is_taken() -> None:
    """(group, epoch, incarnation, send time of the heartbeat it answers), from a coordinator."""
    me = led()
    made = grant(me)
    assert holds(me)
    assert me.node.state.lifecycle.runs["failover1"].seen == made.epoch
    assert [r.op for r in me.of(a.RunResource)] == ["start"]


@pytest.mark.parametrize(
    "fields",
    [
        {"incarnation": "before"},
        {"epoch": Epoch(8, "server2#1", 4)},
        {"epoch": Epoch(9, "server3#1", 4)},
        {"epoch": Epoch(10, "server2#1", 4)},
        {"group": "nosuch"},
    ],
    ids=["incarnation", "older term", "other candidate", "newer term", "unknown group"],
)
def test_a_grant_is_refused(fields: dict[str, Any]) -> None:
    """Refused: another incarnation, another term than the highest known [...]."""
    me = led()
    grant(me, **fields)
    assert not any(r.held for r in me.node.state.lifecycle.runs.values())


def test_an_epoch_not_above_the_last_is_refused() -> None:
    """[...] an epoch not above the last."""
    me = led()
    made = grant(me)
    me.scripts_end()
    term = Term(9, "server2#1")
    me.control(
        "server2",
        Order(group="failover1", epoch=made.epoch, term=term, why="move", factor="GROUPMOVE"),
    )
    me.scripts_end()
    assert not holds(me)
    me.control("server2", made)
    grant(me, epoch=made.epoch._replace(n=3))
    assert not holds(me)
    grant(me, epoch=made.epoch._replace(n=5))
    assert holds(me)


@pytest.mark.parametrize(("age", "taken"), [(H - 1, True), (H, False)])
def test_a_grant_dies_H_after_the_send_time_of_the_beat_it_answers(age: int, taken: bool) -> None:
    """[...] or H after that send time."""
    me = led()
    grant(me, sent_at=me.t - age)
    assert holds(me) is taken


def test_a_grant_that_answers_what_was_never_sent_is_refused() -> None:
    """The send time of the heartbeat it answers: of the past."""
    me = led()
    grant(me, sent_at=me.t + 10 * S)
    assert not holds(me)
    assert me.node.state.lease.until <= me.t + H


# ---------------------------------------------------------------------- grant: the proofs


GROUP23 = Group(name="failover1", servers=("server1",))


def granting(count: int = 3, **more: Any) -> Alone:
    """A coordinator that would start failover1 here as soon as all others are cleared."""
    return coordinator(count, groups=(GROUP23,), **more)


def since(me: Alone, server: str = "server2") -> int:
    return me.node.clearance.since("failover1", server)


def proof(me: Alone, server: str = "server2") -> str:
    found = me.node.clearance.cleared("failover1", server)
    return found.proof if found.ok else ""


def test_proof_released() -> None:
    """released: answering a heartbeat sent after `since` (which taught it our term) it holds
    nothing."""
    me = coordinator(groups=(Group(name="failover1", servers=("server3",)),))
    p = me.node.state.peers.known["server2"]
    me.node.state.election.office_at = me.t
    assert proof(me) == ""
    me.run(200)
    me.votes("server2")
    assert p.beat is not None
    assert proof(me) == "released"
    held = Holding(group="failover1", seen=Epoch(1, "x", 1), held=True, state="online")
    me.votes("server2", holdings=(held,))
    assert proof(me) == ""


def test_proof_released_needs_the_last_granted_epoch_or_time() -> None:
    """[...] and has seen the last epoch we granted it, or H + d has passed since that."""
    me = coordinator(groups=(Group(name="failover1", servers=("server2",)),))
    assert me.grants, "server2 was granted it"
    epoch = me.grants[-1][1].epoch
    me.run(400, lambda: [me.votes(n) for n in others(me)] and None)
    assert proof(me) == "", "it answers, holds nothing, but the grant may still arrive"
    seen = Holding(group="failover1", seen=epoch, held=False, state="none", why="start-failed")
    for _ in range(2):
        me.votes("server2", holdings=(seen,))
        me.votes("server3")
        me.run(200)
    me.votes("server2", holdings=(seen,))
    assert proof(me) == "released"


def test_proof_left_power_off_operator_are_being_out() -> None:
    """left: out; power off: out; operator: out."""
    for how in ("left", "power off", "operator"):
        me = coordinator()
        p = me.node.state.peers.known["server2"]
        me.run(400, lambda me=me: me.votes("server3"))  # type: ignore[misc]
        if how == "left":
            p.left = True
        elif how == "operator":
            p.confirmed = "anna"
        else:
            me.power("server2", "off")
        assert proof(me) == how


def test_power_is_asked_as_soon_as_two_heartbeats_are_missed() -> None:
    """power off: asked as soon as two heartbeats are missed."""
    c = Cluster(settings(2))
    assert c.settle() == "server1"
    c.power_off("server1")
    assert c.until(lambda: c.online() == "server2") < 1 * S


def test_proof_lease() -> None:
    """lease: H + self_stop + d after `since` and our last answer to it; it said that its watchdog
    is armed."""
    me = coordinator(bmc=False)
    me.votes("server2", armed=True, holdings=HELD)
    me.run(200)
    answered = me.node.state.peers.known["server2"].answered_at
    assert answered > 0
    clears = max(answered, since(me)) + H + 6 * S + 340
    me.run(clears - me.t - 1, lambda: me.votes("server3"))
    assert proof(me) == ""
    me.run(1)
    assert proof(me) == "lease"


def test_no_lease_proof_without_its_word_that_the_watchdog_is_armed() -> None:
    """[...] it said that its watchdog is armed."""
    me = coordinator(bmc=False)
    me.votes("server2", armed=False, holdings=HELD)
    me.run(60 * S, lambda: me.votes("server3"))
    assert proof(me) == ""


def test_no_lease_proof_for_two_with_bmc_alone() -> None:
    """Two servers with BMC alone need none [no armed lease]."""
    me = member(2)
    assert not me.node.settings.leases_armed
    me.node.state.election.office_at = me.t
    me.beat("server2", armed=True)
    assert me.node.clearance.lease_clears_at(me.node.state.peers.known["server2"], me.t) > 10**12


def test_without_proof_the_group_waits_and_says_for_what() -> None:
    """Without proof the group waits and clpstat says for what."""
    c = Cluster(settings(2))
    assert c.settle() == "server1"
    c.perform("bmc server1 dead")
    c.power_off("server1")
    c.run(60 * S)
    assert c.active() == []
    waiting = c.group(at="server2").waiting_for
    assert waiting is not None
    assert waiting.server == "server1"
    assert waiting.mend == "clpnode confirm-down server1 --yes"
    assert c.answer("server2", ConfirmDown(down="server1")).code == 0
    assert c.settle() == "server2"


def test_takeover_without_proof_buys_the_old_behaviour() -> None:
    """takeover_without_proof = true buys the old behaviour, knowingly."""
    c = Cluster(settings(3, bmc=False, watchdog=False, takeover_without_proof=True))
    assert c.settle() == "server1"
    c.power_off("server1")
    assert c.until(lambda: c.online() not in ("", "server1")) < 8 * S
    c = Cluster(settings(3, bmc=False, watchdog=False))
    assert c.settle() == "server1"
    c.power_off("server1")
    c.run(60 * S)
    assert c.active() == []


# ---------------------------------------------------------------------- lease of the holder


def holder(**more: Any) -> Alone:
    me = led(**more)
    grant(me)
    me.scripts_end()
    me.tell(e.WatchdogChanged(armed=True, method="softdog"))
    me.run(200)
    me.rules("server2", 9)
    return me


def test_until_H_after_the_send_time_of_the_newest_beat_that_was_answered_with_authority() -> None:
    """Until H after the send time of its newest heartbeat that a coordinator with authority
    answered."""
    me = holder()
    answered = me.sent["server2"].sent_at
    assert me.node.state.lease.until == answered + H
    me.run(1 * S)
    me.beat("server2", term=Term(9, "server2#1"))
    assert me.node.state.lease.until == answered + H, "without authority it renews nothing"


def test_an_answer_to_a_beat_of_the_future_renews_nothing() -> None:
    """[...] the send time of its newest heartbeat."""
    me = holder()
    me.rules("server2", 9, echo=Echo(incarnation="me", sent_at=me.t + 100 * S))
    assert me.node.state.lease.until <= me.t + H


def test_past_it_self_stop_seconds_to_stop() -> None:
    """Past it: self_stop seconds to stop."""
    me = holder()
    until = me.node.state.lease.until
    me.forget()
    me.run(until - me.t - 1)
    assert not me.of(a.RunResource, last=False)
    me.run(5)
    (stop,) = me.of(a.RunResource, last=False)
    assert (stop.op, stop.forced) == ("stop", True)


def test_the_watchdog_is_petted_only_while_the_lease_runs_or_nothing_is_held() -> None:
    """The watchdog is petted only while the lease runs or nothing is held."""
    me = holder()
    until = me.node.state.lease.until
    me.run(until - me.t + 300)
    petted = len(me.of(a.PetWatchdog, last=False))
    me.run(2 * S)
    assert len(me.of(a.PetWatchdog, last=False)) == petted, "the stop is still under way"
    me.scripts_end()
    me.run(500)
    assert len(me.of(a.PetWatchdog, last=False)) > petted, "nothing is held any more"


def test_a_watchdog_that_could_not_be_armed_is_said_once_and_tried_again() -> None:
    """As a BMC that was busy; until then its lease proves nothing."""
    me = member()
    me.tell(e.WatchdogChanged(armed=False, method="ipmi", text="userw (ipmi): no answer"))
    assert me.said(notices.safety.WatchdogNotArmed) == ["userw (ipmi): no answer"]
    me.forget()
    me.run(6 * S)
    assert len(me.of(a.ArmWatchdog, last=False)) == 1
    me.tell(e.WatchdogChanged(armed=False, method="ipmi", text="userw (ipmi): no answer"))
    assert not me.said(notices.safety.WatchdogNotArmed)
    me.run(6 * S)
    me.tell(e.WatchdogChanged(armed=True, method="ipmi"))
    me.forget()
    me.run(120 * S)
    assert not me.of(a.ArmWatchdog, last=False)


def test_arming_again_waits_while_the_lease_is_over_and_something_is_held() -> None:
    """[...] petted only while the lease runs or nothing is held: arming is feeding, too."""
    me = holder()
    me.tell(e.WatchdogChanged(armed=False, method="ipmi", text="userw (ipmi): no answer"))
    until = me.node.state.lease.until
    me.run(until - me.t + 300)
    me.forget()
    me.run(70 * S)
    assert not me.of(a.ArmWatchdog, last=False)


@pytest.mark.parametrize("left_ms", [S, 0])
def test_a_restarted_agent_opens_no_watchdog_once_its_lease_is_over(left_ms: int) -> None:
    """Opening a device feeds it: that needs the lease as feeding does."""
    held = HeldGroup(
        group="failover1",
        seen=Epoch(1, "x", 1),
        held=True,
        state="online",
        resources={"fip1": "online", "exec1": "online"},
    )
    durable = Durable(groups=(held,), lease_until=1_000_000 + left_ms)
    me = Alone(settings(3), durable=durable, member=True)
    me.run(900)
    assert len(me.of(a.ArmWatchdog, last=False)) == (1 if left_ms else 0)
    assert bool(me.of(a.PetWatchdog, last=False)) is bool(left_ms)
    me.run(2 * S)
    me.scripts_end()
    assert not holds(me)
    me.run(300)
    assert len(me.of(a.ArmWatchdog, last=False)) == 1


def test_its_timeout_is_below_half_of_self_stop() -> None:
    """[...] its timeout is below self_stop / 2."""
    me = member()
    (arm,) = me.of(a.ArmWatchdog, last=False)
    assert 2 * arm.timeout_ms < 6 * S


@pytest.mark.parametrize(
    ("count", "arbiter", "binds"), [(2, None, False), (2, ETCD, True), (3, None, True)]
)
def test_armed_with_three_or_more_servers_or_with_an_arbiter(
    count: int, arbiter: Arbiter | None, binds: bool
) -> None:
    """Armed with three or more servers, or with an arbiter."""
    me = led(count=count, arbiter=arbiter)
    grant(me)
    me.scripts_end()
    me.forget()
    me.run(60 * S)
    assert bool(me.of(a.RunResource, last=False)) is binds


def test_losing_the_coordinator_stops_nothing() -> None:
    """H exceeds L by an election, so losing the coordinator stops nothing."""
    only = Group(name="failover1", servers=("server2", "server3"))
    c = Cluster(settings(5, bmc=False, groups=(only,)))
    assert c.settle() == "server2"
    assert c.coordinator() == "server1"
    before = len(c.did(a.RunResource))
    c.power_off("server1")
    c.run(40 * S)
    assert c.online() == "server2"
    assert len(c.did(a.RunResource)) == before


# ---------------------------------------------------------------------- fencing manners


def lost(me: Alone, server: str, *heard: str) -> None:
    """`server` falls silent for longer than the time-out, and its BMC reads on; the others go
    on."""
    me.bmc(server, "on")
    me.run(4 * S, lambda: [me.votes(n) for n in heard] and None)
    assert me.node.state.peers.known[server].lost


ELSEWHERE = Group(name="failover1", servers=("server2", "server3"))


def fences(me: Alone) -> list[str]:
    return [x.server for x in me.of(a.Fence, last=False)]


def ordered(me: Alone, *, sent: bool = True, error: str = "", **more: bool) -> None:
    """What became of the newest order."""
    order = me.of(a.Fence, last=False)[-1]
    done = e.FenceDone(
        server=order.server, action=order.action, asked_at=me.t, sent=sent, error=error, **more
    )
    me.tell(done)


def striking(**more: Any) -> Alone:
    """A coordinator of three that has just given an order to stop server2."""
    me = coordinator(forced_stop="power-off", **more)
    me.votes("server2", holdings=HELD)
    lost(me, "server2", "server3")
    assert fences(me) == ["server2"]
    return me


def test_a_coordinator_that_hears_a_majority_fences() -> None:
    """Only a coordinator that hears a majority fences."""
    me = striking()
    (order,) = me.of(a.Fence, last=False)
    assert (order.action, order.within_ms) == ("power-off", 500)


def test_a_minority_does_not() -> None:
    """Only a coordinator that hears a majority fences, or an exact half."""
    me = coordinator(5, forced_stop="power-off")
    for name in others(me):
        me.votes(name, holdings=HELD if name == "server2" else ())
    lost(me, "server2", "server3")
    assert fences(me) == []


def test_a_follower_does_not() -> None:
    """Only a coordinator [...]."""
    me = led(forced_stop="power-off")
    me.beat("server3", holdings=HELD)
    me.run(5 * S, lambda: me.rules("server2", 9))
    assert fences(me) == []


@pytest.mark.parametrize("holding", [True, False])
def test_an_exact_half_the_holder_at_once_the_other_later(holding: bool) -> None:
    """[...] or an exact half: place 0 is the holder of the first configured group; place by place
    takes its turn of fence_delay."""
    me = half(holding)
    heard = me.t
    me.run(3 * S + 300)
    assert fences(me) == (["server2"] if holding else [])
    me.run(heard + 8 * S - me.t)
    assert fences(me) == (["server2"] if holding else [])
    me.run(500)
    assert fences(me) == ["server2"]


def half(holding: bool) -> Alone:
    """One of two that has just heard the other for the last time."""
    me = led(count=2, forced_stop="power-off")
    me.bmc("server2", "on")
    if holding:
        grant(me)
        me.scripts_end()
        me.rules("server2", 9)
    else:
        me.rules("server2", 9, holdings=HELD)
    return me


@pytest.mark.parametrize(
    ("answers_s", "ordered_s"),
    [
        pytest.param(6.0, 8.0, id="before its turn"),
        pytest.param(7.2, 8.2, id="within the first fifth"),
        pytest.param(8.4, 23.0, id="later than that: when the turn comes round"),
    ],
)
def test_an_order_leaves_in_the_first_fifth_of_the_own_turn(
    answers_s: float, ordered_s: float
) -> None:
    """[...] and an order leaves only in the first fifth of it, so that its victim is off before
    the next one begins."""
    me = half(False)
    me.bmc("server2", "unknown")
    p = me.node.state.peers.known["server2"]
    heard = min(p.heard_at, p.echoed_at)
    me.run(heard + int(answers_s * S) - me.t)
    me.bmc("server2", "on")
    me.run(heard + int(ordered_s * S) - 10 - me.t)
    assert fences(me) == []
    me.run(1100)
    assert fences(me) == ["server2"]


def test_turns_count_from_the_peers_instant_or_a_step_after_it() -> None:
    """[...] and from no later than a step after the instant from which the peer counts them."""
    me = half(False)
    p = me.node.state.peers.known["server2"]
    me.run(10 * S)
    begins, step = p.turns_at, me.node.revision.turns_step_ms()
    me.beat("server2", sent_at=20 * S, turns_ms=10 * S)
    assert p.turns_at == max(begins, me.t - 10 * S + step) < min(p.heard_at, p.echoed_at)
    # A beat of an earlier version says nothing: the own last exchange counts.
    me.beat("server2", sent_at=20 * S + 1)
    assert p.turns_at == min(p.heard_at, p.echoed_at)
    # What comes next cannot set it back.
    me.beat("server2", sent_at=20 * S + 2, turns_ms=20 * S)
    assert p.turns_at == min(p.heard_at, p.echoed_at)


def test_a_beat_that_waited_says_from_when_turns_count_as_of_its_sending() -> None:
    """What it waited for is its travel time beyond that of the fastest before it."""
    me = half(False)
    p = me.node.state.peers.known["server2"]
    me.beat("server2", sent_at=20 * S, turns_ms=2 * S)
    at, sent_at = p.turns_at, 20 * S
    me.run(9 * S)  # sent after 4 s, it waited for 5 s
    me.beat("server2", sent_at=sent_at + 4 * S, turns_ms=6 * S)
    drift = drift_ms(9 * S)
    assert at <= p.turns_at <= at + me.node.revision.turns_step_ms() + drift


def test_our_beats_say_from_when_we_count_turns() -> None:
    me = half(False)
    p = me.node.state.peers.known["server2"]
    me.run(1 * S)
    sent = me.sent["server2"]
    assert sent.sent_at - sent.turns_ms == p.turns_at


def places(c: Cluster) -> list[int | None]:
    """The places of all servers that run, each as it sees itself."""
    nodes = [h.node for h in c.hosts.values() if h.node is not None]
    return [n.fencing._place(r, n.placement.stake()) for n in nodes for r in n.revision.turns()]


@pytest.mark.parametrize("count", [2, 4])
def test_no_two_have_the_same_place(count: int) -> None:
    """Place 0 is the holder of the first configured group; all others follow by name."""
    second = Group(name="failover2", servers=names(count)[::-1])
    first = Group(name="failover1", servers=names(count))
    c = Cluster(settings(count, groups=(first, second)))

    def apart() -> bool:
        found = places(c)
        assert len(set(found)) == len(found), found
        return False

    def watch(ms: int) -> None:
        with pytest.raises(AssertionError, match="not within"):
            c.until(apart, ms)

    watch(8 * S)
    assert places(c)[0] == 0
    for to in ("server2", "server1"):
        c.ask("server1", GroupMove(group="failover1", to=to))
        watch(3 * S)
    assert places(c)[0] == 0
    c.cut("server1")
    watch(10 * S)


def test_what_we_granted_is_the_grantees() -> None:
    """[...] the holder of the first configured group: one that we granted is that one's."""
    me = coordinator(2, groups=(Group(name="failover1", servers=("server2",)),))
    assert me.grants
    me.node.groups.run("failover1").held = True
    assert me.node.fencing._place(me.node.settings.in_force, me.node.placement.stake()) == 1


@pytest.mark.parametrize(
    ("last_beat", "goes_on", "after_s"),
    [
        pytest.param(0, False, 3, id="stopped with the others"),
        pytest.param(0, True, 8, id="goes on: cables were cut"),
        pytest.param(-30 * S, False, 8, id="had stopped long before"),
    ],
)
def test_a_half_fences_at_once_what_no_longer_beats_in_its_bmc(
    last_beat: int, goes_on: bool, after_s: int
) -> None:
    """Silent on the interconnects and, at the same time, in its own BMC: it stands still, and
    shoots at nobody.  One behind cut cables would go on beating there, and may."""
    me = led(count=2, forced_stop="power-off")
    fell_silent = me.t + max(0, -last_beat)
    while me.t < fell_silent:
        me.power("server2", "on", beat="7")
        me.run(S, lambda: me.rules("server2", 9, holdings=HELD))
    me.rules("server2", 9, holdings=HELD)
    heard = me.t
    for second in range(9):
        me.power("server2", "on", beat=str(second if goes_on else 7))
        me.run(S)
        if me.t - heard < after_s * S:
            assert fences(me) == [], f"{second + 1} s after it was last heard"
    assert fences(me) == ["server2"]


def test_a_beat_in_the_bmc_that_cannot_be_read_says_nothing() -> None:
    """A BMC that tells its power and not its timer: the server may well go on."""
    me = led(count=2, forced_stop="power-off")
    me.power("server2", "on", beat="7")
    me.rules("server2", 9, holdings=HELD)
    me.run(7 * S, lambda: me.power("server2", "on"))
    assert fences(me) == []


def test_one_that_stood_still_listens_before_it_fences() -> None:
    """A paused machine wakes up having heard nobody: the silence was its own."""
    me = half(True)
    me.t += 3500
    me.tell(e.TimerFired(name="beat"))
    assert me.node.state.peers.known["server2"].lost
    assert fences(me) == []
    restored = Node.restore(me.node.settings, me.node.snapshot())
    assert restored.context.woke_at == me.node.context.woke_at
    me.rules("server2", 10)
    me.run(1 * S, lambda: me.rules("server2", 10))
    assert fences(me) == []
    me.t += 3500
    me.tell(e.TimerFired(name="beat"))
    me.run(600)
    assert fences(me) == []
    me.run(20 * S)
    assert fences(me)[:1] == ["server2"]


def test_not_without_contact_since_boot() -> None:
    """Not: without contact since boot."""
    me = member(2, forced_stop="power-off")
    me.run(60 * S)
    assert fences(me) == []


def test_not_one_that_is_out() -> None:
    """Not: [...] one that is out (so not one that boots)."""
    me = coordinator(forced_stop="power-off")
    me.votes("server2", holdings=HELD)
    me.run(1 * S, lambda: me.votes("server3"))
    me.power("server2", "off")
    lost(me, "server2", "server3")
    assert fences(me) == []


def test_not_one_whose_bmc_has_not_answered_for_a_second() -> None:
    """[...] and its BMC has answered for a second without a gap."""
    me = coordinator(forced_stop="power-off")
    me.votes("server2", holdings=HELD)
    me.bmc("server2", "unknown")

    def goes_on() -> None:
        me.votes("server3")

    me.run(6 * S, goes_on)
    assert fences(me) == [], "it does not answer at all"
    me.bmc("server2", "on")
    me.run(900, goes_on)
    assert fences(me) == []
    me.power("server2", "unknown", error="no answer")
    me.bmc("server2", "on")
    me.run(900, goes_on)
    assert fences(me) == [], "there was a gap"
    me.run(600, goes_on)
    assert fences(me) == ["server2"]


def test_not_one_whose_bmc_reads_off() -> None:
    """What the BMC answers to an order is no evidence: one that believes off does nothing."""
    me = coordinator(forced_stop="power-off")
    me.votes("server2", holdings=HELD)

    def blind() -> None:
        me.votes("server3")
        me.power("server2", "off", session="new", session_at=me.t)

    me.run(8 * S, blind)
    assert not me.node.peers.is_out("server2")
    assert fences(me) == []


@pytest.mark.parametrize(("count", "again"), [(2, []), (3, ["power-on"])])
def test_with_two_servers_power_off_not_reset(count: int, again: list[str]) -> None:
    """With two servers: power off, not reset.  A reset begins as power off, read back."""
    me = coordinator(count, forced_stop="reset")
    me.votes("server2", holdings=HELD)
    me.bmc("server2", "on")
    me.run(9 * S, lambda: me.votes("server3") if count == 3 else None)
    assert [x.action for x in me.of(a.Fence, last=False)] == ["power-off"]
    ordered(me)
    assert len(fences(me)) == 1
    me.bmc("server2", "off")
    assert [x.action for x in me.of(a.Fence, last=False)] == ["power-off", *again]


@pytest.mark.parametrize("sent", [False, True])
def test_an_accepted_order_proves_nothing_and_off_does(sent: bool) -> None:
    """What the BMC answers to an order is no evidence; off reads are."""
    me = striking()
    ordered(me, sent=sent, error="" if sent else "no answer")
    assert [x.server for x in me.of(a.ReadPower)] == ["server2"], "it is asked at once"
    assert proof(me) == ""
    me.power("server2", "off", session="other", session_at=me.t)
    assert proof(me) == "", "a BMC that restarted believes so"
    me.power("server2", "off")
    assert proof(me) == "power off"
    done, not_needed = notices.safety.ForcedStopDone, notices.safety.ForcedStopNotNeeded
    assert [len(me.said(kind)) for kind in (done, not_needed)] == [sent, not sent]


def test_a_forced_stop_is_called_off_when_its_server_is_heard() -> None:
    """Each [order] only while the reasons for it hold: the server is not heard."""
    me = striking()
    me.votes("server2", holdings=HELD)
    ordered(me, sent=False, error="it could not be sent in time")
    assert len(me.said(notices.safety.ForcedStopCalledOff)) == 1
    assert not me.said(notices.safety.ForcedStopFailed)
    assert me.node.state.peers.known["server2"].fence.since == NEVER
    me.run(2900, lambda: me.votes("server3"))
    assert fences(me) == ["server2"]


def answering(me: Alone, **known: Any) -> int:
    """How many orders the BMC gets in 20 s that answers each of them so."""
    for _ in range(200):
        if me.node.peers["server2"].fence.ordered_at != NEVER:
            ordered(me, **known)
        me.run(100, lambda: me.votes("server3"))
    return len(fences(me))


@pytest.mark.parametrize("known", [{"sent": True}, {"sent": False, "left": True, "error": "?"}])
def test_retries_are_counted(known: dict[str, Any]) -> None:
    """One order after another: as many again as `retries` says, of those it may have accepted."""
    me = striking()
    assert answering(me, **known) == 1 + me.node.settings.forced_stop.retries


def test_a_busy_bmc_costs_no_try() -> None:
    """Neither does an order that did not leave; it is given again after half a second."""
    me = striking()
    assert answering(me, sent=False, error="BMC busy (0xc0)") > 25


def test_what_the_bmc_would_refuse_each_time_fails_at_once() -> None:
    me = striking()
    ordered(me, sent=False, refused=True, error="account lacks the privilege (0xd4)")
    assert any(r.event_id == 433 for r in me.of(a.Record, last=False))
    assert len(fences(me)) == 1


def unwell(me: Alone) -> list[tuple[str, str]]:
    """What server1 says is not well on it, and the mends."""
    (own,) = [server for server in me.node.view(me.t).servers if server.local]
    return [(one.text, one.mend) for one in own.conditions]


def test_a_bmc_that_a_person_must_mend_is_told_once_and_its_end_too() -> None:
    me = striking()
    me.bmcs.clear()  # this test answers for them

    def said(power: str, **more: str) -> list[str]:
        for _ in range(12):
            me.tell(e.PowerRead(server="server2", power=power, asked_at=me.t, **more))
            me.run(1000)
        return me.said(notices.cluster.BmcRefuses, notices.cluster.BmcAnswers)

    assert said("unknown", error="no answer") == []
    told = "server1 cannot ask the BMC of server2: Incorrect password. Set it."
    assert said("unknown", error="Incorrect password", mend="Set it.") == [told]
    assert unwell(me) == [("the BMC of server2 cannot be asked: Incorrect password", "Set it.")]
    assert said("on") == [told, "server1 can ask the BMC of server2 again."]
    assert unwell(me) == []


def test_an_account_that_may_not_stop_a_server_is_told_once_and_its_end_too() -> None:
    me = striking()
    me.bmcs.clear()  # this test answers for them

    def said(**more: str) -> list[str]:
        for _ in range(3):
            me.tell(e.PowerRead(server="server2", power="on", asked_at=me.t, **more))
            me.run(1000)
        return me.said(notices.cluster.BmcLacks, notices.cluster.BmcSuffices)

    told = [
        "server1 can read the BMC of server2, and cannot stop server2 by it: clp is USER. Raise it."
    ]
    assert said() == []
    assert said(lacks="clp is USER", mend="Raise it.") == told
    (bmc,) = [s.bmc for s in me.node.view(me.t).servers if s.name == "server2"]
    assert bmc is not None
    assert (bmc.lacks, bmc.mend, bmc.error) == ("clp is USER", "Raise it.", "")
    assert unwell(me) == [("the BMC of server2 cannot stop server2: clp is USER", "Raise it.")]
    assert said() == [*told, "server1 may switch the power of server2 by its BMC now."]
    assert unwell(me) == []


def test_an_account_that_may_only_read_is_enough_where_nothing_is_stopped() -> None:
    me = coordinator(forced_stop="none", watchdog=False)
    me.tell(e.PowerRead(server="server2", power="on", asked_at=me.t, lacks="USER", mend="x"))
    me.run(1000)
    assert me.said(notices.cluster.BmcLacks) == []


def test_a_lack_of_privilege_after_an_accepted_order_is_a_power_change() -> None:
    me = striking()
    ordered(me)
    me.run(3300, lambda: me.votes("server3"))
    ordered(me, sent=False, refused=True, error="account lacks the privilege (0xd4)")
    assert not any(r.event_id == 433 for r in me.of(a.Record, last=False))


def test_a_bmc_that_accepted_has_three_seconds_to_carry_it_out() -> None:
    """How long a BMC that accepted an order has [...] before it gets another one."""
    me = striking()
    ordered(me)
    me.run(2800, lambda: me.votes("server3"))
    assert len(fences(me)) == 1
    me.run(500, lambda: me.votes("server3"))
    assert len(fences(me)) == 2


def test_one_that_still_reads_on_at_the_time_out_has_failed() -> None:
    """Time-out: failed, again later."""
    me = striking()
    began = me.node.state.peers.known["server2"].fence.since
    me.run(began + 30 * S - 10 - me.t, lambda: me.votes("server3"))
    assert not me.said(notices.safety.ForcedStopFailed)
    me.run(300, lambda: me.votes("server3"))
    (text,) = me.said(notices.safety.ForcedStopFailed)
    assert "still on after 30" in text
    before = len(fences(me))
    me.run(9 * S, lambda: me.votes("server3"))
    assert len(fences(me)) == before
    me.run(2 * S, lambda: me.votes("server3"))
    assert len(fences(me)) == before + 1


def test_failure_holds_the_failover() -> None:
    """Failure holds the failover (rc 433)."""
    me = coordinator(forced_stop="power-off", watchdog=False, groups=(ELSEWHERE,))
    epoch = me.grants[-1][1].epoch
    me.votes(
        "server2", holdings=(Holding(group="failover1", seen=epoch, held=True, state="online"),)
    )
    lost(me, "server2", "server3")

    def refuses() -> None:
        me.votes("server3")
        if me.node.state.peers.known["server2"].fence.ordered_at != NEVER:
            ordered(me, sent=False, error="no answer")

    me.run(31 * S, refuses)
    assert me.said(notices.safety.ForcedStopFailed)
    assert proof(me) == ""
    waiting = next(g for g in me.node.view(me.t).groups if g.name == "failover1").waiting_for
    assert waiting is not None
    assert "no answer" in waiting.proofs["forced stop"]


def waiting_for_fence(me: Alone) -> str:
    waiting = next(g for g in me.node.view(me.t).groups if g.name == "failover1").waiting_for
    assert waiting is not None
    return waiting.proofs["forced stop"]


def test_a_forced_stop_of_before_says_nothing_of_the_next_silence() -> None:
    """It was stopped, came back, and is silent again with a BMC that nobody reaches."""
    me = coordinator(forced_stop="power-off", watchdog=False, groups=(ELSEWHERE,))
    epoch = me.grants[-1][1].epoch
    held = (Holding(group="failover1", seen=epoch, held=True, state="online"),)
    me.votes("server2", holdings=held)
    fence = me.node.peers["server2"].fence
    fence.text, fence.retry_at = say.fence_done, me.t + 60 * S
    me.power("server2", "unknown", error="no answer")
    me.run(4 * S, lambda: me.votes("server3"))
    assert me.node.peers["server2"].lost
    assert waiting_for_fence(me).startswith("to come: "), "so `clpstat` does not give up"
    fence.retry_at = 0
    me.run(S, lambda: me.votes("server3"))
    assert waiting_for_fence(me) == say.fence_under_way


def test_a_beat_heard_while_it_was_fenced_keeps_it_in() -> None:
    """A read counts only if nothing was heard of the server since it was asked."""
    me = striking()
    ordered(me)
    asked = me.t
    me.run(100)
    me.beat("server2", holdings=HELD)
    me.power("server2", "off", asked)
    assert not me.node.peers.is_out("server2")


def test_clpforcestop_stops_one_that_is_heard_and_ends_when_it_reads_off() -> None:
    """A person wants it off, heard or not."""
    c = Cluster(settings(3))
    assert c.settle() == "server1"
    number = c.ask("server2", ForceStop(down="server1"))
    c.run(400)
    assert number not in c.outcomes
    c.until(lambda: number in c.outcomes, 10 * S)
    assert c.outcomes[number].code == 0
    assert not c.hosts["server1"].powered
    assert c.settle() in ("server2", "server3")


def test_clpforcestop_strands_no_group() -> None:
    """What could start nowhere else is stopped first."""
    c = Cluster(settings(2, groups=(Group(name="failover1", servers=("server1",)),)))
    c.run(20 * S)
    answer = c.answer("server2", ForceStop(down="server1"))
    assert (answer.code, answer.hint) == (6, "Stop it first: clpgrp -t failover1")
    assert c.answer("server2", ForceStop(down="server2")).code == 6


# ---------------------------------------------------------------------- policy


NEWER = Epoch(99, "server3#1", 7)


def knows_more(me: Alone) -> None:
    """Both others vote, and server3 knows a newer policy."""
    me.votes("server2")
    me.votes("server3", policy=NEWER)


def test_who_knows_of_a_newer_policy_places_nothing_until_it_has_it() -> None:
    """Whoever hears a newer policy version than its own neither places nor fences until it has
    it."""
    me = member(groups=(ELSEWHERE,))
    me.run(3 * S, lambda: knows_more(me))
    assert me.node.authority.in_office()
    assert me.grants == []
    waiting = next(g for g in me.node.view(me.t).groups if g.name == "failover1").waiting_for
    assert waiting is not None
    assert waiting.text == "waits for the newest policy, which server3 knows"
    me.control("server3", Shared(version=NEWER))
    me.run(300, lambda: [me.votes(n) for n in others(me)] and None)
    assert me.grants


def test_and_fences_nobody() -> None:
    """[...] neither places nor fences."""
    me = coordinator(forced_stop="power-off")
    me.votes("server2", holdings=HELD)
    me.bmc("server2", "on")
    me.run(6 * S, lambda: me.votes("server3", policy=NEWER))
    assert fences(me) == []
    me.control("server3", Shared(version=NEWER))
    me.run(600, lambda: me.votes("server3", policy=NEWER))
    assert fences(me) == ["server2"]


def test_one_that_named_it_and_is_gone_holds_nothing_up() -> None:
    """[...] or until all that named it are out."""
    me = member(groups=(ELSEWHERE,))
    me.run(3 * S, lambda: knows_more(me))
    me.run(600, lambda: me.votes("server2"))
    assert me.grants == []
    me.power("server3", "off")
    me.run(600, lambda: me.votes("server2"))
    assert me.grants


def test_a_forced_stop_is_done_when_the_bmc_reads_off_not_when_a_person_vouched() -> None:
    """[...] it powers off by the BMC, and waits for an off read that counts."""
    c = Cluster(settings(2, forced_stop="power-off"))
    assert c.settle() == "server1"
    c.perform("bmc server2 dead")
    c.run(3 * S)
    c.kill("server2")
    c.run(5 * S)
    assert c.answer("server1", ConfirmDown(down="server2")).code == 0
    outcome = c.answer("server1", ForceStop(down="server2"))
    assert outcome.code == 1
    assert "was not stopped" in outcome.text


def test_what_waited_in_an_agent_that_stood_still_is_refused_and_told() -> None:
    """A person's request that waited for 10 s is refused: nobody means it any more."""
    c = Cluster(settings(2, forced_stop="power-off"))
    assert c.settle() == "server1"
    c.run(30 * S)
    old = c.now("server2") - 11 * S
    for request in (
        ForceStop(down="server1"),
        ConfirmDown(down="server1"),
        GroupMove(group="failover1", to="server2"),
        GroupStop(group="failover1"),
        MonitorSuspend(),
        ServiceStop(server="*"),
    ):
        outcome = c.answer("server2", request, asked_at=old)
        assert outcome.code == 6
        assert "asked by root 11.0 s ago" in outcome.text
        assert c.said(notices.requests.AskedLate)[-1] == outcome.text
    assert "group-stop" in " ".join(c.said(notices.requests.AskedLate))
    c.run(5 * S)
    assert c.online() == "server1"
    just = c.now("server2") - 9 * S
    assert c.answer("server2", GroupMove(group="failover1", to="server2"), asked_at=just).code == 0
    assert c.online() == "server2"
