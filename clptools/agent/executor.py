"""Carries out what the core wants: one table from action to handler, results return as events.

A handler does not wait: it writes, sends, or begins a task whose end is put into the loop's queue.
Two touch a disk on the way: `SetMember`, which syncs when it clears the bit, and the start of a
script, whose owner is checked first.
Only `Persist`, `SetMember` and `SetService` may raise; the loop then tries again, or stops for
good: what comes after them in the list must not happen without them.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import msgspec

from clptools import paths
from clptools.agent import clock
from clptools.agent.devices import Devices
from clptools.agent.loop import Loop
from clptools.agent.process import lock_memory
from clptools.agent.records import Records
from clptools.agent.requests import Replies
from clptools.agent.store import Store
from clptools.core.model import actions, events
from clptools.core.model.durable import LedgerFile
from clptools.core.model.settings import Resource, Settings
from clptools.core.model.words import PowerState
from clptools.faults import ClpError
from clptools.resources.operations import ResourceContext, product_environment
from clptools.resources.registry import perform as perform_resource
from clptools.resources.registry import watch as watch_resource
from clptools.resources.script import Script

logger = logging.getLogger(__name__)

_LAST_S = 3.0
_LAST_WORDS_S = 0.5
"""How long an action that ends this host waits for a slow disk to take the reason."""
_MUST = (actions.Persist, actions.SetMember, actions.SetService)


class Executor:
    """Carries out the actions of one core."""

    def __init__(
        self,
        server: str,
        store: Store,
        records: Records,
        devices: Devices,
        replies: Replies,
        worker: concurrent.futures.Executor,
        *,
        stretch: Callable[[int], None],
        reincarnate: Callable[[], None],
        exit: Callable[[], None],
    ) -> None:
        self._server = server
        self._store = store
        self._devices = devices
        self._worker = worker
        self.ledger = LedgerFile()
        """The open hardware events, as kept last."""
        self._resources: dict[tuple[str, str], Resource] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._last: set[asyncio.Task[None]] = set()
        """What must be through before the agent may end."""
        self._behind: dict[str, str] | None = None
        """Of the ledger, as we have written it; None: not yet."""
        self._ledger_queued = False
        """Whether the ledger is already queued for the disk thread, which then takes the newest."""
        self.loop: Loop
        """Where results go; set once both exist."""
        self.last_words: Callable[[], Awaitable[object]] = records.durable
        """Brings to the disk what explains an action that ends this host."""
        self._table: dict[type, Callable[[Any], None]] = {
            actions.Persist: lambda a: store.persist(a.durable),
            actions.SetMember: lambda a: store.set_member(a.member),
            actions.SetService: lambda a: store.set_stopped(a.stopped),
            actions.SendBeat: lambda a: devices.heartbeats.send(a.beat, a.via),
            actions.SendControl: lambda a: devices.peers.send(a.to, a.message),
            actions.SetTimer: lambda a: self.loop.set_timer(a.name, a.at),
            actions.ClearTimer: lambda a: self.loop.clear_timer(a.name),
            actions.ReadPower: self._read_power,
            actions.Fence: self._fence,
            actions.CallOffFence: lambda a: devices.bmcs.call_off(a.server),
            actions.HoldArbiter: self._hold_arbiter,
            actions.ReleaseArbiter: self._release_arbiter,
            actions.RunResource: self._run_resource,
            actions.WatchResource: self._watch_resource,
            actions.RunScript: self._run_script,
            actions.RunMonitor: lambda a: devices.monitors.run(a.monitor, a.on),
            actions.FaultMonitor: lambda a: devices.monitors.fault(a.monitor, a.on),
            actions.ArmWatchdog: self._arm_watchdog,
            actions.PetWatchdog: lambda _: devices.watchdog.pet(),
            actions.DisarmWatchdog: self._disarm_watchdog,
            actions.HostAction: self._host_action,
            actions.ArmDeadman: self._arm_deadman,
            actions.StandDown: self._stand_down,
            actions.Stretch: lambda a: stretch(a.ratio),
            actions.Record: records.add,
            actions.Progress: replies.progress,
            actions.Reply: replies.reply,
            actions.KeepLedger: self._keep_ledger,
            actions.Reincarnate: lambda _: reincarnate(),
            actions.Exit: lambda _: exit(),
        }

    def apply(self, settings: Settings) -> None:
        """Know the resources of `settings`, and still those of earlier ones, which may run."""
        for group in settings.groups:
            for resource in group.resources:
                self._resources[group.name, resource.name] = resource

    def perform(self, action: actions.Action) -> None:
        """Carry out, or begin, one action.  Raises only where what follows must not happen."""
        try:
            self._table[type(action)](action)
        except Exception:
            if isinstance(action, _MUST):
                raise
            logger.exception("%s could not be carried out", type(action).__name__)

    async def close(self) -> None:
        """Let go of what is under way; scripts go on, for the next agent to find."""
        if self._last:
            await asyncio.wait(self._last, timeout=_LAST_S)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._last.add(task)
        task.add_done_callback(self._last.discard)

    def _answer(
        self,
        work: Coroutine[Any, Any, events.Event],
        failed: Callable[[str], events.Event],
    ) -> None:
        """Put what `work` returns into the queue; whatever it raises becomes `failed(text)`."""
        loop = self.loop  # a core that begins later was not the one that asked

        async def answered() -> None:
            try:
                event = await work
            except ClpError as error:
                hint = f" ({error.hint})" if error.hint else ""
                event = failed(error.message + hint)
            except OSError as error:
                event = failed(str(error.strerror or error))
            except Exception as error:
                logger.exception("an action failed unexpectedly")
                event = failed(f"a fault of clptools itself: {error!r}")
            loop.put(event)

        self._begin(answered())

    def _keep_ledger(self, action: actions.KeepLedger) -> None:
        self.ledger = action.ledger
        if self._ledger_queued:
            return
        self._ledger_queued = True

        loop = self.loop

        def newest() -> dict[str, str]:
            # In the disk thread.  Cleared first: a change from here on needs another write.
            self._ledger_queued = False
            ledger = self.ledger
            self._store.keep_ledger(ledger, clock.boot_ms(), clock.wall_s())
            return ledger.behind

        async def kept() -> None:
            try:
                behind = await asyncio.get_running_loop().run_in_executor(self._worker, newest)
            except OSError as error:
                logger.warning("the ledger of hardware events is not on the disk: %s", error)
                if self.ledger.behind != self._behind:
                    loop.put(events.CopiesKept(fault=str(error.strerror or error)))
                return
            if behind != self._behind:
                self._behind = behind
                loop.put(events.CopiesKept(behind=behind))

        self._keep(self._begin(kept()))

    # Group resources and scripts

    def _run_resource(self, action: actions.RunResource) -> None:
        def done(ok: bool, text: str) -> events.ResourceDone:
            return events.ResourceDone(
                group=action.group,
                resource=action.resource,
                op=action.op,
                epoch=action.epoch,
                number=action.number,
                ok=ok,
                text=text,
            )

        place = f"{action.group}/{action.resource}"
        resource = self._resources.get((action.group, action.resource))
        if resource is None:
            text = f"{place} is not in the configuration any more: look whether it still runs"
            self.loop.put(done(False, text))
            return

        context = msgspec.structs.replace(
            self._context(action.group, action.resource),
            event=action.event,
            factor=action.factor,
            previous=action.previous,
            priority=action.priority,
            forced=action.forced,
            macs_off=action.macs_off,
        )

        async def work() -> events.Event:
            outcome = await perform_resource(resource, action.op, context)
            return msgspec.structs.replace(
                done(outcome.ok, outcome.text),
                timed_out=outcome.timed_out,
                severity=outcome.severity,
            )

        self._answer(work(), lambda text: done(False, f"{place}: {text}"))

    def _context(self, group: str, name: str) -> ResourceContext:
        """What a resource is given whatever is done with it."""

        def remark(line: str) -> None:
            logger.info("%s/%s: %s", group, name, line)
            self.loop.put(events.ResourceSaid(group=group, resource=name, text=line))

        def lost(why: str) -> None:
            logger.warning("%s/%s: %s", group, name, why)
            self.loop.put(events.ResourceLost(group=group, resource=name, text=why))

        return ResourceContext(
            server=self._server,
            group=group,
            event="START",
            run=self._devices.scripts.run,
            end=self._devices.scripts.end,
            log=remark,
            lost=lost,
        )

    def _watch_resource(self, action: actions.WatchResource) -> None:
        resource = self._resources.get((action.group, action.resource))
        if resource is None:
            return
        context = self._context(action.group, action.resource)

        async def watched() -> None:
            try:
                await watch_resource(resource, context)
            except Exception:
                logger.exception("%s is not watched over", resource.name)

        self._begin(watched())

    def _run_script(self, action: actions.RunScript) -> None:
        path = os.path.join(paths.scripts_dir(), action.script)

        async def work() -> events.Event:
            result = await self._devices.scripts.run(
                Script(
                    name=f"recovery/{action.token}",
                    path=path,
                    timeout_ms=action.timeout_ms,
                    environment=product_environment() | action.environment,
                )
            )
            return events.ScriptDone(
                token=action.token, ok=result.ok, timed_out=result.timed_out, text=result.text
            )

        self._answer(
            work(), lambda text: events.ScriptDone(token=action.token, ok=False, text=text)
        )

    # BMCs and arbiters

    def _read_power(self, action: actions.ReadPower) -> None:
        asked_at = clock.boot_ms()

        def unknown(text: str) -> events.PowerRead:
            return events.PowerRead(
                server=action.server, power=PowerState.UNKNOWN, asked_at=asked_at, error=text
            )

        self._answer(self._devices.bmcs.read_power(action, asked_at), unknown)

    def _fence(self, action: actions.Fence) -> None:
        ordered_at = action.ordered_at

        def failed(text: str) -> events.FenceDone:
            return events.FenceDone(
                server=action.server, action=action.action, asked_at=ordered_at, error=text
            )

        self._answer(self._devices.bmcs.fence(action, ordered_at), failed)

    def _hold_arbiter(self, action: actions.HoldArbiter) -> None:
        asked_at = clock.boot_ms()

        def failed(text: str) -> events.ArbiterAnswered:
            return events.ArbiterAnswered(
                name=action.name, held=False, asked_at=asked_at, error=text
            )

        self._answer(self._devices.arbiters.hold(action.name, action.lease_ms, asked_at), failed)

    def _release_arbiter(self, action: actions.ReleaseArbiter) -> None:
        # An agent that leaves hands the arbiter over at once, not when its lease has run out.
        self._keep(self._begin(self._devices.arbiters.release(action.name)))

    # This host

    def _arm_watchdog(self, action: actions.ArmWatchdog) -> None:
        async def armed() -> None:
            changed = await self._devices.watchdog.arm(action.timeout_ms, action.method)
            if changed.armed:
                # An agent that waits for its own pages cannot feed the watchdog in time.
                lock_memory()
            self.loop.put(changed)

        self._begin(armed())

    def _disarm_watchdog(self, _: actions.DisarmWatchdog) -> None:
        async def disarmed() -> None:
            self.loop.put(await self._devices.watchdog.disarm())

        self._keep(self._begin(disarmed()))

    def _host_action(self, action: actions.HostAction) -> None:
        def failed(text: str) -> events.HostActionDone:
            return events.HostActionDone(action=action.action, ok=False, text=text)

        async def work() -> events.Event:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LAST_WORDS_S):
                    # Shielded: given up here, it is still written if the disk comes back.
                    await asyncio.shield(self.last_words())
            return await self._devices.host.perform(action.action, action.reason)

        self._answer(work(), failed)

    def _stand_down(self, _: actions.StandDown) -> None:
        async def stood_down() -> None:
            fault = await self._devices.bmcs.stand_down()
            if fault:
                logger.warning("a dead-man of the own BMC could not be called off: %s", fault)

        self._begin(stood_down())

    def _arm_deadman(self, action: actions.ArmDeadman) -> None:
        def failed(text: str) -> events.HostActionDone:
            return events.HostActionDone(action=action.action, ok=False, text=text)

        self._answer(self._devices.bmcs.arm_deadman(action.action, action.deadline_ms), failed)
