"""What a shared disk carries: one slot of 4096 bytes for each server, from its first byte on.

Only the first 512 bytes of a slot are used, so that a slot is written in one sector whatever the
disk's sector size; 4096 bytes apart, so that no write touches a neighbour's sector.

    0   16  magic
    16  2   length of what follows, big-endian
    18      MessagePack of `Slot`
    508 4   CRC-32 of the first 508 bytes, big-endian
"""

from __future__ import annotations

import zlib
from enum import IntEnum

import msgspec

SLOT_BYTES = 4096
SLOTS = 64
"""Twice as many servers as a cluster may have, for those that were renamed."""
AREA_BYTES = SLOTS * SLOT_BYTES
USED_BYTES = 512
_MAGIC = b"clptools disk 1\0"


class Claim(IntEnum):
    """What a server says of itself in its slot."""

    IDLE = 0
    WANTS = 1
    HOLDS = 2


class Slot(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """A server's slot.  `number` differs in everything it ever wrote in one run."""

    cluster: str
    server: str
    token: str
    claim: Claim
    number: int
    lease_ms: int


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """A slot as read."""

    raw: bytes
    slot: Slot | None
    """None: empty (`free`), or unreadable."""
    free: bool = False


def encode(slot: Slot) -> bytes:
    """The slot's bytes, all of them.  Raises ValueError: the names are too long."""
    body = msgspec.msgpack.encode(slot)
    head = _MAGIC + len(body).to_bytes(2) + body
    if len(head) > USED_BYTES - 4:
        raise ValueError("the names of cluster and server are too long for a slot")
    head = head.ljust(USED_BYTES - 4, b"\0")
    return (head + zlib.crc32(head).to_bytes(4)).ljust(SLOT_BYTES, b"\0")


def decode(raw: bytes) -> Seen:
    """Read a slot's bytes; never raises."""
    used = raw[:USED_BYTES]
    if not any(used):
        return Seen(raw=used, slot=None, free=True)
    head = used[:-4]
    slot: Slot | None = None
    if head.startswith(_MAGIC) and zlib.crc32(head).to_bytes(4) == used[-4:]:
        start = len(_MAGIC) + 2
        body = head[start : start + int.from_bytes(head[len(_MAGIC) : start])]
        try:
            slot = msgspec.msgpack.decode(body, type=Slot)
        except msgspec.DecodeError:
            slot = None
    return Seen(raw=used, slot=slot)


def foreign(area: bytes) -> bool:
    """Whether anything but slots is there: a file system, a partition table, another program."""
    slots = (area[at : at + SLOT_BYTES] for at in range(0, AREA_BYTES, SLOT_BYTES))
    return any(any(slot) and not slot.startswith(_MAGIC) for slot in slots)
