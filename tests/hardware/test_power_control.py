"""A server's power by its BMC and its fence agents: which is asked, and which gets the order."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from clptools import paths
from clptools.common.agent_files import metadata_of
from clptools.common.agent_metadata import Metadata
from clptools.config.fence_agents import IN_ENGLISH
from clptools.config.fence_checks import faults, misfits
from clptools.core.model.actions import Fence, ReadPower
from clptools.core.model.events import FenceDone, PowerRead
from clptools.core.model.settings import Bmc, FenceAgent, Server, Settings
from clptools.core.model.words import BmcOrder, PowerState
from clptools.core.notices.form import Notice
from clptools.hardware import fence_agents
from clptools.hardware.bmcs import Bmcs
from clptools.hardware.fence_agent import read_password
from clptools.hardware.notices import FenceAgentUnusable
from clptools.hardware.power_control import PowerControl
from clptools.sim.demo_bmc import SimulatedBmc
from tests.conftest import until
from tests.hardware.bmc_sim import PASSWORD, password_file, simulated
from tests.hardware.fence_fakes import Fake, root
from tests.redfish.parts import PASSWORD as REDFISH_PASSWORD
from tests.redfish.parts import redfish

__all__ = ["root"]


def now_ms() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


class Controlled:
    """A power control of server1, which controls server2."""

    def __init__(self, control: PowerControl, settings: Settings, notices: list[Notice]) -> None:
        self.control = control
        self.settings = settings
        self.notices = notices

    async def read(self, agents: bool = True) -> PowerRead:
        return await self.control.read_power(ReadPower(server="server2", agents=agents), now_ms())

    async def order(
        self, action: BmcOrder = BmcOrder.POWER_OFF, within_ms: int = 20_000
    ) -> FenceDone:
        # A busy machine starts no process within half a second.
        asked_at = now_ms()
        order = Fence(server="server2", action=action, ordered_at=asked_at, within_ms=within_ms)
        return await self.control.fence(order, asked_at)


@asynccontextmanager
async def controlled(
    *fences: FenceAgent, bmc: SimulatedBmc | None = None
) -> AsyncIterator[Controlled]:
    found = None if bmc is None else Bmc(address=bmc.address, port=bmc.port, user=bmc.user)
    settings = Settings(
        servers=(
            Server(name="server1"),
            Server(name="server2", bmc=found, fences=tuple(sorted(fences, key=lambda f: f.order))),
        )
    )
    notices: list[Notice] = []
    bmcs = Bmcs("server1", now_ms, notices.append)
    control = PowerControl(bmcs, "server1", now_ms, notices.append)
    bmcs.apply(settings)
    control.apply(settings)
    try:
        yield Controlled(control, settings, notices)
    finally:
        control.close()
        await bmcs.close()


async def test_two_power_supplies_are_off_only_together(root: Path) -> None:
    one, two = Fake(root, "fence_pdu_a"), Fake(root, "fence_pdu_b")
    async with controlled(one.fence(), two.fence()) as it:
        assert (await it.read()).power is PowerState.ON
        (one.here / "plug1").write_text("off")
        read = await it.read()
        assert (read.power, read.by) == (PowerState.ON, "pdu_a and pdu_b")
        assert read.where == it.settings.power_at("server2") != ""
        assert (await it.order()).sent
        assert (await it.read()).power is PowerState.OFF
        one.behave("exit 1")
        read = await it.read()
        assert read.power is PowerState.UNKNOWN
        assert read.error == "pdu_a: it ended with exit status 1"
    assert not (one.here / "rebooted").exists() and not (two.here / "rebooted").exists()


async def test_an_agent_that_says_done_and_did_nothing_gives_way_to_the_next_level(
    root: Path,
) -> None:
    liar = Fake(root, "fence_liar", 'if [ "$action" = off ]; then exit 0; fi')
    pdu = Fake(root, "fence_pdu")
    async with controlled(liar.fence(order=1), pdu.fence(order=2)) as it:
        assert (await it.read()).by == "liar"
        assert (await it.order()).sent
        read = await it.read()
        assert (read.power, read.by) == (PowerState.ON, "liar")
        assert pdu.actions() == []
        assert (await it.order()).sent
        # Its outlet is read before it is switched: an off without an on before proves nothing yet.
        read = await it.read()
        assert (read.power, read.by) == (PowerState.ON, "pdu")
        assert (await it.order()).sent
        read = await it.read()
        assert (read.power, read.by) == (PowerState.OFF, "pdu")


async def test_an_outlet_that_goes_off_late_is_seen_though_the_next_one_is_at_turn(
    root: Path,
) -> None:
    slow = Fake(root, "fence_slow", 'if [ "$action" = off ]; then exit 0; fi')
    pdu = Fake(root, "fence_pdu")
    async with controlled(slow.fence(order=1), pdu.fence(order=2)) as it:
        await it.read()
        for _ in range(2):
            assert (await it.order()).sent
        (slow.here / "plug1").write_text("off")
        read = await it.read()
        assert (read.power, read.by) == (PowerState.OFF, "slow")
    assert "action=off" not in pdu.actions()


async def test_a_level_that_fails_is_followed_by_the_next_at_once(root: Path) -> None:
    broken = Fake(root, "fence_broken", 'if [ "$action" = off ]; then echo no >&2; exit 1; fi')
    pdu = Fake(root, "fence_pdu")
    async with controlled(broken.fence(order=1), pdu.fence(order=2)) as it:
        assert (await it.read()).by == "broken"
        done = await it.order()
        assert (done.sent, done.left, done.error) == (False, True, "broken: no")
        assert (await it.read()).by == "pdu"
        assert (await it.order()).sent
        assert (await it.read()).power is PowerState.OFF
        done = await it.order(BmcOrder.POWER_ON)
        assert done.sent and not done.error
        assert (await it.read()).power is PowerState.ON
    assert broken.actions().count("action=on") >= 1


async def test_what_sent_nothing_is_no_stop(root: Path) -> None:
    fake = Fake(
        root, "fence_pdu", 'if [ "$action" = off ]; then echo "Success: Already OFF"; exit 0; fi'
    )
    async with controlled(fake.fence()) as it:
        done = await it.order()
        assert not done.sent and not done.left
        assert done.error == "pdu: it read off already, and sent nothing"
        fake.behave('echo "Unable to connect/login to fencing device" >&2; exit 1')
        done = await it.order()
        assert not done.sent and not done.left
        assert "Unable to connect/login" in done.error


async def test_a_fence_agent_sends_no_nmi(root: Path) -> None:
    fake = Fake(root, "fence_pdu")
    async with controlled(fake.fence()) as it:
        done = await it.order(BmcOrder.NMI)
        assert done.refused and not done.sent
    assert fake.actions() == []


async def test_an_order_comes_before_reads(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fence_agents, "_GIVE_WAY_MS", 20_000)  # at once: the machine is busy
    fake = Fake(root, "fence_pdu")
    fake.behave(
        """if [ "$action" = status ] && [ ! -e "$here/plug1" ]; then
touch "$here/reads"; sleep 600; fi"""
    )
    async with controlled(fake.fence(timeout_ms=300_000)) as it:
        reads = [asyncio.ensure_future(it.read()) for _ in range(3)]
        await until((fake.here / "reads").exists)
        assert (await it.order()).sent
        # The read that gave way, and those that waited, see what the order did.
        assert [(await read).power for read in reads] == [PowerState.OFF] * 3


async def test_an_order_that_cannot_begin_in_time_is_none(root: Path) -> None:
    hold = """if [ "$action" = off ]; then touch "$here/begun"
while [ ! -e "$here/go" ]; do sleep 0.05; done; fi"""
    fake = Fake(root, "fence_pdu", hold)
    other = fake.fence(parameters={"ip": "192.0.2.1", "plug": "2"})
    async with controlled(fake.fence(timeout_ms=300_000)) as it:
        first = asyncio.ensure_future(it.order())
        await until((fake.here / "begun").exists)
        done = await it.order(within_ms=100)
        assert not done.sent and done.error == "the order before is still under way"
        agents = it.control._agents
        late = await agents.order((other,), off=True, until_ms=now_ms() + 100)
        assert not late.sent and "not begun in time" in late.error
        (fake.here / "go").touch()
        assert (await first).sent
    assert fake.actions().count("action=off") == 1


async def test_an_order_is_called_off_while_its_agent_logs_in(root: Path) -> None:
    fake = Fake(
        root, "fence_pdu", """if [ "$action" = off ]; then touch "$here/begun"; sleep 600; fi"""
    )
    async with controlled(fake.fence(timeout_ms=300_000)) as it:
        order = asyncio.ensure_future(it.order())
        await until((fake.here / "begun").exists)
        it.control.call_off("server1")
        it.control.call_off("server2")
        done = await order
        assert (done.sent, done.left, done.error) == (False, True, "pdu: it was called off")
        assert (await it.read()).power is PowerState.ON


async def test_an_order_that_is_called_off_says_nothing_against_its_agent(root: Path) -> None:
    hold = """if [ "$action" = off ] && [ ! -e "$here/go" ]; then
touch "$here/begun"; sleep 600; fi"""
    first = Fake(root, "fence_pdu", hold)
    second = Fake(root, "fence_other")
    ways = (first.fence(timeout_ms=300_000), second.fence(order=2))
    async with controlled(*ways) as it:
        order = asyncio.ensure_future(it.order())
        await until((first.here / "begun").exists)
        it.control.call_off("server2")
        assert "was called off" in (await order).error
        assert (await it.read()).by == "pdu"
        (first.here / "go").touch()
        assert (await it.order()).sent
    assert second.actions() == []


async def test_an_off_is_read_twice_before_it_is_told(root: Path) -> None:
    flap = """if [ "$action" = status ]; then
if [ -e "$here/was" ]; then rm "$here/was"; else touch "$here/was"; echo 'Status: OFF'; exit 2; fi
fi"""
    fake = Fake(root, "fence_pdu", flap)
    async with controlled(fake.fence()) as it:
        for _ in range(3):
            read = await it.read()
            assert (read.power, read.error) == (
                PowerState.UNKNOWN,
                "pdu: it read off, and then on",
            )
        fake.behave("")
        assert (await it.read()).power is PowerState.ON
        (fake.here / "plug1").write_text("off")
        before = len(fake.actions())
        for _ in range(3):
            assert (await it.read()).power is PowerState.OFF
        # Once only while it stays so.
        assert len(fake.actions()) - before == 4


async def test_an_order_that_waits_is_called_off_and_never_begins(root: Path) -> None:
    hold = """if [ "$action" = off ]; then touch "$here/begun"
while [ ! -e "$here/go" ]; do sleep 0.05; done; fi"""
    fake = Fake(root, "fence_pdu", hold)
    waits = fake.fence(parameters={"ip": "192.0.2.1", "plug": "2"}, timeout_ms=300_000)
    async with controlled(fake.fence(timeout_ms=300_000)) as it:
        first = asyncio.ensure_future(it.order())
        await until((fake.here / "begun").exists)
        agents = it.control._agents
        order = agents.order((waits,), off=True, until_ms=now_ms() + 300_000)
        second = asyncio.ensure_future(order)
        await until(lambda: len(agents._device(waits).orders) == 2)
        agents.call_off(waits)
        (fake.here / "go").touch()
        assert (await first).sent
        done = await second
        assert (done.sent, done.error) == (False, "pdu: it was called off")
    assert fake.actions() == ["action=off"]


async def test_a_password_on_a_disk_that_hangs_holds_one_thread_and_no_loop(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = threading.Event()
    reads: list[FenceAgent] = []

    def hangs(fence: FenceAgent) -> str:
        reads.append(fence)
        answers.wait()
        return read_password(fence)

    monkeypatch.setattr(fence_agents, "read_password", hangs)
    fake = Fake(root, "fence_pdu")
    secret = password_file(tmp_path)
    async with controlled(fake.fence(password_file=secret, timeout_ms=300)) as it:
        for _ in range(2):
            read = await it.read()
            assert (read.power, read.error) == (
                PowerState.UNKNOWN,
                f"pdu: {secret}: not read within 0.3 s",
            )
        done = await it.order(within_ms=100)
        assert not done.sent and not done.left and "not read within" in done.error
        assert len(reads) == 1 and fake.calls() == []
        answers.set()
        await until(lambda: not it.control._agents._reading)
        assert fake.calls() == []


async def test_an_order_whose_password_comes_late_is_called_off(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, answers = threading.Event(), threading.Event()

    def waits(fence: FenceAgent) -> str:
        asked.set()
        answers.wait()
        return read_password(fence)

    monkeypatch.setattr(fence_agents, "read_password", waits)
    fake = Fake(root, "fence_pdu")
    async with controlled(fake.fence(password_file=password_file(tmp_path))) as it:
        order = asyncio.ensure_future(it.order(within_ms=300_000))
        await until(asked.is_set)
        it.control.call_off("server2")
        answers.set()
        done = await order
        assert (done.sent, done.left, done.error) == (False, False, "pdu: it was called off")
    assert fake.calls() == []


async def test_without_poll_it_is_asked_only_when_that_is_wanted(root: Path) -> None:
    fake = Fake(root, "fence_pdu")
    async with controlled(fake.fence()) as it:
        read = await it.read(agents=False)
        assert read.power is PowerState.UNKNOWN and fake.calls() == []
    async with controlled(fake.fence(poll=True)) as it:
        assert (await it.read(agents=False)).power is PowerState.ON


async def test_a_bmc_comes_first_and_its_outlet_behind_it(root: Path, tmp_path: Path) -> None:
    fake = Fake(root, "fence_pdu")
    secret = root / "etc" / "clptools" / "bmc"
    secret.mkdir(parents=True)
    shutil.copy(password_file(tmp_path), secret / "server2")
    (secret / "server2").chmod(0o400)
    with simulated(tmp_path) as bmc:
        async with controlled(fake.fence(), bmc=bmc) as it:
            read = await it.read()
            assert (read.power, read.by) == (PowerState.ON, "") and read.session
            assert fake.calls() == []
            bmc.stop()
            read = await it.read()
            assert (read.power, read.by, read.session) == (PowerState.ON, "pdu", "")
            assert (await it.order()).sent
            assert (await it.read()).power is PowerState.OFF
    assert fake.actions()[-3:] == ["action=off", "action=status", "action=status"]


# -------------------------------------------------------------- what an agent says of itself


def said(fake: Fake, **more: object) -> list[tuple[str, str]]:
    found = metadata_of(str(fake.path), ("-o", "metadata"))
    return [(one.parameter, one.text) for one in misfits(fake.fence(**more), found)]


def test_parameters_are_compared_with_the_agents_own(root: Path) -> None:
    fake = Fake(root, "fence_pdu")
    assert said(fake) == []
    assert said(fake, parameters={"ipaddr": "192.0.2.1", "port": "1"}) == []
    assert said(fake, parameters={"ip": "192.0.2.1"}) == [("plug", "it needs this parameter")]
    assert said(fake, parameters={"ip": "1", "plug": "1", "plugg": "1"}) == [
        ("plugg", "it has no such parameter")
    ]
    wrong = {"ip": "1", "plug": "1", "ssl": "perhaps", "power_wait": "long", "method": "off"}
    assert said(fake, parameters=wrong) == [
        ("ssl", '"perhaps" is neither true nor false'),
        ("power_wait", '"long" is no time in seconds'),
        ("method", '"off" is none of onoff, cycle'),
    ]


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (('name="fence_pdu"', 'name="fence_other"'), "its meta-data are those of fence_other"),
        (('<action name="status"/>', ""), "it has no action status"),
        (
            ('<action name="on" automatic="0"/>', '<action name="on" automatic="1"/>'),
            "it unfences: it cuts off storage, and not power",
        ),
    ],
)
def test_an_agent_that_says_it_is_none_is_not_used(
    root: Path, change: tuple[str, str], text: str
) -> None:
    fake = Fake(root, "fence_pdu")
    file = fake.here / "metadata"
    assert change[0] in file.read_text()
    file.write_text(file.read_text().replace(*change))
    assert said(fake) == [("", text)]


def test_each_server_tells_what_it_cannot_use(root: Path) -> None:
    fake = Fake(root, "fence_pdu")
    settings = Settings(
        servers=(
            Server(name="server1", fences=(fake.fence(parameters={"bogus": "1"}),)),
            Server(name="server2", fences=(fake.fence(name="gone", agent="fence_gone"),)),
        )
    )
    (gone,) = faults(settings, "server1")
    assert (gone.fence, gone.server, gone.key) == ("gone", "server2", "agent")
    assert gone.mend == "apt install fence-agents (fence_gone is part of it)"
    assert [one.key for one in faults(settings, "server2")] == [
        "parameters.bogus",
        "parameters",
        "parameters",
    ]
    fake.path.write_text("#!/bin/sh\nhead -c 100 /dev/urandom\n")
    (changed,) = faults(settings, "server2")
    assert "meta-data cannot be read" in changed.text


async def test_what_cannot_be_used_is_told_as_the_agent_starts(root: Path) -> None:
    fake = Fake(root, "fence_pdu")
    async with controlled(fake.fence(), fake.fence(name="gone", agent="fence_gone")) as it:
        await until(lambda: it.notices)
        (notice,) = it.notices
        assert isinstance(notice, FenceAgentUnusable)
        assert "server1 cannot use the fence agent gone for server2: fence_gone: " in notice.told(
            "server1"
        )
        read = await it.read()
        assert read.error.startswith("gone: ") or read.power is PowerState.ON


async def test_with_snmp_2c_the_community_is_the_secret(root: Path, tmp_path: Path) -> None:
    fake = Fake(root, "fence_pdu")
    file = fake.here / "metadata"
    more = '<parameter name="community"><content type="string" default="private"/></parameter>'
    file.write_text(file.read_text().replace("</parameters>", f"{more}</parameters>"))
    async with controlled(fake.fence(password_file=password_file(tmp_path))) as it:
        await until(lambda: it.control._agents._secrets)
        assert (await it.read()).power is PowerState.ON
    assert f"community={PASSWORD}" in fake.calls()[-1]
    async with controlled(
        fake.fence(
            parameters={"ip": "192.0.2.1", "plug": "1", "snmp_version": "3"},
            password_file=password_file(tmp_path),
        )
    ) as it:
        await until(lambda: it.control._agents._secrets)
        await it.read()
    assert f"password={PASSWORD}" in fake.calls()[-1]


# ---------------------------------------------------------------------- agents of the field


def installed(root: Path, monkeypatch: pytest.MonkeyPatch, agent: str) -> None:
    if not os.access(f"/usr/sbin/{agent}", os.X_OK):
        pytest.skip(f"{agent} (Debian package fence-agents) is not installed")
    monkeypatch.setattr(paths, "fence_agents_dir", lambda: "/usr/sbin")


def of_the_field(agent: str) -> Metadata:
    return metadata_of(f"/usr/sbin/{agent}", ("-o", "metadata"), timeout_s=60)


async def test_fence_ipmilan_stops_what_an_ipmi_bmc_drives(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(root, monkeypatch, "fence_ipmilan")
    with simulated(tmp_path) as bmc:
        fence = FenceAgent(
            name="ipmi",
            agent="fence_ipmilan",
            parameters={
                "ip": bmc.address,
                "ipport": str(bmc.port),
                "username": bmc.user,
                "lanplus": "1",
                "cipher": "3",
                "power_timeout": "60",
                "login_timeout": "60",
                "shell_timeout": "60",
            },
            password_file=password_file(tmp_path),
            timeout_ms=200_000,
        )
        assert list(misfits(fence, of_the_field("fence_ipmilan"))) == []
        async with controlled(fence) as it:
            assert (await it.read()).power is PowerState.ON
            done = await it.order()
            assert done.sent, done.error
            assert bmc.power() == "off"
            assert (await it.read()).power is PowerState.OFF
            assert "sent nothing" in (await it.order()).error
            done = await it.order(BmcOrder.POWER_ON, within_ms=200_000)
            assert done.sent, done.error
            assert bmc.power() == "on"
        wrong = msgspec.structs.replace(fence, password_file=password_file(tmp_path, "wrong"))
        async with controlled(wrong) as it:
            read = await it.read()
            assert read.power is PowerState.UNKNOWN
            assert read.error.startswith("ipmi: ") and PASSWORD not in read.error


async def test_fence_redfish_stops_what_a_redfish_bmc_drives(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(root, monkeypatch, "fence_redfish")
    with redfish(tmp_path) as bmc:
        fence = FenceAgent(
            name="redfish",
            agent="fence_redfish",
            parameters={
                "ip": bmc.address,
                "ipport": str(bmc.port),
                "username": "clp",
                "ssl": "1",
                "ssl_insecure": "1",
                "power_timeout": "60",
                "shell_timeout": "60",
            },
            password_file=password_file(tmp_path, REDFISH_PASSWORD),
            timeout_ms=200_000,
        )
        assert list(misfits(fence, of_the_field("fence_redfish"))) == []
        async with controlled(fence) as it:
            read = await it.read()
            assert read.power is not PowerState.UNKNOWN, read.error
            if read.power is PowerState.OFF:
                done = await it.order(BmcOrder.POWER_ON, within_ms=200_000)
                assert done.sent, done.error
            assert (await it.read()).power is PowerState.ON
            done = await it.order()
            assert done.sent, done.error
            assert (await it.read()).power is PowerState.OFF
        bmc.stop()
        async with controlled(fence) as it:
            read = await it.read()
            assert read.power is PowerState.UNKNOWN and read.error.startswith("redfish: ")


@pytest.mark.parametrize(
    ("words", "power"),
    [(IN_ENGLISH["fence_virsh"], PowerState.ON), ("", PowerState.OFF)],
    ids=["in English", "as the agent does"],
)
async def test_fence_virsh_asks_a_host_of_another_language_in_english(
    root: Path, monkeypatch: pytest.MonkeyPatch, words: str, power: PowerState
) -> None:
    """With the agent's own `ssh_options` a guest that runs reads as off there."""
    installed(root, monkeypatch, "fence_virsh")
    ssh, virsh, key = root / "ssh", root / "virsh", root / "id_ed25519"
    key.touch()
    # As sshd does with an `AcceptEnv` that takes no language: the host's own one is in force.
    ssh.write_text(
        f"#!/bin/bash\nunset LC_ALL\nexport LANG=de_DE.UTF-8 PATH={root}:$PATH\n"
        'exec /bin/bash -c "${@: -1}"\n'
    )
    virsh.write_text('#!/bin/sh\n[ "$LC_ALL" = C ] && echo running || echo laufend\n')
    ssh.chmod(0o755)
    virsh.chmod(0o755)
    fence = FenceAgent(
        name="host",
        agent="fence_virsh",
        parameters={
            "ip": "192.0.2.1",
            "username": "fence",
            "identity_file": str(key),
            "plug": "vm1",
            "ssh_path": str(ssh),
            "login_timeout": "60",
            "shell_timeout": "60",
        }
        | ({"ssh_options": words} if words else {}),
        timeout_ms=200_000,
    )
    assert list(misfits(fence, of_the_field("fence_virsh"))) == []
    async with controlled(fence) as it:
        read = await it.read()
        assert read.power is power, read.error


async def test_fence_dummy_shows_that_real_agents_take_what_is_sent(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It switches nothing, so the configuration refuses it; a missing file reads as off."""
    installed(root, monkeypatch, "fence_dummy")
    file = root / "outlet"
    file.write_text("on")
    fence = FenceAgent(
        name="dummy",
        agent="fence_dummy",
        parameters={"status_file": str(file), "power_timeout": "2"},
        timeout_ms=200_000,
    )
    async with controlled(fence) as it:
        assert (await it.read()).power is PowerState.ON
        assert (await it.order()).sent
        assert (await it.read()).power is PowerState.OFF
    failing = msgspec.structs.replace(fence, parameters={"type": "fail", "power_timeout": "2"})
    async with controlled(failing) as it:
        assert not (await it.order()).sent
