"""Storms of distinct traps: what is grave is found first, the rest is counted to the last one."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import socket
import time
from functools import cache

import msgspec
import pytest

from clptools.core.model.events import MessageSeen
from clptools.core.model.settings import Interconnect, Monitor
from clptools.core.model.trap_profiles import TrapProfile
from clptools.core.model.words import EventClass
from clptools.core.monitors.event_ledger import grave_classes
from clptools.intake import ber, pet, pet_fields, snmp, sources
from clptools.intake.class_table import ClassTable
from clptools.intake.listener import Drops, share, steer
from clptools.intake.rehearsal import REHEARSAL_OID, build_pet_trap, build_rehearsal, pet_event
from clptools.intake.snmp import Version
from clptools.intake.triage import (
    MOST,
    MOST_OF_ONE,
    Triage,
    WaitingQueue,
    ends_grave,
    is_grave,
    sensor_of,
)
from tests.conftest import free_port, until
from tests.intake.conftest import AUTHKEY, Heard, settings_for
from tests.namespaces import inside, ip, wire

FATAL_ONLY = frozenset({"FATAL"})
ROWS = (*EventClass, "27h/6F/1", "08h/0B/0", "04h/01/2", "23h/6F/3", "C0h/70/F")


def hear(**keys) -> Heard:
    port = free_port()
    return Heard(settings_for(port, **keys), port)


@cache
def lesser(n: int) -> bytes:
    """The n-th distinct warning."""
    event = msgspec.structs.replace(
        pet_event("0Dh/6F/2", sequence=n % 65_535 + 1),
        sensor=n % 250 + 1,
        entity=(n // 250 % 250 + 1, n // 62_500 + 1),
    )
    return build_pet_trap(event)


def fates(counters: dict[str, int]) -> int:
    """All that became of what was received."""
    names = ("accepted", "unknown", "duplicate", "storm", "shed", "queue_full", "malformed")
    more = ("not_allowed", "bad_community", "presence", "rehearsal")
    return sum(counters.get(name, 0) for name in (*names, *more))


class Sender:
    """A socket of one source, at one receiver."""

    def __init__(self, port: int, source: str = "127.0.0.1") -> None:
        self._target = ("127.0.0.1", port)
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((source, 0))
        self.sent = 0

    def send(self, data: bytes) -> None:
        self._socket.sendto(data, self._target)
        self.sent += 1

    def close(self) -> None:
        self._socket.close()


# ---------------------------------------------------------------------- the first look


@pytest.mark.parametrize("version", [Version.V1, Version.V2C])
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("deasserted", [False, True])
@pytest.mark.parametrize("inform", [False, True])
def test_a_first_look_says_the_same_as_reading(
    version: Version, row: str, deasserted: bool, inform: bool
) -> None:
    if row == "CLEAR" and deasserted:
        pytest.skip("it is one already")
    table, now = ClassTable(), time.time()
    grave = frozenset({"FATAL", "REDUNDANCY"})
    for numbers in ((0x30, (3, 1)), (0xFF, (3, 1)), (0x30, (0, 0))):
        event = pet_event(row, deasserted=deasserted, sequence=7, unix_time=now)
        event = msgspec.structs.replace(event, sensor=numbers[0], entity=numbers[1])
        data = build_pet_trap(event, version=version, inform=inform and version is Version.V2C)
        decoded = pet.decode_trap(snmp.decode(data), table, now)
        waits = Triage(table, grave).waits(data, now)
        if is_grave(decoded, grave) or ends_grave(decoded, grave):
            assert waits is None
        else:
            assert waits == sensor_of(decoded)


def test_what_is_not_recognised_may_not_wait() -> None:
    glance, data = Triage(ClassTable(), FATAL_ONLY), lesser(1)
    assert glance.waits(data, 0.0) is not None
    # Cut off, in another encoding, or with the proof of a rehearsal.
    assert glance.waits(data[:-1], 0.0) is None
    assert glance.waits(data[:2] + b"\x02\x02\x00\x01" + data[5:], 0.0) is None
    proof = snmp.varbind(REHEARSAL_OID, b"\x04\x01x")
    assert glance.waits(build_pet_trap(pet_event("ERROR"), extra=proof), 0.0) is None
    other = snmp.varbind("1.3.6.1.6.3.18.1.4.0", b"\x04\x01x")
    assert glance.waits(build_pet_trap(pet_event("ERROR"), extra=other), 0.0) is not None
    for size in range(len(data)):
        assert glance.waits(data[:size], 0.0) is None
    for second in range(256):  # where the version would be, up to behind the end
        glance.waits(data[:1] + bytes((second,)) + data[2:], 0.0)
        glance.waits(bytes((0x30, second)) + b"\x02\x01\x01\x04" * 12, 0.0)
    # Thousands may wait: not with kilobytes each.
    long = snmp.varbind("1.3.6.1.6.3.18.1.4.0", ber.octets(bytes(4_000)))
    assert glance.waits(build_pet_trap(pet_event("ERROR"), extra=long), 0.0) is None


def other(oid: str, *, v1: bool, more: bytes = b"") -> bytes:
    """A trap that is no PET, named `oid`."""
    enterprise, _, last = oid.rpartition(".")
    if not v1:
        binds = (
            snmp.varbind(snmp.SYS_UPTIME, ber.integer(1, ber.TIME_TICKS)),
            snmp.varbind(snmp.TRAP_OID, ber.oid(oid)),
            more,
        )
        body = snmp.pdu(snmp.V2_TRAP, 1, b"".join(binds))
    else:
        standard = enterprise == snmp.STANDARD_TRAPS
        body = ber.element(
            snmp.V1_TRAP,
            ber.oid("1.3.6.1.4.1.8072" if standard else enterprise.removesuffix(".0")),
            ber.element(ber.IP_ADDRESS, bytes(4)),
            ber.integer(int(last) - 1 if standard else 6),
            ber.integer(0 if standard else int(last)),
            ber.integer(0, ber.TIME_TICKS),
            ber.sequence(more),
        )
    return ber.sequence(ber.integer(0 if v1 else 1), ber.octets(b"public"), body)


@pytest.mark.parametrize("v1", [False, True])
@pytest.mark.parametrize(
    "oid, waits",
    [
        ("1.3.6.1.4.1.674.10892.5.3.2.1.0.2233", False),
        ("1.3.6.1.4.1.231.2.10.2.2.10.20.0.2100", True),
        ("1.3.6.1.4.1.674.16384.0.4294967295", True),
        (f"{snmp.STANDARD_TRAPS}.1", True),
        ("1.3.6.1.4.1.99.1.0.7", False),
        ("1.3.6.1.4.1.99.1.0.8", False),
        ("1.3.6.1.4.1.99.1.0.9", True),
        (f"{pet_fields.ENTERPRISE}.0.4550400", False),
    ],
)
def test_a_trap_that_is_no_pet_is_known_by_its_name(oid: str, waits: bool, v1: bool) -> None:
    rows = {"oid 1.3.6.1.4.1.99.1.0.7": "FATAL", "oid 1.3.6.1.4.1.99.1.0.8": "CLEAR"}
    profile = TrapProfile(name="site", rows={**rows, "oid 1.3.6.1.4.1.99.1.0.9": "ERROR"})
    table, data = ClassTable((profile,)), other(oid, v1=v1, more=snmp.varbind("1.3.6", b"\x05\x00"))
    found = Triage(table, FATAL_ONLY).waits(data, 0.0)
    decoded = pet.decode_trap(snmp.decode(data), table, 0.0)
    assert decoded.oid == oid
    assert found == (sensor_of(decoded) if waits else None)
    if oid.startswith(pet_fields.ENTERPRISE):
        return
    # A PET in it, or a proof, has to be read.
    for more in (
        snmp.varbind(pet_fields.VARBIND, ber.octets(bytes(47))),
        snmp.varbind(REHEARSAL_OID, b"\x05\x00"),
    ):
        assert Triage(table, FATAL_ONLY).waits(other(oid, v1=v1, more=more), 0.0) is None


def test_what_a_monitor_recovers_on_may_not_wait() -> None:
    monitor = Monitor(name="m", type="mrw", servers=("s",), recover_on=("FATAL", "PREDICT"))
    glance = Triage(ClassTable(), grave_classes((monitor,)))
    assert glance.waits(lesser(1), 0.0) is None


def test_nothing_grave_waits_however_it_is_garbled() -> None:
    chance, table = random.Random(9), ClassTable()
    glance = Triage(table, FATAL_ONLY)
    rows = ("FATAL", "ERROR", "08h/0B/1", "UNKNOWN")
    whole = [
        build_pet_trap(pet_event(row, deasserted=off, unix_time=1.7e9), version=version)
        for row in rows
        for off in (False, True)
        for version in (Version.V1, Version.V2C)
    ]
    waiting = 0
    for _ in range(6_000):
        data = bytearray(chance.choice(whole))
        for _ in range(chance.choice((1, 1, 2, 5))):
            data[chance.randrange(len(data))] = chance.choice((chance.randrange(256), 0, 255))
        if glance.waits(bytes(data), 1.8e9) is None:
            continue
        waiting += 1
        try:
            message = snmp.decode(bytes(data))
        except ber.DecodeError:
            continue
        assert isinstance(message, snmp.Trap)
        decoded = pet.decode_trap(message, table, 1.8e9)
        assert not is_grave(decoded, FATAL_ONLY)
        assert not ends_grave(decoded, FATAL_ONLY)
    assert waiting > 1_000


def test_verdicts_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clptools.intake.triage.KNOWN_VERDICTS", 10)
    glance = Triage(ClassTable(), FATAL_ONLY)
    for offset in range(16):
        for sensor_type in ("04", "0D", "C0"):
            glance.waits(build_pet_trap(pet_event(f"{sensor_type}h/70/{offset:X}")), 0.0)
    assert len(glance._known) <= 10


# ---------------------------------------------------------------------- who waits


def test_those_of_one_sensor_keep_their_order_and_the_newest() -> None:
    waiting: WaitingQueue[int] = WaitingQueue()
    kept = [waiting.add(b"fan", n) for n in range(MOST_OF_ONE + 5)]
    waiting.add(b"disk", -1)
    assert kept.count(False) == 5
    assert waiting.of(b"fan") == tuple(range(5, MOST_OF_ONE + 5))
    assert waiting.of(b"fan") == ()
    assert (waiting.count, waiting.next(), waiting.next(), waiting.count) == (1, -1, None, 0)


def test_one_that_may_not_wait_takes_its_sensor_to_the_front_and_is_never_shed() -> None:
    waiting: WaitingQueue[int] = WaitingQueue()
    waiting.add(b"disk", -1)
    for n in range(MOST_OF_ONE):
        waiting.add(b"fan", n)
    waiting.hurry(b"fan", 1_000)
    assert not any(waiting.add(b"fan", 2_000) for _ in range(MOST_OF_ONE))
    assert [waiting.next() for _ in range(MOST_OF_ONE)] == list(range(MOST_OF_ONE))
    assert waiting.hurried
    assert (waiting.next(), waiting.hurried) == (1_000, set())
    assert (waiting.next(), waiting.count) == (-1, 0)


def test_a_full_room_takes_no_new_sensor_and_the_newest_of_the_known() -> None:
    waiting: WaitingQueue[int] = WaitingQueue()
    for n in range(MOST):
        assert waiting.add(str(n).encode(), n)
    assert not waiting.add(b"new", 0)
    assert not waiting.add(b"7", 1_007)
    assert waiting.count == MOST
    assert waiting.of(b"7") == (1_007,)


# ---------------------------------------------------------------------- the whole receiver


async def test_a_fatal_trap_among_thousands_goes_first_and_everything_is_counted() -> None:
    async with hear() as heard:
        sender = Sender(heard.port)
        # All at once, so that nothing is read in between; the fatal one is the very last.
        for n in range(7_000):
            sender.send(lesser(n))
        sender.send(build_pet_trap(pet_event("FATAL", sequence=65_535)))
        await until(lambda: any(e.event_class == "FATAL" for e in heard.events))
        # Far fewer than came before it were read in full until then.
        assert len(heard.events) < 1_000
        assert heard.receiver._waiting.count > 2_000
        await until(lambda: not heard.receiver._waiting.count)
        counters = heard.counters
        assert counters["received"] + counters.get("kernel_dropped", 0) == sender.sent
        assert fates(counters) == counters["received"]
        assert counters["shed"] > 1_000
        assert [n.kind for n in heard.notes] == ["storm"]
        sender.close()


async def test_thousands_of_fatal_faults_are_all_taken() -> None:
    async with hear() as heard:
        sender = Sender(heard.port)
        for n in range(3_000):
            event = pet_event("FATAL", sequence=n + 1)
            event = msgspec.structs.replace(event, sensor=n % 250 + 1, entity=(3, n // 250))
            sender.send(build_pet_trap(event))
        await until(lambda: len(heard.events) == 3_000)
        assert heard.counters == {"received": 3_000, "accepted": 3_000}
        sender.close()


async def test_traps_of_one_sensor_are_told_in_their_order() -> None:
    """A warning's end that waits is not overtaken by the fatal trap of the same fault."""
    async with hear() as heard:
        sender = Sender(heard.port)
        for n in range(2_000):
            sender.send(lesser(n))

        def said(row: str, sequence: int, deasserted: bool = False) -> None:
            event = pet_event(row, sequence=sequence, deasserted=deasserted)
            event = msgspec.structs.replace(event, sensor=0xA0, entity=(3, 77))
            sender.send(build_pet_trap(event))

        said("07h/6F/A", 50_001)
        said("07h/6F/A", 50_002, deasserted=True)
        said("07h/6F/0", 50_003)
        said("07h/6F/A", 50_004)
        said("07h/6F/0", 50_005, deasserted=True)
        said("07h/6F/0", 50_006)
        await until(lambda: sum(".A0/3.77/" in e.key for e in heard.events) == 6)
        told = [(e.key[-1], e.event_class) for e in heard.events if ".A0/3.77/" in e.key]
        assert told == [
            ("A", "PERFORMANCE"),
            ("A", "CLEAR"),
            ("0", "FATAL"),
            ("A", "PERFORMANCE"),
            ("0", "CLEAR"),
            ("0", "FATAL"),
        ]
        sender.close()


async def test_many_of_one_sensor_before_a_fatal_trap_do_not_hold_the_loop() -> None:
    """One datagram judges a few others at most; the rest comes in turns, in its order."""

    def unnamed(n: int, row: str) -> bytes:
        event = pet_event(row, sequence=n + 1)
        return build_pet_trap(msgspec.structs.replace(event, sensor=0))

    async with hear() as heard:
        receiver = heard.receiver
        (listener,) = receiver._listeners.values()
        peer = ("127.0.0.1", 9)
        for n in range(1_000):
            receiver.datagram(listener, unnamed(n, "0Dh/6F/2"), False, peer)
        waited = receiver._waiting.count
        assert waited == MOST_OF_ONE
        fatal = build_pet_trap(pet_event("FATAL", sequence=60_000), version=Version.V1)
        receiver.datagram(listener, unnamed(60_000, "07h/6F/0"), False, peer)
        assert receiver._waiting.count == waited + 1
        sender = Sender(heard.port)
        sender.send(fatal)
        # Another address of the same BMC goes on: it pushes nothing out that may not wait.
        for n in range(2_000, 3_000):
            receiver.datagram(listener, unnamed(n, "0Dh/6F/2"), False, peer)
        await until(lambda: sum(e.event_class == "FATAL" for e in heard.events) == 2)
        await until(lambda: not receiver._waiting.count)
        assert fates(heard.counters) == heard.counters["received"] == 2_002
        sender.close()


async def test_closing_judges_what_waits() -> None:
    heard = hear()
    async with heard:
        sender = Sender(heard.port)
        for n in range(500):
            sender.send(lesser(n))
        await until(lambda: heard.receiver._counters.received == 500)
        sender.close()
    assert fates(heard.counters) == 500


async def test_predictions_of_drivers_leave_places_for_their_faults() -> None:
    stays = asyncio.Event()

    async def told(event: MessageSeen) -> None:
        await stays.wait()

    room = sources.Sources("server1", told, print, frozenset)
    for _ in range(sources.PENDING + 10):
        room._tell(MessageSeen(category="HA/SS", keyword="sda", predictive=True))
    assert (room.told, room.dropped) == (sources.PENDING, 10)
    room._tell(MessageSeen(category="HA/SS", keyword="sda"))
    assert (room.told, room.dropped) == (sources.PENDING + 1, 10)
    stays.set()
    await room.close()


# ---------------------------------------------------------------------- in the kernel


async def test_what_the_kernel_drops_is_counted_exactly_though_nothing_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("clptools.intake.listener.RECEIVE_BUFFER", 64 * 1024)

    async with hear() as heard:
        sender = Sender(heard.port)
        for n in range(5_000):
            sender.send(lesser(n))
        # Nothing was read yet, and what was dropped is known all the same.
        dropped = heard.counters["kernel_dropped"]
        assert dropped > 1_000
        await until(lambda: heard.counters.get("received", 0) + dropped == sender.sent)
        assert heard.counters["kernel_dropped"] == dropped
        sender.close()


def test_the_kernels_count_may_wrap(monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([0xFFFFFFF0, 0x10, 0x10, 0x11])
    monkeypatch.setattr(Drops, "_read", lambda _: next(told))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        drops = Drops(sock)
        assert [drops.more() for _ in range(3)] == [0x20, 0, 1]


@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
@pytest.mark.parametrize("net, length", [("10.9.0.", 24), ("fd09::", 64)])
def test_a_foreign_flood_keeps_out_neither_the_bmc_nor_rehearsals(net: str, length: int) -> None:
    """On a wire: the BMC is .11, another server .12, the flood comes from .13."""
    port, family = 1162, socket.AF_INET6 if ":" in net else socket.AF_INET
    here, bmc, server, foreign = (f"{net}{number}" for number in (1, 11, 12, 13))
    lan = Interconnect(name="lan", type="lanhb", addresses={"server1": here, "server2": server})
    settings = msgspec.structs.replace(settings_for(port, bmc=bmc, host=here), interconnects=(lan,))

    async def send(source: str, *datagrams: bytes) -> None:
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((source, 0))
            for data in datagrams:
                sock.sendto(data, (here, port))

    async def scenario(far: str) -> None:
        def sent(source: str, *datagrams: bytes) -> None:
            inside(far, send(source, *datagrams))

        flood = [lesser(n) for n in range(5_000)]
        fatal = [build_pet_trap(pet_event("FATAL", sequence=n)) for n in (65_000, 65_001)]
        async with Heard(settings, port) as heard:
            sent(foreign, *flood)
            sent(server, rehearsal(AUTHKEY))
            sent(bmc, fatal[0])
            await until(lambda: heard.events and heard.counters.get("rehearsal"))
            assert "kernel_dropped" not in heard.counters
            dropped = heard.counters["foreign_dropped"]
            assert dropped > 1_000
            await until(lambda: heard.counters["received"] + dropped == 5_002)
            assert heard.counters["not_allowed"] + dropped == 5_000
            # Another address is configured: the kernel follows.
            heard.receiver.apply(
                msgspec.structs.replace(
                    settings_for(port, bmc=foreign, host=here), interconnects=(lan,)
                )
            )
            sent(foreign, *flood)
            sent(foreign, fatal[1])
            await until(lambda: sum(e.event_class == "FATAL" for e in heard.events) == 2)
            assert heard.counters["foreign_dropped"] == dropped
            await until(lambda: heard.counters["received"] + dropped == 10_003)

    with wire() as (near, far):
        for address in (bmc, server, foreign):
            ip("address", "add", f"{address}/{length}", "dev", "eth0", *_nodad(net), netns=far)
        inside(near, scenario(far))


def _nodad(net: str) -> tuple[str, ...]:
    return ("nodad",) if ":" in net else ()


def rehearsal(authkey: bytes) -> bytes:
    return build_rehearsal(
        pet_event("FATAL"),
        authkey=authkey,
        server="server1",
        nonce=secrets.token_bytes(16),
        issued_ms=int(time.time() * 1000) + 1,
    )


def test_hundreds_of_addresses_fit_into_a_program() -> None:
    """A program that the kernel finds too long would leave nobody apart."""
    for family, form in ((socket.AF_INET, "10.1.{}.{}"), (socket.AF_INET6, "fd00::{}:{}")):
        cluster = [form.format(n // 250, n % 250) for n in range(600)]
        kind = (family, socket.SOCK_DGRAM)
        with socket.socket(*kind) as sock, socket.socket(*kind) as beside:
            sock.bind(("127.0.0.1" if family == socket.AF_INET else "::1", 0))
            for one in (sock, beside):
                share(one)
            beside.bind(sock.getsockname())
            assert steer(sock, ["no address", form.format(9, 9)], cluster)


async def test_a_single_foreign_trap_is_still_seen() -> None:
    async with hear() as heard:
        sender = Sender(heard.port, "127.0.0.2")
        sender.send(build_pet_trap(pet_event("FATAL")))
        await until(lambda: heard.counters == {"received": 1, "not_allowed": 1})
        assert "not the BMC of server1" in heard.notes[0].text
        # Its address is configured: from now on it is heard.
        heard.receiver.apply(settings_for(heard.port, bmc="127.0.0.2"))
        sender.send(build_pet_trap(pet_event("FATAL", sequence=2)))
        await until(lambda: heard.events)
        sender.close()


async def test_a_kernel_that_cannot_steer_costs_nothing_but_the_separation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("clptools.intake.listener.steer", lambda sock, *places: False)

    async with hear() as heard:
        for source in ("127.0.0.1", "127.0.0.2"):
            sender = Sender(heard.port, source)
            sender.send(build_pet_trap(pet_event("FATAL")))
            sender.close()
        await until(lambda: heard.events and heard.counters.get("not_allowed"))
