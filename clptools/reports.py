"""Faults, warnings and notes about a place, as objects; library code never prints and never exits.

Only `clptools.cli.main` turns a `Report` into a line on stderr and an exit status.
"""

from __future__ import annotations

import re

import msgspec

from clptools.faults import plain

_MESSAGE = 2_000
"""Longer messages are cut."""
_WORD, _HEAD, _TAIL = re.compile(r"\S{161,}"), 100, 20
"""Longer words are no names: their beginning and their end are enough to find them."""


def legible(text: str) -> str:
    """What a message may repeat of a file: one `plain` line of bounded length."""
    text = plain(text[: 100 * _MESSAGE])
    if len(text) <= 160:
        return text
    text = _WORD.sub(lambda found: f"{found[0][:_HEAD]}…{found[0][-_TAIL:]}", text)
    return text if len(text) <= _MESSAGE else f"{text[: _MESSAGE - 1]}…"


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
