"""What our accounts lack at the BMCs, asked for a check."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from clptools import paths
from clptools.core.model.machine import AccountFault
from clptools.core.model.settings import Bmc, Cluster, Server, Settings
from clptools.hardware.accounts import account_faults
from tests.conftest import BUSY_S, LIMIT_S
from tests.hardware.bmc_sim import PASSWORD as IPMI_PASSWORD
from tests.hardware.quirks.server import quirky
from tests.redfish.parts import PASSWORD, redfish


@pytest.fixture(autouse=True)
def own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))


async def faults(
    bmcs: dict[str, Bmc], passwords: dict[str, str], within_s: float = LIMIT_S
) -> dict[str, AccountFault]:
    for name, password in passwords.items():
        file = Path(paths.bmc_password_file(name))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(password)
        file.chmod(0o400)
    servers = tuple(Server(name=name, bmc=bmc) for name, bmc in bmcs.items())
    settings = Settings(cluster=Cluster(name="c"), servers=servers)
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
