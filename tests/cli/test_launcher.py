"""How commands start: as installed, without `site`, and with Ctrl-C at any moment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clptools.cli import starters
from clptools.cli.registry import COMMANDS
from clptools.launcher import called
from clptools.version import VERSION
from tests.conftest import LIMIT_S


@pytest.fixture
def installed(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the commands as they are installed."""
    folder = tmp_path_factory.mktemp("bin")
    monkeypatch.setattr(sys, "argv", ["starters", str(folder)])
    assert starters.main() == 0
    return folder


def ran(*words: str | Path, **environment: str) -> tuple[int, str, str]:
    """Runs a command as a shell would."""
    done = subprocess.run(
        [str(word) for word in words],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        env=os.environ | environment,
    )
    return done.returncode, done.stdout, done.stderr


def test_every_command_starts_by_a_script_of_its_own(installed: Path) -> None:
    assert {path.name for path in installed.iterdir()} == set(COMMANDS)
    assert ran(installed / "clpgrp", "--version") == (0, f"clpgrp {VERSION}\n", "")


def test_it_finds_the_libraries_that_it_needs(installed: Path) -> None:
    code, out, err = ran(installed / "clpgrp", "--help")
    assert (code, err) == (0, "") and "Usage: clpgrp" in out


def test_nothing_of_the_caller_decides_what_is_imported(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clptools").mkdir()
    (tmp_path / "clptools/__init__.py").write_text("raise SystemExit(99)\n")
    monkeypatch.chdir(tmp_path)
    code, _, err = ran(installed / "clpgrp", "--version", PYTHONPATH=str(tmp_path))
    assert (code, err) == (0, "")


def test_site_is_left_out(installed: Path) -> None:
    clpgrp = installed / "clpgrp"
    look = "main(); assert 'site' not in sys.modules"
    clpgrp.write_text(clpgrp.read_text().replace("sys.exit(main())", look))
    assert ran(clpgrp, "--version") == (0, f"clpgrp {VERSION}\n", "")


def test_a_path_that_no_first_line_holds_is_refused() -> None:
    for python in (f"/{'x' * 250}/python3", "/a folder/python3"):
        with pytest.raises(ValueError):
            starters.starter(python, ())


@pytest.mark.parametrize(
    "path, name",
    [
        ("/usr/sbin/clpstat", "clpstat"),
        ("clpgrp", "clpgrp"),
        ("/opt/nec/clusterpro/bin/clpfwctrl.sh", "clpfwctrl"),
        ("", ""),
    ],
)
def test_a_command_knows_itself_by_its_name(path: str, name: str) -> None:
    assert called(path) == name


INTERRUPTED = """\
import os, signal, sys
sys.argv = ["clpcl", "-s"]  # no agent is asked for it as text
{before}
import clptools
clptools.__path__.insert(0, {folder!r})  # where cli.main is one that is interrupted
from clptools.launcher import main
sys.exit(main())
"""


def interrupted(folder: Path, before: str = "") -> tuple[int, str, str]:
    """A command that gets Ctrl-C while its modules are loaded."""
    (folder / "cli").mkdir()
    (folder / "cli/__init__.py").touch()
    (folder / "cli/main.py").write_text(
        "import os, signal\n"
        "os.kill(os.getpid(), signal.SIGINT)\n"
        "def begin(name, line, *, interruptible):\n    return 0\n"
    )
    return ran(sys.executable, "-c", INTERRUPTED.format(folder=str(folder), before=before))


def test_ctrl_c_while_modules_are_loaded_shows_no_traceback(tmp_path: Path) -> None:
    assert interrupted(tmp_path) == (-signal.SIGINT, "", "")


def test_whoever_ignores_ctrl_c_goes_on(tmp_path: Path) -> None:
    ignoring = "signal.signal(signal.SIGINT, signal.SIG_IGN)"
    assert interrupted(tmp_path, ignoring) == (0, "", "")
