"""The trap receivers: UDP at each keyword address of this server, datagram in, event out.

A first look (`glance.py`) says whether a datagram may wait.  What may be fatal, or the end of
that, is decoded and judged at once, in well under a millisecond; the rest waits for a turn
(`waiting.py`), and behind it no fatal trap ever does.  What is taken goes to the handler in a task
of its own, so that recovery never holds up the socket.  The handler returns once the event is
durable (it may batch); only then is an INFORM answered.  Nothing that arrives can raise out of
here: what is not taken is counted by reason and told as a note.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec

from clptools.config.address import Endpoint
from clptools.config.trap_names import row_fault
from clptools.core.model.events import HardwareSeen
from clptools.core.model.settings import Settings, SnmpUser, TrapSource
from clptools.core.model.words import EventClass
from clptools.core.monitors.severity import grave_classes
from clptools.faults import ClpError
from clptools.intake import pet, snmp
from clptools.intake.ber import DecodeError
from clptools.intake.glance import Glance, ends_grave, is_grave, sensor_of
from clptools.intake.listen import Listener
from clptools.intake.match import (
    FOREIGN_RATE,
    REPEAT_MS,
    Admission,
    Bucket,
    Counters,
    Recent,
    Storm,
    admissions,
    plain_source,
    source_of,
)
from clptools.intake.pet import DecodedTrap
from clptools.intake.profile import ClassTable
from clptools.intake.rehearse import RehearsalGate, is_rehearsal
from clptools.intake.snmp import Trap, V3Message
from clptools.intake.usm import Engine, Refused, UserKeys, Usm, engine_id
from clptools.intake.variables import Binds, words_of
from clptools.intake.waiting import Waiting

PENDING = 1_024
"""Traps taken and not yet durable; beyond it they are dropped and counted."""
GRAVE_PENDING = 4_096
"""The same of fatal ones and their ends, which never wait behind others or for their places."""
AT_ONCE, AT_ONCE_BURST = 200, 64
"""Traps a second that could wait, and need not: without a storm all are judged as they come."""
JUDGE_S, REST_S = 0.002, 0.006
"""How long traps that may wait are judged before others have their turn, and the pause then."""
LONG_REST_S = 0.05
"""The pause when one came that may not: what recovers from it shall have the loop for itself."""
SAME_NOTE_MS = 60_000
"""One note for a reason and source in this time; the counters tell the rest."""


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """Something that people should be told, and that is no event of the core."""

    kind: str
    """`refused`, `storm`, `bind`, `bound`, `keys`, `profile`, `presence`, `rehearsal`, `unknown`
    or `fault`."""
    text: str
    """One sentence."""
    source: str = ""
    rehearsal: tuple[HardwareSeen, ...] = ()
    """What a rehearsal trap would have been, for each monitor: show it, never act on it."""


UNKNOWN_AGAIN_MS = 3_600_000
"""A trap of the own BMC that no row knows is told of this often, by its name."""
UNKNOWN_NAMES = 32
"""Names told of within that time; a BMC that sends more of them has another trouble."""

NOTES, NOTES_AT_ONCE = 1, 30
"""Notes of refused traps a second, and at once."""

OnEvent = Callable[[HardwareSeen], Awaitable[None]]
OnNote = Callable[[Note], None]
ReadUserKeys = Callable[[SnmpUser], UserKeys]
OnPet = Callable[[bytes], None]
"""Told the octets of each PET that is on the disk: its BMC may wait for an acknowledgement."""


class TrapReceiver:
    """All trap sockets of this server.

    `on_event` returns once the event is durable; `wall` is the wall clock in Unix seconds;
    `boots` rises with each start of the agent (SNMPv3); `read_user_keys` raises ClpError.
    """

    def __init__(
        self,
        *,
        server: str,
        settings: Settings,
        on_event: OnEvent,
        on_note: OnNote,
        wall: Callable[[], float],
        authkey: bytes = b"",
        boots: int = 1,
        read_user_keys: ReadUserKeys | None = None,
        on_pet: OnPet = lambda _: None,
    ) -> None:
        self._on_pet = on_pet
        self._counters = Counters()
        self.presence_at_ms: dict[str, int] = {}
        """BMC -> when (loop time) its last presence trap came: for the BMC heartbeat."""
        self._server = server
        self._settings = settings
        self._on_event = on_event
        self._on_note = on_note
        self._wall = wall
        self._gate = RehearsalGate(authkey, server, int(wall() * 1000))
        self._boots = boots
        self._read_user_keys = read_user_keys
        self._listeners: dict[Endpoint, Listener] = {}
        self._usms: dict[Endpoint, tuple[list[tuple[SnmpUser, UserKeys]], Usm | None]] = {}
        self._table = ClassTable(settings.trap_profiles)
        self._table.families.load()
        self._engine: Engine | None = None
        self._grave = grave_classes(settings.monitors)
        self._glance = Glance(self._table, self._grave)
        self._waiting: Waiting[_Datagram] = Waiting()
        self._at_once = Bucket(AT_ONCE, AT_ONCE_BURST)
        self._rests_until = 0.0
        self._rested = False
        """Whether they had a long rest since their last turn: the next one they do not have."""
        self._turn: asyncio.TimerHandle | None = None
        self._recent: dict[bool, Recent[asyncio.Task[bool]]] = {
            grave: Recent() for grave in (False, True)
        }
        """By whether they are grave: what came in a storm must not push a fatal one out."""
        self._pending: dict[bool, set[asyncio.Task[bool]]] = {False: set(), True: set()}
        self._foreign = {known: Bucket(FOREIGN_RATE, FOREIGN_RATE) for known in (False, True)}
        """By whether they are of the cluster: a flood of others keeps no rehearsal out."""
        self._storms: dict[str, Storm[_Taken]] = {}
        self._noted: dict[tuple[str, str], int] = {}
        self._unknown: dict[tuple[str, str], int] = {}
        """Source and name of traps that no row knows -> when that was told."""
        self._notes = Bucket(NOTES, NOTES_AT_ONCE)
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Opens the sockets in the running loop; an address that cannot be bound is retried."""
        self._loop = asyncio.get_running_loop()
        self._engine = Engine(
            id=engine_id(self._server), boots=self._boots, started_ms=self._now_ms()
        )
        self.apply(self._settings)

    def apply(self, settings: Settings) -> None:
        """Takes a changed configuration; addresses that stay keep their sockets and queues."""
        self._settings = settings
        self._table = ClassTable(settings.trap_profiles)
        self._grave = grave_classes(settings.monitors)
        self._glance = Glance(self._table, self._grave)
        for profile in settings.trap_profiles:
            for row in profile.rows:
                if fault := row_fault(row):
                    text = f"trap_profile {profile.name}: {fault}; this row is left out"
                    self._on_note(Note(kind="profile", text=text))
        wanted = {admission.address: admission for admission in admissions(settings, self._server)}
        for address in [a for a in self._listeners if a not in wanted]:
            self._listeners.pop(address).close()
        for address, admission in wanted.items():
            usm = self._usm(admission)
            listener = self._listeners.get(address)
            if listener is None:
                listener = self._listeners[address] = Listener(
                    admission, usm, self._counters, self.datagram, self._bound
                )
                listener.open()
            else:
                listener.admit(admission, usm)

    @property
    def counters(self) -> Counters:
        """What became of all datagrams until now."""
        for listener in self._listeners.values():
            listener.count_drops()
        return self._counters

    async def close(self) -> None:
        """Closes the sockets and waits until what was taken is durable, and answered."""
        for listener in self._listeners.values():
            listener.stop_reading()
        if self._turn is not None:
            self._turn.cancel()
        while (waiting := self._waiting.next()) is not None:
            self._judged(waiting, waited=True)
        pending = [task for tasks in self._pending.values() for task in tasks]
        await asyncio.gather(*pending, return_exceptions=True)
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()

    def listening(self) -> dict[str, str]:
        """Keyword address -> why it is not heard at; empty: it is."""
        return {str(a): listener.fault for a, listener in self._listeners.items()}

    def datagram(self, listener: Listener, data: bytes, cut: bool, peer: tuple[str, int]) -> None:
        """Judges one datagram, or lets it wait.  Never raises."""
        self._counters.received += 1
        datagram = _Datagram(listener, data, cut, source_of(peer), peer)
        admission = listener.admission
        own = admission.speaks(datagram.source)
        # Whether a chassis manager speaks of this server, only reading it in full can tell.
        looked_at = own and not admission.shares(datagram.source)
        sensor = self._looked_at(data) if looked_at else None
        now_ms = self._now_ms()
        if sensor is None:
            if own and not self._rested:
                self._rested = True
                self._rests_until = self._running().time() + LONG_REST_S
            self._judged(datagram)
            return
        if not self._waiting.count and self._at_once.take(now_ms):
            self._judged(datagram)
            return
        if not self._waiting.add(sensor, datagram):
            self._counters.shed += 1
            storm = self._storm(datagram.source)
            storm.drop(now_ms)
            self._storm_begins(storm, datagram.source)
        if self._turn is None:
            self._turn = self._running().call_at(self._rests_until, self._take_turn)

    def _looked_at(self, data: bytes) -> bytes | None:
        try:
            return self._glance.waits(data, self._wall())
        except Exception:
            # A bug here shows when it is read in full, and is noted there.
            return None

    def _take_turn(self) -> None:
        """Judges of what waits as much as others can spare the time for."""
        loop = self._running()
        self._turn = None
        now = loop.time()
        if now >= self._rests_until:
            self._rested = False
            until = now + JUDGE_S
            while (now := loop.time()) < until:
                datagram = self._waiting.next()
                if datagram is None:
                    return
                self._judged(datagram, waited=True)
            self._rests_until = now + REST_S
        self._turn = loop.call_at(self._rests_until, self._take_turn)

    def _judged(self, datagram: _Datagram, *, waited: bool = False) -> None:
        listener, source, peer = datagram.listener, datagram.source, datagram.peer
        try:
            self._judge(datagram, waited)
        except DecodeError as error:
            self._refuse("malformed", source, f"no readable trap: {error.reason}")
        except Refused as refused:
            if refused.report:
                listener.send(refused.report, peer)
            if refused.counter == "discovery":
                self._counters.discovery += 1
            else:
                self._refuse(refused.counter, source, refused.text)
        except Exception as error:
            # A bug must not cost the receiver; the bytes that show it are in the note.
            self._counters.malformed += 1
            self._note("fault", f"{source}: {error!r} for {datagram.data[:256].hex()}", source)

    def _judge(self, datagram: _Datagram, waited: bool) -> None:
        listener, data, cut, source, peer = datagram
        now_ms = self._now_ms()
        admission = listener.admission
        own = admission.speaks(source)
        if not own and not self._foreign[plain_source(source) in admission.cluster].take(now_ms):
            self._refuse_foreign(source)
            return
        if cut:
            raise DecodeError(f"more than {snmp.MESSAGE_BYTES} bytes")
        message = snmp.decode(data)
        if isinstance(message, V3Message):
            if not own:
                self._refuse_foreign(source)
                return
            if listener.usm is None:
                raise Refused("bad_community", "SNMPv3, but no snmpv3_user can be used")
            trap = listener.usm.receive(message, source, now_ms)
        else:
            trap = message
        if is_rehearsal(trap):
            self._rehearse(listener, trap, source, peer)
            return
        if not own:
            self._refuse_foreign(source)
            return
        shared = admission.shares(source)
        if shared and not any(_names(trap, entry) for entry in shared):
            self._counters.elsewhere += 1
            return
        monitors = admission.listeners(trap.community, trap.user)
        if not monitors:
            raise Refused(
                "bad_community",
                f"SNMPv3 user {trap.user} is not of this monitor"
                if trap.user
                else "wrong community",
            )
        answer: _Answer | _Acknowledgement | None = None
        if trap.inform:
            answer = _Answer(listener, peer, trap, message)
        elif octets := pet.octets_of(trap):
            answer = _Acknowledgement(self._on_pet, octets)
        decoded = pet.decode_trap(trap, self._table, self._wall())
        if not waited:
            # What came before of the same sensor comes first: a fault must not overtake the end
            # of an earlier one, nor an end its fault.
            for earlier in self._waiting.of(sensor_of(decoded)):
                self._judged(earlier, waited=True)
        if decoded.presence:
            self._counters.presence += 1
            if source not in self.presence_at_ms:
                text = f"BMC {source} sends presence traps"
                self._on_note(Note(kind="presence", text=text, source=source))
            self.presence_at_ms[source] = now_ms
            if answer:
                answer.send(now_ms)
            return
        if decoded.hint:
            self._note_unknown(decoded, source, now_ms)
        # A chassis manager's sensors are not the BMC's, however alike their numbers are.
        prefix = f"{source}/" if shared else ""
        self._take(monitors, trap, decoded, source, prefix, answer, now_ms)

    def _note_unknown(self, decoded: DecodedTrap, source: str, now_ms: int) -> None:
        """Says once an hour what no row knows, and how it is given one."""
        key = (source, decoded.oid)
        told = self._unknown
        if key in told and now_ms - told[key] < UNKNOWN_AGAIN_MS:
            return
        for old in [k for k, at in told.items() if now_ms - at >= UNKNOWN_AGAIN_MS]:
            del told[old]
        if len(told) >= UNKNOWN_NAMES:
            return
        told[key] = now_ms
        more = " Further names are only counted for an hour." if len(told) == UNKNOWN_NAMES else ""
        said = "; ".join(value for _, value in decoded.varbinds if not value.isdecimal())[:200]
        text = f"BMC {source} sent {decoded.oid}, which no row knows"
        text += f' ("{said}")' if said else f" ({decoded.meaning})"
        self._on_note(
            Note(
                kind="unknown",
                text=f"{text}: nothing follows. A class is given by {decoded.hint}.{more}",
                source=source,
            )
        )

    def _take(
        self,
        monitors: tuple[str, ...],
        trap: Trap,
        decoded: DecodedTrap,
        source: str,
        prefix: str,
        answer: _Answer | _Acknowledgement | None,
        now_ms: int,
    ) -> None:
        key = pet.duplicate_key(trap, decoded, source)
        if key:
            found = (recent.find(key, now_ms) for recent in self._recent.values())
            earlier = next((task for task in found if task is not None), None)
            if earlier is not None:
                self._counters.duplicate += 1
                if answer is not None:
                    earlier.add_done_callback(answer.after)
                return
        events = tuple(event_of(m, trap, decoded, source, key, prefix) for m in monitors)
        urgent = is_grave(decoded, self._grave)
        ends = ends_grave(decoded, self._grave)
        taken = _Taken(events, key, answer, urgent or ends)
        storm = self._storm(source)
        state = f"{decoded.offset} {decoded.assertion} {decoded.event_class}"
        if storm.admit(decoded.fault, state, urgent, taken, now_ms, ends_urgent=ends):
            self._start(taken)
            return
        self._counters.storm += 1
        self._storm_begins(storm, source)

    def _storm(self, source: str) -> Storm[_Taken]:
        return self._storms.setdefault(source, Storm())

    def _storm_begins(self, storm: Storm[_Taken], source: str) -> None:
        """Says it with the first trap that did not pass."""
        if storm.dropped == 1:
            self._on_note(
                Note(
                    kind="storm",
                    text=f"BMC {source} sends a storm of traps: repeats are held back",
                    source=source,
                )
            )
            self._running().call_later(REPEAT_MS / 1000, self._storm_goes_on, source)

    def _start(self, taken: _Taken) -> None:
        """Hands a trap to the handler, unless too many wait for it already."""
        first = taken.events[0]
        pending, most = self._pending[taken.grave], GRAVE_PENDING if taken.grave else PENDING
        if len(pending) >= most:
            self._counters.queue_full += 1
            self._note("refused", f"{first.source}: {most} traps wait for the disk already")
            return
        unknown = first.event_class == EventClass.UNKNOWN
        self._counters.count("unknown" if unknown else "accepted")
        task = self._running().create_task(self._deliver(taken))
        pending.add(task)
        task.add_done_callback(pending.discard)
        if taken.answer is not None:
            task.add_done_callback(taken.answer.after)
        if taken.key:
            self._recent[taken.grave].remember(taken.key, task, self._now_ms())

    async def _deliver(self, taken: _Taken) -> bool:
        """Whether the events are durable."""
        kept = False
        try:
            # All at once: no monitor waits for the disk before it is told of a fatal trap.
            ends = await asyncio.gather(*map(self._on_event, taken.events), return_exceptions=True)
            faults = [end for end in ends if end is not None]
            if faults:
                source = taken.events[0].source
                self._note("fault", f"trap from {source} was not kept: {faults[0]!r}")
            kept = not faults
        finally:
            # However it ended: a key that stayed would make its retransmissions duplicates.
            if not kept:
                self._counters.undelivered += 1
                self._recent[taken.grave].forget(taken.key)
        return kept

    def _rehearse(self, listener: Listener, trap: Trap, source: str, peer: tuple[str, int]) -> None:
        fault = self._gate.fault(trap, int(self._wall() * 1000))
        if fault:
            self._refuse("not_allowed", source, f"rehearsal trap refused: {fault}")
            return
        self._counters.rehearsal += 1
        decoded = pet.decode_trap(trap, self._table, self._wall())
        self._on_note(
            Note(
                kind="rehearsal",
                text=f"Rehearsal trap from {source}: {decoded.meaning}, {decoded.event_class}. "
                "Nothing is recovered.",
                source=source,
                rehearsal=tuple(
                    event_of(monitor.name, trap, decoded, source, "")
                    for monitor in listener.admission.monitors
                ),
            )
        )
        if trap.inform:
            listener.send(snmp.response(trap), peer)

    def _refuse(self, counter: str, source: str, text: str) -> None:
        self._counters.count(counter)
        self._note("refused", f"Trap from {source} refused: {text}", source, counter)

    def _refuse_foreign(self, source: str) -> None:
        self._refuse("not_allowed", source, f"it is not the BMC of {self._server}")

    def _note(self, kind: str, text: str, source: str = "", reason: str = "") -> None:
        """A note, unless one of that kind about that source was given a minute ago."""
        now_ms = self._now_ms()
        key = (f"{kind} {reason}", source)
        last = self._noted.get(key)
        if last is not None and now_ms - last < SAME_NOTE_MS:
            return
        # Sources can be forged: neither memory nor the alert log shall grow with them.
        if not self._notes.take(now_ms):
            return
        if len(self._noted) >= 1_024:
            self._noted.clear()
        self._noted[key] = now_ms
        self._on_note(Note(kind=kind, text=text, source=source))

    def _storm_goes_on(self, source: str) -> None:
        """Every ten seconds of a storm: what it hid, and whether it is over."""
        storm = self._storms[source]
        if not self._listeners:
            return
        now_ms = self._now_ms()
        for taken in storm.release(now_ms):
            self._start(taken)
        if now_ms - storm.quiet_since_ms < REPEAT_MS:
            self._running().call_later(REPEAT_MS / 1000, self._storm_goes_on, source)
            return
        text = f"BMC {source}: the storm of traps is over, {storm.dropped} were held back"
        storm.dropped = 0
        self._on_note(Note(kind="storm", text=text, source=source))

    def _usm(self, admission: Admission) -> Usm | None:
        if self._engine is None or self._read_user_keys is None:
            return None
        usable: list[tuple[SnmpUser, UserKeys]] = []
        for user in admission.users:
            try:
                usable.append((user, self._read_user_keys(user)))
            except ClpError as error:
                self._on_note(
                    Note(kind="keys", text=f"SNMPv3 user {user.user} cannot be used: {error}")
                )
        earlier = self._usms.get(admission.address)
        if earlier is not None and earlier[0] == usable:
            # The clocks of the senders' engines stay known: what was a replay stays one.
            return earlier[1]
        try:
            usm = Usm(usable, self._engine) if usable else None
        except ClpError as error:
            self._on_note(Note(kind="keys", text=error.message))
            return None
        self._usms[admission.address] = (usable, usm)
        return usm

    def _bound(self, address: Endpoint, text: str, heard: bool) -> None:
        kind = "bound" if heard else "bind"
        self._on_note(Note(kind=kind, text=f"Trap receiver {address}: {text}"))

    def _now_ms(self) -> int:
        return int(self._running().time() * 1000)

    def _running(self) -> asyncio.AbstractEventLoop:
        assert self._loop is not None, "start() comes first"
        return self._loop


def event_of(
    monitor: str,
    trap: Trap,
    decoded: DecodedTrap,
    source: str,
    duplicate_key: str,
    prefix: str = "",
) -> HardwareSeen:
    """What the core is told of a trap; `prefix` stands before the keys of its faults."""
    by_row = bool(decoded.profile)
    return HardwareSeen(
        monitor=monitor,
        key=prefix + decoded.key,
        duplicate_key=duplicate_key,
        event_class=decoded.event_class,
        # A class that only the severity told may differ between a fault and its end: then the
        # key alone says what is closed.  So it does where several states are.
        clears=decoded.clears.value if decoded.clears and by_row and not decoded.closed else "",
        closes=tuple(prefix + key for key in decoded.closed),
        row=decoded.row,
        own_watchdog=decoded.own_watchdog,
        meaning=decoded.meaning,
        source=source,
        varbinds=pet.journal_varbinds(trap),
    )


def _names(trap: Trap, source: TrapSource) -> bool:
    """Whether a chassis manager's trap speaks of this server."""
    said = Binds(trap.varbinds).first(source.variable)
    return said is not None and words_of(said) == source.value


class _Datagram(NamedTuple):
    """As it came."""

    listener: Listener
    data: bytes
    cut: bool
    source: str
    peer: tuple[str, int]


class _Taken(NamedTuple):
    """A trap on its way to the handler."""

    events: tuple[HardwareSeen, ...]
    key: str
    """Its duplicate key; empty: none."""
    answer: _Answer | _Acknowledgement | None
    grave: bool
    """Whether it is of a class that no storm may cost, or may be the end of what is."""


class _Answer:
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


class _Acknowledgement:
    """The same of a PET, which is no INFORM: its BMC is told by other ways."""

    def __init__(self, on_pet: OnPet, octets: bytes) -> None:
        self._on_pet = on_pet
        self._octets = octets

    def after(self, delivered: asyncio.Task[bool]) -> None:
        """As `_Answer.after`."""
        if not delivered.cancelled() and delivered.result():
            self.send(0)

    def send(self, _now_ms: int) -> None:
        """Tells of it now."""
        self._on_pet(self._octets)
