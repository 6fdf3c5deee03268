"""What our accounts lack at the BMCs, asked for a check."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clptools import paths
from clptools.core.model.machine import AccountFault
from clptools.core.model.settings import Bmc, Cluster, ForcedStop, Server, Settings
from clptools.core.model.words import BmcAction
from clptools.hardware.accounts import account_faults
from tests.conftest import BUSY_S, LIMIT_S
from tests.hardware.bmc_sim import PASSWORD as IPMI_PASSWORD
from tests.hardware.quirks.server import quirky
from tests.redfish.parts import PASSWORD, redfish


@pytest.fixture(autouse=True)
def own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))


async def faults(
    bmcs: dict[str, Bmc],
    passwords: dict[str, str],
    within_s: float = LIMIT_S,
    **more: Any,
) -> dict[str, AccountFault]:
    for name, password in passwords.items():
        file = Path(paths.bmc_password_file(name))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(password)
        file.chmod(0o400)
    servers = tuple(Server(name=name, bmc=bmc) for name, bmc in bmcs.items())
    settings = Settings(**{"cluster": Cluster(name="c"), "servers": servers, **more})
    return await account_faults(settings, tuple(bmcs), within_s)


async def by_ipmi(
    tmp_path: Path, quirk: str, password: str, **options: float
) -> AccountFault | None:
    with quirky(tmp_path, quirk, **options) as sim:
        bmc = Bmc(address=sim.address, port=sim.port, user="clp")
        return (await faults({"server2": bmc}, {"server2": password})).get("server2")


@pytest.mark.parametrize("level", [3, 4])
async def test_an_operator_lacks_nothing(tmp_path: Path, level: int) -> None:
    assert await by_ipmi(tmp_path, "privileges", IPMI_PASSWORD, level=level) is None


async def test_a_user_by_ipmi_may_switch_no_power(tmp_path: Path) -> None:
    found = await by_ipmi(tmp_path, "privileges", IPMI_PASSWORD, level=2)
    assert found is not None
    assert found.text.startswith("clp has the level USER there: a forced stop")
    assert found.mend == "Give clp the level OPERATOR in the BMC of server2."


async def test_what_keeps_us_out_is_told_with_its_mend(tmp_path: Path) -> None:
    found = await by_ipmi(tmp_path, "none", "wrong")
    assert found is not None
    assert "Incorrect password" in found.text
    assert found.mend == "Set it on this server: clpbmccnf -u clp server2"


@pytest.mark.parametrize(
    ("options", "password", "text"),
    [
        ({"role": "Operator"}, PASSWORD, ""),
        ({"role": "Administrator"}, PASSWORD, ""),
        ({}, PASSWORD, ""),  # nobody says
        ({"role": "ReadOnly"}, PASSWORD, "clp has the role ReadOnly there: a forced stop"),
        ({}, "wrong", "cannot be told: it refuses user and password (401)"),
    ],
)
async def test_a_role_by_redfish(
    tmp_path: Path, options: dict[str, Any], password: str, text: str
) -> None:
    with redfish(tmp_path, **options) as bmc:
        found = await faults({"server2": bmc.settings()}, {"server2": password})
        assert (text in found["server2"].text) if text else not found


async def test_bmcs_that_are_not_there_take_the_time_of_one(tmp_path: Path) -> None:
    bmcs = {f"server{n}": Bmc(address=f"192.0.2.{n}", user="clp") for n in range(1, 5)}
    begun = time.monotonic()
    found = await faults(bmcs, dict.fromkeys(bmcs, "x"), within_s=6)
    assert set(found) == set(bmcs)
    assert time.monotonic() - begun < 6 + BUSY_S, "one after the other they would take 20 s"


TURNS: dict[str, Any] = {
    "servers": tuple(
        Server(name=f"server{n}", bmc=Bmc(address="192.0.2.1", user="clp")) for n in (1, 2)
    ),
    "forced_stop": ForcedStop(action=BmcAction.POWER_OFF),
}
SHORT = Cluster(name="c", fence_delay_ms=1_500)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"cluster": SHORT}, True),
        ({"cluster": Cluster(name="c", fence_delay_ms=60_000)}, False),
        ({"cluster": SHORT, "forced_stop": ForcedStop(action=BmcAction.NONE)}, False),
        ({"cluster": SHORT, "servers": TURNS["servers"][:1]}, False),  # no halves
    ],
)
async def test_a_bmc_that_is_too_slow_for_turns_is_told(
    tmp_path: Path, more: dict[str, Any], told: bool
) -> None:
    with quirky(tmp_path, "slow_inside", seconds=0.5) as sim:
        bmc = Bmc(address=sim.address, port=sim.port, user="clp")
        settings = {**TURNS, **more}
        first, *others = settings["servers"]
        settings["servers"] = (msgspec.structs.replace(first, bmc=bmc), *others)
        found = await faults({"server1": bmc}, {"server1": IPMI_PASSWORD}, **settings)
    assert bool(found) is told
    if told:
        fault = found["server1"]
        assert "with fence_delay = 1.5 two servers that do not hear each other" in fault.text
        assert fault.mend.startswith("Write fence_delay = ") and fault.stops and fault.reads


async def test_a_slow_redfish_service_is_told_as_well(tmp_path: Path) -> None:
    with redfish(tmp_path) as bmc:
        first = Server(name="server1", bmc=bmc.settings())
        settings = {**TURNS, "servers": (first, TURNS["servers"][1])}
        settings["cluster"] = Cluster(name="c", fence_delay_ms=1)
        assert first.bmc is not None
        found = await faults({"server1": first.bmc}, {"server1": PASSWORD}, **settings)
        assert "a forced stop takes" in found["server1"].text
