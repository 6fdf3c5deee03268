"""One run of `clpnode`: opens what the core needs, hands it events, closes everything.

The parts that a server has before it is configured (state, records, control channel, socket)
belong to the agent; the core is its `service`'s, which begins with the first configuration.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from clptools import paths
from clptools.agent import clock, configuration, notices, staging
from clptools.agent.alerts import Alerts
from clptools.agent.backend import AgentBackend
from clptools.agent.conditions import Conditions
from clptools.agent.disk_watch import DiskWatch, FilesKept
from clptools.agent.executor import Executor
from clptools.agent.key_roll import KeyRoll, rolling
from clptools.agent.lock import check_alone
from clptools.agent.peer_answers import PeerAnswers
from clptools.agent.push import Pushes
from clptools.agent.records import Records
from clptools.agent.requests import Replies
from clptools.agent.resource_agents import ResourceAgents
from clptools.agent.service import Core, Service
from clptools.agent.store import NoRoom, Store
from clptools.agent.surroundings import Surroundings
from clptools.api import messages as said
from clptools.api.messages import EventRecord
from clptools.api.server import Server
from clptools.core.model.events import (
    AgentStopping,
    BootNoted,
    ControlSeen,
    Event,
)
from clptools.core.model.messages import Control
from clptools.core.notices.form import Notice
from clptools.faults import ClpError
from clptools.links.credentials import Minting
from clptools.links.delivery import Handlers
from clptools.links.keyring import Keyring
from clptools.links.peer import PeerChannel

logger = logging.getLogger(__name__)

_CATCH_UP = 500
_END_S = 15.0
_END_AT_ONCE_S = 0.5
"""How long closing may take.  An agent that ends at once leaves an armed watchdog, which bites
within seconds unless the next agent feeds it."""
_ROOM_S = 0.5
"""How often an agent that found no room in `/run` at its start looks again."""


class Agent:
    """One incarnation."""

    def __init__(self, keys: Keyring, minting: Minting) -> None:
        """`minting`: of this server's certificates, one from each of the keys that count."""
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
        self._records.on_refused = self.note
        self.conditions = Conditions(self.server, self.tell)
        """What is not well on this server itself."""
        self._replies = Replies()
        self._peers = self._channel(minting)
        self._around = Surroundings(self.server, keys, self._peers, self)
        self._alerts = Alerts(self._around.scripts, self.note)
        self._executor = Executor(
            self.server,
            self._store,
            self._records,
            self._around.devices,
            self._replies,
            self._worker,
            stretch=lambda ratio: self._service.stretch(ratio),
            reincarnate=lambda: self._service.begin_again(),
            exit=lambda: self._end(0),
        )
        self._service = Service(
            self.server,
            self,
            self._store,
            self._records,
            self._executor,
            self._around,
            self._alerts,
            lambda: self._backend.metrics(),
            self._worker,
        )
        self._pushes = pushes = Pushes(self._service, self._peers)
        self._key_roll = KeyRoll(
            self.server,
            keys,
            self._peers,
            take_effect=self._use_keys,
            settings=self._service.settings_in_force,
            versions=self._versions,
            tell=self.note,
        )
        self._backend = AgentBackend(
            *(self, self._around, self._peers, self._records, self._replies, pushes),
            self._key_roll,
        )
        self._answers = PeerAnswers(
            self.server, self._backend, self._records, pushes.received, self._key_roll
        )
        self._socket = Server(self._backend)
        self._opening = False
        """Between the files and the core, which alone knows what is to be stopped."""
        self._stop_asked = False
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()

    def _channel(self, minting: Minting) -> PeerChannel:
        return PeerChannel(
            self.server,
            minting.identities,
            Handlers(
                notices=said.PeerNotice,
                requests=said.PeerRequest,
                outside=said.OUTSIDE,
                on_control=self._notice,
                on_call=self._call,
                on_denied=lambda address, why: self._answers.outside.knocked(address, why),
            ),
            on_connected=self._connected,
            on_change=self.note,
        )

    def _versions(self) -> dict[str, str]:
        core = self._service.core
        servers = core.view().servers if core is not None else ()
        return {server.name: server.version for server in servers}

    async def _use_keys(self, keys: Keyring) -> None:
        """From now on these keys count, for all that is heard and sent.  Raises ClpError."""
        self._peers.use(await Minting(keys.accepted, self.server).identities())
        self._around.use(keys)

    # Life

    async def start(self, found: configuration.Found | None) -> None:
        """Open everything; with a configuration, begin the cluster service.  Raises ClpError."""
        settings = found.loaded.settings if found is not None else None
        self._store.lock()
        if settings is not None:
            check_alone(self.server, settings)
        self._records.load()
        await self._open_store()
        self._opening = settings is not None
        mended = self._look_after(found)
        ledger = self._store.ledger(clock.boot_ms(), clock.wall_s())
        for complaint in self._store.complaints:
            self.note(complaint)
        self._executor.ledger = ledger
        if mended:
            self.note(notices.PushMended(mended))
        await self._peers.start(settings)
        between_steps = rolling(self._key_roll.keys)
        if between_steps is not None:
            self.conditions.noticed(between_steps)
        await self._socket.start()
        if settings is not None:
            self._alerts.apply(settings.cluster.name, configuration.alert())
            self._service.begin(settings)
            if found is not None and found.edit and not mended:
                self._service.found_edit(*configuration.edit_and_time())
            self._opening = False
            if self._stop_asked:
                self.stop()
        else:
            self.note(notices.NoConfiguration())
        files = FilesKept(self._tell_place)
        self.spawn(self._service.watch_configuration(self._pushes, lambda: self._peers.connected))
        self.spawn(self._service.watch_windows())
        self.spawn(self._service.watch_clock())
        self.spawn(ResourceAgents(self.server, self._around.scripts, self).watch())
        self.spawn(files.watch_run(self._keep_run))
        self.spawn(files.watch_lock(self._store.keep_disk))
        self.spawn(DiskWatch(self._worker, self.note).watch(self._write_again))

    def _look_after(self, found: configuration.Found | None) -> int:
        """What an earlier agent left of a push; returns the number of one that was mended.

        Done only once we hold the lock: before, another agent might be in the middle of it.
        """
        staging.drop_all()
        if found is not None and found.is_first:
            configuration.adopt(found.loaded.text, self.server)
        return configuration.mend()

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
        core = self._service.core
        if core is None or self._stopping:
            self._end(0, at_once=self._stopping)
            return
        if core.loop.held:
            # Its groups cannot be stopped in order: that would have to be written first.
            self._end(1, at_once=True)
            return
        self._stopping = True
        core.put(AgentStopping())

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
        core, self._service.core = self._service.core, None
        self._replies.close()
        await self._socket.stop()
        await self._service.close_metrics()
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
        self.conditions.noticed(notice)
        self._records.notice(notice)

    def counters(self) -> dict[str, int]:
        """Everything counted, by `door.reason`."""
        doors = self._around.counters() | {
            "control": dict(self._peers.counters),
            "socket": dict(self._socket.counters),
            "records": {"unwritten": self._records.unwritten},
        }
        if self._service.core is not None:
            doors |= self._service.core.counters()
        return {
            f"{door}.{reason}": count
            for door, counters in doors.items()
            for reason, count in counters.items()
        }

    # The core

    def tell(self, event: Event) -> None:
        """Tell the core, if there is one already."""
        if self._service.core is not None:
            self._service.core.put(event)

    def open_events(self) -> frozenset[str]:
        """Keys of what the ledger has open."""
        core = self._service.core
        if core is None:
            return frozenset()
        return frozenset(event.key for event in core.node.state.ledger.events.values())

    async def tell_durably(self, event: Event) -> None:
        """Tell the core, and return once the event is on the disk.  Raises OSError."""
        if self._service.core is None:
            raise OSError("the agent is ending")
        await self._service.core.put_durably(event)

    def core_now(self) -> Core | None:
        """The core, once there is a configuration."""
        return self._service.core

    @property
    def taken_out(self) -> str:
        """How this server was taken out of the cluster by a push; empty: it was not."""
        return self._service.taken_out

    @property
    def ending(self) -> bool:
        """Whether there is nothing left to do but to close."""
        return self.ended.done()

    def refused(self, fault: ClpError) -> None:
        """The service may not begin here: end."""
        logger.critical("%s", fault.message)
        self._end(fault.code, at_once=True)

    def failed(self, error: BaseException) -> None:
        """The state could not be written, or the core has a fault: end as if killed."""
        if isinstance(error, ClpError | OSError):
            logger.critical("the state cannot be written: %s; this agent ends at once", error)
        else:
            logger.critical("a fault of clptools itself; this agent ends at once", exc_info=error)
        self._end(1, at_once=True)

    def held(self, error: OSError | None) -> None:
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
            for record in notice.records:
                self._alerts.heard(record)
        else:
            self.tell(ControlSeen(sender=sender, message=notice))

    async def _call(self, sender: str, asked: said.PeerRequest, source: str) -> msgspec.Struct:
        return await self._answers.answer(sender, asked, source)

    def _share(self, record: EventRecord) -> None:
        self._alerts.add(record)
        for peer in self._peers.connected:
            self._peers.send(peer, said.Records(records=(record,)))

    def _connected(self, peer: str) -> None:
        self._records.wait_for(peer)
        self.spawn(self._catch_up(peer))
        self.spawn(self._pushes.catch_up(peer))

    async def _catch_up(self, peer: str) -> None:
        after, present = self._records.lacking()
        ask = said.AskRecords(after=after, present=present, limit=_CATCH_UP)
        try:
            missed = await self._peers.call(peer, ask, said.Records, 5.0)
        except ClpError as error:
            logger.debug("no records from %s: %s", peer, error.message)
            self._records.give_up(peer)
        else:
            self._records.take_back(missed.records, peer)

    # Beside the core

    async def _keep_run(self) -> bool:
        """Make again what is gone from `/run`; returns whether anything was.

        Raises OSError, ClpError.
        """
        made = self._store.keep_run()
        made = self._socket.keep() or made
        return await self._around.keep_door() or made

    async def _write_again(self) -> None:
        """Write what the disk did not take before."""
        await self._records.try_again()
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            if await loop.run_in_executor(self._worker, self._store.note_boot_again):
                self.tell(BootNoted())
                self.note(notices.BootNotedLate())

    def _tell_place(self, notice: Notice) -> None:
        logger.warning(notice.told())
        self.note(notice)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a task until the agent closes."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
