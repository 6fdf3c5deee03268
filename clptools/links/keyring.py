"""The shared secrets of the cluster on one server: usually one, two while the key is rolled.

A roll (`agent/key_roll.py`) has three steps, each done on every server before the next begins:

    accept   every server accepts the new key beside the old one, which all still use
    use      every server uses the new key, and still accepts the old one
    drop     no server accepts the old key any more

In each step, and between two of them, any two servers accept what the other one uses.
"""

from __future__ import annotations

import msgspec

from clptools.links.credentials import derive

_FINGERPRINT_BYTES = 4


class Keyring(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of this server."""

    own: bytes
    """Signs what this server sends."""
    next: bytes = b""
    """Accepted, and used from the next step on; empty: no roll has begun, or it is past that."""
    last: bytes = b""
    """Used before, and still accepted; empty: there is none."""

    @property
    def accepted(self) -> tuple[bytes, ...]:
        """All keys that count, first the one that signs."""
        return tuple(dict.fromkeys(key for key in (self.own, self.next, self.last) if key))


def fingerprint(key: bytes) -> str:
    """What names a key to people; tells nothing of it.  Empty for no key."""
    return derive(key, "fingerprint", _FINGERPRINT_BYTES).hex() if key else ""
