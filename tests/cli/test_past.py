"""The past from the command line: from the agent, from files and rotations, from a journal."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clptools import paths
from clptools.agent.records import log_line
from clptools.api.messages import EventRecord
from clptools.cli import past_files
from clptools.cli.main import run
from clptools.core.report.journal import MAGIC, Entry, Head
from clptools.core.report.journal import record as packed
from tests.api.fake import Agent, socket_path
from tests.config.sample import NAMED, changed
from tests.core.told_by_servers import Servers, T

Output = pytest.CaptureFixture[str]
TOML = f"""\
{changed("lanhb", "lankhb", NAMED)}[[group]]
name = "failover1"
type = "failover"
[[group.resource]]
type = "exec"
name = "exec1"
[[monitor]]
type = "userw"
name = "userw"
method = "none"
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A node's root folder with a configuration, without an agent."""
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    monkeypatch.setenv("CLP_SERVER", "server1")
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    for folder in (paths.config_dir(), paths.data_dir(), paths.log_dir(), paths.run_dir()):
        os.makedirs(folder)
    Path(paths.config_file()).write_text(TOML)
    return tmp_path


@pytest.fixture
def agent(root: Path) -> Iterator[Agent]:
    with Agent(socket_path(root)).running() as running:
        yield running


@pytest.fixture(scope="module")
def failover() -> Servers:
    """A trap, its failover, an acknowledgement and a power loss."""
    servers = Servers(ahead={"server2": 86_400.0})
    servers.play("start server1 server2", "advance 20", "trap server1 mrw1 FATAL cpu1")
    servers.play("advance 10", "request server1 acknowledge mrw1", "advance 3", "off server2")
    servers.play("advance 20")
    return servers


def at(servers: Servers, code: str, after: float = 0.0) -> str:
    """A time `after` seconds behind the first record of that kind, as an option takes it."""
    found = next(true.at for true in servers.told if true.record.code == code)
    return f"@{found + after:.3f}"


def keep(records: list[EventRecord]) -> None:
    lines = b"".join(msgspec.json.encode(record) + b"\n" for record in records)
    Path(paths.data_dir(), "records.ndjson").write_bytes(lines)


def log(records: list[EventRecord], name: str = "alert.log") -> None:
    data = "".join(log_line(record) + "\n" for record in records).encode()
    if name.endswith(".gz"):
        data = gzip.compress(data)
    Path(paths.log_dir(), name).write_bytes(data)


def texts(output: str) -> list[str]:
    """The sentences of events that were written as text."""
    return [line.split("  ", 4)[4].partition(" | ")[0] for line in output.splitlines()]


def true_texts(servers: Servers) -> list[str]:
    return [true.record.text for true in servers.told]


# ---------------------------------------------------------------------- where it comes from


def test_records_on_the_disk_tell_it_without_an_agent(
    root: Path, capsys: Output, failover: Servers
) -> None:
    keep(failover.known_to("server1"))
    assert run("clpstat", ["--events", "--from", f"@{T:.0f}", "--text"]) == 0
    said = capsys.readouterr()
    assert sorted(texts(said.out)) == sorted(true_texts(failover))
    assert said.out.splitlines() == sorted(said.out.splitlines(), key=lambda line: line[:21])
    assert "This is what the files of server1 say." in said.err
    ahead = "The clock of server2 is 1 d 0 h ahead of that of server1; all times are by the clock"
    assert ahead in said.err


def test_rotations_of_the_alert_log_tell_what_the_records_have_forgotten(
    root: Path, capsys: Output, failover: Servers
) -> None:
    known = failover.known_to("server1")
    third = len(known) // 3
    log(known[:third], "alert.log.2.gz")
    log(known[third : 2 * third], "alert.log-20231115")
    log(known[third * 2 :])
    Path(paths.log_dir(), "alert.log.3.gz").write_bytes(b"\x1f\x8bno gzip at all")
    Path(paths.log_dir(), "alert.log.old~").write_text("not a rotation")
    keep(known[2 * third :])
    assert run("clpstat", ["--events", "--from", f"@{T:.0f}", "--text"]) == 0
    said = capsys.readouterr().out
    assert sorted(texts(said)) == sorted(true_texts(failover))
    when = at(failover, "MonitorError", 5)
    assert run("clpstat", ["--explain", "failover1", "--at", when]) == 0
    said = capsys.readouterr().out
    assert "failover1 is Online on server2" in said


def test_a_journal_alone_tells_what_its_server_decided(
    root: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    servers = Servers()
    journal(servers, "server1", Path(paths.data_dir(), "journal"))
    servers.play("start server1 server2", "advance 20", "request server2 move failover1 server2")
    servers.play("advance 5")
    write_journal()
    own = [true.record.text for true in servers.told if true.record.server == "server1"]
    assert run("clpstat", ["--events", "--from", f"@{T:.0f}", "--to", "now", "--text"]) == 0
    assert texts(capsys.readouterr().out) == own
    moved = at(servers, "GroupReleased", 3)
    assert run("clpstat", ["--explain", "failover1", "--at", moved]) == 0
    assert "failover1 is Online Pending on server2" in capsys.readouterr().out
    until = at(servers, "GroupStarts", 0.01)
    assert run("clpstat", ["--events", "--from", f"@{T:.0f}", "--to", until, "--text"]) == 0
    found = texts(capsys.readouterr().out)
    assert found == own[: len(found)]
    assert "starts failover1" in found[-1]


def test_an_instant_before_the_first_record_is_called_so(
    agent: Agent, capsys: Output, failover: Servers
) -> None:
    agent.backend.records = failover.known_to("server1")
    assert run("clpstat", ["--explain", "failover1", "--at", "2020-01-02 03:04"]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    told = "before the first record, as what came later shows it:"
    assert first == f"At 2020-01-02 03:04:00.0, {told}"


def test_a_journal_that_cannot_be_read_is_named_where_its_events_are_missing(
    root: Path, capsys: Output
) -> None:
    servers = Servers()
    folder = Path(paths.data_dir(), "journal")
    journal(servers, "server1", folder)
    servers.play("start server1 server2", "advance 20", "request server2 move failover1 server2")
    servers.play("advance 5")
    write_journal()
    (file,) = folder.glob("*.clpj")
    whole = file.read_bytes()
    asked = ["--events", "--from", f"@{T:.0f}", "--text"]

    torn = bytearray(whole)
    torn[len(torn) * 2 // 3] ^= 0xFF
    file.write_bytes(torn)
    assert run("clpstat", asked) == 0
    said = capsys.readouterr()
    assert f"clpstat: {file}: " in said.err
    assert "what is in it is missing here. See: clpreplay" in said.err
    assert texts(said.out)

    file.write_bytes(b"clpj7\n" + whole[len(MAGIC) :])
    assert run("clpstat", asked) == 3
    error = capsys.readouterr().err
    assert "No node agent answers" in error
    assert f"{file}: journal of another version (format 7; this program reads 1)" in error
    assert run("clpreplay", [str(file)]) == 1
    assert "journal of another version" in capsys.readouterr().err

    # A write that a power loss cut short is no damage.
    file.write_bytes(whole[:-37])
    assert run("clpstat", asked) == 0
    assert "damaged" not in capsys.readouterr().err


_SEGMENTS: list[tuple[Path, bytearray]] = []


def journal(servers: Servers, server: str, folder: Path) -> None:
    """Keeps the journal of one of the simulated servers, as its agent would."""
    folder.mkdir()
    _SEGMENTS.clear()
    check: Any = servers.world.check

    def begin(host: Any) -> None:
        if host.name != server:
            return
        host.recorder = True  # the world asks whether there is one
        head = Head(
            server=server,
            incarnation=host.incarnation,
            number=1,
            now=host.now(servers.world.t),
            wall=servers.now,
            settings=host.node.settings,
            snapshot=host.node.snapshot(),
        )
        path = folder / f"{len(_SEGMENTS) + 1:08d}.clpj"
        _SEGMENTS.append((path, bytearray(packed(head))))

    def keep_event(_host: Any, now: int, event: Any, _actions: Any) -> None:
        _SEGMENTS[-1][1].extend(packed(Entry(now, event)))

    servers.world.journal = check.deep = True
    check.begin_journal, check.journal = begin, keep_event
    check.end_journal = lambda _host: None


def write_journal() -> None:
    for path, data in _SEGMENTS:
        stream = zlib.compressobj(6)
        path.write_bytes(MAGIC + stream.compress(bytes(data)) + stream.flush(zlib.Z_SYNC_FLUSH))


def test_what_the_agent_keeps_and_what_it_has_forgotten_are_one(
    agent: Agent, capsys: Output, failover: Servers
) -> None:
    known = failover.known_to("server1")
    keep(known)
    agent.backend.records = known[20:]
    assert run("clpstat", ["--events", "--from", f"@{T:.0f}", "--text"]) == 0
    said = capsys.readouterr()
    assert sorted(texts(said.out)) == sorted(true_texts(failover))
    assert "No node agent" not in said.err
    oldest = time.strftime("%Y-%m-%d", time.gmtime(T))
    assert f"server1 knows nothing from before {oldest}" in said.err


def test_what_a_full_disk_did_not_take_stands_where_it_happened(
    agent: Agent, capsys: Output, failover: Servers
) -> None:
    known = failover.known_to("server1")
    third = len(known) // 3
    agent.backend.records = known[third // 2 :]
    keep([*known[:third], *known[2 * third :]])
    assert run("clpstat", ["--events", "--from", f"@{T - 1:.0f}", "--json"]) == 0
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    keep(known)
    agent.backend.records = known
    assert run("clpstat", ["--events", "--from", f"@{T - 1:.0f}", "--json"]) == 0
    assert told == [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(told) == len(known)


def test_older_files_that_only_root_may_read_are_named(
    agent: Agent, capsys: Output, failover: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent.backend.records = failover.known_to("server1")

    def refused() -> list[EventRecord]:
        raise PermissionError(13, "Permission denied", "/var/lib/clptools/records.ndjson")

    monkeypatch.setattr(past_files, "_kept", refused)
    assert run("clpstat", ["--events", "--from", f"@{T - 1:.0f}", "--text"]) == 0
    said = capsys.readouterr()
    assert len(texts(said.out)) == len(failover.told)
    assert "What is older is in /var/lib/clptools/records.ndjson, which root alone may" in said.err
    shutil.rmtree(paths.run_dir())
    assert run("clpstat", ["--events", "--from", "-1h", "--text"]) == 4


def test_without_an_agent_and_without_files_it_is_the_agent_that_is_missing(
    root: Path, capsys: Output
) -> None:
    assert run("clpstat", ["--events", "--from", "-1h", "--text"]) == 3
    assert "No node agent answers" in capsys.readouterr().err


# ---------------------------------------------------------------------- what is left of it


def test_programs_get_what_the_servers_said(
    agent: Agent, capsys: Output, failover: Servers
) -> None:
    agent.backend.records = failover.known_to("server1")
    assert run("clpstat", ["--events", "--of", "server2"]) == 0
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {line["schema"] for line in found} == {1}
    told = {true.record.cursor: true.record for true in failover.told}
    for line in found:
        assert line["time"] == told[line["cursor"]].time
        assert "server2" in line["subjects"] or line["server"] == "server2"


def test_a_level_is_the_least_that_is_shown(
    agent: Agent, capsys: Output, failover: Servers
) -> None:
    agent.backend.records = failover.known_to("server1")
    counts = []
    for level in ("info", "WARN", "Error"):
        assert run("clpstat", ["--events", "--level", level, "--text"]) == 0
        counts.append(len(capsys.readouterr().out.splitlines()))
    assert counts[0] == len(failover.told)
    assert counts[0] > counts[1] > counts[2] > 0


def test_the_time_has_two_ends(agent: Agent, capsys: Output, failover: Servers) -> None:
    agent.backend.records = failover.known_to("server1")
    begin, end = at(failover, "HardwareFatal", -0.01), at(failover, "GroupReleased", 0.01)
    assert run("clpstat", ["--events", "--from", begin, "--to", end, "--text"]) == 0
    found = texts(capsys.readouterr().out)
    assert "reported a fatal error" in found[0]
    assert "released epoch 1 of failover1" in " ".join(found[-2:])
    assert run("clpstat", ["--events", "--from", "-2h", "--to", "-1h", "--text"]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "No event was recorded there." in said.err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--events --from soon", "--from: 'soon' is no time; write 03:05"),
        ("--events --from -1h --to -2h", "--to is before --from"),
        ("--events --level BAD", "--level: 'BAD' is no level; write one of INFO, WARN, ERROR."),
        ("--events --from -1h --since server1:cafe:3", "--since and --from do not go together"),
        ("--events --to now --follow", "--follow and --to do not go together"),
        ("--at 03:05", "The status takes no --at."),
        ("--explain failover1 --from -1h", "--explain takes no --from."),
        ("--explain failover1 --at 2100-01-01", "is still to come"),
        ("--html --from -1h -o x.html", "--html takes no --from."),
        ("-g -o x.html", "-g takes no -o."),
        ("--graph", "-o is missing; write -o FILE.svg or FILE.html."),
        ("--graph -o x.png", "-o x.png: what is that? Write -o FILE.svg or FILE.html."),
        ("--html -o x.svg", "-o x.svg: what is that? Write -o FILE.html."),
    ],
)
def test_what_does_not_go_together_is_told(
    line: str, said: str, agent: Agent, capsys: Output
) -> None:
    assert run("clpstat", line.split()) == 2
    assert said in capsys.readouterr().err


def test_text_is_no_json(agent: Agent, capsys: Output) -> None:
    assert run("clpstat", ["--events", "--from", "-1h", "--text", "--json"]) == 2
    assert "--text and --json do not go" in json.loads(capsys.readouterr().out)["error"]["message"]


def test_an_object_that_never_was_is_named(agent: Agent, capsys: Output) -> None:
    assert run("clpstat", ["--events", "--of", "failover2"]) == 5
    assert "failover2: no such object.\nKnown: failover1" in capsys.readouterr().err
    assert run("clpstat", ["--explain", "failover2", "--at", "-1h"]) == 5


def test_a_stream_can_be_filtered_too(agent: Agent, capsys: Output) -> None:
    assert run("clpstat", ["--events", "--since", "server1:cafe:247", "--level", "ERROR"]) == 0
    assert capsys.readouterr().out == ""
    line = ["--events", "--since", "server1:cafe:247", "--of", "server1", "--text"]
    assert run("clpstat", line) == 0
    assert texts(capsys.readouterr().out) == ["event 248", "event 249"]


# ---------------------------------------------------------------------- why it was so


def test_a_group_is_explained_as_it_was(agent: Agent, capsys: Output, failover: Servers) -> None:
    agent.backend.records = failover.known_to("server1")
    when = at(failover, "GroupOnline", 0.5)
    assert run("clpstat", ["--explain", "failover1", "--at", when]) == 0
    said = capsys.readouterr().out
    assert said.startswith("At 2023-11-14 ")
    assert "failover1 is Online on server1 since" in said
    assert "reported a fatal" not in said.partition("\nLater\n")[0]
    assert "gives failover1 up" in said.partition("\nLater\n")[2]
    assert "clpgrp" not in said, "advice for then"
    when = at(failover, "GroupReleased", 5)
    assert run("clpstat", ["--explain", "failover1", "--at", when, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "Online on server2" in told["state"]
    assert told["at"] == float(when[1:])
    assert "reported a fatal error" in told["because"][0]["text"]
    assert "power off" in " ".join(step["text"] for step in told["later"])
    assert run("clpstat", ["--explain", "--at", when, "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["explanations"]) == 1


def test_what_no_record_tells_of_is_not_made_up(
    root: Path, capsys: Output, failover: Servers
) -> None:
    """Without an agent nobody says how it is now, either."""
    keep([r for r in failover.known_to("server1") if "failover1" not in r.subjects])
    when = at(failover, "HardwareFatal", 3)
    assert run("clpstat", ["--explain", "failover1", "--at", when]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "failover1 is Unknown."
    assert run("clpstat", ["--explain", "server2", "--at", when]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "server2 is Online."


def test_every_object_has_a_past(agent: Agent, capsys: Output, failover: Servers) -> None:
    agent.backend.records = failover.known_to("server1")
    when = at(failover, "HardwareFatal", 3)
    for name, said in (
        ("mrw1", "mrw1 is Error: Error on server1"),
        ("server2", "server2 is Online and runs failover1."),
        ("exec1", "exec1 (exec, of failover1) is Online on server2."),
        ("lankhb1", "lankhb1, as the records before"),
    ):
        assert run("clpstat", ["--explain", name, "--at", when]) == 0
        assert said in capsys.readouterr().out


# ---------------------------------------------------------------------- pictures


def test_without_an_incident_there_is_no_picture(
    agent: Agent, capsys: Output, tmp_path: Path
) -> None:
    target = tmp_path / "x.svg"
    assert run("clpstat", ["--graph", "-o", str(target)]) == 1
    assert "Nothing went wrong since the oldest record" in capsys.readouterr().err
    assert run("clpstat", ["--graph", "--from", "-2h", "--to", "-1h", "-o", str(target)]) == 1
    assert "Nothing was recorded from" in capsys.readouterr().err
    assert not target.exists()


def test_a_picture_is_of_the_newest_incident_or_of_one_object(
    agent: Agent, capsys: Output, tmp_path: Path, failover: Servers
) -> None:
    agent.backend.records = failover.known_to("server1")
    target = tmp_path / "x.svg"
    assert run("clpstat", ["--graph", "-o", str(target), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == str(target)
    assert told["events"] == target.read_text().count('class="mark"')
    assert run("clpstat", ["--graph", "--of", "mrw1", "-o", str(target), "--json"]) == 0
    of_monitor = json.loads(capsys.readouterr().out)
    assert 0 < of_monitor["events"] < told["events"]
    assert run("clpstat", ["--graph", "--of", "mrw9", "-o", str(target)]) == 5


def test_the_picture_says_how_long_a_group_was_out_of_service(
    agent: Agent, tmp_path: Path, failover: Servers
) -> None:
    agent.backend.records = failover.known_to("server1")
    target = tmp_path / "x.html"
    assert run("clpstat", ["--graph", "--from", f"@{T:.0f}", "-o", str(target)]) == 0
    found = re.findall(
        r"failover1 was out of service for ([\d.]+) s: on (server\d)", target.read_text()
    )
    assert [server for _, server in found] == ["server1", "server2"]
    codes = {true.record.code: true.at for true in failover.told}
    # The second from the last heartbeat of a server that lost its power.
    assert float(found[1][0]) == pytest.approx(
        codes["GroupOnline"] - codes["ServerReadsOff"], abs=1
    )


def test_a_file_is_written_whole_or_not_at_all(
    agent: Agent, capsys: Output, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "state.html"
    target.write_text("the one before")
    monkeypatch.setattr(os, "replace", refuse)
    assert run("clpstat", ["--html", "-o", str(target)]) == 1
    assert "No space left" in capsys.readouterr().err
    assert target.read_text() == "the one before"
    assert [path.name for path in tmp_path.glob(".clpstat*")] == []
    monkeypatch.undo()
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    assert run("clpstat", ["--html", "-o", str(target)]) == 0
    assert "Cluster cluster" in target.read_text()
    mask = os.umask(0)
    os.umask(mask)
    assert target.stat().st_mode & 0o777 == 0o666 & ~mask
    assert run("clpstat", ["--html", "-o", str(tmp_path / "none" / "x.html")]) == 1
    assert "No such file or directory" in capsys.readouterr().err


def refuse(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_without_an_agent_no_state_is_written(root: Path, tmp_path: Path) -> None:
    target = tmp_path / "state.html"
    assert run("clpstat", ["--html", "-o", str(target)]) == 3
    assert not target.exists()
