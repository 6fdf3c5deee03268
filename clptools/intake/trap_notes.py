"""Notes about traps for people, at a bounded rate."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from clptools.core.model.events import HardwareSeen
from clptools.intake.admission import Counters
from clptools.intake.decoded_trap import DecodedTrap
from clptools.intake.rates import Bucket

SAME_NOTE_MS = 60_000
"""One note for a reason and source in this time; the counters tell the rest."""
UNKNOWN_AGAIN_MS = 3_600_000
"""How often a trap that no row knows is reported, by its name."""
UNKNOWN_NAMES = 32
"""Most names reported within that time; a BMC that sends more has another problem."""
NOTES, NOTES_AT_ONCE = 1, 30
"""Notes of refused traps a second, and at once."""


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """A remark for people that is no event of the core."""

    kind: str
    """`refused`, `storm`, `bind`, `bound`, `keys`, `keyed`, `profile`, `presence`,
    `rehearsal`, `unknown` or `fault`."""
    text: str
    """One sentence."""
    source: str = ""
    rehearsal: tuple[HardwareSeen, ...] = ()
    """What a rehearsal trap would have been, for each monitor: show it, never act on it."""


OnNote = Callable[[Note], None]
OnCondition = Callable[[str, str, tuple[str, ...]], None]
"""Name of what is not well, what it is (empty: it is well again), the monitors that suffer."""


class TrapNotes:
    """Notes on their way to `on_note`; refusals also count."""

    def __init__(self, on_note: OnNote, counters: Counters) -> None:
        self._on_note = on_note
        self._counters = counters
        self._noted: dict[tuple[str, str], int] = {}
        """(kind and reason, source) -> when that was noted."""
        self._unknown: dict[tuple[str, str], int] = {}
        """(source, name) of traps that no row knows -> when that was noted."""
        self._rate = Bucket(NOTES, NOTES_AT_ONCE)

    def note(
        self, kind: str, text: str, source: str = "", rehearsal: tuple[HardwareSeen, ...] = ()
    ) -> None:
        """Passes a note on at once."""
        self._on_note(Note(kind=kind, text=text, source=source, rehearsal=rehearsal))

    def note_seldom(
        self, kind: str, text: str, now_ms: int, *, source: str = "", reason: str = ""
    ) -> None:
        """The same, unless one of that kind, reason and source came within a minute."""
        key = (f"{kind} {reason}", source)
        last = self._noted.get(key)
        if last is not None and now_ms - last < SAME_NOTE_MS:
            return
        # Sources can be forged: neither memory nor the alert log may grow with them.
        if not self._rate.take(now_ms):
            return
        if len(self._noted) >= 1_024:
            self._noted.clear()
        self._noted[key] = now_ms
        self.note(kind, text, source)

    def refuse(self, counter: str, source: str, text: str, now_ms: int) -> None:
        """Counts a trap that is not taken, and says why."""
        self._counters.count(counter)
        text = f"Trap from {source} refused: {text}"
        self.note_seldom("refused", text, now_ms, source=source, reason=counter)

    def unknown(self, decoded: DecodedTrap, source: str, now_ms: int) -> None:
        """Says once an hour which trap no row knows, and how it is given one."""
        key = (source, decoded.oid)
        noted = self._unknown
        if key in noted and now_ms - noted[key] < UNKNOWN_AGAIN_MS:
            return
        for old in [k for k, at in noted.items() if now_ms - at >= UNKNOWN_AGAIN_MS]:
            del noted[old]
        if len(noted) >= UNKNOWN_NAMES:
            return
        noted[key] = now_ms
        more = " Further names are only counted for an hour." if len(noted) == UNKNOWN_NAMES else ""
        said = "; ".join(value for _, value in decoded.varbinds if not value.isdecimal())[:200]
        text = f"BMC {source} sent {decoded.oid}, which no row knows"
        text += f' ("{said}")' if said else f" ({decoded.meaning})"
        text = f"{text}: nothing follows. A class is given by {decoded.hint}.{more}"
        self.note("unknown", text, source)
