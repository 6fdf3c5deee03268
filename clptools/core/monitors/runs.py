"""The monitors of this server and how each of them stands."""

from __future__ import annotations

from clptools.core.model.settings import Monitor
from clptools.core.model.state import MonitorRun
from clptools.core.step import Step


class MonitorRuns:
    """Name -> state of a monitor here."""

    def __init__(self, step: Step, state: dict[str, MonitorRun]) -> None:
        self.step = step
        self.state = state

    def run(self, name: str) -> MonitorRun:
        """The state of a monitor here, made when first asked for."""
        runs = self.state
        found = runs.get(name)
        if found is None:
            found = runs[name] = MonitorRun()
        return found

    def here(self) -> list[Monitor]:
        """The monitors that run on this server."""
        return [m for m in self.step.settings.monitors if self.step.me in m.servers]
