"""Which servers took part, followed record by record.

One server's word that another is lost says as much of its own link: a server was silent when
most of the others that were not off said so.
"""

from __future__ import annotations

from collections.abc import Iterable

from clptools.core.notices import cluster, groups, requests, safety
from clptools.core.notices.form import Kinds
from clptools.core.report.facts import facts
from clptools.core.report.story import Recorded

SWITCHED_OFF = Kinds(
    cluster.ServerLeft,
    cluster.ServerReadsOff,
    requests.ServiceStopped,
    safety.ForcedStopDone,
    safety.ForcedStopNotNeeded,
)
CONFIRMED = Kinds(safety.ConfirmedDown)
LOST = Kinds(cluster.ServerLost)
HEARD = Kinds(cluster.HeardAgain)
TAKES_PART = Kinds(cluster.TakesPart)
ACTS = Kinds(cluster.CoordinatorElected, groups.GroupGranted, groups.GroupStarts)
"""Only who takes part does that."""


class Presence:
    """The servers as the records that were taken tell of them."""

    def __init__(self, names: Iterable[str], status: dict[str, str] | None = None) -> None:
        """`status`: Online, Offline or Unknown of each before the first record."""
        self._names = tuple(names)
        self._off = {name for name, word in (status or {}).items() if word == "Offline"}
        self._confirmed: set[str] = set()
        """Of those that are off: by a person's word alone."""
        self._boots: set[str] = set()
        """Of those that are off: heard again, and not taking part yet."""
        self._lost = {
            name: set(self._names) - {name}
            for name, word in (status or {}).items()
            if word == "Unknown"
        }
        self._told: set[str] = set()

    def take(self, record: Recorded) -> None:
        """Goes on by one record."""
        if record in ACTS:
            self._back(record.server)
        who = about(record)
        if not who:
            return
        self._told.add(who)
        if record in SWITCHED_OFF or record in CONFIRMED:
            self._off.add(who)
            self._boots.discard(who)
            (self._confirmed.add if record in CONFIRMED else self._confirmed.discard)(who)
        elif record in LOST:
            self._lost.setdefault(who, set()).add(record.server)
        elif record in TAKES_PART:
            self._back(who)
        else:
            self._lost.setdefault(who, set()).discard(record.server)
            if who in self._confirmed:
                self._back(who)
            elif who in self._off:
                self._boots.add(who)

    def _back(self, name: str) -> None:
        self._off.discard(name)
        self._confirmed.discard(name)
        self._boots.discard(name)
        self._lost.pop(name, None)

    def status(self, name: str) -> str:
        """Online, Offline or Unknown; empty where no record told of it."""
        if name in self._off:
            return "Offline"
        if self._is_lost(name):
            return "Unknown"
        return "Online" if name in self._told else ""

    def state(self, name: str) -> str:
        """What its heartbeats were: heard, silent, or off."""
        if name in self._off and name not in self._boots:
            return "off"
        return "silent" if name not in self._boots and self._is_lost(name) else "heard"

    def _is_lost(self, name: str) -> bool:
        others = {other for other in self._names if other != name and other not in self._off}
        return 2 * len(self._lost.get(name, set()) & others) > len(others)


def about(record: Recorded) -> str:
    """The server whose coming or going a record tells; else nothing."""
    known = (SWITCHED_OFF, CONFIRMED, LOST, HEARD, TAKES_PART)
    if any(record in kinds for kinds in known):
        return facts(record).get("server", record.server)
    return ""
