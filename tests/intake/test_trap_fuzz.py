"""Real traps, mutated, against receiver and decoder: counted, told in few lines, nothing stops."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Iterator

from clptools.core.model.settings import SnmpUser
from clptools.intake import ber, pet, snmp
from clptools.intake.class_table import ClassTable
from clptools.intake.decoded_trap import duplicate_key, event_of
from clptools.intake.rehearsal import build_pet_trap, pet_event
from clptools.intake.snmp import Trap, Version
from clptools.intake.trap_report import changes_by, report
from clptools.intake.triage import Triage
from clptools.intake.usm import UserKeys
from tests.conftest import free_port
from tests.intake.conftest import Heard, settings_for
from tests.intake.family_rows import CASES

TRAPS = int(os.environ.get("CLP_FUZZ_TRAPS", "3000"))
SEED = int(os.environ.get("CLP_FUZZ_SEED", "1"))
USER = SnmpUser(user="trapper")
CLASSES = ("FATAL", "ERROR", "PREDICT", "PERFORMANCE", "REDUNDANCY", "INFO", "CLEAR", "UNKNOWN")


def v3(trap: bytes, flags: int) -> bytes:
    """A v3 message around the PDU of a v2c one; its keys are nobody's."""
    at, end = ber.expect(trap, 0, len(trap), ber.SEQUENCE, "message")
    _, at = ber.read_integer(trap, at, end, "version")
    _, at = ber.read_octets(trap, at, end, "community", 255)
    scoped = ber.sequence(ber.octets(b"\x80\0\0\0\1abc"), ber.octets(b""), trap[at:end])
    header = ber.sequence(
        ber.integer(7), ber.integer(65507), ber.octets(bytes([flags])), ber.integer(3)
    )
    parameters = ber.sequence(
        ber.octets(b"\x80\0\0\0\1abc"), ber.integer(1), ber.integer(1), ber.octets(b"trapper"),
        ber.octets(bytes(12 if flags & 1 else 0)), ber.octets(bytes(8 if flags & 2 else 0)),
    )  # fmt: skip
    payload = ber.octets(scoped) if flags & 2 else scoped
    return ber.sequence(ber.integer(3), header, ber.octets(parameters), payload)


def real() -> list[bytes]:
    """PETs of each class and traps of each vendor's table, in each version."""
    found: list[bytes] = []
    for name in CLASSES:
        event = pet_event(name)
        found.append(build_pet_trap(event, version=Version.V1, agent_address="10.0.0.1"))
        found.append(build_pet_trap(event))
        found.append(build_pet_trap(event, inform=True))
    for number, case in enumerate(CASES):
        for said in (case.said, *case.ends[:1]):
            found += [said.datagram(version, number) for version in (Version.V1, Version.V2C)]
    plain = [trap for trap in found if trap[4:5] == b"\1" or trap[5:6] == b"\1"]
    return found + [v3(trap, flags) for trap in plain[:8] for flags in (0, 1, 3, 4, 7)]


def mutated(dice: random.Random, seeds: list[bytes]) -> bytes:
    """One of them, with up to eight faults; most keep its length, so that it is read on."""
    data = bytearray(dice.choice(seeds))
    for _ in range(dice.choice((1, 1, 1, 2, 2, 3, 8))):
        at = dice.randrange(len(data) + 1)
        match dice.choice((0, 0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 6, 7)):
            case 0 if at < len(data):
                data[at] ^= 1 << dice.randrange(8)
            case 1 if at < len(data):
                data[at] = dice.choice((0, 1, 0x7F, 0x80, 0x81, 0x82, 0x84, 0xFF, 0x30, 6))
            case 2:
                data[at:at] = dice.randbytes(dice.randrange(1, 9))
            case 3:
                del data[at : at + dice.randrange(1, 9)]
            case 4:
                other = dice.choice(seeds)
                data[at:] = other[dice.randrange(len(other)) :]
            case 5:
                piece = bytes(data[at : at + dice.randrange(1, 60)])
                data[at:at] = piece * dice.randrange(1, 40)
            case 6:
                del data[at:]
            case _:
                data[at:at] = b"\x06\x82\x01\x00" + b"\xff" * 255 + b"\x7f"
    return bytes(data[:70_000])


def stream(count: int) -> Iterator[bytes]:
    dice = random.Random(SEED)
    seeds = real()
    return (mutated(dice, seeds) for _ in range(count))


async def test_no_mutated_trap_stops_the_receiver_and_each_is_counted() -> None:
    port = free_port()
    keys = {"trapper": UserKeys(auth=b"authpass1", priv=b"privpass1")}
    heard = Heard(settings_for(port, snmpv3_users=(USER,), communities=("public",)), port, keys)
    async with heard:
        (listener,) = heard.receiver._listeners.values()
        for number, data in enumerate(stream(TRAPS)):
            cut = len(data) > snmp.MESSAGE_BYTES
            heard.receiver.datagram(listener, data, cut, ("127.0.0.1", 9))
            if number % 50 == 0:
                await asyncio.sleep(0)
        heard.receiver.datagram(
            listener, build_pet_trap(pet_event("FATAL", sequence=9)), False, ("127.0.0.1", 9)
        )
    faults = [note.text for note in heard.notes if note.kind == "fault"]
    assert not faults, faults[:3]
    told = heard.counters
    assert told.pop("received") == TRAPS + 1
    assert sum(told.values()) >= TRAPS + 1, told
    assert any(event.event_class == "FATAL" for event in heard.events), told
    assert all("\n" not in note.text and len(note.text) < 700 for note in heard.notes)
    names = {note.text for note in heard.notes}
    assert len(names) < 200 + TRAPS / 20, "few lines for many traps"


BUDGET = 60
"""
How long one datagram may hold the agent's loop, in processor time: that many plain PETs.

A plain one takes 0.08 ms on the machine on which this was written.
"""


def longest(name: str, oid: str) -> Iterator[bytes]:
    """A trap of as many and as long variables as a datagram takes, below one OID."""
    long = "4294967295." * 6
    for value in (
        ber.octets(b"\xff" * 80),
        ber.octets("\x01ä".encode() * 25),
        ber.element(ber.OID, b"\xff\xff\xff\x7f" * 14),
        ber.integer(-1),
    ):
        binds = (snmp.varbind(f"{oid}.{long}{n}", value) for n in range(110))
        yield notification(name, b"".join(binds))
    yield notification(name, snmp.varbind(f"{oid}.0", ber.octets(b"\0 x\x01" * 3_900)))
    arcs = ".".join(["4294967295"] * 90)
    yield notification(f"{name}.{arcs}", b"")


def notification(name: str, binds: bytes) -> bytes:
    head = snmp.varbind(snmp.SYS_UPTIME, ber.integer(5, ber.TIME_TICKS))
    head += snmp.varbind(snmp.TRAP_OID, ber.oid(name))
    body = snmp.pdu(snmp.V2_TRAP, 7, head + binds)
    data = ber.sequence(ber.integer(1), ber.octets(b"public"), body)
    assert len(data) <= snmp.MESSAGE_BYTES
    return data


def heavy() -> Iterator[bytes]:
    """Of each table that is read by variables, and of what no table knows."""
    names = {case.said.oid: case.said for case in CASES}
    seen: set[str] = set()
    for oid, said in names.items():
        for variable, _ in said.variables:
            column = variable.rpartition(".")[0]
            kind = f"{oid[:24]} {column}"
            if kind not in seen:
                seen.add(kind)
                yield from longest(oid, column)
    for oid in ("1.3.6.1.4.1.49871.5.0.7", "1.3.6.1.4.1.3183.1.1.0.552833", "1.3.6.1.6.3.1.1.5.1"):
        yield from longest(oid, "1.3.6.1.4.1.3183.1.1.1")


def test_no_datagram_holds_the_loop() -> None:
    table = ClassTable()
    triage = Triage(table, frozenset({"FATAL", "ERROR"}))

    def took(data: bytes) -> float:
        begun = time.thread_time()
        triage.waits(data, 1.8e9)
        try:
            trap = snmp.decode(data)
        except ber.DecodeError:
            return time.thread_time() - begun
        if isinstance(trap, Trap):
            decoded = pet.decode_trap(trap, table, 1.8e9)
            event_of("mrw1", trap, decoded, "10.0.0.1", duplicate_key(trap, decoded, "10.0.0.1"))
        return time.thread_time() - begun

    plain = build_pet_trap(pet_event("FATAL", sequence=9))
    budget_s = BUDGET * sorted(took(plain) for _ in range(50))[25]
    for data in (*heavy(), *stream(TRAPS)):
        # A slow one is measured again: the machine may have been busy with something else.
        times = (took(data) for _ in range(5))
        assert any(spent < budget_s for spent in times), data[:256].hex()


def test_whatever_can_be_decoded_can_be_told() -> None:
    table = ClassTable()
    settings = settings_for(162)
    told = 0
    for data in stream(TRAPS):
        try:
            trap = snmp.decode(data)
        except ber.DecodeError:
            continue
        if not isinstance(trap, Trap):
            continue
        decoded = pet.decode_trap(trap, table, time.time())
        text = report(decoded, "", settings, changes_by(decoded, settings, ("server1",)))
        assert all(line.isprintable() for line in text.split("\n")), text
        told += 1
    assert told > TRAPS / 20
