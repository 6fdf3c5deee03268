"""`userw`: an agent that stands still is noticed by a second process, in time."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from clptools.core.model.events import WatchdogChanged
from clptools.core.model.settings import Cluster, Monitor, Server, Settings
from clptools.faults import ClpError, ExitCode
from clptools.monitors import guard
from clptools.monitors.softdog import (
    WDIOC_GETTIMEOUT,
    WDIOC_KEEPALIVE,
    WDIOC_SETTIMEOUT,
    Softdog,
    find,
)
from clptools.monitors.userw import Watchdog
from tests.conftest import BUSY_S, LIMIT_S, until, wait_until

TIMEOUT_MS = 600


def boot_ms() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def settings(method: str, guard_action: str = "reboot", command: str = "") -> Settings:
    options = {"method": method, "guard_action": guard_action}
    return Settings(
        cluster=Cluster(action_command=command),
        servers=(Server(name="server1"),),
        monitors=(
            Monitor(name="userw", type="userw", servers=("server1",), options=dict(options)),
        ),
    )


@pytest.fixture
def fired(node_root: Path) -> Path:
    """The file that the action writes: when it ran (CLOCK_BOOTTIME in ms), and its arguments."""
    command = node_root / "act"
    command.write_text(
        f"#!{sys.executable} -IS\nimport sys, time, os\n"
        "now = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000\n"
        f"open('{node_root}/tmp', 'w').write(f'{{now}} ' + ' '.join(sys.argv[1:]))\n"
        f"os.rename('{node_root}/tmp', '{node_root}/fired')\n"
    )
    command.chmod(0o755)
    return node_root / "fired"


@pytest.fixture(autouse=True)
def no_guard_stays(node_root: Path) -> Iterator[None]:
    yield
    for pid in guards(node_root):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def guards(root: Path) -> list[int]:
    """Guard processes that listen in this node's run directory."""
    inodes = set()
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        words = line.split()
        if len(words) == 8 and words[7].endswith("guard.sock"):
            inodes.add(f"socket:[{words[6]}]")
    found = []
    for proc in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if (
                not proc.name.isdigit()
                or b"monitors/guard.py" not in (proc / "cmdline").read_bytes()
            ):
                continue
            fds = {os.readlink(fd) for fd in (proc / "fd").iterdir()}
            if fds & inodes and int(proc.name) in _ours:
                found.append(int(proc.name))
    return found


_ours: set[int] = set()


@pytest.fixture(autouse=True)
def remember_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only guards that this test started are ever touched."""
    _ours.clear()
    popen = subprocess.Popen

    class Remembering(popen):  # type: ignore[type-arg,misc,valid-type]
        def __init__(self, *args: object, **kwargs: object) -> None:
            super().__init__(*args, **kwargs)
            _ours.add(self.pid)

    monkeypatch.setattr(subprocess, "Popen", Remembering)


def watchdog(changes: list[WatchdogChanged], configured: Settings) -> Watchdog:
    one = Watchdog("server1", now=boot_ms, changed=changes.append)
    one.apply(configured)
    return one


async def test_fed_it_sleeps_unfed_it_acts_after_the_timeout(fired: Path, node_root: Path) -> None:
    changes: list[WatchdogChanged] = []
    dog = watchdog(changes, settings("guard", str(node_root / "act")))
    armed = await dog.arm(TIMEOUT_MS, "guard")
    assert armed.armed and armed.method == "guard" and dog.armed
    last = boot_ms()
    for _ in range(3 * TIMEOUT_MS // 100):
        await asyncio.sleep(0.1)
        dog.pet()
        last = boot_ms()
    assert not fired.exists()
    await until(fired.exists)
    await until(lambda: changes)
    # The guard that acted is replaced, because the cluster still wants one.
    await until(lambda: dog.armed)
    await dog.disarm()
    when, *arguments = fired.read_text().split()
    assert arguments == ["reboot", "server1"]
    assert TIMEOUT_MS <= int(when) - last < 3 * TIMEOUT_MS + 1_000 * BUSY_S
    assert not changes[0].armed and "not fed in time" in changes[0].text


FEEDER = """
import asyncio, sys, time
from clptools.core.model.settings import *
from clptools.monitors.userw import Watchdog
def now(): return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
async def main():
    dog = Watchdog("server1", now=now, changed=print)
    dog.apply(Settings(servers=(Server(name="server1"),), monitors=(Monitor(name="userw",
        type="userw", servers=("server1",),
        options={"method": "guard", "guard_action": sys.argv[1]}),)))
    print((await dog.arm(int(sys.argv[2]), "guard")).armed, flush=True)
    while True:
        dog.pet()
        await asyncio.sleep(0.05)
asyncio.run(main())
"""


@contextlib.contextmanager
def feeder(command: Path, timeout_ms: int) -> Iterator[subprocess.Popen[str]]:
    agent = subprocess.Popen(
        [sys.executable, "-c", FEEDER, str(command), str(timeout_ms)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert agent.stdout is not None and agent.stdout.readline() == "True\n"
    try:
        yield agent
    finally:
        agent.kill()
        agent.wait()


def test_a_stopped_agent_is_noticed(fired: Path, node_root: Path) -> None:
    with feeder(node_root / "act", TIMEOUT_MS) as agent:
        agent.send_signal(signal.SIGSTOP)
        stopped = boot_ms()
        wait_until(fired.exists)
    assert int(fired.read_text().split()[0]) - stopped < 3 * TIMEOUT_MS + 1_000 * BUSY_S


async def test_a_killed_agent_has_until_the_deadline_to_come_back(
    fired: Path, node_root: Path
) -> None:
    timeout_ms = 5_000
    with feeder(node_root / "act", timeout_ms):
        pass
    killed = boot_ms()

    dog = watchdog([], settings("guard", str(node_root / "act")))
    assert (await dog.arm(timeout_ms, "guard")).armed
    assert not guards(node_root), "the guard that runs is taken over, not doubled"
    while boot_ms() < killed + timeout_ms * 3 // 2:
        dog.pet()
        await asyncio.sleep(0.05)
    assert not fired.exists()
    assert not (await dog.disarm()).armed
    await asyncio.sleep(0.2)
    assert not fired.exists()


async def test_arming_over_and_over_does_not_put_the_deadline_off(
    fired: Path, node_root: Path
) -> None:
    """Agents that crash and start again without a lease must not keep the server up."""
    began = boot_ms()
    while True:
        assert boot_ms() - began < 1_000 * LIMIT_S, "each arming put it off"
        dog = watchdog([], settings("guard", str(node_root / "act")))
        armed = (await dog.arm(TIMEOUT_MS, "guard")).armed
        dog.close()
        if fired.exists() or not armed:  # it fired, or ends because it fires just now
            break
        await asyncio.sleep(0.05)
    await until(fired.exists)
    # What the last arming started anew, if anything.
    await dog.disarm()


async def test_disarmed_it_ends_and_leaves_no_zombie(fired: Path, node_root: Path) -> None:
    dog = watchdog([], settings("guard", str(node_root / "act")))
    for _ in range(2):
        assert (await dog.arm(TIMEOUT_MS, "guard")).armed
        assert len(guards(node_root)) == 1
        assert not (await dog.disarm()).armed
        assert guards(node_root) == []
        assert all(not Path(f"/proc/{pid}").exists() for pid in _ours)
    await asyncio.sleep(1.5 * TIMEOUT_MS / 1000)
    assert not fired.exists()


async def test_a_killed_guard_is_told_and_replaced(fired: Path, node_root: Path) -> None:
    changes: list[WatchdogChanged] = []
    dog = watchdog(changes, settings("guard", str(node_root / "act")))
    await dog.arm(20_000, "guard")
    (pid,) = guards(node_root)
    os.kill(pid, signal.SIGTERM)
    await asyncio.sleep(0.1)
    assert guards(node_root) == [pid], "only an order or SIGKILL ends it"
    os.kill(pid, signal.SIGKILL)
    await until(lambda: len(changes) == 2)
    assert dog.armed
    await dog.disarm()
    gone, back = changes
    assert not gone.armed and "guard process ended" in gone.text
    assert back.armed and not fired.exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may lock memory and take priority")
async def test_it_is_small_locked_and_of_high_priority(node_root: Path, fired: Path) -> None:
    dog = watchdog([], settings("guard", str(node_root / "act")))
    armed = await dog.arm(20_000, "guard")
    (pid,) = guards(node_root)
    status = Path(f"/proc/{pid}/status").read_text()
    policy = os.sched_getscheduler(pid)
    assert armed.text == "", armed.text
    assert os.getsid(pid) == pid
    await dog.disarm()
    values = dict(line.split(":", 1) for line in status.splitlines())
    assert policy & ~os.SCHED_RESET_ON_FORK == os.SCHED_FIFO
    assert int(values["VmLck"].split()[0]) > 0
    assert int(values["VmRSS"].split()[0]) < 30_000


def arm(configured: Settings) -> WatchdogChanged:
    async def main() -> WatchdogChanged:
        method = str(configured.monitors[0].options["method"])
        return await watchdog([], configured).arm(TIMEOUT_MS, method)

    return asyncio.run(main())


def test_what_cannot_be_armed_says_why_and_what_to_do(node_root: Path) -> None:
    none = arm(settings("none"))
    assert not none.armed and "no lease proof" in none.text
    below = arm(settings("guard"))
    assert not below.armed and "action_command" in below.text
    missing = arm(settings("guard", "/no/such/command"))
    assert not missing.armed and "/no" in missing.text
    ipmi = arm(settings("ipmi"))
    assert not ipmi.armed and "[server.bmc]" in ipmi.text
    softdog = arm(settings("softdog"))
    assert not softdog.armed and "leaves its machine's watchdog alone" in softdog.text


async def test_what_cannot_be_armed_anew_is_fed_as_it_was(node_root: Path) -> None:
    """A push changes the time-out and the BMC does not answer: its timer still runs."""

    class Silent(Timer):
        answers = True

        async def arm(self, timeout_ms: int, failed: Callable[[str], None]) -> str:
            if not self.answers:
                raise ClpError(ExitCode.FAILED, "no answer")
            return await super().arm(timeout_ms, failed)

    timer = Silent()
    dog = watchdog([], settings("ipmi"))
    dog.bmc_timer = timer
    assert (await dog.arm(3_000, "ipmi")).armed
    timer.answers = False
    assert not (await dog.arm(4_000, "ipmi")).armed
    dog.pet()
    outcome = timer
    assert outcome.log == ["armed", "fed"]


class Timer:
    """The own BMC's timer, as `hardware.watchdog.OwnTimer` shows it."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.failed: Callable[[str], None] = print

    async def arm(self, timeout_ms: int, failed: Callable[[str], None]) -> str:
        self.log.append("armed")
        self.failed = failed
        return "armed"

    def pet(self) -> None:
        self.log.append("fed")

    async def disarm(self) -> None:
        self.log.append("disarmed")


class Dog:
    """A watchdog device as the driver shows it."""

    def __init__(self, least: int = 1) -> None:
        self.least, self.timeout, self.fed = least, 60, 0
        self.fault = 0

    def __call__(self, fd: int, request: int, data: bytes) -> bytes:
        if self.fault:
            raise OSError(self.fault, os.strerror(self.fault))
        if request == WDIOC_SETTIMEOUT:
            self.timeout = max(self.least, struct.unpack("i", data)[0])
        elif request == WDIOC_KEEPALIVE:
            self.fed += 1
        else:
            assert request == WDIOC_GETTIMEOUT
        return struct.pack("i", self.timeout)


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in place of a watchdog device, which this node may use."""
    monkeypatch.setattr("clptools.monitors.softdog.paths", SimpleNamespace(root=lambda: ""))
    made = tmp_path / "watchdog"
    made.touch()
    return made


def with_devices(changes: list[WatchdogChanged], device: Path) -> tuple[Watchdog, Dog, Timer]:
    dog, timer = Dog(), Timer()
    made = watchdog(changes, settings("softdog"))
    made._softdog = Softdog(str(device), dog)
    made.bmc_timer = timer
    return made, dog, timer


async def test_a_feeding_that_the_bmc_does_not_confirm_takes_the_promise_back_at_once(
    device: Path,
) -> None:
    changes: list[WatchdogChanged] = []
    one, _, timer = with_devices(changes, device)
    assert (await one.arm(3_000, "ipmi")).armed
    for _ in range(2):
        timer.failed("BMC of server1: no answer")
    assert not one.armed
    (told,) = changes
    assert (told.armed, told.method) == (False, "ipmi")
    assert "cannot be fed: BMC of server1: no answer" in told.text
    one.pet()
    assert timer.log[-1] == "fed", "it may run still"
    assert (await one.arm(3_000, "ipmi")).armed


async def test_a_write_that_fails_and_a_device_that_disappears_are_told(device: Path) -> None:
    changes: list[WatchdogChanged] = []
    one, dog, _ = with_devices(changes, device)
    assert (await one.arm(3_000, "softdog")).armed
    dog.fault = errno.EIO
    for _ in range(2):
        one.pet()
    assert not one.armed
    (told,) = changes
    assert not told.armed
    assert f"cannot be fed: {device}: Input/output error" in told.text
    dog.fault = 0
    before = dog.fed
    one.pet()
    assert dog.fed == before + 1, "it runs still"
    assert (await one.arm(3_000, "softdog")).armed
    dog.fault = errno.ENODEV
    one.pet()
    assert f"{device}: No such device" in changes[-1].text
    one.pet()
    assert len(changes) == 2
    dog.fault = 0
    assert (await one.arm(3_000, "softdog")).armed, "another device came in its place"
    assert device.read_text() == ""
    one.close()


async def test_another_method_is_armed_before_the_old_one_ends(device: Path) -> None:
    one, dog, timer = with_devices([], device)
    assert (await one.arm(3_000, "softdog")).armed
    ended: list[str] = []

    async def seen(timeout_ms: int, failed: Callable[[str], None]) -> str:
        ended.append(device.read_text())
        return ""

    timer.arm = seen  # type: ignore[method-assign]
    assert (await one.arm(3_000, "ipmi")).armed
    assert ended == [""], "the old one ran until the new one was armed"
    assert device.read_text() == "V"

    assert (await one.arm(3_000, "softdog")).armed
    assert timer.log[-1] == "disarmed"

    async def refused(timeout_ms: int, failed: Callable[[str], None]) -> str:
        raise ClpError(ExitCode.FAILED, "no answer")

    timer.arm = refused  # type: ignore[method-assign]
    device.write_text("")
    assert not (await one.arm(3_000, "ipmi")).armed
    before = dog.fed
    one.pet()
    assert (dog.fed, device.read_text()) == (before + 1, ""), "the old one runs, and is fed"
    one.close()


async def test_a_configuration_alone_changes_nothing_that_is_armed(device: Path) -> None:
    one, dog, timer = with_devices([], device)
    assert (await one.arm(3_000, "softdog")).armed
    for later in (settings("ipmi"), settings("none"), Settings()):
        one.apply(later)
        assert one.armed
        before = dog.fed
        one.pet()
        assert dog.fed == before + 1
    assert device.read_text() == ""
    assert timer.log.count("armed") == 0
    assert not (await one.disarm()).armed
    assert device.read_text() == "V"


async def test_an_agent_that_restarts_opens_no_device_and_leaves_its_deadline(device: Path) -> None:
    """Opening it would feed it, though the lease may be over."""
    first, _, _ = with_devices([], device)
    assert (await first.arm(3_000, "softdog")).armed
    first.close()
    assert device.read_text() == "", "no magic letter: it runs on"

    second, dog, timer = with_devices([], device)
    second.apply(settings("softdog"))
    second.pet()
    assert (dog.fed, second._softdog._fd) == (0, -1)
    second.close()
    assert device.read_text() == ""

    third, _, timer = with_devices([], device)
    assert (await third.arm(3_000, "ipmi")).armed
    assert device.read_text() == "V", "what the first left ends once another is armed"
    third.close()
    device.write_text("")

    fourth, _, timer = with_devices([], device)
    assert not (await fourth.disarm()).armed
    assert timer.log == ["disarmed"]
    assert device.read_text() == "", "what never ran is not opened"


async def test_a_time_out_that_is_refused_leaves_the_watchdog_as_it_was(device: Path) -> None:
    one, dog, _ = with_devices([], device)
    assert (await one.arm(3_000, "softdog")).armed
    dog.least = 10
    refused = await one.arm(4_000, "softdog")
    assert not refused.armed
    assert "only 10 s" in refused.text
    assert device.read_text() == "", "it was not stopped"
    before = dog.fed
    one.pet()
    assert dog.fed == before + 1
    one.close()


async def test_a_guard_in_place_of_one_that_was_killed_keeps_its_deadline(
    fired: Path, node_root: Path
) -> None:
    """It is no feeding: the lease may be over since the last one."""
    changes: list[WatchdogChanged] = []
    dog = watchdog(changes, settings("guard", str(node_root / "act")))

    async def deadline() -> int:
        # One that is armed keeps its deadline and tells it.
        return int((await dog._guard._ask(f"arm\x0020000\x000\x00{node_root}/act"))[1])

    await dog.arm(20_000, "guard")
    before = await deadline()
    (pid,) = guards(node_root)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: len(changes) == 2)
    assert [change.armed for change in changes] == [False, True]
    assert await deadline() == before
    await dog.disarm()
    assert not fired.exists()


async def test_a_guard_that_stands_still_is_told(fired: Path, node_root: Path) -> None:
    changes: list[WatchdogChanged] = []
    dog = watchdog(changes, settings("guard", str(node_root / "act")))
    await dog.arm(20_000, "guard")
    dog.pet()
    (pid,) = guards(node_root)
    await until(lambda: dog._guard._confirms)
    dog._guard._timeout_ms = 400
    os.kill(pid, signal.SIGSTOP)

    def told() -> bool:
        dog.pet()
        return bool(changes)

    await until(told)
    assert not dog.armed
    assert "the guard process does not answer" in changes[0].text
    os.kill(pid, signal.SIGCONT)
    assert (await dog.arm(20_000, "guard")).armed
    await dog.disarm()
    assert not fired.exists()


def test_an_action_that_hangs_is_killed_and_tried_again(
    node_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = node_root / "hangs"
    command.write_text(
        f"#!/bin/sh\n[ -e {node_root}/once ] && exit 0\necho $$ >{node_root}/once\nsleep 1000\n"
    )
    command.chmod(0o755)
    one = guard.Guard()
    one.message(b"arm\x00500\x001500\x00" + str(command).encode(), 1_000)
    assert one.due(1_500) and not one.act(1_500)
    wait_until(lambda: (node_root / "once").exists() and (node_root / "once").read_text())
    assert not one.act(1_600), "it goes on listening while the command runs"
    assert one.sleep_ms(1_600) == guard.SLICE_MS
    assert one.message(b"pet\x002000", 1_700) == b"fed"
    assert one.due(1_700), "it looks after the command all the same"
    over = 1_500 + guard.ACTION_MS
    assert not one.act(over)
    hung = Path(f"/proc/{(node_root / 'once').read_text().strip()}/stat")
    wait_until(lambda: not hung.exists() or " Z " in hung.read_text())
    assert not one.due(over + 1) and one.due(over + guard.RETRY_MS)
    later = over + guard.RETRY_MS

    def ended() -> bool:
        return one.act(later)

    wait_until(ended)
    assert one.over


async def test_keepalive_is_the_guard_and_action_command_stands_in_for_a_reboot(
    fired: Path, node_root: Path
) -> None:
    dog = watchdog([], settings("keepalive", command=str(node_root / "act")))
    assert (await dog.arm(TIMEOUT_MS, "guard")).method == "guard"
    await until(fired.exists)
    await dog.disarm()
    assert fired.read_text().split()[1:] == ["reboot", "server1"]


def test_without_a_command_the_guard_resets_by_sysrq_and_tries_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger, kmsg = tmp_path / "sysrq-trigger", tmp_path / "kmsg"
    trigger.touch()
    kmsg.touch()
    monkeypatch.setattr(guard, "reboot", lambda: -1)
    one = guard.Guard()
    one.reset = guard.Reset(str(trigger), str(kmsg))
    assert one.message(b"arm\x00500\x001500", 1_000).startswith(b"armed\x001500")
    assert not one.due(1_499) and one.due(1_500)
    assert not one.act(1_500)
    assert trigger.read_text() == "b" and "not fed for 500 ms" in kmsg.read_text()
    assert not one.due(2_000) and one.due(2_500)
    assert one.message(b"disarm", 2_600) == b"disarmed" and not one.due(9_999)


def test_a_guard_takes_no_deadline_beyond_its_timeout_and_no_nonsense() -> None:
    one = guard.Guard()
    assert one.message(b"pet\x005000", 0) == b"" and one.deadline is None
    one.message(b"arm\x00500\x00999999\x00/bin/true", 1_000)
    assert one.deadline == 1_500
    one.message(b"pet\x00999999", 1_200)
    assert one.deadline == 1_700
    for nonsense in (b"pet\x00x", b"pet", b"arm", b"\xff", b"", b"hello"):
        with contextlib.suppress(ValueError, IndexError):
            assert one.message(nonsense, 1_200) == b""
    assert one.deadline == 1_700


def test_softdog_counts_whole_seconds_and_stops_on_the_magic_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLP_ROOT")
    device = tmp_path / "watchdog"
    device.touch()
    dog = Dog()
    softdog = Softdog(str(device), dog)
    assert softdog.arm(2_700).endswith("2 s")
    softdog.pet()
    assert dog.fed == 2
    softdog.disarm()
    assert device.read_text() == "V"
    softdog.pet()
    assert dog.fed == 2
    with pytest.raises(ClpError, match="below one"):
        softdog.arm(900)
    slow = Softdog(str(device), Dog(least=10))
    with pytest.raises(ClpError, match="only 10 s"):
        slow.arm(2_700)
    with pytest.raises(ClpError, match="there is no"):
        Softdog(str(tmp_path / "none")).arm(2_700)


@pytest.mark.skipif(not os.path.exists("/dev/watchdog"), reason="this machine has no /dev/watchdog")
def test_the_real_device_is_opened_and_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CLP_ROOT")
    softdog = Softdog()
    softdog.arm(60_000)
    softdog.pet()
    softdog.disarm()


def test_softdog_is_found_whatever_its_number(tmp_path: Path) -> None:
    for number, identity in enumerate(("iTCO_wdt", "Software Watchdog")):
        (tmp_path / f"watchdog{number}").mkdir()
        (tmp_path / f"watchdog{number}" / "identity").write_text(f"{identity}\n")
    assert find(str(tmp_path)) == "/dev/watchdog1"
    assert find(str(tmp_path / "watchdog0")) == ""


def test_a_timer_that_refuses_the_time_out_names_the_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CLP_ROOT")

    def refuses(_fd: int, code: int, _argument: bytes) -> bytes:
        if code == WDIOC_SETTIMEOUT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return b""

    device = tmp_path / "watchdog"
    device.touch()
    with pytest.raises(ClpError) as fault:
        Softdog(str(device), refuses).arm(2_700)
    assert fault.value.message == f"{device} takes no timeout of 2 s"
    assert "modprobe softdog" in fault.value.hint
