"""N real cores under virtual time: one heap of events, servers, network, BMCs, arbiters.

The world does to each `Node` what the agent does: hands it events with the time of its server's
own clock and carries out its actions strictly in order.  Everything is decided by the seed, so a
run is repeated exactly by running it again.  True time is `t`, in microseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any

from clptools.core.describe import describe_action, describe_event
from clptools.core.model import actions as a
from clptools.core.model import events as e
from clptools.core.model.settings import Settings
from clptools.sim.bmc_model import Bmcs
from clptools.sim.executor import Executor
from clptools.sim.host import SECOND, Host, MakeNode
from clptools.sim.invariants import Checker
from clptools.sim.network import CUTS, ArbiterModel, Network, Steady
from clptools.version import VERSION

_STORM = 3_000
"""Events a second and server that no fault explains."""

RESTART_US = 100_000
"""How soon an agent that failed is started again (`RestartSec` of the unit file)."""

Tell = Callable[[str], None]

Between = Callable[[Host, list[a.Action], int], None]
"""Told of every list of actions: before its first action, and after each; the number says how
many are done."""


class World:
    """A cluster under test."""

    def __init__(
        self,
        settings: Settings,
        seed: int,
        make_node: MakeNode,
        restore_node: MakeNode,
        *,
        tell: Tell | None = None,
        journal: bool = False,
        steady: bool = False,
    ) -> None:
        """`steady`: every delay and duration takes its middle value, for stories to be read."""
        self.settings = settings
        self.seed = seed
        self.make_node = make_node
        self.restore_node = restore_node
        self.tell = tell
        self.verbose = False
        """Tell every event and action too, not only what happens."""
        self.silent = False
        self.journal = journal
        self.t = 0
        self.steps = 0
        self.between: Between | None = None
        self._storm_at = 0
        self._second = 0
        self._heap: list[tuple[int, int, Callable[..., object], tuple[Any, ...]]] = []
        self._seq = 0
        self._steady = steady
        self._begin_story()
        self.rng = self.chance("plant")
        links = tuple(i.name for i in settings.interconnects if i.is_lan)
        self.network = Network(links, Random(f"{seed} network"), steady)
        self.bmcs = Bmcs(self, settings, self.chance("bmcs"))
        self.arbiters = {
            x.name: ArbiterModel(self, x, self.chance(x.name))
            for x in settings.arbiters
            if x.decides
        }
        self.hosts = self._make_hosts(Random(f"{seed} clocks"))
        self.boot_us = (8 * SECOND, 25 * SECOND)
        """Shortest and longest time from power-on to the agent's start."""
        self.script_us = (20_000, 400_000)
        self.outcomes: list[tuple[int, str, a.Reply]] = []
        self.check = Checker(self)
        self.executor = Executor(self)

    def _begin_story(self) -> None:
        """What people did, and where in the story we are."""
        self.vouched: set[str] = set()
        """Servers that an operator confirmed down: they stay off, or come back connected."""
        self.forced: set[str] = set()
        """Servers that an operator powered off by `clpforcestop`, whatever was heard of them."""
        self.aliases: dict[str, str] = {}
        """`@coordinator1` of a schedule -> the server it was when first named."""
        self.line = 0
        """The line of the scenario that is being played, from 1; 0: not from a file."""
        self.traps = 0
        self.storms = 0
        self.requests = 0

    def _make_hosts(self, rng: Random) -> dict[str, Host]:
        """The servers, each with a clock of its own: up to 1 % off, up for up to 1000 s."""
        names = self.settings.names
        drift = [int((rng.random() * 2 - 1) * 10_000) for _ in names]
        return {
            name: Host(name, i, drift[i], int(rng.random() * 1000 * SECOND), self.settings)
            for i, name in enumerate(names)
        }

    def chance(self, what: str) -> Random:
        """A generator of its own: what others draw changes nothing of it."""
        return (Steady if self._steady else Random)(f"{self.seed} {what}")

    # --- time ----------------------------------------------------------------------------

    def at(self, when: int, what: Callable[..., object], *args: Any) -> None:
        """Do `what(*args)` at the true instant `when`."""
        self._seq += 1
        heappush(self._heap, (when, self._seq, what, args))

    def run_until(self, end: int) -> None:
        """Let everything happen that is due up to `end`."""
        heap = self._heap
        while heap and heap[0][0] <= end:
            self.t, _, what, args = heappop(heap)
            what(*args)
        self.t = end

    def advance(self, seconds: float) -> None:
        """Let so much time pass."""
        self.run_until(self.t + round(seconds * SECOND))

    def note(self, text: str) -> None:
        """Something happened outside the agents."""
        if self.tell is not None and not self.silent:
            self.tell(f"{self.t / SECOND:9.3f}  * {text}")

    # --- stepping the cores --------------------------------------------------------------

    def step(self, host: Host, event: e.Event) -> None:
        """Hand one event to a server's agent, if it runs, and carry out what it answers."""
        node = host.node
        if node is None:
            return
        if host.frozen:
            host.backlog.append(("event", event))
            return
        host.stepped_at = self.t
        now = host.now(self.t)
        actions = node.step(event, now)
        self.steps += 1
        if self.steps >= self._storm_at:
            self._look_for_storm()
        if host.recorder is not None:
            self.check.journal(host, now, event, actions)
        if self.tell is not None and self.verbose:
            self._tell_step(host, event, actions, now)
        broken_off = self.between is not None and self._breaks(host, node, actions, 0)
        if host.node is not node:
            return  # nothing of it was done
        self.check.before(host, event, actions)
        if not broken_off:
            self._carry_out(host, actions, now)
        if host.node is not None:
            self.check.after(host)

    def _look_for_storm(self) -> None:
        """Servers that answer each other without end would keep the simulation in one instant."""
        limit = _STORM * len(self.hosts)
        second = self.t // SECOND
        if second == self._second and self._storm_at:
            self.check.report("STORM", f"{limit:,} events within a second")
            self._heap.clear()
        self._second, self._storm_at = second, self.steps + limit

    def _carry_out(self, host: Host, actions: list[a.Action], now: int) -> None:
        do, node = self.executor.do, host.node
        if host.stop_after is not None and len(actions) > host.stop_after[0]:
            self._interrupt(host, actions, now)
            return
        for done, action in enumerate(actions, 1):
            do[type(action)](host, action, now)
            if host.upon and self._stops_after(host, action):
                host.unfinished = actions[done:]
                return
            if host.node is not node:
                return
            if self.between is not None and self._breaks(host, node, actions, done):
                return

    def _breaks(self, host: Host, node: object, actions: list[a.Action], done: int) -> bool:
        """Something may happen between two actions; whether the rest must wait, or is lost."""
        assert self.between is not None
        self.between(host, actions, done)
        if host.node is node and host.frozen:
            host.unfinished = actions[done:]
        return host.node is not node or host.frozen

    def _stops_after(self, host: Host, action: a.Action) -> bool:
        """What is to happen right after such an action happens; whether the agent stands still."""
        tag = str(type(action).__struct_config__.tag)
        for trigger in [x for x in host.upon if x.action == tag]:
            trigger.left -= 1
            if trigger.left <= 0:
                host.upon.remove(trigger)
                trigger.do()
        return host.frozen

    def _interrupt(self, host: Host, actions: list[a.Action], now: int) -> None:
        """Stop the agent, or cut its server off, between two actions of one list."""
        assert host.stop_after is not None
        count, how, pause_us = host.stop_after
        host.stop_after = None
        node = host.node
        for action in actions[:count]:
            self.executor.do[type(action)](host, action, now)
            if host.node is not node:
                return
        self.note(f"{host.name} is interrupted ({how}) after {count} of {len(actions)} actions")
        if how == "kill":
            self.kill(host)
        elif how == "off":
            self.power_off(host)
        elif how == "reset":
            self.reset(host)
        elif how in CUTS:
            CUTS[how](self.network, host.name, self.hosts)
            for other in self.hosts:
                self.at(self.t + pause_us, self.network.heal, host.name, other)
            self._carry_out(host, [*actions[count:]], now)
        else:
            self.freeze(host, stalled=how == "stall")
            host.unfinished = [*actions[count:]]
            self.at(self.t + pause_us, self.thaw, host)

    def _tell_step(self, host: Host, event: e.Event, actions: list[a.Action], now: int) -> None:
        assert self.tell is not None
        head = f"{self.t / SECOND:9.3f}  {host.name}"
        self.tell(f"{head} < {describe_event(event, now)}")
        for action in actions:
            self.tell(f"{head}   > {describe_action(action, now)}")

    def tell_later(self, when: int, server: str, event: e.Event) -> None:
        """Hand an event to the incarnation that runs now, if it still runs then."""
        host = self.hosts[server]
        self.at(when, self._tell_incarnation, host, host.incarnation, event)

    def _tell_incarnation(self, host: Host, incarnation: str, event: e.Event) -> None:
        if host.incarnation == incarnation:
            self.step(host, event)

    # --- what happens to servers ---------------------------------------------------------

    def start_agent(self, host: Host) -> None:
        """The agent's process starts (at boot, by its supervisor, by hand)."""
        if host.node is not None or not host.os_up or not host.enabled or not host.configured:
            return
        if host.run_fails or host.disk.read_only:
            return  # it tries again and again
        first = host.disk.noted != host.boots
        if first and host.disk.notes:
            host.disk.noted = host.boots
        host.incarnations += 1
        host.incarnation = f"{host.name}#{host.incarnations}"
        host.node_seed = Random(f"{self.seed} {host.incarnation}").getrandbits(32)
        host.node = self.make_node(host.settings, host.name, host.incarnation, host.node_seed)
        if self.journal:
            self.check.begin_journal(host)
        if host.run is None:
            self.check.counts.forget(host)
            if not first:
                self.check.evidence.forgot(host)
        self.check.evidence.started(host)
        self.note(f"agent of {host.name} starts")
        self.step(
            host,
            e.AgentStarted(
                durable=host.run,
                member=host.disk.member,
                ledger=host.ledger(),
                stopped=host.service_stopped,
                first_of_boot=first,
                noted=host.disk.noted == host.boots,
                macs=host.macs,
                version=VERSION,
            ),
        )
        for monitor in host.windows:
            self.tell_window(host, monitor)

    def note_boot_again(self, host: Host) -> None:
        """A disk that works again takes the note of the boot within seconds."""
        if host.disk.notes and host.disk.noted != host.boots:
            self.at(self.t + 5 * SECOND, self._boot_noted, host, host.incarnation)

    def _boot_noted(self, host: Host, incarnation: str) -> None:
        if host.incarnation == incarnation and host.node is not None and host.disk.notes:
            host.disk.noted = host.boots
            self.step(host, e.BootNoted())

    def tell_window(self, host: Host, monitor: str) -> None:
        """The agent reads the wall clock: when the quiet window of a monitor is."""
        opens_us, closes_us = host.windows[monitor]
        when = f"{opens_us // SECOND} to {closes_us // SECOND} s" if closes_us > opens_us else ""
        changed = e.WindowChanged(
            monitor=monitor,
            opens_at=host.now(opens_us),
            closes_at=host.now(closes_us),
            when=when,
        )
        self.step(host, changed)

    def kill(self, host: Host) -> None:
        """`kill -9` of the agent: scripts, `/run` and the watchdog stay."""
        if host.node is not None:
            self.note(f"agent of {host.name} is killed")
        self.end_agent(host)

    def agent_fails(self, host: Host, where: str) -> None:
        """The agent cannot write what must be written: it ends at once, and is started again."""
        self.note(f"agent of {host.name} cannot write to {where}, and ends")
        self.end_agent(host)
        self.at(self.t + RESTART_US, self.start_agent, host)

    def end_agent(self, host: Host) -> None:
        """The process is gone."""
        self.check.end_journal(host)
        ended = [item for kind, item in host.backlog if kind == "operation"]
        host.forget_agent()
        for item in ended:
            self.at(self.t, self.executor.operations.ended, host, *item)
        self.check.changed(host)

    def leave(self, host: Host) -> None:
        """SIGTERM."""
        host.enabled = False
        self.step(host, e.AgentStopping())

    def power_off(self, host: Host) -> None:
        """Power is gone: everything on it stops at once."""
        if not host.powered:
            return
        self.note(f"{host.name} loses power")
        host.powered = False
        self._end_boot(host)

    def _end_boot(self, host: Host) -> None:
        self.check.end_journal(host)
        host.forget_boot()
        host.disk.lose_cache()
        self.check.changed(host)

    def power_on(self, host: Host) -> None:
        """Power comes: the server boots and starts its agent."""
        if host.powered:
            return
        self.note(f"{host.name} is powered on")
        host.powered = True
        host.struck_by = ""
        self._boot(host)

    def reset(self, host: Host) -> None:
        """Reset line, watchdog or panic: as power off and on, at once."""
        if not host.powered:
            return
        self.note(f"{host.name} is reset")
        host.struck_by = ""
        self._end_boot(host)
        self._boot(host)

    def _boot(self, host: Host) -> None:
        low, high = self.boot_us
        took = low + int(self.rng.random() * (high - low))
        took = round(host.boot_s * SECOND) or took
        host.deadman = 0
        host.boots += 1
        host.boot_us = self.t + took // 2
        self.at(self.t + took, self._booted, host, host.boots)

    def _booted(self, host: Host, boot: int) -> None:
        if host.powered and host.boots == boot:
            host.os_up = True
            host.asked_down = False
            self.start_agent(host)

    def freeze(self, host: Host, *, stalled: bool = False) -> None:
        """The agent does not run (SIGSTOP), or with `stalled` nothing on that machine does."""
        if host.node is None:
            return
        self.note(f"{host.name} is paused" if stalled else f"agent of {host.name} is stopped")
        host.frozen, host.stalled = True, stalled

    def thaw(self, host: Host) -> None:
        """It runs again, and finds what piled up, timers first or last."""
        if not host.frozen:
            return
        self.note(f"{host.name} runs on")
        host.frozen = host.stalled = False
        node, incarnation = host.node, host.incarnation
        unfinished, host.unfinished = host.unfinished, []
        self._carry_out(host, unfinished, host.now(self.t))
        backlog, host.backlog = host.backlog, []
        if self.rng.random() < 0.5:
            backlog.sort(key=lambda item: item[0] != "timer")
        for kind, item in backlog:
            if host.node is not node or host.incarnation != incarnation:
                return
            if host.frozen:
                host.backlog.append((kind, item))
            elif kind == "event":
                self.step(host, item)
            elif kind == "timer":
                self.executor.timer_due(host, item)
            elif kind == "next":
                self.executor.operations.begin_next(host, *item)
            else:
                self.executor.operations.ended(host, *item)
