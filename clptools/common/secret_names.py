"""Names of keys and parameters that say that nobody should see the value."""

from __future__ import annotations

import re
from collections.abc import Mapping

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


_NO_SECRETS = frozenset(("true", "false", "yes", "no", "on", "off"))
"""Values of parameters that only speak of a secret (`check_passwd_use_empty`)."""


def secrets_in(parameters: Mapping[str, str]) -> tuple[str, ...]:
    """The values among them that nobody should see."""
    return tuple(
        value
        for name, value in parameters.items()
        if value and is_secret(name) and value.lower() not in _NO_SECRETS
    )
