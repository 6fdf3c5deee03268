"""What a type of active monitor is given, and what it returns."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Protocol

import msgspec

from clptools.core.model.settings import Monitor, Resource, Settings


class Status(StrEnum):
    """What one round found."""

    NORMAL = "normal"
    CAUTION = "caution"
    ERROR = "error"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one round."""

    status: Status
    text: str = ""
    """What was found, for people; empty for a plain normal."""
    timed_out: bool = False
    """An error by time-out; it is not retried, as the time-out already was the patience."""


NORMAL = Verdict(status=Status.NORMAL)


def error(text: str) -> Verdict:
    """An error with its reason."""
    return Verdict(status=Status.ERROR, text=text)


class ScriptEnd(msgspec.Struct, frozen=True, kw_only=True):
    """How a monitor's script ended."""

    exit_status: int | None
    """None: it was killed."""
    timed_out: bool
    text: str


class RunScript(Protocol):
    """Runs a script to its end or deadline; may raise `ClpError`."""

    async def __call__(
        self, name: str, path: str, timeout_ms: int, environment: dict[str, str]
    ) -> ScriptEnd:
        """`name`: one script of a name runs at a time."""
        ...


class MonitorContext(msgspec.Struct, frozen=True, kw_only=True):
    """What monitors need of the agent."""

    server: str
    settings: Settings
    run_script: RunScript
    check_bmc: Callable[[], Awaitable[str]] | None = None
    """Asks this server's own BMC whether it works; returns a remark or raises `ClpError`.
    None: this server has no BMC."""
    check_resource: Callable[[str, Resource, int], Awaitable[Verdict]] | None = None
    """Asks a resource's own type whether it works: by group, resource, and time-out in ms; may
    raise `ClpError` or `OSError`.  None: no type is there to be asked."""


class MonitorModule(Protocol):
    """What the module of a monitor type provides."""

    async def check(self, monitor: Monitor, context: MonitorContext) -> Verdict:
        """One round.  Keeps `monitor.timeout_ms`; raises `ClpError` or `OSError` for an error
        and `TimeoutError` for a time-out.
        """
        ...
