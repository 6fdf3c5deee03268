"""Every action the core knows has a hand that carries it out."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from clptools import paths
from clptools.agent.devices import Devices
from clptools.agent.executor import Executor
from clptools.agent.records import Records
from clptools.agent.requests import Replies
from clptools.agent.store import Store
from clptools.core.model import actions, events
from clptools.core.model.durable import Durable, LedgerFile
from clptools.core.model.messages import Beat, Control
from clptools.core.model.requests import Outcome
from clptools.core.model.settings import Group, Resource, Settings
from clptools.hardware.host import Host
from clptools.resources import fip
from clptools.resources.operations import ResourceContext, ResourceOutcome
from clptools.resources.script import ScriptRunner


class Queue:
    """The loop as the executor sees it."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[events.Event] = asyncio.Queue()
        self.timers: dict[str, int] = {}

    def put(self, event: events.Event) -> None:
        self.told.put_nowait(event)

    def set_timer(self, name: str, at: int) -> None:
        self.timers[name] = at

    def clear_timer(self, name: str) -> None:
        self.timers.pop(name, None)


class Net:
    """Heartbeats and control channel that only remember."""

    def __init__(self) -> None:
        self.beats: list[Beat] = []
        self.said: list[tuple[str, Control]] = []

    def send(self, to: Any, message: Any = "") -> None:
        if isinstance(to, Beat):
            self.beats.append(to)
        else:
            self.said.append((to, message))


class Bench:
    """An executor on real files and scripts."""

    def __init__(self) -> None:
        self.store = Store(bytes(16))
        self.store.lock()
        self.store.open()
        worker = ThreadPoolExecutor(1)
        self.replies = Replies()
        self.net = Net()
        self.exits = 0
        self.worker = worker
        self.host = Host("server1")
        self.records = Records("server1", "i", worker)
        devices = Devices(self.net, self.net, ScriptRunner(), self.host)
        self.executor = Executor(
            "server1", self.store, self.records, devices, self.replies, worker,
            stretch=lambda _: None, reincarnate=lambda: None, exit=self.exit,
        )  # fmt: skip
        self.queue = Queue()
        self.executor.loop = self.queue  # type: ignore[assignment]  # a stand-in with its face

    def exit(self) -> None:
        self.exits += 1

    async def answer(self, action: actions.Action) -> events.Event:
        self.executor.perform(action)
        return await self.queue.told.get()


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
async def bench(root: Path) -> AsyncIterator[Bench]:
    bench = Bench()
    yield bench
    await bench.executor.close()


async def test_no_action_is_without_a_handler(bench: Bench) -> None:
    assert set(get_args(actions.Action)) == set(bench.executor._table)


async def test_a_state_that_cannot_be_written_raises_and_a_lost_beat_does_not(bench: Bench) -> None:
    bench.store.close()
    with pytest.raises(OSError):
        bench.executor.perform(actions.Persist(durable=Durable()))
    with pytest.raises(OSError):
        bench.executor.perform(actions.SetMember(member=False))
    bench.net.send = None  # type: ignore[method-assign,assignment]  # a link with a fault
    bench.executor.perform(actions.SendControl(to="server2", message=None))  # type: ignore[arg-type]


async def test_a_resource_runs_its_script_with_what_the_core_says(bench: Bench, root: Path) -> None:
    folder = Path(paths.scripts_dir()) / "failover1/exec1"
    folder.mkdir(parents=True)
    script = folder / "start.sh"
    script.write_text(f'#!/bin/sh\necho "$CLP_EVENT $CLP_SERVER_PREV" > {root}/out\n')
    script.chmod(0o700)
    os.chmod(root, 0o755)

    exec1 = Resource(name="exec1", type="exec", options={"start": "start.sh"})
    group = Group(name="failover1", servers=("server1",), resources=(exec1,))
    bench.executor.apply(Settings(groups=(group,)))
    action = actions.RunResource(
        group="failover1", resource="exec1", op="start", epoch=4, event="FAILOVER",
        factor="", previous="server2",
    )  # fmt: skip
    done = await bench.answer(action)
    assert isinstance(done, events.ResourceDone)
    assert (done.ok, done.op, done.epoch) == (True, "start", 4), done.text
    assert (root / "out").read_text() == "FAILOVER server2\n"
    # The configuration may lose a resource while it still runs: it can still be stopped.
    bench.executor.apply(Settings())
    again = await bench.answer(action)
    assert isinstance(again, events.ResourceDone)
    assert again.ok


@pytest.mark.parametrize("before", ["start", "migrate"])
async def test_a_forced_stop_leaves_a_hung_script_no_time(
    bench: Bench, root: Path, before: str
) -> None:
    folder = Path(paths.scripts_dir()) / "failover1/exec1"
    folder.mkdir(parents=True)
    hung = f"#!/bin/sh\ntrap '' TERM\ntouch {root}/hangs\nwhile :; do sleep 0.05; done\n"
    for name, text in ((before, hung), ("stop", "#!/bin/sh\nexit 0\n")):
        (folder / f"{name}.sh").write_text(text)
        (folder / f"{name}.sh").chmod(0o700)
    os.chmod(root, 0o755)

    options: dict[str, Any] = {op: f"{op}.sh" for op in (before, "stop")}
    exec1 = Resource(name="exec1", type="exec", options=options)
    group = Group(name="failover1", servers=("server1",), resources=(exec1,))
    bench.executor.apply(Settings(groups=(group,)))
    action = actions.RunResource(
        group="failover1", resource="exec1", op=before, epoch=4, event="START", factor=""
    )
    bench.executor.perform(action)
    while not (root / "hangs").exists():
        await asyncio.sleep(0.01)
    began = asyncio.get_running_loop().time()
    bench.executor.perform(msgspec.structs.replace(action, op="stop", forced=True))
    ended = [await bench.queue.told.get(), await bench.queue.told.get()]
    # `self_stop` is 6 s: the 5 s that a script otherwise has after its TERM would use it up.
    assert asyncio.get_running_loop().time() - began < 4
    assert {(x.op, x.ok) for x in ended if isinstance(x, events.ResourceDone)} == {
        (before, False),
        ("stop", True),
    }


async def test_what_a_resource_says_before_its_end_and_what_gave_way_are_told(
    bench: Bench, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its number the core tells which of two operations ended."""

    async def start(resource: Resource, context: ResourceContext) -> ResourceOutcome:
        context.log(f"asked again for {context.macs_off[0]}")
        await asyncio.sleep(1000)
        return ResourceOutcome(ok=True)

    async def stop(resource: Resource, context: ResourceContext) -> ResourceOutcome:
        return ResourceOutcome(ok=True)

    monkeypatch.setattr(fip, "start", start)
    monkeypatch.setattr(fip, "stop", stop)

    fip1 = Resource(name="fip1", type="fip")
    group = Group(name="failover1", servers=("server1",), resources=(fip1,))
    bench.executor.apply(Settings(groups=(group,)))
    action = actions.RunResource(
        group="failover1", resource="fip1", op="start", epoch=4, number=7,
        event="START", factor="", macs_off=("02:00:00:00:00:01",),
    )  # fmt: skip
    assert await bench.answer(action) == events.ResourceSaid(
        group="failover1", resource="fip1", text="asked again for 02:00:00:00:00:01"
    )
    bench.executor.perform(msgspec.structs.replace(action, op="stop", number=8))
    ended = [await bench.queue.told.get(), await bench.queue.told.get()]
    assert [(x.number, x.ok) for x in ended if isinstance(x, events.ResourceDone)] == [
        (7, False),
        (8, True),
    ]


async def test_a_disk_that_is_behind_writes_the_newest_ledger_and_none_of_those_between(
    bench: Bench,
) -> None:
    written: list[int] = []
    hold = threading.Event()
    keep = bench.store.keep_ledger

    def slow(ledger: LedgerFile, now: int, wall: float) -> None:
        hold.wait(10)
        written.append(ledger.next_event)
        keep(ledger, now, wall)

    bench.store.keep_ledger = slow  # type: ignore[method-assign]
    for number in range(1, 6):
        bench.executor.perform(actions.KeepLedger(ledger=LedgerFile(next_event=number)))
        while number == 1 and bench.executor._ledger_queued:
            await asyncio.sleep(0.001)
    hold.set()
    await asyncio.wait(bench.executor._last)
    assert written[-1] == 5
    assert len(written) == 2


async def test_a_resource_nobody_knows_is_not_stopped_and_says_so(bench: Bench) -> None:
    done = await bench.answer(
        actions.RunResource(
            group="old", resource="exec9", op="stop", epoch=1, event="START", factor="GROUPSTOP"
        )
    )
    assert isinstance(done, events.ResourceDone)
    assert not done.ok
    assert "not in the configuration any more" in done.text


async def test_without_a_bmc_power_is_unknown_and_no_fence_counts(bench: Bench) -> None:
    read = await bench.answer(actions.ReadPower(server="server2"))
    assert isinstance(read, events.PowerRead)
    assert (read.power, read.error) == ("unknown", "no BMC configured")
    fence = actions.Fence(server="server2", action="power-off", ordered_at=0)
    done = await bench.answer(fence)
    assert isinstance(done, events.FenceDone)
    assert (done.sent, done.error) == (False, "no BMC configured")


async def test_who_asked_hears_each_step_and_the_end(bench: Bench) -> None:
    steps: list[str] = []

    def begin() -> None:
        bench.executor.perform(actions.Progress(id="1", text="stopping"))
        bench.executor.perform(actions.Progress(id="2", text="of somebody else"))
        bench.executor.perform(actions.Reply(id="1", outcome=Outcome(text="moved")))
        bench.executor.perform(actions.Reply(id="1", outcome=Outcome(text="twice")))

    outcome = await bench.replies.wait("1", begin, steps.append)
    assert outcome.text == "moved"
    assert steps == ["stopping"]


def ends_host(root: Path) -> str:
    """An `action_command` that notes what the alert log said when the host would have ended."""
    script = root / "end.sh"
    script.write_text(f"#!/bin/sh\ncp {paths.alert_log_file()} {root}/said\n")
    script.chmod(0o700)
    os.chmod(root, 0o755)
    return str(script)


async def test_why_this_host_is_reset_is_in_the_alert_log_before_it_is(
    bench: Bench, root: Path
) -> None:
    bench.host.command = ends_host(root)
    text = "Final action of mrw1 on server1: sysrq-panic."
    bench.executor.perform(
        actions.Record(module="rm", event_id=15, level="ERROR", subjects=(), text=text)
    )
    done = await bench.answer(actions.HostAction(action="sysrq-panic", reason="mrw1"))
    assert isinstance(done, events.HostActionDone)
    assert done.ok, done.text
    assert text in (root / "said").read_text()


async def test_a_disk_that_hangs_does_not_hold_up_the_reset(bench: Bench, root: Path) -> None:
    disk = threading.Event()
    bench.host.command = ends_host(root)
    Path(paths.alert_log_file()).parent.mkdir(parents=True)
    Path(paths.alert_log_file()).write_text("before\n")
    bench.worker.submit(disk.wait)
    try:
        done = await bench.answer(actions.HostAction(action="reboot", reason="mrw1"))
    finally:
        disk.set()
    assert isinstance(done, events.HostActionDone)
    assert done.ok, done.text
