"""`ocf`: a resource agent of the OCF standard, as it is installed.

Its start, stop and monitor are run as scripts are: in a process group of their own, with a
deadline, and one at a time for each resource.  A stop that does not end well means that the
resource may be active, and an agent whose software is not installed can run nothing.
`clptools.common.ocf` knows what agents are given and what their exit statuses mean.

An agent's own `migrate_to` is not used: it makes the resource active on another server, which no
grant has cleared (`core/groups/migration.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import time
from enum import StrEnum

import msgspec

from clptools import paths
from clptools.common import ocf
from clptools.common.ocf import Agent, Call, Status
from clptools.common.secret_names import secrets_in
from clptools.common.threads import one_at_a_time
from clptools.config.agent_options import Options
from clptools.config.files import read_secret
from clptools.core.model.options import read
from clptools.core.model.settings import Resource
from clptools.core.model.words import Severity
from clptools.faults import ClpError, ExitCode
from clptools.resources.mounts import FILESYSTEM, elsewhere
from clptools.resources.operations import (
    ResourceContext,
    ResourceOutcome,
    is_under_way,
    product_environment,
    script_environment,
)
from clptools.resources.script import (
    FORCED_GRACE_MS,
    GRACE_MS,
    Script,
    ScriptResult,
    environment,
)

TOOLS = os.path.join(os.path.dirname(__file__), "pacemaker_tools")
"""Stand-ins for Pacemaker's commands; the README there says what they do."""
_LOOK_S = 2.0
MEND_SECRET = "Write the value of the parameter into it, mode 0400."


_HARD = frozenset(
    {Status.ARGUMENTS, Status.UNIMPLEMENTED, Status.PERMISSION, Status.NOT_INSTALLED}
)  # fmt: skip


_UNPROMOTED = (Status.SUCCESS, Status.DEGRADED, Status.NOT_RUNNING)


class State(StrEnum):
    """What a monitor found."""

    ACTIVE = "active"
    DEGRADED = "degraded"
    INACTIVE = "inactive"
    """It does not run, and was stopped cleanly or never started."""
    FAILED = "failed"
    UNKNOWN = "unknown"
    """An operation on the resource is under way, and tells more."""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a resource, and why."""

    state: State
    text: str = ""
    timed_out: bool = False


async def start(resource: Resource, context: ResourceContext) -> ResourceOutcome:
    """Run the agent's start; what fails and is to be tried again is stopped first."""
    agent = _Agent(resource, context)
    try:
        script = await agent.script("start", resource.start_timeout_ms)
    except ClpError as fault:
        # It lacks something on this server: the agent, a secret.
        return agent.lacking(fault)
    began = time.monotonic()
    was_marked = _is_marked(context.group, resource.name)
    _mark(context.group, resource.name)
    try:
        result = await context.run(script)
    except ClpError:
        if not was_marked:
            _unmark(context.group, resource.name)  # it did not begin
        raise
    if agent.promoted and result.exit_status in (Status.SUCCESS, Status.PROMOTED):
        return await _promoted(agent, resource, result, _left_ms(resource.start_timeout_ms, began))
    if result.exit_status == Status.SUCCESS:
        place = await agent.mounted_elsewhere()
        if place:
            context.log(f"its device is mounted on {place}, too: its stop unmounts that as well")
        return ResourceOutcome(ok=True, text=f"{agent.name} has started it")
    outcome = agent.failure("start", result)
    # Agents whose software is absent often fail their stop, too.
    absent = result.exit_status == Status.NOT_INSTALLED and not was_marked
    if absent and await agent.cannot_run(resource.stop_timeout_ms):
        _unmark(context.group, resource.name)
        return outcome
    # Otherwise its stop is what the group's own stop begins with.
    if resource.start_retries and not result.superseded:
        await _tidied(agent, "stop", resource)
    return outcome


async def _promoted(
    agent: _Agent, resource: Resource, started: ScriptResult, left_ms: int
) -> ResourceOutcome:
    """Promote it, unless its start found that it is."""
    result = started
    if started.exit_status != Status.PROMOTED:
        result = await agent.run("promote", left_ms)
    if result.exit_status in (Status.SUCCESS, Status.PROMOTED):
        return ResourceOutcome(ok=True, text=f"{agent.name} has promoted it")
    outcome = agent.failure("promote", result)
    if resource.start_retries and not result.superseded:
        await _tidied(agent, "demote", resource)
    return outcome


async def _tidied(agent: _Agent, action: str, resource: Resource) -> None:
    """What a failed start may have left is taken down before the next try."""
    result = await agent.run(action, resource.stop_timeout_ms)
    if result.exit_status != Status.SUCCESS:
        agent.context.log(f"after a failed start, {agent.failure(action, result).text}")


async def stop(resource: Resource, context: ResourceContext) -> ResourceOutcome:
    """Run the agent's stop; whatever is not a success means that it may be active."""
    is_marked = _is_marked(context.group, resource.name)
    agent = _Agent(resource, context, needs_secrets=is_marked)
    if not is_marked:
        # A purge: it was not started since the boot, as far as is known.
        reason = await agent.cannot_run(resource.stop_timeout_ms)
        if reason:
            return ResourceOutcome(ok=True, text=reason)
    if agent.promoted:
        return await _demoted(agent, resource)
    result = await agent.run("stop", resource.stop_timeout_ms)
    if result.exit_status != Status.SUCCESS:
        return agent.failure("stop", result)
    place = await agent.mounted_elsewhere()
    if place:
        text = f"{agent.name} has stopped it, but its device is still mounted on {place}"
        return ResourceOutcome(ok=False, text=f"{text}: umount {place}")
    _unmark(context.group, resource.name)
    return ResourceOutcome(ok=True, text=f"{agent.name} has stopped it")


async def _demoted(agent: _Agent, resource: Resource) -> ResourceOutcome:
    """Demote it, and leave it there unpromoted; if that fails it is stopped."""
    began = time.monotonic()
    result = await agent.run("demote", resource.stop_timeout_ms)
    if result.exit_status in (Status.SUCCESS, Status.NOT_RUNNING):
        _unmark(agent.context.group, resource.name)
        return ResourceOutcome(ok=True, text=f"{agent.name} has demoted it")
    outcome = agent.failure("demote", result)
    if result.superseded or result.timed_out:
        return outcome
    agent.context.log(f"{outcome.text}: it is stopped")
    result = await agent.run("stop", _left_ms(resource.stop_timeout_ms, began))
    if result.exit_status == Status.SUCCESS:
        _unmark(agent.context.group, resource.name)
        return ResourceOutcome(ok=True, text=f"{agent.name} has stopped it")
    return agent.failure("stop", result)


def _left_ms(timeout_ms: int, began: float) -> int:
    """What is left of a time-out for the second action of two; `began`: `time.monotonic()`."""
    return max(1, timeout_ms - round((time.monotonic() - began) * 1000))


async def monitor(resource: Resource, context: ResourceContext, timeout_ms: int) -> Health:
    """Run the agent's monitor on a resource that is online here."""
    options = read(Options, resource.options)
    return await _monitored(
        resource, context, timeout_ms, max(1, options.monitor_interval_ms), options.depth
    )


async def probe(resource: Resource, context: ResourceContext, timeout_ms: int) -> Health:
    """Run the agent's monitor where the resource should not be active."""
    return await _monitored(resource, context, timeout_ms, 0, 0)


def warm_up() -> None:
    """Collect the variables that every script gets."""
    environment(product_environment())


async def _monitored(
    resource: Resource, context: ResourceContext, timeout_ms: int, interval_ms: int, depth: int
) -> Health:
    agent = _Agent(resource, context)
    if is_under_way(context.server, agent.place):
        return Health(state=State.UNKNOWN)
    script = await agent.script("monitor", timeout_ms, interval_ms=interval_ms, depth=depth)
    # It would end the script of an operation that began meanwhile.
    if is_under_way(context.server, agent.place):
        return Health(state=State.UNKNOWN)
    result = await context.run(script)
    status = result.exit_status
    if result.superseded:
        return Health(state=State.UNKNOWN)
    is_probe = interval_ms == 0
    if agent.promoted and status in (Status.SUCCESS, Status.DEGRADED):
        # Where it should not be promoted it is as it should be.
        state = State.INACTIVE if is_probe else State.FAILED
        return Health(state=state, text=f"{agent.name}: it runs, but is not promoted")
    if status in (Status.DEGRADED, Status.DEGRADED_PROMOTED):
        return Health(state=State.DEGRADED, text=agent.said("monitor", result))
    if status in ocf.ACTIVE:
        return Health(state=State.ACTIVE)
    none = status == Status.NOT_RUNNING or (is_probe and status == Status.NOT_INSTALLED)
    place = await agent.mounted_elsewhere() if none and is_probe else ""
    if place:
        return Health(state=State.ACTIVE, text=f"its device is mounted on {place}")
    return Health(
        state=State.INACTIVE if none else State.FAILED,
        text=agent.said("monitor", result),
        timed_out=result.timed_out,
    )


class _Agent:
    """The agent of one resource, called for one operation."""

    def __init__(
        self, resource: Resource, context: ResourceContext, *, needs_secrets: bool = True
    ) -> None:
        """Without `needs_secrets` it is called even if they cannot be read."""
        self._resource = resource
        self.context = context
        self._options = read(Options, resource.options)
        self._agent: Agent = ocf.named(self._options.agent)
        self._given = ocf.on_server(
            self._options.parameters, self._options.parameters_on, context.server
        )
        self._needs_secrets = needs_secrets
        self.promoted = self._options.promoted
        self.name = str(self._agent)
        self.place = f"{context.group}/{resource.name}"

    async def run(self, action: str, timeout_ms: int) -> ScriptResult:
        """Call it.  Raises as `script` does, and ClpError: it may not be run."""
        return await self.context.run(await self.script(action, timeout_ms))

    async def script(
        self, action: str, timeout_ms: int, *, interval_ms: int = 0, depth: int = 0
    ) -> Script:
        """How it is called.

        Raises:
            ClpError: it is not there, or lacks a secret.
            TimeoutError: a secret was not read in time.
        """
        path = ocf.checked(self._agent)
        refused = ocf.refusal(self._agent, self._given, promoted=self.promoted)
        if refused is not None:
            raise ClpError(
                ExitCode.REFUSED, f"{self.name} cannot work here: {refused[0]}", refused[1]
            )
        secrets = await self._secrets(action, timeout_ms)
        call = Call(
            agent=self._agent,
            instance=self._resource.name,
            action=action,
            parameters=self._given | secrets,
            timeout_ms=timeout_ms,
            interval_ms=interval_ms,
            depth=depth,
            promoted=self.promoted,
            server=self.context.server,
            tools=TOOLS,
        )
        ocf.make_state_folder()
        return Script(
            name=self.place,
            path=path,
            arguments=(action,),
            timeout_ms=timeout_ms,
            environment=script_environment(self._resource, self.context),
            variables=ocf.environment(call),
            secrets=(*secrets_in(self._given), *secrets.values()),
            label=action,
            quiet=action == "monitor",
            grace_ms=FORCED_GRACE_MS if self.context.forced else GRACE_MS,
        )

    async def cannot_run(self, timeout_ms: int) -> str:
        """Why it can run nothing on this server, so needs no stop; empty: it may."""
        try:
            ocf.checked(self._agent)
        except ClpError as fault:
            return f"{fault.message}, so it does not run"
        if ocf.refusal(self._agent, self._given, promoted=self.promoted) is not None:
            return f"{self.name} is never started"
        if self.context.forced:
            return ""
        result = await self.run("monitor", timeout_ms)
        if result.exit_status == Status.NOT_INSTALLED:
            return f"{self.said('monitor', result)}, so it does not run"
        if self.promoted and result.exit_status in _UNPROMOTED:
            return f"{self.name}: it is not promoted here"
        return ""

    async def mounted_elsewhere(self) -> str:
        """Another directory of this server on which a file system is; empty: none is known."""
        if self._agent.type != FILESYSTEM:
            return ""
        look = functools.partial(elsewhere, self._given)
        key = ("mounts", self.context.server, self.place)
        try:
            async with asyncio.timeout(_LOOK_S):
                return await one_at_a_time(key, f"mounts of {self.place}", look)
        except (OSError, TimeoutError, ClpError):
            return ""

    def failure(self, action: str, result: ScriptResult) -> ResourceOutcome:
        """The outcome of an action that failed."""
        return ResourceOutcome(
            ok=False,
            timed_out=result.timed_out,
            severity=_severity(result.exit_status),
            text=f"{self.said(action, result)}{self._follows(action, result)}",
        )

    def lacking(self, fault: ClpError) -> ResourceOutcome:
        """The outcome of a start that could not begin, because something is not there."""
        hint = f" ({fault.hint})" if fault.hint else ""
        text = f"{self.place}: {fault.message}{hint}"
        return ResourceOutcome(ok=False, severity=Severity.HARD, text=text)

    def said(self, action: str, result: ScriptResult) -> str:
        """How it ended, with the reason that it gave."""
        if result.exit_status is None:
            return result.text
        reason = ocf.last_reason(result.tail) or (result.tail[-1] if result.tail else "")
        quoted = f': "{reason}"' if reason else ""
        return f"{self.name}: {action} ended with {ocf.meaning(result.exit_status)}{quoted}"

    def _follows(self, action: str, result: ScriptResult) -> str:
        if action in ("stop", "demote"):
            return f"; it may still be {'active' if action == 'stop' else 'promoted'}"
        match _severity(result.exit_status):
            case Severity.HARD:
                return "; on this server it cannot start until that is mended"
            case Severity.FATAL:
                return "; it can start on no server until that is mended"
        return ""

    async def _secrets(self, action: str, timeout_ms: int) -> dict[str, str]:
        files = self._options.parameters_from
        if not files:
            return {}
        # A disk may hang, and must hold neither the loop nor the action beyond its time-out.
        key = ("secrets", self.context.server, self.place, action, tuple(files.items()))
        reading = functools.partial(_secrets, files)
        try:
            async with asyncio.timeout(timeout_ms / 1000):
                return await one_at_a_time(key, f"secrets of {self.place}", reading)
        except (ClpError, TimeoutError) as fault:
            if self._needs_secrets:
                raise
            why = fault.message if isinstance(fault, ClpError) else "a secret cannot be read now"
            self.context.log(f"{self._resource.name}: {why}: called without it")
            return {}


def _severity(status: int | None) -> Severity:
    """Of an action that failed; None: it was killed, or timed out."""
    if status in _HARD:
        return Severity.HARD
    return Severity.FATAL if status == Status.NOT_CONFIGURED else Severity.SOFT


def _secrets(files: dict[str, str]) -> dict[str, str]:
    """The values of parameters that are in files.  Raises ClpError."""
    found: dict[str, str] = {}
    for name, path in files.items():
        try:
            value = read_secret(path, MEND_SECRET).decode().rstrip("\n")
        except UnicodeDecodeError:
            raise ClpError(ExitCode.FAILED, f"{path}: not text", MEND_SECRET) from None
        if "\0" in value:
            raise ClpError(ExitCode.FAILED, f"{path}: not text", MEND_SECRET)
        found[name] = value
    return found


# -------------------------------------------------------------------------------- marks


def _mark_file(group: str, resource: str) -> str:
    """Is there from a start until a stop that ended well; it ends with the boot."""
    return os.path.join(paths.run_dir(), "ocf", group, resource)


def _mark(group: str, resource: str) -> None:
    """Raises OSError: without it a later stop could believe that nothing runs."""
    file = _mark_file(group, resource)
    os.makedirs(os.path.dirname(file), 0o755, exist_ok=True)
    os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644))


def _is_marked(group: str, resource: str) -> bool:
    return os.path.exists(_mark_file(group, resource))


def _unmark(group: str, resource: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(_mark_file(group, resource))
