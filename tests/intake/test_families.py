"""Traps of vendors' MIBs, from the socket into the ledger: class, part, what ends what."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

from clptools.intake.snmp import Version
from tests.core.test_ledger import Box
from tests.intake.conftest import Heard, free_port, send, settings_for
from tests.intake.family_rows import CASES, Case, Said

VERSIONS = (Version.V1, Version.V2C)


class Way:
    """A receiver, and the ledger behind it."""

    def __init__(self, heard: Heard, version: Version) -> None:
        self.heard = heard
        self.version = version
        self.box = Box()
        self._numbers = itertools.count(1)

    async def tell(self, said: Said) -> str:
        """Sends a trap and waits until the ledger has it; its class."""
        before = len(self.heard.events)
        send(said.datagram(self.version, next(self._numbers)), self.heard.port)
        deadline = time.monotonic() + 5
        while len(self.heard.events) <= before:
            assert time.monotonic() < deadline, f"no event of {said}"
            await asyncio.sleep(0)
        event = self.heard.events[-1]
        self.box.tell(event)
        return event.event_class

    @property
    def open(self) -> int:
        return len(self.box.open)


async def _story(case: Case, way: Way) -> None:
    opens = case.event_class != "INFO"
    first, second = case.parts or ((), ())
    for quiet in case.quiet:
        assert await way.tell(quiet.of(first)) in ("INFO", "CLEAR"), quiet
        assert way.open == 0, quiet
    assert await way.tell(case.said.of(first)) == case.event_class
    assert not opens or way.heard.events[-1].own_watchdog is case.own_watchdog
    assert way.open == int(opens)
    for said in case.leaves:
        await way.tell(said.of(first))
        assert way.open == int(opens), said
    for said in case.ends if opens else ():
        await way.tell(case.said.of(first))
        if case.parts:
            await way.tell(case.said.of(second))
        assert way.open == (2 if case.parts else 1)
        assert await way.tell(said.of(first)) in ("CLEAR", "INFO")
        assert way.open == (1 if case.parts else 0), said
        if case.parts:
            await way.tell(said.of(second))
        assert way.open == 0, said


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_a_row_of_a_vendors_table(case: Case) -> None:
    async def scenario() -> None:
        port = free_port()
        async with Heard(settings_for(port), port) as heard:
            for version in VERSIONS:
                await _story(case, Way(heard, version))

    asyncio.run(scenario())
