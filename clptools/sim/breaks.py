"""What is to happen at an exact place in the work of a server: `before` and `after` lines.

A place is an action, counted from the line on; so a fault meets the one instant in which it
matters, which no random time would find.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clptools.core.model.actions import Action
    from clptools.sim.host import Host
    from clptools.sim.world import World

Perform = Callable[["World", str], object]

AT_ONCE = {
    "arbiter", "bmc", "cut", "cut-oneway", "deaf", "disk", "double", "drift", "forget", "heal",
    "hold", "isolate", "kill", "late", "lose", "mute", "off", "pass", "pause", "reset", "run",
    "script", "split", "stall", "tap", "watchdog", "wipe",
}  # fmt: skip
"""Verbs that may come between two actions: they hand no event to a core."""


def strike(world: World, perform: Perform, line: str, later_us: int) -> None:
    """Carry out a line that came between two actions, now or so much later."""
    if not later_us and line.split()[0] in AT_ONCE:
        perform(world, line)
    else:
        # What hands a core an event waits till the list of actions is through.
        world.at(world.t + later_us, perform, world, line)


@dataclass(slots=True)
class Break:
    """One line."""

    left: int
    """How many actions of its server come first."""
    line: str
    later_us: int
    before: bool
    perform: Perform


@dataclass(slots=True)
class Breaks:
    """All such lines of one world; called between any two actions."""

    world: World
    until_us: int = 0
    """When the last line that has its place is to be carried out."""
    waiting: dict[str, list[Break]] = field(default_factory=dict)
    """Server -> its lines."""

    def add(
        self,
        host: Host,
        count: int,
        line: str,
        later_us: int,
        perform: Perform,
        *,
        before: bool,
    ) -> None:
        """At, and that long after, the `count`-th action of that server from now on (from 1)."""
        left = count - 1 if before else count
        item = Break(left, line, later_us, before, perform)
        self.waiting.setdefault(host.name, []).append(item)

    def __call__(self, host: Host, actions: Sequence[Action], done: int) -> None:
        """So many actions of this server's list are done."""
        lines = self.waiting.get(host.name)
        if not lines:
            return
        due = []
        for item in lines:
            item.left -= done > 0
            if item.left == 0 and (done < len(actions) if item.before else done > 0):
                due.append(item)
        for item in due:
            lines.remove(item)
            self.until_us = max(self.until_us, self.world.t + item.later_us)
            strike(self.world, item.perform, item.line, item.later_us)


def last_break(world: World) -> int:
    """The true instant of the last line that is still to be carried out, or 0."""
    return world.between.until_us if isinstance(world.between, Breaks) else 0
