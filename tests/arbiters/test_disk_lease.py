"""The algorithm of the shared disk, searched: slow disks, long pauses, clocks that differ."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable

import pytest

from clptools.arbiters.base import Held
from clptools.arbiters.disk_lease import (
    AREA_BYTES,
    SLOT_BYTES,
    SLOTS,
    Claim,
    DiskLease,
    Read,
    Slot,
    Steps,
    Write,
    decode,
    encode,
    foreign,
)

LEASE_MS = 3000


class World:
    """One disk, some servers, and the time that nobody sees."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.time = 0.0
        self.area = bytearray(AREA_BYTES)
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()

    def at(self, delay: float, what: Callable[[], None]) -> None:
        """Do it later."""
        heapq.heappush(self._heap, (self.time + delay, next(self._count), what))

    def run(self, end: float) -> None:
        """Until then."""
        while self._heap and self._heap[0][0] < end:
            self.time, _, what = heapq.heappop(self._heap)
            what()

    def delay(self) -> float:
        """What a reading or writing takes: mostly little, now and then very long."""
        chance = self.draw.random()
        if chance < 0.9:
            return self.draw.uniform(0.1, 30)
        return self.draw.uniform(30, 900 if chance < 0.985 else 3 * LEASE_MS)


class Server:
    """Wants the lease, keeps it for a while, forgets it, dies, starts again."""

    def __init__(self, world: World, number: int, place: int, drift: float) -> None:
        self.world = world
        self.name = f"server{number}"
        self.place = place
        self.rate = world.draw.uniform(1 - drift, 1 + drift)
        self.offset = world.draw.uniform(0, 1e6)
        self.spans: list[tuple[float, float]] = []
        self.life = 0
        self.in_flight = 0
        self._rise()

    def _start(self) -> DiskLease:
        return DiskLease("prod", self.name, f"run{self.life}", self.place, self.now)

    def now(self) -> int:
        return int(self.offset + self.rate * self.world.time)

    def _ask_in(self, delay: float) -> None:
        life = self.life
        self.world.at(delay, lambda: self._ask() if life == self.life else None)

    def _ask(self) -> None:
        self._perform(self.lease.hold(LEASE_MS, 700), self.world.time)

    def _perform(self, steps: Steps, asked: float) -> None:
        life = self.life

        def go(data: bytes | None) -> None:
            if life != self.life:
                return  # it died meanwhile; what it had sent to the disk happens all the same
            try:
                step = next(steps) if data is None else steps.send(data)
            except StopIteration as stop:
                self._answered(stop.value, asked)
                return
            first, then = self.world.delay(), self.world.delay()
            if isinstance(step, Read):
                read: list[bytes] = []
                self.world.at(first, lambda: read.append(bytes(self.world.area)))
                self.world.at(first + then, lambda: go(read[0]))
            elif isinstance(step, Write):
                self.in_flight += 1
                self.world.at(first, lambda: self._write(step))
                self.world.at(first + then, lambda: go(b""))
            else:
                self.world.at(step.ms, lambda: go(b""))

        go(None)

    def _write(self, step: Write) -> None:
        self.in_flight -= 1
        at = step.index * SLOT_BYTES
        self.world.area[at : at + SLOT_BYTES] = encode(step.slot)

    def _answered(self, held: Held, asked: float) -> None:
        world, draw = self.world, self.world.draw
        end = asked + LEASE_MS / self.rate
        if held.held and world.time < end:
            self.spans.append((world.time, end))
        what = draw.random()
        if held.held and what < 0.15:
            self.spans = [(begin, min(end, world.time)) for begin, end in self.spans]
            self._perform(self.lease.release(LEASE_MS), world.time)
        elif what < 0.2:  # forgets it, or is paused
            self._ask_in(draw.uniform(0, 3 * LEASE_MS))
        else:
            self._ask_in(draw.uniform(5, 1000))

    def _die(self) -> None:
        self.spans = [(begin, min(end, self.world.time)) for begin, end in self.spans]
        self.life += 1
        self._rise()

    def _rise(self) -> None:
        if self.in_flight:
            # The slot's lock is held until the disk is through with the earlier run's write.
            self.world.at(10, self._rise)
            return
        self.lease = self._start()
        self._ask_in(self.world.draw.uniform(0, LEASE_MS))
        self.world.at(self.world.draw.expovariate(1 / 20_000), self._die)


def clash(seed: int, *, servers: int = 3, drift: float = 0.01, places: bool = True) -> str:
    """Run one seed; what went wrong, or nothing."""
    world = World(seed)
    every = [Server(world, n, n if places else 0, drift) for n in range(servers)]
    world.run(60_000.0)
    spans = sorted((begin, end, s.name) for s in every for begin, end in s.spans)
    for (_, end, name), (begin, _, other) in itertools.combinations(spans, 2):
        if name != other and begin < end:
            return f"seed {seed}: {other} from {begin:.0f} while {name} has it until {end:.0f}"
    return "" if spans else f"seed {seed}: nobody ever held it"


@pytest.mark.parametrize("servers", [2, 3, 5])
def test_no_schedule_gives_it_to_two(servers: int) -> None:
    assert not [text for seed in range(60) if (text := clash(seed, servers=servers))]


def test_servers_that_choose_the_same_slot_find_out() -> None:
    assert not [text for seed in range(60) if (text := clash(seed, places=False))]


def test_this_search_finds_clocks_that_differ_too_much() -> None:
    assert any("while" in clash(seed, drift=0.4) for seed in range(60))


def test_this_search_finds_a_claim_without_a_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = DiskLease._standing
    calls = itertools.count()

    def blind(self: DiskLease, lease_ms: int) -> list[int]:
        return looked(self, lease_ms) if next(calls) % 2 == 0 else []

    monkeypatch.setattr(DiskLease, "_standing", blind)
    assert any("while" in clash(seed) for seed in range(60))


def test_a_slot_survives_its_way_over_the_disk_and_nothing_else_does() -> None:
    slot = Slot(
        cluster="prod", server="server1", token="t", claim=Claim.HOLDS, number=7, lease_ms=3000
    )
    raw = encode(slot)
    assert len(raw) == SLOT_BYTES
    assert decode(raw).slot == slot
    for at in range(512):
        damaged = bytearray(raw)
        damaged[at] ^= 0x10
        found = decode(bytes(damaged))
        assert found.slot is None
        assert not found.free
    assert decode(bytes(SLOT_BYTES)).free
    with pytest.raises(ValueError, match="too long"):
        encode(
            Slot(cluster="c" * 500, server="s", token="", claim=Claim.IDLE, number=0, lease_ms=1)
        )


def test_what_another_program_keeps_there_is_recognised() -> None:
    area = bytearray(AREA_BYTES)
    assert not foreign(bytes(area))
    area[SLOT_BYTES : 2 * SLOT_BYTES] = encode(
        Slot(cluster="prod", server="a", token="", claim=Claim.IDLE, number=1, lease_ms=1)
    )
    assert not foreign(bytes(area))
    area[0x438:0x43A] = b"\x53\xef"  # ext4's magic
    assert foreign(bytes(area))


def drive(lease: DiskLease, steps: Steps, area: bytearray) -> Held:
    """Run steps on a disk that takes no time."""
    try:
        step = next(steps)
        while True:
            data = bytes(area) if isinstance(step, Read) else b""
            if isinstance(step, Write):
                at = step.index * SLOT_BYTES
                area[at : at + SLOT_BYTES] = encode(step.slot)
            step = steps.send(data)
    except StopIteration as stop:
        assert isinstance(stop.value, Held)
        return stop.value


class Clock:
    """A clock that is set by hand."""

    now = 0

    def __call__(self) -> int:
        return self.now


def joined(name: str, place: int, area: bytearray, clock: Clock) -> DiskLease:
    lease = DiskLease("prod", name, "t", place, clock)
    drive(lease, lease.join(LEASE_MS), area)
    clock.now += 2 * LEASE_MS
    assert not drive(lease, lease.join(LEASE_MS), area).error
    return lease


def test_a_damaged_slot_keeps_others_out_for_a_lease_and_no_longer() -> None:
    area, clock = bytearray(AREA_BYTES), Clock()
    first = joined("server1", 0, area, clock)
    second = joined("server2", 1, area, clock)
    assert drive(first, first.hold(LEASE_MS, 0), area).held
    area[100] ^= 0xFF
    answer = drive(second, second.hold(LEASE_MS, 0), area)
    assert "unreadable" in answer.error
    assert "damaged" in drive(first, first.hold(LEASE_MS, 0), area).error
    clock.now += LEASE_MS + 161
    assert drive(second, second.hold(LEASE_MS, 0), area).held


def test_a_second_cluster_on_the_same_disk_is_refused() -> None:
    area, clock = bytearray(AREA_BYTES), Clock()
    joined("server1", 0, area, clock)
    other = DiskLease("test", "server1", "t", 0, clock)
    assert drive(other, other.hold(LEASE_MS, 0), area).error == "it is in use by the cluster prod"


def test_a_full_table_is_said() -> None:
    area, clock = bytearray(AREA_BYTES), Clock()
    for n in range(SLOTS):
        joined(f"server{n}", n, area, clock)
    late = DiskLease("prod", "late", "t", 3, clock)
    assert "its 64 slots are taken" in drive(late, late.hold(LEASE_MS, 0), area).error


def test_another_server_of_the_same_name_is_said() -> None:
    area, clock = bytearray(AREA_BYTES), Clock()
    lease = joined("server1", 0, area, clock)
    assert drive(lease, lease.hold(LEASE_MS, 0), area).held
    area[:SLOT_BYTES] = encode(
        Slot(
            cluster="prod", server="server1", token="x", claim=Claim.WANTS, number=9, lease_ms=3000
        )
    )
    answer = drive(lease, lease.hold(LEASE_MS, 0), area)
    assert answer.error == ("another server that calls itself server1 writes into the same slot")
