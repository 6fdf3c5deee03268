"""One BMC that speaks Redfish, watched for hardware events.

Three ways, the best that the service offers: a stream of server-sent events on a connection of
ours; events that it pushes to the keyword address, by HTTPS under a secret path; its log, read
every ten seconds, which fills the gaps of both.  An event that comes by two ways, or twice, counts
once.  What is taken is durable before a push is answered.

Nothing that arrives can raise out of here: what is not taken is counted by reason, and each fault
is said once, until it is another.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Awaitable, Callable

import msgspec

from clptools.common.http import HttpError, Server, cause
from clptools.common.http_client import KeptConnection
from clptools.common.redfish import (
    ROOT,
    Access,
    Json,
    RedfishError,
    Service,
    link,
    links,
    path_of,
    system_path,
)
from clptools.config.address import Endpoint
from clptools.config.files import read_bmc_password
from clptools.core.model.settings import Bmc
from clptools.intake.rates import Pace
from clptools.intake.redfish_delivery import Owner, RedfishDelivery
from clptools.intake.redfish_events import EventTable, events_of, makers_of, unread_of
from clptools.intake.redfish_identity import listener_tls
from clptools.intake.redfish_log import Known, find_logs, name_of, newest
from clptools.intake.redfish_push import PushHandler, StreamParser, subscribe
from clptools.intake.redfish_reports import (
    WAYS,
    RedfishNotes,
)

LOG_S = 10.0
"""Between two reads of the log."""
SUBSCRIPTION_S = 60.0
"""Between two looks whether the subscription is still there: a BMC that restarts forgets it."""
ANSWER_S = 5.0
"""For one answer of the service."""
AGAIN_S = (1.0, 60.0)
"""First and longest delay before a retry."""
PASSWORD_S = 5.0
"""Between two looks whether there is another password, where one was refused."""
STUCK_S = 10.0
"""A stream whose event does not end within this is given up."""
STREAM_FAULTS = 3
"""After this many streams that failed or ended soon, pushes are subscribed to as well."""
SHORT_S = 10.0
"""A stream that ends within this ends soon."""


class BmcWatch:
    """One BMC, watched."""

    def __init__(
        self,
        owner: Owner,
        bmc: Bmc,
        address: Endpoint,
        secret: str,
        monitors: tuple[str, ...],
        table: EventTable,
    ) -> None:
        self.address = address
        self._owner = owner
        self._counters = owner.counters
        self._bmc = bmc
        self._secret = secret
        self._loop = asyncio.get_running_loop()
        access = Access(
            address=bmc.address,
            port=bmc.port,
            user=bmc.user,
            certificate=bmc.certificate,
            ca=bmc.ca,
        )
        self._service = Service(access, lambda: read_bmc_password(owner.server), self._now_ms)
        self._tasks: list[asyncio.Task[None]] = []
        self._pace = Pace(self._loop)
        self._notes = RedfishNotes(owner.note, bmc.where, self._loop.time)
        self.delivery = RedfishDelivery(owner, self._notes, bmc.address, monitors, table)
        self._seen = self.delivery.seen
        self._stream: KeptConnection | None = None
        self._stream_since = 0.0
        self._streams_failed = 0
        """Streams one after the other that could not be had, or ended soon."""
        self._wants_push = asyncio.Event()
        self._listener: Server | None = None
        self._logs: list[str] = []
        """Paths of entries."""
        self._read: set[str] = set()
        """Those that were read before."""
        self._looked = asyncio.Event()
        """What the log has was remembered, or cannot be: what is reported from now on is news."""
        self._log_read_at = 0.0
        self._known = Known(bmc.where, self._loop.time())
        self._owed: dict[str, float] = {}
        """Events that the log told, and the stream not yet: since when."""

    def start(self) -> None:
        """Begins."""
        for name, work in (
            ("stream", self._follow),
            ("push", self._subscribe),
            ("log", self._read_logs),
        ):
            self._tasks.append(self._loop.create_task(self._again(name, work)))

    async def close(self) -> None:
        """Ends; what was taken becomes durable first."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.delivery.done()
        if self._listener is not None:
            await self._listener.close()
        self._service.close()

    async def _again(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Goes on whatever happens; each fault is reported once, until there is another one."""
        delay_s = AGAIN_S[0]
        while True:
            begun = self._loop.time()
            try:
                await work()
                return
            except RedfishError as error:
                fault = str(error)
                if error.status == 404 and name == "log":
                    self._logs = []
                if error.is_credentials:
                    delay_s = min(delay_s, PASSWORD_S)  # the service is spared, see `Service`
            except TimeoutError:
                fault = f"no answer within {ANSWER_S:g} s"
            except OSError as error:
                fault = cause(error)
            except HttpError as error:
                fault = str(error)
            except Exception as error:
                # A service may send what nobody thought of; the others and the agent go on.
                fault = f"it cannot be read ({error!r})"[:200]
            self._counters.faults += 1
            if name == "log":
                self._looked.set()
            self._notes.fails(name, fault)
            if self._loop.time() - begun > AGAIN_S[1]:
                delay_s = AGAIN_S[0]
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, AGAIN_S[1])

    async def _get(self, path: str) -> Json:
        async with asyncio.timeout(ANSWER_S):
            return await self._service.get(path)

    async def _event_service(self) -> Json:
        """Empty where there is none."""
        path = link(await self._get(ROOT), "EventService")
        return await self._get(path) if path else {}

    async def _learn_maker(self) -> None:
        """Where rows depend on it: known before the first event is judged.  Raises RedfishError."""
        if self.delivery.makers is not None or not self.delivery.table.asks_maker:
            return
        root = await self._get(ROOT)
        oem = root.get("Oem")
        makers = makers_of((root.get("Vendor"), *(oem if isinstance(oem, dict) else ())))
        if not makers:
            async with asyncio.timeout(ANSWER_S):
                path = await system_path(self._service, self._bmc.system)
            makers = makers_of([(await self._get(path)).get("Manufacturer")])
        self.delivery.makers = makers

    # ------------------------------------------------------------------ the stream

    async def _follow(self) -> None:
        """Streams, one after the other."""
        await self._looked.wait()
        await self._learn_maker()
        last = ""
        while True:
            if self._streams_failed >= STREAM_FAULTS:
                self._wants_push.set()
            uri = path_of((await self._event_service()).get("ServerSentEventUri"))
            if not uri:
                # A BMC that starts may not say yet that it has one.
                self._wants_push.set()
                await asyncio.sleep(SUBSCRIPTION_S)
                continue
            headers = (("Last-Event-ID", last),) if last else ()
            try:
                async with asyncio.timeout(ANSWER_S):
                    connection, pieces = await self._service.stream(uri, headers)
            except (RedfishError, TimeoutError):
                self._streams_failed += 1
                raise
            self._stream, self._stream_since = connection, self._loop.time()
            self._owed.clear()
            self._notes.works("stream")
            parser, ends_by = StreamParser(), math.inf
            try:
                while True:
                    try:
                        async with asyncio.timeout_at(None if ends_by == math.inf else ends_by):
                            piece = await anext(pieces, None)
                    except TimeoutError:
                        raise RedfishError("it stopped inside an event") from None
                    if piece is None:
                        break
                    await self._pace.turn()
                    told = parser.feed(piece)
                    for event_id, data in told:
                        last = event_id or last
                        await self._told(data, "stream")
                    # The event as a whole has that long, even if it arrives byte by byte.
                    begins = told or ends_by == math.inf
                    if not parser.inside:
                        ends_by = math.inf
                    elif begins:
                        ends_by = self._loop.time() + STUCK_S
            finally:
                self._stream = None
                connection.close()
                self._counters.stream_ended += 1
            short = self._loop.time() - self._stream_since < SHORT_S
            self._streams_failed = self._streams_failed + 1 if short else 0
            await asyncio.sleep(min(AGAIN_S[0] * 2**self._streams_failed, AGAIN_S[1]))

    async def _told(self, data: bytes, way: str) -> bool:
        """An Event in JSON; whether all of it became durable."""
        try:
            body = msgspec.json.decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            body = None
        if not isinstance(body, dict):
            self._counters.malformed += 1
            self._notes.seldom(f"malformed {way}", f"{WAYS[way]}: an event is no JSON object")
            return True
        if unread := unread_of(body):
            self._counters.malformed += unread
            text = f"{WAYS[way]}: {unread} things in one event are no records, or are too many"
            self._notes.seldom(f"unread {way}", text)
        kept: list[asyncio.Task[bool] | None] = []
        for told in events_of(body):
            await self._pace.turn()
            if way == "stream":
                self._owed.pop(told.identity, None)
            kept.append(self.delivery.take(told, way))
        return all(await asyncio.gather(*(task for task in kept if task is not None)))

    # ------------------------------------------------------------------ pushes

    async def _subscribe(self) -> None:
        await self._wants_push.wait()
        await self._learn_maker()
        while not link(await self._event_service(), "Subscriptions"):
            await asyncio.sleep(SUBSCRIPTION_S)
        if self._listener is None:
            listener = Server(PushHandler(self._secret, self._pushed, self._refused))
            await listener.start(self.address.host, self.address.port, await listener_tls())
            self._listener = listener
        while True:
            await self._subscribed()
            self._notes.works("push")
            await asyncio.sleep(SUBSCRIPTION_S)

    async def _subscribed(self) -> None:
        """Looks for the subscription, and makes it where it is not.  Raises RedfishError."""
        service = await self._event_service()
        path = link(service, "Subscriptions")
        host = f"[{self.address.host}]" if ":" in self.address.host else self.address.host
        destination = f"https://{host}:{self.address.port}{self._secret}"
        for each in links(await self._get(path), "Members")[:32]:
            with contextlib.suppress(RedfishError):
                if (await self._get(each)).get("Destination") == destination:
                    return
        await subscribe(self._post, path, destination, f"clptools {self._owner.server}", service)

    async def _post(self, path: str, body: Json) -> None:
        async with asyncio.timeout(ANSWER_S):
            await self._service.send("POST", path, body)

    async def _pushed(self, data: bytes) -> bool:
        return await self._told(data, "push")

    def _refused(self) -> None:
        self._counters.refused += 1

    # ------------------------------------------------------------------ the log

    async def _read_logs(self) -> None:
        while True:
            if not self._logs:
                self._logs = await find_logs(self._get, self._bmc.system)
                if not self._logs:
                    raise RedfishError("it has no log of events")
            await self._learn_maker()
            begun = self._loop.time()
            for path in self._logs:
                await self._read_log(path)
            self._notes.works("log")
            self._looked.set()
            self._log_read_at = begun
            self._known.keep(begun)
            self._check_stream()
            await asyncio.sleep(LOG_S)

    async def _read_log(self, path: str) -> None:
        """Its newest entries; the first time they are only remembered.

        If an earlier agent read the log a moment ago, what that one had not seen is news.
        """
        entries = await newest(self._get, path)
        before = None if path in self._read else self._known.before
        remember = path not in self._read and before is None
        for told in entries:
            await self._pace.turn()
            if remember:
                self._seen.remember("log", told)
                continue
            if before is not None and name_of(told) in before:
                self._seen.first("log", told)
                continue
            whole = self._stream is not None and self._stream_since < self._log_read_at
            new = not self._seen.knows("log", told)
            if not new:
                self._seen.remember("log", told)  # still in the log: others are forgotten first
                continue
            if whole and not self._seen.tells("stream", told):
                self._owed.setdefault(told.identity, self._loop.time())
            others = self._stream is not None or self._listener is not None
            self.delivery.take(told, "log", fills=others)
        self._read.add(path)
        self._known.read(path, entries)

    def _check_stream(self) -> None:
        """A stream that does not tell what the log has told for long hangs: another is begun."""
        now = self._loop.time()
        if self._stream is None:
            self._owed.clear()
            return
        if any(now - since >= LOG_S for since in self._owed.values()):
            self._owed.clear()
            self._counters.stream_silent += 1
            text = "the stream: it does not tell what the log has, and is begun anew"
            self._notes.seldom("silent", text)
            self._stream.close()

    def _now_ms(self) -> int:
        return int(self._loop.time() * 1000)
