"""What every strong arbiter must do, on real ones: etcd, the witness server, a shared disk."""

from __future__ import annotations

import asyncio
import itertools
import random
import signal
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from clptools.arbiters import disk, etcd, witness
from clptools.arbiters.base import ArbiterContext, Held, NpResolution
from clptools.core.model.settings import Arbiter
from tests.arbiters.parts import Etcd, Program, Witness, context, held_by, shared_file
from tests.conftest import BUSY_S, LIMIT_S

LEASE_MS = 1000
SLACK_S = 1.6
"""etcd leases are of two seconds at least; others take a lease and the drift margin."""


class Span(NamedTuple):
    """A time during which a server counts on its lease."""

    server: str
    begin: float
    end: float


class Kind:
    """One kind of arbiter, running."""

    def __init__(
        self, build: Callable[[ArbiterContext], NpResolution], program: Program | None
    ) -> None:
        self._build = build
        self.program = program
        self._opened: list[NpResolution] = []

    def of(self, server: str, timeout_ms: int = 5_000) -> NpResolution:
        """The arbiter as that server sees it."""
        found = self._build(context(server, lease_ms=LEASE_MS, timeout_ms=timeout_ms))
        self._opened.append(found)
        return found

    async def close(self) -> None:
        """Close what was opened."""
        for each in self._opened:
            await each.close()


@pytest.fixture(params=["etcd", "witness", "disk"])
async def kind(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Kind]:
    if request.param == "disk":
        definition = Arbiter(
            name="disk1", type="disk", options={"path": str(shared_file(tmp_path))}
        )
        kind = Kind(lambda c: disk.build(definition, c), None)
        yield kind
        await kind.close()
        return
    program: Etcd | Witness
    if request.param == "etcd":
        program = Etcd(tmp_path)
        definition = Arbiter(name="np", type="etcd", options={"endpoints": (program.url,)})
        kind = Kind(lambda c: etcd.build(definition, c), program)
    else:
        program = Witness(tmp_path)
        definition = Arbiter(name="np", type="witness", options={"url": program.url})
        kind = Kind(lambda c: witness.build(definition, c), program)
    program.start()
    yield kind
    await kind.close()
    program.kill()


async def test_one_holds_and_the_other_is_told_who(kind: Kind) -> None:
    first, second = kind.of("server1"), kind.of("server2")
    await held_by(first, LEASE_MS)
    # A server that is new to a disk has to join it first.
    deadline = time.monotonic() + LIMIT_S
    answer = Held()
    while not answer.holder:
        assert time.monotonic() < deadline, answer
        asked = time.monotonic()
        assert (await first.hold(LEASE_MS)).held
        answer = await second.hold(LEASE_MS)
        await asyncio.sleep(0.1)
        # A machine that took longer than the lease for this has shown nothing.
        if time.monotonic() - asked > LEASE_MS / 1000:
            await second.release()
            await held_by(first, LEASE_MS)
            answer = Held()
    assert answer == Held(holder="server1")


async def test_what_is_given_back_is_free_at_once(kind: Kind) -> None:
    first, second = kind.of("server1"), kind.of("server2")
    await held_by(second, LEASE_MS)
    await second.release()
    await held_by(first, LEASE_MS)
    await first.release()
    assert (await second.hold(LEASE_MS)).held
    await first.release()  # it has nothing to give
    assert (await second.hold(LEASE_MS)).held
    assert not (await first.hold(LEASE_MS)).held


async def test_a_holder_that_is_silent_loses_it_after_its_lease_and_not_before(kind: Kind) -> None:
    first, second = kind.of("server1"), kind.of("server2")
    await held_by(second, LEASE_MS)
    await second.release()
    await held_by(first, LEASE_MS)
    asked = time.monotonic()
    assert (await first.hold(LEASE_MS)).held
    await held_by(second, LEASE_MS)
    took = time.monotonic() - asked
    assert LEASE_MS / 1000 <= took < LEASE_MS / 1000 + SLACK_S + BUSY_S
    assert not (await first.hold(LEASE_MS)).held


async def test_an_agent_that_starts_anew_waits_for_the_lease_of_its_earlier_run(kind: Kind) -> None:
    first = kind.of("server1")
    await held_by(first, LEASE_MS)
    asked = time.monotonic()
    assert (await first.hold(LEASE_MS)).held
    await first.close()
    await held_by(kind.of("server1"), LEASE_MS)
    assert time.monotonic() - asked >= LEASE_MS / 1000


async def test_many_contend_and_never_two_hold(kind: Kind) -> None:
    """Ground truth: from the answer until `LEASE_MS` after asking, or until it is given back."""
    spans: list[list[Span]] = []

    async def contend(server: str, seed: int, end: float) -> None:
        draw = random.Random(seed)
        arbiter = kind.of(server)
        mine: list[Span] = []
        spans.append(mine)
        while time.monotonic() < end:
            asked = time.monotonic()
            answer = await arbiter.hold(LEASE_MS)
            if not answer.held:
                await asyncio.sleep(draw.uniform(0.01, 0.1))
                continue
            mine.append(Span(server, time.monotonic(), asked + LEASE_MS / 1000))
            what = draw.random()
            if what < 0.3:
                await asyncio.sleep(draw.uniform(0.0, 0.2))
                now = time.monotonic()
                mine[:] = [span._replace(end=min(span.end, now)) for span in mine]
                await arbiter.release()
                await asyncio.sleep(0.2)  # the others' turn
                await arbiter.release()
                await asyncio.sleep(0.2)  # the others' turn
            elif what < 0.6:  # renews
                await asyncio.sleep(draw.uniform(0.0, 0.2))
            else:  # goes silent
                await asyncio.sleep(draw.uniform(0.5, 2.5))

    end = time.monotonic() + 6
    await asyncio.gather(*(contend(f"server{n}", n, end) for n in range(1, 5)))
    every = sorted((span for mine in spans for span in mine), key=lambda span: span.begin)
    assert len({span.server for span in every}) > 1, "nobody ever took over"
    for one, two in itertools.combinations(every, 2):
        assert one.server == two.server or two.begin >= one.end, f"{one} and {two}"


async def test_a_lost_arbiter_is_an_error_in_time_and_works_again_when_it_is_back(
    kind: Kind,
) -> None:
    program = kind.program
    if program is None:
        pytest.skip("a disk has no server to lose; see test_disk")

    first = kind.of("server1", timeout_ms=1_000)
    await held_by(first, LEASE_MS)
    program.send(signal.SIGSTOP)
    answer = await first.hold(LEASE_MS)
    assert not answer.held
    assert "np: http://127.0.0.1:" in answer.error
    assert "no answer within" in answer.error
    program.send(signal.SIGCONT)
    await held_by(first, LEASE_MS)
    program.kill()
    answer = await first.hold(LEASE_MS)
    assert "connection refused" in answer.error
    await asyncio.to_thread(program.start)
    await held_by(first, LEASE_MS)


async def test_a_restarted_arbiter_gives_nothing_away_too_early(kind: Kind) -> None:
    program = kind.program
    if program is None:
        pytest.skip("a disk does not restart")

    first, second = kind.of("server1"), kind.of("server2")
    await held_by(first, LEASE_MS)
    asked = time.monotonic()
    assert (await first.hold(LEASE_MS)).held
    program.kill()
    await asyncio.to_thread(program.start)
    await held_by(second, LEASE_MS)
    assert time.monotonic() - asked >= LEASE_MS / 1000
