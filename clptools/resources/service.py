"""`service`: a systemd unit, started and stopped over D-Bus.

The interface is `org.freedesktop.systemd1(5)`.  `JobRemoved` reports a job's end.  The unit's own
state counts then, because a job that is done does not prove that the unit runs.  Any local user may
send such a signal: only the owner of systemd's name on the bus is believed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from clptools.common import system_bus
from clptools.common.system_bus import (
    BUS,
    MANAGER,
    NAME,
    PATH,
    PROPERTIES,
    SERVICE,
    UNIT,
    Owner,
    unit_name,
)
from clptools.common.threads import load
from clptools.core.model.options import VariantOptions, read
from clptools.core.model.settings import Resource
from clptools.faults import ClpError, ExitCode
from clptools.resources.operations import ResourceContext, ResourceOutcome

if TYPE_CHECKING:
    from dbus_fast import Message
    from dbus_fast.aio import MessageBus

NO_SUCH_UNIT = f"{NAME}.NoSuchUnit"

CGROUPS = "/sys/fs/cgroup"
CALL_OFF_S = 2.0
"""How long systemd may take to cancel an abandoned job."""


class Options(VariantOptions, frozen=True, kw_only=True):
    """The systemd unit."""

    unit: str


def warm_up() -> None:
    """Load the D-Bus library, so that the first failover does not wait for it."""
    load("dbus_fast.aio")


async def start(resource: Resource, context: ResourceContext) -> ResourceOutcome:
    """Start the unit and check that it is active."""
    unit = unit_name(read(Options, resource.options).unit)
    async with asyncio.timeout(resource.start_timeout_ms / 1000), _systemd() as systemd:
        path = await systemd.load(unit)
        if await systemd.get(path, UNIT, "UnitFileState") == "enabled":
            context.log(
                f"{unit} is enabled: systemd would start it at boot, wherever the group is "
                f"(systemctl disable {unit})"
            )
        result = await systemd.job("StartUnit", unit)
        state = await systemd.get(path, UNIT, "ActiveState")
        if result == "done" and state == "active":
            return ResourceOutcome(ok=True, text=f"{unit} is active")
        if result == "done" and await systemd.ran_to_its_end(path, state):
            return ResourceOutcome(ok=True, text=f"{unit} did its work")
        raise _fault(unit, "start", result, state)


async def stop(resource: Resource, context: ResourceContext) -> ResourceOutcome:
    """Stop the unit and check that nothing of it runs."""
    unit = unit_name(read(Options, resource.options).unit)
    async with asyncio.timeout(resource.stop_timeout_ms / 1000), _systemd() as systemd:
        try:
            result = await systemd.job("StopUnit", unit)
        except LookupError:
            return ResourceOutcome(ok=True, text=f"{unit} is not loaded, so it does not run")
        path = await systemd.load(unit)
        state = await systemd.get(path, UNIT, "ActiveState")
        if state == "inactive":
            return ResourceOutcome(ok=True, text=f"{unit} is stopped")
        if state == "failed" and not await systemd.processes(path):
            context.log(f"{unit} ended as failed, but nothing of it runs")
            return ResourceOutcome(ok=True, text=f"{unit} is stopped (it ended as failed)")
        raise _fault(unit, "stop", result, state)


def _fault(unit: str, op: str, result: str, state: str) -> ClpError:
    return ClpError(
        ExitCode.FAILED,
        f"{unit}: the {op} job ended as {result!r} and the unit is {state}",
        f"journalctl -u {unit}",
    )


@contextlib.asynccontextmanager
async def _systemd() -> AsyncIterator[_Systemd]:
    """A connection to the service manager of this host.

    Raises:
        ClpError: there is none.
    """
    try:
        bus = await system_bus.connect()
    except OSError as fault:
        raise ClpError(
            ExitCode.FAILED,
            f"systemd cannot be reached over D-Bus: {fault}",
            "a service resource needs systemd and a system bus",
        ) from fault
    try:
        systemd = _Systemd(bus)
        await systemd.listen()
        yield systemd
    finally:
        bus.disconnect()


class _Systemd:
    """The calls that are needed."""

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus
        self._systemd = Owner()
        self._results: dict[str, str] = {}
        self._news = asyncio.Event()

    async def listen(self) -> None:
        """Subscribe to the end of jobs; must come before any job, as a job may end at once."""
        self._bus.add_message_handler(self._hear)
        await self._systemd.follow(self._call)
        rule = (
            f"type='signal',sender='{NAME}',interface='{MANAGER}',member='JobRemoved',path='{PATH}'"
        )
        await self._call(*BUS, "AddMatch", "s", rule)
        await self._manager("Subscribe")

    async def load(self, unit: str) -> str:
        """The object path of a unit that exists.  Raises `ClpError`."""
        (path,) = await self._manager("LoadUnit", "s", unit)
        state = await self.get(path, UNIT, "LoadState")
        if state != "loaded":
            hint = f"systemctl unmask {unit}" if state == "masked" else f"systemctl status {unit}"
            raise ClpError(ExitCode.FAILED, f"unit {unit} cannot be used: {state}", hint)
        return str(path)

    async def job(self, method: str, unit: str) -> str:
        """Begin a job and wait for its end; `done`, `failed`, `timeout`, `canceled`, ...

        An abandoned job (superseded, time-out) is cancelled, even before systemd has answered: its
        order may not arrive after the next one.

        Raises:
            LookupError: a stop of what was never loaded.
        """
        begun = asyncio.ensure_future(self._manager(method, "ss", unit, "replace"))
        try:
            (job,) = await asyncio.shield(begun)
            while job not in self._results:
                self._news.clear()
                await self._news.wait()
            return self._results[job]
        except asyncio.CancelledError:
            off = asyncio.ensure_future(self._call_off(begun))
            await asyncio.wait({off}, timeout=CALL_OFF_S)
            off.cancel()
            raise

    async def _call_off(self, begun: asyncio.Future[list[Any]]) -> None:
        with contextlib.suppress(ClpError, LookupError, OSError):
            (job,) = await begun
            if job not in self._results:
                # The job goes on: the next operation deals with it.
                await self._manager("CancelJob", "u", int(str(job).rpartition("/")[2]))

    async def get(self, path: str, interface: str, name: str) -> str:
        """A text property."""
        (value,) = await self._call(NAME, path, PROPERTIES, "Get", "ss", interface, name)
        return str(value.value)

    async def ran_to_its_end(self, path: str, state: str) -> bool:
        """Whether it is a oneshot service that did its work: it may be inactive then."""
        if state != "inactive" or not path.endswith("_2eservice"):
            return False
        kind = await self.get(path, SERVICE, "Type")
        return kind == "oneshot" and await self.get(path, SERVICE, "Result") == "success"

    async def processes(self, path: str) -> bool:
        """Whether a failed service still has processes."""
        if not path.endswith("_2eservice"):
            return False
        group = await self.get(path, SERVICE, "ControlGroup")
        if not group:
            return False
        try:
            with open(f"{CGROUPS}{group}/cgroup.procs", "rb") as file:
                return bool(file.read(1))
        except FileNotFoundError:
            return False

    def _hear(self, message: Message) -> None:
        self._systemd.changed(message)
        if not self._systemd.sent(message):
            return
        if message.member == "JobRemoved" and message.interface == MANAGER:
            _id, job, _unit, result = message.body
            self._results[job] = result
            self._news.set()

    async def _manager(self, method: str, signature: str = "", *body: str | int) -> list[Any]:
        return await self._call(NAME, PATH, MANAGER, method, signature, *body)

    async def _call(
        self,
        to: str,
        path: str,
        interface: str,
        method: str,
        signature: str = "",
        *body: str | int,
    ) -> list[Any]:
        try:
            return await system_bus.call(self._bus, to, path, interface, method, signature, *body)
        except system_bus.Refused as refused:
            if refused.name == NO_SUCH_UNIT:
                raise LookupError(refused.name) from None
            raise ClpError(ExitCode.FAILED, f"systemd refused {method}: {refused}") from None
