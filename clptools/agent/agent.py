"""One run of `clpnode`: opens what the core needs, hands it events, closes everything.

The parts that a server has before it is configured (state, records, control channel, socket)
belong to the agent; the core with its loop and journal begins with the first configuration.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from clptools import paths
from clptools.agent import clock, configuration, notices
from clptools.agent.alerts import Alerts
from clptools.agent.backend import AgentBackend
from clptools.agent.executor import Executor, Replies
from clptools.agent.journal import Journal
from clptools.agent.lock import holder_of_port, in_use, taken
from clptools.agent.loop import Loop
from clptools.agent.metrics_server import MetricsServer
from clptools.agent.push import Pushes
from clptools.agent.records import Records
from clptools.agent.store import NoRoom, Store
from clptools.agent.surroundings import Surroundings
from clptools.api import peer as said
from clptools.api.backend import EventRecord
from clptools.api.server import Server
from clptools.core.cluster.timeout_ratio import stretched
from clptools.core.model.events import (
    AgentStarted,
    AgentStopping,
    ControlSeen,
    Event,
    SettingsChanged,
    SettingsOffered,
)
from clptools.core.model.messages import Control
from clptools.core.model.settings import Settings
from clptools.core.model.view import StatusView
from clptools.core.monitors.severity import grave_classes
from clptools.core.node import Node
from clptools.core.notices.form import Notice
from clptools.core.report.journal import Head
from clptools.faults import ClpError, ExitCode
from clptools.links.certs import Minting
from clptools.links.peer import PeerChannel
from clptools.resources.macs import own_macs

logger = logging.getLogger(__name__)

_CATCH_UP = 500
_END_S = 15.0
_END_AT_ONCE_S = 0.5
"""How long closing may take.  An agent that ends at once leaves an armed watchdog, which bites
within seconds unless the next agent feeds it."""
_ROOM_S = 0.5
"""How often an agent that found no room in `/run` at its start looks again."""
_PLACE_S = 0.5
"""How often what the agent has in `/run` is looked for."""
_LOOK_S = 5.0
"""How often the configuration on the disk is compared with the one in force."""


class Core:
    """The core of a configured agent with its loop and its journal."""

    def __init__(self, node: Node, loop: Loop, journal: Journal, settings: Settings) -> None:
        self.node = node
        self.loop = loop
        self.journal = journal
        self.settings = settings
        """The configuration in force, as it was pushed."""
        self.ratio = 1
        """How many times as long as there its time-outs are."""

    @property
    def stretched(self) -> Settings:
        """The configuration as the core and its hands go by it."""
        return stretched(self.settings, self.ratio)

    def view(self) -> StatusView:
        """The cluster now."""
        return self.node.view(clock.boot_ms())

    def put(self, event: Event) -> None:
        """Tell the core."""
        self.loop.put(event)

    async def put_durably(self, event: Event) -> None:
        """Tell the core, and return once the event is on the disk.  Raises OSError."""
        await self.loop.stepped(event)
        await self.journal.durable()


class Agent:
    """One incarnation."""

    def __init__(self, authkey: bytes, minting: Minting) -> None:
        """`minting`: of this server's certificate, from the authkey."""
        self.server = paths.server_name()
        self.incarnation = secrets.token_hex(8)
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        """The exit status, once there is nothing left to do."""
        self.disk_hangs = False
        """Whether `close` gave up, most likely on the disk thread, which then never ends."""
        self._patience_s = _END_S
        self._worker = ThreadPoolExecutor(1, "disk")
        self._store = Store(clock.boot_id())
        self._records = Records(self.server, self.incarnation, self._worker)
        self._records.on_own = self._share
        self._replies = Replies()
        self._core: Core | None = None
        self._peers = PeerChannel(
            self.server,
            minting.identity,
            notices=said.Notice,
            requests=said.Ask,
            outside=said.OUTSIDE,
            on_control=self._notice,
            on_call=self._call,
            on_denied=lambda address, why: self._backend.outside.knocked(address, why),
            on_connected=self._connected,
            on_change=self.note,
        )
        self._around = Surroundings(self.server, authkey, self._peers, self)
        self._alerts = Alerts(self._around.scripts, self.note)
        self._executor = Executor(
            self.server,
            self._store,
            self._records,
            self._around.devices,
            self._replies,
            self._worker,
            stretch=self._stretch,
            reincarnate=self._reincarnate,
            exit=self._exit,
        )
        self._pushes = Pushes(self, self._peers)
        self._backend = AgentBackend(
            self, self._around, self._peers, self._records, self._replies, self._pushes
        )
        self._socket = Server(self._backend)
        self._metrics = MetricsServer(self._backend.metrics, self.note)
        self._in_force = ""
        self._said_changed = ""
        self._opening = False
        """Between the files and the core, which alone knows what is to be stopped."""
        self._stop_asked = False
        self._stopping = False
        self._first_of_boot = False
        """Until a core was told: no agent ran here before since the host booted."""
        self._tasks: set[asyncio.Task[None]] = set()

    # Life

    async def start(self, settings: Settings | None, edited: bool) -> None:
        """Open everything; with `settings`, begin the cluster service.  Raises ClpError.

        `edited`: the configuration was changed by hand since it was last in force.
        """
        self._store.lock()
        self._alone(settings)
        self._records.load()
        await self._open_store()
        self._opening = settings is not None
        configuration.drop_all()
        ledger = self._store.ledger(clock.boot_ms(), clock.wall_s())
        for complaint in self._store.complaints:
            self.note(complaint)
        self._executor.ledger = ledger
        self._first_of_boot = self._store.first_of_boot
        if settings is not None and edited:
            self.note(notices.EditedMeanwhile(paths.config_file(), settings.revision))
        await self._peers.start(settings)
        await self._socket.start()
        if settings is not None:
            self._alerts.apply(settings.cluster.name, configuration.alert())
            self._begin(settings)
            self._opening = False
            if self._stop_asked:
                self.stop()
        else:
            self.note(notices.NoConfiguration())
        self._spawn(self._watch_configuration())
        self._spawn(self._watch_run())
        self._spawn(self._watch_disk())

    def _alone(self, settings: Settings | None) -> None:
        """Nothing is started or stopped where a process of this host has our heartbeat port.

        That may be an agent whose lock files were removed.  Raises ClpError (REFUSED).
        """
        if settings is None:
            return
        port = settings.cluster.port
        for path in settings.interconnects:
            address = path.addresses.get(self.server)
            if path.is_lan and address is not None and in_use(address, port):
                where = f"{address} port {port}/udp of {path.name} is in use"
                raise taken(where, holder_of_port(address, port))

    async def _open_store(self) -> None:
        """Open the files, as soon as `/run` has room for them.  Raises ClpError."""
        told = False
        while True:
            try:
                self._store.open()
            except NoRoom as fault:
                if self.ended.done():
                    raise  # asked to end meanwhile
                if not told:
                    told = True
                    logger.error("%s.  %s", fault.message, fault.hint)
                    self.note(notices.StartWaits(fault.message, fault.hint))
                await asyncio.sleep(_ROOM_S)
            else:
                break
        if told:
            self.note(notices.StartGoesOn(paths.run_dir()))

    def stop(self) -> None:
        """Move or stop this server's groups, leave, end.  A second call ends at once."""
        if self._opening:
            self._stop_asked = True
            return
        if self._core is None or self._stopping:
            self._end(0, at_once=self._stopping)
            return
        if self._core.loop.held:
            # Its groups cannot be stopped in order: that would have to be written first.
            self._end(1, at_once=True)
            return
        self._stopping = True
        self._core.put(AgentStopping())

    async def close(self) -> None:
        """Close everything; what runs for groups is left as it is.  Bounded in time."""
        closing = asyncio.get_running_loop().create_task(self._close())
        # Not a time-out that cancels: what waits for the disk might not end even so.
        await asyncio.wait({closing}, timeout=self._patience_s)
        if closing.done():
            closing.result()
            return
        logger.warning("the disk hangs; what was to be written last is lost")
        self.disk_hangs = True

    async def _close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        core, self._core = self._core, None
        self._replies.close()
        await self._socket.stop()
        await self._metrics.close()
        await self._around.close_intake()
        if core is not None:
            core.loop.stop()
            # Begun first: an end at once may not wait for all that comes before it is through.
            written = asyncio.get_running_loop().create_task(core.journal.close())
        await self._executor.close()
        await self._alerts.close()
        await self._around.close()
        await self._peers.close()
        if core is not None:
            await written
        await self._records.close()
        self._worker.shutdown()
        self._store.close()

    def note(self, notice: Notice) -> None:
        """Record something that the core knows nothing of."""
        self._records.notice(notice)

    def counters(self) -> dict[str, int]:
        """Everything counted, by `door.reason`."""
        doors = self._around.counters() | {
            "control": dict(self._peers.counters),
            "socket": dict(self._socket.counters),
            "records": {"unwritten": self._records.unwritten},
        }
        if self._core is not None:
            loop, journal = self._core.loop, self._core.journal
            doors["loop"] = {
                "steps": loop.steps,
                "dropped": loop.dropped,
                "lag_ms": loop.lag_ms,
                "worst_lag_ms": loop.worst_lag_ms,
            }
            doors["journal"] = {"lost": journal.lost}
        return {
            f"{door}.{reason}": count
            for door, counters in doors.items()
            for reason, count in counters.items()
        }

    # The core

    def tell(self, event: Event) -> None:
        """Tell the core, if there is one already."""
        if self._core is not None:
            self._core.put(event)

    def open_events(self) -> frozenset[str]:
        """Keys of what the ledger has open."""
        if self._core is None:
            return frozenset()
        return frozenset(event.key for event in self._core.node.state.ledger.events.values())

    async def tell_durably(self, event: Event) -> None:
        """Tell the core, and return once the event is on the disk.  Raises OSError."""
        if self._core is None:
            raise OSError("the agent is ending")
        await self._core.put_durably(event)

    def _begin(self, settings: Settings) -> None:
        incarnation = secrets.token_hex(8)
        node = Node(settings.without_communities(), self.server, incarnation, secrets.randbits(32))

        def head(number: int) -> Head:
            return Head(
                server=self.server,
                incarnation=incarnation,
                number=number,
                now=clock.boot_ms(),
                wall=clock.wall_s(),
                settings=node.settings,
                snapshot=node.snapshot(),
            )

        journal = Journal(
            paths.data_dir() + "/journal",
            settings.cluster.journal_bytes,
            head,
            self._worker,
            self.note,
        )
        loop = Loop(
            node,
            clock.boot_ms,
            journal.append,
            self._executor.perform,
            self._failed,
            self._held,
        )
        self._executor.loop = loop
        self._executor.last_words = lambda: asyncio.gather(
            self._records.durable(), journal.durable(), return_exceptions=True
        )
        self._core = Core(node, loop, journal, settings)
        saved = self._store.saved
        loop.put(
            AgentStarted(
                durable=saved.durable,
                member=self._store.member,
                stopped=saved.stopped,
                ledger=self._executor.ledger,
                first_of_boot=self._first_of_boot,
                noted=self._store.noted,
                macs=own_macs(),
            )
        )
        self._first_of_boot = False
        self._apply(self._core)

    def _apply(self, core: Core) -> None:
        """Make everything outside the core fit the configuration in force."""
        self._in_force = configuration.fingerprint()
        core.loop.grave = grave_classes(core.settings.monitors)
        self._around.apply(core.settings, self._store.starts)
        self._metrics.apply(core.settings.cluster.metrics)
        self._apply_times(core)

    def _apply_times(self, core: Core) -> None:
        """Make what keeps time-outs fit them as they are now."""
        self._executor.apply(core.stretched)
        self._around.apply_times(core.stretched)

    def _stretch(self, ratio: int) -> None:
        core = self._core
        if core is not None:
            core.ratio = ratio
            self._apply_times(core)
            changed = core.stretched.without_communities()
            core.put(SettingsChanged(settings=changed, stretch=True))

    def took_effect(self, settings: Settings, user: str) -> None:
        """A configuration is in force: on this disk, and from now on."""
        self._alerts.apply(settings.cluster.name, configuration.alert())
        self.note(notices.ConfigurationInForce(settings.revision, user))
        if self._core is None:
            try:
                self._alone(settings)
            except ClpError as fault:
                logger.critical("%s", fault.message)
                self._end(fault.code, at_once=True)
                return
            self._begin(settings)
            return
        self._core.settings = settings
        self._apply(self._core)
        self._core.put(SettingsChanged(settings=self._core.stretched.without_communities()))

    async def offered(self, settings: Settings) -> None:
        """A configuration is prepared here: returns when the core knows of it."""
        if self._core is not None:
            offer = SettingsOffered(settings=settings.without_communities())
            try:
                await self._core.loop.stepped(offer)
            except OSError as error:
                raise ClpError(
                    ExitCode.FAILED, f"{self.server}: {error}", "Try again: clpcfctrl --push"
                ) from None

    def _reincarnate(self) -> None:
        """The service starts again: another core, once this step of the old one is through."""
        if self._core is not None:
            self._core.loop.stop()
            asyncio.get_running_loop().call_soon(self._begin_again, self._core)

    def _begin_again(self, old: Core) -> None:
        if self._core is old and not self.ended.done():
            self._spawn(old.journal.close())
            self._begin(old.settings)

    def core_now(self) -> Core | None:
        """The core, once there is a configuration."""
        return self._core

    def settings_in_force(self) -> Settings | None:
        """The configuration, if there is one."""
        return self._core.settings if self._core else None

    def refuses(self, settings: Settings) -> str:
        """Why these settings cannot take effect now; empty: they can."""
        return "" if self._core is None else self._core.node.refuses(settings)

    def online(self) -> set[str]:
        """Servers that run now, other than this one, as the core sees them."""
        if self._core is None:
            return set()
        others = (server for server in self._core.view().servers if not server.local)
        return {server.name for server in others if server.status == "Online"}

    def _exit(self) -> None:
        self._end(0)

    def _failed(self, error: BaseException) -> None:
        """The state could not be written, or the core has a fault: end as if killed."""
        if isinstance(error, ClpError | OSError):
            logger.critical("the state cannot be written: %s; this agent ends at once", error)
        else:
            logger.critical("a fault of clptools itself; this agent ends at once", exc_info=error)
        self._end(1, at_once=True)

    def _held(self, error: OSError | None) -> None:
        """The state cannot be written for now, or can be again."""
        if error is None:
            written = notices.StateWritten()
            logger.warning(written.told())
            self.note(written)
            return
        unwritten = notices.StateUnwritten(
            path=str(error.filename or paths.run_dir()),
            why=str(error.strerror),
            folders=f"{paths.run_dir()} {paths.data_dir()}",
        )
        logger.critical(unwritten.told())
        self.note(unwritten)

    def _end(self, status: int, at_once: bool = False) -> None:
        if not self.ended.done():
            self._patience_s = _END_AT_ONCE_S if at_once else _END_S
            self.ended.set_result(status)

    # The network

    def _notice(self, sender: str, notice: Control | said.Records) -> None:
        if isinstance(notice, said.Records):
            self._records.merge(notice.records)
        else:
            self.tell(ControlSeen(sender=sender, message=notice))

    async def _call(self, sender: str, asked: said.Ask, source: str) -> msgspec.Struct:
        return await self._backend.answer(sender, asked, source)

    def _share(self, record: EventRecord) -> None:
        self._alerts.add(record)
        for peer in self._peers.connected:
            self._peers.send(peer, said.Records(records=(record,)))

    def _connected(self, peer: str) -> None:
        self._spawn(self._catch_up(peer))

    async def _catch_up(self, peer: str) -> None:
        after, present = self._records.lacking()
        ask = said.AskRecords(after=after, present=present, limit=_CATCH_UP)
        try:
            missed = await self._peers.call(peer, ask, said.Records, 5.0)
        except ClpError as error:
            logger.debug("no records from %s: %s", peer, error.message)
        else:
            self._records.take_back(missed.records)

    # Beside the core

    async def _watch_configuration(self) -> None:
        """Say once when `clp.toml` on the disk is not the one in force."""
        while True:
            await asyncio.sleep(_LOOK_S)
            found = await asyncio.to_thread(configuration.fingerprint)
            if self._core is None or found in (self._in_force, self._said_changed):
                continue
            self._said_changed = found
            self.note(notices.FileChanged(paths.config_file(), bool(found)))

    async def _watch_run(self) -> None:
        """Make again what somebody removed from `/run`, and say so once each time."""
        told = ""
        while True:
            await asyncio.sleep(_PLACE_S)
            try:
                made = self._store.keep_run()
                made = self._socket.keep() or made
                made = await self._around.keep_door() or made
            except (OSError, ClpError) as fault:
                text = fault.message if isinstance(fault, ClpError) else _said(fault)
                if text != told:
                    self._tell_place(notices.FilesNotMade(text))
                told = text
            else:
                if made or told:
                    self._tell_place(notices.FilesMadeAgain(paths.run_dir()))
                told = ""

    async def _watch_disk(self) -> None:
        """The same for the lock below `/var/lib`; in a thread, since that disk may hang."""
        told = ""
        while True:
            await asyncio.sleep(_LOOK_S)
            try:
                if await asyncio.to_thread(self._store.keep_disk):
                    self._tell_place(notices.LockMadeAgain(f"{paths.data_dir()}/lock"))
                told = ""
            except (OSError, ClpError) as fault:
                text = fault.message if isinstance(fault, ClpError) else _said(fault)
                if text != told:
                    self._tell_place(notices.FilesNotMade(text))
                told = text

    def _tell_place(self, notice: Notice) -> None:
        logger.warning(notice.told())
        self.note(notice)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _said(error: OSError) -> str:
    return f"{error.filename or paths.run_dir()}: {error.strerror}"
