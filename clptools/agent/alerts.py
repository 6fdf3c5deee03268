"""`[alert]`: records of this server that people are told of by mail, SNMP trap or script.

Every server sends what it recorded itself, and nothing of its peers.  Each destination has a
bounded queue and is served beside everything else: one that hangs, refuses or is gone costs a
line a minute and, once its queue is full, the newest alerts.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from clptools.agent import clock
from clptools.agent.alert_channels import AlertScript, Mail, Traps
from clptools.agent.notices import AlertsWait
from clptools.api.messages import EventRecord
from clptools.config.load import Alert
from clptools.core.model.words import Level
from clptools.core.notices import cluster, groups, monitors, requests, safety
from clptools.core.notices.form import Kinds, Notice
from clptools.faults import ClpError
from clptools.resources.script import ScriptRunner

logger = logging.getLogger(__name__)

ALWAYS = Kinds(
    cluster.ServerLeft,
    cluster.ServerReadsOff,
    cluster.ServerLost,
    cluster.ClusterStillSuspended,
    groups.TwoCopies,
    groups.OneCopy,
    groups.ResourceStartFailed,
    groups.ResourceStopFailed,
    monitors.MonitorError,
    monitors.MonitorStillSuspended,
    requests.CannotLeave,
    requests.ServiceStopped,
    safety.ForcedStopFailed,
)
"""Passed on whatever the level: EXPRESSCLUSTER's default set for mail and traps, as far as we
record such things, and three where we say more than it does: a server lost without a word (there
one with nm 2), a failover held because its forced stop failed, and a server that could not leave
because a group there did not stop.  And two copies of a group, and what somebody may have forgotten
to resume."""

ENDS = Kinds(groups.GroupOnline)
"""The good end of trouble: passed on after it, whatever the level, once a group."""
TROUBLE_MS = 3_600_000
"""A group that comes online within this time after reported trouble is reported as well."""
SOON_MS = 5_000
"""The word of another server's trouble may come this long after its end here."""

OWN = Kinds(AlertsWait)
"""Never passed on itself."""

QUEUE = 200
BATCH = 50
"""As many alerts make one mail."""
GATHER_S = 1.0
"""An incident makes several records within a second."""
RETRY_S = 30.0
COMPLAIN_S = 60.0
LAST_S = 3.0
"""How long the agent's end waits for what is still queued."""

_LEVELS: dict[str, int] = {Level.INFO: 0, Level.WARN: 1, Level.ERROR: 2}


def passes(record: EventRecord, level: Level) -> bool:
    """Whether a record is passed on where `level` is the lowest to be told."""
    if record in OWN:
        return False
    return record in ALWAYS or _LEVELS.get(record.level, 0) >= _LEVELS[level]


class Alerts:
    """All destinations of this server's alerts."""

    def __init__(self, scripts: ScriptRunner, complain: Callable[[Notice], None]) -> None:
        """`complain` records that something could not be passed on."""
        self._scripts = scripts
        self._complain = complain
        self._level = Level.ERROR
        self._outboxes: tuple[Outbox, ...] = ()
        self._trouble_at: int | None = None
        """When a server last told of trouble (boot ms)."""
        self._online: dict[str, tuple[int, EventRecord]] = {}
        """What came online here, by the subject of its record, and was not told."""
        self._told: set[str] = set()
        """What was reported to be online since the last trouble."""

    def apply(self, cluster: str, alert: Alert) -> None:
        """Take a configuration; what is queued for the former destinations is dropped."""
        for outbox in self._outboxes:
            outbox.close()
        self._level = alert.level
        found: list[Outbox] = []
        if alert.mail_to:
            mail = Mail(cluster, alert)
            found.append(Outbox(mail.name, mail.send, self._complain, GATHER_S))
        for receiver in alert.snmp_to:
            traps = Traps(cluster, receiver, alert)
            found.append(Outbox(traps.name, traps.send, self._complain))
        if alert.script:
            script = AlertScript(alert.script, self._scripts)
            found.append(Outbox(script.name, script.send, self._complain))
        self._outboxes = tuple(found)

    def add(self, record: EventRecord) -> None:
        """A record of this server."""
        if not self._outboxes:
            return
        if passes(record, self._level):
            self._put(record)
            self._trouble(record)
        elif record in ENDS:
            self._ended(record)

    def heard(self, record: EventRecord) -> None:
        """A record of another server, which sends the alert itself."""
        if self._outboxes and passes(record, self._level):
            self._trouble(record)

    def _trouble(self, record: EventRecord) -> None:
        if record in ENDS:
            return
        now = clock.boot_ms()
        self._trouble_at = now
        self._told.clear()
        for subject, (at, online) in self._online.items():
            if now - at <= SOON_MS:
                self._told.add(subject)
                self._put(online)
        self._online.clear()

    def _ended(self, record: EventRecord) -> None:
        now, subject = clock.boot_ms(), "".join(record.subjects[:1])
        if self._trouble_at is None or now - self._trouble_at > TROUBLE_MS:
            self._online[subject] = now, record
        elif subject not in self._told:
            self._told.add(subject)
            self._put(record)

    def _put(self, record: EventRecord) -> None:
        for outbox in self._outboxes:
            outbox.put(record)

    async def close(self) -> None:
        """Pass on what is queued, as far as that goes quickly."""
        under_way = [outbox.task for outbox in self._outboxes if outbox.task is not None]
        if under_way:
            for outbox in self._outboxes:
                outbox.hurry()
            await asyncio.wait(under_way, timeout=LAST_S)
        for outbox in self._outboxes:
            outbox.close()


class Outbox:
    """What waits for one destination."""

    def __init__(
        self,
        name: str,
        send: Callable[[tuple[EventRecord, ...]], Awaitable[None]],
        complain: Callable[[Notice], None],
        gather_s: float = 0.0,
    ) -> None:
        """`send` raises OSError, TimeoutError or ClpError; it is tried again with the same.

        Any other exception is a bug.  Sending is tried again all the same, from then on one alert
        at a time, so that an alert that cannot be sent holds up no other.
        """
        self.task: asyncio.Task[None] | None = None
        self._name = name
        self._send = send
        self._complain = complain
        self._gather_s = gather_s
        self._waiting: deque[EventRecord] = deque()
        self._batch = BATCH
        self._lost = 0
        self._hurry = asyncio.Event()
        self._complained_at = -COMPLAIN_S

    def put(self, record: EventRecord) -> None:
        """Queue it; when the queue is full it is lost, and counted."""
        if len(self._waiting) >= QUEUE:
            self._lost += 1
            return
        self._waiting.append(record)
        if self.task is None:
            self.task = asyncio.get_running_loop().create_task(self._run())

    def hurry(self) -> None:
        """Stop gathering, and try what failed once more, now."""
        self._hurry.set()

    def close(self) -> None:
        """Send nothing more."""
        if self.task is not None:
            self.task.cancel()

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._pause(self._gather_s)
                last = self._hurry.is_set()
                if not await self._sent():
                    if last:
                        break
                    await self._pause(RETRY_S)
        finally:
            self.task = None

    async def _sent(self) -> bool:
        batch = tuple(self._waiting)[: self._batch]
        try:
            await self._send(batch)
        except (OSError, ClpError) as error:
            self._failed(error)
            return False
        except Exception as error:
            if self._batch > 1:
                logger.exception("%s failed", self._name)
            self._batch = 1
            self._waiting.rotate(-1)
            self._failed(error)
            return False
        for _ in batch:
            self._waiting.popleft()
        return True

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()

    def _failed(self, error: Exception) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._complained_at < COMPLAIN_S:
            return
        self._complained_at = now
        why = error.message if isinstance(error, ClpError) else _reason(error)
        lost, self._lost = self._lost, 0
        self._complain(AlertsWait(self._name, why, len(self._waiting), lost))


def _reason(error: Exception) -> str:
    said = error.strerror if isinstance(error, OSError) else None
    return said or str(error) or type(error).__name__
