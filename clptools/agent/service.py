"""The cluster service of this agent: starts and replaces the core, and adapts what is around it.

There is no core before the first configuration. After `clpcl -t` and a new start, another core
follows in the same agent.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor as Worker
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from clptools import paths
from clptools.agent import clock, configuration, notices
from clptools.agent.alerts import Alerts
from clptools.agent.conditions import Conditions, other_revision
from clptools.agent.executor import Executor
from clptools.agent.journal import Journal
from clptools.agent.key_roll import signs_at_a_witness
from clptools.agent.lock import check_alone
from clptools.agent.loop import Loop
from clptools.agent.push import Pushes
from clptools.agent.quiet_windows import QuietWindows
from clptools.agent.records import Records
from clptools.agent.store import Store
from clptools.agent.surroundings import Surroundings
from clptools.common import ocf
from clptools.config import history
from clptools.core import replies
from clptools.core.cluster.timeout_ratio import stretched
from clptools.core.model.change import Refusal, in_the_way
from clptools.core.model.events import (
    AgentStarted,
    Event,
    SettingsChanged,
    SettingsOffered,
)
from clptools.core.model.settings import Pushed, Resource, Settings
from clptools.core.model.view import StatusView
from clptools.core.monitors.status import grave_classes
from clptools.core.node import Node
from clptools.core.notices.cluster import ClockSet, FileAsInForce, FileEdited
from clptools.core.notices.form import Notice
from clptools.core.notices.groups import StopScriptsRun
from clptools.core.report.journal import Head
from clptools.faults import ClpError, ExitCode
from clptools.resources.neighbours import own_macs
from clptools.version import VERSION

if TYPE_CHECKING:
    from clptools.agent.metrics_server import MetricsServer

logger = logging.getLogger(__name__)

_LOOK_S = 5.0
"""How often the configuration on the disk is compared with the one in force."""
_CLOCK_S = 1.0
"""How often the wall clock is checked for steps, and the lag of the loop."""
_LAG_TOLD_MS = 60_000
"""A lag is reported at most this often, because what slows a machine down does so repeatedly."""


class Owner(Protocol):
    """`agent.Agent`, as its service needs it."""

    conditions: Conditions
    """What is not well on this server itself."""

    @property
    def ending(self) -> bool:
        """Whether the agent ends, so that nothing may begin."""

    def note(self, notice: Notice) -> None:
        """Record something that the core knows nothing of."""

    def failed(self, error: BaseException) -> None:
        """The state could not be written, or the core has a fault."""

    def held(self, error: OSError | None) -> None:
        """The state cannot be written for now, or can be again (None)."""

    def refused(self, fault: ClpError) -> None:
        """The service may not begin here."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a task until the agent closes."""


class Core:
    """The core of a configured agent with its loop and its journal."""

    def __init__(self, node: Node, loop: Loop, journal: Journal, settings: Settings) -> None:
        self.node = node
        self.loop = loop
        self.journal = journal
        self.settings = settings
        """The configuration in force, as it was pushed."""
        self.ratio = 1
        """The time-outs in force are this many times those of `settings`."""

    @property
    def stretched(self) -> Settings:
        """The configuration with the time-outs in force."""
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

    def counters(self) -> dict[str, dict[str, int]]:
        """Component -> counter -> count."""
        loop = self.loop
        return {
            "loop": {
                "steps": loop.steps,
                "dropped": loop.dropped,
                "lag_ms": loop.lag_ms,
                "worst_lag_ms": loop.worst_lag_ms,
            },
            "journal": {"lost": self.journal.lost},
        }


class Service:
    """The core that runs now, if there is a configuration, and how it is started and replaced."""

    def __init__(
        self,
        server: str,
        owner: Owner,
        store: Store,
        records: Records,
        executor: Executor,
        around: Surroundings,
        alerts: Alerts,
        metrics: Callable[[], str],
        worker: Worker,
    ) -> None:
        """`metrics`: all figures as text; `worker`: the disk thread."""
        self.server = server
        self.core: Core | None = None
        self._owner = owner
        self._store = store
        self._records = records
        self._executor = executor
        self._around = around
        self._alerts = alerts
        self._metrics_text = metrics
        self._metrics: MetricsServer | None = None
        self._worker = worker
        self._quiet = QuietWindows()
        self._edit = ""
        """How the `clp.toml` on the disk was last found to differ from what is in force."""
        self._lag_told_at = -_LAG_TOLD_MS
        self.taken_out = ""
        """How this server was taken out of the cluster by a push; empty: it was not."""
        self._is_first = True
        """Until a core was told whether it is the first of this boot."""

    def begin(self, settings: Settings) -> None:
        """Begin a core."""
        incarnation = secrets.token_hex(8)
        node = Node(without_secrets(settings), self.server, incarnation, secrets.randbits(32))

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

        owner, executor = self._owner, self._executor
        journal = Journal(
            paths.data_dir() + "/journal",
            settings.cluster.journal_bytes,
            head,
            self._worker,
            owner.note,
        )
        loop = Loop(node, clock.boot_ms, journal.append, executor.perform, owner.failed, owner.held)
        executor.loop = loop
        executor.last_words = lambda: asyncio.gather(
            self._records.durable(), journal.durable(), return_exceptions=True
        )
        self.core = Core(node, loop, journal, settings)
        saved = self._store.saved
        if saved.durable is None and not saved.stopped and (purged := with_stops(settings)):
            owner.note(StopScriptsRun(purged))
        loop.put(self._started())
        owner.conditions.end("journal")  # a new one begins, and tells where it fails as well
        owner.conditions.tell_all()
        self._quiet.forget()
        self._is_first = False
        self._apply(self.core)
        if self._edit:
            self._note_edit(self.core)

    def _started(self) -> AgentStarted:
        store, saved = self._store, self._store.saved
        return AgentStarted(
            durable=saved.durable,
            member=store.member,
            stopped=saved.stopped,
            ledger=self._executor.ledger,
            first_of_boot=self._is_first and store.first_of_boot,
            noted=store.noted,
            macs=own_macs(),
            version=VERSION,
        )

    def begin_again(self) -> None:
        """Begin another core, once this step of the old one is through."""
        if self.core is not None:
            self.core.loop.stop()
            asyncio.get_running_loop().call_soon(self._follow, self.core)

    def _follow(self, old: Core) -> None:
        if self.core is old and not self._owner.ending:
            self._owner.spawn(old.journal.close())
            self.begin(old.settings)

    def _apply(self, core: Core) -> None:
        """Make everything outside the core fit the configuration in force."""
        core.loop.grave = grave_classes(core.settings.monitors)
        self._around.apply(core.settings, self._store.starts)
        self._serve_metrics(core.settings.cluster.metrics)
        self._apply_times(core)

    def _serve_metrics(self, place: str) -> None:
        if place and self._metrics is None:
            # HTTP is loaded only where it is spoken.
            from clptools.agent.metrics_server import MetricsServer

            self._metrics = MetricsServer(self._metrics_text, self._owner.note)
        if self._metrics is not None:
            self._metrics.apply(place)

    async def close_metrics(self) -> None:
        """Serve no more metrics."""
        if self._metrics is not None:
            await self._metrics.close()

    def _apply_times(self, core: Core) -> None:
        """Make what keeps time-outs fit them as they are now."""
        self._executor.apply(core.stretched)
        self._around.apply_times(core.stretched)

    def stretch(self, ratio: int) -> None:
        """Multiply the time-outs of the configuration by `ratio`."""
        core = self.core
        if core is not None:
            core.ratio = ratio
            self._apply_times(core)
            changed = without_secrets(core.stretched)
            core.put(SettingsChanged(settings=changed, stretch=True))

    # A push

    def settings_in_force(self) -> Settings | None:
        """The configuration, if there is one."""
        return self.core.settings if self.core else None

    def refuses(self, settings: Settings) -> Refusal | None:
        """Why these settings cannot take effect now; None: they can."""
        core = self.core
        if core is None:
            return None
        if (witness := signs_at_a_witness(settings)) and self._around.rolls_key:
            return Refusal(
                f"{witness} would be of a witness, which knows one authkey, and a key roll is "
                "under way",
                "Finish that first: clpcfctrl --keyroll",
            )
        # The core's own settings lack the secrets: a change of one is seen here alone.
        return core.node.refuses(without_secrets(settings)) or in_the_way(
            core.settings, settings, core.node.groups.held()
        )

    def unready(self, settings: Settings, server: str, vouched: bool) -> str:
        """Why these settings may not be put in force without a server; empty: they may."""
        if self.core is None:
            return replies.NOT_PROVEN_DOWN
        return self.core.node.revision.unready(settings, server, vouched)

    def reached(self, before: tuple[str, ...] | None, asker: str) -> bool:
        """Whether the servers of the revision before (None: all) have ours, apart from `asker`."""
        return self.core is None or self.core.node.revision.has_reached(before, asker)

    def tell(self, notice: Notice) -> None:
        """Record something."""
        logger.warning(notice.told(self.server))
        self._owner.note(notice)

    def runs(self) -> bool:
        """Whether the cluster service runs on this server."""
        if self.core is None:
            return False
        return any(each.local and each.status != "Offline" for each in self.core.view().servers)

    def online(self) -> set[str]:
        """Servers that run now, other than this one, as the core sees them."""
        if self.core is None:
            return set()
        others = (server for server in self.core.view().servers if not server.local)
        return {server.name for server in others if server.status in ("Online", "Caution")}

    async def offered(self, settings: Settings) -> None:
        """A configuration is prepared here: returns when the core knows of it."""
        if self.core is not None:
            offer = SettingsOffered(settings=without_secrets(settings))
            try:
                await self.core.loop.stepped(offer)
            except OSError as error:
                raise ClpError(
                    ExitCode.FAILED, f"{self.server}: {error}", "Try again: clpcfctrl --push"
                ) from None

    def out_of_the_cluster(self, by: str, revision: int) -> None:
        """A push took this server out of the cluster: its configuration is gone.

        The core is stopped already: `PushReceiver.removed` refuses while the service runs.
        """
        name = self.core.settings.cluster.name if self.core is not None else ""
        taken = notices.TakenOut(by, name, revision)
        self.taken_out = taken.sentence(self.server)
        self._owner.note(taken)

    def took_effect(self, settings: Settings, pushed: Pushed) -> None:
        """A configuration is in force: on this disk, and from now on."""
        self.taken_out = ""
        self._alerts.apply(settings.cluster.name, configuration.alert())
        how = "" if pushed.how == "push" else pushed.how
        server = "" if pushed.server == self.server else pushed.server
        self._owner.note(notices.ConfigurationInForce(settings.revision, pushed.user, server, how))
        if self.core is None:
            try:
                check_alone(self.server, settings)
            except ClpError as fault:
                self._owner.refused(fault)
            else:
                self.begin(settings)
            return
        self.core.settings = settings
        self._edit = ""
        self._note_edit(self.core)
        self._apply(self.core)
        self.core.put(SettingsChanged(settings=without_secrets(self.core.stretched)))
        # At once: until the next look a plan would go by the windows from before.
        for event in self._quiet.changed(settings, clock.wall_s(), clock.boot_ms()):
            self.core.put(event)

    async def watch_windows(self) -> None:
        """Tell the core when the quiet windows of monitors open and close, by the wall clock."""

        def tell(event: Event) -> None:
            if self.core is not None:
                self.core.put(event)

        await self._quiet.watch(self.settings_in_force, tell)

    async def watch_clock(self) -> None:
        """Report that the wall clock was set, as people compare the times of records, and that
        this agent stood still."""
        steps = clock.WallSteps()
        while True:
            await asyncio.sleep(_CLOCK_S)
            self._look_at_lag()
            by_s = steps.newest_s()
            if by_s:
                now_s = clock.wall_s()
                which = "forward" if by_s > 0 else "back"
                was, became = (clock.dated(at) for at in (now_s - by_s, now_s))
                self._owner.note(ClockSet(which, round(abs(by_s) * 1000), was, became))

    def _look_at_lag(self) -> None:
        """Report a lag of half the heartbeat time-out: at all of it the others take us for lost."""
        if self.core is None:
            return
        lag_ms = self.core.loop.take_lag_ms()
        timeout_ms = self.core.stretched.cluster.heartbeat_timeout_ms
        now = clock.boot_ms()
        if lag_ms >= timeout_ms // 2 and now - self._lag_told_at >= _LAG_TOLD_MS:
            self._lag_told_at = now
            self._owner.note(notices.AgentStoodStill(lag_ms, timeout_ms))

    def found_edit(self, edit: str, when: str = "") -> None:
        """Report once that `clp.toml` differs from what is in force.

        It is shown as a condition for as long as it differs.

        `when`: the local time at which it was last written.
        """
        if self.core is None or edit == self._edit:
            return
        self._edit = edit
        self._note_edit(self.core)
        number = self.core.settings.revision
        if edit:
            mends = history.mend(number, edit, self.server)
            self.tell(FileEdited(paths.config_file(), edit, number, mends, when))
        else:
            self.tell(FileAsInForce(paths.config_file(), number))

    def _note_edit(self, core: Core) -> None:
        if self._edit:
            number = core.settings.revision
            text = f"clp.toml {self._edit}: revision {number} is in force"
            mend = history.mend(number, self._edit, self.server)
            self._owner.conditions.begin("configuration", text, mend)
        else:
            self._owner.conditions.end("configuration")

    async def watch_configuration(
        self, pushes: Pushes, connected: Callable[[], tuple[str, ...]]
    ) -> None:
        """Compare `clp.toml` with what is in force, and this revision with that of the others.

        `connected`: the servers with which there is a control connection.
        """
        while True:
            await asyncio.sleep(_LOOK_S)
            if self.core is None:
                for server in connected():
                    await pushes.catch_up(server)
                continue
            await pushes.received.mend()
            self.found_edit(*await asyncio.to_thread(configuration.edit_and_time))
            ours = self.core.settings.revision
            for gone in pushes.unlike.difference(self.core.settings.names):
                pushes.unlike.discard(gone)
                self._owner.conditions.end(other_revision(gone))
            newer = {s.name for s in self.core.view().servers if s.revision > ours and not s.local}
            for server in sorted(newer | pushes.unlike):
                await pushes.catch_up(server)


def without_secrets(settings: Settings) -> Settings:
    """What the core is given: the journal keeps it, and never secrets."""

    def shown(resource: Resource) -> Resource:
        if resource.type != "ocf":
            return resource
        return msgspec.structs.replace(resource, options=ocf.without_secrets(resource.options))

    return msgspec.structs.replace(
        settings.without_communities(),
        groups=tuple(
            msgspec.structs.replace(group, resources=tuple(map(shown, group.resources)))
            for group in settings.groups
        ),
    )


def with_stops(settings: Settings) -> list[str]:
    """Groups that have at least one resource."""
    return [group.name for group in settings.groups if group.resources]
