"""DRBD lost its peer: what is proven of the peer's copy, and that an old copy is not used."""

from __future__ import annotations

import pytest

from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.durable import LedgerFile
from clptools.core.model.messages import Answer, Forward
from clptools.core.model.requests import Outcome, OutdateCopy, Request
from clptools.core.model.words import CopyFate
from tests.core.alone import Alone
from tests.core.cluster import Cluster, S, settings
from tests.core.test_manual import grant, holds, led

ASKED = OutdateCopy(resource="exec1", peer="server2", current=True)


def cluster(count: int = 2) -> Cluster:
    c = Cluster(settings(count))
    assert c.settle() == "server1"
    return c


def behind(c: Cluster, name: str) -> dict[str, str]:
    return dict(c.hosts[name].disk.ledger.behind)


def asked_by(me: Alone, sender: str, request: Request) -> None:
    me.control(
        sender, Forward(id="f1", sender=sender, user="root", request=request, incarnation="me")
    )


def answers(me: Alone) -> list[Outcome]:
    return [
        x.message.outcome for x in me.of(a.SendControl, last=False) if isinstance(x.message, Answer)
    ]


def outcomes(me: Alone) -> list[tuple[int, str]]:
    return [(x.outcome.code, x.outcome.fate) for x in me.of(a.Reply, last=False)]


def test_the_peer_notes_on_its_disk_that_its_copy_is_behind_and_is_told_first() -> None:
    c = cluster()
    done = c.answer("server1", ASKED)
    assert (done.code, done.fate) == (0, CopyFate.OUTDATED)
    assert behind(c, "server2") == {"exec1": "server1"}
    assert behind(c, "server1") == {}
    refused = c.answer("server2", OutdateCopy(resource="exec1", peer="server1", current=True))
    assert (refused.code, refused.fate) == (6, CopyFate.UNKNOWN)
    assert c.answer("server2", OutdateCopy(resource="exec1", in_sync=True)).code == 0
    assert behind(c, "server2") == {}


def test_a_server_with_an_old_copy_takes_no_grant_of_a_coordinator_that_does_not_know() -> None:
    me = led()
    me.node.durable.restore(LedgerFile(behind={"exec1": "server2"}))
    grant(me)
    assert not holds(me)
    me.tell(e.RequestSeen(id="1", user="root", request=OutdateCopy(resource="exec1", in_sync=True)))
    assert outcomes(me) == [], "the disk has not taken it"
    me.tell(e.CopiesKept())
    assert outcomes(me) == [(0, CopyFate.UNKNOWN)]
    grant(me)
    assert holds(me)


def test_a_peer_that_runs_the_group_says_so() -> None:
    me = led()
    grant(me)
    assert holds(me)
    asked = OutdateCopy(resource="exec1", peer="server1", current=True)
    asked_by(me, "server2", asked)
    answer = answers(me)[-1]
    assert (answer.code, answer.fate) == (6, CopyFate.PRIMARY)
    assert me.node.state.mirrors.behind == {}


def test_nothing_is_answered_before_the_disk_has_it_and_a_disk_that_fails_is_told() -> None:
    me = led()
    asked_by(me, "server2", OutdateCopy(resource="exec1", peer="server1", current=True))
    kept = me.of(a.KeepLedger)[-1]
    assert kept.ledger.behind == {"exec1": "server2"}
    assert answers(me) == []
    me.tell(e.CopiesKept(fault="No space left on device"))
    assert [(x.code, x.fate) for x in answers(me)] == [(1, CopyFate.UNKNOWN)]
    grant(me)
    assert holds(me), "nobody was told that the copy will not be used"


def test_an_off_read_from_before_does_not_count() -> None:
    """Its DRBD may have met ours since, while no heartbeat came through."""
    me = led()
    grant(me)
    me.scripts_end()
    me.run(4 * S)
    me.power("server3", "off")
    assert me.node.peers.is_out("server3")
    me.run(100)
    asked = OutdateCopy(resource="exec1", peer="server3", current=True)
    me.tell(e.RequestSeen(id="1", user="root", request=asked))
    me.run(S)
    assert holds(me) and outcomes(me) == []
    me.power("server3", "off")
    assert outcomes(me) == [(0, CopyFate.OFF)]


@pytest.mark.parametrize(
    "request_",
    [
        OutdateCopy(resource="exec1", peer="server2"),
        OutdateCopy(resource="exec1", peer="server1", current=True),
        OutdateCopy(resource="nothing", peer="server2", current=True),
        OutdateCopy(resource="exec1", current=True),
    ],
)
def test_what_is_refused(request_: Request) -> None:
    c = cluster()
    assert c.answer("server1", request_).code in (5, 6)
    assert behind(c, "server2") == {}


def test_without_proof_it_ends_in_time_and_says_why() -> None:
    c = Cluster(settings(2, bmc=False))
    assert c.settle() == "server1"
    c.power_off("server2")
    asked = OutdateCopy(resource="exec1", peer="server2", current=True, lasts_ms=3 * S)
    done = c.answer("server1", asked, within_ms=10 * S)
    assert (done.code, done.fate) == (7, CopyFate.UNKNOWN)
    assert "confirm-down server2" in done.hint
