"""A lease on a shared disk: who may hold it, told by slots that each server alone writes.

    IDLE --nobody stands--> WANTS --nobody stands, seen after that write--> HOLDS --+
      ^------ another stands who goes before us ------'                ^------------'
      ^------ released, or our time ran out -------------------------- '  renewed likewise

To take or to renew: note the time (`asked_at`), write our slot with a new number, *then* read
all slots.  We have the lease, for `lease_ms` from `asked_at`, if in that reading no other slot
*stands*.  A slot stands while it says WANTS or HOLDS, unless we have seen it unchanged for its
own `lease_ms` and the drift margin, from the end of a reading to the beginning of another.

Never two: say A and B both have it at one instant.  Each wrote, then read the other's slot as
not standing.  The disk puts the two writes in an order, say A's first; so B read A's slot as A
had written it or later.  If it said IDLE, A had given up its lease before.  If B took it for
dead, B had seen it unchanged for longer than A's lease, of which A counts from before the write.
If A has renewed since, A's newer write came after B's reading, so A's reading after that found
B's slot standing, and A did not get the lease.  No limit on how long a write or a reading may
take is used, only that clocks (of the two hosts) differ by less than the drift margin.

Who goes before whom matters only for progress: one whose lease runs goes before all; HOLDS goes
before WANTS; of those who want, the lower slot.  Who must yield writes IDLE.

A slot belongs to the server whose name is in it.  A server without one writes its name into a
free one (number 0), and uses it once it has stayed there for a lease.  Two that choose the same
find out in that time; and because number 0 stands like a claim, a slot that was overwritten by
a late write keeps everybody out until its former owner's lease has ended.

The disk carries one slot of 4096 bytes for each server, from its first byte on.  Only the first
512 bytes of a slot are used, so that a slot is written in one sector whatever the disk's sector
size; 4096 bytes apart, so that no write touches a neighbour's sector.

    0   16  magic
    16  2   length of what follows, big-endian
    18      MessagePack of `Slot`
    508 4   CRC-32 of the first 508 bytes, big-endian

The steps are generators that yield what is to be done to the disk, so a test can run any
interleaving of any number of servers, with clocks of its own.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Generator
from enum import IntEnum

import msgspec

from clptools.arbiters.base import Held
from clptools.core.model.timing import drift_margin

SLOT_BYTES = 4096
SLOTS = 64
"""Twice as many servers as a cluster may have, for those that were renamed."""
AREA_BYTES = SLOTS * SLOT_BYTES
USED_BYTES = 512
_MAGIC = b"clptools disk 1\0"
PAUSE_MS = 20
"""Between two readings while another is expected to yield."""


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


# ---------------------------------------------------------------------- the lease


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """Read the whole area; answered with its bytes."""


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """Write one slot, and wait until it is on the disk; answered with nothing."""

    index: int
    slot: Slot


class Pause(msgspec.Struct, frozen=True, kw_only=True):
    """Wait a little; answered with nothing."""

    ms: int


Step = Read | Write | Pause
Steps = Generator[Step, bytes, Held]
Part = Generator[Step, bytes, None]


class _Watched(msgspec.Struct, frozen=True, kw_only=True):
    seen: Seen
    since: int
    """The end of the reading that first found it so."""


class DiskLease:
    """One server's side.  `now` is a clock in ms that runs on through sleep."""

    def __init__(
        self, cluster: str, server: str, token: str, preferred: int, now: Callable[[], int]
    ) -> None:
        """`preferred`: which slot to take if it has none and that one is free."""
        self._cluster = cluster
        self._server = server
        self._token = token
        self._preferred = preferred
        self._now = now
        self._watched: dict[int, _Watched] = {}
        self._looked_at = 0
        """When the newest reading began."""
        self._written: Slot | None = None
        """What we wrote last; None: nothing, in this run."""
        self._index = -1
        self._until = 0
        """Until when we have the lease, by our own clock."""

    def hold(self, lease_ms: int, patience_ms: int) -> Steps:
        """Take or renew the lease; waits `patience_ms` at most for one who must yield."""
        asked_at = self._now()
        trouble = yield from self._settle(lease_ms)
        if trouble:
            return Held(error=trouble)
        renewing = asked_at < self._until
        standing = self._standing(lease_ms)
        if not renewing and standing:
            yield from self._withdraw(lease_ms)
            return self._denied(standing)
        yield from self._write(Claim.HOLDS if renewing else Claim.WANTS, lease_ms)
        while True:
            yield from self._look()
            if not self._intact():
                return Held(error=self._lost())
            standing = self._standing(lease_ms)
            if not standing:
                break
            if not renewing and any(self._goes_before(index) for index in standing):
                yield from self._withdraw(lease_ms)
                return self._denied(standing)
            if self._now() >= asked_at + patience_ms:
                if not renewing:
                    yield from self._withdraw(lease_ms)
                return self._denied(standing)
            yield Pause(ms=PAUSE_MS)
        if not renewing:
            yield from self._write(Claim.HOLDS, lease_ms)
        if self._now() >= asked_at + lease_ms:
            late_ms = self._now() - asked_at
            self._until = 0
            yield from self._withdraw(lease_ms)
            return Held(error=f"reading and writing took {late_ms / 1000:.1f} s")
        self._until = asked_at + lease_ms
        return Held(held=True, holder=self._server)

    def release(self, lease_ms: int) -> Steps:
        """Give the lease back; its holder must have stopped counting on it."""
        self._until = 0
        if self._index >= 0:
            yield from self._look()
            if self._intact():
                yield from self._withdraw(lease_ms)
        return Held()

    def join(self, lease_ms: int) -> Steps:
        """Get a slot, so that the first claim need not wait for that."""
        trouble = yield from self._settle(lease_ms)
        return Held(error=trouble)

    # Our own slot

    def _settle(self, lease_ms: int) -> Generator[Step, bytes, str]:
        """Read, and see that we have a slot; returns why we cannot use it yet."""
        yield from self._look()
        if self._index >= 0 and not self._intact():
            return self._lost()
        other = next(
            (
                w.seen.slot.cluster
                for w in self._watched.values()
                if w.seen.slot is not None and w.seen.slot.cluster != self._cluster
            ),
            "",
        )
        if other:
            return f"it is in use by the cluster {other}"
        if self._index < 0:
            self._index = self._find()
        if self._index < 0:
            yield from self._register(lease_ms)
            if self._index < 0:
                return f"its {SLOTS} slots are taken; clear its first {AREA_BYTES} bytes"
            return f"joins it, ready after {_wait_ms(lease_ms) / 1000:.1f} s"
        watched = self._watched[self._index]
        slot = watched.seen.slot
        assert slot is not None, "found by its name"
        if self._written is not None and slot.number > 0:
            return ""
        # An earlier run's claim is another's, also where its agent is ours and counts on it;
        # and a name just written may have met another's.
        idle = slot.claim is Claim.IDLE and slot.number > 0
        left_ms = watched.since + _wait_ms(slot.lease_ms) - self._looked_at
        if not idle and left_ms > 0:
            return f"joins it, ready after {left_ms / 1000:.1f} s"
        yield from self._write(Claim.IDLE, lease_ms, number=slot.number + 1)
        yield from self._look()
        return "" if self._intact() else self._lost()

    def _find(self) -> int:
        for index, watched in sorted(self._watched.items()):
            slot = watched.seen.slot
            if slot is not None and slot.server == self._server:
                return index
        return -1

    def _register(self, lease_ms: int) -> Part:
        free = [index for index, watched in sorted(self._watched.items()) if watched.seen.free]
        if not free:
            return
        self._index = self._preferred if self._preferred in free else free[0]
        yield from self._write(Claim.IDLE, lease_ms, number=0)
        yield from self._look()  # from its end on, the name must stay

    def _intact(self) -> bool:
        """Whether our slot is what we wrote last; the name alone, before we wrote."""
        slot = self._watched[self._index].seen.slot
        if self._written is not None:
            return slot == self._written
        return slot is not None and slot.server == self._server

    def _lost(self) -> str:
        slot = self._watched[self._index].seen.slot
        self._index, self._written, self._until = -1, None, 0
        if slot is None:
            return "its slot was cleared or damaged; joins it again"
        if slot.server == self._server:
            return f"another server that calls itself {self._server} writes into the same slot"
        return f"its slot is {slot.server}'s now; joins it again"

    def _withdraw(self, lease_ms: int) -> Part:
        if self._written is not None and self._written.claim is not Claim.IDLE:
            self._until = 0
            yield from self._write(Claim.IDLE, lease_ms)

    def _write(self, claim: Claim, lease_ms: int, *, number: int = -1) -> Part:
        if number < 0:
            assert self._written is not None, "claims come after the first write"
            number = self._written.number + 1
        self._written = Slot(
            cluster=self._cluster,
            server=self._server,
            token=self._token,
            claim=claim,
            number=number,
            lease_ms=lease_ms,
        )
        yield Write(index=self._index, slot=self._written)

    # The others' slots

    def _look(self) -> Part:
        began = self._now()
        area = yield Read()
        ended = self._now()
        for index in range(SLOTS):
            raw = area[index * SLOT_BYTES : index * SLOT_BYTES + USED_BYTES]
            known = self._watched.get(index)
            if known is None or known.seen.raw != raw:
                self._watched[index] = _Watched(seen=decode(raw), since=ended)
        self._looked_at = began

    def _standing(self, lease_ms: int) -> list[int]:
        return [
            index
            for index, watched in sorted(self._watched.items())
            if index != self._index and self._stands(watched, lease_ms)
        ]

    def _stands(self, watched: _Watched, lease_ms: int) -> bool:
        seen = watched.seen
        if seen.free:
            return False
        slot = seen.slot
        if slot is not None:
            if slot.claim is Claim.IDLE and slot.number > 0:
                return False
            lease_ms = slot.lease_ms
        return self._looked_at - watched.since < _wait_ms(lease_ms)

    def _goes_before(self, index: int) -> bool:
        slot = self._watched[index].seen.slot
        return slot is None or slot.claim is not Claim.WANTS or index < self._index

    def _denied(self, standing: list[int]) -> Held:
        slots = [self._watched[index].seen.slot for index in standing]
        named = [slot for slot in slots if slot is not None]
        if not named:
            return Held(error=f"slot {standing[0]} is unreadable; waits as if it were a claim")
        # Who wants it only is no holder, but the one for whom we wait.
        return Held(holder=max(named, key=lambda slot: slot.claim).server)


def _wait_ms(lease_ms: int) -> int:
    return lease_ms + drift_margin(lease_ms)
