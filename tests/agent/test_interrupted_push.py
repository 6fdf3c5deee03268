"""A process that is killed anywhere in a push leaves the old revision or the new one, whole."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from clptools.agent import configuration, staging
from clptools.api.messages import ConfigFiles
from clptools.config import history
from clptools.core.model.settings import Pushed

OLD = '[cluster]\nname = "old"\n'
NEW = '[cluster]\nname = "new"\n'
OLD_FILES = {"clp.toml": OLD, "scripts/a/start.sh": "old\n", "scripts/b/gone.sh": "gone\n"}
NEW_FILES = {"clp.toml": NEW, "scripts/a/start.sh": "new\n", "scripts/c/more.sh": "more\n"}
CHANGES = ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "open")


@pytest.fixture(autouse=True)
def etc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    monkeypatch.setenv("CLP_SERVER", "server1")
    folder = tmp_path / "etc/clptools"
    folder.mkdir(parents=True)
    return folder


def staged(number: int, files: dict[str, str]) -> ConfigFiles:
    config = ConfigFiles(revision=number, files=files, pushed=Pushed(user="anna"))
    settings, reports = staging.stage("p", config)
    assert settings is None, "it has no server"
    assert reports
    for path, text in files.items():  # dropped, as it has errors
        staging._write(os.path.join(staging.folder_of("p"), path), text, 0o640)
    return config


def put(number: int, files: dict[str, str]) -> None:
    configuration.put_in_force("p", staged(number, files))


def killed_at(point: int, files: dict[str, str]) -> bool:
    """A process that puts them in force and is killed before its change number `point`.

    Whether it was: False once it has fewer.
    """
    config = staged(2, files)
    child = os.fork()
    if not child:
        left = point

        def hook(event: str, args: tuple[object, ...]) -> None:
            nonlocal left
            if event in CHANGES and "/etc/clptools" in str(args[0]):
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(hook)
        configuration.put_in_force("p", config)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def tree(folder: Path) -> dict[str, str]:
    """The configuration as it lies on the disk."""
    files = [folder / "clp.toml", *(folder / "scripts").rglob("*.sh")]
    return {str(f.relative_to(folder)): f.read_text() for f in files if f.exists()}


def test_a_kill_at_every_point_leaves_one_revision_and_the_next_agent_its_files(
    etc: Path,
) -> None:
    points, seen = 0, set()
    for point in range(1, 200):
        for path in sorted(etc.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        put(1, OLD_FILES)
        if not killed_at(point, NEW_FILES):
            break
        points += 1
        number = history.revision()
        seen.add(number)
        assert history.content(number) == {1: OLD, 2: NEW}[number], "never another's text"
        wanted = {1: OLD_FILES, 2: NEW_FILES}[number]
        assert configuration.files().files == wanted
        configuration.mend()
        assert (etc / "clp.toml").read_text() == wanted["clp.toml"]
        found = tree(etc)
        assert {path: found.get(path) for path in wanted} == wanted
        assert history.unfinished() == 0
        assert configuration.mend() == 0
        put(3, OLD_FILES)
        assert configuration.files().files == OLD_FILES
    assert points > 15
    assert seen == {1, 2}


def test_an_edit_that_nobody_pushed_outlives_an_interrupted_push(etc: Path) -> None:
    put(1, OLD_FILES)
    (etc / "clp.toml").write_text("# mine\n")
    history.store(2, NEW_FILES, Pushed())
    history.begin(2)
    history.remember(2, NEW)
    assert configuration.mend() == 2
    assert (etc / "clp.toml").read_text() == "# mine\n"
    assert configuration.edit() == "was edited and not pushed"
    assert (etc / "scripts/a/start.sh").read_text() == "new\n"


def test_a_push_from_elsewhere_keeps_an_edit_that_nobody_pushed(etc: Path) -> None:
    put(1, OLD_FILES)
    (etc / "clp.toml").write_text("# mine\n")
    config = staged(2, NEW_FILES)
    kept = configuration.put_in_force("p", config)
    assert kept == configuration.Kept(main=f"{etc}/clp.toml.edited")
    assert Path(kept.main).read_text() == "# mine\n"
    assert (etc / "clp.toml").read_text() == NEW


def test_a_push_from_elsewhere_keeps_scripts_that_were_edited_and_never_pushed(etc: Path) -> None:
    put(1, OLD_FILES)
    scripts = [path for path in OLD_FILES if path != "clp.toml"]
    (etc / "scripts/a/start.sh").write_text("mine\n")
    kept = configuration.put_in_force("p", staged(2, NEW_FILES))
    assert kept == configuration.Kept(scripts=("scripts/a/start.sh",))
    assert (etc / "scripts.edited/a/start.sh").read_text() == "mine\n"
    assert {p: t for p, t in tree(etc).items() if not p.startswith("scripts.edited")} == NEW_FILES
    # One that was in force once is in the history: nothing is lost with it.
    (etc / "scripts/a/start.sh").write_text(OLD_FILES["scripts/a/start.sh"])
    assert configuration.put_in_force("p", staged(3, NEW_FILES)) == configuration.Kept()
    assert scripts


def test_a_push_takes_scripts_away_that_it_does_not_have_and_a_rollback_finds_them(
    etc: Path,
) -> None:
    put(1, OLD_FILES)
    put(2, NEW_FILES)
    assert tree(etc) == NEW_FILES
    assert history.scripts(1) == {p: t for p, t in OLD_FILES.items() if p != "clp.toml"}


@pytest.mark.parametrize(
    ("spoil", "edit", "first"),
    [
        ("gone", "is not there", "Write the file again on server1: "),
        ("folder", "is a directory", "Move it away on server1 (mv "),
        ("broken", "was edited and not pushed", "See it on server1: clpcfctrl --diff. "),
        (
            "binary",
            "was edited and not pushed, and is not text",
            "See it on server1: clpcfctrl --diff. ",
        ),
    ],
)
def test_what_is_in_force_does_not_hang_on_the_file(
    etc: Path, spoil: str, edit: str, first: str
) -> None:
    put(1, OLD_FILES)
    path = etc / "clp.toml"
    path.unlink()
    match spoil:
        case "folder":
            path.mkdir()
        case "broken":
            path.write_text("[[group\n")
        case "binary":
            path.write_bytes(b"\xff\xfe\0")
    assert configuration.edit() == edit
    mend = history.mend(1, edit, "server1")
    assert mend.startswith(first) and mend.endswith("clpcfctrl --rollback 1")
    assert configuration.files().files == OLD_FILES


def test_who_was_taken_out_has_nothing_in_force_until_the_next_push(etc: Path) -> None:
    put(1, OLD_FILES)
    configuration.forget()
    assert (history.in_force(), history.revision()) == (0, 1)
    assert configuration.found() is None
    assert not configuration.exists()
    put(2, NEW_FILES)
    assert (history.in_force(), configuration.exists()) == (2, True)
