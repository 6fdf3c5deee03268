"""Traps that were taken, on their way to the handler: duplicates, storms, answers.

Each goes to the handler in a task of its own, so that recovery never holds up the socket.  The
handler returns once the event is durable (it may batch); only then is an INFORM answered, or a PET
acknowledged.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from clptools.core.model.events import HardwareSeen
from clptools.core.model.words import EventClass
from clptools.intake import snmp
from clptools.intake.admission import Counters
from clptools.intake.decoded_trap import DecodedTrap, duplicate_key, event_of
from clptools.intake.listener import Listener
from clptools.intake.rates import REPEAT_MS, Recent, Storm
from clptools.intake.snmp import Trap, V3Message
from clptools.intake.trap_notes import TrapNotes
from clptools.intake.triage import ends_grave, is_grave

PENDING = 1_024
"""Traps taken and not yet durable; beyond it they are dropped and counted."""
GRAVE_PENDING = 4_096
"""The same of fatal ones and their ends, which never wait behind others or for their places."""

OnEvent = Callable[[HardwareSeen], Awaitable[None]]
OnPet = Callable[[bytes], None]
"""Gets the octets of each PET that is on the disk: its BMC may wait for an acknowledgement."""


class InformAnswer:
    """The answer to an INFORM, sent once its event is durable."""

    def __init__(
        self, listener: Listener, peer: tuple[str, int], trap: Trap, message: Trap | V3Message
    ) -> None:
        self._listener = listener
        self._peer = peer
        self._trap = trap
        self._message = message

    def after(self, delivered: asyncio.Task[bool]) -> None:
        """Sends it if the event was kept; else the sender shall try again."""
        if not delivered.cancelled() and delivered.result():
            self.send(int(delivered.get_loop().time() * 1000))

    def send(self, now_ms: int) -> None:
        """Sends it now."""
        usm = self._listener.usm
        if not isinstance(self._message, V3Message):
            self._listener.send(snmp.response(self._trap), self._peer)
        elif usm is not None:
            self._listener.send(usm.response(self._message, self._trap, now_ms), self._peer)


class PetAcknowledgement:
    """The same for a PET, which is no INFORM: its BMC is told in other ways."""

    def __init__(self, on_pet: OnPet, octets: bytes) -> None:
        self._on_pet = on_pet
        self._octets = octets

    def after(self, delivered: asyncio.Task[bool]) -> None:
        """As `InformAnswer.after`."""
        if not delivered.cancelled() and delivered.result():
            self.send(0)

    def send(self, _now_ms: int) -> None:
        """Acknowledges it now."""
        self._on_pet(self._octets)


Answer = InformAnswer | PetAcknowledgement


class _Taken(NamedTuple):
    """A trap on its way to the handler."""

    events: tuple[HardwareSeen, ...]
    key: str
    """Its duplicate key; empty: none."""
    answer: Answer | None
    grave: bool
    """Whether its class must survive a storm, or it may end such a fault."""


class TrapDelivery:
    """Hands each taken trap to `on_event` once, and holds repeats back in a storm."""

    def __init__(
        self, on_event: OnEvent, notes: TrapNotes, counters: Counters, grave: frozenset[str]
    ) -> None:
        """`on_event` returns once the event is durable."""
        self.grave = grave
        """The classes that must survive a storm."""
        self.open = False
        """Whether traps are received: only then does a storm go on."""
        self._on_event = on_event
        self._notes = notes
        self._counters = counters
        self._recent: dict[bool, Recent[asyncio.Task[bool]]] = {
            grave: Recent() for grave in (False, True)
        }
        """Keyed by whether they are grave: a storm must not push out a fatal one."""
        self._pending: dict[bool, set[asyncio.Task[bool]]] = {False: set(), True: set()}
        self._storms: dict[str, Storm[_Taken]] = {}

    def take(
        self,
        monitors: tuple[str, ...],
        trap: Trap,
        decoded: DecodedTrap,
        source: str,
        prefix: str,
        answer: Answer | None,
        now_ms: int,
    ) -> None:
        """Delivers a trap for `monitors`, unless it came already or is held back in a storm.

        `prefix` stands before the keys of its faults; `answer` follows once it is durable.
        """
        key = duplicate_key(trap, decoded, source)
        if key:
            found = (recent.find(key, now_ms) for recent in self._recent.values())
            earlier = next((task for task in found if task is not None), None)
            if earlier is not None:
                self._counters.duplicate += 1
                if answer is not None:
                    earlier.add_done_callback(answer.after)
                return
        events = tuple(event_of(m, trap, decoded, source, key, prefix) for m in monitors)
        urgent = is_grave(decoded, self.grave)
        ends = ends_grave(decoded, self.grave)
        taken = _Taken(events, key, answer, urgent or ends)
        storm = self._storms.setdefault(source, Storm())
        state = f"{decoded.offset} {decoded.assertion} {decoded.event_class}"
        if storm.admit(decoded.fault, state, urgent, taken, now_ms, ends_urgent=ends):
            self._start(taken, now_ms)
            return
        self._counters.storm += 1
        self._storm_begins(storm, source)

    def shed(self, source: str, now_ms: int) -> None:
        """Counts one of `source` that was dropped unread: it belongs to a storm."""
        self._counters.shed += 1
        storm = self._storms.setdefault(source, Storm())
        storm.drop(now_ms)
        self._storm_begins(storm, source)

    async def done(self) -> None:
        """Waits until what was taken is durable, and answered."""
        pending = [task for tasks in self._pending.values() for task in tasks]
        await asyncio.gather(*pending, return_exceptions=True)

    def _storm_begins(self, storm: Storm[_Taken], source: str) -> None:
        """Reports a storm with the first trap that did not pass."""
        if storm.dropped == 1:
            text = f"BMC {source} sends a storm of traps: repeats are held back"
            self._notes.note("storm", text, source)
            self._look_later(source)

    def _look_later(self, source: str) -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(REPEAT_MS / 1000, self._storm_goes_on, source)

    def _start(self, taken: _Taken, now_ms: int) -> None:
        """Hands a trap to the handler, unless too many wait for it already."""
        first = taken.events[0]
        pending, most = self._pending[taken.grave], GRAVE_PENDING if taken.grave else PENDING
        if len(pending) >= most:
            self._counters.queue_full += 1
            text = f"{first.source}: {most} traps wait for the disk already"
            self._notes.note_seldom("refused", text, now_ms)
            return
        unknown = first.event_class == EventClass.UNKNOWN
        self._counters.count("unknown" if unknown else "accepted")
        task = asyncio.get_running_loop().create_task(self._deliver(taken))
        pending.add(task)
        task.add_done_callback(pending.discard)
        if taken.answer is not None:
            task.add_done_callback(taken.answer.after)
        if taken.key:
            self._recent[taken.grave].remember(taken.key, task, now_ms)

    async def _deliver(self, taken: _Taken) -> bool:
        """Whether the events are durable."""
        kept = False
        try:
            # All at once: no monitor waits for the disk before it gets a fatal trap.
            ends = await asyncio.gather(*map(self._on_event, taken.events), return_exceptions=True)
            faults = [end for end in ends if end is not None]
            if faults:
                source = taken.events[0].source
                text = f"trap from {source} was not kept: {faults[0]!r}"
                self._notes.note_seldom("fault", text, _now_ms())
            kept = not faults
        finally:
            # In every case: if the key stayed, retransmissions would count as duplicates.
            if not kept:
                self._counters.undelivered += 1
                self._recent[taken.grave].forget(taken.key)
        return kept

    def _storm_goes_on(self, source: str) -> None:
        """Every ten seconds of a storm: releases what it hid, and checks whether it is over."""
        storm = self._storms[source]
        if not self.open:
            return
        now_ms = _now_ms()
        for taken in storm.release(now_ms):
            self._start(taken, now_ms)
        if now_ms - storm.quiet_since_ms < REPEAT_MS:
            self._look_later(source)
            return
        text = f"BMC {source}: the storm of traps is over, {storm.dropped} were held back"
        storm.dropped = 0
        self._notes.note("storm", text, source)


def _now_ms() -> int:
    return int(asyncio.get_running_loop().time() * 1000)
