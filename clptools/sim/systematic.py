"""Every single fault, or every pair of a short list, at every place of every story.

A place is between two actions of a step that did more than routine sending, or in a quiet time,
one, two, four, ... seconds after the last news.  There the world is copied (`children.py`); the
copy gets the fault, lives through the rest of the story, is mended and must settle, all promises
being checked.  A place is skipped where the fault would have the same effect as at the place just
before (`_Explorer._new`) or at the next one (`catalogue.touches`).
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, NoReturn

import msgspec

from clptools.core.model import actions as a
from clptools.core.model.durable import Durable
from clptools.core.model.messages import Control, Grant, Report
from clptools.core.model.settings import Settings
from clptools.core.node import Node
from clptools.sim.breaks import strike
from clptools.sim.catalogue import Fault, Story, catalogue, comes_between, is_seen, stories, touches
from clptools.sim.children import Broken, Children, Outcome
from clptools.sim.host import SECOND, Host, MakeNode
from clptools.sim.repair import needs_help
from clptools.sim.scenario import HANDED, make_world, sample_of, settle
from clptools.sim.verbs import perform

QUIET_US = SECOND
"""Least time between two places in a quiet period."""
_MANY = 4
"""From this many servers on, faults hit only those that matter just then; the rest are alike."""
PAIRS_EACH = 4
"""Where not all pairs are played: how many second faults are played with each first fault."""
_LENGTHS = "interval_s=0.5 timeout_s=2.0 lease_s=2.5 self_stop_s=4.0"
"""Short ones for sample clusters, in about the proportions of the defaults."""
ORDERED = "3bmc groups=3 ordered=1 apart=normal"
"""Groups that start and stop after each other, and one that is kept apart."""
SAMPLES = ("2bmc", "2bmcstrong", "3bmc", "3lease", "5bmc", ORDERED)
"""Clusters that are taken where none is named."""

_NEWS = (
    a.SetMember,
    a.Fence,
    a.ReleaseArbiter,
    a.RunResource,
    a.RunScript,
    a.ArmWatchdog,
    a.DisarmWatchdog,
    a.HostAction,
    a.ArmDeadman,
    a.StandDown,
    a.Record,
    a.SetService,
    a.Reincarnate,
    a.Exit,
)
"""A step with one of these did more than the usual beats, timers and questions."""
_RENEWED: dict[str, Any] = {"lease_until": 0, "off": {}}
"""Fields that are rewritten though nothing changed."""


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be played."""

    settings: Settings
    cluster: str
    """The scenarios' line that makes this cluster, without its first word."""
    pairs: bool = False
    most: int = 0
    """About this many schedules at most, evenly spread; 0: all."""
    jobs: int = 1
    only: tuple[str, ...] = ()
    """Names of stories; none: all."""
    make_node: MakeNode = Node
    restore_node: MakeNode = Node.restore


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a fault comes."""

    server: str
    count: int
    before: bool
    action: str
    at_us: int

    def words(self) -> str:
        """As a line of `verbs.py` begins."""
        return f"{'before' if self.before else 'after'} {self.server} {self.count}"

    def text(self) -> str:
        """For people."""
        word = "before" if self.before else "after"
        when = f"{self.at_us / SECOND:.3f} s"
        return f"{when}, {word} action {self.count} of {self.server} ({self.action})"


def sample_task(name: str, **options: Any) -> Task:
    """A sample cluster, with short lengths: its name, and `KEY=VALUE` words after it.

    Raises Unknown, and BadLine for a word that is none.
    """
    given = f"{name} {_LENGTHS}"
    return Task(settings=sample_of(given), cluster=f"{given} boot=4 steady=1", **options)


def own_task(settings: Settings, **options: Any) -> Task:
    """A configuration, with the lengths that it has."""
    return Task(settings=settings, cluster=f"{HANDED} boot=4 steady=1", **options)


def run(task: Task) -> Iterator[tuple[str, Outcome]]:
    """Story after story: its name, and how it went."""
    chosen = [s for s in stories(task.settings) if not task.only or s.name in task.only]
    left = task.most
    for i, story in enumerate(chosen):
        share = max(1, left // (len(chosen) - i)) if task.most else 0
        report = _play(task, story, share)
        left -= report.schedules
        yield story.name, report


def _play(task: Task, story: Story, most: int) -> Outcome:
    """One story with all that may come in between."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    explorer = _Explorer(task, story, most)
    try:
        return explorer.play()
    except Exception:
        if not explorer.is_copy:
            raise
        explorer.crashed(traceback.format_exc())


class _Explorer:
    """One world in which faults come, and the copies of it."""

    def __init__(self, task: Task, story: Story, most: int) -> None:
        self._task = task
        self._story = story
        self._most = most
        self._world = make_world(
            task.cluster.split(), task.make_node, task.restore_node, task.settings
        )
        self._faults = [x for x in catalogue(task.settings) if x.short or not task.pairs]
        self._depth = 2 if task.pairs else 1
        self._children = Children(task.jobs)
        self._parent = self._children
        """Where a copy tells how it went."""
        self._struck: list[tuple[Place, Fault]] = []
        self._until_us = 0
        self._index = 0
        self._chosen: set[int] | None = None
        """Which schedules are played, by number; None: all."""
        self._counts_only = False
        self._count = dict.fromkeys(self._world.hosts, 0)
        self._news = False
        self._known: dict[str, Durable] = {}
        """Server -> what it wrote last."""
        self._said: dict[tuple[str, str], Control] = {}
        """(from, to) -> what was said last."""
        self._placed_us = 0
        self._news_us = 0
        self._instant: list[tuple[str, a.Action]] = []
        """What was done at this instant."""
        self._instant_us = -1
        self._played: dict[int, int] = {}
        """Number of a fault -> how much had been done at this instant when it was played."""
        self.is_copy = False

    # --- the story -------------------------------------------------------------------------

    def play(self) -> Outcome:
        """Live through it.  Only the first process returns; copies end here."""
        world = self._world
        for line in self._story.begin:
            perform(world, line)
        if self._most:
            self._choose(-(-self._most // PAIRS_EACH) if self._task.pairs else self._most)
        world.between = self
        for line in self._story.lines:
            if world.check.violations:
                break
            perform(world, line)
        if not world.check.violations:
            world.run_until(max(world.t, self._until_us))
        world.between = None
        report = Outcome()
        if self._counts_only:
            report.possible = self._index
            self._end(report)
        report.add(self._children.wait())
        if len(self._struck) == self._depth - 1:
            report.possible = self._index
        if not self._struck or len(self._struck) == self._depth:
            settle(world, aided=self._aided())
            world.check.finish()
            report.schedules += 1
        broken = self._broken()
        report.broke += bool(broken)
        report.keep(broken)
        if self.is_copy:
            self._end(report)
        return report

    def _choose(self, most: int) -> None:
        """Choose `most` of the schedules that there are: a copy runs ahead and counts them."""
        if self._children.fork():
            self.is_copy = self._counts_only = True
            self._parent = self._children
            return
        counted = Outcome()
        counted.add(self._children.wait())
        if counted.possible > most:
            rng = Random(f"{self._story.name} {self._index} {self._struck}")
            self._chosen = set(rng.sample(range(counted.possible), most))

    def _end(self, report: Outcome) -> NoReturn:
        self._parent.tell_and_end(msgspec.msgpack.encode(report))

    def crashed(self, trace: str) -> NoReturn:
        """The core, or the simulator, raised."""
        self._world.check.report("CRASH", trace.strip().splitlines()[-1])
        self._end(Outcome(schedules=1, broke=1, broken=self._broken()))

    def _aided(self) -> bool:
        lines = [line for _, fault in self._struck for _, line in fault.lines]
        return needs_help([*self._story.lines, *lines])

    def _broken(self) -> list[Broken]:
        found = {v.invariant: v for v in self._world.check.violations}
        return [
            Broken(
                story=self._story.name,
                at="; ".join(place.text() for place, _ in self._struck),
                faults=tuple(_words(fault) for _, fault in self._struck),
                invariant=v.invariant,
                text=v.told(),
                reproduce=self._scenario(v.line()),
            )
            for v in found.values()
        ]

    def _scenario(self, broken: str) -> str:
        lines = [
            f"{place.words()}{f'+{later:g}' if later else ''} {line}"
            for place, fault in self._struck
            for later, line in fault.lines
        ]
        return "\n".join(
            [
                f"# {self._story.name}: {broken}",
                f"cluster {self._task.cluster}",
                "log none",
                *self._story.begin,
                "log story",
                *lines,
                *self._story.lines,
                "settle aided" if self._aided() else "settle",
                "----",
                "",
            ]
        )

    # --- places ----------------------------------------------------------------------------

    def __call__(self, host: Host, actions: Sequence[a.Action], done: int) -> None:
        """So many actions of this server's list are done: is this a place?"""
        world = self._world
        if self._instant_us != world.t:
            self._instant_us = world.t
            self._instant.clear()
            self._played.clear()
        if done:
            self._count[host.name] += 1
            if is_seen(actions[done - 1]):
                self._instant.append((host.name, actions[done - 1]))
        else:
            news = [self._is_news(host, x) for x in actions]  # all: each remembers what it saw
            self._news = any(news)
        if not actions:
            return
        at_end = done == len(actions)
        if self._news:
            self._news_us = world.t
        elif not at_end or world.t - self._placed_us < max(
            QUIET_US, (world.t - self._news_us) // 2
        ):
            return
        if not at_end and not is_seen(actions[done]):
            return
        self._placed_us = world.t
        self._here(host, actions, done)

    def _is_news(self, host: Host, action: a.Action) -> bool:
        if isinstance(action, a.SendControl):
            message = action.message
            if isinstance(message, Report):
                return False
            if isinstance(message, Grant):  # it is said again with every beat until it is taken
                message = msgspec.structs.replace(message, sent_at=0)
            path = host.name, action.to
            said, self._said[path] = self._said.get(path), message
            return said != message
        if not isinstance(action, a.Persist) or action.durable is None:
            return isinstance(action, (*_NEWS, a.Persist))
        known = msgspec.structs.replace(action.durable, **_RENEWED)
        was, self._known[host.name] = self._known.get(host.name), known
        return was != known

    def _here(self, host: Host, actions: Sequence[a.Action], done: int) -> None:
        at_end = done == len(actions)
        action = actions[done - 1 if at_end else done]
        place = Place(
            server=host.name,
            count=self._count[host.name] + (not at_end),
            before=not at_end,
            action=type(action).__name__,
            at_us=self._world.t,
        )
        cast = self._cast(host.name)
        for number, fault in enumerate(self._faults):
            if not cast.issuperset(fault.servers) or self._beyond(fault):
                continue
            if not at_end and not touches(fault, host.name, action):
                continue
            if at_end and not (comes_between(fault, host.name) and self._new(number, fault)):
                continue
            self._played[number] = len(self._instant)
            if self._try(place, fault):
                return

    def _beyond(self, fault: Fault) -> bool:
        """Whether this fault is outside what the promises cover.

        A BMC that says "off" of a server that runs, in a session that lives, is believed where the
        server is silent on every path, its kernel too: nothing is left that could say otherwise.
        """
        if fault.kind != "lie":
            return False
        hosts, network = self._world.hosts, self._world.network
        [name] = fault.servers
        return hosts[name].stalled or not all(
            network.connected(name, other.name)
            for other in hosts.values()
            if other.name != name and other.powered
        )

    def _new(self, number: int, fault: Fault) -> bool:
        """Whether it may turn out differently from when it was last played at this instant."""
        before = self._played.get(number)
        return before is None or any(touches(fault, s, x) for s, x in self._instant[before:])

    def _cast(self, actor: str) -> set[str]:
        """The servers that faults may meet here."""
        names = self._world.settings.names
        if len(names) < _MANY:
            return set(names)
        hosts = self._world.hosts.values()
        roles = {actor} | {h.name for h in hosts if h.active}
        offices = [h for h in hosts if h.node is not None]
        roles |= {h.name for h in offices if h.node.state.election.office == "coordinator"}
        return roles if len(roles) > 1 else roles | {next(n for n in names if n != actor)}

    # --- copies ----------------------------------------------------------------------------

    def _try(self, place: Place, fault: Fault) -> bool:
        """Play this fault here in a copy; True in the copy if nothing else is to come."""
        number = self._index
        self._index += 1
        if self._counts_only or (self._chosen is not None and number not in self._chosen):
            return False
        if not self._children.fork():
            return False
        self.is_copy = True
        self._parent = self._children
        world = self._world
        self._struck.append((place, fault))
        for later, line in fault.lines:
            later_us = round(later * SECOND)
            self._until_us = max(self._until_us, world.t + later_us)
            strike(world, perform, line, later_us)
        if len(self._struck) == self._depth:
            world.between = None
            return True
        self._children = Children(1)
        self._index = 0
        self._chosen = None
        self._played.clear()
        if self._most:
            self._choose(PAIRS_EACH)
        return False


def _words(fault: Fault) -> str:
    return "; ".join(
        f"{line} ({later:g} s later)" if later else line for later, line in fault.lines
    )
