"""The log of a Redfish service.

It says which log has hardware events, what its newest entries are, and which of them an earlier
agent had seen a moment ago.
"""

from __future__ import annotations

import contextlib
import os
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

ROWS = 1024
"""If a service returns all entries at once, this many of the newest are looked at."""


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
    """What identifies an entry, so that two readings can be compared."""
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
        """Takes the entries that a log has now."""
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
    """The sort key, oldest first; within a second by number."""
    number = int(told.id) if told.id.isascii() and told.id.isdigit() and len(told.id) < 18 else 0
    return (told.at_s or 0.0, number)
