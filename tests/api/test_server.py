"""Callers of the socket, good and bad, against a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import shutil
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clptools.api.client import Client
from clptools.api.local_socket import boot_ms, private_path
from clptools.api.messages import Explanation
from clptools.api.methods import Caller
from clptools.core import replies
from clptools.core.model.requests import GroupMove, Outcome
from clptools.core.model.view import ClusterView, StatusView
from clptools.faults import ClpError, ExitCode
from tests.api.fake import Agent, socket_path
from tests.conftest import LIMIT_S, wait_until


def raw(agent: Agent) -> socket.socket:
    """A connection without the client's manners."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(LIMIT_S)
    sock.connect(agent.path)
    return sock


def exchange(agent: Agent, *calls: dict[str, object]) -> list[dict[str, object]]:
    """Replies to pipelined calls, one each."""
    with raw(agent) as sock:
        sock.sendall(b"".join(json.dumps(c).encode() + b"\0" for c in calls))
        data = b""
        while data.count(b"\0") < sum(not c.get("oneway") for c in calls):
            chunk = sock.recv(65536)
            if not chunk:
                break
            data += chunk
    return [json.loads(part) for part in data.split(b"\0") if part]


def hung_up(sock: socket.socket) -> bytes:
    """What came before the agent closed the connection."""
    data = b""
    try:
        while chunk := sock.recv(65536):
            data += chunk
    except ConnectionResetError:
        pass
    return data


@contextlib.contextmanager
def as_reader(agent: Agent, uid: Callable[[], int] = lambda: 1000) -> Iterator[None]:
    """Whoever connects in the block counts as a user who may only read."""
    caller = agent.server._caller

    def reader(_: socket.socket) -> tuple[Caller, int]:
        return Caller("reader", may_write=False), uid()

    agent.server._caller = reader  # type: ignore[method-assign]  # tests have one user
    yield
    agent.server._caller = caller  # type: ignore[method-assign]


def test_status_comes_back_as_its_json(agent: Agent) -> None:
    with Client(agent.path) as client:
        status = client.call("GetStatus")["status"]
        assert isinstance(status, dict)
        assert status["cluster"]["name"] == "cluster"
        assert status["schema"] == 1
        own = client.call("GetStatus", local=True)["status"]
        assert isinstance(own, dict)
        assert [s["name"] for s in own["servers"]] == ["server1"]


def test_a_request_shows_its_steps_and_its_outcome(agent: Agent) -> None:
    agent.backend.steps = ("stops on server1", "starts on server2")
    agent.backend.outcome = Outcome(code=6, text="no", hint="ask again")
    wanted = {"type": "group-move", "group": "failover1", "to": "server2"}
    with Client(agent.path) as client:
        replies = list(client.stream("Request", request=wanted, user="alice"))
    assert replies == [
        {"progress": "stops on server1"},
        {"progress": "starts on server2"},
        {"outcome": {"code": 6, "text": "no", "hint": "ask again"}},
    ]
    assert agent.backend.asked == [(GroupMove(group="failover1", to="server2"), "alice (root)")]


CHANGING: list[tuple[str, dict[str, object], str]] = [
    ("Request", {"request": {"type": "group-stop", "group": "failover1"}}, "group-stop"),
    ("PushConfig", {"files": {"clp.toml": ""}}, "a push of the configuration"),
    ("RunScript", {"script": "weekly"}, "the script 'weekly'"),
    ("Identify", {"on": True}, "identify LED on"),
    ("WriteLog", {"text": "backup begins"}, "the log line 'backup begins'"),
]


@pytest.mark.parametrize(("method", "parameters", "named"), CHANGING, ids=[m for m, *_ in CHANGING])
def test_a_change_that_comes_up_late_is_refused_and_told(
    agent: Agent, method: str, parameters: dict[str, object], named: str
) -> None:
    call: dict[str, object] = {"method": f"org.clptools.Node.{method}", "parameters": parameters}
    [late] = exchange(agent, call | {"asked_at": boot_ms() - 754_000})
    assert late["error"] == "org.clptools.Node.Fault"
    told = late["parameters"]
    assert isinstance(told, dict)
    assert (told["code"], told["hint"]) == (6, replies.ASK_AGAIN)
    assert named in told["message"]
    assert "asked by root 754." in told["message"]
    backend = agent.backend
    assert [late.told() for late in backend.late] == [told["message"]]
    assert not (backend.asked or backend.pushed or backend.scripts or backend.lit or backend.logged)
    # In time, and from a caller that says nothing of it: carried out.
    in_time = exchange(agent, call | {"asked_at": boot_ms() - 5_000}, call)
    assert all("error" not in reply for reply in in_time)
    assert len(backend.late) == 1


def test_what_only_reads_is_never_late(agent: Agent) -> None:
    long_ago = {"asked_at": boot_ms() - 754_000}
    push = {"files": {"clp.toml": ""}, "dry_run": True}
    replies = exchange(
        agent,
        {"method": "org.clptools.Node.GetStatus", **long_ago},
        {"method": "org.clptools.Node.GetConfig", **long_ago},
        {"method": "org.clptools.Node.PushConfig", "parameters": push, **long_ago},
    )
    assert all("error" not in reply for reply in replies)
    assert agent.backend.late == []


def test_without_more_only_the_outcome_comes(agent: Agent) -> None:
    agent.backend.steps = ("one",)
    with Client(agent.path) as client:
        assert client.call("Request", request={"type": "resume"}) == {"outcome": {}}


def test_work_goes_on_when_the_caller_hangs_up(agent: Agent) -> None:
    agent.backend.hold = True
    with Client(agent.path, timeout_s=0.2) as client:
        with pytest.raises(ClpError) as raised:
            client.call("Request", request={"type": "suspend"})
        assert raised.value.code == ExitCode.TIMED_OUT
    with Client(agent.path) as client:
        assert client.call("GetCounters") == {"counters": {"trap.malformed": 1}}
    assert len(agent.backend.asked) == 1
    agent.backend.hold = False


def test_watching_sees_each_change_and_ends_with_the_caller(agent: Agent) -> None:
    with Client(agent.path) as client:
        seen = client.stream("WatchStatus")
        assert next(seen)["status"]
        agent.change(StatusView(cluster=ClusterView(name="other", status="Error")))
        status = next(seen)["status"]
        assert isinstance(status, dict)
        assert status["cluster"]["name"] == "other"
        assert agent.backend.watching == 1
    wait_until(lambda: agent.backend.watching == 0)


def test_events_come_whole_and_after_a_cursor(agent: Agent) -> None:
    with Client(agent.path) as client:
        batches = [reply["events"] for reply in client.stream("GetEvents")]
        assert [len(b) for b in batches if isinstance(b, list)] == [100, 100, 50, 0]
        once = client.call("GetEvents", since="server1:cafe:247")["events"]
        assert isinstance(once, list)
        assert [e["text"] for e in once] == ["event 248", "event 249"]


def test_followed_events_stay_open_until_the_caller_goes(agent: Agent) -> None:
    with Client(agent.path) as client:
        stream = client.stream("GetEvents", since="server1:cafe:248", follow=True)
        events = next(stream)["events"]
        assert isinstance(events, list)
        assert events[0]["cursor"] == "server1:cafe:249"


def test_the_agents_faults_arrive_as_they_are(agent: Agent) -> None:
    with Client(agent.path) as client, pytest.raises(ClpError) as raised:
        client.call("Explain", subject="failover9")
    assert raised.value.code == ExitCode.NO_SUCH
    assert raised.value.message == "failover9: no such name."
    assert raised.value.hint == "Known: failover1"


def test_a_oneway_call_is_carried_out_without_a_reply(agent: Agent) -> None:
    oneway: dict[str, object] = {
        "method": "org.clptools.Node.Request",
        "parameters": {"request": {"type": "resume"}},
        "oneway": True,
    }
    info: dict[str, object] = {"method": "org.varlink.service.GetInfo"}
    (reply,) = exchange(agent, oneway, info)
    parameters = reply["parameters"]
    assert isinstance(parameters, dict)
    assert parameters["interfaces"] == ["org.varlink.service", "org.clptools.Node"]
    assert len(agent.backend.asked) == 1


@pytest.mark.parametrize(
    ("call", "error", "parameters"),
    [
        (
            {"method": "org.clptools.Node.Fly"},
            "MethodNotFound",
            {"method": "org.clptools.Node.Fly"},
        ),
        ({"method": "org.example.X"}, "InterfaceNotFound", {"interface": "org.example"}),
        ({"method": "nonsense"}, "InterfaceNotFound", {"interface": ""}),
        (
            {"method": "org.varlink.service.GetInterfaceDescription", "parameters": {}},
            "InvalidParameter",
            None,
        ),
        (
            {"method": "org.clptools.Node.GetStatus", "parameters": {"local": "yes"}},
            "InvalidParameter",
            None,
        ),
        (
            {"method": "org.clptools.Node.GetStatus", "parameters": {"lokal": True}},
            "InvalidParameter",
            None,
        ),
        (
            {"method": "org.clptools.Node.Request", "parameters": {"request": {"type": "fly"}}},
            "InvalidParameter",
            None,
        ),
        ({"method": "org.clptools.Node.GetStatus", "upgrade": True}, "InvalidParameter", None),
    ],
)
def test_wrong_calls_get_varlinks_own_errors(
    agent: Agent, call: dict[str, object], error: str, parameters: dict[str, str] | None
) -> None:
    (reply,) = exchange(agent, call)
    assert reply["error"] == f"org.varlink.service.{error}"
    if parameters is not None:
        assert reply["parameters"] == parameters


def test_deep_nesting_is_refused_and_nothing_more(agent: Agent) -> None:
    deep = b'{"method":"org.clptools.Node.Explain","parameters":' + b"[" * 9000 + b"]" * 9000
    with raw(agent) as sock:
        sock.sendall(deep + b"}\0")
        hung_up(sock)
    assert_alive(agent)


def assert_alive(agent: Agent) -> None:
    with Client(agent.path) as client:
        assert client.call("GetStatus")


@pytest.mark.parametrize(
    "garbage", [b"\0", b"GET / HTTP/1.0\r\n\r\n\0", b"[1]\0", b"{}\0", b"\xff\0"]
)
def test_garbage_is_hung_up_on_and_counted(agent: Agent, garbage: bytes) -> None:
    with raw(agent) as sock:
        sock.sendall(garbage)
        assert hung_up(sock) == b""
    assert agent.server.counters == {"malformed": 1}
    assert_alive(agent)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.binary(max_size=300))
def test_fuzz_no_bytes_break_the_socket(agent: Agent, data: bytes) -> None:
    with raw(agent) as sock:
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        hung_up(sock)
    assert "bug" not in agent.server.counters
    assert_alive(agent)


def test_a_huge_message_is_refused_before_it_is_held(agent: Agent) -> None:
    agent.server._limits = agent.limits._replace(writer_message=100_000)
    with raw(agent) as sock:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(b"x" * 5_000_000)
        answer = hung_up(sock)
    assert b"longer than 100000 bytes" in answer
    assert_alive(agent)


def test_half_a_message_is_not_waited_for_without_end(agent: Agent) -> None:
    with raw(agent) as sock:
        sock.sendall(b'{"method":')
        assert hung_up(sock) == b""
    assert agent.server.counters == {"slow": 1}


def test_a_caller_that_never_reads_is_dropped(agent: Agent) -> None:
    many = (
        b'{"method":"org.varlink.service.GetInterfaceDescription",'
        b'"parameters":{"interface":"org.clptools.Node"}}\0'
    )
    with raw(agent) as sock:
        sock.setblocking(False)
        deadline = time.monotonic() + LIMIT_S
        while not agent.server.counters:
            assert time.monotonic() < deadline
            try:
                sock.send(many * 100)
            except BlockingIOError:
                time.sleep(0.01)
            except (BrokenPipeError, ConnectionResetError):
                break
        wait_until(lambda: agent.server.counters == {"slow": 1})
    assert_alive(agent)


INFO = b'{"method":"org.varlink.service.GetInfo"}\0'


def asking(agent: Agent) -> socket.socket:
    """A connection that asked something, was answered, and stays."""
    sock = raw(agent)
    sock.sendall(INFO)
    assert sock.recv(65536)
    return sock


def gone(sock: socket.socket) -> bool:
    """Whether the agent hangs up."""
    sock.settimeout(LIMIT_S)
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True


def stays(sock: socket.socket) -> bool:
    """Whether the agent does not."""
    sock.settimeout(0.05)
    try:
        return sock.recv(1) != b""
    except ConnectionResetError:
        return False
    except TimeoutError:
        return True


@contextlib.contextmanager
def small(tmp_path: Path, **limits: float) -> Iterator[Agent]:
    """An agent with few places."""
    few = Agent(socket_path(tmp_path))
    few.limits = few.limits._replace(**limits)  # type: ignore[arg-type]  # places are whole
    with few.running() as agent:
        yield agent


def test_connections_that_never_asked_give_way_the_oldest_first(tmp_path: Path) -> None:
    with small(tmp_path, connections=3) as agent, contextlib.ExitStack() as closing:
        first, second = (closing.enter_context(raw(agent)) for _ in range(2))
        third = closing.enter_context(asking(agent))
        for _ in range(2):
            closing.enter_context(asking(agent))
        assert gone(first) and gone(second) and stays(third)
        assert agent.server.counters == {"gave_way": 2}
        wait_until(lambda: len(agent.server._users) == 3)


def test_root_gets_a_place_whatever_roots_programs_hold(tmp_path: Path) -> None:
    with small(tmp_path, connections=3) as agent, contextlib.ExitStack() as closing:
        idle = closing.enter_context(asking(agent))
        watching = [closing.enter_context(Client(agent.path)) for _ in range(2)]
        for client in watching:
            assert next(client.stream("WatchStatus"))
        for _ in range(5):
            assert_alive(agent)
        assert gone(idle)
        third = closing.enter_context(Client(agent.path))
        assert next(third.stream("WatchStatus"))
        assert_alive(agent)
        with pytest.raises(ClpError, match="closed the connection"):
            watching[0]._reply("WatchStatus")


def test_places_of_readers_are_few_and_roots_are_not_among_them(tmp_path: Path) -> None:
    with (
        small(tmp_path, connections=4, connections_of_readers=3) as agent,
        contextlib.ExitStack() as closing,
    ):
        uids = itertools.count(1000)
        with as_reader(agent, lambda: next(uids)):
            held = [closing.enter_context(asking(agent)) for _ in range(3)]
            with Client(agent.path) as client, pytest.raises(ClpError, match="too many connec"):
                client.call("GetStatus")
        assert_alive(agent)
        assert all(stays(sock) for sock in held)


def test_a_reader_drives_away_no_connection_of_root(tmp_path: Path) -> None:
    with small(tmp_path, connections=2) as agent, contextlib.ExitStack() as closing:
        held = [closing.enter_context(raw(agent)) for _ in range(2)]
        wait_until(lambda: len(agent.server._users) == 2)
        with as_reader(agent), Client(agent.path) as client, pytest.raises(ClpError):
            client.call("GetStatus")
        assert all(stays(sock) for sock in held)


def test_refused_callers_hold_nothing_and_root_gets_through(tmp_path: Path) -> None:
    with (
        small(tmp_path, connections_per_user=2, refused=3, refused_s=0.2) as agent,
        contextlib.ExitStack() as closing,
    ):
        before = len(os.listdir("/proc/self/fd"))
        with as_reader(agent):
            held = [closing.enter_context(asking(agent)) for _ in range(2)]
            held += [closing.enter_context(raw(agent)) for _ in range(58)]
            wait_until(lambda: agent.server.counters.get("too_many") == 58)
            wait_until(lambda: len(os.listdir("/proc/self/fd")) == before + len(held) + 2)
        assert len(agent.server._users) == 2
        assert sum(b"too many connections" in hung_up(sock) for sock in held[2:]) == 3
        assert_alive(agent)


def test_connections_driven_away_hold_nothing(tmp_path: Path) -> None:
    with (
        small(tmp_path, connections_per_user=2) as agent,
        contextlib.ExitStack() as closing,
    ):
        before = len(os.listdir("/proc/self/fd"))
        with as_reader(agent):
            held = [closing.enter_context(raw(agent)) for _ in range(60)]
            wait_until(lambda: agent.server.counters.get("gave_way") == 58)
            wait_until(lambda: len(os.listdir("/proc/self/fd")) == before + len(held) + 2)
        assert_alive(agent)


def full_queue(path: str) -> tuple[socket.socket, list[socket.socket]]:
    """A listening socket that accepts nothing, and those that fill its queue."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(0)
    waiting = []
    with contextlib.suppress(BlockingIOError):
        while True:
            sock = socket.socket(socket.AF_UNIX)
            waiting.append(sock)
            sock.setblocking(False)
            sock.connect(path)
    return listening, waiting


def test_a_client_waits_in_a_full_queue_for_its_turn(tmp_path: Path) -> None:
    path = str(tmp_path / "s.sock")
    listening, waiting = full_queue(path)
    begun = time.monotonic()
    with pytest.raises(ClpError, match="takes no connection") as raised:
        Client(path, timeout_s=0.3)
    assert raised.value.code == ExitCode.TIMED_OUT
    assert time.monotonic() - begun >= 0.3
    later = threading.Timer(0.3, listening.accept)
    later.start()
    Client(path, timeout_s=LIMIT_S).__exit__()
    later.join()
    for sock in (listening, *waiting):
        sock.close()


def test_sockets_that_were_removed_are_made_again_and_who_is_served_stays_so(
    agent: Agent,
) -> None:
    async def keep() -> bool:
        return agent.server.keep()

    def kept() -> bool:
        return asyncio.run_coroutine_threadsafe(keep(), agent.loop).result(LIMIT_S)

    with Client(agent.path) as before:
        before.call("GetStatus")
        assert not kept()
        shutil.rmtree(os.path.dirname(agent.path))
        assert kept()
        assert not kept()
        assert before.call("GetStatus")
    for path in (agent.path, private_path(agent.path)):
        assert stat.S_ISSOCK(os.stat(path).st_mode)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
    assert_alive(agent)


def test_an_agent_removes_no_socket_that_is_not_its_own(tmp_path: Path) -> None:
    path = socket_path(tmp_path)
    with Agent(path).running():
        os.unlink(path)
        Path(path).write_text("another's")
    assert Path(path).read_text() == "another's"
    assert not os.path.exists(private_path(path))


@pytest.mark.parametrize("oneway", [False, True])
def test_what_a_reader_asks_never_keeps_the_agent_from_its_own_work(
    agent: Agent, oneway: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def explain(_: str) -> Explanation:
        time.sleep(0.005)
        return Explanation(subject="failover1", state="failover1 is Online.")

    monkeypatch.setattr(agent.backend, "explain", explain)
    call = {"method": "org.clptools.Node.Explain", "parameters": {"subject": "failover1"}}
    burst = (json.dumps(call | {"oneway": oneway}).encode() + b"\0") * 100
    gaps: list[float] = []

    async def work() -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            gaps.append(time.monotonic() - before)

    working = asyncio.run_coroutine_threadsafe(work(), agent.loop)
    with as_reader(agent), contextlib.ExitStack() as closing:
        for _ in range(8):
            closing.enter_context(raw(agent)).sendall(burst)
        wait_until(lambda: len(gaps) > 15)
    working.cancel()
    # One burst alone keeps the agent busy for half a second.
    assert max(gaps) < 0.4


def test_root_may_ask_as_much_and_the_agent_still_works(agent: Agent) -> None:
    call = {"method": "org.clptools.Node.Explain", "parameters": {"subject": "failover1"}}
    turned = 0

    async def work() -> None:
        nonlocal turned
        while True:
            turned += 1
            await asyncio.sleep(0)

    working = asyncio.run_coroutine_threadsafe(work(), agent.loop)
    wait_until(lambda: turned > 0)
    before = turned
    assert len(exchange(agent, *[call] * 100)) == 100
    working.cancel()
    assert turned - before >= 100


def test_a_question_that_wants_no_answer_is_not_worked_on(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent.backend, "status", None)  # asked for it, the agent would fail
    unanswered: dict[str, object] = {"method": "org.clptools.Node.GetStatus", "oneway": True}
    info: dict[str, object] = {"method": "org.varlink.service.GetInfo"}
    assert len(exchange(agent, unanswered, info)) == 1
    assert agent.server.counters == {}


def test_a_path_longer_than_an_address_works_on_both_sides(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 60) / ("b" * 60)
    with Agent(socket_path(deep)).running() as agent:
        assert len(agent.path) > 150
        assert_alive(agent)


def test_the_socket_is_not_for_others_and_goes_with_the_agent(tmp_path: Path) -> None:
    path = socket_path(tmp_path)
    with Agent(path).running():
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
        assert stat.S_IMODE(os.stat(private_path(path)).st_mode) == 0o600
    assert not os.path.exists(path)
    assert not os.path.exists(private_path(path))


def test_a_dead_agents_socket_is_taken_over(tmp_path: Path) -> None:
    path = socket_path(tmp_path)
    os.makedirs(os.path.dirname(path))
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    with Agent(path).running() as agent:
        assert_alive(agent)


def test_a_second_agent_on_the_same_socket_is_refused(agent: Agent) -> None:
    from clptools.api.server import _listen

    with pytest.raises(ClpError, match="Another node agent already runs"):
        _listen(agent.path, None, 0o660)
    assert_alive(agent)
