"""The trap receivers: UDP at each keyword address of this server, datagram in, event out.

Triage (`triage`) says whether a datagram may wait.  What may be fatal, or the end of that, is
decoded and judged at once, in well under a millisecond; the rest waits for its turn, and no fatal
trap ever waits behind it.  What is taken goes on to `trap_delivery`.  Nothing that arrives can
raise out of here: what is not taken is counted by reason and noted (`trap_notes`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NamedTuple

from clptools.config.address import Endpoint
from clptools.config.trap_names import row_fault
from clptools.core.model.settings import Settings, TrapSource
from clptools.core.monitors.status import grave_classes
from clptools.intake import pet, pet_fields, snmp
from clptools.intake.admission import (
    FOREIGN_RATE,
    Admission,
    Counters,
    admissions,
    plain_source,
    source_of,
)
from clptools.intake.ber import DecodeError
from clptools.intake.class_table import ClassTable
from clptools.intake.decoded_trap import event_of
from clptools.intake.engine_clocks import EngineClocks
from clptools.intake.listener import Listener
from clptools.intake.rates import JUDGE_S, REST_S, Bucket
from clptools.intake.rehearsal import RehearsalGate, is_rehearsal
from clptools.intake.snmp import Trap, V3Message
from clptools.intake.snmp_users import ReadUserKeys, SnmpUsers
from clptools.intake.trap_delivery import (
    Answer,
    InformAnswer,
    OnEvent,
    OnPet,
    PetAcknowledgement,
    TrapDelivery,
)
from clptools.intake.trap_notes import OnCondition, OnNote, TrapNotes
from clptools.intake.triage import Triage, WaitingQueue, sensor_of
from clptools.intake.usm import Engine, Refused, Usm, engine_id
from clptools.intake.variables import Binds, words_of

AT_ONCE, AT_ONCE_BURST = 200, 64
"""Traps a second that may wait but are judged at once: without a storm, that is all of them."""
LONG_REST_S = 0.05
"""The pause after a trap that may not wait: its recovery gets the loop to itself."""
FEW = 8
"""Waiting traps of one sensor that are judged at once before one that may not wait: two ms."""


class TrapReceiver:
    """All trap sockets of this server.

    `on_event` returns once the event is durable; `wall` is the wall clock in Unix seconds;
    `boots` rises with each start of the agent (SNMPv3), `engine_clocks` outlive it;
    `read_user_keys` raises ClpError.
    """

    def __init__(
        self,
        *,
        server: str,
        settings: Settings,
        on_event: OnEvent,
        on_note: OnNote,
        wall: Callable[[], float],
        keys: tuple[bytes, ...] = (),
        boots: int = 1,
        engine_clocks: EngineClocks | None = None,
        read_user_keys: ReadUserKeys | None = None,
        on_pet: OnPet = lambda _: None,
        on_condition: OnCondition = lambda name, text, monitors: None,
    ) -> None:
        self._on_pet = on_pet
        self._on_condition = on_condition
        self._counters = Counters()
        self.presence_at_ms: dict[str, int] = {}
        """BMC -> when (loop time) its last presence trap came: for the BMC heartbeat."""
        self._server = server
        self._settings = settings
        self._notes = TrapNotes(on_note, self._counters)
        self._wall = wall
        self._gate = RehearsalGate(keys, server, int(wall() * 1000))
        self._boots = boots
        self._engine_clocks = engine_clocks or EngineClocks()
        self._read_user_keys = read_user_keys
        self._listeners: dict[Endpoint, Listener] = {}
        self._table = ClassTable(settings.trap_profiles)
        self._table.families.load()
        self._users: SnmpUsers | None = None
        grave = grave_classes(settings.monitors)
        self._triage = Triage(self._table, grave)
        self._delivery = TrapDelivery(on_event, self._notes, self._counters, grave)
        self._waiting: WaitingQueue[_Datagram] = WaitingQueue()
        self._at_once = Bucket(AT_ONCE, AT_ONCE_BURST)
        self._rests_until = 0.0
        self._rested = False
        """Whether waiting traps had a long pause since their last turn: they get only one."""
        self._turn: asyncio.Handle | None = None
        self._paused: set[Listener] = set()
        """Whose trap may not wait, and comes after many of its sensor: they read on after it."""
        self._foreign = {known: Bucket(FOREIGN_RATE, FOREIGN_RATE) for known in (False, True)}
        """Keyed by whether they are of the cluster: a flood of others must not keep out a
        rehearsal."""
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Opens the sockets in the running loop; an address that cannot be bound is retried."""
        self._loop = asyncio.get_running_loop()
        if self._read_user_keys is not None:
            engine = Engine(
                id=engine_id(self._server), boots=self._boots, started_ms=self._now_ms()
            )
            self._engine_clocks.load(self._now_ms())
            self._users = SnmpUsers(
                engine,
                self._engine_clocks,
                self._read_user_keys,
                self._notes,
                self._on_condition,
                self._read_keys_again,
            )
        self.apply(self._settings)

    def use(self, keys: tuple[bytes, ...]) -> None:
        """From now on rehearsals prove themselves by one of these authkeys."""
        self._gate.keys = keys

    def apply(self, settings: Settings) -> None:
        """Takes a changed configuration; addresses that stay keep their sockets and queues."""
        self._settings = settings
        self._table = ClassTable(settings.trap_profiles)
        self._delivery.grave = grave_classes(settings.monitors)
        self._triage = Triage(self._table, self._delivery.grave)
        for profile in settings.trap_profiles:
            for row in profile.rows:
                if fault := row_fault(row):
                    text = f"trap_profile {profile.name}: {fault}; this row is left out"
                    self._notes.note("profile", text)
        wanted = {admission.address: admission for admission in admissions(settings, self._server)}
        for address in [a for a in self._listeners if a not in wanted]:
            self._listeners.pop(address).close()
            self._on_condition(_receiver(address), "", ())
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
        self._delivery.open = bool(self._listeners)
        if self._users is not None:
            self._users.keep(
                {user.user for admission in wanted.values() for user in admission.users}
            )

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
        if self._users is not None:
            self._users.close()
        while (waiting := self._waiting.next()) is not None:
            self._judged(waiting, waited=True)
        await self._delivery.done()
        await self._engine_clocks.close()
        for listener in self._listeners.values():
            listener.close()
        self._listeners.clear()
        self._delivery.open = False

    def listening(self) -> dict[str, str]:
        """Keyword address -> why it is not bound; empty: it is."""
        return {str(a): listener.fault for a, listener in self._listeners.items()}

    def datagram(self, listener: Listener, data: bytes, cut: bool, peer: tuple[str, int]) -> None:
        """Judges one datagram, or lets it wait.  Never raises."""
        self._counters.received += 1
        datagram = _Datagram(listener, data, cut, source_of(peer), peer)
        admission = listener.admission
        own = admission.speaks(datagram.source)
        # Only a full decoding shows whether a chassis manager speaks of this server.
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
            self._delivery.shed(datagram.source, now_ms)
        if self._turn is None:
            self._turn = self._running().call_at(self._rests_until, self._take_turn)

    def _looked_at(self, data: bytes) -> bytes | None:
        try:
            return self._triage.waits(data, self._wall())
        except Exception:
            # The full decoding will meet the same bug and note it.
            return None

    def _take_turn(self) -> None:
        """Judges waiting traps for one turn."""
        loop = self._running()
        self._turn = None
        now = loop.time()
        if self._waiting.hurried or now >= self._rests_until:
            self._rested = False
            until = now + JUDGE_S
            while (now := loop.time()) < until:
                datagram = self._waiting.next()
                if datagram is None:
                    break
                self._judged(datagram, waited=True)
            self._rests_until = now + REST_S
        if self._waiting.hurried:
            self._turn = loop.call_soon(self._take_turn)
            return
        for listener in self._paused:
            listener.read_on()
        self._paused.clear()
        if self._waiting.count:
            self._turn = loop.call_at(self._rests_until, self._take_turn)

    def _after_its_sensor(self, datagram: _Datagram, sensor: bytes) -> bool:
        """Judges what waits of the same sensor first, as a fault must not overtake the end of an
        earlier one, nor an end its fault.

        False: there are too many for one turn of the loop.  They come next, and the datagram after
        them; its socket is not read until then.
        """
        if self._waiting.count_of(sensor) > FEW:
            self._waiting.hurry(sensor, datagram)
            datagram.listener.pause()
            self._paused.add(datagram.listener)
            if self._turn is not None:
                self._turn.cancel()
            self._turn = self._running().call_soon(self._take_turn)
            return False
        for earlier in self._waiting.of(sensor):
            self._judged(earlier, waited=True)
        return True

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
            text = f"{source}: {error!r} for {datagram.data[:256].hex()}"
            self._notes.note_seldom("fault", text, self._now_ms(), source=source)

    def _judge(self, datagram: _Datagram, waited: bool) -> None:
        """Raises DecodeError and Refused."""
        listener, source = datagram.listener, datagram.source
        now_ms = self._now_ms()
        admission = listener.admission
        own = admission.speaks(source)
        if not own and not self._foreign[plain_source(source) in admission.cluster].take(now_ms):
            self._refuse_foreign(source)
            return
        if datagram.cut:
            raise DecodeError(f"more than {snmp.MESSAGE_BYTES} bytes")
        message = snmp.decode(datagram.data)
        if not isinstance(message, V3Message):
            trap = message
        elif own:
            trap = _opened(listener, message, source, now_ms)
        else:
            self._refuse_foreign(source)
            return
        if is_rehearsal(trap):
            self._rehearse(listener, trap, source, datagram.peer)
            return
        if not own:
            self._refuse_foreign(source)
            return
        shared = admission.shares(source)
        if shared and not any(_names(trap, entry) for entry in shared):
            self._counters.elsewhere += 1
            return
        monitors = _monitors(admission, trap)
        decoded = pet.decode_trap(trap, self._table, self._wall())
        if not waited and not self._after_its_sensor(datagram, sensor_of(decoded)):
            return
        answer = self._answer(datagram, trap, message)
        if decoded.presence:
            self._present(source, answer, now_ms)
            return
        if decoded.hint:
            self._notes.unknown(decoded, source, now_ms)
        # A chassis manager's sensors are not the BMC's, however alike their numbers are.
        prefix = f"{source}/" if shared else ""
        self._delivery.take(monitors, trap, decoded, source, prefix, answer, now_ms)

    def _answer(self, datagram: _Datagram, trap: Trap, message: Trap | V3Message) -> Answer | None:
        """What its sender waits for once it is durable; None: nothing."""
        if trap.inform:
            return InformAnswer(datagram.listener, datagram.peer, trap, message)
        octets = pet_fields.octets_of(trap)
        return PetAcknowledgement(self._on_pet, octets) if octets else None

    def _present(self, source: str, answer: Answer | None, now_ms: int) -> None:
        """The BMC only says that it is there."""
        self._counters.presence += 1
        if source not in self.presence_at_ms:
            self._notes.note("presence", f"BMC {source} sends presence traps", source)
        self.presence_at_ms[source] = now_ms
        if answer:
            answer.send(now_ms)

    def _rehearse(self, listener: Listener, trap: Trap, source: str, peer: tuple[str, int]) -> None:
        fault = self._gate.fault(trap, int(self._wall() * 1000))
        if fault:
            self._refuse("not_allowed", source, f"rehearsal trap refused: {fault}")
            return
        self._counters.rehearsal += 1
        decoded = pet.decode_trap(trap, self._table, self._wall())
        self._notes.note(
            "rehearsal",
            f"Rehearsal trap from {source}: {decoded.meaning}, {decoded.event_class}. "
            "Nothing is recovered.",
            source,
            tuple(
                event_of(monitor.name, trap, decoded, source, "")
                for monitor in listener.admission.monitors
            ),
        )
        if trap.inform:
            listener.send(snmp.response(trap), peer)

    def _refuse(self, counter: str, source: str, text: str) -> None:
        self._notes.refuse(counter, source, text, self._now_ms())

    def _refuse_foreign(self, source: str) -> None:
        self._refuse("not_allowed", source, f"it is not the BMC of {self._server}")

    def _usm(self, admission: Admission) -> Usm | None:
        return self._users.usm(admission) if self._users is not None else None

    def _read_keys_again(self) -> None:
        """Somebody may have mended them."""
        for listener in self._listeners.values():
            if self._users is not None and self._users.lacks_keys(listener.admission):
                listener.admit(listener.admission, self._usm(listener.admission))

    def _bound(self, address: Endpoint, text: str, heard: bool) -> None:
        kind = "bound" if heard else "bind"
        said = f"Trap receiver {address}: {text}"
        self._notes.note(kind, said)
        names = tuple(m.name for m in self._listeners[address].admission.monitors)
        self._on_condition(_receiver(address), "" if heard else said, names)

    def _now_ms(self) -> int:
        return int(self._running().time() * 1000)

    def _running(self) -> asyncio.AbstractEventLoop:
        assert self._loop is not None, "start() comes first"
        return self._loop


def _receiver(address: Endpoint) -> str:
    """Name of the condition of one keyword address."""
    return f"trap receiver {address}"


def _names(trap: Trap, source: TrapSource) -> bool:
    """Whether a chassis manager's trap speaks of this server."""
    said = Binds(trap.varbinds).first(source.variable)
    return said is not None and words_of(said) == source.value


def _opened(listener: Listener, message: V3Message, source: str, now_ms: int) -> Trap:
    """The trap in an SNMPv3 message.  Raises DecodeError and Refused."""
    if listener.usm is None:
        raise Refused("bad_community", "SNMPv3, but no snmpv3_user can be used")
    return listener.usm.receive(message, source, now_ms)


def _monitors(admission: Admission, trap: Trap) -> tuple[str, ...]:
    """The monitors that take it.  Raises Refused: none does."""
    monitors = admission.listeners(trap.community, trap.user)
    if monitors:
        return monitors
    raise Refused(
        "bad_community",
        f"SNMPv3 user {trap.user} is not of this monitor" if trap.user else "wrong community",
    )


class _Datagram(NamedTuple):
    """A datagram as it came."""

    listener: Listener
    data: bytes
    cut: bool
    source: str
    peer: tuple[str, int]
