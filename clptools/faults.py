"""The fault that may cross every layer, and its exit codes.

Apart from `enum` it imports nothing: commands that only read start within milliseconds, and a
JSON library for structs would cost them as much as the interpreter itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command."""

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


class ClpError(Exception):
    """A fault with its exit code, for the caller; `hint` says what would mend it."""

    def __init__(self, code: ExitCode, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


_SHOWN = 8
"""So many names fit into a line or two."""


def known(names: Iterable[str], word: str = "") -> str:
    """The hint for an unknown `word`: the names there are, those like it first.

    Where not all are shown it says how many are left out.  Empty: there are none.
    """
    from difflib import get_close_matches

    every = list(dict.fromkeys(names))
    near = get_close_matches(word, every, 3, 0.5)
    ordered = [*near, *(name for name in every if name not in near)]
    more = f" and {len(every) - _SHOWN} more" if len(every) > _SHOWN else ""
    return f"Known: {', '.join(ordered[:_SHOWN])}{more}" if every else ""


def no_such(what: str, name: str, names: Iterable[str]) -> ClpError:
    """The fault that no `what` has that name, with the names that may have been meant."""
    hint = known(names, name) or f"No {what} is configured."
    return ClpError(ExitCode.NO_SUCH, f"{name}: no such {what}.", hint)


def plain(text: str) -> str:
    """One line with nothing in it that a terminal would obey.

    For what repeats words of a file or a caller, where anything may stand.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
