"""One server apart from its agent's mind: power, clock, disk, `/run`, watchdog, processes.

What is true here is the ground truth that the invariants judge by: a resource is *physically
active* from the moment its start began until its stop succeeded or the power went.

Times with `_us` are true microseconds of the simulated world; `now` is what this server's own
clock says, in milliseconds since its boot, with its own drift.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import msgspec

from clptools.core.model.actions import Action, RunResource
from clptools.core.model.durable import Durable, LedgerFile
from clptools.core.model.settings import Settings
from clptools.core.model.words import Severity
from clptools.sim.replay import Recorder

if TYPE_CHECKING:
    from clptools.sim.world import World

SECOND = 1_000_000
"""Of true time."""


@dataclass(slots=True)
class Operation:
    """A start, stop or migration of one resource: one at a time, as in `agent/executor.py`."""

    order: RunResource
    incarnation: str
    ok: bool = True
    timed_out: bool = False
    given_up: bool = False
    """Another one was ordered meanwhile: it is being ended, and its end is not told."""
    then: Operation | None = None
    """What was ordered last, and begins once this one has ended."""


@dataclass(slots=True)
class Watchdog:
    """What `userw` arms.  It counts on when the agent dies, and dies with the boot."""

    works: bool = True
    """It can be armed."""
    due_us: int | None = None
    """True time at which it resets the server; None: it is not armed, or has died."""
    timeout_us: int = 0
    method: str = ""
    """By which it is armed."""
    open: bool = False
    """The agent that runs armed it, and feeds it; another one only lets it run out."""
    dead: bool = False
    """Armed, and it will never act: the device fails, the guard was killed."""


@dataclass(slots=True)
class Trigger:
    """Something that happens right after a number of further actions of a kind."""

    action: str
    """The action's tag: `fence`, `run-resource`, ..."""
    left: int
    do: Callable[[], object]


@dataclass(slots=True)
class Disk:
    """What outlives the boot: the member bit, as written and as it is surely on the platter,
    and the ledger of open hardware events."""

    member: bool = False
    synced: bool = False
    ledger: LedgerFile = field(default_factory=LedgerFile)
    ledger_boot_us: int = 0
    """Boot that the ledger's instants count from."""
    noted: int = -1
    """Boot whose id is noted (fsynced)."""
    notes: bool = True
    """It takes the note of a boot's id."""
    read_only: bool = False

    def lose_cache(self) -> None:
        """Power went before the bit was written back."""
        self.member = self.synced


@dataclass(slots=True)
class Scripts:
    """How the scripts of this server behave from now on, by resource (`*`: all)."""

    failing: set[tuple[str, str]] = field(default_factory=set)
    """(resource, op) that fails; (final action, `act`): it fails, and the server runs on."""
    hanging: set[tuple[str, str]] = field(default_factory=set)
    slow_us: dict[tuple[str, str], int] = field(default_factory=dict)
    severity: dict[str, Severity] = field(default_factory=dict)
    """Resource -> what its failed starts say of other tries, where that is not soft."""

    def _is(self, what: set[tuple[str, str]], resource: str, op: str) -> bool:
        return bool(what) and ((resource, op) in what or ("*", op) in what)

    def fails(self, resource: str, op: str) -> bool:
        """Whether it will exit with an error."""
        return self._is(self.failing, resource, op)

    def hangs(self, resource: str, op: str) -> bool:
        """Whether it will run into its time-out."""
        return self._is(self.hanging, resource, op)

    def clear(self) -> None:
        """All scripts are mended."""
        self.failing.clear()
        self.hanging.clear()
        self.slow_us.clear()
        self.severity.clear()


@dataclass(slots=True)
class Snapshot:
    """A virtual machine at one instant, between two operations on its resources."""

    node: bytes
    settings: Settings
    now: int
    incarnation: str
    run: Durable | None
    disk: Disk
    watchdog: Watchdog
    timers: dict[str, int]
    active: dict[tuple[str, str], str]


class Host:
    """One server."""

    def __init__(
        self, name: str, index: int, rate_ppm: int, up_us: int, settings: Settings
    ) -> None:
        self.name = name
        self.index = index
        self.rate = 1_000_000 + rate_ppm
        self.settings = settings
        """The configuration on its disk."""
        self.ratio = 1
        """How many times as long its agent makes time-outs."""
        self.configured = True
        """It is among the servers of a cluster; else its agent waits to be told of one."""
        # hardware
        self.macs: tuple[str, ...] = ()
        """MAC addresses of its interfaces, as its agent tells the others."""
        self.powered = True
        self.struck_by = ""
        """The server that switched it off by its BMC; empty since it was switched on."""
        self.struck_late = False
        """Its BMC took longer for that than turns allow."""
        self.stepped_at = 0
        """When its agent last did anything."""
        self.boots = 0
        self.boot_us = -up_us
        self.os_up = True
        self.watchdog = Watchdog()
        self.boot_s = 0.0
        """How long it takes to boot; 0: as long as the others."""
        self.deadman: int = 0
        """Number of the dead-man timer armed in the BMC, or 0."""
        # storage
        self.disk = Disk()
        self.run: Durable | None = None
        self.run_fails = False
        """`/run` cannot be written."""
        self.run_wiped = False
        """The files below `/run` were removed: the agent writes on, and nothing finds it."""
        self.service_stopped = False
        self.windows: dict[str, tuple[int, int]] = {}
        """Monitor -> begin and end of its quiet window, as true instants, by its wall clock."""
        self._begin_processes()

    def _begin_processes(self) -> None:
        """Nothing runs: no agent, no script."""
        self.node: Any = None
        self.node_seed = 0
        self.incarnation = ""
        self.incarnations = 0
        self.enabled = True
        """The agent is started at boot and when it dies."""
        self.frozen = False
        """SIGSTOP of the agent, or with `stalled` a pause of the whole machine."""
        self.stalled = False
        self.backlog: list[tuple[str, Any]] = []
        self.unfinished: list[Action] = []
        self.stop_after: tuple[int, str, int] | None = None
        """Interrupt the next list of actions after a number of them: (count, how, pause in us)."""
        self.upon: list[Trigger] = []
        self.timers: dict[str, int] = {}
        self.armed: dict[str, int] = {}
        self.monitors: set[str] = set()
        self.scripts = Scripts()
        self.operations: dict[tuple[str, str], Operation] = {}
        self.active: dict[tuple[str, str], str] = {}
        """(group, resource) physically active -> `starting`, `running` or `stopping`."""
        self.recorder: Recorder | None = None
        self.snapshot: Snapshot | None = None
        self.asked_down = False
        """An operator asked for the whole cluster, or this server, to go down."""

    # --- clock ---------------------------------------------------------------------------

    def now(self, at_us: int) -> int:
        """What this server's clock says at a true instant."""
        return (at_us - self.boot_us) * self.rate // 1_000_000_000

    def when(self, now: int) -> int:
        """The true instant at which its clock will say `now`."""
        return self.boot_us - (-now * 1_000_000_000 // self.rate)

    def drift(self, at_us: int, ppm: int) -> None:
        """Run faster or slower from here on; the clock itself does not jump."""
        now = (at_us - self.boot_us) * self.rate
        self.rate = 1_000_000 + ppm
        self.boot_us = at_us - now // self.rate

    def ledger(self) -> LedgerFile:
        """The ledger on disk, its instants moved to this boot's clock."""
        shift = self.now(self.disk.ledger_boot_us)
        if not shift:
            return self.disk.ledger
        entries = tuple(
            msgspec.structs.replace(x, first_at=x.first_at + shift, last_at=x.last_at + shift)
            for x in self.disk.ledger.entries
        )
        return msgspec.structs.replace(self.disk.ledger, entries=entries)

    # --- what dies with what -------------------------------------------------------------

    def forget_agent(self) -> None:
        """The agent's process is gone; scripts and the watchdog run on."""
        self.node = None
        self.ratio = 1
        self.frozen = self.stalled = False
        self.backlog.clear()
        self.unfinished.clear()
        self.timers.clear()
        self.armed.clear()
        self.monitors.clear()
        self.stop_after = None
        self.recorder = None
        self.watchdog.open = False
        if self.run_wiped:
            self.run, self.run_wiped, self.service_stopped = None, False, False

    def forget_boot(self) -> None:
        """The operating system is gone, and with it everything in memory."""
        self.forget_agent()
        self.os_up = False
        self.run = None
        self.service_stopped = False
        self.operations.clear()
        self.active.clear()
        self.run_fails = False
        self.watchdog = Watchdog(works=self.watchdog.works)
        self.boots += 1

    def groups_active(self) -> set[str]:
        """Groups of which something is physically active here."""
        return {group for group, _ in self.active}


MakeNode = Callable[..., Any]
"""`Node`, or a stand-in with the same constructor, `step`, `snapshot` and `restore`."""


def take_snapshot(world: World, host: Host) -> None:
    """Keep the machine as it is; nothing is kept where it stands still or begins something."""
    if host.node is None or host.frozen or host.operations:
        return
    host.snapshot = Snapshot(
        node=host.node.snapshot(),
        settings=host.node.settings,
        now=host.now(world.t),
        incarnation=host.incarnation,
        run=host.run,
        disk=deepcopy(host.disk),
        watchdog=deepcopy(host.watchdog),
        timers=dict(host.timers),
        active=dict(host.active),
    )


def restore_snapshot(world: World, host: Host) -> None:
    """The machine is what it was when the snapshot was taken: memory, disk, `/run` and clock.

    No rule survives this while another server runs what the machine ran then; it is here to see
    what happens afterwards.
    """
    kept = host.snapshot
    if kept is None:
        return
    world.note(f"{host.name} is set back to its snapshot")
    world.check.end_journal(host)
    host.forget_boot()
    host.powered = host.os_up = True
    host.boot_us = world.t - kept.now * 1_000_000_000 // host.rate
    host.settings, host.run, host.disk = kept.settings, kept.run, deepcopy(kept.disk)
    host.disk.noted = host.boots
    host.active = dict(kept.active)
    host.incarnation = kept.incarnation
    host.node = world.restore_node(kept.settings, kept.node)
    if world.journal:
        world.check.begin_journal(host)
    host.watchdog = deepcopy(kept.watchdog)
    world.executor.watchdog_runs_on(host)
    host.timers = dict(kept.timers)
    world.executor.clock_changed(host)
    world.check.changed(host)
