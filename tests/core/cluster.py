"""A small cluster of real cores: the simulator's world, with the verbs of a test.

`Cluster` fails a test at the instant at which one of the simulator's promises is broken
(`clptools/sim/promises.py`), and at the test's end replays every core's journal.  A test that shows
what happens beyond the rules names the promises that it breaks: `Cluster(..., breaks=("I1",))`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.messages import Control
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
from clptools.core.model.words import Severity
from clptools.core.node import Node
from clptools.core.notices.form import Kinds, Notice
from clptools.sim.host import SECOND, Host
from clptools.sim.request_verbs import ask
from clptools.sim.verbs import perform
from clptools.sim.world import World

S = 1000
"""A second, in ms."""

CALM = {"heartbeat_interval_ms": 1_000, "heartbeat_timeout_ms": 5_000, "lease_ms": 8_000}
"""Lengths for a story that goes on for many minutes: five times fewer heartbeats."""

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


class Watched(Node):
    """A core whose every step is looked at."""

    def step(self, event: e.Event, now: int) -> list[a.Action]:
        """No step may leave behind what must survive and is not on its way to be written."""
        actions = super().step(event, now)
        assert self.durable.ledger_due() is None
        if self.life.phase in (Phase.RUNNING, Phase.LEAVING):
            assert self.durable.due() is None
        return actions


class Scripts:
    """How scripts go: `scripts["server1", "exec1 stop"] = "fail"`; `*` is every server.

    Of a start also how severe its failure is.
    """

    def __init__(self, hosts: dict[str, Host]) -> None:
        self._hosts = hosts

    def __setitem__(self, key: tuple[str, str], how: str | int) -> None:
        """`fail`, `hang` (until its time-out), or the ms that it takes."""
        server, words = key
        resource, op = words.split()
        for host in self._hosts.values() if server == "*" else (self._hosts[server],):
            if how == "fail":
                host.scripts.failing.add((resource, op))
            elif isinstance(how, Severity):
                host.scripts.failing.add((resource, op))
                host.scripts.severity[resource] = how
            elif how == "hang":
                host.scripts.hanging.add((resource, op))
            else:
                host.scripts.slow_us[resource, op] = int(how) * 1000

    def clear(self) -> None:
        """All scripts work again, at once."""
        for host in self._hosts.values():
            host.scripts.clear()


class Cluster:
    """A world that obeys the test.  Times are in ms; all clocks run alike, each from its own boot.

    What monitors find and how recovery scripts end, the test says by `tell`.
    """

    open: list[Cluster] = []
    """Those of the test that runs; `conftest.py` finishes them."""

    def __init__(self, cfg: Settings, *, start: bool = True, breaks: Iterable[str] = ()) -> None:
        self.cfg = cfg
        self.breaks = frozenset(breaks)
        """Promises that this test breaks, knowingly."""
        self.drop: Callable[[str, str, Control], bool] = lambda sender, to, message: False
        """Control messages that never arrive."""
        self.records: list[tuple[int, str, a.Record]] = []
        self.done: list[tuple[int, str, a.Action]] = []
        """Every action but messages, timers and reads."""
        self.outcomes: dict[str, Outcome] = {}
        self.world = world = World(cfg, 1, Watched, Node.restore, journal=True, steady=True)
        world.check.deep = True
        world.boot_us = (10 * SECOND, 10 * SECOND)
        world.script_us = (20_000, 20_000)
        for i, host in enumerate(world.hosts.values()):
            host.boot_us, host.rate = -(500_000 + i * 77_777) * 1000, 1_000_000
            host.macs = (f"02:00:00:00:00:{i + 1:02}",)
        self.scripts = Scripts(world.hosts)
        self._carry_out()
        self.open.append(self)
        if start:
            for name in cfg.names:
                self.start(name)

    # --- servers -----------------------------------------------------------------------

    @property
    def t(self) -> int:
        """True time."""
        return self.world.t // 1000

    @property
    def hosts(self) -> dict[str, Host]:
        """What is true of each server, whatever its agent believes."""
        return self.world.hosts

    def now(self, name: str) -> int:
        """What this server's clock says."""
        return self.hosts[name].now(self.world.t)

    def node(self, name: str) -> Node:
        """The core that runs there."""
        node = self.hosts[name].node
        assert isinstance(node, Node), f"no agent runs on {name}"
        return node

    def start(self, name: str) -> None:
        """The agent starts, with what `/run` and the disk hold."""
        assert self.hosts[name].node is None, f"the agent of {name} runs"
        self.perform(f"start {name}")

    def kill(self, name: str) -> None:
        """`kill -9` of the agent: what it started runs on."""
        self.perform(f"kill {name}")

    def leave(self, name: str) -> None:
        """SIGTERM."""
        self.perform(f"leave {name}")

    def power_off(self, name: str) -> None:
        """Power is gone, and everything on the server with it."""
        self.perform(f"off {name}")

    def power_on(self, name: str) -> None:
        """Power is back: the server boots and its agent starts, 10 s after."""
        self.perform(f"on {name}")

    def reset(self, name: str) -> None:
        """Reset by watchdog or BMC."""
        self.perform(f"reset {name}")

    def cut(self, one: str, *others: str) -> None:
        """Nothing passes between `one` and the others (none named: all) any more."""
        for other in others or tuple(n for n in self.cfg.names if n != one):
            self.perform(f"cut {one} {other}")

    def heal(self) -> None:
        """Everything passes again."""
        self.perform("heal")

    def reach_arbiter(self, *names: str) -> None:
        """From here on only these servers reach the arbiters."""
        for arbiter in self.world.arbiters.values():
            arbiter.cut_from = set(self.cfg.names) - set(names)

    def perform(self, line: str) -> None:
        """A line of a scenario (`docs/scenarios.md`)."""
        perform(self.world, line)
        self.judge()

    @contextmanager
    def changed(self, name: str) -> Iterator[Node]:
        """The core there, for a test that changes its state: a new journal begins behind that."""
        host = self.hosts[name]
        self.world.check.end_journal(host)
        yield self.node(name)
        self.world.check.begin_anew(host)

    # --- time --------------------------------------------------------------------------

    def run(self, ms: int) -> None:
        """Let so much time pass."""
        self.world.run_until(self.world.t + ms * 1000)
        self.judge()

    def until(self, what: Callable[[], bool], within_ms: int = 60 * S) -> int:
        """Lets time pass until it is so; returns how long that took, in ms."""
        start = self.t
        while not what():
            assert self.t - start <= within_ms, f"not within {within_ms} ms"
            self.run(10)
        return self.t - start

    # --- promises ----------------------------------------------------------------------

    def judge(self) -> None:
        """No promise may be broken but those that the test names."""
        found = self.world.check.violations
        told = [v.told() for v in found if v.invariant not in self.breaks]
        assert not told, "; ".join(told)

    def finish(self) -> None:
        """The end of the test: journals are replayed, and what it was to break is broken."""
        self.world.check.finish()
        self.judge()
        broken = {v.invariant for v in self.world.check.violations}
        assert broken == self.breaks, f"{self.breaks - broken} held"

    # --- what a test asks --------------------------------------------------------------

    def view(self, name: str) -> StatusView:
        """`clpstat --json` on that server."""
        return self.node(name).view(self.now(name))

    def group(self, name: str = "failover1", at: str = "") -> GroupView:
        """A group as some running server (or `at`) shows it."""
        at = at or next(n for n, h in self.hosts.items() if h.node is not None)
        return next(g for g in self.view(at).groups if g.name == name)

    def coordinator(self) -> str:
        """The server in office; empty: none is."""
        office = [n for n, h in self.hosts.items() if h.node and h.node.authority.in_office()]
        return office[0] if office else ""

    def active(self, group: str = "failover1") -> list[str]:
        """Where anything of a group is physically active."""
        return [n for n, h in self.hosts.items() if group in h.groups_active()]

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

    def tell(self, name: str, event: e.Event) -> None:
        """Hands an event to the core that runs there."""
        self.world.check.meddled = True
        self.world.step(self.hosts[name], event)
        self.judge()

    def ask(self, name: str, request: Request, user: str = "root", asked_at: int = 0) -> str:
        """Puts a request to that server's socket; returns its id."""
        number = ask(self.world, self.hosts[name], request, user=user, asked_at=asked_at)
        self.judge()
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

    # --- actions -----------------------------------------------------------------------

    def _carry_out(self) -> None:
        """Notes what is done, drops what the test drops, and leaves to it what it says itself."""
        do, check = self.world.executor.do, self.world.check
        do[a.RunMonitor] = lambda host, x, now: (
            host.monitors.add if x.on else host.monitors.discard
        )(x.monitor)
        do[a.RunScript] = lambda host, x, now: check.script(host, x)
        send = do[a.SendControl]

        def send_control(host: Host, action: a.SendControl, now: int) -> None:
            if not self.drop(host.name, action.to, action.message):
                send(host, action, now)

        for kind in do.keys() - {a.SendBeat, a.SendControl, a.SetTimer, a.ClearTimer, a.ReadPower}:
            do[kind] = self._noted(do[kind])
        do[a.SendControl] = send_control

    def _noted(self, perform: Callable[[Host, Any, int], None]) -> Callable[[Host, Any, int], None]:
        def run(host: Host, action: a.Action, now: int) -> None:
            self.done.append((self.t, host.name, action))
            if isinstance(action, a.Record):
                self.records.append((self.t, host.name, action))
            elif isinstance(action, a.Reply):
                assert action.id not in self.outcomes, "answered twice"
                self.outcomes[action.id] = action.outcome
            perform(host, action, now)

        return run
