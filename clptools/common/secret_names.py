"""Names of keys and parameters that say that nobody should see the value."""

from __future__ import annotations

import re

SECRET = re.compile(
    r"communit|passw|passphrase|pass\b|pwd\b|secret|credential|token|api_?key", re.IGNORECASE
)
"""In a name: the value is a secret, or says where one lies."""


def is_secret(name: str) -> bool:
    """Whether the name says so."""
    return SECRET.search(name) is not None


def shown(name: str, value: object) -> str:
    """The value, unless nobody should see it."""
    return "(not shown)" if is_secret(name) else str(value)
