"""POSIX access control lists, as the kernel takes them (acl(5), posix_acl_xattr.h)."""

from __future__ import annotations

import struct

NOBODY = 0xFFFFFFFF
"""The user of an entry that has none."""


def access_list(*entries: tuple[int, int, int]) -> bytes:
    """A list of (tag, permissions, user or group): 1 owner, 2 a user, 4 the owning group, 8 a
    group, 16 the mask, 32 everybody else."""
    packed = (struct.pack("<HHI", *entry) for entry in entries)
    return struct.pack("<I", 2) + b"".join(packed)
