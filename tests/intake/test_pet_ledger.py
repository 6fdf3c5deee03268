"""PETs from the wire to the ledger: what is open after them, in v1 and v2c."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from clptools.core.model.events import HardwareSeen
from clptools.intake import ber, snmp
from clptools.intake.class_table import ClassTable
from clptools.intake.pet import decode_pet
from clptools.intake.rehearsal import PetEvent, build_pet_trap
from clptools.intake.snmp import Version
from clptools.intake.triage import ends_grave
from tests.conftest import free_port, until
from tests.core.alone import Alone
from tests.core.cluster import settings
from tests.core.test_ledger import mrw
from tests.intake.conftest import Heard, send, settings_for

V1, V2C = Version.V1, Version.V2C
HOUR_MS = 3_600_000


def opened(*sent: PetEvent | bytes, version: Version = V2C) -> list[list[str]]:
    """The classes that are open after each of these, through a socket, the receiver and a core."""
    alone = Alone(settings(2, monitors=(mrw(servers=("server1",)),)))
    told: list[list[str]] = []

    async def scenario() -> None:
        port = free_port()
        async with Heard(settings_for(port), port) as heard:
            for number, one in enumerate(sent, 1):
                if isinstance(one, PetEvent):
                    one = msgspec.structs.replace(one, sequence=number)
                    one = build_pet_trap(one, version=version, request_id=number)
                before = len(heard.events), heard.counters.get("duplicate", 0)
                unknown = heard.counters.get("unknown", 0)
                send(one, port)
                await until(
                    lambda: (
                        (len(heard.events), heard.counters.get("duplicate", 0)) != before  # noqa: B023
                        or heard.counters.get("unknown", 0) != unknown  # noqa: B023
                    )
                )
                for event in heard.events[before[0] :]:
                    alone.tell(event)
                told.append(sorted(e.event_class for e in alone.node.state.ledger.events.values()))

    asyncio.run(scenario())
    return told


def pet(specific: int, severity: int = 0x10, maker: int = 0, sensor: int = 0x30) -> PetEvent:
    return PetEvent(specific=specific, severity=severity, manufacturer=maker, sensor=sensor)


@pytest.mark.parametrize("version", [V1, V2C])
@pytest.mark.parametrize(
    "fault, end, event_class",
    [
        (pet(788208, maker=10876), pet(0xC06F80, maker=10876), "PREDICT"),
        (pet(816881, maker=10876), pet(0xC76F81, maker=10876), "PERFORMANCE"),
        (pet(800499, maker=0x7C2A0000), pet(800499, 0x04, maker=10876), "PERFORMANCE"),
        (pet(13332389, maker=10876), pet(13332389, 0x04, maker=10876), "FATAL"),
        (pet(552832), pet(0x086F00), "REDUNDANCY"),
        (pet(487303), pet(0x076F07), "ERROR"),
        (pet(0x0D6F80), pet(0x0D6F00, 0x02), "REDUNDANCY"),
        (pet(0x256F80), pet(0x256F00, 0x20), "REDUNDANCY"),
        (pet(0x256F01, 0x00), pet(0x256F00, 0x00), "REDUNDANCY"),
        (pet(0x256F01), pet(0x256F81), "REDUNDANCY"),
        (pet(0x2C6F84), pet(0x2C6F04), "ERROR"),
        (pet(0x2C6F07), pet(0x2C6F04), "ERROR"),
        (pet(0x0A0881), pet(0x0A0801), "REDUNDANCY"),
        (pet(0x0A0800), pet(0x0A0801), "REDUNDANCY"),
        (pet(0x080B80), pet(0x080B00), "REDUNDANCY"),
        (pet(0x080B04), pet(0x080B00), "ERROR"),
        (pet(2322180, maker=674), pet(2322181, maker=674), "PERFORMANCE"),
        (pet(2322182, maker=674), pet(2322183, maker=674), "PERFORMANCE"),
        (pet(12611334, maker=674), pet(12611462, maker=674), "PERFORMANCE"),
        (pet(13201280, maker=674), pet(13201152, maker=674), "ERROR"),
        (pet(0x010109, 0x10), pet(0x010108, 0x10), "ERROR"),
        (pet(0x010109, 0x10), pet(0x010108, 0x08), "ERROR"),
        (pet(0x02010B, 0x20), pet(0x02010A, 0x20), "FATAL"),
        (pet(0x040102), pet(0x040103), "ERROR"),
        (pet(0x040104), pet(0x040105), "FATAL"),
        (pet(459521, 0x00), pet(0x070300, 0x00), "FATAL"),
        (pet(459521, 0x00), pet(0x070381, 0x00), "FATAL"),
        (pet(258817, maker=343), pet(15926017 | 0x80, maker=343), "ERROR"),
        (pet(0x136F01, 0x00), pet(0x136F81, 0x00), "ERROR"),
        (pet(0x0D6F05, 0x00), pet(0x0D6F85, 0x00), "REDUNDANCY"),
        # Two states, of which the severity says which one is bad.
        (pet(0x150301), pet(0x150300, 0x02), "ERROR"),
        (pet(0x280300, 0x20), pet(0x280301, 0x01), "FATAL"),
        (pet(0x010301), pet(0x010300, 0x04), "ERROR"),
        # Reserved bits: by its severity, and ended by nothing but OK for the same number.
        (pet(0x0D6FF0), pet(0x0D6FF0, 0x04), "ERROR"),
    ],
)
def test_a_fault_opens_and_its_end_alone_closes_it(
    fault: PetEvent, end: PetEvent, event_class: str, version: Version
) -> None:
    other = msgspec.structs.replace(fault, sensor=0x31)
    foreign = msgspec.structs.replace(end, sensor=0x32)
    assert opened(fault, other, foreign, end, version=version) == [
        [event_class],
        [event_class] * 2,
        [event_class] * 2,
        [event_class],
    ]


@pytest.mark.parametrize("version", [V1, V2C])
@pytest.mark.parametrize("severity", [0x00, 0x08, 0x10, 0x20])
def test_the_other_of_two_states_ends_nothing_unless_it_is_calm(
    severity: int, version: Version
) -> None:
    assert "ERROR" in opened(pet(0x150301), pet(0x150300, severity), version=version)[-1]


@pytest.mark.parametrize("version", [V1, V2C])
def test_a_calm_state_is_no_end_of_itself(version: Version) -> None:
    assert opened(pet(0x150301), pet(0x150301, 0x02), version=version)[-1] == ["ERROR"]


def test_what_may_end_a_fatal_event_does_not_wait_in_a_storm() -> None:
    calm = decode_pet(0x150300, pet(0x150300, 0x02).octets(), ClassTable(), 0.0)
    assert calm.event_class == "INFO"
    assert ends_grave(calm, frozenset({"FATAL"}))


@pytest.mark.parametrize("version", [V1, V2C])
def test_a_doubtful_number_drops_no_fault_that_is_open(version: Version) -> None:
    lags = pet(0x0C0601)
    for doubtful in (pet(788208), pet(788208, 0x20, maker=674), pet(0x0C0690, 0x08)):
        assert "PERFORMANCE" in opened(lags, doubtful, version=version)[-1]


def test_a_trap_that_comes_twice_acts_once_and_after_half_an_hour_again() -> None:
    alone = Alone(settings(2, monitors=(mrw(servers=("server1",)),)))
    seen = HardwareSeen(
        monitor="mrw1", key="k", duplicate_key="d", event_class="FATAL", meaning="m", source="s"
    )

    def count() -> int:
        return next(iter(alone.node.state.ledger.events.values())).count

    for _ in range(3):
        alone.tell(seen)
    assert count() == 1
    alone.t += HOUR_MS // 2 + 1
    alone.tell(seen)
    assert count() == 2
    for number in range(2_000):
        alone.tell(msgspec.structs.replace(seen, duplicate_key=f"d{number}"))
    assert len(alone.node.state.ledger.traps_taken) <= 512


async def test_bmcs_that_count_nothing_lose_no_trap() -> None:
    def trap(oid: str, bay: bytes) -> bytes:
        binds = (
            snmp.varbind(snmp.SYS_UPTIME, ber.integer(0, ber.TIME_TICKS)),
            snmp.varbind(snmp.TRAP_OID, ber.oid(oid)),
            snmp.varbind("1.3.6.1.4.1.49871.1.1", ber.octets(bay)),
        )
        body = snmp.pdu(snmp.V2_TRAP, 77, b"".join(binds))
        return ber.sequence(ber.integer(1), ber.octets(b"public"), body)

    port = free_port()
    async with Heard(settings_for(port), port) as heard:
        for bay in (b"1", b"2", b"1"):
            send(trap("1.3.6.1.6.3.1.1.5.3", bay), port)
        await until(lambda: len(heard.events) == 3)
        assert "duplicate" not in heard.counters
