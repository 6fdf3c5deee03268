"""How this server begins to leave the cluster: by command, or as the end of a recovery."""

from __future__ import annotations

from clptools.core.groups.lifecycle import Lifecycle
from clptools.core.model.state import Phase
from clptools.core.model.states import GroupWhy
from clptools.core.step import Change, Step


class Leaving:
    """The first step of it; `requests/service.py` goes on."""

    def __init__(self, step: Step, lifecycle: Lifecycle) -> None:
        self.step = step
        self.lifecycle = lifecycle

    def begin(self, then: str, *, no_move: bool) -> None:
        """Begins to leave: no group is taken any more, those held are stopped."""
        step = self.step
        if step.life.phase is not Phase.RUNNING:
            return
        step.life.phase = Phase.LEAVING
        step.life.then = then
        step.life.no_move = no_move
        step.life.left_at = step.now
        for name in self.lifecycle.held():
            self.lifecycle.stop(name, GroupWhy.LEAVING, "CLUSTERSTOP" if no_move else "SERVERSTOP")
        step.changed(Change.BEATS, Change.DECISIONS)
