"""`exec`: the scripts of a group resource and what they are told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
from pathlib import Path

import pytest

from clptools.core.model.settings import Option, Resource
from clptools.resources import exec as exec_
from clptools.resources import operations, registry
from clptools.resources.operations import ResourceContext, ResourceOutcome
from clptools.resources.registry import perform
from clptools.resources.script import ScriptRunner
from tests.conftest import LIMIT_S, until
from tests.resources.conftest import MakeScript


def resource(**options: Option) -> Resource:
    return Resource(
        name="exec1",
        type="exec",
        start_timeout_ms=20_000,
        stop_timeout_ms=500,
        migrate_timeout_ms=500,
        options={"start": "start.sh", "stop": "stop.sh", **options},
    )


def carry_out(op: str, lines: list[str] | None = None, **options: Option) -> ResourceOutcome:
    heard: list[str] = [] if lines is None else lines

    async def main() -> ResourceOutcome:
        runner = ScriptRunner(log=lambda name, line: heard.append(line), grace_ms=200)
        context = ResourceContext(
            server="server2",
            group="failover1",
            event="FAILOVER",
            factor="GROUPMOVE",
            previous="server1",
            priority=2,
            run=runner.run,
        )
        return await perform(resource(**options), op, context)

    return asyncio.run(main())


def test_scripts_lie_under_the_group_and_the_resource(make_script: MakeScript) -> None:
    make_script("failover1/exec1/start.sh", "exit 0\n")
    assert carry_out("start").ok
    absolute = make_script("elsewhere.sh", "exit 0\n")
    assert carry_out("start", start=absolute).ok


def test_a_script_knows_why_it_runs(make_script: MakeScript) -> None:
    make_script("failover1/exec1/stop.sh", "/usr/bin/env\n")
    lines: list[str] = []
    assert carry_out("stop", lines).ok
    told = dict(line.split("=", 1) for line in lines)
    expected = {
        "CLP_EVENT": "FAILOVER",
        "CLP_FACTOR": "GROUPMOVE",
        "CLP_SERVER": "OTHER",
        "CLP_GROUPNAME": "failover1",
        "CLP_RESOURCENAME": "exec1",
        "CLP_PRIORITY": "2",
        "CLP_SERVER_PREV": "server1",
        "CLP_DISK": "SUCCESS",
        "CLP_PATH": sys.prefix,
        "CLP_NODE": "server1",
        "CLP_ROOT": os.environ["CLP_ROOT"],
    }
    assert {k: told.get(k) for k in expected} == expected
    assert told["CLP_VERSION_FULL"].startswith(told["CLP_VERSION_MAJOR"] + ".")
    assert told["CLP_OSNAME"] and told["CLP_OSVER"]


def test_failure_time_out_and_a_missing_script_become_outcomes(make_script: MakeScript) -> None:
    make_script("failover1/exec1/start.sh", "echo no licence; exit 7\n")
    make_script("failover1/exec1/stop.sh", "sleep 100\n")
    failed = carry_out("start")
    assert not failed.ok and "exit status 7" in failed.text and "no licence" in failed.text
    hung = carry_out("stop")
    assert not hung.ok and hung.timed_out
    missing = carry_out("start", start="other.sh")
    assert not missing.ok and "other.sh" in missing.text and "failover1/exec1" in missing.text


async def test_a_forced_stop_does_not_wait_for_a_hung_start(
    make_script: MakeScript, tmp_path: Path
) -> None:
    deaf = tmp_path / "deaf"
    make_script(
        "failover1/exec1/start.sh", f"trap '' TERM; touch {deaf}; while :; do sleep 0.05; done\n"
    )
    make_script("failover1/exec1/stop.sh", "exit 0\n")

    runner = ScriptRunner(grace_ms=60_000)
    context = ResourceContext(
        server="server1", group="failover1", event="START", run=runner.run, forced=True
    )
    hung = asyncio.create_task(perform(resource(), "start", context))
    await until(deaf.exists)
    began = asyncio.get_running_loop().time()
    assert (await perform(resource(), "stop", context)).ok
    assert not (await hung).ok
    # The grace of a stop that is not forced is a minute.
    assert asyncio.get_running_loop().time() - began < 30


async def test_a_stop_without_a_script_ends_a_start_that_still_runs(
    make_script: MakeScript,
) -> None:
    make_script("failover1/exec1/start.sh", "sleep 1000\n")

    runner = ScriptRunner()
    context = ResourceContext(
        server="server1", group="failover1", event="START", run=runner.run, end=runner.end
    )
    hung = asyncio.create_task(perform(resource(stop=""), "start", context))
    async with asyncio.timeout(LIMIT_S):
        while not runner.running:
            await asyncio.sleep(0.01)
    assert (await perform(resource(stop=""), "stop", context)).ok
    assert not runner.running and not runner.leftovers()
    assert not (await hung).ok


async def test_what_cannot_be_ended_makes_the_stop_fail(
    make_script: MakeScript, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can tell what it still does: it counts as active."""
    monkeypatch.setattr(operations, "ENDS_S", 0.05)

    async def stuck(resource: Resource, context: ResourceContext) -> ResourceOutcome:
        began.set()
        while not over.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await over.wait()
        return ResourceOutcome(ok=True)

    began, over = asyncio.Event(), asyncio.Event()
    monkeypatch.setattr(exec_, "start", stuck)
    registry._warm_up("exec")
    context = ResourceContext(
        server="server1", group="failover1", event="START", run=ScriptRunner().run
    )
    start = asyncio.create_task(perform(resource(stop=""), "start", context))
    await began.wait()
    for _ in range(2):  # whoever comes later must know of it as well
        stop = await perform(resource(stop=""), "stop", context)
        assert not stop.ok and "failover1/exec1" in stop.text and "start" in stop.text
    over.set()
    await start
    assert (await perform(resource(stop=""), "stop", context)).ok


def test_a_migrate_script_is_run_like_the_others(make_script: MakeScript) -> None:
    make_script("failover1/exec1/migrate.sh", 'echo "$CLP_FACTOR of $CLP_RESOURCENAME"\n')
    lines: list[str] = []
    assert carry_out("migrate", lines, migrate="migrate.sh").ok
    assert lines == ["GROUPMOVE of exec1"]
    make_script("failover1/exec1/migrate.sh", "sleep 100\n")
    hung = carry_out("migrate", migrate="migrate.sh")
    assert not hung.ok and hung.timed_out
    missing = carry_out("migrate", migrate="other.sh")
    assert not missing.ok and "other.sh" in missing.text
    loose = make_script("failover1/exec1/loose.sh", "exit 0\n")
    os.chmod(loose, 0o777)
    untrusted = carry_out("migrate", migrate="loose.sh")
    assert not untrusted.ok and "loose.sh" in untrusted.text


async def test_a_start_in_the_background_goes_on_and_the_stop_script_ends_it(
    make_script: MakeScript, tmp_path: Path
) -> None:
    pid, told = tmp_path / "pid", tmp_path / "told"
    make_script(
        "failover1/exec1/start.sh",
        f"trap 'echo ended > {told}; exit 0' TERM\necho $$ > {pid}\nwhile :; do sleep 0.05; done\n",
    )
    make_script("failover1/exec1/stop.sh", f"kill $(cat {pid})\n")
    heard: list[str] = []
    runner = ScriptRunner(log=lambda name, line: heard.append(line), grace_ms=200)
    context = ResourceContext(server="server2", group="failover1", event="START", run=runner.run)
    started = await perform(resource(background=True), "start", context)
    assert started.ok and "goes on in the background" in started.text
    assert runner.running == () and runner.leftovers() == ()
    await until(lambda: pid.exists() and pid.read_text().strip().isdigit())
    number = int(pid.read_text())
    assert (await perform(resource(background=True), "stop", context)).ok
    await until(lambda: told.exists() and not os.path.exists(f"/proc/{number}"))
    runner.close()


def test_no_stop_script_is_a_stop() -> None:
    assert carry_out("stop", stop="").ok


async def test_what_a_start_needs_is_loaded_while_the_agent_goes_on(
    make_script: MakeScript, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_script("failover1/exec1/start.sh", "exit 0\n")
    agent_goes_on = threading.Event()
    monkeypatch.setattr(registry, "_warm", set())
    seen: list[bool] = []
    monkeypatch.setattr(exec_, "warm_up", lambda: seen.append(agent_goes_on.wait(10)))

    asyncio.get_running_loop().call_later(0.01, agent_goes_on.set)
    runner = ScriptRunner(log=lambda name, line: None, grace_ms=200)
    context = ResourceContext(server="server1", group="failover1", event="START", run=runner.run)
    assert (await perform(resource(), "start", context)).ok
    assert seen == [True]
