"""Holdings that do not fit into a beat: sizes, pages that get lost, and what proof makes of it."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from clptools.core.cluster.holdings import MAX_LINES, newest_complete_beat, says_unproven
from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.cluster_state import PeerHoldings
from clptools.core.model.datagram import MAX_BYTES, PACKED, PLAIN, datagram_bytes, form
from clptools.core.model.group_state import GroupRun
from clptools.core.model.messages import Beat, Echo, Epoch, Holding, Line, Term, Vote
from clptools.core.model.settings import Bmc, Cluster, Server, Settings
from clptools.core.model.states import Contact, GroupState
from clptools.core.node import Node
from clptools.core.notices.cluster import PagesAgain, PagesMissing
from tests.core.alone import Alone
from tests.core.cluster import S, settings

LONG = 63
"""The longest name that a configuration may give."""
INCARNATION = "0123456789abcdef"
EPOCH = Epoch(1, INCARNATION, 1)


def run_of(n: int, *, held: bool = True) -> GroupRun:
    state = GroupState.ONLINE if held else GroupState.NONE
    return GroupRun(held=held, seen=Epoch(3, INCARNATION, n), state=state)


def large(servers: int, groups: int, name_bytes: int = LONG) -> Node:
    """A coordinator of so many servers, that hears and lacks them all, and holds all groups."""
    names = [f"{i:02d}".ljust(name_bytes, "s") for i in range(servers)]
    made = Settings(
        cluster=Cluster(),
        servers=tuple(Server(name=n, bmc=Bmc(address="192.0.2.1")) for n in names),
    )
    node = Node(made, names[0], INCARNATION, 1)
    node.context.now = 10**9
    state = node.state
    state.life.newcomer = True
    state.election.term = Term(10**6, INCARNATION)
    state.policy.shared = msgspec.structs.replace(
        state.policy.shared, version=Epoch(10**6, INCARNATION, 10**6)
    )
    for i in range(groups):
        state.lifecycle.runs[f"{i:03d}".ljust(name_bytes, "g")] = run_of(10**6)
    for p in state.peers.known.values():
        p.contact = Contact.BELIEVED
        p.incarnation = INCARNATION
        p.echo = Echo(incarnation=INCARNATION, sent_at=node.now)
        p.given = Vote(term=state.election.term, sent_at=node.now, pre=True)
        p.heard_at = p.direct_at = node.now
        p.off_asked_at = node.now
    return node


def sent(node: Node, to: list[str] | None = None) -> list[Beat]:
    """What goes out in one interval."""
    node.context.actions = []
    node.heartbeats.send_to(to or list(node.peers), node.own_status.word())
    found = [x.beat for x in node.context.actions if isinstance(x, a.SendBeat)]
    node.context.actions = []
    return found


@pytest.mark.parametrize("name_bytes", [8, LONG])
@pytest.mark.parametrize("groups", [0, 1, 40, 200])
@pytest.mark.parametrize("servers", [2, 8, 32])
def test_whatever_the_cluster_every_datagram_fits(
    servers: int, groups: int, name_bytes: int
) -> None:
    node = large(servers, groups, name_bytes)
    beats = sent(node)
    assert max(map(datagram_bytes, beats)) <= MAX_BYTES
    for name in node.state.peers.known:
        lines = [x for b in beats if b.to == name for x in b.page]
        whole = [b for b in beats if b.to == name and len(b.holdings) == groups and not b.listed]
        assert whole or len(lines) == groups
    node.context.now += 1
    assert not [b for b in sent(node) if b.page], "and not again within the interval"


def test_a_small_cluster_says_all_in_one_beat_that_every_version_reads() -> None:
    beats = sent(large(2, 5, 9))
    assert [(form(b), len(b.holdings)) for b in beats] == [(PLAIN, 5)]


def test_an_earlier_version_gets_all_in_one_beat_however_long() -> None:
    node = large(3, 200)
    old, new = node.state.peers.known
    node.state.peers.known[old].reads_lists = False
    beats = sent(node)
    assert [(form(b), len(b.holdings)) for b in beats if b.to == old] == [(PLAIN, 200)]
    assert {form(b) for b in beats if b.to == new} == {PACKED}
    assert not any(b.holdings for b in beats if b.to == new)


def test_over_an_earlier_version_goes_only_what_it_can_pass_on() -> None:
    node = large(3, 200)
    other, to = node.state.peers.known
    node.state.peers.known[to].direct_at = 0
    node.state.peers.known[other].beat = Beat(
        sender=other, to=node.me, incarnation=INCARNATION, seq=1, sent_at=1, hears=(to,)
    )

    def over() -> list[Beat]:
        node.context.actions = []
        node.heartbeats.send_to([to], node.own_status.word())
        return [x.beat for x in node.context.actions if isinstance(x, a.SendBeat) and x.via]

    assert {form(b) for b in over()} == {PACKED}
    node.state.peers.known[other].reads_lists = False
    assert [(form(b), len(b.holdings)) for b in over()] == [(PLAIN, 200)]


def test_a_changed_line_goes_at_once_and_alone_and_all_again_until_confirmed() -> None:
    node = large(2, 40)
    (to,) = node.state.peers.known
    number = sent(node)[0].listed
    node.context.now += 1
    next(iter(node.state.lifecycle.runs.values())).seen = Epoch(4, INCARNATION, 1)
    listed, page = sent(node)
    assert (listed.listed, len(page.page)) == (number + 1, 1)
    node.context.now += node.times.interval_ms
    assert sum(len(b.page) for b in sent(node)) == 40, "nothing of it was confirmed"
    node.state.peers.known[to].holdings.has = number
    node.context.now += node.times.interval_ms
    assert sum(len(b.page) for b in sent(node)) == 1
    node.state.peers.known[to].holdings.has = number + 1
    node.context.now += node.times.interval_ms
    assert len(sent(node)) == 1


def test_a_path_that_carries_no_page_is_not_filled_with_them() -> None:
    node = large(2, 200)
    (p,) = node.state.peers.known.values()
    pages = 0
    for _ in range(5 * 60):
        node.context.now += node.times.interval_ms
        p.heard_at = p.direct_at = node.now
        pages += sum(1 for b in sent(node) if b.page)
    assert pages / 60 < 20, "a second"


# ------------------------------------------------------------------ the receiver


class Pair:
    """server1 tells server2; the test is the network between them."""

    def __init__(self, groups: int = 3) -> None:
        cfg = settings(2)
        self.one = Node(cfg, "server1", "one", 1)
        self.two = Node(cfg, "server2", "two", 1)
        self.one.holdings.fits = lambda beat: False  # type: ignore[method-assign]
        self.groups = [f"g{n}" for n in range(groups)]
        self.wire: list[Beat] = []
        """All that server1 ever sent: what is not delivered yet, and what may be replayed."""
        self.true: dict[int, dict[str, Holding]] = {}
        """Number of a beat -> what server1 said of groups when it sent that."""
        for node, other in ((self.one, "server2"), (self.two, "server1")):
            node.context.now = 10 * S
            p = node.state.peers.known[other]
            p.contact = Contact.BELIEVED
            p.incarnation = "two" if other == "server2" else "one"

    def change(self, group: str, n: int, held: bool) -> None:
        self.one.state.lifecycle.runs[group] = run_of(n, held=held)

    def tell(self) -> list[Beat]:
        """server1's interval."""
        self.one.context.now += 200
        p = self.one.state.peers.known["server2"]
        p.heard_at = p.direct_at = self.one.now
        beats = sent(self.one)
        self.true[beats[0].seq] = {h.group: h for h in self.one.own_status.word().holdings}
        self.wire += beats
        return beats

    def arrives(self, beat: Beat) -> None:
        self.two.context.now += 1
        self.two.membership.hear(e.BeatSeen(link="lankhb1", beat=beat), in_office=lambda: False)

    def answer(self) -> None:
        """server2's interval, which arrives."""
        self.two.context.now += 200
        (beat,) = sent(self.two)
        self.one.membership.hear(e.BeatSeen(link="lankhb1", beat=beat), in_office=lambda: False)

    @property
    def known(self) -> PeerHoldings:
        return self.two.state.peers.known["server1"].holdings

    def check(self) -> None:
        """What server2 takes for whole is what was so when that very beat was sent."""
        beat = newest_complete_beat(self.two.state.peers.known["server1"])
        if beat is not None:
            assert {h.group: h for h in beat.holdings} == self.true[beat.seq]
            assert beat.echo == next(b for b in self.wire if b.seq == beat.seq).echo


def test_fuzz_lost_late_doubled_and_replayed_pages_never_make_another_list() -> None:
    for seed in range(300):
        chance = random.Random(seed)
        pair = Pair()
        for n in range(1, 80):
            what = chance.random()
            if what < 0.25:
                pair.change(chance.choice(pair.groups), n, held=chance.random() < 0.5)
            elif what < 0.3:
                pair.one.state.lifecycle.runs.pop(chance.choice(pair.groups), None)
            elif what < 0.5:
                for beat in pair.tell():
                    if chance.random() < 0.4:
                        pair.arrives(beat)
            elif what < 0.6:
                pair.answer()
            elif pair.wire:
                pair.arrives(chance.choice(pair.wire[-6:] if what < 0.9 else pair.wire))
            pair.check()
        for _ in range(12):
            for beat in pair.tell():
                pair.arrives(beat)
            pair.answer()
            pair.check()
        newest = newest_complete_beat(pair.two.state.peers.known["server1"])
        assert newest is not None
        assert newest.seq == max(pair.true), "on a path that works the list gets whole"


def test_a_line_that_is_newer_than_the_beat_does_not_stand_in_for_one_that_is_older() -> None:
    """Their numbers have the sum that the beat names, and they are not what it speaks of."""
    pair = Pair()

    def line(group: str, number: int) -> Line:
        return Line(number=number, holding=Holding(group=group, seen=EPOCH, held=True, state=""))

    def whole(*lines: Line, **beat: int) -> bool:
        known = PeerHoldings(
            lines={x.holding.group: x for x in lines},
            top=max(x.number for x in lines),
            total=sum(x.number for x in lines),
        )
        named: dict[str, int] = {"listed": 7, "count": 3, "total": 16, **beat}
        return pair.two.holdings.is_whole(
            known, Beat(sender="", to="", incarnation="", seq=1, sent_at=1, **named)
        )

    assert whole(line("a", 3), line("b", 7), line("c", 6))
    assert not whole(line("a", 8), line("b", 2), line("c", 6))
    assert not whole(line("a", 3), line("b", 2), line("c", 6))
    assert not whole(line("b", 7), line("c", 6), total=13)


def test_each_page_may_be_the_one_that_is_lost() -> None:
    pair = Pair(groups=200)
    for group in pair.groups:
        pair.change(group, 1, held=True)
    beats = pair.tell()
    assert len(beats) > 4
    for lost in range(1, len(beats)):
        other = Pair(groups=200)
        other.wire, other.true = pair.wire, pair.true
        for beat in beats[:lost] + beats[lost + 1 :]:
            other.arrives(beat)
        assert newest_complete_beat(other.two.state.peers.known["server1"]) is None
        other.arrives(beats[lost])
        other.check()
        assert newest_complete_beat(other.two.state.peers.known["server1"]) is not None


def test_hostile_pages_take_bounded_memory_and_end_nothing() -> None:
    """Whoever has the key may say anything: all that comes of it is a list that is never whole."""
    pair = Pair()
    pair.change("g0", 1, held=True)
    for beat in pair.tell():
        pair.arrives(beat)
    chance = random.Random(1)
    for n in range(3 * MAX_LINES // 20):
        lines = tuple(
            Line(
                number=chance.choice([-1, 0, 1, 2**62, chance.randrange(2**63)]),
                holding=Holding(group=f"x{20 * n + i}", seen=Epoch(1, "", 1), held=True, state=""),
            )
            for i in range(20)
        )
        page = Beat(sender="server1", to="server2", incarnation="one", seq=5, sent_at=1, page=lines)
        pair.arrives(page)
    assert len(pair.known.lines) <= MAX_LINES
    seen = pair.known.told
    giant = msgspec.structs.replace(pair.tell()[0], count=2**63, total=2**63, listed=2**63)
    pair.arrives(giant)
    assert pair.known.told is seen
    stranger = msgspec.structs.replace(page, incarnation="other")
    pair.known.lines.clear()
    pair.arrives(stranger)
    assert pair.known.lines == {}
    pair.arrives(msgspec.structs.replace(page, sender="server9"))


# ------------------------------------------------------------------ proof


def coordinator() -> Alone:
    """server1 rules; server2 held failover1 and said so in a list."""
    me = Alone(settings(2, bmc=False))
    me.run(200)
    me.beat("server2", counts=True)
    for _ in range(30):
        me.run(200)
        me.votes("server2", holdings=(HELD,), lists=True)
        if me.node.authority.in_office():
            break
    assert me.node.authority.in_office()
    return me


HELD = Holding(group="failover1", seen=Epoch(0, "server2#1", 1), held=True, state="online")
FREE = msgspec.structs.replace(HELD, held=False, state="none", why="stopped")


def page(me: Alone, *lines: Line) -> None:
    me.beat("server2", page=lines)


def test_a_release_is_proven_by_a_whole_list_alone() -> None:
    me = coordinator()
    peer = me.node.state.peers.known["server2"]

    def proven() -> bool:
        since = me.node.clearance.since("failover1", "server2")
        return me.node.clearance._released(peer, "failover1", "server2", since)

    me.run(200)
    me.votes("server2", lists=True, listed=2, count=1, total=2)
    assert not proven(), "heard, and what it holds is not known"
    page(me, Line(number=2, holding=HELD))
    assert not proven(), "it holds it"
    me.run(200)
    me.votes("server2", lists=True, listed=3, count=1, total=3)
    assert not proven(), "the page of the release is lost"
    page(me, Line(number=3, holding=FREE))
    assert proven()


def test_a_newer_echo_does_not_make_an_older_list_newer() -> None:
    me = coordinator()
    peer = me.node.state.peers.known["server2"]
    me.run(200)
    me.votes("server2", lists=True, listed=2, count=1, total=2)
    page(me, Line(number=2, holding=FREE))
    whole = newest_complete_beat(peer)
    assert whole is not None
    assert whole.echo is not None
    since = whole.echo.sent_at
    released = me.node.clearance._released
    assert released(peer, "failover1", "server2", since - 1)
    me.run(200)
    me.votes("server2", lists=True, listed=3, count=1, total=3)
    assert peer.beat is not None
    assert peer.beat.echo is not None
    assert peer.beat.echo.sent_at > since, "the echo of a beat whose list is not here"
    assert not released(peer, "failover1", "server2", since)


def test_another_incarnation_begins_anew() -> None:
    me = coordinator()
    peer = me.node.state.peers.known["server2"]
    me.votes("server2", lists=True, listed=2, count=1, total=2)
    page(me, Line(number=2, holding=FREE))
    assert newest_complete_beat(peer) is not None
    me.run(3 * S)
    for _ in range(3):
        me.run(200)
        me.beat("server2", incarnation="server2#2", listed=2, count=1, total=2, lists=True)
    assert peer.incarnation == "server2#2"
    assert newest_complete_beat(peer) is None
    assert says_unproven(peer, "failover1"), "who knows not what it says takes the worst for it"


# ------------------------------------------------------------------ newest_complete_beat


def test_small_heard_and_large_not_is_told_once_and_again_when_it_is_over() -> None:
    me = coordinator()
    listed: dict[str, Any] = {"lists": True, "listed": 2, "count": 1, "total": 2}
    for _ in range(30):
        me.run(200)
        me.votes("server2", **listed)
    (text,) = me.said(PagesMissing)
    assert text.startswith("server2 is heard over lankhb1, but its larger datagrams")
    assert "MTU?" in text
    assert not me.said(PagesAgain)
    page(me, Line(number=2, holding=FREE))
    assert me.said(PagesAgain) == ["The larger datagrams of server2 arrive again."]


def test_a_page_that_is_late_by_an_interval_is_not_told() -> None:
    me = coordinator()
    for n in range(2, 40):
        me.run(200)
        me.votes("server2", lists=True, listed=n, count=1, total=n)
        if n % 2:
            page(me, Line(number=n, holding=HELD))
    assert not me.said(PagesMissing)
