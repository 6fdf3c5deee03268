"""PET Acknowledge: to whom it is sent, for what, and to whom not."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from clptools.hardware.alerts import TRANSPORT, Wanted
from clptools.hardware.ipmi_alerts import Acknowledger, IpmiAlerts, acknowledgement
from clptools.intake.rehearsal import PetEvent, build_pet_trap
from tests.conftest import free_port, until
from tests.hardware.alerting_bmc import AlertingBmc, alerting
from tests.hardware.bmc_sim import client_of
from tests.hardware.test_alerts import mend, place
from tests.intake.conftest import Heard, send, settings_for
from tests.noticed import Noticed

FATAL = PetEvent(specific=0x076F00, sequence=0x1234, unix_time=1_700_000_000.0, sensor=0x31)
ACKNOWLEDGE = (0x04, 0x17)


def test_the_request_names_the_trap_with_the_least_byte_first() -> None:
    event = replace(FATAL, event_data=b"\xa0\x01\x02")
    seconds = 1_700_000_000 - 883_612_800
    assert acknowledgement(event.octets()) == (
        b"\x34\x12" + seconds.to_bytes(4, "little") + b"\x20\x20\x31" + b"\xa0\x01\x02"
    )
    assert len(acknowledgement(event.octets())) == 12


@contextlib.asynccontextmanager
async def acknowledging(
    folder: Path, *, wants: bool
) -> AsyncIterator[tuple[AlertingBmc, Acknowledger, list[str]]]:
    """An acknowledger, and a BMC whose destination wants it or not."""
    address, host = place()
    with alerting(folder, address) as bmc, client_of(bmc, folder, server="server1") as asked:
        await mend(IpmiAlerts(asked, address), Wanted(server="server1", host=host))
        kind = bytes((1, 18, 1, 0x80 if wants else 0x00, 5, 3))
        await asked.command("destination", TRANSPORT, 1, kind)
        told = Noticed()
        made = Acknowledger(told.take)
        made.apply(asked, address, frozenset((host,)))
        yield bmc, made, told
        made.close()


async def test_a_bmc_that_wants_it_is_told_of_each_trap_once(tmp_path: Path) -> None:
    async with acknowledging(tmp_path, wants=True) as (bmc, made, _):
        traps = [replace(FATAL, sequence=n).octets() for n in (1, 2, 3)]
        for octets in traps:
            made.taken(octets)
        await until(lambda: len(bmc.asked(*ACKNOWLEDGE)) == 3)
        assert bmc.asked(*ACKNOWLEDGE) == [acknowledgement(octets) for octets in traps]


async def test_a_bmc_that_does_not_want_it_is_asked_once_and_left_alone(tmp_path: Path) -> None:
    async with acknowledging(tmp_path, wants=False) as (bmc, made, _):
        for number in range(1, 6):
            made.taken(replace(FATAL, sequence=number).octets())
        await until(lambda: made._working is not None and made._working.done())
        assert made._wanted is False
        assert not bmc.asked(*ACKNOWLEDGE)
        # It sends one again all the same: then it does want to be told.
        made.taken(replace(FATAL, sequence=5).octets())
        await until(lambda: bmc.asked(*ACKNOWLEDGE))


async def test_a_bmc_that_refuses_it_is_told_of_once(tmp_path: Path) -> None:
    async with acknowledging(tmp_path, wants=True) as (bmc, made, told):
        bmc.process.kill()
        bmc.process.wait()
        made._wanted = True
        for number in (1, 2):
            made.taken(replace(FATAL, sequence=number).octets())
        await until(lambda: made._working is not None and made._working.done())
        (text,) = told
        assert "PET acknowledge" in text and "each is acted on once" in text


@pytest.mark.parametrize("size", [0, 10, 33])
def test_octets_that_are_cut_off_are_acknowledged_by_nobody(size: int) -> None:
    made = Acknowledger(lambda _: None)
    made.taken(FATAL.octets()[:size])
    made.taken(FATAL.octets())  # without a BMC


async def test_the_receiver_hands_on_what_is_on_the_disk_and_each_resend() -> None:
    told: list[bytes] = []

    port = free_port()
    heard = Heard(settings_for(port), port)
    heard.receiver._on_pet = told.append
    async with heard:
        heard.durable.clear()
        event = replace(FATAL, unix_time=time.time())
        for _ in range(2):
            send(build_pet_trap(event), port)
        await until(lambda: heard.counters.get("duplicate") == 1)
        assert not told, "nothing is durable yet"
        heard.durable.set()
        await until(lambda: len(told) == 2)
        assert told == [event.octets()] * 2
        # What could not be kept shall come again.
        heard.failing = True
        send(build_pet_trap(replace(event, sequence=9)), port)
        await until(lambda: heard.counters.get("undelivered") == 1)
        await asyncio.sleep(0)
        assert len(told) == 2
