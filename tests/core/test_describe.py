"""Every event, action and control message has its line of text."""

from __future__ import annotations

from typing import get_args

from clptools.core import describe
from clptools.core.model import actions, events, messages
from clptools.core.model.durable import Durable, HeldGroup
from clptools.core.model.messages import Beat, Epoch, Grant, Holding, Term, Vote


def test_no_type_is_without_words() -> None:
    assert set(describe._EVENTS) == set(get_args(events.Event))
    assert set(describe._ACTIONS) == set(get_args(actions.Action))
    assert set(describe._CONTROL) == set(get_args(messages.Control))


def test_times_are_relative_to_the_step() -> None:
    read = events.PowerRead(server="server2", power="off", asked_at=900)
    assert describe.describe_event(read, 1000) == "power-read server2 off asked 0.100s ago"
    timer = actions.SetTimer(name="beat", at=1200)
    assert describe.describe_action(timer, 1000) == "set-timer beat in 0.200s"


def test_a_heartbeat_says_what_the_rules_read() -> None:
    term = Term(3, "server1#1")
    beat = Beat(
        sender="server2",
        to="server1",
        incarnation="server2#1",
        seq=9,
        sent_at=5,
        term=term,
        vote=Vote(term=term, sent_at=4),
        coordinator="server1",
        holdings=(Holding(group="g", seen=Epoch(3, "server1#1", 7), held=True, state="online"),),
    )
    assert describe.describe_beat(beat) == (
        "server2>server1 seq 9 term 3/server1#1 vote 3/server1#1 coordinator server1 "
        "holds g 7@3/server1#1 online"
    )


def test_a_grant_names_group_epoch_and_incarnation() -> None:
    grant = Grant(
        group="g", epoch=Epoch(3, "server1#1", 7), incarnation="server2#1", sent_at=1, previous="x"
    )
    sent = actions.SendControl(to="server2", message=grant)
    text = "send-control to server2 grant g 7@3/server1#1 to server2#1 START after x"
    assert describe.describe_action(sent, 1) == text


def test_state_is_told_without_its_empty_parts() -> None:
    assert describe.describe_durable(None) == "nothing"
    held = HeldGroup(group="g", held=True, state="online")
    durable = Durable(term=Term(1, "a"), groups=(held,), left=("server3",))
    assert describe.describe_durable(durable) == "term 1/a holds g 0 online left server3"
