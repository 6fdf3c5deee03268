"""The loop gives the core its events in order and stops dead where an action fails."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable

import pytest

from clptools.agent.loop import Loop
from clptools.core.model.actions import Action, ClearTimer, PetWatchdog, Progress, SetTimer
from clptools.core.model.events import (
    AgentStopping,
    Event,
    HardwareSeen,
    MessageSeen,
    PowerRead,
    TimerFired,
)
from tests.conftest import until


class Bench:
    """A loop around a made-up core; `answers` says what it does on which event."""

    def __init__(self, answers: Callable[[Event], list[Action]]) -> None:
        self.now = 1000
        self.seen: list[tuple[int, Event]] = []
        self.journal: list[Event] = []
        self.done: list[Action] = []
        self.failures: list[BaseException] = []
        self.held: list[OSError | None] = []
        self.full = 0
        """How often writing still fails."""
        self._answers = answers
        self.loop = Loop(
            node=self,
            now=lambda: self.now,
            journal=lambda now, event: self.journal.append(event),
            perform=self.perform,
            failed=self.failures.append,
            held=self.held.append,
        )

    def step(self, event: Event, now: int) -> list[Action]:
        self.seen.append((now, event))
        return self._answers(event)

    def perform(self, action: Action) -> None:
        if isinstance(action, PetWatchdog):
            if not self.full:
                raise OSError("the state cannot be written")
            self.full -= 1
            if self.full:
                raise OSError(errno.ENOSPC, "No space left on device")
        if isinstance(action, SetTimer):
            self.loop.set_timer(action.name, action.at)
        elif isinstance(action, ClearTimer):
            self.loop.clear_timer(action.name)
        self.done.append(action)


def message(text: str) -> MessageSeen:
    return MessageSeen(category="NIC", text=text)


async def test_events_are_journalled_then_stepped_in_order() -> None:
    bench = Bench(lambda event: [Progress(id="1", text="x")])
    told = [message(str(n)) for n in range(50)]
    for event in told[:-1]:
        bench.loop.put(event)
    await bench.loop.stepped(told[-1])
    assert [event for _, event in bench.seen] == told
    assert bench.journal == told
    assert len(bench.done) == 50


async def test_nothing_is_done_until_the_state_is_written_and_then_everything_in_order() -> None:
    bench = Bench(
        lambda event: (
            [PetWatchdog(), Progress(id="1", text="told")]
            if event == message("1")
            else [Progress(id="1", text="later")]
        )
    )
    bench.full = 1_000
    first = asyncio.ensure_future(bench.loop.stepped(message("1")))
    second = asyncio.ensure_future(bench.loop.stepped(message("2")))
    bench.loop.set_timer("beat", bench.now)
    await until(lambda: bench.full < 998)
    assert bench.loop.held
    assert (bench.done, len(bench.seen), first.done()) == ([], 1, False)
    bench.full = 1
    await second
    assert first.done()
    assert not bench.loop.held
    assert bench.done[:3] == [
        PetWatchdog(),
        Progress(id="1", text="told"),
        Progress(id="1", text="later"),
    ]
    assert [type(told) for told in bench.held] == [OSError, type(None)]
    assert bench.failures == []


async def test_a_loop_that_ends_while_it_is_held_does_nothing_more() -> None:
    bench = Bench(lambda event: [PetWatchdog(), Progress(id="1", text="told")])
    bench.full = 1_000
    waiting = asyncio.ensure_future(bench.loop.stepped(message("1")))
    await until(lambda: bench.loop.held)
    bench.full = 1
    bench.loop.stop()
    with pytest.raises(OSError, match="the cluster service ended"):
        await waiting
    await asyncio.sleep(0.3)
    assert bench.done == []
    assert not bench.loop.held


async def test_an_action_that_fails_stops_everything_after_it() -> None:
    bench = Bench(
        lambda event: [Progress(id="1", text="a"), PetWatchdog(), Progress(id="1", text="b")]
    )
    bench.loop.put(message("1"))
    with pytest.raises(OSError, match="the cluster service ended"):
        await bench.loop.stepped(message("2"))
    assert [type(a) for a in bench.done] == [Progress]
    assert len(bench.failures) == 1
    assert len(bench.seen) == 1
    bench.loop.put(message("3"))
    await asyncio.sleep(0)
    assert len(bench.seen) == 1


async def test_timers_fire_when_due_replaced_ones_once_and_cleared_ones_never() -> None:
    bench = Bench(lambda event: [])
    start = asyncio.get_running_loop().time()

    def clock() -> int:
        return 1000 + int((asyncio.get_running_loop().time() - start) * 1000)

    bench.loop._now = clock
    bench.loop.set_timer("c", 1090)
    bench.loop.set_timer("a", 1500)
    bench.loop.set_timer("gone", 1010)
    bench.loop.set_timer("a", 1020)
    bench.loop.clear_timer("gone")
    while len(bench.seen) < 2:
        await asyncio.sleep(0.005)
    assert [event for _, event in bench.seen] == [TimerFired(name="a"), TimerFired(name="c")]
    assert all(now >= due for (now, _), due in zip(bench.seen, (1020, 1090), strict=True))


async def test_a_clock_that_leaps_makes_all_due_timers_fire_in_their_order() -> None:
    """The host slept: boot time went on, the loop's own clock did not."""
    bench = Bench(lambda event: [])
    for name, at in (("late", 500_000), ("soon", 1010), ("later", 400_000)):
        bench.loop.set_timer(name, at)
    bench.now = 600_000
    while len(bench.seen) < 3:
        await asyncio.sleep(0.005)
    names = [event.name for _, event in bench.seen if isinstance(event, TimerFired)]
    assert names == ["soon", "later", "late"]


async def test_many_replaced_timers_take_no_memory() -> None:
    bench = Bench(lambda event: [])
    for n in range(10_000):
        bench.loop.set_timer("lease", 1_000_000 + n)
    assert len(bench.loop._heap) < 100
    bench.loop.stop()


async def test_a_flood_of_messages_costs_no_timer_and_no_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What strangers send has its bound; what the core waits for is always taken."""
    monkeypatch.setattr("clptools.agent.loop._QUEUE_LIMIT", 100)

    bench = Bench(lambda event: [])
    bench.loop.set_timer("heartbeat", 1010)
    for n in range(100):
        bench.loop.put(message(str(n)))
    bench.now = 1020
    bench.loop._due()
    power = PowerRead(server="server2", power="off", asked_at=1000)
    bench.loop.put(power)
    bench.loop.put(message("one too many"))
    with pytest.raises(OSError, match="100 events wait"):
        await bench.loop.stepped(message("and one that somebody waits for"))
    await bench.loop.stepped(AgentStopping())
    events = [event for _, event in bench.seen]
    assert events[100:] == [TimerFired(name="heartbeat"), power, AgentStopping()]
    assert bench.loop.dropped == 2


async def test_who_waits_for_an_event_that_breaks_the_core_is_told() -> None:
    bench = Bench(lambda event: [PetWatchdog()])
    with pytest.raises(OSError, match="the core failed on it"):
        await bench.loop.stepped(message("1"))
    with pytest.raises(OSError, match="the cluster service ended"):
        await bench.loop.stepped(message("2"))


async def test_who_gave_up_waiting_breaks_nothing() -> None:
    bench = Bench(lambda event: [])
    waiting = asyncio.get_running_loop().create_task(bench.loop.stepped(message("1")))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    bench.loop.stop()
    assert not bench.failures


def trap(event_class: str, sensor: str = "30", offset: str = "0", **more: str) -> HardwareSeen:
    return HardwareSeen(
        monitor="mrw1",
        key=f"pet/20.{sensor}/3.1/07h/6F/{offset}",
        duplicate_key="",
        event_class=event_class,
        meaning="x",
        source="192.168.0.10",
        **more,
    )


async def test_a_fatal_trap_overtakes_lesser_ones_but_none_of_its_own_sensor() -> None:
    bench = Bench(lambda event: [])
    others = [trap("ERROR", f"{n:02X}") for n in range(100)]
    ends = [trap("PERFORMANCE", "F0", "A"), trap("CLEAR", "F0", "A", clears="PERFORMANCE")]
    fatal = trap("FATAL", "F0")
    later = [trap("ERROR", "F0", "1"), trap("CLEAR", "F0", clears="FATAL")]
    for event in (*others, *ends, fatal, *later):
        bench.loop.put(event)
    await bench.loop.stepped(PowerRead(server="server2", power="on", asked_at=0))
    assert bench.journal == [event for _, event in bench.seen]
    first = bench.journal[:6]
    assert first[:5] == [*ends, fatal, *later]
    assert isinstance(first[5], PowerRead)
    while len(bench.journal) < 106:
        bench.now += 10
        await asyncio.sleep(0.001)
    assert bench.journal[6:] == others


async def test_what_a_monitor_recovers_on_does_not_give_way() -> None:
    bench = Bench(lambda event: [])
    bench.loop.grave = frozenset({"FATAL", "ERROR"})
    for event_class in ("PREDICT", "ERROR"):
        bench.loop.put(trap(event_class))
        bench.loop.put(trap(event_class, sensor="31"))
    await asyncio.sleep(0)
    assert [e.event_class for e in bench.journal if isinstance(e, HardwareSeen)] == [
        "PREDICT",
        "ERROR",
        "PREDICT",
        "ERROR",
    ]


async def test_lesser_traps_never_take_the_places_of_a_fatal_one() -> None:
    bench = Bench(lambda event: [])
    for n in range(25_000):
        bench.loop.put(trap("ERROR", f"{n:X}"))
    assert bench.loop.dropped == 5_000
    await bench.loop.stepped(trap("FATAL"))
    assert bench.loop.dropped == 5_000


async def test_traps_that_give_way_are_refused_when_the_loop_stops() -> None:
    bench = Bench(lambda event: [])
    waiting = asyncio.ensure_future(bench.loop.stepped(trap("ERROR")))
    bench.loop.put(AgentStopping())
    bench.loop.stop()
    with pytest.raises(OSError):
        await waiting
    assert bench.journal == []


async def test_the_worst_lag_is_kept_and_told_once() -> None:
    bench = Bench(lambda event: [])
    bench.loop.set_timer("beat", bench.now + 1)
    bench.now += 701
    while not bench.seen:
        await asyncio.sleep(0)
    assert (bench.loop.lag_ms, bench.loop.worst_lag_ms) == (700, 700)
    assert bench.loop.take_lag_ms() == 700
    assert bench.loop.take_lag_ms() == 0
    assert bench.loop.worst_lag_ms == 700
