"""Everything around the core that the configuration names: links, BMCs, traps, monitors.

`apply` makes it fit a configuration, the first or a later one; what both have stays open.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from clptools import paths
from clptools.agent import clock, notices
from clptools.agent.conditions import Conditions
from clptools.agent.devices import Devices
from clptools.api.local_socket import SocketAddress
from clptools.arbiters.base import ArbiterContext
from clptools.arbiters.np_resolution import Arbiters
from clptools.core.model.events import BeatSeen, Event, MessageSeen
from clptools.core.model.messages import Beat
from clptools.core.model.settings import Resource, Settings
from clptools.core.monitors.event_ledger import takers
from clptools.core.notices.form import Notice
from clptools.hardware.bmcs import Bmcs
from clptools.hardware.host import Host
from clptools.hardware.power_control import PowerControl
from clptools.intake.engine_clocks import EngineClocks
from clptools.intake.message_socket import MessageDoor, bind_door
from clptools.intake.notices import TRAP_NOTICES, NoMessageSocket, SourceNoted
from clptools.intake.sources import Sources
from clptools.intake.trap_notes import Note
from clptools.intake.trap_receiver import TrapReceiver
from clptools.intake.usm import read_keys
from clptools.links.bmc import BmcHeartbeat
from clptools.links.keyring import Keyring
from clptools.links.lan import LanHeartbeats
from clptools.links.peer import PeerChannel
from clptools.links.witness import WitnessLink
from clptools.monitors.base import NORMAL, MonitorContext, ScriptEnd, Status, Verdict
from clptools.monitors.engine import Engine
from clptools.monitors.userw import Watchdog
from clptools.resources.exec import Scopes
from clptools.resources.operations import ResourceContext
from clptools.resources.registry import warm_up
from clptools.resources.script import Script, ScriptRunner

if TYPE_CHECKING:
    from clptools.intake.redfish import RedfishEvents

logger = logging.getLogger(__name__)


class EventSink(Protocol):
    """Where these objects report events and notices: the agent."""

    def tell(self, event: Event) -> None:
        """Something happened."""

    async def tell_durably(self, event: Event) -> None:
        """Something happened; returns once it is on the disk.  Raises OSError."""

    conditions: Conditions
    """What is not well on this server itself."""

    def note(self, notice: Notice) -> None:
        """Something that the core knows nothing of."""

    def open_events(self) -> frozenset[str]:
        """Keys of what the ledger has open."""


class Surroundings:
    """The rooms' objects of one agent."""

    def __init__(self, server: str, keys: Keyring, peers: PeerChannel, ears: EventSink) -> None:
        self._server = server
        self._keys = keys
        self._ears = ears
        self._peers = peers
        self._scopes = Scopes(log=logger.info)
        self.scripts = ScriptRunner(
            log=lambda name, line: logger.info("%s: %s", name, line), place=self._scopes.place
        )
        self._heartbeats = LanHeartbeats(
            *(server, keys.accepted, self._beat, ears.note), on_refused=ears.tell
        )
        self._host = Host(server, log=lambda line: ears.note(notices.HostActed(line)))
        self._bmcs = Bmcs(server, clock.boot_ms, ears.note)
        self._bmc_beats: list[BmcHeartbeat] = []
        self._watchdog = Watchdog(server, now=clock.boot_ms, changed=ears.tell)
        self._monitors: Engine | None = None
        self._traps: TrapReceiver | None = None
        self._redfish: RedfishEvents | None = None
        self._settings: Settings | None = None
        self._door: MessageDoor | None = None
        self._door_file = (0, 0)
        """Device and inode of `message.sock` as it was made last."""
        self._sources = Sources(server, ears.tell_durably, self._source_note, ears.open_events)
        self.devices = Devices(self._heartbeats, peers, self.scripts, self._host)
        """What the executor acts on."""
        self._power = PowerControl(self._bmcs, server, clock.boot_ms, ears.note)
        self.devices.bmcs = self._power
        self.devices.watchdog = self._watchdog
        self._witnesses: list[WitnessLink] = []
        self._arbiters = Arbiters(server, keys.own, ears.note)
        self.devices.arbiters = self._arbiters

    @property
    def rolls_key(self) -> bool:
        """Whether more than one authkey counts."""
        return len(self._keys.accepted) > 1

    def use(self, keys: Keyring) -> None:
        """From now on these keys count."""
        signs_anew = keys.own != self._keys.own
        self._keys = keys
        self._heartbeats.use(keys.accepted)
        self._arbiters.authkey = keys.own
        if self._traps is not None:
            self._traps.use(keys.accepted)
        if self._redfish is not None and signs_anew:
            self._redfish.use(keys.own)

    def apply(self, settings: Settings, starts: int) -> None:
        """Adapts everything to `settings` except what `apply_times` does.

        `starts` counts the agent's starts (SNMPv3).
        """
        self._settings = settings
        self._heartbeats.apply(settings)
        self._peers.apply(settings)
        self._bmcs.apply(settings)
        self._power.apply(settings)
        self._arbiters.apply(settings)
        self._apply_witnesses(settings)
        self._host.command = settings.cluster.action_command
        self._host.bmc = self._bmcs if self._bmcs.timer is not None else None
        self._watchdog.bmc_timer = self._bmcs.timer
        self._watchdog.apply(settings)
        self._apply_bmc_beats(settings)
        self._apply_traps(settings, starts)
        self._apply_redfish(settings)
        if self._door is None:
            self._door = self._open_door()
        # Libraries that the first start of a group needs.  In a thread: loading them from a disk
        # could stall the agent, and the others would take it for dead.
        asyncio.get_running_loop().run_in_executor(None, warm_up, settings)

    def apply_times(self, settings: Settings) -> None:
        """Adapts what depends on time-outs, which may be stretched: monitors.

        Heartbeat paths never do, since votes and leases travel on them.
        """
        self._apply_monitors(settings)
        self._sources.apply(settings)

    async def close(self) -> None:
        """Close everything; scripts and an armed watchdog are left for the next agent."""
        for beats in self._bmc_beats:
            beats.close()
        if self._monitors is not None:
            await self._monitors.close()
        self.scripts.close()
        self._scopes.close()
        self._watchdog.close()
        self._power.close()
        await self._bmcs.close()
        await self._arbiters.close()
        for witness in self._witnesses:
            witness.close()
        self._heartbeats.close()

    async def close_intake(self) -> None:
        """Take no more traps and messages; what was taken becomes durable first."""
        if self._traps is not None:
            await self._traps.close()
        if self._redfish is not None:
            await self._redfish.close()
        await self._sources.close()
        if self._door is not None:
            await self._door.close()

    async def keep_door(self) -> bool:
        """Make `message.sock` again if it is gone or could not be made; returns whether it was.

        Raises OSError where it cannot be made.
        """
        if self._traps is None:
            return False  # without a configuration there is no door
        if self._door is not None and paths.file_id(paths.message_socket_file()) == self._door_file:
            return False
        made = self._bind_door()
        if self._door is not None:
            made.counters = self._door.counters
            await self._door.close()
        self._door = made
        return True

    async def identify(self, server: str, on: bool) -> str:
        """The identify LED of a server's chassis.  Raises ClpError."""
        return await self._bmcs.identify(server, on)

    def beat_faults(self) -> tuple[str, ...]:
        """Why our own BMC carries no heartbeat now; empty: it does, or is to carry none."""
        return tuple(beats.fault for beats in self._bmc_beats if beats.fault)

    def checks_took_s(self) -> dict[str, float]:
        """How long the newest check of each active monitor took, in seconds."""
        return self._monitors.took_s() if self._monitors is not None else {}

    def counters(self) -> dict[str, dict[str, int]]:
        """Door -> reason -> count."""
        found = {"heartbeat": dict(self._heartbeats.counters)}
        if self._traps is not None:
            found["trap"] = self._traps.counters.as_dict()
        if self._redfish is not None:
            counts = self._redfish.counters.as_dict().items()
            found.setdefault("trap", {}).update({f"redfish_{name}": n for name, n in counts})
        if self._door is not None:
            found["message"] = self._door.counters.as_dict()
        found["source"] = self._sources.counters()
        return found

    def _beat(self, link: str, beat: Beat) -> None:
        self._ears.tell(BeatSeen(link=link, beat=beat))

    def _apply_witnesses(self, settings: Settings) -> None:
        for witness in self._witnesses:
            witness.close()
        self._witnesses = []
        for path in settings.interconnects:
            if path.type != "witnesshb":
                continue
            # HTTP is loaded only where such a path is configured.
            from clptools.arbiters.witness import MailExchange

            context = ArbiterContext(
                cluster=settings.cluster.name,
                server=self._server,
                authkey=self._keys.own,
                timeout_ms=settings.cluster.heartbeat_timeout_ms // 2,
            )
            witness = WitnessLink(
                path.name,
                path.interval_ms,
                MailExchange(path.url, context),
                self._heartbeats.arrived,
                self._ears.note,
            )
            witness.start()
            self._witnesses.append(witness)
        self._heartbeats.others = tuple(self._witnesses)

    def _apply_bmc_beats(self, settings: Settings) -> None:
        for beats in self._bmc_beats:
            beats.close()
        timer = self._bmcs.timer
        own = settings.server(self._server)
        if own is not None and own.bmc is not None and own.bmc.is_redfish:
            timer = None  # no other server could read a beat in it
        self._bmc_beats = [
            BmcHeartbeat(path.name, timer, path.interval_ms, self._ears.note)
            for path in settings.interconnects
            if path.type == "bmchb" and path.carrier == "timer"
            if self._server in path.addresses and timer is not None
        ]
        for beats in self._bmc_beats:
            beats.start()

    def _apply_monitors(self, settings: Settings) -> None:
        if self._monitors is not None:
            self._monitors.apply(settings)
            return
        context = MonitorContext(
            server=self._server,
            settings=settings,
            run_script=self._monitor_script,
            check_bmc=self._bmcs.check,
            check_resource=self._check_resource,
        )
        self._monitors = Engine(context, self._ears.tell)
        self.devices.monitors = self._monitors

    async def _monitor_script(
        self, name: str, path: str, timeout_ms: int, environment: dict[str, str]
    ) -> ScriptEnd:
        script = Script(name=name, path=path, timeout_ms=timeout_ms, environment=environment)
        result = await self.scripts.run(script)
        return ScriptEnd(
            exit_status=result.exit_status, timed_out=result.timed_out, text=result.text
        )

    async def _check_resource(self, group: str, resource: Resource, timeout_ms: int) -> Verdict:
        # Loaded only where there is such a resource.
        from clptools.resources import ocf

        context = ResourceContext(
            server=self._server,
            group=group,
            event="START",
            run=self.scripts.run,
            end=self.scripts.end,
        )
        found = await ocf.monitor(resource, context, timeout_ms)
        if found.state in (ocf.State.INACTIVE, ocf.State.FAILED):
            return Verdict(status=Status.ERROR, text=found.text, timed_out=found.timed_out)
        if found.state is ocf.State.DEGRADED:
            return Verdict(status=Status.CAUTION, text=found.text)
        return NORMAL

    def _apply_traps(self, settings: Settings, starts: int) -> None:
        if self._traps is not None:
            self._traps.apply(settings)
            return
        self._traps = TrapReceiver(
            server=self._server,
            settings=settings,
            on_event=self._ears.tell_durably,
            on_note=self._trap_note,
            on_condition=self._trap_condition,
            wall=clock.wall_s,
            keys=self._keys.accepted,
            boots=starts,
            engine_clocks=EngineClocks(
                paths.engine_clocks_file(), clock.boot_id(), clock.boot_ms, self._clocks_fault
            ),
            read_user_keys=lambda user: read_keys(paths.snmp_key_file(user.user)),
            on_pet=self._bmcs.pet_taken,
        )
        self._traps.start()

    def _apply_redfish(self, settings: Settings) -> None:
        own = settings.server(self._server)
        speaks = own is not None and own.bmc is not None and own.bmc.is_redfish
        if speaks and self._redfish is None:
            # Loaded only where the own BMC speaks Redfish.
            from clptools.intake.redfish import RedfishEvents

            self._redfish = RedfishEvents(
                self._server, self._keys.own, self._ears.tell_durably, self._ears.note
            )
        if self._redfish is not None:
            self._redfish.apply(settings)

    def _trap_note(self, note: Note) -> None:
        self._ears.note(TRAP_NOTICES[note.kind](note.text))

    def _trap_condition(self, name: str, text: str, monitors: tuple[str, ...]) -> None:
        if text:
            self._ears.conditions.begin(name, text, monitors=monitors)
        else:
            self._ears.conditions.end(name)

    def _clocks_fault(self, fault: str) -> None:
        what = "recorded SNMPv3 traps could be replayed after the next start of the agent"
        self._trap_condition("clocks of SNMPv3 engines", fault and f"{what}: {fault}", ())

    def _source_note(self, text: str) -> None:
        self._ears.note(SourceNoted(text))

    def _open_door(self) -> MessageDoor | None:
        try:
            return self._bind_door()
        except OSError as error:
            path = paths.message_socket_file()
            self._ears.note(NoMessageSocket(path, str(error.strerror)))
            return None

    def _takers(self, event: MessageSeen) -> list[str]:
        if self._settings is None:
            return []
        return [monitor.name for monitor in takers(self._settings, self._server, event)]

    def _bind_door(self) -> MessageDoor:
        path = paths.message_socket_file()
        with SocketAddress(path) as address:
            door = MessageDoor(bind_door(address), self._ears.tell_durably, self._takers)
        self._door_file = paths.file_id(path)
        door.start()
        return door
