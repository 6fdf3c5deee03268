"""A node that only beats: enough to watch the world itself."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.messages import Beat
from clptools.core.model.settings import Settings


class Stub:
    """Beats every 200 ms, remembers what it saw, and does what `orders` says once, at start."""

    orders: tuple[a.Action, ...] = ()

    def __init__(self, settings: Settings, server: str, incarnation: str, seed: int) -> None:
        self.settings, self.me, self.incarnation = settings, server, incarnation
        self.seen: list[tuple[int, e.Event]] = []
        self.seq = 0
        self.state = SimpleNamespace(
            election=SimpleNamespace(office="none", told=""),
            lifecycle=SimpleNamespace(runs={}),
            monitors={},
            peers=SimpleNamespace(known={}),
            ledger=SimpleNamespace(events={}),
            life=SimpleNamespace(newcomer=False),
            ratio=SimpleNamespace(ratio=1),
            policy=SimpleNamespace(shared=SimpleNamespace(suspended=False)),
        )
        self.peers = SimpleNamespace(
            is_out=lambda name: False, is_online=lambda name: True, ripe=lambda: True
        )

    def step(self, event: e.Event, now: int) -> list[a.Action]:
        self.seen.append((now, event))
        out: list[a.Action] = []
        if type(event) is e.AgentStarted:
            out += self.orders
        if type(event) in (e.AgentStarted, e.TimerFired):
            for name in self.settings.names:
                if name != self.me:
                    self.seq += 1
                    beat = Beat(
                        sender=self.me,
                        to=name,
                        incarnation=self.incarnation,
                        seq=self.seq,
                        sent_at=now,
                    )
                    out.append(a.SendBeat(beat=beat))
            out.append(a.SetTimer(name="beat", at=now + 200))
        return out

    def heard(self, sender: str) -> int:
        """How many heartbeats of that server arrived."""
        return sum(1 for _, x in self.seen if type(x) is e.BeatSeen and x.beat.sender == sender)

    def snapshot(self) -> bytes:
        return b""

    @classmethod
    def restore(cls, settings: Settings, data: bytes) -> Any:
        raise NotImplementedError
