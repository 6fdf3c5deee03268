"""The exit codes that the core itself gives to requests."""

from __future__ import annotations

FAILED = 1
NO_AGENT = 3
NO_SUCH = 5
REFUSED = 6
TIMED_OUT = 7
