"""`exec`: a start and a stop script, and maybe one that migrates."""

from __future__ import annotations

import os

from clptools import paths
from clptools.common.loading import load
from clptools.core.model.options import VariantOptions, read
from clptools.core.model.settings import Resource
from clptools.resources.base import (
    ResourceContext,
    ResourceOutcome,
    product_environment,
    script_environment,
)
from clptools.resources.scope import BOOTED
from clptools.resources.script import FORCED_GRACE_MS, GRACE_MS, Script, environment


class Options(VariantOptions, frozen=True, kw_only=True):
    """Its scripts; empty: there is none."""

    start: str = ""
    stop: str = ""
    migrate: str = ""


async def start(resource: Resource, context: ResourceContext) -> ResourceOutcome:
    """Run the start script."""
    script = read(Options, resource.options).start
    return await _run(resource, context, "start", script, resource.start_timeout_ms)


async def stop(resource: Resource, context: ResourceContext) -> ResourceOutcome:
    """Run the stop script."""
    script = read(Options, resource.options).stop
    return await _run(resource, context, "stop", script, resource.stop_timeout_ms)


async def migrate(resource: Resource, context: ResourceContext) -> ResourceOutcome:
    """Run the migrate script."""
    script = read(Options, resource.options).migrate
    return await _run(resource, context, "migrate", script, resource.migrate_timeout_ms)


def warm_up() -> None:
    """Find out once what every script is told, and load what places it in its scope."""
    environment(product_environment())
    if os.path.isdir(BOOTED):
        load("dbus_fast.aio")


async def _run(
    resource: Resource, context: ResourceContext, op: str, script: str, timeout_ms: int
) -> ResourceOutcome:
    if not script:
        return ResourceOutcome(ok=True, text=f"{context.group}/{resource.name} has no {op} script")
    result = await context.run(
        Script(
            name=f"{context.group}/{resource.name}",
            path=os.path.join(paths.scripts_dir(), context.group, resource.name, script),
            timeout_ms=timeout_ms,
            environment=script_environment(resource, context),
            grace_ms=FORCED_GRACE_MS if context.forced else GRACE_MS,
        )
    )
    return ResourceOutcome(ok=result.ok, timed_out=result.timed_out, text=result.text)
