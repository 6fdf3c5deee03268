"""A single core among scripted peers: its peers' heartbeats and messages are written by the test.

For rules that turn on one word of one message; where servers are to play together, `cluster.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.messages import Beat, Control, Echo, Grant, Shared, Term, Vote
from clptools.core.model.settings import Settings
from clptools.core.notices.form import Kinds, Notice
from tests.core.cluster import S, Watched


class Alone:
    """One real core; its peers say what the test writes.  What must survive is always written."""

    def __init__(
        self, cfg: Settings, name: str = "server1", *, at: int = 1_000_000, **started: Any
    ) -> None:
        self.node = Watched(cfg, name, "me", 1)
        self.t = at
        self.seq = 0
        self.sent: dict[str, Beat] = {}
        """Newest beat sent to each peer."""
        self.all: list[a.Action] = []
        self.last: list[a.Action] = []
        self._ended = 0
        self.bmcs: dict[str, str] = {}
        """Server -> what its BMC answers to every question, at once; absent: nothing."""
        started.setdefault("durable", None)
        started.setdefault("member", False)
        self.tell(e.AgentStarted(**started))

    def said(self, *kinds: type[Notice]) -> list[str]:
        """Texts of all notices of these kinds."""
        return [r.text for r in self.of(a.Record, last=False) if r in Kinds(*kinds)]

    def tell(self, event: e.Event) -> list[a.Action]:
        """One event now."""
        self.last = self.node.step(event, self.t)
        self.all += self.last
        for action in self.last:
            if isinstance(action, a.SendBeat) and not action.via:
                self.sent[action.beat.to] = action.beat
        self._bmcs_answer()
        return self.last

    def run(self, ms: int, each: Callable[[], None] = lambda: None) -> None:
        """Lets so much time pass, timers firing; `each` is done before every one of them."""
        end = self.t + ms
        while True:
            timers = self.node.state.step.timers
            due = min(timers.items(), key=lambda item: item[1], default=("", end + 1))
            if due[1] > end:
                break
            self.t = max(self.t, due[1])
            each()
            if self.node.state.step.timers.get(due[0]) == due[1]:
                self.tell(e.TimerFired(name=due[0]))
        self.t = self.node.context.now = end

    def bmc(self, server: str, power: str) -> None:
        """From here on its BMC answers this to every question, and to what is asked already."""
        self.bmcs[server] = power
        self.power(server, power)

    def _bmcs_answer(self) -> None:
        first, self.last = self.last, []
        for read in first:
            if isinstance(read, a.ReadPower) and read.server in self.bmcs:
                self.power(read.server, self.bmcs[read.server])
                first += self.last
        self.last = first

    def beat(self, sender: str, *, answers: Beat | None = None, **fields: Any) -> Beat:
        """A beat of a peer; it answers our newest one to it unless told what else."""
        self.seq += 1
        mine = answers if answers is not None else self.sent.get(sender)
        echo = Echo(incarnation=mine.incarnation, sent_at=mine.sent_at) if mine else None
        base: dict[str, Any] = {
            "sender": sender,
            "to": self.node.me,
            "incarnation": f"{sender}#1",
            "seq": self.seq,
            "sent_at": self.seq,
            "echo": echo,
            "revision": self.node.settings.revision,
            "voters": self.node.settings.voters,
        }
        beat = Beat(**{**base, **fields})
        self.tell(e.BeatSeen(link="lankhb1", beat=beat))
        return beat

    def votes(self, sender: str, **fields: Any) -> None:
        """A peer that gives us whatever we ask for."""
        mine = self.sent.get(sender)
        vote = None
        if mine is not None and mine.ask:
            vote = Vote(term=mine.ask_term, sent_at=mine.sent_at, pre=mine.ask == "pre")
        term = self.node.state.election.term
        self.beat(sender, **{"vote": vote, "term": term, **fields})

    def rules(self, sender: str, number: int = 1, **fields: Any) -> None:
        """A peer that is coordinator, with authority."""
        term = Term(number, f"{sender}#1")
        self.beat(
            sender,
            **{
                "term": term,
                "authority": True,
                "coordinator": sender,
                "ask": "vote",
                "ask_term": term,
                **fields,
            },
        )

    def control(self, sender: str, message: Control) -> list[a.Action]:
        """A control message of a peer."""
        return self.tell(e.ControlSeen(sender=sender, message=message))

    def power(self, server: str, power: str, asked_at: int | None = None, **fields: Any) -> None:
        """Its BMC answers, in a session old enough to be believed unless told what else."""
        asked = self.t if asked_at is None else asked_at
        session = {"session": "s1", "session_at": asked - 60 * S} | fields
        self.tell(e.PowerRead(server=server, power=power, asked_at=asked, **session))

    def scripts_end(self, *, ok: bool = True) -> None:
        """Every start and stop that is under way ends, and what follows from it too."""
        while True:
            begun = [x for x in self.all[self._ended :] if isinstance(x, a.RunResource)]
            self._ended = len(self.all)
            if not begun:
                return
            for x in begun:
                self.tell(
                    e.ResourceDone(
                        group=x.group,
                        resource=x.resource,
                        op=x.op,
                        epoch=x.epoch,
                        number=x.number,
                        ok=ok,
                    )
                )

    def learned(self, server: str, **marks: Any) -> None:
        """What is known of a peer, as it had been learned and written before."""
        for name, value in marks.items():
            setattr(self.node.state.peers.known[server], name, value)
        self.node.durable.due()

    def forget(self) -> None:
        """From here on `all` begins anew."""
        self.all, self._ended = [], 0

    def of(self, kind: type[Any], *, last: bool = True) -> list[Any]:
        """Actions of one kind: of the last step, or of all."""
        return [x for x in (self.last if last else self.all) if isinstance(x, kind)]

    def control_of(self, kind: type[Any]) -> list[Any]:
        """Control messages of one kind that were ever sent, each with its receiver."""
        return [
            (x.to, x.message)
            for x in self.all
            if isinstance(x, a.SendControl) and isinstance(x.message, kind)
        ]

    @property
    def grants(self) -> list[tuple[str, Grant]]:
        """Every grant ever sent."""
        return self.control_of(Grant)

    @property
    def policies(self) -> list[tuple[str, Shared]]:
        """Every policy ever sent."""
        return self.control_of(Shared)


def encoded(actions: list[a.Action]) -> bytes:
    """Actions as bytes, to compare two runs."""
    return msgspec.msgpack.encode(actions)
