"""A small cluster of real cores under virtual time, and a single core among scripted peers.

`Cluster` does to each `Node` what the agent does, on a network, BMCs, watchdogs and scripts that
do what a test tells them; every server has a clock of its own.  It fails a test at the instant at
which a group's resource is active on two servers.  `Alone` is one core whose peers are beats and
messages written by the test: for rules that turn on one word of one message.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

import msgspec

from clptools.core.cluster.timeout_ratio import stretched
from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.messages import Beat, Control, Echo, Grant, Shared, Term, Vote
from clptools.core.model.requests import Outcome, Request
from clptools.core.model.settings import (
    Arbiter,
    Bmc,
    ForcedStop,
    Group,
    Interconnect,
    Monitor,
    Resource,
    Server,
    Settings,
)
from clptools.core.model.settings import (
    Cluster as ClusterSettings,
)
from clptools.core.model.state import Phase
from clptools.core.model.view import GroupView, StatusView
from clptools.core.node import Node
from clptools.core.notices.form import Kinds, Notice

S = 1000
"""A second, in ms."""

FIP = Resource(name="fip1", type="fip")
EXEC = Resource(name="exec1", type="exec", depends=("fip1",))


def names(count: int) -> tuple[str, ...]:
    """server1, server2, ..."""
    return tuple(f"server{i + 1}" for i in range(count))


def userw(count: int, method: str = "softdog") -> Monitor:
    """The watchdog monitor of every server."""
    return Monitor(name="userw", type="userw", servers=names(count), options={"method": method})


def settings(
    count: int = 2,
    *,
    bmc: bool = True,
    arbiter: Arbiter | None = None,
    watchdog: bool | None = None,
    groups: tuple[Group, ...] | None = None,
    monitors: tuple[Monitor, ...] = (),
    forced_stop: str = "none",
    links: int = 1,
    revision: int = 1,
    **cluster: Any,
) -> Settings:
    """A cluster of `count` servers; a watchdog wherever leases bind, unless said otherwise."""
    armed = watchdog if watchdog is not None else (count >= 3 or arbiter is not None)
    if groups is None:
        groups = (Group(name="failover1", servers=names(count), resources=(FIP, EXEC)),)
    return Settings(
        cluster=ClusterSettings(**cluster),
        servers=tuple(
            Server(name=n, bmc=Bmc(address=f"192.168.0.{10 + i}") if bmc else None)
            for i, n in enumerate(names(count))
        ),
        interconnects=tuple(
            Interconnect(name=f"lankhb{i + 1}", type="lankhb", addresses={}) for i in range(links)
        ),
        arbiters=(arbiter,) if arbiter is not None else (),
        forced_stop=ForcedStop(action=forced_stop),
        groups=groups,
        monitors=(userw(count, "softdog" if armed else "none"), *monitors),
        revision=revision,
    )


def assert_written(node: Node) -> None:
    """No step may leave behind what must survive and is not on its way to be written."""
    assert node.durable.ledger_due() is None
    if node.life.phase in (Phase.RUNNING, Phase.LEAVING):
        assert node.durable.due() is None


class Host:
    """What is true of one server, whatever its agent believes."""

    def __init__(self, name: str, boot_at: int) -> None:
        self.name = name
        self.boot_at = boot_at
        self.node: Node | None = None
        self.powered = True
        self.boots = 1
        """How often it was switched on."""
        self.noted = 0
        """The boot that the disk knows of."""
        self.bmc = True
        """The BMC can be reached."""
        self.bmc_refuses = ""
        """Why the BMC takes no order; empty: it does."""
        self.sessions: dict[str, tuple[str, int]] = {}
        """Incarnation that asks -> its session with this server's BMC, and when that began."""
        self.run: Any = None
        """`/run/clptools/state`."""
        self.stopped = False
        self.member = False
        self.ledger = e.LedgerFile()
        self.active: set[tuple[str, str]] = set()
        self.watchdog_at: int | None = None
        self.watchdog_ms = 0
        self.running_monitors: set[str] = set()


class Cluster:
    """Real cores, and a world that obeys the test."""

    def __init__(self, cfg: Settings, *, start: bool = True, delay_ms: int = 2) -> None:
        self.cfg = cfg
        self.delay_ms = delay_ms
        self.t = 1_000_000
        self._heap: list[tuple[int, int, Callable[[], None]]] = []
        self._seq = 0
        self._incarnations = 0
        self._logins = 0
        self._ids = 0
        self.cuts: set[tuple[str, str]] = set()
        self.scripts: dict[tuple[str, str], str | int] = {}
        """(server or `*`, `exec1 start`) -> `fail`, `hang`, or ms that it takes."""
        self.records: list[tuple[int, str, a.Record]] = []
        self.done: list[tuple[int, str, a.Action]] = []
        """Every action but beats, timers and reads."""
        self.outcomes: dict[str, Outcome] = {}
        self.arbiter_holder = ("", 0)
        self.arbiter_reaches: set[str] = set(cfg.names)
        self.detours: dict[str, int] = {}
        """Interconnect that brings every beat, too, and ms after the first."""
        self.drop: Callable[[str, str, Control], bool] = lambda sender, to, message: False
        """Control messages that never arrive."""
        self.hosts = {n: Host(n, self.t - 500_000 - i * 77_777) for i, n in enumerate(cfg.names)}
        if start:
            for name in cfg.names:
                self.start(name)

    # --- servers -----------------------------------------------------------------------

    def now(self, name: str) -> int:
        """What this server's clock says."""
        return self.t - self.hosts[name].boot_at

    def node(self, name: str) -> Node:
        """The core that runs there."""
        node = self.hosts[name].node
        assert node is not None, f"no agent runs on {name}"
        return node

    def start(self, name: str) -> None:
        """The agent starts, with what `/run` and the disk hold."""
        host = self.hosts[name]
        self._incarnations += 1
        node = Node(self.cfg, name, f"i{self._incarnations}", self._incarnations)
        host.node = node
        first, host.noted = host.noted != host.boots, host.boots
        self.tell(
            name,
            e.AgentStarted(
                durable=host.run,
                member=host.member,
                ledger=host.ledger,
                stopped=host.stopped,
                first_of_boot=first,
                macs=(f"02:00:00:00:00:{name[6:]:0>2}",),
            ),
        )

    def kill(self, name: str) -> None:
        """`kill -9` of the agent: what it started runs on."""
        self.hosts[name].node = None

    def power_off(self, name: str) -> None:
        """Power is gone, and everything on the server with it."""
        host = self.hosts[name]
        host.node, host.run, host.stopped = None, None, False
        host.active.clear()
        host.watchdog_at = None
        host.powered = False

    def power_on(self, name: str) -> None:
        """Power is back: the server boots and its agent starts, 10 s after."""
        host = self.hosts[name]
        host.powered = True
        host.boots += 1
        host.boot_at = self.t
        self.after(10 * S, lambda: self.start(name) if host.powered and not host.node else None)

    def reset(self, name: str) -> None:
        """Reset by watchdog or BMC."""
        self.power_off(name)
        self.power_on(name)

    def cut(self, one: str, *others: str) -> None:
        """Nothing passes between `one` and the others any more."""
        for other in others or tuple(n for n in self.cfg.names if n != one):
            self.cuts |= {(one, other), (other, one)}

    def heal(self) -> None:
        """Everything passes again."""
        self.cuts.clear()

    # --- time --------------------------------------------------------------------------

    def after(self, ms: int, what: Callable[[], None]) -> None:
        """Do it so much later."""
        self._seq += 1
        heapq.heappush(self._heap, (self.t + ms, self._seq, what))

    def run(self, ms: int) -> None:
        """Let so much time pass."""
        end = self.t + ms
        while self._heap and self._heap[0][0] <= end:
            self.t, _, what = heapq.heappop(self._heap)
            what()
        self.t = end

    def until(self, what: Callable[[], bool], within_ms: int = 60 * S) -> int:
        """Lets time pass until it is so; returns how long that took, in ms."""
        start = self.t
        while not what():
            assert self.t - start <= within_ms, f"not within {within_ms} ms"
            self.run(10)
        return self.t - start

    # --- what a test asks --------------------------------------------------------------

    def view(self, name: str) -> StatusView:
        """`clpstat --json` on that server."""
        return self.node(name).view(self.now(name))

    def group(self, name: str = "failover1", at: str = "") -> GroupView:
        """A group as some running server (or `at`) shows it."""
        at = at or next(n for n, h in self.hosts.items() if h.node is not None)
        return next(g for g in self.view(at).groups if g.name == name)

    def coordinator(self) -> str:
        """Who is in office; empty: nobody.  Fails when two are."""
        office = [n for n, h in self.hosts.items() if h.node and h.node.authority.in_office()]
        assert len(office) <= 1, f"two coordinators: {office}"
        return office[0] if office else ""

    def active(self, group: str = "failover1") -> list[str]:
        """Where anything of a group is physically active."""
        return [n for n, h in self.hosts.items() if any(g == group for g, _ in h.active)]

    def online(self, group: str = "failover1") -> str:
        """Where a group is held and Online; empty: nowhere."""
        for name, host in self.hosts.items():
            run = host.node.state.lifecycle.runs.get(group) if host.node else None
            if run is not None and run.held and run.state == "online":
                return name
        return ""

    def settle(self, group: str = "failover1") -> str:
        """Waits until the group is Online somewhere and told to all; returns where."""
        self.until(lambda: bool(self.online(group)))
        self.run(1 * S)
        return self.online(group)

    def ask(self, name: str, request: Request, user: str = "root", asked_at: int = 0) -> str:
        """Puts a request to that server's socket; returns its id."""
        self._ids += 1
        number = f"r{self._ids}"
        self.tell(name, e.RequestSeen(id=number, user=user, request=request, asked_at=asked_at))
        return number

    def answer(
        self, name: str, request: Request, within_ms: int = 60 * S, asked_at: int = 0
    ) -> Outcome:
        """Asks, and waits for the outcome."""
        number = self.ask(name, request, asked_at=asked_at)
        self.until(lambda: number in self.outcomes, within_ms)
        return self.outcomes[number]

    def said(self, *kinds: type[Notice]) -> list[str]:
        """Texts of all notices of these kinds."""
        return [r.text for _, _, r in self.records if r in Kinds(*kinds)]

    def did(self, kind: type[Any], name: str = "") -> list[Any]:
        """All actions of one kind (of one server)."""
        return [x for _, n, x in self.done if isinstance(x, kind) and name in ("", n)]

    # --- between core and world --------------------------------------------------------

    def tell(self, name: str, event: e.Event) -> list[a.Action]:
        """Hands an event to the core that runs there, and does what it says."""
        host = self.hosts[name]
        node = host.node
        if node is None:
            return []
        actions = node.step(event, self.now(name))
        assert_written(node)
        for action in actions:
            self._do(host, node, action)
        return actions

    def _later(self, ms: int, name: str, make: Callable[[], e.Event]) -> None:
        node = self.hosts[name].node

        def fire() -> None:
            if self.hosts[name].node is node:
                self.tell(name, make())

        self.after(ms, fire)

    def _passes(self, sender: str, to: str) -> bool:
        host = self.hosts.get(to)
        return (sender, to) not in self.cuts and host is not None and host.node is not None

    def _do(self, host: Host, node: Node, action: a.Action) -> None:
        name = host.name
        if isinstance(action, a.SetTimer):
            self.after(max(0, action.at - self.now(name)), lambda: self._timer(host, node, action))
        elif isinstance(action, a.SendBeat):
            to = action.via or action.beat.to
            link = "relay" if action.via or action.beat.sender != name else "lankhb1"
            if self._passes(name, to):
                seen = e.BeatSeen(link=link, beat=action.beat)
                self.after(self.delay_ms, lambda: self.tell(to, seen) and None)
                for path, ms in self.detours.items() if link != "relay" else ():
                    again = e.BeatSeen(link=path, beat=action.beat)
                    self._later(self.delay_ms + ms, to, lambda again=again: again)
        elif isinstance(action, a.SendControl):
            to, message = action.to, action.message
            if self._passes(name, to) and not self.drop(name, to, message):
                said = e.ControlSeen(sender=name, message=message)
                self.after(self.delay_ms + 1, lambda: self.tell(to, said) and None)
        elif isinstance(action, a.ReadPower):
            self._read(name, action)
        else:
            self.done.append((self.t, name, action))
            self._do_more(host, action)

    def _timer(self, host: Host, node: Node, action: a.SetTimer) -> None:
        if host.node is node and node.state.step.timers.get(action.name) == action.at:
            self.tell(host.name, e.TimerFired(name=action.name))

    def _read(self, name: str, action: a.ReadPower) -> None:
        asked, server = self.now(name), action.server
        other = self.hosts[server]
        incarnation = self.node(name).state.life.incarnation
        if not other.bmc:
            other.sessions.pop(incarnation, None)
            lost = e.PowerRead(server=server, power="unknown", asked_at=asked, error="timeout")
            self._later(5, name, lambda: lost)
            return
        if incarnation not in other.sessions:
            self._logins += 1
            other.sessions[incarnation] = (f"session{self._logins}", self.t)
        session, opened = other.sessions[incarnation]
        whole = (name, server) not in self.cuts and (server, name) not in self.cuts
        read = e.PowerRead(
            server=server,
            power="on" if other.powered else "off",
            asked_at=asked,
            session=session,
            session_at=opened - self.hosts[name].boot_at,
            echoed=action.echo and other.powered and whole,
        )
        self._later(50 if action.echo and not other.powered else 5, name, lambda: read)

    def _do_more(self, host: Host, action: a.Action) -> None:
        name = host.name
        if isinstance(action, a.Persist):
            host.run = action.durable
        elif isinstance(action, a.SetMember):
            host.member = action.member
        elif isinstance(action, a.KeepLedger):
            host.ledger = action.ledger
        elif isinstance(action, a.SetService):
            host.stopped = action.stopped
        elif isinstance(action, a.Record):
            self.records.append((self.t, name, action))
        elif isinstance(action, a.Reply):
            assert action.id not in self.outcomes, "answered twice"
            self.outcomes[action.id] = action.outcome
        elif isinstance(action, a.Exit):
            host.node = None
        elif isinstance(action, a.Reincarnate):
            host.node = None
            self.after(1, lambda: self.start(name))
        elif isinstance(action, a.RunResource):
            self._resource(host, action)
        elif isinstance(action, a.Fence):
            self._fence(name, action)
        elif isinstance(action, a.HoldArbiter):
            self._arbiter(name, action)
        elif isinstance(action, a.ReleaseArbiter):
            if self.arbiter_holder[0] == name:
                self.arbiter_holder = ("", 0)
        elif isinstance(action, a.RunMonitor):
            (host.running_monitors.add if action.on else host.running_monitors.discard)(
                action.monitor
            )
        elif isinstance(action, a.ArmWatchdog):
            host.watchdog_ms = action.timeout_ms
            self._feed(host)
            self._later(1, name, lambda: e.WatchdogChanged(armed=True, method=action.method))
        elif isinstance(action, a.PetWatchdog):
            if host.watchdog_at is not None:
                self._feed(host)
        elif isinstance(action, a.Stretch):
            same = stretched(self.cfg, action.ratio)
            self._later(0, name, lambda: e.SettingsChanged(settings=same, stretch=True))
        elif isinstance(action, a.HostAction):
            ended = e.HostActionDone(action=action.action, ok=True)
            self._later(50, name, lambda: ended)
        elif isinstance(action, a.DisarmWatchdog):
            host.watchdog_at = None

    def _feed(self, host: Host) -> None:
        host.watchdog_at = due = self.t + host.watchdog_ms
        self.after(
            host.watchdog_ms, lambda: self.reset(host.name) if host.watchdog_at == due else None
        )

    def _resource(self, host: Host, action: a.RunResource) -> None:
        key = f"{action.resource} {action.op}"
        script = self.scripts.get((host.name, key), self.scripts.get(("*", key), 20))
        item = (action.group, action.resource)
        if action.op == "start":
            host.active.add(item)
            elsewhere = [n for n, h in self.hosts.items() if h is not host and item in h.active]
            assert not elsewhere, f"{item} is active on {host.name} and {elsewhere}"
        if script == "hang":
            return
        ok = script != "fail"
        node = host.node
        boot = host.boots

        def end() -> None:
            if host.boots != boot or not host.powered:
                return
            if ok and action.op == "stop":
                host.active.discard(item)
            if host.node is node:
                self.tell(
                    host.name,
                    e.ResourceDone(
                        group=action.group,
                        resource=action.resource,
                        op=action.op,
                        epoch=action.epoch,
                        number=action.number,
                        ok=ok,
                        text="" if ok else "exit status 1",
                    ),
                )

        self.after(script if isinstance(script, int) else 20, end)

    def _fence(self, name: str, action: a.Fence) -> None:
        """One control command: what it does is seen by reading, a while later."""
        target = self.hosts[action.server]
        error = target.bmc_refuses if target.bmc else "no answer"

        def act() -> None:
            if action.action == "power-on" and not target.powered:
                self.power_on(action.server)
            elif action.action != "power-on" and target.powered:
                (self.reset if action.action == "nmi" else self.power_off)(action.server)

        if not error:
            self.after(500, act)
        done = e.FenceDone(
            server=action.server,
            action=action.action,
            asked_at=self.now(name),
            sent=not error,
            error=error,
        )
        self._later(2000 if error else 20, name, lambda: done)

    def _arbiter(self, name: str, action: a.HoldArbiter) -> None:
        asked = self.now(name)
        if name not in self.arbiter_reaches:
            failed = e.ArbiterAnswered(name=action.name, held=False, asked_at=asked, error="away")
            self._later(5, name, lambda: failed)
            return
        holder, until = self.arbiter_holder
        held = holder == name or self.t >= until
        if held:
            self.arbiter_holder = (name, self.t + action.lease_ms)
        answered = e.ArbiterAnswered(name=action.name, held=held, asked_at=asked, holder=name)
        self._later(5, name, lambda: answered)


class Alone:
    """One real core; its peers say what the test writes."""

    def __init__(
        self, cfg: Settings, name: str = "server1", *, at: int = 1_000_000, **started: Any
    ) -> None:
        self.node = Node(cfg, name, "me", 1)
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

    def forget(self) -> None:
        """From here on `all` begins anew."""
        self.all, self._ended = [], 0

    def of(self, kind: type[Any], *, last: bool = True) -> list[Any]:
        """Actions of one kind: of the last step, or of all."""
        return [x for x in (self.last if last else self.all) if isinstance(x, kind)]

    def control_of(self, kind: type[Any]) -> list[Any]:
        """Control messages of one kind that were ever sent, with whom to."""
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
