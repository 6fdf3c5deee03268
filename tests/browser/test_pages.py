"""The picture of an incident and the page of the present state, in a real browser."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from clptools.api.messages import (
    EventRecord,
    HardwareOfServer,
    HardwareView,
    OpenHardware,
)
from clptools.cli.main import run
from clptools.core.model.view import ArbiterView, BmcView, ConditionView, ServerView, WaitingView
from clptools.core.notices import cluster, groups, hardware, monitors
from clptools.core.notices.form import Notice, record_of
from tests.api.fake import Agent, sample_status, socket_path
from tests.browser import chromium
from tests.core.told_by_servers import Servers, T

pytestmark = [chromium.needed, pytest.mark.slow]

HOSTILE = (
    "</title></svg><script>document.title='pwned'</script>"
    "<img src=x onerror=alert(1)>\"'>]]>&lt;<!-- \x00\x1b[2J\u202e\ud7ff <style>*{display:none}"
)
"""What a trap may bring."""


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agent]:
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    monkeypatch.setenv("CLP_SERVER", "server1")
    with Agent(socket_path(tmp_path)).running() as running:
        yield running


def failover() -> list[EventRecord]:
    servers = Servers()
    servers.play("start server1 server2", "advance 20", "trap server1 mrw1 FATAL cpu1")
    servers.play("advance 10", "request server1 acknowledge mrw1", "advance 3", "off server2")
    servers.play("advance 20", "on server2", "advance 40")
    return servers.known_to("server1")


def cut_off() -> list[EventRecord]:
    """Five servers and three groups, in the hands of chance."""
    servers = Servers("5bmc")
    servers.play("start server1 server2 server3 server4 server5", "advance 20")
    servers.play("isolate server1", "advance 30", "heal", "advance 20", "bmc server2 dead")
    servers.play("off server2", "advance 30", "trap server3 mrw1 FATAL cpu1", "advance 20")
    return servers.known_to("server1")


def hostile() -> list[EventRecord]:
    """Names as long as they may be, texts that are no texts, very many at once."""
    name = "server-with-a-name-that-goes-on-and-on-and-on-0123456789"
    told: list[tuple[str, Notice]] = [
        ("server1", hardware.HardwareFatal("mrw1", "BMC of server1", HOSTILE)),
        ("server1", monitors.MonitorError("mm", "mrw1", "Normal", HOSTILE, "")),
        (name, cluster.ServerLost("server1", 3_000, ("lankhb1",))),
        (name, groups.GroupWaits("failover1", f"proof {HOSTILE}")),
        (name, groups.GroupGranted("failover1", name, 9, "x" * 3_000)),
    ]
    records = []
    for index in range(60):
        server, notice = told[index % len(told)]
        made = record_of(notice, server)
        records.append(
            EventRecord(
                cursor=f"{server}:run:{index}",
                time=T + index * 0.001,
                server=server,
                module=made.module,
                event_id=made.event_id,
                level=str(made.level),
                text=made.text,
                subjects=made.subjects,
                because=(HOSTILE,),
                code=made.code,
                heard=0.0 if server == "server1" else T + index * 0.001,
            )
        )
    return records


STORIES = {"failover": failover, "cut off": cut_off, "hostile": hostile}


def names_in(records: list[EventRecord], agent: Agent) -> None:
    """The cluster that the records tell of."""
    servers = sorted({record.server for record in records})
    shown = tuple(ServerView(name=n, status="Online", local=n == "server1") for n in servers)
    agent.change(msgspec.structs.replace(sample_status(), servers=shown))
    agent.backend.records = records


@pytest.mark.parametrize("name", STORIES)
@pytest.mark.parametrize("form", ["svg", "html"])
def test_an_incident_is_drawn_and_nothing_lies_over_anything(
    name: str, form: str, agent: Agent, tmp_path: Path
) -> None:
    records = STORIES[name]()
    names_in(records, agent)
    path = tmp_path / f"incident.{form}"
    assert run("clpstat", ["--graph", "--from", f"@{T - 60:.0f}", "-o", str(path)]) == 0
    assert chromium.complaints(path) == []
    looked = chromium.looked_at(path, tmp_path)
    numbers = [text["text"] for text in looked["texts"] if text["text"].isdigit()]
    assert numbers == [str(n) for n in range(1, len(records) + 1)]
    assert chromium.overlaps(looked["texts"]) == []
    assert chromium.overlaps(looked["shapes"]) == []
    assert chromium.overlaps(looked["shapes"] + looked["texts"]) == []
    assert all(shape["w"] >= 5 and shape["h"] >= 5 for shape in looked["shapes"])
    assert looked["wide"] <= looked["room"], "no scrolling from side to side"
    for text in looked["texts"]:
        assert text["x"] >= 0
        assert text["x"] + text["w"] <= looked["room"]


@pytest.mark.parametrize("name", STORIES)
def test_a_picture_needs_nothing_but_itself(name: str, agent: Agent, tmp_path: Path) -> None:
    names_in(STORIES[name](), agent)
    for form in ("svg", "html"):
        path = tmp_path / f"incident.{form}"
        assert run("clpstat", ["--graph", "--from", f"@{T - 60:.0f}", "-o", str(path)]) == 0
        text = path.read_text()
        alone(text)
        if form == "svg":
            ElementTree.fromstring(text)


def alone(text: str) -> None:
    """No script, nothing from elsewhere, no event handler; for what was not escaped."""
    without = text.replace("http://www.w3.org/2000/svg", "")
    tags = re.findall(r"<([a-zA-Z!/?][^<>]*)>", without)
    words = {re.split(r"[\s/>]", tag.lstrip("/"))[0].lower() for tag in tags}
    assert not words & {"script", "img", "iframe", "object", "embed", "foreignobject", "base"}
    for tag in tags:
        assert not re.search(r"""\b(on\w+|src|xlink:href|action)\s*=""", re.sub('".*?"', '""', tag))
    targets = re.findall(r"(?:href\s*=|url\()\s*[\"']?([^\"')\s>]*)", without)
    assert all(target == "data:," or target.startswith("#clp-") for target in targets)
    assert all(char.isprintable() or char == "\n" for char in text)


def test_a_picture_is_read_without_colour_and_on_paper(agent: Agent, tmp_path: Path) -> None:
    records = failover()
    names_in(records, agent)
    path = tmp_path / "incident.html"
    assert run("clpstat", ["--graph", "-o", str(path)]) == 0
    pdf = chromium.printed(path, tmp_path)
    assert pdf.startswith(b"%PDF")
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 6
    text = path.read_text()
    # Each level has its word in the table, each kind its shape, each state its pattern.
    for word in ("INFO", "WARN", "ERROR", "trap or message", "proof that it does not run"):
        assert word in text
    assert text.count('class="mark"') == text.count('<tr><td class="n">')


def test_the_present_state_is_shown(agent: Agent, tmp_path: Path) -> None:
    sample = sample_status()
    (group,) = sample.groups
    waiting = WaitingView(
        text="waits for proof that it does not run on server2",
        since_s=35.0,
        server="server2",
        proofs={"released": "no: server2 does not answer", "power off": f"no: {HOSTILE}"},
        mend="clpnode confirm-down server2 --yes",
    )
    first, second = sample.servers
    agent.change(
        msgspec.structs.replace(
            sample,
            cluster=msgspec.structs.replace(
                sample.cluster, status="Error", electorate=("server1", "server2"), suspended=True
            ),
            servers=(
                msgspec.structs.replace(
                    first,
                    bmc=BmcView(address="192.0.2.11", power="on", reachable=True, latency_ms=3.0),
                    np=(ArbiterView(name="etcd1", type="etcd", status="Normal"),),
                    conditions=(ConditionView(name="room", text="a full disk", mend=HOSTILE),),
                ),
                msgspec.structs.replace(second, status="Unknown"),
            ),
            groups=(
                msgspec.structs.replace(
                    group, status="Offline", current=None, waiting_for=waiting, name="g" * 31
                ),
            ),
        )
    )
    event = OpenHardware(
        id=4711, event_class="FATAL", meaning=HOSTILE, first=T, last=T, count=3, monitor="mrw1"
    )

    async def hardware() -> HardwareView:
        dark = HardwareOfServer(name="server2", unreachable="no answer within 1 s")
        return HardwareView(servers=(HardwareOfServer(name="server1", open=(event,)), dark))

    agent.backend.hardware = hardware  # type: ignore[method-assign]
    agent.backend.records = hostile()
    path = tmp_path / "state.html"
    assert run("clpstat", ["--html", "-o", str(path)]) == 0
    assert chromium.complaints(path) == []
    text = path.read_text()
    alone(text)
    for word in ("Error", "suspended", "confirm-down server2", "4711", "etcd1", "no answer within"):
        assert word in text
    # Why a server is at Caution, and what to type.
    for words in ("server1: a full disk.", "<code>clpcl --resume</code>"):
        assert words in text
    assert '<meta http-equiv="refresh" content="30">' in text
    for width in (1200, 700):
        looked = chromium.looked_at(path, tmp_path, width)
        assert looked["scripts"] == 0
        assert looked["wide"] <= looked["room"]
        assert chromium.overlaps([cell for cell in looked["cells"] if cell["text"].strip()]) == []
