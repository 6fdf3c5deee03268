"""Commands that change something: what they ask of the agent, and what they then say."""

from __future__ import annotations

import json
import os
import pty
import socket
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from clptools.cli.transactions import places_of
from clptools.core.model import requests
from clptools.core.model.requests import Outcome
from clptools.core.model.words import AfterStop
from tests.api.fake import Agent, sample_status
from tests.cli.conftest import Clp
from tests.conftest import LIMIT_S

ASKED = [
    ("clpgrp -s failover1", requests.GroupStart(group="failover1")),
    ("clpgrp -s", requests.GroupStart()),
    ("clpgrp -s failover1 -h server2 -f", requests.GroupStart(
        group="failover1", server="server2", force=True
    )),
    ("clpgrp -t failover1", requests.GroupStop(group="failover1")),
    ("clpgrp -m failover1 -a server2", requests.GroupMove(group="failover1", to="server2")),
    ("clpgrp -m -h server1", requests.GroupMove(server="server1")),
    ("clpgrp --cancel failover1", requests.GroupCancel(group="failover1")),
    ("clprsc -s exec1", requests.ResourceStart(resource="exec1")),
    ("clprsc -t exec1 -f", requests.ResourceStop(resource="exec1", force=True)),
    ("clpcl -s", requests.ServiceStart()),
    ("clpcl -s -a", requests.ServiceStart(server="*")),
    ("clpcl -t -h server2", requests.ServiceStop(server="server2")),
    ("clpcl -r", requests.ServiceStop(then=AfterStop.START)),
    ("clpcl -t -a --md", requests.ServiceStop(server="*")),
    ("clpcl --suspend --force", requests.Suspend(force=True)),
    ("clpcl --resume", requests.Resume()),
    ("clptoratio -r 3 -t 2h", requests.StretchTimeouts(ratio=3, for_ms=7_200_000)),
    ("clptoratio -r 10000 -t 30d", requests.StretchTimeouts(ratio=10_000, for_ms=2_592_000_000)),
    ("clptoratio -r 1", requests.StretchTimeouts()),
    ("clptoratio -i", requests.StretchTimeouts()),
    ("clpdown", requests.ServiceStop(then=AfterStop.SHUTDOWN)),
    ("clpdown -r -h server2", requests.ServiceStop(then=AfterStop.REBOOT, server="server2")),
    ("clpforcestop server2 --yes", requests.ForceStop(down="server2")),
    ("clpstdn", requests.ServiceStop(then=AfterStop.SHUTDOWN, server="*")),
    ("clpmonctrl -s", requests.MonitorSuspend()),
    ("clpmonctrl -s -m mrw1 userw -h server2", requests.MonitorSuspend(
        monitors=("mrw1", "userw"), server="server2"
    )),
    ("clpmonctrl -r -m mrw1 -m userw", requests.MonitorResume(monitors=("mrw1", "userw"))),
    ("clpmonctrl -c", requests.MonitorClear()),
    ("clpmonctrl -e -m userw", requests.MonitorFault(monitor="userw")),
    ("clpmonctrl -n", requests.MonitorFault(on=False)),
    ("clpmonctrl --acknowledge -m mrw1 --event 4711", requests.Acknowledge(
        monitor="mrw1", event=4711
    )),
    ("clprexec --failover failover1", requests.GroupMove(
        group="failover1", failover=True, reason="clprexec"
    )),
    ("clprexec --failover -r fip1", requests.GroupMove(
        group="failover1", failover=True, reason="clprexec"
    )),
    ("clprexec --notice -k RAID.sda", requests.ExternalNotice(
        category="RAID", keyword="sda", origin="server1"
    )),
    ("clprexec --clear mrw1", requests.ExternalNotice(
        monitor="mrw1", clear=True, origin="server1"
    )),
]  # fmt: skip


@pytest.mark.parametrize(("line", "request_"), ASKED, ids=[line for line, _ in ASKED])
def test_the_agent_is_asked_for_just_that(
    agent: Agent, clp: Clp, line: str, request_: requests.Request
) -> None:
    ran = clp(*line.split())
    assert (ran.code, ran.out, ran.err) == (0, "Command succeeded.\n", "")
    [(asked, user)] = agent.backend.asked
    assert (asked, user) == (request_, "root")


def test_a_forced_stop_wants_the_word_yes_and_one_server(agent: Agent, clp: Clp) -> None:
    unsure = clp("clpforcestop", "server2")
    assert unsure.code == 2
    assert "clpforcestop server2 --yes" in unsure.err
    assert json.loads(clp("clpforcestop", "server2", "--json").out)["error"]["code"] == 2
    assert clp("clpforcestop", "--yes").code == 2
    assert clp("clpforcestop", "server1", "server2", "--yes").code == 2
    assert agent.backend.asked == []


@pytest.mark.parametrize("what", ["-s", "-t"])
def test_where_a_move_goes_is_refused_where_nothing_moves(
    agent: Agent, clp: Clp, what: str
) -> None:
    """`clpgrp -t failover1 -a server2` stopped it on server1."""
    ran = clp("clpgrp", what, "failover1", "-a", "server2")
    assert ran.code == 2
    assert "takes -h SERVER" in ran.err
    assert agent.backend.asked == []


def test_there_is_no_virtual_machine_to_migrate(agent: Agent, clp: Clp) -> None:
    ran = clp("clpgrp", "-l", "failover1", "-a", "server2")
    assert (ran.code, agent.backend.asked) == (6, [])
    assert ran.err.endswith(": clpgrp -m failover1 -a server2\n")


@pytest.mark.parametrize("code", [1, 5, 6])
def test_a_forced_stop_that_was_not_done_says_why(agent: Agent, clp: Clp, code: int) -> None:
    agent.backend.outcome = Outcome(code=code, text="Its BMC does not answer.", hint="Look.")
    ran = clp("clpforcestop", "server2", "--yes")
    assert ran.code == code
    assert "Its BMC does not answer." in ran.err
    said = json.loads(clp("clpforcestop", "server2", "--yes", "--json").out)
    assert (said["error"]["code"], said["error"]["hint"]) == (code, "Look.")


def test_a_forced_stop_without_an_agent(node: Path, clp: Clp) -> None:
    assert clp("clpforcestop", "server2", "--yes").code == 3


def test_what_is_already_so_is_said_and_fine(agent: Agent, clp: Clp) -> None:
    agent.backend.outcome = Outcome(text="failover1 is already on server2.")
    ran = clp("clpgrp", "-m", "failover1", "-a", "server2")
    assert (ran.code, ran.out) == (0, "failover1 is already on server2.\n")


def test_a_refusal_says_what_would_allow_it(agent: Agent, clp: Clp) -> None:
    agent.backend.outcome = Outcome(
        code=6, text="failover1 cannot move to server2.", hint="Move it all the same: -f"
    )
    ran = clp("clpgrp", "-m", "failover1", "-a", "server2")
    assert ran.code == 6
    assert ran.err == ("clpgrp: failover1 cannot move to server2.\nMove it all the same: -f\n")
    told = json.loads(clp("clpgrp", "-m", "failover1", "--json").out)
    assert told["error"]["name"] == "REFUSED"
    assert told["error"]["hint"] == "Move it all the same: -f"


def test_done_with_json(agent: Agent, clp: Clp) -> None:
    ran = clp("clpcl", "--resume", "--json")
    assert json.loads(ran.out) == {"schema": 1, "result": "done", "text": "Command succeeded."}


def test_piped_only_the_last_line_is_shown(agent: Agent, clp: Clp) -> None:
    agent.backend.steps = ("server1 stops exec1.", "server2 starts exec1.")
    assert clp("clpgrp", "-m", "failover1").out == "Command succeeded.\n"


def on_terminal(*line: str) -> str:
    """What a terminal shows of a command that succeeds."""
    ours, theirs = pty.openpty()
    run = [sys.executable, "-m", "clptools.cli.main", *line]
    assert subprocess.run(run, stdout=theirs, timeout=LIMIT_S).returncode == 0
    os.close(theirs)
    seen = os.read(ours, 4096).decode().replace("\r\n", "\n")
    os.close(ours)
    return seen


def test_a_terminal_sees_each_step(agent: Agent) -> None:
    agent.backend.steps = ("server1 stops exec1.", "server2 starts exec1.")
    seen = on_terminal("clpgrp", "-m", "failover1")
    assert seen == "server1 stops exec1.\nserver2 starts exec1.\nCommand succeeded.\n"


@pytest.mark.parametrize(
    "line", ["clpgrp -m failover1 -a server2", "clpcl -t", "clpmonctrl -s", "clprsc -s exec1"]
)
def test_with_json_a_terminal_sees_one_object_alone(agent: Agent, line: str) -> None:
    agent.backend.steps = ("server1 stops exec1.",)
    assert json.loads(on_terminal(*line.split(), "--json"))["result"] == "done"


def test_a_time_out_says_that_the_work_goes_on(agent: Agent, clp: Clp) -> None:
    agent.backend.hold = True
    ran = clp("clpcl", "-t", "-w", "0.2")
    agent.backend.hold = False
    assert ran.code == 7
    assert "Not done within 0.2 s. The work goes on." in ran.err


def test_not_waiting_is_no_time_out(agent: Agent, clp: Clp) -> None:
    agent.backend.hold = True
    ran = clp("clpcl", "-t", "-w", "0")
    agent.backend.hold = False
    assert ran.code == 0
    assert "in the background" in ran.out


def test_the_user_behind_sudo_is_on_the_record(
    agent: Agent, clp: Clp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "alice")
    assert clp("clpcl", "--resume").code == 0
    assert agent.backend.asked == [(requests.Resume(), "alice (root)")]


@pytest.mark.parametrize(
    "line",
    [
        "clpcl -s -a -h server2",
        "clpcl -t --web",
        "clpmonctrl -s mrw1",
        "clpmonctrl -e",
        "clpmonctrl --acknowledge",
        "clprexec --failover",
        "clprexec --failover failover1 -r exec1",
        "clprexec --notice mrw1 -k RAID",
        "clprexec --script",
        "clprexec --clear -r exec1",
        "clprexec --notice mrw1 --key /dev/null",
        "clprsc -s",
        "clprexec --clear mrw1 -h 127.0.0.1 -p 0",
        "clprexec --clear mrw1 -h 127.0.0.1 -p 99999999",
        "clplogcmd -m x -i 1.9",
        "clpgrp -s failover1 --apito 99999999999",
        "clpsim --seed 3.7",
        "clpsim --hours 0",
    ],
)
def test_lines_that_make_no_sense_are_usage_errors(agent: Agent, clp: Clp, line: str) -> None:
    ran = clp(*line.split())
    assert ran.code == 2, ran
    assert agent.backend.asked == []


@pytest.mark.parametrize("name", ["ib", "web", "alert", "api"])
def test_an_old_script_that_restarts_a_side_service_goes_on_and_the_cluster_too(
    agent: Agent, clp: Clp, name: str
) -> None:
    ran = clp("clpcl", "-r", f"--{name}", "-a")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"Nothing to restart for --{name}: the node agent is all there is.\n"
    assert agent.backend.asked == []


@pytest.mark.parametrize("event", ["0", "1.5", "-1", "", "99999999999999999999", "4711x"])
def test_an_acknowledgement_is_of_the_event_that_was_meant(
    agent: Agent, clp: Clp, event: str
) -> None:
    """None of these may stand for all events, or for another one."""
    ran = clp("clpmonctrl", "--acknowledge", "-m", "mrw1", "--event", event)
    assert ran.code == 2
    assert f"--event: {event!r} is not a whole number from 1" in ran.err
    assert agent.backend.asked == []


def test_without_an_event_all_of_them_are_acknowledged(agent: Agent, clp: Clp) -> None:
    assert clp("clpmonctrl", "--acknowledge", "-m", "mrw1").code == 0
    assert agent.backend.asked == [(requests.Acknowledge(monitor="mrw1"), "root")]


def test_a_script_is_run_by_name(agent: Agent, clp: Clp) -> None:
    assert clp("clprexec", "--script", "swap.sh", "-w", "12").code == 0
    assert agent.backend.scripts == [("swap.sh", "root", 12.0)]


def test_the_originals_request_between_servers(agent: Agent, clp: Clp) -> None:
    assert clp("clptrnreq", "-t", "EXEC_SCRIPT", "-s", "swap.sh", "-w", "12").code == 0
    assert agent.backend.scripts == [("swap.sh", "root", 12.0)]
    assert clp("clptrnreq", "-t", "GRP_FAILOVER", "-r", "fip1").code == 0
    asked = requests.GroupMove(group="failover1", failover=True, reason="clptrnreq")
    assert agent.backend.asked == [(asked, "root")]
    agent.backend.outcome = Outcome(code=6, text="failover1 is offline.")
    ran = clp("clptrnreq", "-t", "GRP_FAILOVER", "-r", "fip1")
    assert (ran.code, ran.err) == (9, "clptrnreq: failover1 is offline.\n")
    for line in ((), ("-t", "OTHER"), ("-t", "EXEC_SCRIPT"), ("-t", "GRP_FAILOVER", "-s", "x")):
        assert clp("clptrnreq", *line).code == 2


def test_a_script_is_tried_on_every_server_that_is_named(clp: Clp, node: Path) -> None:
    key = node / "etc/clptools/authkey"
    key.parent.mkdir(parents=True)
    key.write_bytes(b"k" * 32)
    key.chmod(0o400)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
        line = ("-h", "127.0.0.1,localhost", "-p", port, "-s", "swap.sh")
        ran = clp("clptrnreq", "-t", "EXEC_SCRIPT", *line)
    assert ran.code == 3
    told = [line.partition(" : ")[0] for line in ran.err.splitlines()]
    assert told == ["clptrnreq: 127.0.0.1", "localhost"]


def test_a_name_of_this_cluster_is_asked_at_its_addresses(agent: Agent, node: Path) -> None:
    changed = msgspec.structs.replace
    sample = sample_status()
    there = changed(sample.servers[1], addresses=("127.0.0.3", "127.0.0.2"))
    agent.change(changed(sample, servers=(sample.servers[0], there)))
    assert places_of("server2") == ("127.0.0.3", "127.0.0.2")
    assert places_of("127.0.0.9") == ("127.0.0.9",)
    assert places_of("elsewhere") == ("elsewhere",)


@pytest.mark.parametrize(
    ("level", "kept"), [("INFO", "INFO"), ("warn", "WARN"), ("WAR", "WARN"), ("err", "ERROR")]
)
def test_a_line_of_ones_own_goes_into_the_log(
    agent: Agent, clp: Clp, level: str, kept: str
) -> None:
    assert clp("clplogcmd", "-m", "disk swapped", "-l", level, "-i", "7", "--alert").code == 0
    assert agent.backend.logged == [("disk swapped", kept, 7)]


@pytest.mark.parametrize(
    "line", [(), ("-m", ""), ("-m", "x" * 512), ("-m", "x", "-l", "LOUD"), ("-m", "x", "-i", "0")]
)
def test_lines_that_the_log_does_not_take(agent: Agent, clp: Clp, line: tuple[str, ...]) -> None:
    assert clp("clplogcmd", *line).code == 2
    assert agent.backend.logged == []


def test_clprexec_logs_what_was_asked(agent: Agent, clp: Clp, tmp_path: object) -> None:
    log = f"{tmp_path}/log"
    assert clp("clprexec", "--clear", "mrw1", "-o", log).code == 0
    with open(log) as file:
        assert "server1 clear" in file.read()


def test_servers_are_asked_in_turn_and_the_last_ones_fault_is_told(
    clp: Clp, tmp_path: Path
) -> None:
    key, log = tmp_path / "key", tmp_path / "log"
    key.write_bytes(b"k" * 32)
    key.chmod(0o400)
    with socket.socket() as taken:  # bound, but nobody listens: the port is refused for sure
        taken.bind(("127.0.0.1", 0))
        port = str(taken.getsockname()[1])
        line = ("-h", "127.0.0.2,127.0.0.1", "-p", port, "--key", str(key), "-o", str(log))
        ran = clp("clprexec", "--clear", "mrw1", *line)
    assert ran.code == 3
    assert f"127.0.0.1 port {port}" in ran.err
    asked = [line.split()[2] for line in log.read_text().splitlines()]
    assert asked[0] == "127.0.0.2"


def test_a_key_that_others_can_read_is_refused(agent: Agent, clp: Clp, tmp_path: object) -> None:
    key = f"{tmp_path}/key"
    with open(key, "wb") as file:
        file.write(b"k" * 32)
    os.chmod(key, 0o644)
    ran = clp("clprexec", "--clear", "mrw1", "-h", "127.0.0.1", "--key", key)
    assert ran.code == 4
    assert f"chmod 0400 {key}" in ran.err


def test_what_was_done_stands_before_the_originals_words(agent: Agent, clp: Clp) -> None:
    did = "failover1 runs on server2 now; it came from server1."
    agent.backend.outcome = Outcome(did=did)
    assert clp("clpgrp", "-m", "failover1") == (0, f"{did}\nCommand succeeded.\n", "")
    assert json.loads(clp("clpgrp", "-m", "failover1", "--json").out) == {
        "schema": 1, "result": "done", "text": "Command succeeded.", "did": did
    }  # fmt: skip


def test_of_several_monitors_each_is_told_once(agent: Agent, clp: Clp) -> None:
    agent.backend.outcome = Outcome(did="genw1 finds an error on server1.")
    ran = clp("clpmonctrl", "-e", "-m", "genw1", "-m", "genw2")
    assert ran.out == "genw1 finds an error on server1.\nCommand succeeded.\n"


def test_servers_are_asked_at_the_port_of_the_configuration(node: Path, clp: Clp) -> None:
    key = node / "key"
    key.write_bytes(bytes(range(32)))
    key.chmod(0o400)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    main = node / "etc/clptools/clp.toml"
    main.parent.mkdir(parents=True)
    main.write_text(f'[cluster]\nname = "c"\nport = {port}\n[[server]]\nname = "server1"\n')
    place = ("-h", "127.0.0.1", "--key", str(key))
    for line in (
        ("clprexec", "--failover", "failover1"),
        ("clptrnreq", "-t", "EXEC_SCRIPT", "-s", "x"),
    ):
        ran = clp(*line, *place)
        assert ran.code == 3 and f"127.0.0.1 port {port}" in ran.err


@pytest.mark.parametrize("host", ["a" * 5000, "..", "a\nb", "a b", "a..b", ","])
def test_what_can_be_no_host_is_refused_before_anything_is_asked(clp: Clp, host: str) -> None:
    for line in (
        ("clprexec", "--failover", "failover1"),
        ("clptrnreq", "-t", "EXEC_SCRIPT", "-s", "x"),
    ):
        ran = clp(*line, "-h", host)
        assert ran.code == 2 and ran.err.count("\n") <= 2


def test_a_key_or_log_that_is_no_file_is_named_before_anything_is_asked(
    agent: Agent, node: Path, clp: Clp
) -> None:
    os.mkfifo(node / "fifo", 0o400)
    ran = clp("clprexec", "--failover", "failover1", "-h", "127.0.0.1", "--key", f"{node}/fifo")
    assert ran.code == 4 and "fifo" in ran.err
    ran = clp("clprexec", "--failover", "failover1", "-o", str(node))
    assert ran.code == 1 and f"{node}: Is a directory" in ran.err
    assert agent.backend.asked == []
