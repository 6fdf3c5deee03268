"""How groups were in service and servers were lost, counted from the records as they come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from clptools.api.messages import EventRecord
from clptools.core.model.view import GroupView
from clptools.core.notices.cluster import ServerLost
from clptools.core.notices.form import Kinds
from clptools.core.notices.groups import GroupOnline, GroupReleased, GroupStops

_LOST = Kinds(ServerLost)
_ENDS = Kinds(GroupStops, GroupReleased)
_BEGINS = Kinds(GroupOnline)


class Service(msgspec.Struct):
    """How one group was in service, as this server saw it since its agent started."""

    server: str = ""
    """Where it was online last."""
    since: int = -1
    """Boot time in ms from which it has been out of service; -1: it is not."""
    interruptions: int = 0
    moves: int = 0
    """How often it came online on another server than before."""
    out_ms: int = 0
    """All interruptions together."""
    last_ms: int = 0
    """The newest one."""


class History:
    """What is counted from the records as they come, this server's and its peers'."""

    def __init__(self, server: str) -> None:
        self._server = server
        self.services: dict[str, Service] = {}
        self.records: Counter[tuple[str, str]] = Counter()
        """(server, level) -> how many."""
        self.lost: Counter[str] = Counter()
        """Server -> how often this one lost it."""

    def saw(self, record: EventRecord, now: int) -> None:
        """A record that is new; `now`: boot time in ms."""
        self.records[record.server, record.level] += 1
        if record in _LOST and record.server == self._server:
            self._lost(record.subjects, now)
        elif record in _ENDS:
            self._out(record.subjects, record.server, now)
        elif record in _BEGINS:
            self._online(record.subjects, record.server, now)

    def holds(self, groups: Iterable[GroupView]) -> None:
        """Where groups ran already when this agent began to look."""
        for group in groups:
            if group.status == "Online" and group.current and group.name not in self.services:
                self.services[group.name] = Service(server=group.current)

    def _lost(self, servers: tuple[str, ...], now: int) -> None:
        for server in servers:
            self.lost[server] += 1
            for service in self.services.values():
                if service.server == server and service.since < 0:
                    service.since = now

    def _out(self, subjects: tuple[str, ...], server: str, now: int) -> None:
        for name in subjects:
            service = self.services.get(name)
            if service is not None and service.server == server and service.since < 0:
                service.since = now

    def _online(self, subjects: tuple[str, ...], server: str, now: int) -> None:
        name = subjects[0] if subjects else ""
        service = self.services.setdefault(name, Service(server=server))
        if service.since >= 0:
            service.last_ms = now - service.since
            service.out_ms += service.last_ms
            service.interruptions += 1
            service.since = -1
        service.moves += service.server != server
        service.server = server
