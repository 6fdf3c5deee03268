"""Faults, warnings and notes about a place, as objects; library code never prints and never exits.

Only `clptools.cli.main` turns a `Report` into a line on stderr and an exit status.
"""

from __future__ import annotations

import msgspec


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
