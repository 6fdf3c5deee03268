"""Whether events of a BMC that speaks Redfish come, as people ask for it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from clptools.api.messages import HardwareOfServer, HardwareView
from clptools.cli import trap_through_bmc
from tests.api.fake import Agent
from tests.cli.conftest import Clp
from tests.redfish.parts import Redfish, redfish

HOST = "127.0.1.1"

CLP_TOML = """
[cluster]
name = "cluster"

[[server]]
name = "server1"
[server.bmc]
address = "{bmc.address}:{bmc.port}"
user = "clp"
protocol = "redfish"
certificate = "{bmc.certificate}"

[[group]]
name = "failover1"

[[monitor]]
type = "mrw"
name = "mrw1"
category = "BMCNOTICE"
keyword_on = {{ server1 = "{host}" }}
"""


def configure(root: Path, bmc: Redfish) -> None:
    folder = root / "etc/clptools"
    (folder / "bmc").mkdir(parents=True)
    (root / "run/clptools").mkdir(parents=True, exist_ok=True)
    (folder / "clp.toml").write_text(CLP_TOML.format(bmc=bmc, host=HOST))
    (folder / "bmc/server1").write_text("s3cret-Pass\n")
    (folder / "bmc/server1").chmod(0o400)


@pytest.mark.parametrize(
    "options, code, text",
    [
        ({}, 0, "the agent reads its events from its event stream"),
        ({"log": False}, 0, "the agent reads its events from its event stream"),
        ({"sse": False, "push": False}, 0, "the agent reads its events from its log"),
        ({"enabled": False}, 9, "switched off: its log alone tells, up to 10 s late"),
        ({"enabled": False, "log": False}, 9, "switched off, and it has no log"),
        ({"sse": False, "log": False}, 9, "no subscription of this agent"),
        ({"sse": False, "push": False, "log": False}, 9, "it has no event service, and no log"),
    ],
)
def test_it_tells_which_way_events_come(
    node: Path, clp: Clp, options: dict[str, Any], code: int, text: str
) -> None:
    with redfish(node, **options) as bmc:
        configure(node, bmc)
        looked = clp("clpbmccnf", "--alerts", "--check")
        assert (looked.code, text in looked.out) == (code, True), looked.out + looked.err
        checked = clp("clpcfchk").out
        assert ("not every event of it reaches" in checked) is (code == 9)
        assert (f"server1.bmc: {text}" in " ".join(checked.split())) is (code == 0)
        assert "are sent" not in looked.out + checked


def test_a_subscription_of_the_agent_is_a_way(node: Path, clp: Clp) -> None:
    with redfish(node, sse=False, log=False) as bmc:
        configure(node, bmc)
        bmc.do("set", subscriptions={"1": {"Destination": "https://10.9.9.9:162/redfish/other"}})
        assert clp("clpbmccnf", "--alerts", "--check").code == 9
        bmc.do("set", subscriptions={"2": {"Destination": f"https://{HOST}:162/redfish/0123"}})
        looked = clp("clpbmccnf", "--alerts", "--check")
        assert (looked.code, f"its events are sent to {HOST}:162." in looked.out) == (0, True)
        # A log beside it only fills gaps.
        bmc.do("set", log=True)
        assert "are sent to" in clp("clpbmccnf", "--alerts", "--check").out


def test_a_refused_password_is_no_verdict(node: Path, clp: Clp) -> None:
    with redfish(node, password="another") as bmc:
        configure(node, bmc)
        looked = clp("clpbmccnf", "--alerts", "--check")
        assert (looked.code, "cannot be told" in looked.out) == (1, True)
        assert "401" in looked.out
        checked = clp("clpcfchk").out
        assert checked.count("it refuses user and password (401)") == 1
        assert "Set it on this server: clpbmccnf -u clp server1" in checked


def test_a_missing_password_is_told_with_its_mend(node: Path, clp: Clp) -> None:
    with redfish(node) as bmc:
        configure(node, bmc)
        (node / "etc/clptools/bmc/server1").unlink()
        looked = clp("clpbmccnf", "--alerts", "--check")
        assert (looked.code, "no BMC password there" in looked.out) == (1, True)
        assert "Set it on this server: clpbmccnf -u clp server1" in looked.out


def test_the_check_says_what_the_account_lacks(node: Path, clp: Clp) -> None:
    with redfish(node, role="ReadOnly") as bmc:
        configure(node, bmc)
        checked = clp("clpcfchk").out
        assert "server1.bmc: clp has the role ReadOnly there" in " ".join(checked.split())
        elsewhere = node / "elsewhere.toml"
        text = (node / "etc/clptools/clp.toml").read_text()
        elsewhere.write_text(text.replace("server1", "server9"))
        asked = bmc.counter("asked")
        assert "ReadOnly" not in clp("clpcfchk", str(elsewhere)).out
        assert bmc.counter("asked") == asked


@pytest.mark.parametrize(
    "grown, code, text",
    [
        ("redfish_test", 0, "It came to the agent and was taken as the test that it is."),
        ("redfish_accepted", 0, "it does not say that it is a test"),
        ("redfish_malformed", 1, "An event came to the agent, and was refused: it is no JSON"),
        ("accepted", 7, "nothing came to the agent there within 0.3 s"),
    ],
)
def test_the_bmc_itself_sends_a_test_event(
    node: Path,
    clp: Clp,
    agent: Agent,
    monkeypatch: pytest.MonkeyPatch,
    grown: str,
    code: int,
    text: str,
) -> None:
    asked = itertools.count()

    async def hardware() -> HardwareView:
        counters = {grown: 1} if next(asked) > 0 else {}
        server = HardwareOfServer(name="server1", open=(), counters=counters, unreachable=None)
        return HardwareView(servers=(server,))

    agent.backend.hardware = hardware  # type: ignore[method-assign]
    if code == 7:
        monkeypatch.setattr(trap_through_bmc, "EVENT_WITHIN_S", 0.3)
    with redfish(node) as bmc:
        configure(node, bmc)
        proven = clp("clptrap", "test", "--through-bmc")
        assert (proven.code, text in proven.out + proven.err) == (code, True), proven
        assert bmc.counter("test event") == 1
        assert (code != 0) or "sent a test event (Redfish SubmitTestEvent)" in proven.out


def test_without_an_agent_nobody_takes_an_event(node: Path, clp: Clp) -> None:
    with redfish(node) as bmc:
        configure(node, bmc)
        refused = clp("clptrap", "test", "--through-bmc")
        assert (refused.code, "come to an agent alone" in refused.err) == (3, True)
        assert bmc.counter("test event") == 0
