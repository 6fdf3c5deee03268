"""Events of a Redfish BMC: by its stream, its pushes and its log; each once, durable, in order."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clptools.common import redfish as common
from clptools.core.model.events import HardwareSeen
from clptools.core.model.settings import Cluster, Monitor, Server, Settings, TrapProfile
from clptools.hardware.redfish import send_test_event
from clptools.intake import redfish_watch
from clptools.intake.notices import RedfishEventsCome, RedfishEventsMissed, RedfishTestArrived
from clptools.intake.redfish import RedfishEvents
from tests.conftest import LIMIT_S, free_port
from tests.noticed import Noticed
from tests.redfish.parts import PASSWORD, Redfish, redfish, until

CPU = "/redfish/v1/Systems/1/Processors/CPU0"
CRITICAL = "ResourceEvent.1.3.0.ResourceStatusChangedCritical"
OK = "ResourceEvent.1.3.0.ResourceStatusChangedOK"


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node of its own, in which little time stands for much."""
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    for folder in ("etc/clptools/bmc", "run/clptools"):
        (tmp_path / folder).mkdir(parents=True)
    file = tmp_path / "etc/clptools/bmc/server1"
    file.write_text(PASSWORD)
    file.chmod(0o600)
    monkeypatch.setattr(redfish_watch, "LOG_S", 0.4)
    monkeypatch.setattr(redfish_watch, "SUBSCRIPTION_S", 0.4)
    monkeypatch.setattr(redfish_watch, "AGAIN_S", (0.1, 0.5))


class Ears:
    """What came of it."""

    def __init__(self, bmc: Redfish) -> None:
        self.bmc = bmc
        self.events: list[HardwareSeen] = []
        self.notes = Noticed()
        self.full = False
        self.profiles: tuple[TrapProfile, ...] = ()
        self.intake = RedfishEvents("server1", b"k" * 32, self.take, self.notes.take)
        port = free_port()
        self.keyword = f"127.0.0.1:{port}"

    async def take(self, event: HardwareSeen) -> None:
        await asyncio.sleep(0)
        if self.full:
            raise OSError("full")
        self.events.append(event)

    def settings(self, **more: Any) -> Settings:
        monitor = Monitor(
            name="mrw1",
            type="mrw",
            servers=("server1",),
            category="BMCNOTICE",
            keywords={"server1": self.keyword},
        )
        server = Server(name="server1", bmc=self.bmc.settings())
        made = Settings(
            cluster=Cluster(name="c"),
            servers=(server,),
            monitors=(monitor,),
            trap_profiles=self.profiles,
        )
        return msgspec.structs.replace(made, **more)

    def classes(self) -> list[str]:
        return [event.event_class for event in self.events]

    def count(self, name: str) -> int:
        return self.intake.counters.as_dict()[name]

    async def listening(self, way: str = "") -> None:
        """Until a way that the BMC offers is there, and its log was read."""
        self.intake.apply(self.settings())
        look = self.bmc.do
        if way == "stream":
            await until("a stream", lambda: look("look")["streams"])
        elif way == "push":
            await until("a subscription", lambda: look("look")["subscriptions"])
        else:
            await until("the log was read", lambda: look("look")["counters"].get("log"))
        await asyncio.sleep(0.2)


@asynccontextmanager
async def hearing(folder: Path, **options: Any) -> AsyncIterator[Ears]:
    with redfish(folder, **options) as bmc:
        ears = Ears(bmc)
        try:
            yield ears
        finally:
            await ears.intake.close()


@pytest.mark.parametrize(
    ("way", "options"),
    [
        ("stream", {"push": False, "log": False}),
        ("push", {"sse": False, "log": False}),
        ("push", {"sse": False, "log": False, "event_types_only": True}),
        ("log", {"sse": False, "push": False}),
    ],
)
async def test_a_fault_and_its_end_by_each_way(
    tmp_path: Path, way: str, options: dict[str, bool]
) -> None:
    async with hearing(tmp_path, **options) as ears:
        await ears.listening(way)
        ears.bmc.event(CRITICAL, "Critical", CPU)
        await until("the fault", lambda: ears.events)
        ears.bmc.event(OK, "OK", CPU)
        await until("its end", lambda: len(ears.events) == 2)
        fault, end = ears.events
        assert (fault.event_class, end.event_class) == ("FATAL", "CLEAR")
        assert fault.key == f"redfish/{CPU}/health"
        assert fault.key in end.closes
        assert (fault.monitor, fault.source) == ("mrw1", ears.bmc.address)
        assert ("by", way) in fault.varbinds
        if way == "push":
            await until("both are answered", lambda: ears.bmc.do("look")["pushed"] == [200, 200])


async def test_what_comes_by_all_ways_counts_once(tmp_path: Path) -> None:
    async with hearing(tmp_path) as ears:
        await ears.listening("stream")
        await ears.listening("log")
        ears.bmc.event(CRITICAL, "Critical", CPU)
        ears.bmc.event(CRITICAL, "Critical", f"{CPU}1")
        await until("both ways told both", lambda: ears.count("duplicate") >= 2)
        assert ears.classes() == ["FATAL", "FATAL"]
        await asyncio.sleep(1)
        assert ears.count("stream_silent") == 0


async def test_two_alike_within_a_second_are_two(tmp_path: Path) -> None:
    """Fault, end and fault again: the last one must not be taken for the first."""
    async with hearing(tmp_path) as ears:
        await ears.listening("stream")
        stamp = "2026-11-30T10:00:00Z"
        for message, severity in ((CRITICAL, "Critical"), (OK, "OK"), (CRITICAL, "Critical")):
            ears.bmc.event(message, severity, CPU, EventTimestamp=stamp)
        await until("all three", lambda: len(ears.events) == 3)
        assert ears.classes() == ["FATAL", "CLEAR", "FATAL"]
        assert len({event.duplicate_key for event in ears.events}) == 3
        await until("the log told them, too", lambda: ears.count("duplicate") >= 3)
        assert len(ears.events) == 3


async def test_the_wrong_order_twice_and_a_future_time(tmp_path: Path) -> None:
    async with hearing(tmp_path, log=False) as ears:
        await ears.listening("stream")
        ears.bmc.event(OK, "OK", CPU, EventTimestamp="2026-11-30T10:00:05Z")
        ears.bmc.event(CRITICAL, "Critical", CPU, EventTimestamp="2026-11-30T10:00:03Z")
        await until("it was overtaken", lambda: ears.count("late") == 1)
        assert ears.classes() == ["CLEAR"]
        for _ in range(2):
            ears.bmc.event(
                CRITICAL, "Critical", CPU, EventTimestamp="2099-01-01T00:00:00Z", EventId="x"
            )
        ears.bmc.event(OK, "OK", CPU, EventTimestamp="2026-11-30T10:00:09Z")
        await until("the end", lambda: ears.classes() == ["CLEAR", "FATAL", "CLEAR"])
        assert ears.count("duplicate") == 1
        ears.bmc.event(CRITICAL, "Critical", CPU, EventTimestamp="when?")
        await until("without a time", lambda: len(ears.events) == 4)


async def test_the_log_fills_what_the_stream_missed(tmp_path: Path) -> None:
    async with hearing(tmp_path) as ears:
        await ears.listening("stream")
        ears.bmc.event(CRITICAL, "Critical", CPU, sse=False)
        await until("the log has it", lambda: ears.classes() == ["FATAL"])
        assert ("by", "log") in ears.events[0].varbinds
        assert ears.count("log_filled") == 1


async def test_the_log_tells_while_the_stream_is_begun_anew(tmp_path: Path) -> None:
    async with hearing(tmp_path) as ears:
        await ears.listening("stream")
        await asyncio.sleep(1)
        ears.bmc.do("hang up")
        ears.bmc.event(CRITICAL, "Critical", CPU, sse=False)
        await until("the log has it", lambda: ears.classes() == ["FATAL"])
        await until("a stream again", lambda: ears.bmc.do("look")["streams"] == 1)
        await asyncio.sleep(1.5)
        assert ears.count("stream_silent") == 0


async def test_a_stream_that_hangs_is_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redfish_watch, "STUCK_S", 0.6)
    async with hearing(tmp_path) as ears:
        await ears.listening("stream")
        await asyncio.sleep(1)
        ears.bmc.event(CRITICAL, "Critical", CPU, sse=False)
        await until("the log has it", lambda: ears.classes() == ["FATAL"])
        await until("it is found silent", lambda: ears.count("stream_silent") == 1)
        await until("another stream", lambda: ears.bmc.counter("sse") == 2)
        ears.bmc.event(OK, "OK", CPU)
        await until("which tells", lambda: ears.classes() == ["FATAL", "CLEAR"])
        told = [note for note in ears.notes if "does not tell" in note]
        assert len(told) == 1


@pytest.mark.parametrize(
    ("data", "note"),
    [
        ("data: {\n", "it stopped inside an event"),
        ("data: " + "x" * 3_000_000, "an event in it is too long"),
    ],
)
async def test_a_stream_that_sends_nonsense_is_begun_anew(
    tmp_path: Path, data: str, note: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redfish_watch, "STUCK_S", 1.0)
    async with hearing(tmp_path, log=False) as ears:
        await ears.listening("stream")
        ears.bmc.do("raw", data=data)
        await until("it is said", lambda: any(note in each for each in ears.notes))
        await until("another stream", lambda: ears.bmc.counter("sse") >= 2)
        ears.bmc.do("raw", data="data: <html>\n\ndata: [1]\n\n: and a comment\n\n")
        await until("it is counted", lambda: ears.count("malformed") == 2)
        assert sum("no JSON object" in each for each in ears.notes) == 1
        ears.bmc.event(CRITICAL, "Critical", CPU)
        await until("it goes on", lambda: ears.classes() == ["FATAL"])


async def test_an_event_that_comes_byte_by_byte_does_not_hold_the_stream(tmp_path: Path) -> None:
    """Each byte comes in time, the event never."""
    async with hearing(tmp_path, log=False) as ears:
        await ears.listening("stream")
        ears.bmc.do("raw", data="data: {")
        deadline = time.monotonic() + 15
        while not any("stopped inside an event" in note for note in ears.notes):
            assert time.monotonic() < deadline
            ears.bmc.do("raw", data=" ")
            await asyncio.sleep(0.1)
        await until("another stream", lambda: ears.bmc.counter("sse") >= 2)
        ears.bmc.event(CRITICAL, "Critical", CPU)
        await until("it goes on", lambda: ears.classes() == ["FATAL"])


async def test_what_a_log_still_has_is_no_duplicate_each_time_it_is_read(tmp_path: Path) -> None:
    async with hearing(tmp_path, sse=False, push=False) as ears:
        await ears.listening("log")
        ears.bmc.event(CRITICAL, "Critical", CPU)
        await until("it came", lambda: ears.classes() == ["FATAL"])
        read = ears.bmc.counter("log")
        await until("it is read again", lambda: ears.bmc.counter("log") >= read + 3)
        assert (ears.count("received"), ears.count("duplicate")) == (1, 0)


@pytest.mark.parametrize(
    "mode", ["html", "redirect", "401", "503", "empty", "huge", "hang", "slow", "deep", "types"]
)
async def test_a_service_that_answers_nonsense_stops_nothing(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "REFUSED_MS", 500)
    if mode == "hang":
        monkeypatch.setattr(redfish_watch, "ANSWER_S", 1.0)

    async with hearing(tmp_path) as ears:
        ears.bmc.do("set", mode=mode)
        ears.intake.apply(ears.settings())
        await until("it is said", lambda: ears.notes)
        await until("it is met again", lambda: ears.count("faults") >= 2)
        await asyncio.sleep(1.5)
        faults = [note for note in ears.notes if "works again" not in note]
        assert len(faults) == len(set(faults)) <= 2, "each fault once"
        assert ears.count("faults") >= 2
        ears.bmc.do("set", mode="")
        await until("a stream", lambda: ears.bmc.do("look")["streams"] >= 1)
        ears.bmc.event(CRITICAL, "Critical", CPU)
        await until("it goes on", lambda: ears.classes() == ["FATAL"])
        await until("it is said, too", lambda: any("works again" in n for n in ears.notes))
        assert ears.notes.kinds[-1] is RedfishEventsCome


async def test_a_refused_password_is_not_shown_by_each_way(tmp_path: Path) -> None:
    async with hearing(tmp_path) as ears:
        file = tmp_path / "etc/clptools/bmc/server1"
        file.write_text("wrong")
        ears.intake.apply(ears.settings())
        await until("it is said", lambda: any("401" in note for note in ears.notes))
        await asyncio.sleep(2)
        assert ears.bmc.counter("refused") == 1
        file.write_text(PASSWORD)
        await until("a stream", lambda: ears.bmc.do("look")["streams"])


async def test_another_certificate_is_one_line_and_gets_no_password(tmp_path: Path) -> None:
    async with hearing(tmp_path) as ears:
        bmc = ears.bmc.settings(certificate="sha256:" + "ab" * 32)
        server = Server(name="server1", bmc=bmc)
        ears.intake.apply(ears.settings(servers=(server,)))
        await until("it is said", lambda: ears.count("faults") >= 3)
        (note,) = ears.notes
        assert "another certificate than the pinned one" in note
        assert ears.bmc.counter("asked") == 0


async def test_nobody_there_is_one_line(tmp_path: Path) -> None:
    async with hearing(tmp_path) as ears:
        ears.bmc.kill()
        ears.intake.apply(ears.settings())
        await until("it is said", lambda: ears.count("faults") >= 3)
        (note,) = ears.notes
        assert "connection refused" in note
        assert ears.notes.kinds == [RedfishEventsMissed]
        ears.bmc.start()
        await until("a stream", lambda: ears.bmc.do("look")["streams"])


@pytest.mark.parametrize(
    ("said", "note"),
    [
        (None, "no answer within 1 s"),
        (b"", "connection"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "TLS"),
        (b"\x16\x03\x03" + b"\xff" * 70_000, "TLS"),
    ],
    ids=["nothing", "the end", "HTTP without TLS", "noise"],
)
async def test_what_is_no_tls_service_is_one_line(
    tmp_path: Path, said: bytes | None, note: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redfish_watch, "ANSWER_S", 1.0)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if said is not None:
            with contextlib.suppress(OSError):
                writer.write(said)
                await writer.drain()
            writer.close()

    async with hearing(tmp_path) as ears:
        other = await asyncio.start_server(talk, "127.0.0.1")
        port = other.sockets[0].getsockname()[1]
        bmc = msgspec.structs.replace(ears.bmc.settings(), address="127.0.0.1", port=port)
        ears.intake.apply(ears.settings(servers=(Server(name="server1", bmc=bmc),)))
        await until("it is said", lambda: ears.count("faults") >= 3)
        (told,) = ears.notes
        assert note in told and len(told) < 300
        ears.intake.apply(ears.settings())
        await until("a stream", lambda: ears.bmc.do("look")["streams"])
        other.close()


@pytest.mark.parametrize("mode", ["html", "redirect", "401", "503", "empty", "huge", "hang"])
async def test_a_stream_that_is_none_leaves_the_log(
    tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(common, "REFUSED_MS", 500)
    monkeypatch.setattr(redfish_watch, "ANSWER_S", 1.0)
    async with hearing(tmp_path, push=False) as ears:
        ears.bmc.do("set", mode=f"{mode} /SSE")
        await ears.listening("log")
        ears.bmc.event(CRITICAL, "Critical", CPU)
        await until("the log tells", lambda: ears.classes() == ["FATAL"])
        ears.bmc.do("set", mode="")
        await until("a stream", lambda: ears.bmc.do("look")["streams"])
        ears.bmc.event(OK, "OK", CPU)
        await until("it tells", lambda: ears.classes() == ["FATAL", "CLEAR"])
        assert len(ears.notes) == len(set(ears.notes)) <= 4, list(ears.notes)


async def test_a_stream_that_always_ends_soon_is_not_asked_for_without_end(tmp_path: Path) -> None:
    """Pushes are asked for as well."""
    async with hearing(tmp_path) as ears:
        await ears.listening("stream")
        for _ in range(40):
            ears.bmc.do("hang up")
            await asyncio.sleep(0.05)
        assert ears.bmc.counter("sse") <= 8
        await until("a subscription", lambda: ears.bmc.do("look")["subscriptions"])
        ears.bmc.event(CRITICAL, "Critical", CPU)
        await until("it is told", lambda: ears.events)
        await until("it was pushed", lambda: ears.bmc.do("look")["pushed"] == [200])
        assert ears.classes() == ["FATAL"]


async def test_a_subscription_that_vanished_is_made_again(tmp_path: Path) -> None:
    async with hearing(tmp_path, sse=False, log=False) as ears:
        await ears.listening("push")
        ears.bmc.do("forget")
        await until("it is there", lambda: ears.bmc.do("look")["subscriptions"])
        await asyncio.sleep(1)
        (found,) = ears.bmc.do("look")["subscriptions"]
        assert found["Destination"].startswith(f"https://{ears.keyword}/redfish/")
        ears.bmc.event(CRITICAL, "Critical", CPU)
        await until("it is told", lambda: ears.classes() == ["FATAL"])


async def test_a_push_that_cannot_be_kept_is_not_answered_as_kept(tmp_path: Path) -> None:
    async with hearing(tmp_path, sse=False, log=False) as ears:
        await ears.listening("push")
        ears.full = True
        ears.bmc.event(CRITICAL, "Critical", CPU, EventId="1")
        await until("it is refused", lambda: ears.bmc.do("look")["pushed"] == [503])
        assert ears.count("undelivered") == 1
        ears.full = False
        ears.bmc.event(CRITICAL, "Critical", CPU, EventId="1")
        await until("it is kept", lambda: ears.bmc.do("look")["pushed"] == [503, 200])
        assert ears.classes() == ["FATAL"]


async def test_whoever_does_not_know_the_path_pushes_nothing(tmp_path: Path) -> None:
    async with hearing(tmp_path, sse=False, log=False) as ears:
        await ears.listening("push")
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE

        def post(path: str) -> int:
            url = f"https://{ears.keyword}{path}"
            try:
                urllib.request.urlopen(url, b'{"Events": []}', LIMIT_S, context=context)
            except urllib.error.HTTPError as error:
                return error.code
            return 0

        assert await asyncio.to_thread(post, "/redfish/guess") == 404
        assert await asyncio.to_thread(post, "/") == 404
        assert ears.count("refused") == 2
        assert ears.events == []


async def test_an_agent_that_starts_takes_what_came_while_it_did_not_run(tmp_path: Path) -> None:
    async with hearing(tmp_path, sse=False, push=False) as ears:
        ears.bmc.event(CRITICAL, "Critical", f"{CPU}7")
        await ears.listening("log")
        await asyncio.sleep(0.5)
        assert ears.events == [], "what was there before anybody looked is no news"
        await ears.intake.close()
        ears.bmc.event(CRITICAL, "Critical", CPU)
        after = Ears(ears.bmc)
        await after.listening("log")
        await until("it is taken", lambda: after.classes() == ["FATAL"])
        assert after.events[0].key == f"redfish/{CPU}/health"
        await after.intake.close()


async def test_what_no_row_knows_is_told_with_how_to_mend_it(tmp_path: Path) -> None:
    async with hearing(tmp_path, log=False) as ears:
        await ears.listening("stream")
        for number in range(3):
            ears.bmc.event("iLOEvents.3.1.NewThing", "Warning", f"{CPU}{number}")
        await until("they came", lambda: len(ears.events) == 3)
        assert ears.classes() == ["UNKNOWN"] * 3
        assert ears.count("unknown") == 3
        (note,) = (each for each in ears.notes if "No row knows" in each)
        assert 'row "redfish iLOEvents.NewThing"' in note


async def test_a_storm_hides_no_fatal_event(tmp_path: Path) -> None:
    async with hearing(tmp_path, log=False) as ears:
        await ears.listening("stream")
        for number in range(400):
            ears.bmc.event("Power.1.0.PowerSupplyFailed", "Critical", f"/psu/{number}")
        ears.bmc.event(CRITICAL, "Critical", CPU)
        await until("the fatal one", lambda: "FATAL" in ears.classes())
        assert ears.count("received") == 401
        if ears.count("storm"):
            assert sum("more events at once" in note for note in ears.notes) == 1


async def test_a_test_that_the_bmc_sends_is_seen_and_does_nothing(tmp_path: Path) -> None:
    async with hearing(tmp_path) as ears:
        await ears.listening("stream")
        await send_test_event("server1", ears.bmc.settings(), "word-7")
        await until("it came", lambda: ears.events)
        assert ears.classes() == ["INFO"]
        assert any(note.endswith("arrived: word-7") for note in ears.notes)
        assert RedfishTestArrived in ears.notes.kinds
        assert ears.count("test") == 1


async def test_a_changed_configuration_is_followed(tmp_path: Path) -> None:
    async with hearing(tmp_path) as ears:
        await ears.listening("stream")
        ears.intake.apply(ears.settings(monitors=()))
        await until("it is let go", lambda: ears.count("stream_ended") == 1)
        await ears.listening("stream")


@pytest.mark.parametrize("way", ["stream", "push", "log"])
@pytest.mark.parametrize(
    ("options", "event_class"),
    [
        ({"vendor": "Dell"}, "PERFORMANCE"),
        ({"manufacturer": "Dell Inc."}, "PERFORMANCE"),
        ({"vendor": "HPE"}, "FATAL"),
        ({}, "FATAL"),
    ],
)
async def test_a_row_of_a_manufacturer_is_for_its_bmcs_alone(
    tmp_path: Path, way: str, options: dict[str, Any], event_class: str
) -> None:
    row = {"redfish ResourceEvent.ResourceStatusChangedCritical": "PERFORMANCE"}
    profile = TrapProfile(name="dell", rows=row, manufacturers=(674,))

    async with hearing(tmp_path, sse=way == "stream", push=way == "push", **options) as ears:
        ears.profiles = (profile,)
        await ears.listening(way)
        ears.bmc.event(CRITICAL, "Critical", CPU)
        await until("its event", lambda: ears.events)
        assert ears.classes() == [event_class]
