"""Keys of the cluster: each purpose has its own, all derived from the one shared `authkey`.

HKDF with SHA-256 (RFC 5869); the label keeps purposes apart, so that a heartbeat key that
leaks says nothing of the certificate authority's key.
"""

from __future__ import annotations

import hashlib
import hmac

MIN_AUTHKEY_BYTES = 16
"""Shorter secrets can be guessed; `clpcfctrl --keygen` makes 32 random bytes."""

_SALT = b"clptools 1"


def derive(authkey: bytes, label: str, length: int = 32) -> bytes:
    """The key for the purpose `label`.  Raises ValueError for an authkey that is too short."""
    if len(authkey) < MIN_AUTHKEY_BYTES:
        raise ValueError(f"the authkey has {len(authkey)} bytes, at least 16 are needed")
    secret = hmac.digest(_SALT, authkey, "sha256")
    block, made, counter = b"", b"", 0
    while len(made) < length:
        counter += 1
        block = hmac.digest(secret, block + label.encode() + bytes([counter]), "sha256")
        made += block
    return made[:length]


def cluster_id(cluster: str) -> bytes:
    """Eight bytes that tell one cluster's datagrams from another's; no secret."""
    return hashlib.sha256(b"clptools cluster\0" + cluster.encode()).digest()[:8]
