"""What is not well on this server itself: a port that is taken, a disk that is full, unusable keys.

The agent finds it out and tells it; here it becomes part of the status that the servers share.
Nothing is decided by it.
"""

from __future__ import annotations

from clptools.core.model.events import ConditionSeen
from clptools.core.model.state import Condition
from clptools.core.step import Change, Step

_MOST = 16
"""More at once are no news, and the status goes to every server."""


class Conditions:
    """The conditions of this server, in the order in which they began."""

    def __init__(self, step: Step, state: dict[str, Condition]) -> None:
        self.step = step
        self.state = state

    def seen(self, event: ConditionSeen) -> None:
        """One begins, goes on with other words, or is over (no text)."""
        before = self.state.get(event.name)
        self.step.changed(Change.REPORT)
        if not event.text:
            self.state.pop(event.name, None)
        elif before is not None or len(self.state) < _MOST:
            self.state[event.name] = Condition(
                text=event.text,
                mend=event.mend,
                monitors=event.monitors,
                since=before.since if before is not None else self.step.now,
            )
