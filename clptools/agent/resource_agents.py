"""What is found out of resource agents before a group needs them here.

An agent that is missing, or does not take what it is given, would show at the fail-over only; and
a resource that something else has started here, while no group of this server has it, may be
active on two servers.  Both are looked for when a configuration comes into force, and again from
time to time.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Protocol

from clptools.agent import notices
from clptools.agent.conditions import Conditions
from clptools.agent.service import Core
from clptools.common.threads import in_daemon_thread
from clptools.core.model.settings import Group, Resource, Settings
from clptools.core.notices.form import Notice
from clptools.faults import ClpError
from clptools.resources.operations import ResourceContext
from clptools.resources.script import ScriptRunner

logger = logging.getLogger(__name__)

_TURN_S = 5.0
"""How often it is seen whether it is time to look."""
_AGAIN_S = 60.0
"""The next look where something was found, or a group was busy."""
_SELDOM_S = 600.0
"""The next look where all was well: a probe costs some 50 ms for each resource."""
_PROBE_MS = 30_000


class Owner(Protocol):
    """The agent."""

    conditions: Conditions
    """What is not well on this server itself."""

    def note(self, notice: Notice) -> None:
        """Record something that the core knows nothing of."""

    def core_now(self) -> Core | None:
        """The core, once there is a configuration."""


class ResourceAgents:
    """The `ocf` resources that this server may have to run."""

    def __init__(self, server: str, scripts: ScriptRunner, owner: Owner) -> None:
        self._server = server
        self._scripts = scripts
        self._owner = owner
        self._unfit: dict[str, str] = {}
        """Resource -> what is wrong with its agent."""
        self._strays: set[str] = set()
        """`group/resource` that runs although this server does not hold the group."""

    async def watch(self) -> None:
        """Look, again and again."""
        now = asyncio.get_running_loop().time
        settings: Settings | None = None
        due = now()
        while True:
            core = self._owner.core_now()
            if core is not None and (core.settings is not settings or now() >= due):
                settings = core.settings
                try:
                    quiet = await self._look(core)
                except Exception:
                    logger.exception("resource agents are not looked at")
                    quiet = False
                due = now() + (_SELDOM_S if quiet else _AGAIN_S)
            await asyncio.sleep(_TURN_S)

    async def _look(self, core: Core) -> bool:
        """Whether all was well, and nothing is left to be looked at soon."""
        # Loaded only where there is such a resource.
        if not self._unfit and not self._strays and not _has_any(core.settings):
            return True
        from clptools.config.agents import agent_faults

        settings = core.settings
        found = await in_daemon_thread("agents", lambda: agent_faults(settings, self._server))
        faults = {
            name: next((one for one in each if one.severity == "error"), None)
            for name, each in found.items()
        }
        unfit = {name: (one.text, one.mend) for name, one in faults.items() if one is not None}
        for name in [one for one in self._unfit if one not in unfit]:
            del self._unfit[name]
            self._owner.conditions.end(f"agent of {name}")
            self._owner.note(notices.AgentFit(name))
        for name, (text, mend) in unfit.items():
            self._owner.conditions.begin(f"agent of {name}", f"{name}: {text}", mend)
            if self._unfit.get(name) != text:
                self._unfit[name] = text
                self._owner.note(notices.AgentUnfit(name, text, mend))
        settled = [
            await self._probed(core, group, resource)
            for group in core.settings.groups
            for resource in group.resources
            if resource.type == "ocf"
            and self._server in group.servers
            and resource.name not in unfit
        ]
        self._forget(core.settings)
        return all(settled) and not self._unfit and not self._strays

    async def _probed(self, core: Core, group: Group, resource: Resource) -> bool:
        """Look whether a resource runs that should not; False: that is not known yet."""
        from clptools.resources import ocf

        place = f"{group.name}/{resource.name}"
        if _holds(core, group.name):
            self._well(place)
            return True
        if _is_busy(core, group.name):
            return False
        context = ResourceContext(
            server=self._server,
            group=group.name,
            event="START",
            run=self._scripts.run,
            end=self._scripts.end,
        )
        try:
            found = await ocf.probe(resource, context, _PROBE_MS)
        except (ClpError, OSError) as fault:
            logger.info("%s: whether it runs cannot be told: %s", place, fault)
            return True
        if _holds(core, group.name) or _is_busy(core, group.name):
            return False  # it was started meanwhile, as it may be
        if found.state in (ocf.State.ACTIVE, ocf.State.DEGRADED):
            self._stray(core, group, resource, found.text)
        elif found.state is ocf.State.INACTIVE:
            self._well(place)
        return True

    def _stray(self, core: Core, group: Group, resource: Resource, what: str) -> None:
        place = f"{group.name}/{resource.name}"
        current = {one.name: one.current or "" for one in core.view().groups}.get(group.name, "")
        notice = notices.RunsUnheld(group.name, resource.name, current, what)
        said, mend = notice.sentence(self._server), notice.mend(self._server)
        self._owner.conditions.begin(f"runs {place}", said, mend)
        if place not in self._strays:
            self._strays.add(place)
            logger.critical("%s", notice.told(self._server))
            self._owner.note(notice)

    def _well(self, place: str) -> None:
        if place in self._strays:
            self._strays.remove(place)
            self._owner.conditions.end(f"runs {place}")
            group, _, resource = place.partition("/")
            self._owner.note(notices.RunsNoMore(group, resource))

    def _forget(self, settings: Settings) -> None:
        """What is not configured any more is nobody's concern."""
        known = {
            f"{group.name}/{resource.name}"
            for group in settings.groups
            if self._server in group.servers
            for resource in group.resources
        }
        for place in self._strays - known:
            self._well(place)


def _has_any(settings: Settings) -> bool:
    return any(one.type == "ocf" for group in settings.groups for one in group.resources)


def _holds(core: Core, group: str) -> bool:
    run = core.node.state.lifecycle.runs.get(group)
    return run is not None and run.held


def _is_busy(core: Core, group: str) -> bool:
    """Whether stops of a purge may be under way."""
    run = core.node.state.lifecycle.runs.get(group)
    return run is not None and (run.purge or bool(run.busy))
