"""Power by Redfish: what is proof, orders that are never late, services that misbehave."""

from __future__ import annotations

import asyncio
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clptools.cli.main import run as clp
from clptools.common.redfish import LINK_MS, RedfishError, Service, submit_test_event
from clptools.core.model.actions import Fence
from clptools.core.model.settings import Bmc, Cluster, Server, Settings
from clptools.core.model.words import BmcOrder, PowerState
from clptools.faults import ClpError
from clptools.hardware.bmcs import Bmcs
from clptools.hardware.ipmi_requests import BmcError
from clptools.hardware.redfish import RedfishPower, access_of, led
from tests.conftest import LIMIT_S, free_port
from tests.redfish.parts import (
    PASSWORD,
    Redfish,
    boot_ms,
    make_certificate,
    redfish,
    until,
)


class Clock:
    """Boot time, which can be moved on."""

    ahead_ms = 0

    def __call__(self) -> int:
        return boot_ms() + self.ahead_ms


def client(
    bmc: Redfish, clock: Clock | None = None, password: str = PASSWORD, **more: str
) -> RedfishPower:
    return RedfishPower("server1", bmc.settings(**more), clock or Clock(), lambda: password)


async def fault(power: RedfishPower, patience_s: float = 2.0) -> str:
    with pytest.raises(BmcError) as raised:
        await power.read(patience_s=patience_s)
    return raised.value.fault


@pytest.mark.parametrize("keeps", [True, False])
async def test_the_session_lasts_as_long_as_answers_follow_on_each_other(
    tmp_path: Path, keeps: bool
) -> None:
    """Also where the service closes each connection, as the emulator does by itself."""
    with redfish(tmp_path, keeps=keeps) as bmc:
        clock = Clock()
        power = client(bmc, clock)
        first = await power.read()
        assert first.power is PowerState.ON
        clock.ahead_ms += LINK_MS - 1000
        bmc.do("switch", on=False)
        second = await power.read()
        assert second.power is PowerState.OFF
        assert (second.session, second.session_at) == (first.session, first.session_at)
        clock.ahead_ms += LINK_MS + 1000
        third = await power.read()
        assert (third.session == first.session) is keeps


async def test_a_bmc_that_restarted_has_another_session(tmp_path: Path) -> None:
    with redfish(tmp_path) as bmc:
        clock = Clock()
        power = client(bmc, clock)
        first = await power.read()
        bmc.kill()
        assert "refused" in await fault(power)
        bmc.start()
        clock.ahead_ms += LINK_MS
        second = await power.read()
        assert second.session != first.session
        assert second.session_at > first.session_at


async def test_a_bmc_that_was_away_for_long_is_used_again_soon(tmp_path: Path) -> None:
    with redfish(tmp_path) as bmc:
        clock = Clock()
        power = client(bmc, clock)
        await power.read()
        bmc.kill()
        for _ in range(12):
            assert "refused" in await fault(power)
            clock.ahead_ms += 1500
        assert "refused" in await fault(power)
        bmc.start()
        clock.ahead_ms += 1500
        assert (await power.read()).power is PowerState.ON


@pytest.mark.parametrize("word", ["PoweringOff", "PoweringOn", "Paused", "off"])
async def test_only_off_is_off(tmp_path: Path, word: str) -> None:
    with redfish(tmp_path) as bmc:
        bmc.do("set", word=word)
        assert await fault(client(bmc)) == f"PowerState says {word}"


async def test_a_chassis_that_is_on_refutes_its_system(tmp_path: Path) -> None:
    with redfish(tmp_path) as bmc:
        power = client(bmc)
        bmc.do("set", word="Off")
        said = "PowerState of the system says Off, of its chassis On"
        assert await fault(power) == said
        bmc.do("set", chassis="PoweringOff")
        assert "PoweringOff" in await fault(power)
        bmc.do("set", chassis="Off")
        assert (await power.read()).power is PowerState.OFF


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("html", "its answer is no JSON (text/html"),
        ("redirect", "it redirects to https://192.0.2.1/elsewhere (302), which is not followed"),
        ("401", "it refuses user and password (401)"),
        ("503", "BMC busy (503)"),
        ("sessions", "BMC busy (503: The maximum number of user sessions is reached.)"),
        ("change", "the password of the account must be changed first (403)"),
        ("403", "the account lacks the privilege (403)"),
        ("locked", "it refuses user and password (401: The account is locked.)"),
        ("empty", "its answer is no JSON"),
        ("list", "its answer is no JSON object"),
        ("huge", "the answer is too long"),
        ("hang", "no answer within 0.5 s"),
    ],
)
async def test_an_answer_that_is_none_is_one_line(tmp_path: Path, mode: str, said: str) -> None:
    with redfish(tmp_path) as bmc:
        clock = Clock()
        power = client(bmc, clock)
        await power.read()
        bmc.do("set", mode=mode)
        begun = time.monotonic()
        assert (await fault(power, 0.5)).startswith(said)
        assert time.monotonic() - begun < LIMIT_S
        asked = bmc.counter("asked")
        again = await fault(power, 0.5)
        assert again.startswith(said)
        assert "it is asked again" in again
        assert bmc.counter("asked") == asked, "it is left alone for a moment"
        clock.ahead_ms += 61_000
        bmc.do("set", mode="")
        assert (await power.read()).power is PowerState.ON


async def test_a_refused_password_is_not_repeated_until_it_is_another(tmp_path: Path) -> None:
    with redfish(tmp_path) as bmc:
        passwords = ["wrong"]
        clock = Clock()
        power = RedfishPower("server1", bmc.settings(), clock, lambda: passwords[0])
        assert "401" in await fault(power)
        for _ in range(5):
            clock.ahead_ms += 6_000
            assert "asked again after 60 s, or with another password" in await fault(power)
        assert bmc.counter("refused") == 1
        clock.ahead_ms += 40_000
        assert "401" in await fault(power)
        assert bmc.counter("refused") == 2
        clock.ahead_ms += 6_000
        passwords[0] = PASSWORD
        assert (await power.read()).power is PowerState.ON


async def test_the_password_goes_to_the_pinned_certificate_alone(tmp_path: Path) -> None:
    with redfish(tmp_path) as bmc:
        other = make_certificate(tmp_path / "other", "127.0.0.1")
        said = await fault(client(bmc, certificate=other))
        assert said.startswith("it shows another certificate than the pinned one: sha256:")
        assert bmc.counter("asked") == 0
        foreign = str(tmp_path / "other" / "cert.pem")
        said = await fault(client(bmc, certificate="", ca=foreign))
        assert said.startswith("its certificate is refused")
        assert bmc.counter("asked") == 0
        own = str(bmc.folder / "cert.pem")
        assert (await client(bmc, certificate="", ca=own).read()).power is PowerState.ON


async def test_an_order_leaves_in_time_or_never(tmp_path: Path) -> None:
    with redfish(tmp_path) as bmc:
        power = client(bmc)
        await power.read()
        with pytest.raises(BmcError, match="it would have come too late"):
            await power.order(BmcOrder.POWER_OFF, until_ms=boot_ms() - 1, left_s=0.5)
        assert bmc.counter("reset ForceOff") == 0
        bmc.do("set", mode="hang Systems")
        slow = asyncio.get_running_loop().create_task(fault(power, 5.0))
        bmc.do("set", mode="hang 27946b59-9e44-4fa7-8e91-f3527a1ef094")
        reading = asyncio.get_running_loop().create_task(fault(power, 5.0))
        await asyncio.sleep(0.1)
        assert not reading.done()
        await power.order(BmcOrder.POWER_OFF, until_ms=boot_ms() + 3_000, left_s=3.0)
        assert bmc.counter("reset ForceOff") == 1, "it did not wait behind the question"
        await asyncio.gather(slow, reading)
        bmc.do("set", mode="")
        await asyncio.sleep(1)
        assert (await power.read()).power is PowerState.OFF


async def test_an_order_to_a_bmc_that_hangs_is_given_up(tmp_path: Path) -> None:
    with redfish(tmp_path) as bmc:
        power = client(bmc)
        await power.read()
        bmc.signal(signal.SIGSTOP)
        try:
            with pytest.raises(BmcError, match="not answered"):
                await power.order(BmcOrder.POWER_OFF, until_ms=boot_ms() + 300, left_s=0.3)
        finally:
            bmc.signal(signal.SIGCONT)


async def test_what_people_ask_for(tmp_path: Path) -> None:
    with redfish(tmp_path) as bmc:
        power = client(bmc)
        assert await power.act("power-off") == "power off of server1 begun"
        await until("it is off", lambda: bmc.do("look")["power"] == "Off")
        assert await power.act("power-off") == "server1 is off already"
        assert await power.act("reset") == "reset of server1 done by power off and on"
        # The emulator does not list what it can do as PowerCycle: that becomes off and on.
        assert (await power.act("power-cycle")).startswith("power cycle of server1 ")
        assert await power.act("nmi") == "nmi of server1 begun"
        assert await power.identify(True) == "server1: identify LED on"
        assert await power.identify(False) == "server1: identify LED off"
        with pytest.raises(ClpError, match="no action"):
            await power.act("jump")


async def test_a_system_is_named_where_there_are_several(tmp_path: Path) -> None:
    with redfish(tmp_path) as bmc:
        assert await fault(client(bmc, system="blade7")) == (
            "it has no system blade7, but 27946b59-9e44-4fa7-8e91-f3527a1ef094"
        )
        power = client(bmc, system="27946b59-9e44-4fa7-8e91-f3527a1ef094")
        assert (await power.read()).power is PowerState.ON


async def test_the_bmcs_of_the_agent_speak_it_beside_ipmi(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    with redfish(tmp_path) as bmc:
        folder = tmp_path / "etc/clptools/bmc"
        folder.mkdir(parents=True)
        for name in ("server1", "server2"):
            (folder / name).write_text(PASSWORD)
            (folder / name).chmod(0o600)
        told: list[str] = []
        bmcs = Bmcs("server1", boot_ms, told.append)
        own = Bmc(address="127.0.0.1", port=9, protocol="redfish", certificate=bmc.certificate)
        servers = (
            Server(name="server1", bmc=own),
            Server(name="server2", bmc=bmc.settings()),
        )
        bmcs.apply(Settings(cluster=Cluster(name="c"), servers=servers))
        read = await bmcs.read_power("server2", boot_ms())
        assert (read.power, read.error, read.beat) == ("on", "", "")
        assert read.session
        fence = Fence(server="server2", action=BmcOrder.POWER_OFF, within_ms=5_000, ordered_at=0)
        done = await bmcs.fence(fence, boot_ms())
        assert (done.sent, done.error) == (True, "")
        await until("it is off", lambda: bmc.do("look")["power"] == "Off")
        assert (await bmcs.read_power("server2", boot_ms())).power == "off"
        on = msgspec.structs.replace(fence, action=BmcOrder.POWER_ON, within_ms=60_000)
        assert (await bmcs.fence(on, boot_ms())).sent
        armed = await bmcs.arm_deadman("reset", 300_000)
        assert not armed.ok
        assert "/dev/ipmi0" in armed.text
        assert (await bmcs.read_power("server1", boot_ms())).error
        await bmcs.close()


_ILO = ("EventTimestamp", "EventType", "Message", "MessageArgs", "OriginOfCondition", "Severity")


@pytest.mark.parametrize(
    "options",
    [
        {"test_keys": (*_ILO, "EventID", "MessageID"), "test_messages": "iLOEvents."},
        {"test_keys": (*_ILO, "EventId", "MessageId"), "test_messages": "iLOEvents."},
        {"test_keys": ("MessageId",), "test_messages": "USR"},
        {"test_keys": ("EventType",), "test_action": "SendTestEvent"},
    ],
)
async def test_a_test_event_is_asked_for_in_the_words_of_each_vendor(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    with redfish(tmp_path, **options) as bmc:
        service = Service(access_of(bmc.settings()), lambda: PASSWORD, boot_ms)
        await submit_test_event(service, "word")
        service.close()
        assert bmc.counter("test event") == 1


async def test_it_submits_a_test_event(tmp_path: Path) -> None:
    with redfish(tmp_path) as bmc:
        service = Service(access_of(bmc.settings()), lambda: PASSWORD, boot_ms)
        await submit_test_event(service, "word")
        service.close()
    with redfish(tmp_path, sse=False, push=False) as bare:
        service = Service(access_of(bare.settings()), lambda: PASSWORD, boot_ms)
        with pytest.raises(RedfishError, match="it has no EventService"):
            await submit_test_event(service, "word")
        service.close()


@pytest.mark.parametrize(
    ("resource", "on", "off"),
    [
        ({"IndicatorLED": "Off"}, {"IndicatorLED": "Lit"}, {"IndicatorLED": "Off"}),
        ({"IndicatorLED": "Blinking"}, {"IndicatorLED": "Blinking"}, {"IndicatorLED": "Off"}),
        (
            {"IndicatorLED": "Lit", "LocationIndicatorActive": False},
            {"LocationIndicatorActive": True},
            {"LocationIndicatorActive": False},
        ),
        ({}, None, None),
    ],
)
def test_the_led_that_a_resource_has(
    resource: dict[str, Any], on: dict[str, Any] | None, off: dict[str, Any] | None
) -> None:
    assert (led(resource, True), led(resource, False)) == (on, off)


def test_who_speaks_ipmi_does_not_pay_for_it() -> None:
    code = (
        "import sys; import clptools.agent.agent; "
        "print([m for m in sys.modules if 'redfish' in m or 'http_client' in m])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_clpbmccnf_shows_the_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    monkeypatch.setenv("CLP_SERVER", "server1")
    file = tmp_path / "etc/clptools/clp.toml"
    file.parent.mkdir(parents=True)

    def shown(pinned: str) -> tuple[int, str]:
        file.write_text(
            '[[server]]\nname = "server1"\n[server.bmc]\n'
            f'address = "{bmc.address}:{bmc.port}"\nprotocol = "redfish"\n'
            f'certificate = "{pinned}"\n'
        )
        code = clp("clpbmccnf", ["--certificate"])
        said = capsys.readouterr()
        return code, said.out + said.err

    def without(rest: str, name: str = "server1") -> tuple[int, str]:
        """Before it is pinned: what is to be pinned is asked for."""
        file.write_text(
            '[[server]]\nname = "server1"\n[server.bmc]\n'
            f'address = "{bmc.address}:{bmc.port}"\nprotocol = "redfish"\n{rest}'
        )
        code = clp("clpbmccnf", ["--certificate", name])
        said = capsys.readouterr()
        return code, said.out + said.err

    with redfish(tmp_path) as bmc:
        code, out = without("")
        assert (code, out.splitlines()[0]) == (0, f'certificate = "{bmc.certificate}"')
        assert "Put that under [server.bmc] of server1" in out
        assert without("x = 1\n") == (code, out)
        for rest, name in (("", "server2"), ("[", "server1")):
            code, out = without(rest, name)
            assert code == 8
            assert "clpcfchk" in out
        code, out = shown(bmc.certificate)
        assert (code, out.splitlines()[0]) == (0, f'certificate = "{bmc.certificate}"')
        code, out = shown("ab" * 32)
        assert code == 9
        assert "has another: sha256:abab" in out
        assert bmc.counter("asked") == 0
    code, out = shown("ab" * 32)
    assert code == 1
    assert "connection refused" in out


@contextmanager
def emulator(folder: Path) -> Iterator[Bmc]:
    """`sushy-emulator --fake` as it is installed, over HTTPS."""
    program = Path(sys.executable).parent / "sushy-emulator"
    if not program.exists():
        pytest.skip("NOT TESTED: sushy-tools is not installed")
    address = "127.81.1.1"
    port = free_port()
    certificate = make_certificate(folder, address)
    config = folder / "emulator.conf"
    config.write_text(f"SUSHY_EMULATOR_STATE_DIR = {str(folder)!r}\n")
    with open(folder / "emulator.log", "wb") as log:
        process = subprocess.Popen(
            [
                *(shutil.which("setpriv") or "setpriv", "--pdeathsig", "TERM"),
                *(str(program), "--fake", "--config", str(config)),
                # Its chassis says On whatever its system says, and is not served in this set.
                *("--feature-set", "minimum", "-i", address, "-p", str(port)),
                *("--ssl-certificate", str(folder / "cert.pem")),
                *("--ssl-key", str(folder / "key.pem")),
            ],
            stdout=log,
            stderr=log,
        )
    try:
        yield Bmc(
            address=address, port=port, user="clp", protocol="redfish", certificate=certificate
        )
    finally:
        process.terminate()
        process.wait()


@pytest.mark.slow
async def test_the_emulator_is_switched_and_read_back(tmp_path: Path) -> None:
    """It takes up to 11 s for a switch, and closes each connection."""
    with emulator(tmp_path) as bmc:
        power = RedfishPower("server1", bmc, boot_ms, lambda: "any")

        async def reads(wanted: PowerState) -> str:
            async with asyncio.timeout(LIMIT_S):
                while True:
                    try:
                        found = await power.read()
                    except BmcError:
                        await asyncio.sleep(0.1)
                        continue
                    if found.power is wanted:
                        return found.session
                    await asyncio.sleep(0.1)

        first = await reads(PowerState.OFF)
        await power.order(BmcOrder.POWER_ON, until_ms=boot_ms() + 5_000, left_s=5.0)
        assert await reads(PowerState.ON) == first
        await power.order(BmcOrder.POWER_OFF, until_ms=boot_ms() + 5_000, left_s=5.0)
        assert await reads(PowerState.OFF) == first
