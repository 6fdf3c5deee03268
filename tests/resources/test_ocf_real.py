"""`ocf` with agents of Debian's resource-agents, unchanged."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

from clptools.common import ocf as common
from clptools.core.model.settings import Resource
from clptools.core.model.words import Severity
from clptools.resources.ocf import State
from clptools.resources.registry import perform
from clptools.resources.script import ScriptRunner
from tests.namespaces import inside, ip, wire
from tests.resources.ocf_agents import carry_out, context, health, resource

T = TypeVar("T")
CLONE_NEWNS = 0x20000
pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="agents need root"),
    pytest.mark.skipif(
        not os.path.exists("/usr/lib/ocf/resource.d/heartbeat/Dummy"),
        reason="NOT TESTED: not installed: resource-agents",
    ),
]


def privately(work: Callable[[], T]) -> T:
    """Do it with mounts that nobody else sees, and that end with it."""
    outcome: list[T] = []
    faults: list[BaseException] = []

    def body() -> None:
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
                raise OSError(ctypes.get_errno(), "unshare")
            subprocess.run(["mount", "--make-rprivate", "/"], check=True)
            outcome.append(work())
        except BaseException as fault:
            faults.append(fault)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if faults:
        raise faults[0]
    return outcome[0]


def there_and_back(one: Resource) -> None:
    """Inactive, started twice, active, stopped twice, inactive."""
    assert health(one, probe=True).state is State.INACTIVE
    for _ in range(2):
        outcome = carry_out("start", one)
        assert outcome.ok, outcome.text
    assert health(one).state is State.ACTIVE
    for _ in range(2):
        outcome = carry_out("stop", one)
        assert outcome.ok, outcome.text
    assert health(one, probe=True).state is State.INACTIVE


def test_dummy(node_root: Path) -> None:
    there_and_back(resource("ocf:heartbeat:Dummy"))


def test_two_resources_of_one_agent_know_each_other_apart(node_root: Path) -> None:
    one, two = (resource("ocf:heartbeat:Dummy", name=name) for name in ("one", "two"))
    assert carry_out("start", one).ok
    assert health(one).state is State.ACTIVE
    assert health(two, probe=True).state is State.INACTIVE


def test_a_dummy_that_is_gone(node_root: Path) -> None:
    one = resource("ocf:heartbeat:Dummy", monitor_interval_ms=10_000)
    assert carry_out("start", one).ok
    (node_root / "run/resource-agents/Dummy-ocf1.state").unlink()
    found = health(one)
    assert found.state is State.INACTIVE
    assert found.text.startswith("ocf:heartbeat:Dummy: monitor ended with 7 (it does not run)")


def test_stateful_as_a_primitive(node_root: Path) -> None:
    there_and_back(resource("ocf:heartbeat:Stateful"))


def test_stateful_is_promoted_here_and_left_unpromoted(node_root: Path) -> None:
    one = resource("ocf:heartbeat:Stateful", role="promoted", monitor_interval_ms=10_000)
    there_and_back(one)
    # It runs on, as the copy of a mirror has to.
    unpromoted = resource("ocf:heartbeat:Stateful")
    assert health(unpromoted, probe=True).state is State.ACTIVE
    assert "is not promoted" in health(one).text
    assert carry_out("start", one).ok and health(one).state is State.ACTIVE


def test_symlink(node_root: Path) -> None:
    link, target = node_root / "link", node_root / "target"
    target.write_text("x")
    one = resource("ocf:heartbeat:symlink", {"link": str(link), "target": str(target)})
    there_and_back(one)
    assert carry_out("start", one).ok and link.read_text() == "x"
    # Somebody else's link is not taken away.
    link.unlink()
    link.symlink_to("/etc/hostname")
    assert health(one).state is not State.ACTIVE


def test_a_parameter_that_is_missing(node_root: Path) -> None:
    outcome = carry_out("start", resource("ocf:heartbeat:symlink"))
    assert not outcome.ok and "6 (wrong configuration)" in outcome.text
    assert outcome.text.endswith("it can start on no server until that is mended")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A small ext4 file system in a file, with one file in it."""
    if shutil.which("mkfs.ext4") is None or shutil.which("modprobe") is None:
        pytest.skip("NOT TESTED: not installed: e2fsprogs, kmod")
    path = tmp_path / "disk.img"
    with open(path, "wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", path], check=True)
    return path


def _loop(image: Path) -> str:
    done = subprocess.run(["losetup", "-f", "--show", image], capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"NOT TESTED: no loop device: {done.stderr.strip()}")
    return done.stdout.strip()


def test_filesystem_on_a_loop_device(node_root: Path, image: Path) -> None:
    device = _loop(image)
    directory = node_root / "mnt"
    one = resource(
        "ocf:heartbeat:Filesystem",
        {"device": device, "directory": str(directory), "fstype": "ext4"},
        depth=20,
    )

    def work() -> None:
        there_and_back(one)
        assert carry_out("start", one).ok
        (directory / "kept").write_text("data")
        assert os.path.ismount(directory)
        # Whoever uses it is ended by the stop.
        user = subprocess.Popen(["sleep", "600"], cwd=directory)
        try:
            outcome = carry_out("stop", one)
            assert outcome.ok, outcome.text
            assert user.wait(60) != 0
        finally:
            user.kill()
        assert not os.path.ismount(directory)
        assert carry_out("start", one).ok and (directory / "kept").read_text() == "data"
        assert carry_out("stop", one).ok

    try:
        privately(work)
    finally:
        subprocess.run(["losetup", "-d", device], check=False)


def test_filesystem_on_a_device_that_is_not_there(node_root: Path) -> None:
    one = resource(
        "ocf:heartbeat:Filesystem",
        {"device": "/dev/no-such", "directory": str(node_root / "mnt"), "fstype": "ext4"},
    )

    def work() -> None:
        outcome = carry_out("start", one)
        assert not outcome.ok and "/dev/no-such" in outcome.text
        assert outcome.severity is Severity.HARD
        assert carry_out("stop", one).ok

    privately(work)


def test_filesystem_on_a_device_that_is_busy(node_root: Path, image: Path) -> None:
    device = _loop(image)
    parameters = {"device": device, "directory": str(node_root / "mnt"), "fstype": "ext4"}
    one = resource("ocf:heartbeat:Filesystem", parameters)

    def work() -> None:
        held = os.open(device, os.O_RDWR | os.O_EXCL)  # as by a volume group or an array
        try:
            outcome = carry_out("start", one)
            assert not outcome.ok and outcome.severity is Severity.SOFT, outcome.text
            assert carry_out("stop", one).ok
        finally:
            os.close(held)
        there_and_back(one)

    try:
        privately(work)
    finally:
        subprocess.run(["losetup", "-d", device], check=False)


def test_filesystem_that_is_mounted_elsewhere_on_this_server(node_root: Path, image: Path) -> None:
    device = _loop(image)
    other = node_root / "by hand"
    other.mkdir()
    given = {"device": device, "directory": str(node_root / "mnt"), "fstype": "ext4"}
    one = resource("ocf:heartbeat:Filesystem", given)

    def work() -> None:
        # The agent itself would say twice that all is well: its own directory is empty.
        subprocess.run(["mount", device, other], check=True)
        found = health(one, probe=True)
        assert (found.state, found.text) == (State.ACTIVE, f"its device is mounted on {other}")
        outcome = carry_out("stop", one)
        assert not outcome.ok
        assert outcome.text.endswith(f"its device is still mounted on {other}: umount {other}")
        # Where the group runs, the stop of the agent unmounts both.
        assert carry_out("start", one).ok
        assert carry_out("stop", one).ok
        assert not os.path.ismount(other) and health(one, probe=True).state is State.INACTIVE

    try:
        privately(work)
    finally:
        subprocess.run(["losetup", "-d", device], check=False)


def test_filesystem_by_bind(node_root: Path) -> None:
    source, directory = node_root / "from", node_root / "to"
    source.mkdir()
    (source / "x").write_text("y")
    parameters = {"device": str(source), "directory": str(directory), "fstype": "none"}
    one = resource("ocf:heartbeat:Filesystem", parameters | {"options": "bind"})
    privately(lambda: there_and_back(one))


async def _operate(op: str, one: Resource) -> tuple[bool, str]:
    outcome = await perform(one, op, context(ScriptRunner()))
    return outcome.ok, outcome.text


def test_ipaddr2_on_a_wire(node_root: Path) -> None:
    parameters = {"ip": "10.9.0.100", "cidr_netmask": "24", "nic": "eth0"}
    one = resource("ocf:heartbeat:IPaddr2", parameters)
    with wire() as (host, other):

        def addresses() -> set[str]:
            (link,) = json.loads(ip("-j", "address", "show", "dev", "eth0", netns=host))
            return {each["local"] for each in link["addr_info"]}

        assert inside(host, _operate("start", one))[0]
        assert "10.9.0.100" in addresses()
        asked = ["ip", "netns", "exec", other, "ping", "-c1", "-W5", "10.9.0.100"]
        if shutil.which("ping"):
            assert subprocess.run(asked, capture_output=True).returncode == 0
        assert inside(host, _operate("stop", one))[0]
        assert "10.9.0.100" not in addresses()
        bad = resource("ocf:heartbeat:IPaddr2", {"ip": "10.9.0.999"})
        ok, text = inside(host, _operate("start", bad))
        assert not ok and "ocf:heartbeat:IPaddr2: start ended with" in text


def test_nginx(node_root: Path) -> None:
    if shutil.which("nginx") is None:
        pytest.skip("NOT TESTED: not installed: nginx")
    folder = node_root / "nginx"
    folder.mkdir()
    config = folder / "nginx.conf"
    config.write_text(
        f"pid {folder}/pid;\nerror_log {folder}/error;\nevents {{}}\n"
        f"http {{ access_log off; server {{ listen unix:{folder}/s; }} }}\n"
    )
    there_and_back(resource("ocf:heartbeat:nginx", {"configfile": str(config)}))


def test_every_agent_says_what_it_needs() -> None:
    """All that are installed: their meta-data is read, and has what every agent has."""
    for name in common.installed():
        if not name.startswith("ocf:heartbeat:"):
            continue
        found = common.metadata(common.named(name))
        assert found.action("start") and found.action("stop") and found.action("monitor"), name


async def test_events_of_a_resource_are_in_turn(node_root: Path) -> None:
    """A stop that is ordered while the start runs ends it, and nothing stays."""
    one = resource("ocf:heartbeat:Delay", {"startdelay": "600", "stopdelay": "0"})

    around = context(ScriptRunner(grace_ms=200))
    starting = asyncio.create_task(perform(one, "start", around))
    await asyncio.sleep(0.2)  # whether it has begun does not matter
    stopped = await perform(one, "stop", around)
    assert stopped.ok, stopped.text
    assert not (await starting).ok
