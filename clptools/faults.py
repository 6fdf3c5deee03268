"""The fault that may cross every layer, and its exit codes.

Apart from `enum` it imports nothing: commands that only read start within milliseconds, and a
JSON library for structs would cost them as much as the interpreter itself.
"""

from __future__ import annotations

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
