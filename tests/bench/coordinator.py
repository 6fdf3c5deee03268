"""What a coordinator's core costs in a large cluster: 32 servers, 64 groups, 200 monitors."""

from __future__ import annotations

import time
from heapq import heappop, heappush

import msgspec

from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.messages import (
    NO_EPOCH,
    NO_TERM,
    Beat,
    Control,
    Echo,
    Epoch,
    Grant,
    Holding,
    Report,
    Shared,
    Vote,
)
from clptools.core.model.settings import Monitor, Recovery, Settings
from clptools.core.model.words import Ask, PowerState, RecoveryStep
from clptools.core.node import Node
from clptools.sim.clusters import sample
from tests.bench.report import Row, Section

SERVERS, GROUPS, MONITORS = 32, 64, 200
WINDOW_S = 20
ROUNDS = 5
COORDINATOR_PERCENT = 3.0
LONGEST_MS = 3.0
_MONITOR_MS = 60_000
_REPORT_MS = 5_000
_LINKS = ("lankhb1", "lankhb2")


def measure() -> Section:
    """In office with all groups online, and the floor in the same process."""
    tape = taped()
    rounds = [tape.replayed() for _ in range(ROUNDS)]
    steps = [min(took) for took in zip(*(took for took, _ in rounds), strict=True)]
    floor_s = min(_floor_s(tape, rounds[0][1]) for _ in range(ROUNDS))
    percent = sum(steps) / WINDOW_S * 100
    longest = max(steps) * 1000
    return Section(
        title="The core of a coordinator",
        how=(
            f"A core in office; {SERVERS - 1} stand-ins answer its heartbeats every 0.2 s on two "
            f"paths, report every 5 s, and hold {GROUPS} groups; {MONITORS} monitors. What it is "
            f"told in {WINDOW_S} s, once all groups are online, is replayed {ROUNDS} times in a "
            "copy of the core, and of each step the shortest time of the processor counts. The "
            "floor is msgspec alone, which decodes what came in and encodes what goes out."
        ),
        rows=(
            Row(
                what="the core of the coordinator",
                measured=f"{percent:.2f} % of a core, {len(steps):,} steps; floor "
                f"{floor_s / WINDOW_S * 100:.2f} %",
                target=f"at most {COORDINATOR_PERCENT:g} %",
                met=percent <= COORDINATOR_PERCENT,
            ),
            Row(
                what="its longest step",
                measured=f"{longest:.2f} ms",
                target=f"at most {LONGEST_MS:g} ms",
                met=longest <= LONGEST_MS,
            ),
        ),
    )


def settings() -> Settings:
    """The cluster that is measured."""
    made = sample(f"{SERVERS}bmc", groups=GROUPS, links=len(_LINKS))
    more = tuple(
        Monitor(
            name=f"genw{i + 2}",
            type="genw",
            servers=made.names,
            interval_ms=_MONITOR_MS,
            timing="active",
            target=f"failover{i % GROUPS + 1}",
            recovery=Recovery(
                action=RecoveryStep.RESTART, target=f"failover{i % GROUPS + 1}", restart_count=2
            ),
        )
        for i in range(MONITORS - len(made.monitors))
    )
    return msgspec.structs.replace(made, monitors=(*made.monitors, *more))


class Tape:
    """What a core was told for a while, and what it was before."""

    def __init__(self, node: Node) -> None:
        self.settings = node.settings
        self.before = node.snapshot()
        self.told: list[tuple[e.Event, int]] = []

    def replayed(self) -> tuple[list[float], list[a.Action]]:
        """CPU seconds of each step in a fresh copy of the core, and all that it did."""
        node = Node.restore(self.settings, self.before)
        took: list[float] = []
        done: list[a.Action] = []
        for event, now in self.told:
            begun = time.thread_time()
            actions = node.step(event, now)
            took.append(time.thread_time() - begun)
            done += actions
        return took, done


class _Other:
    """A stand-in for a server that is heard, votes, and runs what it is granted."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.incarnation = f"{name}#1"
        self.seq = 0
        self.reports = 0
        self.heard: Beat | None = None
        self.policy = NO_EPOCH
        self.holdings: tuple[Holding, ...] = ()

    def beat(self, us: Node, names: tuple[str, ...], now: int) -> Beat:
        """Its next heartbeat, as if all clocks showed the same."""
        heard = self.heard
        self.seq += 1
        asks = heard is not None and heard.ask in (Ask.VOTE, Ask.PRE)
        return Beat(
            sender=self.name,
            to=us.me,
            incarnation=self.incarnation,
            seq=self.seq,
            sent_at=now,
            echo=Echo(incarnation=heard.incarnation, sent_at=heard.sent_at) if heard else None,
            term=heard.term if heard else NO_TERM,
            vote=Vote(term=heard.ask_term, sent_at=heard.sent_at, pre=heard.ask == Ask.PRE)
            if heard and asks
            else None,
            coordinator=us.me if heard and heard.authority else "",
            hears=tuple(n for n in names if n != self.name),
            holdings=self.holdings,
            policy=self.policy,
            armed=True,
            revision=us.settings.revision,
            voters=us.settings.voters,
            lists=True,
        )

    def takes(self, message: Control) -> None:
        """A control message arrives."""
        if isinstance(message, Grant):
            others = tuple(h for h in self.holdings if h.group != message.group)
            self.holdings = (*others, _online(message.group, message.epoch))
        elif isinstance(message, Shared):
            self.policy = message.version


def _online(group: str, epoch: Epoch) -> Holding:
    return Holding(group=group, seen=epoch, held=True, state="online")


class _Stage:
    """A core among stand-ins."""

    def __init__(self) -> None:
        made = settings()
        self.node = Node(made, made.names[0], f"{made.names[0]}#1", 1)
        self.others = {n: _Other(n) for n in made.names[1:]}
        self.now = 1_000_000
        self.tape: Tape | None = None
        self.timers: dict[str, int] = {}
        self.due: list[tuple[int, int, e.Event | _Other]] = []
        self.number = 0
        for place, other in enumerate(self.others.values()):
            self._at(self.now + 10 + place * 6, other)
        self._tell(e.AgentStarted(durable=None, member=True, first_of_boot=True))
        self._tell(e.WatchdogChanged(armed=True, method="softdog"))

    def run(self, seconds: int) -> None:
        """So much time passes."""
        end = self.now + seconds * 1000
        while self.due and self.due[0][0] <= end:
            self.now, _, what = heappop(self.due)
            if isinstance(what, _Other):
                self._other(what)
            elif not isinstance(what, e.TimerFired):
                self._tell(what)
            elif self.timers.get(what.name) == self.now:
                del self.timers[what.name]
                self._tell(what)

    def _at(self, when: int, what: e.Event | _Other) -> None:
        self.number += 1
        heappush(self.due, (when, self.number, what))

    def _other(self, other: _Other) -> None:
        """Each interval: a beat on both paths, and every 5 s a report."""
        self._at(self.now + self.node.times.interval_ms, other)
        beat = other.beat(self.node, self.node.settings.names, self.now)
        for link in _LINKS:
            self._tell(e.BeatSeen(link=link, beat=beat))
        if other.seq % (_REPORT_MS // self.node.times.interval_ms):
            return
        other.reports += 1
        view = msgspec.structs.replace(
            self.node.own_status.own(), name=other.name, incarnation=other.incarnation
        )
        report = Report(
            sender=other.name, incarnation=other.incarnation, number=other.reports, server=view
        )
        self._tell(e.ControlSeen(sender=other.name, message=report))

    def _tell(self, event: e.Event) -> None:
        if self.tape is not None:
            self.tape.told.append((event, self.now))
        for action in self.node.step(event, self.now):
            self._do(action)

    def _do(self, action: a.Action) -> None:
        if isinstance(action, a.SetTimer):
            self.timers[action.name] = max(action.at, self.now)
            self._at(self.timers[action.name], e.TimerFired(name=action.name))
        elif isinstance(action, a.ClearTimer):
            self.timers.pop(action.name, None)
        elif isinstance(action, a.SendBeat) and not action.beat.page:
            self.others[action.beat.to].heard = action.beat
        elif isinstance(action, a.SendControl):
            self.others[action.to].takes(action.message)
        elif isinstance(action, a.ReadPower):
            on = e.PowerRead(server=action.server, power=PowerState.ON, asked_at=self.now)
            self._at(self.now + 5, on)
        elif isinstance(action, a.RunResource):
            done = e.ResourceDone(
                group=action.group,
                resource=action.resource,
                op=action.op,
                epoch=action.epoch,
                number=action.number,
                ok=True,
            )
            self._at(self.now + 100, done)
        elif isinstance(action, a.RunMonitor) and action.on:
            for round_ in range(1, 10):
                result = e.MonitorResult(monitor=action.monitor, status="normal")
                self._at(self.now + round_ * _MONITOR_MS, result)


def taped() -> Tape:
    """What a coordinator is told once all groups are online."""
    stage = _Stage()
    stage.run(90)
    node = stage.node
    assert node.authority.in_office()
    online = [h for o in stage.others.values() for h in o.holdings]
    assert len(online) + len(node.groups.held()) == GROUPS
    stage.tape = Tape(node)
    stage.run(WINDOW_S)
    return stage.tape


def _floor_s(tape: Tape, done: list[a.Action]) -> float:
    """CPU seconds to decode what came in and encode what goes out, once each."""
    encode = msgspec.msgpack.encode
    beats = [encode(event.beat) for event, _ in tape.told if isinstance(event, e.BeatSeen)]
    controls = [encode(event.message) for event, _ in tape.told if isinstance(event, e.ControlSeen)]
    sent = [action.beat for action in done if isinstance(action, a.SendBeat)]
    beat, control = msgspec.msgpack.Decoder(Beat), msgspec.msgpack.Decoder(Control)
    begun = time.thread_time()
    for data in beats:
        beat.decode(data)
    for data in controls:
        control.decode(data)
    for each in sent:
        encode(each)
    return time.thread_time() - begun
