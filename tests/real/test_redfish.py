"""The sample cluster on two servers whose BMCs speak Redfish alone: proof, fence, event."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.real.cluster import Cluster, Node, until
from tests.redfish.parts import PASSWORD, Redfish

pytestmark = pytest.mark.root

CPU = "/redfish/v1/Systems/1/Processors/CPU0"
CRITICAL = "ResourceEvent.1.3.0.ResourceStatusChangedCritical"
OK = "ResourceEvent.1.3.0.ResourceStatusChangedOK"


class RedfishCluster(Cluster):
    """Its servers' BMCs are where the BMC addresses are, and IPMI is nowhere."""

    def __init__(self, **options: bool) -> None:
        super().__init__()
        self.bmcs = [
            Redfish(
                node.root / "bmc",
                wrap=("ip", "netns", "exec", self.wires),
                environment=node.environment(),
                address=self.bmc(node.number),
                port=443,
                uuid=str(uuid.uuid4()),
                password=PASSWORD,
                machine=tuple(node.prepare_bmc()),
                **options,
            )
            for node in self
        ]

    def close(self) -> None:
        for bmc in getattr(self, "bmcs", ()):
            bmc.stop()
        super().close()

    def redfish(self, node: Node) -> Redfish:
        return self.bmcs[node.number - 1]

    def redfish_toml(self, recovery: str) -> str:
        text = self.toml(more='[forced_stop]\naction = "power-off"\n', recovery=recovery)
        for node, bmc in zip(self, self.bmcs, strict=True):
            address = f'address = "{self.bmc(node.number)}"\nuser = "clp"'
            assert address in text
            text = text.replace(
                address,
                f'{address}\nprotocol = "redfish"\ncertificate = "{bmc.certificate}"',
            )
        return text


def status(node: Node, name: str, on: Node) -> str:
    found = {each["name"]: each for each in node.status().get("monitors", ())}
    return str(found.get(name, {}).get("servers", {}).get(on.name, {}).get("status", ""))


def group(node: Node) -> dict[str, object]:
    return {each["name"]: each for each in node.status().get("groups", ())}.get("failover1", {})


def bmc_of(node: Node, other: Node) -> dict[str, object]:
    servers = {each["name"]: each for each in node.status().get("servers", ())}
    found: dict[str, object] = servers.get(other.name, {}).get("bmc") or {}
    return found


@contextmanager
def running(recovery: str = "", **options: bool) -> Iterator[RedfishCluster]:
    pytest.importorskip("sushy_tools", reason="NOT TESTED: sushy-tools is not installed")
    with RedfishCluster(**options) as made:
        made.configure(made.redfish_toml(recovery))
        for node, bmc in zip(made, made.bmcs, strict=True):
            bmc.start()
            node.bmc = bmc.process
        for node in made:
            until(f"{node.name} answers", node.ready)
        yield made


def settled(cluster: RedfishCluster) -> tuple[Node, Node]:
    """The server that runs the group, and the other; each reads the other's power."""
    first = cluster.online(timeout_s=40)
    second = cluster.other(first)
    for node, other in ((first, second), (second, first)):
        until("its power reads on", lambda n=node, o=other: bmc_of(n, o).get("power") == "on")
    return first, second


def test_event_proof_and_fence_with_ipmi_switched_off() -> None:
    with running() as cluster:
        first, second = settled(cluster)
        for node in cluster:
            until("its events are heard", lambda n=node: cluster.redfish(n).do("look")["streams"])

        cluster.redfish(first).event(CRITICAL, "Critical", CPU)
        until("the event moved the group", lambda: cluster.online() is second)
        until("its monitor shows it", lambda: status(second, "mrw1", first) == "Error")
        cluster.redfish(first).event(OK, "OK", CPU)
        until("its end is seen", lambda: status(second, "mrw1", first) == "Normal")

        cluster.redfish(second).do("switch", on=False)
        until("power off was the proof", lambda: group(first).get("current") == first.name)
        assert "power" in first.ok("clpstat --explain failover1")
        cluster.redfish(second).do("switch", on=True)
        until(
            "it takes part again",
            lambda: all(s["status"] == "Online" for s in first.status()["servers"]),
        )
        settled(cluster)

        for lan in (1, 2):
            first.link(lan, False)
        until("it was fenced", lambda: group(second).get("current") == second.name)
        assert cluster.redfish(first).do("look")["power"] == "Off"
        assert cluster.redfish(first).counter("reset ForceOff") >= 1


def test_an_event_that_the_bmc_pushes_moves_the_group_too() -> None:
    """Also with connections that the service closes after each answer."""
    with running(sse=False, keeps=False) as cluster:
        first, second = settled(cluster)
        bmc = cluster.redfish(first)
        until("it is subscribed", lambda: bmc.do("look")["subscriptions"])
        bmc.event(CRITICAL, "Critical", CPU, log=False)
        until("the event moved the group", lambda: cluster.online() is second)
        until("it was answered", lambda: bmc.do("look")["pushed"] == [200])
        cluster.redfish(second).do("switch", on=False)
        until("power off was the proof", lambda: group(first).get("current") == first.name)


def test_what_the_bmc_was_going_to_do_is_done_after_the_recovery() -> None:
    """Without /dev/ipmi0 no timer can be armed first, and that is said."""
    with running('after_recovery = "reset"\n') as cluster:
        first, second = settled(cluster)
        bmc = cluster.redfish(first)
        until("its events are heard", lambda: bmc.do("look")["streams"])
        bmc.event(CRITICAL, "Critical", CPU)
        until("the event moved the group", lambda: group(second).get("current") == second.name)
        until("then it was reset", lambda: bmc.counter("reset ForceRestart") == 1)
        assert "/dev/ipmi0 alone" in second.alerts() + first.alerts()


@pytest.mark.parametrize(
    ("way", "options"),
    [
        ("a stream", {"push": False, "log": False}),
        ("a push", {"sse": False, "log": False}),
        ("a push to an older service", {"sse": False, "log": False, "event_types_only": True}),
    ],
)
def test_the_bmc_itself_sends_a_test_event_to_the_agent(way: str, options: dict[str, bool]) -> None:
    """Asked for on either server; no monitor changes by it."""
    with running(**options) as cluster:
        first, _ = settled(cluster)
        until("the way is there", lambda: way_is_there(cluster.redfish(first)))
        for node in cluster:
            told = node.ok(f"clptrap test --through-bmc --to {first.name}")
            assert f"The BMC of {first.name} sent a test event" in told
            assert "It came to the agent and was taken as the test that it is." in told
        until(
            "its record", lambda: f"Test event of the BMC of {first.name} arrived" in first.alerts()
        )
        assert cluster.redfish(first).counter("test event") == 2
        assert cluster.online() is first
        assert status(first, "mrw1", first) == "Normal"
        if way.startswith("a push"):
            assert set(cluster.redfish(first).do("look")["pushed"]) == {200}


def way_is_there(bmc: Redfish) -> bool:
    seen = bmc.do("look")
    return bool(seen["streams"] or seen["subscriptions"])


def test_a_wrong_password_is_told_with_its_mend_and_its_end_too() -> None:
    """By the server that has it, and everywhere in the hardware page."""
    with running(push=False) as cluster:
        first, second = settled(cluster)
        file = second.config / "bmc" / first.name
        right = file.read_text()
        file.chmod(0o600)
        file.write_text("wrong")
        begins = f"{second.name} cannot ask the BMC of {first.name}: it refuses user and password"
        until("it is told", lambda: begins in second.alerts())
        mend = f"clpbmccnf -u clp {first.name}"
        for node in cluster:
            page = " ".join(node.ok("clpstat --hw").split())
            assert f"that of {first.name}: it refuses user and password (401)" in page
            assert f"Set it on this server: {mend}" in page
        told = " ".join(second.ok(f"clpstat --explain {first.name}").split())
        assert "cannot be asked from here" in told
        assert mend in told
        file.write_text(right)
        ends = f"{second.name} can ask the BMC of {first.name} again."
        until("its end is told", lambda: ends in second.alerts())
        for node in cluster:
            assert "refuses user" not in node.ok("clpstat --hw")
        own = [line for line in second.alerts().splitlines() if f" {second.name}: " in line]
        assert sum(begins in line for line in own) == 1
        assert sum(ends in line for line in own) == 1
        assert cluster.online() is first
