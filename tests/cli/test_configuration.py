"""Commands around the configuration: check, distribute, fetch, compare, undo, secrets, logs."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import stat
import sys
import tarfile
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clptools import paths
from clptools.api.messages import ConfigFiles
from clptools.cli import cfctrl_distribution
from clptools.cli.command import Answer
from clptools.cli.render.findings import render_text
from clptools.config import history
from clptools.core.model.machine import Facts, FileFault, ServerFacts
from clptools.core.model.requests import Outcome
from clptools.core.model.settings import Pushed
from clptools.core.model.view import ConditionView
from clptools.intake.usm import read_keys
from clptools.paths import server_name
from clptools.reports import Report
from tests.api.fake import Agent
from tests.cli.conftest import Clp

SAMPLE = """\
[cluster]
name = "cluster"

[[server]]
name = "server1"
[server.bmc]
address = "192.168.0.11"
user = "clp"

[[server]]
name = "server2"

[[interconnect]]
type = "lanhb"
address = { server1 = "127.0.0.1", server2 = "127.0.0.2" }

[[group]]
name = "failover1"
type = "failover"
"""


THREE_WITH_WATCHDOGS = """\
[[server]]
name = "server1"
[[server]]
name = "server2"
[[server]]
name = "server3"
[[interconnect]]
type = "lanhb"
address = { server1 = "127.0.0.1", server2 = "127.0.0.2", server3 = "127.0.0.3" }
[[monitor]]
type = "userw"
method = "softdog"
"""


@pytest.fixture
def etc(node: Path) -> Path:
    """The configuration folder of the node, with a configuration."""
    folder = node / "etc/clptools"
    (folder / "scripts/failover1/exec1").mkdir(parents=True)
    (folder / "clp.toml").write_text(SAMPLE)
    (folder / "scripts/failover1/exec1/start.sh").write_text("#!/bin/sh\n")
    return folder


def remember(etc: Path, *texts: str) -> None:
    """Configurations that were in force, oldest first."""
    (etc / "history").mkdir()
    for number, text in enumerate(texts, 1):
        (etc / f"history/{number:04d}.toml").write_text(text)


def test_the_originals_folders_of_clpcfchk(etc: Path, clp: Clp, tmp_path: Path) -> None:
    (etc / "clp.toml").write_text(SAMPLE.replace('"failover"', '"cluster"'))
    out = tmp_path / "out"
    ran = clp("clpcfchk", "-i", str(etc), "-o", str(out))
    assert ran.code == 8
    head, *rows = csv.reader(io.StringIO((out / "cfchk_result.csv").read_text()))
    assert head == ["level", "file", "line", "key", "text", "mend"]
    assert ["error", str(etc / "clp.toml")] in [row[:2] for row in rows]
    assert clp("clpcfchk", "-i", str(etc), str(etc / "clp.toml")).code == 2
    (etc / "clp.toml").write_text(SAMPLE)
    assert clp("clpcfchk", "-i", str(etc), "-o", str(out)).code == 0


def test_a_push_takes_the_host_that_old_scripts_name(agent: Agent, etc: Path, clp: Clp) -> None:
    for host in ("server2", "127.0.0.2"):
        assert clp("clpcfctrl", "--push", "-x", str(etc), "-h", host, "-p", "29002").code == 0
        assert agent.backend.pushed[-1][0].files["clp.toml"] == SAMPLE
    count = len(agent.backend.pushed)
    ran = clp("clpcfctrl", "--push", "-x", str(etc), "-h", "10.9.9.9")
    assert ran.code == 5 and "10.9.9.9: no server of this configuration" in ran.err
    assert len(agent.backend.pushed) == count
    assert clp("clpcfctrl", "--history", "-h", "server2").code == 2
    agent.backend.files = ConfigFiles(revision=3, files={"clp.toml": SAMPLE})
    assert clp("clpcfctrl", "--pull", "-x", str(etc), "-h", "127.0.0.1").code == 0
    assert clp("clpcfctrl", "--pull", "-x", str(etc), "-h", "server9").code == 5


def test_an_edit_on_another_server_is_told(etc: Path, clp: Clp, agent: Agent) -> None:
    edit = ConditionView(
        name="configuration", text="clp.toml was edited and not pushed", mend="See it."
    )
    full = ConditionView(name="disk", text="/var is full")
    first, second, *rest = agent.backend.state.servers
    replace = msgspec.structs.replace
    agent.backend.state = replace(
        agent.backend.state,
        servers=(
            replace(first, local=True, conditions=(edit,)),
            replace(second, local=False, conditions=(edit, full)),
            *rest,
        ),
    )
    said = clp("clpcfchk").out
    assert f"{second.name}: clp.toml was edited and not pushed.\n    See it.\n" in said
    assert f"{first.name}: clp.toml" not in said and "/var is full" not in said
    # A file that is elsewhere is none of the cluster's.
    shutil.copytree(etc, etc.parent / "other")
    assert "not pushed" not in clp("clpcfchk", str(etc.parent / "other")).out


def test_a_valid_configuration_is_judged(etc: Path, clp: Clp) -> None:
    ran = clp("clpcfchk")
    assert ran.code == 0, ran
    assert "Configuration is valid." in ran.out
    told = json.loads(clp("clpcfchk", "--json").out)
    assert told["schema"] == 1
    assert told["errors"] == []
    assert set(told["safety"]) == {"safe", "reasons", "worst_case_s", "waits"}
    assert clp("clpcfchk", "--strict").code == 9


WITH_SCRIPTS = (
    SAMPLE
    + """
[[group.resource]]
type = "exec"
name = "exec1"
start = "start.sh"
stop = "stop.sh"
"""
)


def test_scripts_that_the_push_would_bring_are_not_missing(
    node: Path, clp: Clp, tmp_path: Path
) -> None:
    """Before the first push nothing lies below /etc/clptools."""
    folder = tmp_path / "new"
    scripts = folder / "scripts/failover1/exec1"
    scripts.mkdir(parents=True)
    (folder / "clp.toml").write_text(WITH_SCRIPTS)
    for name in ("start.sh", "stop.sh"):
        (scripts / name).write_text("#!/bin/sh\n")
    said = clp("clpcfchk", str(folder / "clp.toml")).out
    assert "Configuration is valid." in said
    assert "exec1" not in said
    (scripts / "stop.sh").unlink()
    said = clp("clpcfchk", str(folder / "clp.toml")).out
    assert "group resource exec1: stop: " in said
    assert "exec1: start: " not in said


def test_a_script_of_the_configuration_in_force_must_be_executable(etc: Path, clp: Clp) -> None:
    (etc / "clp.toml").write_text(WITH_SCRIPTS)
    for line in ((), (str(etc / "clp.toml"),)):
        assert "start.sh: not executable" in clp("clpcfchk", *line).out


def test_all_errors_are_shown_and_the_code_is_8(etc: Path, clp: Clp) -> None:
    bad = etc / "bad.toml"
    bad.write_text(SAMPLE.replace('type = "lanhb"', 'type = "lanhp"') + 'colour = "red"\n')
    ran = clp("clpcfchk", str(bad))
    assert ran.code == 8
    assert "bad.toml:" in ran.out
    assert "2 errors" in ran.out
    told = json.loads(clp("clpcfchk", str(bad), "--json").out)
    assert len(told["errors"]) == 2
    assert told["safety"] is None


def test_pushing_sends_the_folder_and_says_so(agent: Agent, etc: Path, clp: Clp) -> None:
    agent.backend.outcome = Outcome(text="Revision 4 is in force on every server.")
    ran = clp("clpcfctrl", "--push")
    assert (ran.code, ran.out) == (
        0,
        "Revision 4 is in force on every server.\nCommand succeeded.\n",
    )
    ((files, user, dry_run),) = agent.backend.pushed
    assert files.files == {
        "clp.toml": SAMPLE,
        "scripts/failover1/exec1/start.sh": "#!/bin/sh\n",
    }
    assert (user, dry_run) == ("root", False)


def test_pushing_an_invalid_one_changes_nothing(agent: Agent, etc: Path, clp: Clp) -> None:
    (etc / "clp.toml").write_text("[cluster]\nnam = 1\n")
    ran = clp("clpcfctrl", "--push")
    assert ran.code == 8
    assert "clp.toml:2" in ran.err
    assert agent.backend.pushed == []


def test_programs_are_not_distributed(agent: Agent, etc: Path, clp: Clp) -> None:
    (etc / "scripts/tool").write_bytes(b"\x7fELF\xff\xfe")
    ran = clp("clpcfctrl", "--push")
    assert ran.code == 1
    assert "not text" in ran.err


def test_a_push_does_not_wait_for_a_fifo_among_the_scripts(
    agent: Agent, etc: Path, clp: Clp
) -> None:
    os.mkfifo(etc / "scripts/pipe")
    ran = clp("clpcfctrl", "--push", "-x", str(etc))
    assert ran.code == 1
    assert f"{etc}/scripts/pipe: not a regular file" in ran.err
    assert agent.backend.pushed == []


def test_a_difference_found_is_9(agent: Agent, etc: Path, clp: Clp) -> None:
    agent.backend.outcome = Outcome(code=9, text="server2: clp.toml differs")
    ran = clp("clpcfctrl", "--compcheck")
    assert (ran.code, ran.out) == (9, "server2: clp.toml differs\n")
    assert agent.backend.pushed[0][2] is True


def test_pulling_writes_what_is_in_force(agent: Agent, etc: Path, clp: Clp, tmp_path: Path) -> None:
    target = tmp_path / "pulled"
    ran = clp("clpcfctrl", "--pull", "-x", str(target))
    assert ran.code == 0, ran
    assert (target / "clp.toml").read_text() == agent.backend.files.files["clp.toml"]
    assert os.access(target / "scripts/a/b/c.sh", os.X_OK)


def test_history_and_differences(etc: Path, clp: Clp) -> None:
    remember(etc, SAMPLE.replace("cluster", "old"), SAMPLE)
    told = json.loads(clp("clpcfctrl", "--history", "--json").out)
    assert [(r["revision"], r["in_force"]) for r in told["history"]] == [(1, False), (2, True)]
    assert clp("clpcfctrl", "--diff").code == 0
    ran = clp("clpcfctrl", "--diff", "1")
    assert ran.code == 9
    assert '-name = "old"' in ran.out
    assert '+name = "cluster"' in ran.out
    assert clp("clpcfctrl", "--diff", "1", "2").code == 9
    assert clp("clpcfctrl", "--diff", "7").code == 5


def test_scripts_are_compared_and_an_edited_one_is_told(etc: Path, clp: Clp) -> None:
    script = etc / "scripts/failover1/exec1/start.sh"
    history.store(1, {"clp.toml": SAMPLE, "scripts/failover1/exec1/start.sh": "one\n"}, Pushed())
    history.remember(1, SAMPLE)
    history.store(2, {"clp.toml": SAMPLE, "scripts/failover1/exec1/start.sh": "two\n"}, Pushed())
    history.remember(2, SAMPLE)
    script.write_text("two\n")
    assert clp("clpcfctrl", "--diff").code == 0
    assert "not as in revision" not in clp("clpcfchk").out
    script.write_text("mine\n")
    ran = clp("clpcfctrl", "--diff")
    assert ran.code == 9
    assert f"+++ {script}" in ran.out and "-two\n+mine\n" in ran.out
    assert "-one\n+two\n" in clp("clpcfctrl", "--diff", "1").out
    told = " ".join(clp("clpcfchk").out.split())
    assert "scripts/failover1/exec1/start.sh is not as in revision 2" in told
    assert "Drop it there: clpcfctrl --rollback 2" in told
    clp("clpcfctrl", "--rollback", "2")
    assert script.read_text() == "two\n"
    assert "not as in revision" not in clp("clpcfchk").out


def test_a_file_that_is_gone_is_written_again_by_the_command_that_is_named(
    etc: Path, clp: Clp
) -> None:
    history.store(1, {"clp.toml": SAMPLE}, Pushed())
    history.remember(1, SAMPLE)
    (etc / "clp.toml").unlink()
    assert history.mend(1, history.edit(1), "server1") == (
        "Write the file again on server1: clpcfctrl --rollback 1"
    )
    assert clp("clpcfctrl", "--rollback", "1").code == 0
    assert (etc / "clp.toml").read_text() == SAMPLE


def test_a_link_in_scripts_that_leads_elsewhere_is_not_pushed(
    agent: Agent, etc: Path, clp: Clp, tmp_path: Path
) -> None:
    """Its text, such as that of a key, would lie on every server."""
    (tmp_path / "secret").write_text("secret\n")
    link = etc / "scripts/failover1/exec1/more.sh"
    link.symlink_to(tmp_path / "secret")
    ran = clp("clpcfctrl", "--push")
    assert ran.code == 1
    assert f"{link}: is a symbolic link that leads out of {etc}." in ran.err
    assert agent.backend.pushed == []
    link.unlink()
    link.symlink_to("start.sh")
    assert clp("clpcfctrl", "--push").code == 0
    assert agent.backend.pushed[0][0].files["scripts/failover1/exec1/more.sh"] == "#!/bin/sh\n"


def test_a_push_names_what_came_meanwhile_and_was_replaced(
    agent: Agent, etc: Path, clp: Clp, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(etc, SAMPLE)
    distribute = cfctrl_distribution.distribute

    def late(*files: Any, **options: Any) -> Answer:
        for number, server in ((2, "server2"), (3, server_name())):
            text = SAMPLE.replace("cluster", f"of {server}")
            history.store(number, {"clp.toml": text}, Pushed(user="anna", server=server))
            history.remember(number, text)
        return distribute(*files, **options)

    monkeypatch.setattr(cfctrl_distribution, "distribute", late)
    ran = clp("clpcfctrl", "--push")
    assert ran.code == 0
    assert (
        "Revision 2 came meanwhile (push by anna on server2) and was replaced: what it changed is "
        "undone. See: clpcfctrl --diff 2 3\n" in ran.out
    )
    monkeypatch.undo()
    assert "meanwhile" not in clp("clpcfctrl", "--push").out


def test_rolling_back_pushes_the_old_one_with_the_scripts_of_today(
    agent: Agent, etc: Path, clp: Clp
) -> None:
    remember(etc, SAMPLE.replace("cluster", "old"), SAMPLE)
    assert clp("clpcfctrl", "--rollback", "1").code == 0
    files = agent.backend.pushed[0][0].files
    assert 'name = "old"' in files["clp.toml"]
    assert "scripts/a/b/c.sh" in files
    ran = clp("clpcfctrl", "--rollback", "2")
    assert (ran.code, ran.out) == (
        0,
        f"Revision 2 is in force; its clp.toml is written again into {etc}.\nCommand succeeded.\n",
    )
    assert len(agent.backend.pushed) == 1


def test_a_clp_conf_is_translated_and_its_gaps_are_listed(
    agent: Agent, node: Path, clp: Clp, tmp_path: Path
) -> None:
    conf = tmp_path / "clp.conf"
    conf.write_text(
        '<?xml version="1.0" encoding="ASCII"?><root><cluster><name>old</name></cluster>'
        '<server name="server1"><priority>0</priority></server></root>'
    )
    ran = clp("clpcfctrl", "--import", str(conf), "-x", str(tmp_path))
    assert ran.code in (0, 8)
    assert 'name = "old"' in (tmp_path / "clp.toml").read_text()
    assert clp("clpcfctrl", "--import", str(conf), "-x", str(tmp_path)).code == 6
    assert clp("clpcfctrl", "--push", "-x", str(tmp_path)).code == 0
    history.remember(1, (tmp_path / "clp.toml").read_text())
    assert clp("clpcfctrl", "--push", "-x", str(tmp_path)).code == 0
    deep = tmp_path / "new/folder"  # made, as --pull makes one
    clp("clpcfctrl", "--import", str(conf), "-x", str(deep))
    assert (deep / "clp.toml").exists()
    assert agent.backend.pushed_how == ["import", "push"]
    conf.write_text("<other/>")
    assert clp("clpcfctrl", "--import", str(conf), "-x", str(tmp_path), "--force").code == 8


@pytest.mark.parametrize(
    "line", [("--rollback",), ("--rollback", "x"), ("--push", "1"), ("--diff", "1", "2", "3")]
)
def test_numbers_where_they_belong(etc: Path, clp: Clp, line: tuple[str, ...]) -> None:
    assert clp("clpcfctrl", *line).code == 2


def test_the_key_is_made_once(node: Path, clp: Clp) -> None:
    key = node / "etc/clptools/authkey"
    assert clp("clpcfctrl", "--keygen").code == 0
    made = key.read_bytes()
    assert len(made) == 32
    assert stat.S_IMODE(key.stat().st_mode) == 0o400
    assert clp("clpcfctrl", "--keygen").code == 6
    assert key.read_bytes() == made
    assert clp("clpcfctrl", "--keygen", "--force").code == 0
    assert key.read_bytes() != made


def test_a_bmc_password_comes_from_standard_input_alone(
    etc: Path, clp: Clp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("s3cret\n"))
    ran = clp("clpbmccnf", "-u", "clp", "server1")
    assert (ran.code, ran.out) == (0, "Command succeeded.\n")
    file = etc / "bmc/server1"
    assert file.read_text() == "s3cret\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o400
    for line in (("-p", "s3cret"), ("--password=s3cret",), ("server1", "s3cret")):
        ran = clp("clpbmccnf", *line)
        assert ran.code == 2
        assert "s3cret" not in ran.out + ran.err


def test_a_bmc_user_is_what_the_configuration_says(etc: Path, clp: Clp) -> None:
    ran = clp("clpbmccnf", "-u", "root", "server1")
    assert ran.code == 6
    assert "'clp', not 'root'" in ran.err
    ran = clp("clpbmccnf", "server9")
    assert ran.code == 5
    assert "Known: server1, server2.  One that is to join: --new." in ran.err


def test_the_password_of_a_server_that_is_to_join_can_be_there_before_it(
    etc: Path, clp: Clp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("s3cret\n"))
    ran = clp("clpbmccnf", "--new", "server9")
    assert ran.code == 0
    assert ran.out == f"Command succeeded.\nserver9 is not in {etc}/clp.toml yet.\n"
    assert (etc / "bmc/server9").read_text() == "s3cret\n"


@pytest.mark.parametrize("name", ["../authkey", "a/b", ".hidden", "a" * 64, "sérver"])
def test_a_server_whose_name_is_none_gets_no_password(
    etc: Path, clp: Clp, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (etc / "clp.toml").unlink()
    before = sorted(etc.rglob("*"))
    monkeypatch.setattr(sys, "stdin", io.StringIO("s3cret\n"))
    assert clp("clpbmccnf", "--new", name).code == 2
    assert sorted(etc.rglob("*")) == before


SNMPV3 = (
    SAMPLE
    + """
[[monitor]]
type = "mrw"
name = "mrw1"
category = "BMCNOTICE"
keyword_on = { server1 = "127.0.0.1", server2 = "127.0.0.2" }
[[monitor.snmpv3_user]]
user = "trapper"
"""
)


@pytest.mark.parametrize(
    ("given", "keys"),
    [
        ("authentic1\nprivate12\n", (b"authentic1", b"private12")),
        ("authentic1\n", (b"authentic1", b"authentic1")),
        ("authentic1\n\n", (b"authentic1", b"authentic1")),
    ],
)
def test_snmpv3_pass_phrases_are_stored_as_the_trap_intake_reads_them(
    etc: Path,
    clp: Clp,
    monkeypatch: pytest.MonkeyPatch,
    given: str,
    keys: tuple[bytes, bytes],
) -> None:
    (etc / "clp.toml").write_text(SNMPV3)
    assert "Set them: clpbmccnf --snmp trapper" in clp("clpcfchk").out
    monkeypatch.setattr(sys, "stdin", io.StringIO(given))
    ran = clp("clpbmccnf", "--snmp", "trapper")
    assert (ran.code, ran.out) == (0, "Command succeeded.\n")
    file = etc / "snmp/trapper"
    assert stat.S_IMODE(file.stat().st_mode) == 0o400
    read = read_keys(str(file))
    assert (read.auth, read.priv) == keys
    assert "snmp/trapper" not in clp("clpcfchk").out


def test_snmpv3_pass_phrases_are_asked_for_twice(
    etc: Path, clp: Clp, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    answers = iter(["authentic1", "authentic1", "", "", "authentic1", "autentic1"])

    def getpass(prompt: str) -> str:
        asked.append(prompt)
        return next(answers)

    monkeypatch.setattr("getpass.getpass", getpass)
    monkeypatch.setattr(sys, "stdin", type("Terminal", (), {"isatty": lambda self: True})())
    ran = clp("clpbmccnf", "--snmp", "trapper")
    assert ran.code == 0
    assert ran.out.endswith(f"No monitor in {etc}/clp.toml has the SNMPv3 user trapper yet.\n")
    assert asked == [
        "Authentication pass phrase of trapper: ",
        "Once more: ",
        "Privacy pass phrase (empty: the same): ",
        "Once more: ",
    ]
    file = etc / "snmp/trapper"
    assert file.read_text() == "auth=authentic1\npriv=authentic1\n"
    ran = clp("clpbmccnf", "--snmp", "trapper")
    assert (ran.code, ran.err) == (1, "clpbmccnf: The two are not the same. Nothing was changed.\n")


@pytest.mark.parametrize(
    ("line", "given"),
    [
        (("--snmp", "trapper"), "short\n"),
        (("--snmp", "trapper"), "authentic1\nshort\n"),
        (("--snmp", "trapper"), "authentic1 \n"),
        (("--snmp", "trapper"), ""),
        (("--snmp", "../authkey"), "authentic1\n"),
        (("--snmp", "trapper", "server1"), "authentic1\n"),
        (("--snmp", "trapper", "-u", "clp"), "authentic1\n"),
    ],
)
def test_what_can_be_no_snmpv3_keys_is_refused(
    etc: Path, clp: Clp, monkeypatch: pytest.MonkeyPatch, line: tuple[str, ...], given: str
) -> None:
    before = sorted(etc.rglob("*"))
    monkeypatch.setattr(sys, "stdin", io.StringIO(given))
    ran = clp("clpbmccnf", *line)
    assert ran.code == 2
    assert "authentic1" not in ran.err
    assert sorted(etc.rglob("*")) == before


def test_options_of_old_scripts_change_nothing(agent: Agent, etc: Path, clp: Clp) -> None:
    for options in (("-l",), ("-w",), ("-w", "--nocheck")):
        assert clp("clpcfctrl", "--push", *options).code == 0
    (etc / "clp.toml").write_text("[cluster]\nnam = 1\n")
    assert clp("clpcfctrl", "--push", "--nocheck").code == 8


def test_logs_of_all_servers_are_collected(
    agent: Agent, etc: Path, clp: Clp, tmp_path: Path
) -> None:
    new = tmp_path / "of" / "today"
    ran = clp("clplogcc", "-o", str(new))
    own, other = new / "server1-log.tar.gz", new / "server2-log.tar.gz"
    line = new / "timeline.txt"
    assert ran.code == 0
    assert ran.out.splitlines() == [
        f"{own} written.",
        f"{other} written.",
        f"{line} written: what all servers recorded, in one order.",
    ]
    told = line.read_text().splitlines()
    assert told[0].endswith("server1  INFO   rc 10  event 0")
    assert len(told) == len(agent.backend.records)
    assert other.read_bytes() == b"what server2 packed"
    assert stat.S_IMODE(other.stat().st_mode) == 0o600


def test_logs_of_one_server_are_collected(
    agent: Agent, etc: Path, clp: Clp, tmp_path: Path
) -> None:
    here = tmp_path / "here"
    for options, name in (
        (("-t", "type2", "-r", "3", "-l", "-n", "server1"), "server1-log.tar.gz"),
        (("-h", "server2"), "server2-log.tar.gz"),
        (("-n", "server2"), "server2-log.tar.gz"),
    ):
        here.mkdir()
        assert clp("clplogcc", *options, "-o", str(here)).code == 0
        assert [each.name for each in here.iterdir()] == [name]
        (here / name).unlink()
        here.rmdir()
    assert clp("clplogcc", "-l", "-n", "server2").code == 2
    assert "Known: server2, server1" in clp("clplogcc", "-n", "server9").err


def test_a_server_that_does_not_answer_is_named_and_the_others_are_collected(
    agent: Agent, etc: Path, clp: Clp, tmp_path: Path
) -> None:
    agent.backend.silent.add("server2")
    (tmp_path / "server2-log.tar.gz").write_text("the last incident's")
    ran = clp("clplogcc", "-o", str(tmp_path))
    assert ran.code == 1
    assert "server1-log.tar.gz written.\nserver2 was not collected: server2 cannot" in ran.out
    assert (tmp_path / "server2-log.tar.gz").read_text() == "the last incident's"
    assert not list(tmp_path.glob(".clplogcc*"))


def test_without_an_agent_this_server_is_packed(etc: Path, clp: Clp, tmp_path: Path) -> None:
    ran = clp("clplogcc", "-o", str(tmp_path))
    assert ran.code == 0
    assert "server1-log.tar.gz written.\nWithout the present state" in ran.out
    assert clp("clplogcc", "-n", "server2").code == 3
    nowhere = tmp_path / "a-file" / "nowhere"
    nowhere.parent.write_text("")
    assert clp("clplogcc", "-l", "-o", str(nowhere)).err == (
        f"clplogcc: {nowhere}: Not a directory\nWrite somewhere else: -o DIR\n"
    )


def test_collected_logs_hold_no_secret(agent: Agent, etc: Path, clp: Clp, tmp_path: Path) -> None:
    (etc / "authkey").write_text("the-authkey")
    (etc / "bmc").mkdir()
    (etc / "bmc/server1").write_text("the-password")
    (etc / "clp.toml").write_text(SAMPLE + 'community = [\n  "the-community",\n]\n')
    log = tmp_path / "var/log/clptools"
    log.mkdir(parents=True)
    (log / "alert.log").write_text("an alert\n")
    ran = clp("clplogcc", "-o", str(tmp_path))
    assert ran.code == 0, ran
    packed = tmp_path / "server1-log.tar.gz"
    assert stat.S_IMODE(packed.stat().st_mode) == 0o600
    with tarfile.open(packed) as archive:
        names = archive.getnames()
        held = b"".join(
            file.read() for m in archive.getmembers() if (file := archive.extractfile(m))
        )
    assert "server1-log/log/alert.log" in names
    assert "server1-log/status.json" in names
    assert b"an alert" in held
    for secret in (b"the-authkey", b"the-password", b"the-community"):
        assert secret not in held


def test_findings_are_folded_for_a_terminal_and_whole_in_a_pipe() -> None:
    hint = "Write " + "address " * 12
    report = Report(
        severity="error",
        file="/etc/clptools/clp.toml",
        line=41,
        key="",
        message="m " * 60,
        hint=hint,
    )
    narrow = render_text((report,), None, 60).splitlines()
    assert max(map(len, narrow)) <= 60
    assert narrow[0].startswith("clp.toml:41: m m")
    assert narrow[1].startswith(" " * len("clp.toml:41: ") + "m")
    assert len(render_text((report,), None).splitlines()) == 3


def _without_watchdog(*servers: str) -> tuple[ServerFacts, ...]:
    none = {"softdog": "there is no /dev/watchdog"}
    return tuple(
        ServerFacts(name=name, facts=Facts(server=name, watchdogs=none)) for name in servers
    )


def test_the_verdict_counts_on_nothing_that_a_server_cannot_keep(
    agent: Agent, etc: Path, clp: Clp
) -> None:
    """Below a root of its own this node arms nothing, either."""
    (etc / "clp.toml").write_text(THREE_WITH_WATCHDOGS)
    agent.backend.machines = _without_watchdog("server2", "server3")
    ran = clp("clpcfchk")
    assert ran.code == 0 and agent.backend.asked_of == [THREE_WITH_WATCHDOGS]
    assert "by lease" not in ran.out and "lease)" not in ran.out
    for name in ("server1", "server2", "server3"):
        assert f"the watchdog of {name} cannot be armed" in ran.out
    assert json.loads(clp("clpcfchk", "--json").out)["safety"]["worst_case_s"]["takeover"] is None


def test_of_whom_nothing_is_known_is_said(etc: Path, clp: Clp) -> None:
    (etc / "clp.toml").write_text(THREE_WITH_WATCHDOGS)
    ran = clp("clpcfchk")
    assert ran.code == 0
    for name in ("server2", "server3"):
        assert f"server {name}: nothing is known of its machine" in ran.out


def test_a_push_says_first_what_servers_lack(agent: Agent, etc: Path, clp: Clp) -> None:
    (etc / "clp.toml").write_text(THREE_WITH_WATCHDOGS)
    agent.backend.machines = _without_watchdog("server1", "server3")
    ran = clp("clpcfctrl", "--push")
    assert ran.code == 0 and len(agent.backend.pushed) == 1
    assert "the watchdog of server3 cannot be armed" in ran.out and "server1 cannot" not in ran.out
    assert ran.out.endswith("Command succeeded.\n")


def test_a_rollback_says_first_what_servers_lack(agent: Agent, etc: Path, clp: Clp) -> None:
    remember(etc, THREE_WITH_WATCHDOGS, SAMPLE)
    agent.backend.machines = _without_watchdog("server1", "server3")
    ran = clp("clpcfctrl", "--rollback", "1")
    assert ran.code == 0 and len(agent.backend.pushed) == 1
    assert agent.backend.asked_of == [THREE_WITH_WATCHDOGS]
    assert "the watchdog of server3 cannot be armed" in ran.out
    assert ran.out.endswith("Command succeeded.\n")


def test_a_script_that_the_push_brings_is_not_missing_on_other_servers(
    agent: Agent, node: Path, clp: Clp, tmp_path: Path
) -> None:
    folder = tmp_path / "new"
    (folder / "scripts/failover1").mkdir(parents=True)
    (folder / "clp.toml").write_text(THREE_WITH_WATCHDOGS)
    (folder / "scripts/failover1/start.sh").write_text("#!/bin/sh\n")
    start = f"{paths.scripts_dir()}/failover1/start.sh"
    missing = {path: FileFault(text=f"{path}: not there") for path in (start, "/opt/x.sh")}
    agent.backend.machines = (
        ServerFacts(name="server2", facts=Facts(server="server2", files=missing)),
    )
    said = clp("clpcfchk", str(folder / "clp.toml")).out
    assert "x.sh: not there" in said and "start.sh: not there" not in said


def test_scripts_in_force_do_not_stand_in_for_those_that_the_push_lacks(
    agent: Agent, etc: Path, clp: Clp, tmp_path: Path
) -> None:
    """A push takes away every script that its folder lacks: the group could neither start nor
    stop."""
    place = etc / "scripts/failover1/exec1"
    place.mkdir(parents=True, exist_ok=True)
    for name in ("start.sh", "stop.sh"):
        (place / name).write_text("#!/bin/sh\n")
        (place / name).chmod(0o750)
    folder = tmp_path / "new"
    folder.mkdir()
    (folder / "clp.toml").write_text(WITH_SCRIPTS)
    for line in (("clpcfchk", "-i", str(folder)), ("clpcfctrl", "--push", "-x", str(folder))):
        said = clp(*line).out
        for key in ("start", "stop"):
            missing = f"{folder}/scripts/failover1/exec1/{key}.sh: no such script"
            assert said.count(f"group resource exec1: {key}: {missing}") == 1, said
    path = "scripts/failover1/exec1/stop.sh"
    agent.backend.files = ConfigFiles(revision=1, files={"clp.toml": SAMPLE, path: "#!/bin/sh\n"})
    pushed = len(agent.backend.pushed)
    ran = clp("clpcfctrl", "--push", "-x", str(folder))
    assert (ran.code, len(agent.backend.pushed)) == (6, pushed)
    assert f"{folder} lacks {path}: its clp.toml names it, and the push would take it" in ran.err
    assert clp("clpcfctrl", "--push", "-x", str(folder), "--force").code == 0
    assert len(agent.backend.pushed) == pushed + 1
    agent.backend.files = ConfigFiles(revision=1, files={"clp.toml": SAMPLE})
    (etc / "clp.toml").write_text(WITH_SCRIPTS)
    assert "no such script" not in clp("clpcfctrl", "--push").out
    (place / "stop.sh").unlink()
    assert "stop.sh: no such script" in clp("clpcfctrl", "--push").out


def test_a_push_warns_of_an_address_that_no_server_has(etc: Path, clp: Clp, agent: Agent) -> None:
    main = etc / "clp.toml"
    main.write_text(main.read_text().replace("127.0.0.", "10.9.9."))
    agent.backend.machines = tuple(
        ServerFacts(name=name, facts=Facts(server=name, addresses=frozenset({"10.0.0.1"})))
        for name in ("server1", "server2")
    )
    said = clp("clpcfctrl", "--push").out
    for number in (1, 2):
        missing = f'address.server{number} = "10.9.9.{number}" is no address of server{number}'
        assert said.count(missing) == 1, said


def test_an_edited_clp_conf_beside_it_is_said_not_to_be_pushed(
    etc: Path, agent: Agent, clp: Clp
) -> None:
    conf = etc / "clp.conf"
    os.utime(etc / "clp.toml", (1, 1))
    assert clp("clpcfctrl", "--export", str(conf)).code == 0
    told = f"{conf} is newer than clp.toml, and is not pushed."
    assert told not in clp("clpcfctrl", "--push").out, "it is the export of it"
    conf.write_text(conf.read_text().replace("</root>", "  </root>"))
    assert told in clp("clpcfctrl", "--push").out
    os.utime(conf, (0, 0))
    assert told not in clp("clpcfctrl", "--push").out
