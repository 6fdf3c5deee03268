"""One source for parser, typer, manual and completions: they agree, and the files are fresh."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clptools.cli import clpgrp
from clptools.cli.command import Args, Command, UsageError, parse
from clptools.cli.generate import ROOT, commands, files
from clptools.cli.pages.man_pages import SAMPLE
from clptools.cli.registry import COMMANDS, DAEMONS
from clptools.cli.typer_app import read
from clptools.common import agent_files
from clptools.config.load import loads
from clptools.core.model.settings import Resource
from clptools.registries import registries
from clptools.resources.operations import ResourceContext, script_environment
from clptools.resources.script import Script, ScriptResult
from tests.api.fake import Agent
from tests.cli.conftest import Clp
from tests.conftest import LIMIT_S


def test_man_pages_and_completions_are_fresh() -> None:
    wanted = files()
    stale = [
        path
        for path, text in wanted.items()
        if not (ROOT / path).exists() or (ROOT / path).read_text() != text
    ]
    left = {f"man/{page.name}" for page in (ROOT / "man").glob("*.8")} - set(wanted)
    assert not stale, "make them: python -m clptools.cli.generate"
    assert not left


def test_what_scripts_are_told_is_in_the_manual() -> None:
    async def never(script: Script) -> ScriptResult:
        raise AssertionError(script.name)

    context = ResourceContext(server="server1", group="g", event="START", run=never)
    told = script_environment(Resource(name="exec1", type="exec"), context)
    page = files()["man/clp.toml.5"].partition(".SH SCRIPTS")[2].partition(".SH EXAMPLES")[0]
    for name in (*told, "CLP_PATH", "CLP_MONITORNAME", "CLP_CATEGORY", "CLP_KEYWORD"):
        assert name in page
    assert "RECOVER" in page and "does not occur" in page


def test_every_command_has_its_module_and_its_script() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    for name, module in COMMANDS.items():
        loaded = import_module(module)
        assert loaded.COMMAND.name == name
        assert callable(loaded.run)
        assert scripts[name] == "clptools.launcher:main"
    assert set(scripts) == {*COMMANDS, *DAEMONS}


@pytest.mark.parametrize("command", commands(), ids=lambda command: command.name)
def test_the_data_of_a_command_is_sound(command: Command) -> None:
    flags = [flag for option in command.options for flag in option.flags]
    assert len(flags) == len(set(flags))
    assert "--help" not in flags
    assert command.summary and not command.summary.endswith(".")
    assert command.synopsis and command.description
    for option in command.options:
        assert option.help.endswith((".", ")")), option.flags
        assert option.flags[-1].startswith("--") or len(option.flags) == 1


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_has_help(clp: Clp, name: str) -> None:
    ran = clp(name, "--help")
    assert ran.code == 0
    assert f"Usage: {name}" in ran.out


def words_of(command: Command) -> st.SearchStrategy[list[str]]:
    flags = [flag for option in command.options for flag in option.flags]
    short = [flag[1] for flag in flags if len(flag) == 2]
    anything = st.sampled_from(
        [*flags, *(f"{f}=v" for f in flags if f.startswith("--")), "word", "7", "", "-", "--"]
    )
    bundle = st.lists(st.sampled_from(short), min_size=1, max_size=3).map(
        lambda s: "-" + "".join(s)
    )
    return st.lists(anything | bundle if short else anything, max_size=6)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_both_parsers_read_a_line_alike(data: st.DataObject) -> None:
    command = data.draw(st.sampled_from(commands()))
    line = data.draw(words_of(command))
    try:
        ours: Args | None = parse(command, line)
    except UsageError:
        ours = None
    try:
        theirs: Args | None = read(command, line)
    except Exception:
        theirs = None
    if ours is not None:
        assert ours == theirs, line
    elif theirs is not None:
        # typer takes any text for a number; nothing else may be the cause.
        numbers = [o.name for o in command.options if o.number and theirs.given(o.name)]
        assert numbers, line


def test_man_pages_have_no_roff_faults() -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not installed: man pages are not rendered")
    for page in sorted((ROOT / "man").glob("*.8")):
        line = ["groff", "-man", "-Tutf8", "-ww", "-z", str(page)]
        ran = subprocess.run(line, capture_output=True, text=True, timeout=LIMIT_S)
        assert (ran.returncode, ran.stderr) == (0, ""), page


def completions(words: list[str], folder: Path, line: str = "") -> set[str]:
    """What bash offers for the last of `words`, or of a `line` with the cursor at its end."""
    line = line or " ".join(words)
    quoted = " ".join(f"'{word}'" for word in words)
    script = (
        f"source {ROOT}/completions/clptools.bash; COMP_WORDS=({quoted}); "
        f"COMP_LINE='{line}'; COMP_POINT={len(line)}; "
        f"COMP_CWORD={len(words) - 1}; _clptools '{words[0]}' '{words[-1]}' '{words[-2]}'; "
        'printf "%s\\n" "${COMPREPLY[@]}"'
    )
    path = f"{folder}:{os.environ['PATH']}"
    ran = subprocess.run(
        ["bash", "-u", "-c", script],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env={**os.environ, "PATH": path},
    )
    assert ran.stderr == ""
    return set(ran.stdout.split())


@pytest.fixture
def installed(agent: Agent, tmp_path: Path) -> Path:
    """A folder of $PATH with the command that says the live names."""
    script = tmp_path / "clpstat"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m clptools.cli.main clpstat "$@"\n')
    script.chmod(0o755)
    return tmp_path


def test_bash_completes_options_and_live_names(installed: Path) -> None:
    assert completions(["clpgrp", "-n", "f"], installed) == {"failover1"}
    assert completions(["clpgrp", "-a", ""], installed) == {"server1", "server2"}
    assert completions(["clprsc", "-s", ""], installed) == {"exec1", "fip1"}
    assert completions(["clpmonctrl", "-m", "u"], installed) == {"userw"}
    assert completions(["clpgrp", "--st"], installed) == {"--start", "--stop"}
    assert completions(["clpgrp", "--apito", ""], installed) == set()


def test_bash_completes_a_word_by_its_place(installed: Path) -> None:
    def offered(line: str) -> set[str]:
        return completions([*line.split(" ")], installed)

    servers = {"server1", "server2"}
    assert offered("clpnode ") == {"confirm-down"}
    assert offered("clpnode confirm-down ") == servers
    assert offered("clpnode confirm-down --yes ") == servers
    assert offered("clpnode confirm-down server1 ") == set()
    assert offered("clpgrp -s failover1 ") == set()
    assert offered("clpgrp -s -h server1 ") == {"failover1"}
    assert offered("clpgrp -s --host = server1 ") == {"failover1"}, "as bash splits --host=server1"
    assert offered("clpmonctrl -s -m userw mrw1 u") == {"userw"}
    assert "confirm-down" not in offered("clpcfset add ")


def test_bash_completes_what_the_flag_before_is_about(installed: Path) -> None:
    def offered(line: str) -> set[str]:
        return completions([*line.split(" ")], installed)

    assert offered("clprexec --failover ") == {"failover1"}
    monitors = offered("clpmonctrl -s -m ")
    assert "userw" in monitors
    assert offered("clprexec --notice ") == monitors
    assert offered("clprexec -w 5 --clear ") == monitors
    assert offered(f"clprexec --script {ROOT}/pyproj") == {f"{ROOT}/pyproject.toml"}


def as_bash_splits(line: str) -> list[str]:
    """Its words: `=` and `:` stand alone (COMP_WORDBREAKS)."""
    return [
        part for word in line.split(" ") for part in re.split("([=:])", word) if part or not word
    ]


AGENT = """#!/bin/sh
echo "<resource-agent name='Disk'><parameters>
<parameter name='label'><content type='string'/></parameter>
<parameter name='device' required='1'><content type='string'/></parameter>
<parameter name='force'><content type='boolean' default='false'/></parameter>
<parameter name='dev' deprecated='1'><content type='string'/></parameter>
</parameters><actions><action name='start' timeout='20s'/></actions></resource-agent>"
"""


@pytest.fixture
def with_agents(node: Path, installed: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of commands; the node has two resource agents, a fence agent and a clp.toml."""
    folder = node / "usr/lib/ocf/resource.d/ours"
    folder.mkdir(parents=True)
    (node / "usr/sbin").mkdir()
    for file in (folder / "Disk", folder / "Other", node / "usr/sbin/fence_ours"):
        file.write_text(AGENT)
        file.chmod(0o755)
    (node / "clp.toml").write_text(
        '[[server]]\nname = "server1"\n[[group]]\nname = "db"\n[[group.resource]]\nname = "fs1"\n'
        'type = "ocf"\nagent = "ocf:ours:Disk"\n'
    )
    monkeypatch.chdir(node)
    return installed


def test_bash_completes_agents_and_their_parameters(with_agents: Path) -> None:
    def offered(line: str) -> set[str]:
        return completions(as_bash_splits(line), with_agents, line)

    add = "clpcfset add resource db ocf fs2 "
    assert {"ocf:ours:Disk", "ocf:ours:Other"} <= offered(f"{add}agent=")
    assert {"Disk", "Other"} == offered(f"{add}agent=ocf:ours:"), "bash wants the rest alone"
    assert {"Disk"} == offered(f"{add}agent=ocf:ours:Di")
    given = f"{add}agent=ocf:ours:Disk "
    assert {"agent=", "timeout="} <= offered(add)
    assert {"parameters.device=", "parameters.label=", "depth="} <= offered(given)
    assert not {"agent=", "parameters.dev="} & offered(given)
    assert offered(f"{given}parameters.device=/dev/sda parameters.") == {
        "parameters.label=",
        "parameters.force=",
    }
    assert offered(f"{given}parameters.force=") == {"true", "false"}
    assert offered(f"{given}parameters=device=/dev/sda,l") == {"/dev/sda,label="}
    assert offered(f"{given}role=") == {"started", "promoted"}
    assert offered("clpcfset add fence apc agent=") == {"fence_ours"}
    assert "parameters.device=" in offered("clpcfset add fence apc agent=fence_ours ")


def test_bash_completes_what_is_there_to_be_set(with_agents: Path) -> None:
    def offered(line: str) -> set[str]:
        return completions(as_bash_splits(line), with_agents, line)

    assert offered("clpcfset add resource ") == {"db"}
    assert "ocf" in offered("clpcfset add resource db ")
    assert offered("clpcfset set resource.") == {"resource.fs1."}
    assert "resource.fs1.parameters.device=" in offered("clpcfset set resource.fs1.pa")
    assert offered("clpcfset unset cluster.na") == {"cluster.name"}
    assert offered("clpcfset del group ") == {"db"}
    assert offered("clpcfset -x /nowhere del group ") == set()


def test_agents_are_completed_from_what_is_known_of_them(
    clp: Clp, with_agents: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ("clpcfset", "--complete", "line", "add", "resource", "db", "ocf", "fs2")
    line += ("agent=ocf:ours:Disk", "parameters=")
    told = clp(*line).out
    assert told.split() == ["parameters=device=", "parameters=label=", "parameters=force="]
    agent_files._known.clear()
    monkeypatch.setattr(agent_files, "run", None)  # it would be run anew
    assert clp(*line).out == told
    assert clp("clpcfset", "--complete", "line", "set", "--no-such", "x").out == ""


def test_without_an_agent_names_come_from_the_file(clp: Clp, node: Path) -> None:
    assert clp("clpgrp", "--complete", "group") == (0, "", "")
    (node / "etc/clptools").mkdir(parents=True)
    (node / "etc/clptools/clp.toml").write_text(
        '[[server]]\nname = "s1"\n[[group]]\nname = "g1"\n[[group.resource]]\nname = "r1"\n'
    )
    assert clp("clpgrp", "--complete", "any").out.split() == ["g1", "r1", "s1"]


@pytest.mark.parametrize(("shell", "file"), [("zsh", "_clptools"), ("fish", "clptools.fish")])
def test_the_other_shells_can_read_theirs(shell: str, file: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: its completion is not read")
    ran = subprocess.run(
        [shell, "-n", f"{ROOT}/completions/{file}"], capture_output=True, timeout=LIMIT_S
    )
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_flags_may_be_bundled_and_values_glued() -> None:
    args = parse(clpgrp.COMMAND, ["-sf", "-hserver2", "--apito=3", "failover1"])
    assert args.given("start") and args.given("force")
    assert args.text("host") == "server2"
    assert args.number("apito") == 3.0
    assert args.word() == "failover1"


def test_the_sample_in_the_manual_of_the_configuration_loads() -> None:
    loaded = loads(SAMPLE, registries(), "clp.toml")
    assert loaded.settings is not None
    assert not [report for report in loaded.reports if report.severity != "note"]
