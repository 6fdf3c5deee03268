"""Each kind of active monitor against the real thing."""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from clptools.common import disk_child
from clptools.core.model.settings import Group, Monitor, Option, Resource, Settings
from clptools.faults import ClpError, ExitCode
from clptools.monitors import bmcw, diskw, fipw, genw, ipw, miiw, pidw
from clptools.monitors.base import MonitorContext, MonitorModule, ScriptEnd, Status, Verdict
from clptools.monitors.registry import FIELDS, VARIANTS
from clptools.resources.script import Script, ScriptRunner
from tests.conftest import LIMIT_S, until
from tests.namespaces import inside, ip, wire

GROUP = Group(
    name="failover1",
    servers=("server1",),
    resources=(
        Resource(name="fip1", type="fip", options={"address": "10.9.0.100/24"}),
        Resource(name="fip6", type="fip", options={"address": "fd09::100/64"}),
        Resource(name="exec1", type="exec"),
    ),
)

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


async def run_script(
    name: str, path: str, timeout_ms: int, environment: dict[str, str]
) -> ScriptEnd:
    runner = ScriptRunner(grace_ms=200)
    result = await runner.run(
        Script(name=name, path=path, timeout_ms=timeout_ms, environment=environment)
    )
    return ScriptEnd(exit_status=result.exit_status, timed_out=result.timed_out, text=result.text)


def monitor(target: str = "", timeout_ms: int = 20_000, **options: Option) -> Monitor:
    return Monitor(
        name="m1",
        type="x",
        servers=("server1",),
        target=target,
        timeout_ms=timeout_ms,
        options=options,
    )


CONTEXT = MonitorContext(
    server="server1", settings=Settings(groups=(GROUP,)), run_script=run_script
)


def check(kind: MonitorModule, one: Monitor, context: MonitorContext = CONTEXT) -> Verdict:
    return asyncio.run(kind.check(one, context))


async def error_of(kind: MonitorModule, one: Monitor) -> str:
    """The text of its error; the kernel notices a lost carrier within a second or so."""
    async with asyncio.timeout(LIMIT_S):
        while (verdict := await kind.check(one, CONTEXT)).status is Status.NORMAL:
            await asyncio.sleep(0.02)
    return verdict.text


def test_every_kind_has_a_module_and_its_keys() -> None:
    assert set(FIELDS) == set(VARIANTS) | {"mrw"}


class TestGenw:
    def script(self, root: Path, body: str) -> None:
        path = root / "etc/clptools/scripts/monitor.s/m1/genw.sh"
        path.parent.mkdir(parents=True)
        path.write_text("#!/bin/sh\n" + body)
        path.chmod(0o755)

    def test_the_exit_status_is_the_verdict(self, node_root: Path) -> None:
        self.script(node_root, f"echo $CLP_MONITORNAME; exit $(cat {node_root}/code)\n")
        (node_root / "code").write_text("0")
        assert check(genw, monitor()).status is Status.NORMAL
        (node_root / "code").write_text("3")
        failed = check(genw, monitor())
        assert failed.status is Status.ERROR and 'exit status 3: "m1"' in failed.text

    @pytest.mark.parametrize(
        ("code", "status"), [(2, Status.NORMAL), (0, Status.ERROR), (1, Status.ERROR)]
    )
    def test_exit_statuses_that_mean_normal_may_be_others_than_0(
        self, node_root: Path, code: int, status: Status
    ) -> None:
        self.script(node_root, f"exit {code}\n")
        assert check(genw, monitor(normal=("2", "3"))).status is status

    def test_a_script_that_a_signal_without_a_name_ends_is_an_error(self, node_root: Path) -> None:
        self.script(node_root, "kill -40 $$\n")
        failed = check(genw, monitor())
        assert failed.status is Status.ERROR and "was killed by signal 40" in failed.text

    def test_a_hung_script_is_a_time_out(self, node_root: Path) -> None:
        self.script(node_root, "sleep 100\n")
        failed = check(genw, monitor(timeout_ms=300))
        assert failed.timed_out and failed.status is Status.ERROR


@pytest.fixture(scope="module")
def hosts() -> Iterator[tuple[str, str]]:
    with wire() as names:
        yield names


@needs_root
class TestNetwork:
    def test_one_target_that_answers_is_enough(self, hosts: tuple[str, str]) -> None:
        for targets in (("10.9.0.2",), ("fd09::2",), ("10.9.0.77", "10.9.0.2")):
            verdict = inside(hosts[0], ipw.check(monitor(targets=targets), CONTEXT))
            assert verdict.status is Status.NORMAL, targets

    def test_no_answer_and_no_route_are_told(self, hosts: tuple[str, str]) -> None:
        one = monitor(targets=("10.9.0.77", "fd09::77"), timeout_ms=300)
        failed = inside(hosts[0], ipw.check(one, CONTEXT))
        assert failed.status is Status.ERROR and "10.9.0.77, fd09::77" in failed.text
        nowhere = inside(hosts[0], ipw.check(monitor(targets=("203.0.113.1",)), CONTEXT))
        assert "unreachable" in nowhere.text

    def test_a_link_is_up_down_without_carrier_or_not_there(self, hosts: tuple[str, str]) -> None:
        one = monitor(interface={"server1": "eth0"})
        assert inside(hosts[0], miiw.check(one, CONTEXT)).status is Status.NORMAL
        try:
            ip("link", "set", "eth0", "down", netns=hosts[1])
            assert inside(hosts[0], error_of(miiw, one)) == "eth0 has no carrier"
            ip("link", "set", "eth0", "down", netns=hosts[0])
            assert inside(hosts[0], miiw.check(one, CONTEXT)).text == "eth0 is down"
        finally:
            for host in hosts:
                ip("link", "set", "eth0", "up", netns=host)
        with pytest.raises(ClpError, match="no interface eth7"):
            inside(hosts[0], miiw.check(monitor(interface="eth7"), CONTEXT))
        with pytest.raises(ClpError, match="names no interface"):
            inside(hosts[0], miiw.check(monitor(interface={"server2": "eth0"}), CONTEXT))

    def test_a_floating_address_that_vanished_is_noticed(self, hosts: tuple[str, str]) -> None:
        one, all_of_them = monitor("fip1"), monitor("failover1")
        assert "10.9.0.100 (fip1) is not on" in inside(hosts[0], fipw.check(one, CONTEXT)).text
        ip("address", "add", "10.9.0.100/24", "dev", "eth0", "label", "eth0:1", netns=hosts[0])
        assert inside(hosts[0], fipw.check(one, CONTEXT)).status is Status.NORMAL
        assert "fd09::100" in inside(hosts[0], fipw.check(all_of_them, CONTEXT)).text
        ip("address", "add", "fd09::100/64", "dev", "eth0", "nodad", netns=hosts[0])
        assert inside(hosts[0], fipw.check(all_of_them, CONTEXT)).status is Status.NORMAL
        try:
            ip("link", "set", "eth0", "down", netns=hosts[1])
            assert "no carrier" in inside(hosts[0], error_of(fipw, one))
        finally:
            ip("link", "set", "eth0", "up", netns=hosts[1])

    def test_many_addresses_are_all_seen(self, hosts: tuple[str, str]) -> None:
        for number in range(70):
            ip("address", "add", f"10.9.1.{number}/32", "dev", "lo", netns=hosts[1])
        ip("address", "add", "10.9.1.200/32", "dev", "lo", netns=hosts[1])
        last = Resource(name="fip1", type="fip", options={"address": "10.9.1.200/32"})
        group = Group(name="g", servers=("server1",), resources=(last,))
        context = MonitorContext(
            server="server1", settings=Settings(groups=(group,)), run_script=run_script
        )
        assert inside(hosts[1], fipw.check(monitor("g"), context)).status is Status.NORMAL


def test_fipw_needs_a_target_with_an_address() -> None:
    for target in ("", "exec1", "nothing"):
        with pytest.raises(ClpError, match="has no fip"):
            check(fipw, monitor(target))


def test_pings_reach_this_machine() -> None:
    assert check(ipw, monitor(targets=("127.0.0.1",))).status is Status.NORMAL


class TestPidw:
    def test_a_pid_file_names_a_live_process(self, tmp_path: Path) -> None:
        file = tmp_path / "pid"
        one = monitor(pid_file=str(file))
        assert "is not there" in check(pidw, one).text
        file.write_text("x")
        assert "no process id" in check(pidw, one).text
        file.write_text(f"{os.getpid()}\n")
        assert check(pidw, one).status is Status.NORMAL
        ended = subprocess.Popen(["/bin/true"])
        while ended.poll() is None:
            time.sleep(0.01)
        file.write_text(str(ended.pid))
        assert "does not run" in check(pidw, one).text

    def test_a_pid_file_that_is_no_file_does_not_hold_the_agent_up(self, tmp_path: Path) -> None:
        file, link = tmp_path / "pid", tmp_path / "link"
        one = monitor(pid_file=str(link))
        link.symlink_to(file)
        file.write_text(f"{os.getpid()}\n")
        assert check(pidw, one).status is Status.NORMAL
        for odd in ("mkfifo PLACE", "ln -s /dev/tty PLACE", "mkdir PLACE"):
            subprocess.run(["rm", "-r", str(file)], check=True)
            subprocess.run(odd.replace("PLACE", str(file)).split(), check=True)
            with pytest.raises(ClpError, match="link is no plain file"):
                check(pidw, one)

    async def test_a_pid_file_that_cannot_be_read_in_time_is_a_time_out_and_holds_one_thread(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answer, asked = threading.Event(), []

        def hang(path: str, _: int) -> bytes:
            asked.append(path)
            answer.wait(LIMIT_S)
            return str(os.getpid()).encode()

        monkeypatch.setattr(pidw, "beginning", hang)

        for _ in range(3):
            with pytest.raises(TimeoutError):
                await pidw.check(monitor(timeout_ms=30, pid_file="/nfs/pid"), CONTEXT)
        answer.set()
        verdict = await pidw.check(monitor(pid_file="/nfs/pid"), CONTEXT)
        assert verdict.status is Status.NORMAL and asked == ["/nfs/pid"]

    def test_without_one_the_programs_of_the_start_script_are_watched(self) -> None:
        one = monitor("exec1")
        assert "failover1/exec1" in check(pidw, one).text
        environment = {"CLP_GROUPNAME": "failover1", "CLP_RESOURCENAME": "exec1"}
        program = subprocess.Popen(["/bin/sleep", "1000"], env=environment)
        try:
            assert check(pidw, one).status is Status.NORMAL
        finally:
            program.kill()
        # Not reaped yet: a zombie runs no more.
        for _ in range(1_000):
            if check(pidw, one).status is Status.ERROR:
                break
            time.sleep(0.01)
        program.wait()
        assert check(pidw, one).status is Status.ERROR

    def test_it_needs_one_of_both(self) -> None:
        with pytest.raises(ClpError, match="knows no process"):
            check(pidw, monitor())


class TestDiskw:
    def test_a_file_is_read_and_a_directory_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"x" * 10_000)
        assert check(diskw, monitor(path=str(tmp_path / "file"))).status is Status.NORMAL
        assert check(diskw, monitor(path=str(tmp_path))).status is Status.NORMAL
        assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "run"]

    def test_faults_name_the_path(self, tmp_path: Path) -> None:
        missing = check(diskw, monitor(path=str(tmp_path / "none")))
        assert missing.status is Status.ERROR and str(tmp_path / "none") in missing.text
        assert "No such file" in missing.text

    async def test_a_disk_that_hangs_never_blocks_and_is_tried_by_one_probe_only(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        probe = tmp_path / "probe.py"
        probe.write_text(
            f"import os, time\nopen('{tmp_path}/count', 'a').write('x')\n"
            f"time.sleep(1000 if os.path.exists('{tmp_path}/hung') else 0)\n"
        )
        (tmp_path / "hung").touch()
        monkeypatch.setattr(disk_child, "CHILD", str(probe))
        one = monitor(path=str(tmp_path), timeout_ms=1_000)

        began = asyncio.get_running_loop().time()
        failed = await diskw.check(one, CONTEXT)
        assert failed.timed_out and "does not answer" in failed.text
        assert asyncio.get_running_loop().time() - began < LIMIT_S
        await until((tmp_path / "count").exists)
        (tmp_path / "hung").unlink()
        again = monitor(path=str(tmp_path), timeout_ms=int(1_000 * LIMIT_S))
        assert (await diskw.check(again, CONTEXT)).status is Status.NORMAL
        assert (tmp_path / "count").read_text() == "xx"


class TestBmcw:
    def test_an_answer_no_answer_and_no_bmc(self) -> None:
        async def answers() -> str:
            return "BMC of server1: power on"

        async def silent() -> str:
            raise ClpError(ExitCode.FAILED, "10.0.0.1: no answer")

        async def hangs() -> str:
            await asyncio.sleep(1_000)
            return ""

        import msgspec

        def context(check_bmc: object) -> MonitorContext:
            return msgspec.structs.replace(CONTEXT, check_bmc=check_bmc)

        assert check(bmcw, monitor(), context(answers)).status is Status.NORMAL
        with pytest.raises(ClpError, match="no answer"):
            check(bmcw, monitor(), context(silent))
        with pytest.raises(TimeoutError):
            check(bmcw, monitor(timeout_ms=50), context(hangs))
        with pytest.raises(ClpError, match="has no BMC"):
            check(bmcw, monitor())
