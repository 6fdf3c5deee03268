"""The interface on two real servers, section by section; the cluster is started once.

Tests build on one another: each leaves failover1 online and both servers in the cluster.
"""

from __future__ import annotations

import json
import re
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import LIMIT_S
from tests.real.cluster import Cluster, Node, until

pytestmark = pytest.mark.root

PORT = 29010
"""Not the default: nothing may depend on that."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Two servers that began with the shared secret alone."""
    with Cluster() as made:
        for node in made:
            node.start()
        for node in made:
            until("it answers", lambda node=node: node.run("clpstat").returncode == 0)
        made[1].write_config(made.toml(cluster=f"port = {PORT}\n"))
        made.diary_scripts(made[1], "failover1", "exec1")
        made[1].ok("clpcfctrl --push")
        made.online()
        yield made
        made.assert_never_two()


@pytest.fixture(autouse=True)
def whole(cluster: Cluster) -> Iterator[None]:
    """Puts the cluster together again after each test."""
    yield
    for node in cluster:
        if not is_whole(node):
            node.ok("clpcl -s")
    if not all(is_whole(node) for node in cluster):
        cluster[1].run("clpgrp -s failover1")
        until("the cluster is whole", lambda: all(is_whole(node) for node in cluster))


def is_whole(node: Node) -> bool:
    found = node.status()
    servers = {server["status"] for server in found.get("servers", ())}
    return servers == {"Online"} and found["groups"][0]["status"] == "Online"


def mode(path: Path) -> str:
    return f"{stat.S_IMODE(path.stat().st_mode):04o}"


def stderr(node: Node, command: str, code: int) -> str:
    """What a command says that ends with `code`: one line, a hint at most, never a traceback."""
    done = node.run(command)
    assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
    assert "Traceback" not in done.stderr
    return done.stderr


# 1. Files


def test_1_a_first_push_sets_another_port_than_the_default(cluster: Cluster) -> None:
    for node in cluster:
        assert f"port = {PORT}" in (node.config / "clp.toml").read_text()
        held = node.ok("ss -Hlnut sport = :29010 or sport = :29002")
        assert ":29010" in held
        assert ":29002" not in held


def test_1_every_file_has_its_mode(cluster: Cluster) -> None:
    for node in cluster:
        etc, run, var = node.config, node.root / "run/clptools", node.root / "var"
        assert mode(etc / "clp.toml") == "0640"
        assert mode(etc / "history/0001.toml") == "0640"
        assert mode(etc / "authkey") == "0400"
        assert mode(run / "clpnode.sock") == "0660"
        assert mode(run / "message.sock") == "0600"
        assert mode(run / "state") == "0600"
        assert mode(var / "lib/clptools") == "0700"
        assert mode(var / "log/clptools/alert.log") == "0640"


def test_1_sockets_work_below_paths_of_any_length(cluster: Cluster) -> None:
    node = cluster[1]
    deep = node.root / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    (deep / "etc").symlink_to(node.root / "etc")
    (deep / "run").symlink_to(node.root / "run")
    assert len(str(deep / "run/clptools/clpnode.sock")) > 107
    assert node.ok(f"CLP_ROOT={deep} clpgrp -n failover1").strip() == "server1"
    node.ok(f"CLP_ROOT={deep} clpmsg mine dev text")


def test_1_below_clp_root_a_shutdown_is_refused_and_says_so(cluster: Cluster) -> None:
    second = cluster[2]
    for command in ("clpdown", "clpdown -r"):
        said = stderr(second, command, 1)
        assert "was not done" in said
        assert "action_command" in said
    until("the alert log has it", lambda: "shutdown refused" in second.alerts())
    # Asked from another server, and of one whose service has already stopped.
    assert "was not done" in stderr(cluster[1], "clpdown -h server2", 1)
    second.ok("clpcl -s")
    cluster[1].ok("clpwait --until 'server server2 online' --timeout 15")
    assert "was not done" in stderr(cluster[1], "clpdown -h server2", 1)


# 3. Exit codes


def test_3_every_exit_code_has_its_reason(cluster: Cluster) -> None:
    first = cluster[1]
    assert stderr(first, "clpgrp -n failover1", 0) == ""
    assert "No trap" in stderr(first, "clptrap decode 3081", 1)
    assert "No such option" in stderr(first, "clpstat --nothing", 2)
    assert "No such server" in stderr(first, "clpgrp -m failover1 -a server9", 5)
    assert "takes no dummy failure" in stderr(first, "clpmonctrl -e -m mrw1", 6)
    assert "Not within 0.2 s" in stderr(
        first, "clpwait --until 'server server2 offline' --timeout 0.2", 7
    )
    (first.config / "bad.toml").write_text("[cluster]\nname = 3\n")
    assert "must be text" in first.run(f"clpcfchk {first.config}/bad.toml").stdout
    assert first.run(f"clpcfchk {first.config}/bad.toml").returncode == 8
    first.script("failover1/exec1/more.sh", "#!/bin/sh\n")
    assert first.run("clpcfctrl --compcheck").returncode == 9
    (first.config / "scripts/failover1/exec1/more.sh").unlink()
    assert "clpcl -s" in stderr(first, "CLP_ROOT=/nonexistent clpgrp -n failover1", 3)


def test_3_a_second_call_is_done_already(cluster: Cluster) -> None:
    first, second = cluster
    assert first.ok("clpcl -s") == "The cluster service of server1 is already running.\n"
    assert first.ok("clpgrp -s failover1") == "failover1 is already on server1.\n"
    assert second.ok("clpcl -t") == "Command succeeded.\n"
    assert second.ok("clpcl -t") == "The cluster service of server2 is already stopped.\n"
    assert "stopped" in first.ok("clpcl -t -h server2")
    assert second.ok("clpcl -r") == "Command succeeded.\n"
    first.ok("clpwait --until 'server server2 online' --timeout 15")
    first.ok("clpmonctrl -s -m mrw1")
    assert first.ok("clpmonctrl -s -m mrw1") == "mrw1 is already suspended on server1.\n"
    first.ok("clpmonctrl -r -m mrw1")
    assert "already" in first.ok("clpmonctrl -r -m mrw1")


def test_3_faults_in_json_are_one_object(cluster: Cluster) -> None:
    for command, code in (
        ("clpgrp -m failover1 -a server9 --json", 5),
        ("clpstat --nothing --json", 2),
        ("clptrap decode --json 00", 1),
        ("clpmonctrl -e -m mrw1 --json", 6),
        ("clpcl --json", 2),
        ("clpnode confirm-down server2 --json", 6),
        ("clpnode confirm-down server2 --yes --json", 6),
        ("clpnode confirm-down server9 --yes --json", 5),
    ):
        done = cluster[1].run(command)
        assert done.returncode == code, command
        found = json.loads(done.stdout)
        assert found["schema"] == 1
        assert found["error"]["code"] == code
        assert set(found["error"]) == {"code", "name", "message", "hint"}
        assert found["error"]["message"]


# 4. Commands


def test_4_refusals_name_what_would_allow_it(cluster: Cluster) -> None:
    first = cluster[1]
    first.ok("clpgrp -t failover1")
    assert "clpgrp -s failover1" in stderr(first, "clpgrp -m failover1", 6)
    first.ok("clpgrp -s failover1 -h server1")
    assert "clpgrp -m failover1 -a server2" in stderr(first, "clpgrp -s failover1 -h server2", 6)
    first.ok("clprsc -t exec1")
    first.ok("clprsc -t fip1")
    said = stderr(first, "clprsc -s exec1", 6)
    assert said.startswith("clprsc: exec1 needs fip1, which does not run.")
    first.ok("clprsc -s exec1 -f")
    assert "mrw1" in stderr(first, f"clprexec --clear mrw1 -h 192.168.0.1 -p {PORT}", 6)


def test_4_a_move_shows_its_steps_on_a_terminal_whoever_takes_them(cluster: Cluster) -> None:
    for node in cluster:
        there, other = ("server2", "server1") if node is cluster[1] else ("server1", "server2")
        typed = f"script -qec 'clpgrp -m failover1 -a {there}' /dev/null"
        lines = node.ok(typed).replace("\r", "").splitlines()
        steps = "\n".join(lines)
        assert f"{other} stopped exec1, then fip1" in steps
        assert "granted epoch" in steps
        assert f"{there} has started fip1, exec1 of failover1" in steps
        assert lines[-1] == "Command succeeded."
        assert node.ok(typed).replace("\r", "") == f"failover1 is already on {there}.\n"
        piped = f"clpgrp -m failover1 -a {other} | cat; clpgrp -m failover1 -a {there} | cat"
        moved = "failover1 runs on {} now; it came from {}.\nCommand succeeded.\n"
        assert node.ok(piped) == moved.format(other, there) + moved.format(there, other)
    assert cluster.online() is cluster[1]


def test_4_clprexec_logs_in_words(cluster: Cluster) -> None:
    first = cluster[1]
    first.ok(f"clprexec --failover failover1 -h 192.168.0.1 -p {PORT} -o {first.root}/rexec.log")
    assert cluster.online() is cluster[2]
    log = (first.root / "rexec.log").read_text()
    assert log.endswith("failover: Command succeeded.\n")
    first.ok("clpgrp -m failover1")


def test_4_a_server_that_was_stopped_is_not_called_late(cluster: Cluster) -> None:
    first, second = cluster
    second.ok("clpcl -t")
    time.sleep(3.2)  # longer than the heartbeat time-out
    second.ok("clpcl -s")
    first.ok("clpwait --until 'server server2 online' --timeout 15")
    assert "are late" not in first.alerts()


# 5. Status


def test_5_local_status_has_all_servers_in_order(cluster: Cluster) -> None:
    """Scripts take a server's number from the place of its star."""
    first, second = cluster
    for node in (first, second):
        text = node.ok("clpstat --local")
        servers = re.findall(r"^   ([* ])(server\d) \.+: (\w+)", text, re.MULTILINE)
        assert [(mark == "*", name) for mark, name, _ in servers] == [
            (node is first, "server1"),
            (node is second, "server2"),
        ]
        assert f"current        : {first.ok('clpgrp -n failover1').strip()}\n" in text


def test_5_what_another_server_reported_grows_old(cluster: Cluster) -> None:
    def since() -> float:
        return float(cluster[2].status()["groups"][0]["since_s"])

    before = since()
    until("it is a second older", lambda: since() >= before + 1.0)


# 6. Messages in, and what they lead to


def open_events(node: Node, of: Node) -> list[dict[str, Any]]:
    servers = json.loads(node.ok("clpstat --hw --json"))["servers"]
    return next(list(each["open"]) for each in servers if each["name"] == of.name)


def test_6_an_open_event_bars_its_server_until_it_is_acknowledged(cluster: Cluster) -> None:
    first, second = cluster
    now = float(first.ok("date +%s.%N"))
    cluster.trap(first)
    until("failover1 is on server2", lambda: cluster.online() is second)
    told = until("server2 knows the event", lambda: open_events(second, first))[0]
    assert told["class"] == "FATAL"
    assert now - 1 < told["first"] <= told["last"] < now + 10, "dates, not ages"
    refused = stderr(second, "clpgrp -m failover1 -a server1", 6)
    assert f"it has an open fatal event ({told['id']}, processor 1: " in refused
    assert "-f" in refused
    story = second.ok("clpstat --explain failover1")
    assert "the cluster service" not in story, "what happened before its last stay is not told"
    assert "fatal error: processor 1" in story
    closed = "1 event of mrw1 closed on server1; none left open.\nCommand succeeded.\n"
    assert second.ok("clpmonctrl --acknowledge -m mrw1") == closed
    second.ok("clpgrp -m failover1 -a server1")


def test_6_a_recovery_that_is_used_up_says_so(cluster: Cluster) -> None:
    first = cluster[1]
    # Acknowledged: the operator has seen to it, and the next fault is recovered like the first.
    cluster.trap(first)
    until("failover1 is on server2", lambda: cluster.online() is cluster[2])
    cluster.trap(first, deasserted=True)
    until("the event is closed", lambda: not open_events(first, first))
    first.ok("clpgrp -m failover1 -a server1")
    # It flaps: the second failover within the window is one too many.
    cluster.trap(first)
    until("it is open again", lambda: open_events(first, first))
    until("it is told", lambda: "mrw1 recovers nothing more on server1" in first.alerts())
    assert first.ok("clpgrp -n failover1").strip() == "server1"
    first.ok("clpmonctrl --acknowledge -m mrw1")


# 8. Contracts


def test_8_varlink_answers_to_any_client(cluster: Cluster) -> None:
    with socket.socket(socket.AF_UNIX) as plain:
        plain.connect(str(cluster[1].root / "run/clptools/clpnode.sock"))
        plain.settimeout(LIMIT_S)
        plain.sendall(b'{"method":"org.varlink.service.GetInfo","parameters":{}}\0')
        answer = b""
        while not answer.endswith(b"\0"):
            answer += plain.recv(65536)
    found = json.loads(answer[:-1])["parameters"]
    assert "org.clptools.Node" in found["interfaces"]
    assert {"vendor", "product", "version", "url", "interfaces"} <= set(found)
