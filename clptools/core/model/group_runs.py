"""Questions that every room asks of the groups on this server."""

from __future__ import annotations

from collections.abc import Mapping

from clptools.core.model.settings import Settings
from clptools.core.model.state import GroupRun

Runs = Mapping[str, GroupRun]
"""Group -> how it is here; to read."""


def holds_any(runs: Runs) -> bool:
    """Whether anything is held here."""
    return any(run.held for run in runs.values())


def held(runs: Runs, settings: Settings) -> list[str]:
    """Names of what is held here, in configured order."""
    names = [g.name for g in settings.groups if g.name in runs and runs[g.name].held]
    return names + [n for n, r in runs.items() if r.held and n not in names]


def purging(runs: Runs) -> tuple[str, ...]:
    """Groups that are not held, and of which something may be left from before the boot."""
    return tuple(name for name, run in runs.items() if run.purge and not run.held)
