"""`clpcfset wizard`: the sample cluster by questions, and nothing written before the end."""

from __future__ import annotations

import io
import json
import os
import pty
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from clptools.cli.wizard_steps import listing
from clptools.config.document import Document
from clptools.config.edit import Configuration
from clptools.registries import registries
from tests.cli.conftest import Clp, Ran
from tests.config.sample import SAMPLE, good

SAMPLE_BY_STEPS = (
    ["cluster", ""],
    ["", "server1", "192.168.0.11", "clp", "", "server2", "192.168.0.12", "clp", ""],
    ["", "lankhb", "192.168.0.1", "192.168.0.2", "a", "lanhb", "10.0.0.1", "10.0.0.2",
     "a", "bmchb", "n"],
    ["n"],
    ["", "failover1", "server1,server2", "auto", "auto", "manual", ""],
    ["", "failover1", "exec", "exec1", "1800", "a", "failover1", "fip", "fip1",
     "192.168.0.100/24", ""],
    ["", "userw", "userw", "softdog",
     "", "mrw", "mrw1", "BMCNOTICE", "192.168.0.1", "192.168.0.1", "192.168.0.2", "y", "y",
     "public", "failover", "failover1", "none", "reset", ""],
    ["w"],
)  # fmt: skip
"""The answers to each step; an empty one takes what stands in brackets."""

Wizard = Callable[..., Ran]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "clp.toml"


@pytest.fixture
def wizard(here: Path, clp: Clp, monkeypatch: pytest.MonkeyPatch) -> Wizard:
    """Runs it with these answers, a line each."""

    def run(*answers: str, options: tuple[str, ...] = ()) -> Ran:
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{a}\n" for a in answers)))
        return clp("clpcfset", "wizard", *options)

    return run


def test_the_sample_cluster_is_built_by_questions_alone(here: Path, wizard: Wizard) -> None:
    ran = wizard(*(answer for step in SAMPLE_BY_STEPS for answer in step))
    assert (ran.code, ran.err) == (0, ""), ran
    assert good(here.read_text()) == good(SAMPLE)
    assert "Safety: safe." in ran.out
    assert ran.out.endswith("Command succeeded.\n")
    assert (here.parent / "scripts/failover1/exec1/start.sh").exists()


def test_the_answers_in_brackets_alone_make_the_sample_but_for_addresses(
    here: Path, wizard: Wizard
) -> None:
    said = ["", "", "", "", "192.168.0.11", "", "", "", "192.168.0.12", "", ""]
    said += ["", "", "192.168.0.1", "192.168.0.2", ""]
    said += [""]
    said += ["", "", "", "", "", "", ""]
    said += ["", "", "", "", "", ""]
    said += ["", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", "", ""]
    ran = wizard(*said, "w")
    assert ran.code == 0, ran
    made, wanted = good(here.read_text()), good(SAMPLE)
    assert made.servers == wanted.servers
    assert made.monitors == wanted.monitors
    assert made.interconnects == wanted.interconnects[:1]


def test_refused_answers_are_asked_again_with_the_reason(here: Path, wizard: Wizard) -> None:
    ran = wizard(
        "no name/", "c", "lease=9999999", "lease=4", "?", "",
        "", "a b", "alpha", "not an address", "10.9.0.1", "", "n",
        "", "comhb", "diskhb", "mdc", "lanhb", "10.0.0.1", "n",
        "n", "n", "n", "n", "w",
    )  # fmt: skip
    assert ran.code == 0, ran
    for said in ("not a name", "must be from 0.1 to 3600 seconds", "serial line", "shared disk",
                 "no mirror communication", "# self_stop = 6.0", "not an address"):  # fmt: skip
        assert said in ran.out, said
    assert "lease = 4" in here.read_text()


def test_every_step_can_be_repeated_renamed_changed_and_gone_back_to(
    here: Path, wizard: Wizard
) -> None:
    here.write_text(SAMPLE)
    ran = wizard(
        "", "",
        "n",
        "b",                                # back to the servers
        "r", "server2", "db2",
        "c", "1", "bmc.user=admin", "",
        "d", "nosuch", "<",                 # not this one after all
        "m", "2", "1",
        "n", "n", "n", "n",
        "c", "2", "timeout=5", "announcements=3", "announcements", "",
        "d", "1", "n",
        "n", "b", "n", "w",
    )  # fmt: skip
    assert ran.code == 0, ran
    made = good(here.read_text())
    assert made.names == ("db2", "server1")
    assert made.servers[1].bmc is not None and made.servers[1].bmc.user == "admin"
    assert made.monitor("mrw1").keywords["db2"] == "192.168.0.2"  # type: ignore[union-attr]  # it is there
    (fip,) = made.groups[0].resources
    assert (fip.name, fip.start_timeout_ms, fip.options["announcements"]) == ("fip1", 5000, 5)
    assert here.read_text().startswith("# The sample cluster")


def test_an_object_that_is_not_answered_to_its_end_is_not_made(here: Path, wizard: Wizard) -> None:
    ran = wizard("c", "", "", "s1", "<", "", "s2", "", "n", "q")
    assert "Left as it was." in ran.out
    assert "s1 " not in ran.out.partition("Left as it was.")[2]
    assert "s2" in ran.out


@pytest.mark.parametrize("answers", [("c",), ("c", "", "", "s1", "10.9.0.1")])
def test_answers_that_end_too_early_write_nothing(
    here: Path, wizard: Wizard, answers: tuple[str, ...]
) -> None:
    here.write_text(SAMPLE)
    ran = wizard(*answers)
    assert ran.code == 1
    assert "Nothing was written: clp.toml is as it was." in ran.err
    assert here.read_text() == SAMPLE


def test_quitting_writes_nothing(here: Path, wizard: Wizard) -> None:
    ran = wizard("c", "", "q")
    assert ran.code == 0
    assert ran.out.endswith("Nothing was written: there is no clp.toml.\n")
    assert list(here.parent.iterdir()) == []


class Interrupted(io.StringIO):
    """Answers, then Ctrl-C."""

    def readline(self, size: int | None = -1) -> str:  # type: ignore[override]  # None as in io
        line = super().readline(-1 if size is None else size)
        if not line:
            raise KeyboardInterrupt
        return line


def test_ctrl_c_writes_nothing_and_says_so(
    here: Path, clp: Clp, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.write_text(SAMPLE)
    monkeypatch.setattr(sys, "stdin", Interrupted("renamed\n\n\n"))
    ran = clp("clpcfset", "wizard")
    assert ran.code == 130
    assert "Nothing was written: clp.toml is as it was." in ran.out
    assert here.read_text() == SAMPLE
    assert [f.name for f in here.parent.iterdir()] == ["clp.toml"]


def test_faults_of_the_whole_are_shown_before_it_is_written(here: Path, wizard: Wizard) -> None:
    ran = wizard("c", "", "n", "n", "n", "n", "n", "n", "", "n", "q")
    assert "there is no server" in ran.out
    assert "[w]rite, [b]ack, [q]uit [b]" in ran.out
    assert not here.exists()


def test_what_somebody_else_changed_meanwhile_is_not_overwritten(
    here: Path, clp: Clp, monkeypatch: pytest.MonkeyPatch
) -> None:
    here.write_text(SAMPLE)

    class Meanwhile(io.StringIO):
        def readline(self, size: int | None = -1) -> str:  # type: ignore[override]  # None as in io
            line = super().readline(-1 if size is None else size)
            if line == "w\n":
                here.write_text("# mine\n" + SAMPLE)
            return line

    monkeypatch.setattr(sys, "stdin", Meanwhile("other\n\nn\nn\nn\nn\nn\nn\nw\n"))
    ran = clp("clpcfset", "wizard")
    assert ran.code == 6
    assert "has changed meanwhile" in ran.err
    assert here.read_text() == "# mine\n" + SAMPLE


def test_programs_get_one_object_and_the_questions_aside(here: Path, wizard: Wizard) -> None:
    ran = wizard("c", "", "n", "n", "n", "n", "n", "n", "w", options=("--json",))
    told = json.loads(ran.out)
    assert (told["schema"], told["result"], told["file"]) == (1, "done", "clp.toml")
    assert "Step 1 of 8" in ran.err


def test_interconnects_are_a_table_with_a_column_a_server() -> None:
    config = Configuration(Document(INTERCONNECTS, "clp.toml"), registries())
    assert listing("interconnect", config.all_of("interconnect"), config.names("server")) == [
        "     TYPE    NAME     server1   server2",
        "  1  lankhb  lankhb1  10.0.0.1  10.0.0.2",
        "  2  lanhb   back     10.0.1.1  -",
    ]


INTERCONNECTS = """\
[[server]]
name = "server1"
[[server]]
name = "server2"
[[interconnect]]
type = "lankhb"
address = { server1 = "10.0.0.1", server2 = "10.0.0.2" }
[[interconnect]]
type = "lanhb"
name = "back"
address = { server1 = "10.0.1.1" }
"""


@pytest.mark.parametrize("keys", ["q\n", "\x03"])
def test_on_a_terminal_what_was_entered_is_not_thrown_away_unasked(
    tmp_path: Path, keys: str
) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(tmp_path)
        os.execvp(sys.executable, [sys.executable, "-m", "clptools.cli.main", "clpcfset", "wizard"])
    seen = ""

    def until(words: str) -> None:
        nonlocal seen
        while words not in seen:
            seen += os.read(terminal, 4096).decode()
        seen = seen.partition(words)[2]

    until("Name [cluster]: ")
    os.write(terminal, b"mine\n")
    until("KEY=VALUE")
    os.write(terminal, b"\n")
    until("[q]uit [a]: ")
    os.write(terminal, keys.encode())
    until("Throw away what was entered (y/n) [n]: ")
    os.write(terminal, b"n\n")
    until("[q]uit [a]: ")
    os.write(terminal, keys.encode())
    until("Throw away")
    os.write(terminal, b"y\n")
    until("Nothing was written")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == (0 if keys == "q\n" else 130)
    assert not (tmp_path / "clp.toml").exists()
