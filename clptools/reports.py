"""Faults for operators are objects with a code; library code never prints and never exits.

Only `clptools.cli.main` turns a `Report` into a line on stderr and an exit status.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec


class ExitCode(IntEnum):
    """Exit codes of every command (`interface.md`, section 3)."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NO_AGENT = 3
    NOT_PERMITTED = 4
    NO_SUCH = 5
    REFUSED = 6
    TIMED_OUT = 7
    INVALID_CONFIG = 8
    FOUND = 9


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One fault, warning or note about one thing at one place, with its mend."""

    severity: str
    """`error`, `warning` or `note`."""
    message: str
    """One line that names the thing: `monitor mrw1: keyword '…': …`."""
    hint: str = ""
    file: str = ""
    line: int = 0
    key: str = ""
    """Dotted path in the configuration: `monitor.mrw1.keyword_on.server2`."""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}: " if self.file and self.line else ""
        place = place or (f"{self.file}: " if self.file else "")
        return f"{place}{self.message}"


class ClpError(Exception):
    """A fault with its exit code, for whoever called; `hint` says what would mend it."""

    def __init__(self, code: ExitCode, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
