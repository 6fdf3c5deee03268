"""The log of a Redfish service, and which events came already.

It says which log has hardware events, what its newest entries are, which of them an earlier agent
had seen a moment ago, and which events came by another way or were overtaken.
"""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import msgspec

from clptools import paths
from clptools.common.redfish import ROOT, Json, RedfishError, link, links, text_of
from clptools.intake.redfish_events import Told, entry_of

KNOWN_S = 600.0
"""How long ago an earlier agent may have run, for what was logged since then to count as new."""
_KNOWN_BYTES = 4_194_304
_NAMES = ("EventLog", "Event", "Lclog", "IML", "Log", "Sel", "SEL")
"""Logs that have hardware events, best first: OpenBMC, iLO 6, iDRAC, iLO 5, others, IPMI's."""
_PAGE = 50
_MOST = 2

Get = Callable[[str], Awaitable[Json]]

KEPT = 2048
"""Events, and faults, that are remembered."""
ROWS = 1024
"""So many of the newest entries of a log are looked at, where a service gives all at once."""
_ALIKE = 8 * KEPT
"""Events that are remembered by their ids, alike ones among them."""
LATE_S = 60.0
"""An event that is so much older than the newest of its fault, and comes as shortly after that,
was overtaken; a greater difference is a clock that was set."""


async def find_logs(get: Get, system: str) -> list[str]:
    """Paths of the entries of the best logs; `system`: the one that is meant, or empty.

    Raises RedfishError.
    """
    root = await get(ROOT)
    found: dict[str, int] = {}
    for kind in ("Systems", "Managers"):
        if not (path := link(root, kind)):
            continue
        for member in links(await get(path), "Members")[:8]:
            if kind == "Systems" and system not in ("", _last(member), member):
                continue
            services = link(await get(member), "LogServices")
            for each in links(await get(services), "Members")[:16] if services else ():
                if _last(each) in _NAMES and (entries := link(await get(each), "Entries")):
                    found[entries] = _NAMES.index(_last(each))
    return sorted(found, key=lambda path: found[path])[:_MOST]


async def newest(get: Get, path: str) -> list[Told]:
    """The newest entries of a log, oldest first; a page of them, however many it has.

    Services list the newest first or last.  Raises RedfishError.
    """
    separator = "&" if "?" in path else "?"
    try:
        page = await get(f"{path}{separator}$top={_PAGE}")
    except RedfishError as error:
        if error.status not in (400, 404, 501):
            raise
        page = await get(path)
    rows = _rows(page)
    count = page.get("Members@odata.count")
    oldest_first = len(rows) > 1 and _stamp(rows[0]) < _stamp(rows[-1])
    if isinstance(count, int) and count > len(rows) and oldest_first:
        skip = max(count - _PAGE, 0)
        rows = _rows(await get(f"{path}{separator}$skip={skip}&$top={_PAGE}"))
    rows = rows[-ROWS:] if oldest_first else rows[:ROWS]
    return sorted((told for row in rows if (told := entry_of(row)) is not None), key=_age)


def name_of(told: Told) -> str:
    """An entry, for whoever compares two readings."""
    return f"{told.identity}#{told.id}"


class _File(msgspec.Struct, frozen=True, kw_only=True):
    """In `/run`: it ends with the boot."""

    where: str
    at_s: float
    """By the clock of the event loop, which counts from the boot."""
    entries: list[str]


class Known:
    """The entries that were there at the newest reading, kept for the next agent."""

    def __init__(self, where: str, now_s: float) -> None:
        self._where = where
        self._entries: dict[str, list[str]] = {}
        self._written: dict[str, list[str]] = {}
        self._written_s = 0.0
        self.before = self._read(now_s)
        """What an agent had seen a moment ago; None: none ran."""

    def read(self, path: str, entries: list[Told]) -> None:
        """A log has these."""
        self._entries[path] = [name_of(told) for told in entries]

    def keep(self, now_s: float) -> None:
        """Writes it down where it changed, or grows old there."""
        if self._entries == self._written and now_s - self._written_s < KNOWN_S / 2:
            return
        self._written, self._written_s = dict(self._entries), now_s
        names = [name for names in self._entries.values() for name in names]
        with contextlib.suppress(OSError):
            path = _path()
            with open(f"{path}.new", "wb") as file:
                file.write(msgspec.json.encode(_File(where=self._where, at_s=now_s, entries=names)))
            os.replace(f"{path}.new", path)

    def _read(self, now_s: float) -> frozenset[str] | None:
        try:
            with open(_path(), "rb") as file:
                found = msgspec.json.decode(file.read(_KNOWN_BYTES), type=_File)
        except (OSError, msgspec.MsgspecError):
            return None
        fresh = 0 <= now_s - found.at_s <= KNOWN_S
        return frozenset(found.entries) if fresh and found.where == self._where else None


def _path() -> str:
    return f"{paths.run_dir()}/redfish"


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _rows(page: Json) -> list[Json]:
    rows = page.get("Members")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _stamp(row: Json) -> str:
    return text_of(row.get("Created"), 64)


def _age(told: Told) -> tuple[float, int]:
    """Oldest first; within a second by number."""
    number = int(told.id) if told.id.isascii() and told.id.isdigit() and len(told.id) < 18 else 0
    return (told.at_s or 0.0, number)


class _Ids:
    """The ids under which one way told events that are alike."""

    def __init__(self) -> None:
        self.last: OrderedDict[str, None] = OrderedDict()
        """The last `KEPT` of them."""
        self.count = 0
        """Of all: a service without a clock says the same for ever."""

    def knew(self, id: str) -> bool:
        """Whether that one came already; remembers it."""
        known = id in self.last
        self.last[id] = None
        self.last.move_to_end(id)
        if not known:
            self.count += 1
        if len(self.last) > KEPT:
            self.last.popitem(last=False)
        return known


class Seen:
    """Events that came.

    Two events of one second may be alike.  Then a channel that reported both, under two ids, is
    right, and a channel that reported one has reported one of the two.
    """

    def __init__(self) -> None:
        self._events: OrderedDict[str, dict[str, _Ids]] = OrderedDict()
        self._ids = 0
        """How many there are in all."""
        self._taken: dict[str, int] = {}
        self._newest: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Fault -> the BMC's and our own time of its newest event."""

    def first(self, way: str, told: Told) -> bool:
        """Whether it is news; remembers it.

        What has neither a time nor an id cannot be told from the next of its kind, which must not
        be lost: it is always news.
        """
        if not told.id and not told.stamp:
            return True
        ids, known = self._noted(way, told)
        if known or ids.count <= self._taken.get(told.identity, 0):
            return False
        self._taken[told.identity] = ids.count
        return True

    def remember(self, way: str, told: Told) -> None:
        """It is no news by this way; another that tells it as it happens is believed."""
        self._noted(way, told)

    def _noted(self, way: str, told: Told) -> tuple[_Ids, bool]:
        """The ids by that way, and whether this one was among them."""
        ways = self._events.setdefault(told.identity, {})
        ids = ways.setdefault(way, _Ids())
        before = len(ids.last)
        known = ids.knew(told.id)
        self._ids += len(ids.last) - before
        self._events.move_to_end(told.identity)
        while len(self._events) > KEPT or (self._ids > _ALIKE and len(self._events) > 1):
            self._drop(next(iter(self._events)))
        return ids, known

    def knows(self, way: str, told: Told) -> bool:
        """Whether it came by that way."""
        ids = self._events.get(told.identity, {}).get(way)
        return ids is not None and told.id in ids.last

    def tells(self, way: str, told: Told) -> bool:
        """Whether one like it came by that way, under whatever id."""
        return way in self._events.get(told.identity, {})

    def forget(self, told: Told) -> None:
        """As if it had never come."""
        self._drop(told.identity)

    def _drop(self, identity: str) -> None:
        ways = self._events.pop(identity, {})
        self._ids -= sum(len(ids.last) for ids in ways.values())
        self._taken.pop(identity, None)

    def count(self, told: Told) -> int:
        """How many alike were taken."""
        return self._taken.get(told.identity, 0)

    def is_late(self, key: str, told: Told, now_s: float) -> bool:
        """Whether a newer event of that fault has overtaken it."""
        if told.at_s is None:
            return False
        last = self._newest.get(key)
        if last is not None and 0 < last[0] - told.at_s <= LATE_S and now_s - last[1] <= LATE_S:
            return True
        self._newest[key] = (told.at_s, now_s)
        self._newest.move_to_end(key)
        if len(self._newest) > KEPT:
            self._newest.popitem(last=False)
        return False
