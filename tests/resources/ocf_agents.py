"""Agents of the tests' own, below the node's root, and how their resources are carried out."""

from __future__ import annotations

import asyncio
from pathlib import Path

from clptools.core.model.settings import Option, Resource
from clptools.core.model.words import Operation
from clptools.resources import ocf
from clptools.resources.ocf import Health
from clptools.resources.operations import ResourceContext, ResourceOutcome
from clptools.resources.registry import perform
from clptools.resources.script import ScriptRunner

META = """<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name="{name}" version="1.0">
<shortdesc lang="en">An agent of the tests</shortdesc>
<parameters>
<parameter name="device" required="1"><content type="string" default=""/></parameter>
<parameter name="passwd"><content type="string"/></parameter>
<parameter name="force"><content type="boolean" default="false"/></parameter>
<parameter name="port"><content type="integer" default="80"/></parameter>
<parameter name="mode"><content type="select" default="rw">
<option value="rw"/><option value="ro"/></content></parameter>
<parameter name="disk" deprecated="1"><content type="string"/></parameter>
</parameters>
<actions>
<action name="start" timeout="60s"/><action name="stop" timeout="40s"/>
<action name="monitor" timeout="30s" interval="10s" depth="0"/>
<action name="monitor" timeout="30s" interval="60s" depth="10"/>
<action name="validate-all" timeout="5s"/>
</actions>
</resource-agent>
"""


def make_agent(root: Path, name: str, body: str, meta: str = META) -> Path:
    """`ocf:test:NAME`, which runs `body` with the action in `$1`; it notes its actions."""
    path = root / "usr/lib/ocf/resource.d/test" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    printed = f"cat <<'E'\n{meta.format(name=name)}E\n" if meta else ""
    # Whole at once, as a package's update is: somebody may run it meanwhile.
    part = path.with_name(f".{name}")
    part.write_text(
        f'#!/bin/sh\nif [ "$1" = meta-data ]; then\n{printed}exit 0\nfi\n'
        f'echo "$1" >>{root}/actions\n{body}\n'
    )
    part.chmod(0o755)
    part.rename(path)
    return path


def actions(root: Path) -> list[str]:
    """What agents of the tests were asked to do, in order."""
    file = root / "actions"
    return file.read_text().split() if file.exists() else []


def resource(
    agent: str,
    parameters: dict[str, str] | None = None,
    *,
    name: str = "ocf1",
    timeout_ms: int = 60_000,
    start_retries: int = 0,
    **options: Option,
) -> Resource:
    """A resource of that agent."""
    return Resource(
        name=name,
        type="ocf",
        start_timeout_ms=timeout_ms,
        stop_timeout_ms=timeout_ms,
        start_retries=start_retries,
        options={"agent": agent, "parameters": parameters or {}, **options},
    )


def context(runner: ScriptRunner, remarks: list[str] | None = None) -> ResourceContext:
    """As the agent makes it."""
    return ResourceContext(
        server="server1",
        group="failover1",
        event="START",
        run=runner.run,
        end=runner.end,
        log=(remarks if remarks is not None else []).append,
    )


def carry_out(
    op: str, one: Resource, lines: list[str] | None = None, remarks: list[str] | None = None
) -> ResourceOutcome:
    """One operation, in a loop of its own."""

    async def main() -> ResourceOutcome:
        heard = lines if lines is not None else []
        runner = ScriptRunner(log=lambda name, line: heard.append(line), grace_ms=200)
        return await perform(one, Operation(op), context(runner, remarks))

    return asyncio.run(main())


def health(one: Resource, *, probe: bool = False, timeout_ms: int = 60_000) -> Health:
    """What its monitor finds, or a probe."""

    async def main() -> Health:
        found = context(ScriptRunner(grace_ms=200))
        ask = ocf.probe if probe else ocf.monitor
        return await ask(one, found, timeout_ms)

    return asyncio.run(main())
