"""Secrets made from the authkey for one program outside the cluster (`clpcfctrl --keygen --for`).

Each is a file of JSON whose first field says who it is for.
"""

from __future__ import annotations

DERIVED_FIELD = "for"
_HEAD = b'{"for":'
REMAKE = "clpcfctrl --keygen --for"


def is_derived(key: bytes) -> bool:
    """Whether `key` was made for one purpose; 32 random bytes begin so once in 2**56 keys."""
    return key.startswith(_HEAD)
