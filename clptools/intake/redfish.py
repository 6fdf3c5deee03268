"""Hardware events of this server's own BMC by Redfish, as a trap would tell them.

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
import hashlib
import hmac
import os
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import msgspec

from clptools import paths
from clptools.common.http import HttpError, Request, Response, Server, cause
from clptools.common.kept_http import KeptConnection
from clptools.common.redfish import (
    ROOT,
    Access,
    Json,
    RedfishError,
    Service,
    link,
    links,
    path_of,
    text_of,
)
from clptools.config.address import Endpoint
from clptools.config.passwords import read_bmc_password
from clptools.core.events import HardwareSeen
from clptools.core.settings import Bmc, Settings
from clptools.intake.match import BURST, RATE, Bucket, admissions
from clptools.intake.profile import EventClass
from clptools.intake.redfish_events import EventTable, Told, entry_of, events_of
from clptools.intake.redfish_identity import listener_tls

LOG_S = 10.0
"""Between two reads of the log."""
SUBSCRIPTION_S = 60.0
"""Between two looks whether the subscription is still there: a BMC that restarts forgets it."""
ANSWER_S = 5.0
"""For one answer of the service."""
AGAIN_S = (1.0, 60.0)
"""How soon what could not go on is begun anew: at first, and at last."""
EVENT_BYTES = 1_048_576
"""Of one event in a stream, and of one that is pushed."""
STUCK_S = 10.0
"""A stream that stops inside an event is given up after this."""
STREAM_FAULTS = 3
"""Streams that could not be had one after the other, and pushes are asked for as well."""
LATE_S = 60.0
"""An event that is so much older than the newest of its fault, and comes as shortly after that,
was overtaken; a greater difference is a clock that was set."""
KEPT = 2048
"""Events and faults remembered."""
PENDING, GRAVE_PENDING = 256, 4096
"""Events taken and not yet durable: all, and fatal ones and ends."""
UNKNOWN_AGAIN_S = 3600.0
"""A message that no row knows is told this often."""
KNOWN_S = 600.0
"""How long ago an agent may have run that what came since is news."""
KNOWN_BYTES = 262_144
_LOGS = ("EventLog", "Event", "Lclog", "IML", "Log", "Sel", "SEL")
"""Names of logs that have events, best first."""
_PAGE = 50
_LOG_MOST = 2
_GRAVE = (EventClass.FATAL, EventClass.CLEAR)

OnEvent = Callable[[HardwareSeen], Awaitable[None]]


class RedfishCounters(msgspec.Struct, kw_only=True):
    """Events by fate, since the agent started."""

    received: int = 0
    accepted: int = 0
    duplicate: int = 0
    """Came by another way as well, or twice."""
    late: int = 0
    """Overtaken by a newer one of the same fault."""
    unknown: int = 0
    """No class: recorded, no monitor changes."""
    test: int = 0
    malformed: int = 0
    storm: int = 0
    undelivered: int = 0
    refused: int = 0
    """Pushed under another path than ours."""
    stream_ended: int = 0
    stream_silent: int = 0
    """Streams that did not tell what the log had."""
    log_filled: int = 0
    """Events that the log alone had."""
    faults: int = 0
    """Questions without an answer that could be used."""

    def as_dict(self) -> dict[str, int]:
        """Name -> count."""
        return {name: getattr(self, name) for name in self.__struct_fields__}


class RedfishEvents:
    """The events of one agent's own BMC, while that speaks Redfish.

    `on_event` returns once the event is durable; `note` takes one line for people.
    """

    def __init__(
        self,
        server: str,
        authkey: bytes,
        on_event: OnEvent,
        note: Callable[[str], None],
    ) -> None:
        self.counters = RedfishCounters()
        self._server = server
        self._on_event = on_event
        self._note = note
        word = hmac.digest(authkey, f"redfish push {server}".encode(), hashlib.sha256).hex()
        self._secret = f"/redfish/{word[:40]}"
        self._bmc: Bmc | None = None
        self._watch: _Watch | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def apply(self, settings: Settings) -> None:
        """Begins, ends or begins anew what the configuration changes."""
        heard = admissions(settings, self._server)
        own = settings.server(self._server)
        bmc = own.bmc if own is not None and own.bmc is not None and own.bmc.is_redfish else None
        monitors = tuple(m.name for admission in heard for m in admission.monitors)
        address = heard[0].address if heard else None
        if bmc is None or address is None:
            self._end()
            return
        table = EventTable(settings.trap_profiles)
        if self._watch is not None and self._bmc == bmc and self._watch.address == address:
            self._watch.monitors, self._watch.table = monitors, table
            return
        self._end()
        self._bmc = bmc
        self._watch = _Watch(self, bmc, address, self._secret, monitors, table)
        self._watch.start()

    def _end(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            task = asyncio.get_running_loop().create_task(watch.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Ends it; what was taken becomes durable first."""
        self._end()
        await asyncio.gather(*self._closing, return_exceptions=True)

    @property
    def server(self) -> str:
        """Whose BMC it is."""
        return self._server

    def note(self, text: str) -> None:
        """One line for people."""
        self._note(text)

    async def deliver(self, event: HardwareSeen) -> None:
        """Returns once it is durable.  Raises OSError."""
        await self._on_event(event)


class _Watch:
    """One BMC, watched."""

    def __init__(
        self,
        owner: RedfishEvents,
        bmc: Bmc,
        address: Endpoint,
        secret: str,
        monitors: tuple[str, ...],
        table: EventTable,
    ) -> None:
        self.address = address
        self.monitors = monitors
        self.table = table
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
        self._pending: set[asyncio.Task[bool]] = set()
        self._seen = _Seen()
        self._newest: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Fault -> the BMC's and our own time of its newest event."""
        self._bucket = Bucket(RATE, BURST)
        self._said: dict[str, str] = {}
        self._unknown_told: OrderedDict[str, float] = OrderedDict()
        self._stream: KeptConnection | None = None
        self._stream_since = 0.0
        self._wants_push = asyncio.Event()
        self._listener: Server | None = None
        self._logs: dict[str, bool] = {}
        """Path of a log's entries -> whether it was read before."""
        self._log_read_at = 0.0
        self._known = self._read_known()
        self._entries: dict[str, list[str]] = {}
        """Path of a log's entries -> names of the newest."""
        self._kept: dict[str, list[str]] = {}
        self._kept_at = 0.0
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
        await asyncio.gather(*self._pending, return_exceptions=True)
        if self._listener is not None:
            await self._listener.close()
        self._service.close()

    async def _again(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        """Goes on whatever happens; each fault is one line until it is another."""
        delay_s = AGAIN_S[0]
        while True:
            begun = self._loop.time()
            try:
                await work()
                return
            except RedfishError as error:
                fault = str(error)
                if error.is_credentials:
                    delay_s = AGAIN_S[1]
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
            self._tell(name, f"{_WAYS[name]}: {fault}")
            if self._loop.time() - begun > AGAIN_S[1]:
                delay_s = AGAIN_S[0]
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, AGAIN_S[1])

    def _tell(self, name: str, text: str) -> None:
        if self._said.get(name) != text:
            self._said[name] = text
            self._owner.note(f"Redfish events of {self._owner.server} ({self._bmc.where}), {text}")

    def _works(self, name: str) -> None:
        if self._said.pop(name, ""):
            where = f"{self._owner.server} ({self._bmc.where})"
            self._owner.note(f"Redfish events of {where}, {_WAYS[name]}: it works again")

    async def _get(self, path: str) -> Json:
        async with asyncio.timeout(ANSWER_S):
            return await self._service.get(path)

    async def _event_service(self) -> Json:
        """Empty where there is none."""
        path = link(await self._get(ROOT), "EventService")
        return await self._get(path) if path else {}

    # ------------------------------------------------------------------ the stream

    async def _follow(self) -> None:
        """Streams, one after the other."""
        failed, last = 0, ""
        while True:
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
                failed += 1
                if failed >= STREAM_FAULTS:
                    self._wants_push.set()
                raise
            failed = 0
            self._stream, self._stream_since = connection, self._loop.time()
            self._owed.clear()
            self._works("stream")
            parser = _StreamParser()
            try:
                while True:
                    limit = STUCK_S if parser.inside else None
                    try:
                        async with asyncio.timeout(limit):
                            piece = await anext(pieces, None)
                    except TimeoutError:
                        raise RedfishError("it stopped inside an event") from None
                    if piece is None:
                        break
                    for event_id, data in parser.feed(piece):
                        last = event_id or last
                        await self._told(data, "stream")
            finally:
                self._stream = None
                connection.close()
                self._counters.stream_ended += 1
            await asyncio.sleep(AGAIN_S[0])

    async def _told(self, data: bytes, way: str) -> bool:
        """An Event in JSON; whether all of it became durable."""
        try:
            body = msgspec.json.decode(data)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            body = None
        if not isinstance(body, dict):
            self._counters.malformed += 1
            self._tell(f"malformed {way}", f"{_WAYS[way]}: an event is no JSON object")
            return True
        kept = [self._take(told, way) for told in events_of(body)]
        return all(await asyncio.gather(*(task for task in kept if task is not None)))

    # ------------------------------------------------------------------ pushes

    async def _subscribe(self) -> None:
        await self._wants_push.wait()
        while not link(await self._event_service(), "Subscriptions"):
            await asyncio.sleep(SUBSCRIPTION_S)
        if self._listener is None:
            listener = Server(_PushHandler(self._secret, self._pushed, self._counters))
            await listener.start(self.address.host, self.address.port, await listener_tls())
            self._listener = listener
        while True:
            await self._subscribed()
            self._works("push")
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
        base = {
            "Destination": destination,
            "Context": f"clptools {self._owner.server}",
            "Protocol": "Redfish",
        }
        known = service.get("RegistryPrefixes")
        newer: Json = {"SubscriptionType": "RedfishEvent", "EventFormatType": "Event"}
        types = ["StatusChange", "ResourceUpdated", "ResourceAdded", "ResourceRemoved", "Alert"]
        last = RedfishError("it takes no subscription")
        # iLO 5 wants event types, newer services refuse them; many verify a certificate that they
        # cannot know unless they are told not to.
        for more in (
            newer | {"VerifyCertificate": False},
            newer | ({"RegistryPrefixes": known} if isinstance(known, list) and known else {}),
            {"EventTypes": types},
            {"EventTypes": ["Alert"]},
            {},
        ):
            try:
                async with asyncio.timeout(ANSWER_S):
                    await self._service.send("POST", path, base | more)
            except RedfishError as error:
                if not 400 <= error.status < 500 or error.status in (401, 403, 404):
                    raise
                last = error
            else:
                return
        raise last

    async def _pushed(self, data: bytes) -> bool:
        return await self._told(data, "push")

    # ------------------------------------------------------------------ the log

    async def _read_logs(self) -> None:
        while True:
            if not self._logs:
                self._logs = dict.fromkeys(await self._find_logs(), False)
                if not self._logs:
                    raise RedfishError("it has no log of events")
            begun = self._loop.time()
            for path in self._logs:
                await self._read_log(path)
            self._works("log")
            self._log_read_at = begun
            self._keep_known()
            self._check_stream()
            await asyncio.sleep(LOG_S)

    async def _find_logs(self) -> list[str]:
        root = await self._get(ROOT)
        found: dict[str, tuple[int, str]] = {}
        for kind in ("Systems", "Managers"):
            if not (path := link(root, kind)):
                continue
            for member in links(await self._get(path), "Members")[:8]:
                named = member.rstrip("/").rpartition("/")[2]
                if kind == "Systems" and self._bmc.system not in ("", named, member):
                    continue
                services = link(await self._get(member), "LogServices")
                for each in links(await self._get(services), "Members")[:16] if services else ():
                    name = each.rstrip("/").rpartition("/")[2]
                    if name not in _LOGS:
                        continue
                    entries = link(await self._get(each), "Entries")
                    if entries:
                        found[entries] = (_LOGS.index(name), entries)
        return sorted(found, key=lambda path: found[path])[:_LOG_MOST]

    async def _read_log(self, path: str) -> None:
        """Its newest entries; the first time they are only remembered.

        Unless an agent before us read it a moment ago: then what it had not seen is news.
        """
        was_read = self._logs[path]
        rows = await self._newest_rows(path)
        entries = sorted((t for row in rows if (t := entry_of(row)) is not None), key=_age)
        if not was_read and self._known is None:
            for told in entries:
                self._seen.first("log", told)
        else:
            for told in entries:
                if not was_read and self._known and _name(told) in self._known:
                    self._seen.first("log", told)
                    continue
                whole = self._stream is not None and self._stream_since < self._log_read_at
                new = not self._seen.knows("log", told)
                if whole and new and not self._seen.knows("stream", told):
                    self._owed.setdefault(told.identity, self._loop.time())
                self._take(told, "log")
        self._logs[path] = True
        self._entries[path] = [_name(told) for told in entries]

    def _keep_known(self) -> None:
        """Notes what the log has, for an agent that starts while the BMC goes on."""
        if self._entries == self._kept and self._loop.time() - self._kept_at < KNOWN_S / 2:
            return
        self._kept, self._kept_at = dict(self._entries), self._loop.time()
        known = _Known(
            where=self._bmc.where,
            at_s=self._loop.time(),
            entries=[name for names in self._entries.values() for name in names],
        )
        with contextlib.suppress(OSError):
            path = _known_file()
            with open(f"{path}.new", "wb") as file:
                file.write(msgspec.json.encode(known))
            os.replace(f"{path}.new", path)

    def _read_known(self) -> frozenset[str] | None:
        """What an agent had seen a moment ago, or None."""
        try:
            with open(_known_file(), "rb") as file:
                known = msgspec.json.decode(file.read(KNOWN_BYTES), type=_Known)
        except (OSError, msgspec.MsgspecError):
            return None
        fresh = 0 <= self._loop.time() - known.at_s <= KNOWN_S
        return frozenset(known.entries) if fresh and known.where == self._bmc.where else None

    async def _newest_rows(self, path: str) -> list[Json]:
        separator = "&" if "?" in path else "?"
        try:
            page = await self._get(f"{path}{separator}$top={_PAGE}")
        except RedfishError as error:
            if error.status not in (400, 404, 501):
                raise
            page = await self._get(path)
        rows = _rows(page)
        count = page.get("Members@odata.count")
        more = isinstance(count, int) and count > len(rows)
        oldest_first = len(rows) > 1 and _stamp(rows[0]) < _stamp(rows[-1])
        if more and oldest_first:
            assert isinstance(count, int)
            skip = max(count - _PAGE, 0)
            rows = _rows(await self._get(f"{path}{separator}$skip={skip}&$top={_PAGE}"))
        return rows

    def _check_stream(self) -> None:
        """A stream that does not tell what the log has told for long hangs: another is begun."""
        now = self._loop.time()
        if self._stream is None:
            self._owed.clear()
            return
        if any(now - since >= LOG_S for since in self._owed.values()):
            self._owed.clear()
            self._counters.stream_silent += 1
            self._tell("silent", "the stream: it does not tell what the log has, and is begun anew")
            self._stream.close()

    # ------------------------------------------------------------------ what was told

    def _take(self, told: Told, way: str) -> asyncio.Task[bool] | None:
        """Judges one event; the task that makes it durable, or None: there is nothing to keep."""
        self._counters.received += 1
        if way == "stream":
            self._owed.pop(told.identity, None)
        if not self._seen.first(way, told):
            self._counters.duplicate += 1
            return None
        if way == "log" and (self._stream is not None or self._listener is not None):
            self._counters.log_filled += 1
        judged = self.table.judge(told)
        if self._is_late(judged.key, told):
            self._counters.late += 1
            return None
        if told.test:
            self._counters.test += 1
            self._owner.note(f"Test event of the BMC of {self._owner.server} arrived: {told.test}")
        if judged.event_class is EventClass.UNKNOWN:
            self._counters.unknown += 1
        if not judged.known and judged.event_class is not EventClass.CLEAR:
            self._tell_unknown(told, judged.event_class)
        grave = judged.event_class in _GRAVE
        calm = self._bucket.take(self._now_ms())
        most = GRAVE_PENDING if grave else PENDING
        if not (calm or grave) or len(self._pending) >= most:
            self._counters.storm += 1
            self._tell("storm", "more events at once than are taken: those below FATAL are dropped")
            return None
        self._counters.accepted += 1
        events = tuple(
            HardwareSeen(
                monitor=monitor,
                key=judged.key,
                duplicate_key=f"{told.identity}|{self._seen.count(told)}" if told.stamp else "",
                event_class=judged.event_class.value,
                closes=judged.closes,
                row=judged.row,
                meaning=told.text,
                source=self._bmc.address,
                varbinds=(
                    ("MessageId", told.message),
                    ("Severity", told.severity),
                    ("OriginOfCondition", told.origin),
                    ("EventTimestamp", told.stamp),
                    ("by", way),
                ),
            )
            for monitor in self.monitors
        )
        task = self._loop.create_task(self._deliver(told, events))
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)
        return task

    def _is_late(self, key: str, told: Told) -> bool:
        """Whether a newer event of that fault has overtaken it."""
        if told.at_s is None:
            return False
        now = self._loop.time()
        last = self._newest.get(key)
        if last is not None and 0 < last[0] - told.at_s <= LATE_S and now - last[1] <= LATE_S:
            return True
        self._newest[key] = (told.at_s, now)
        self._newest.move_to_end(key)
        if len(self._newest) > KEPT:
            self._newest.popitem(last=False)
        return False

    def _tell_unknown(self, told: Told, event_class: EventClass) -> None:
        now = self._loop.time()
        last = self._unknown_told.get(told.message)
        if last is not None and now - last < UNKNOWN_AGAIN_S:
            return
        self._unknown_told[told.message] = now
        if len(self._unknown_told) > KEPT:
            self._unknown_told.popitem(last=False)
        self._owner.note(
            f"No row knows the Redfish message {told.message} ({told.text[:120]}): its severity "
            f'makes it {event_class}. A [[trap_profile]] row "redfish {told.message}" gives it a '
            "class."
        )

    async def _deliver(self, told: Told, events: tuple[HardwareSeen, ...]) -> bool:
        try:
            for event in events:
                await self._owner.deliver(event)
        except OSError:
            # It is told again: pushed by the BMC, or read from its log.
            self._seen.forget(told)
            self._counters.undelivered += 1
            return False
        return True

    def _now_ms(self) -> int:
        return int(self._loop.time() * 1000)


class _Known(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent had seen of a BMC's logs, in `/run`: it ends with the boot."""

    where: str
    at_s: float
    """By the clock of the event loop, which counts from the boot."""
    entries: list[str]


def _known_file() -> str:
    return f"{paths.run_dir()}/redfish"


def _name(told: Told) -> str:
    return f"{told.identity}#{told.id}"


_WAYS = {"stream": "the stream", "push": "pushes", "log": "the log"}


class _Seen:
    """Which events came already, by each way.

    Two events of one second may be alike: then the way that told both, under two ids, is right,
    and another way that told one has told one of them.
    """

    def __init__(self) -> None:
        self._events: OrderedDict[str, dict[str, set[str]]] = OrderedDict()
        self._taken: dict[str, int] = {}

    def first(self, way: str, told: Told) -> bool:
        """Whether it is news; remembers it."""
        ways = self._events.setdefault(told.identity, {})
        ids = ways.setdefault(way, set())
        known = told.id in ids
        if not known and len(ids) < KEPT:
            ids.add(told.id)
        self._events.move_to_end(told.identity)
        if len(self._events) > KEPT:
            self._taken.pop(self._events.popitem(last=False)[0], None)
        if known or len(ids) <= self._taken.get(told.identity, 0):
            return False
        self._taken[told.identity] = len(ids)
        return True

    def knows(self, way: str, told: Told) -> bool:
        """Whether it came by that way."""
        return bool(self._events.get(told.identity, {}).get(way))

    def forget(self, told: Told) -> None:
        """As if it had never come."""
        self._events.pop(told.identity, None)
        self._taken.pop(told.identity, None)

    def count(self, told: Told) -> int:
        """How many alike were taken."""
        return self._taken.get(told.identity, 0)


class _StreamParser:
    """Server-sent events (WHATWG HTML, 9.2.6), read from pieces as they come."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0
        self._id = ""

    @property
    def inside(self) -> bool:
        """Whether an event has begun and not ended."""
        return bool(self._rest or self._data)

    def feed(self, piece: bytes) -> list[tuple[str, bytes]]:
        """(id, data) of the events that end in it.  Raises RedfishError: one is too long."""
        found: list[tuple[str, bytes]] = []
        lines = (self._rest + piece).replace(b"\r\n", b"\n").split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            line = line.removesuffix(b"\r")
            if not line:
                if self._data:
                    found.append((self._id, b"\n".join(self._data)))
                self._data, self._size = [], 0
                continue
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                self._data.append(value)
                self._size += len(value)
            elif name == b"id":
                self._id = text_of(value.decode("ascii", "replace"), 128)
        if self._size + len(self._rest) > EVENT_BYTES:
            raise RedfishError("an event in it is too long")
        return found


class _PushHandler:
    """Takes what is posted to the secret path, and answers once it is durable."""

    def __init__(
        self,
        secret: str,
        take: Callable[[bytes], Awaitable[bool]],
        counters: RedfishCounters,
    ) -> None:
        self._secret = secret
        self._take = take
        self._counters = counters

    def room(self, request: Request) -> int:
        """How long the body may be.  Raises HttpError."""
        if not hmac.compare_digest(request.path.encode(), self._secret.encode()):
            self._counters.refused += 1
            raise HttpError("no such path", 404)
        if request.method != "POST":
            raise HttpError("POST is wanted", 405)
        return EVENT_BYTES

    async def respond(self, request: Request) -> Response:
        """204 once it is kept, 503 where it could not be: the BMC shall try again."""
        kept = await self._take(request.body)
        return Response(status=204 if kept else 503, trusts=kept)


def _rows(page: Json) -> list[Json]:
    rows = page.get("Members")
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _stamp(row: Json) -> str:
    return text_of(row.get("Created"), 64)


def _age(told: Told) -> tuple[float, int]:
    """Oldest first; within a second by number."""
    number = int(told.id) if told.id.isascii() and told.id.isdigit() and len(told.id) < 18 else 0
    return (told.at_s or 0.0, number)
