"""Agents as programs: run once for each state of their file, and only if they are root's."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from clptools import paths
from clptools.common import agent_files
from clptools.common.agent_files import metadata_of
from clptools.common.agent_metadata import Metadata
from clptools.faults import ClpError
from tests.conftest import BUSY_S

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: owners of files are changed")
ARGUMENTS = ("meta-data",)
XML = "<resource-agent name='mine'><shortdesc>$CLP_TRIED</shortdesc></resource-agent>"


@pytest.fixture(autouse=True)
def _no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLP_ROOT", str(tmp_path / "root"))
    monkeypatch.setattr(agent_files, "_known", {})


def agent(folder: Path, body: str) -> str:
    """An agent that notes each run of it."""
    path = folder / "agent"
    path.write_text(f"#!/bin/sh\necho x >>{folder}/runs\n{body}\n")
    path.chmod(0o755)
    return str(path)


def runs(folder: Path) -> int:
    return len((folder / "runs").read_text().split())


def printing(xml: str = XML) -> str:
    return f"cat <<E\n{xml}\nE"


def refusal(path: str, timeout_s: float = 60.0) -> ClpError:
    with pytest.raises(ClpError) as caught:
        metadata_of(path, ARGUMENTS, timeout_s=timeout_s)
    return caught.value


def test_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = agent(tmp_path, printing())
    first = metadata_of(path, ARGUMENTS, {"CLP_TRIED": "given"})
    assert (first.name, first.shortdesc) == ("mine", "given")
    assert metadata_of(path, ARGUMENTS, {"CLP_TRIED": "given"}) == first
    monkeypatch.setattr(agent_files, "_known", {})  # as in another process
    assert metadata_of(path, ARGUMENTS, {"CLP_TRIED": "given"}) == first
    assert runs(tmp_path) == 1
    assert metadata_of(path, ARGUMENTS, {"CLP_TRIED": "other"}).shortdesc == "other"


def test_again_once_it_changed(tmp_path: Path) -> None:
    path = agent(tmp_path, printing())
    assert metadata_of(path, ARGUMENTS).name == "mine"
    agent(tmp_path, printing(XML.replace("mine", "yours")))
    assert metadata_of(path, ARGUMENTS).name == "yours"


def test_only_a_cache_that_nobody_else_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = agent(tmp_path, printing())
    metadata_of(path, ARGUMENTS)
    folder = Path(paths.agents_cache_dir())
    (kept,) = folder.iterdir()
    for bad, mend in ((folder, 0o755), (kept, 0o644)):
        bad.chmod(0o777)
        monkeypatch.setattr(agent_files, "_known", {})
        before = runs(tmp_path)
        metadata_of(path, ARGUMENTS)
        assert runs(tmp_path) == before + 1
        bad.chmod(mend)
    kept.write_bytes(b"\x00nonsense")
    monkeypatch.setattr(agent_files, "_known", {})
    assert metadata_of(path, ARGUMENTS).name == "mine"


def test_without_a_cache(tmp_path: Path) -> None:
    (tmp_path / "root").write_text("no folder")
    assert metadata_of(agent(tmp_path, printing()), ARGUMENTS).name == "mine"


def test_clean_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLP_TRIED", "from outside")
    monkeypatch.setenv("LD_PRELOAD_OF_SOMEBODY", "x")
    path = agent(tmp_path, f"env >{tmp_path}/env\n{printing()}")
    assert metadata_of(path, ARGUMENTS).shortdesc == ""
    assert "SOMEBODY" not in (tmp_path / "env").read_text()


def test_a_daemon_holds_its_output(tmp_path: Path) -> None:
    path = agent(tmp_path, f"setsid sleep 600 & echo $! >{tmp_path}/pid\n{printing()}")
    begun = time.monotonic()
    try:
        assert metadata_of(path, ARGUMENTS, timeout_s=500).name == "mine"
        assert time.monotonic() - begun < 5 * BUSY_S
    finally:
        os.kill(int((tmp_path / "pid").read_text()), 9)


def test_hangs_and_ignores_term(tmp_path: Path) -> None:
    path = agent(tmp_path, f"trap '' TERM\necho $$ >{tmp_path}/pid\nwhile :; do sleep 600; done")
    assert "did not end within 0.5 s" in refusal(path, 0.5).message
    pid = tmp_path / "pid"
    assert not pid.exists() or not os.path.exists(f"/proc/{pid.read_text().strip()}")


def test_prints_megabytes(tmp_path: Path) -> None:
    assert "prints more than 512 KiB" in refusal(agent(tmp_path, "exec cat /dev/zero")).message


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("exit 255", "prints nothing and ends with status 255"),
        ('echo "not here: é\x1b[31m" >&2; exit 5', 'status 5: "not here'),
        ("exit 0", "it is empty"),
        ("echo usage: start stop", "line 1"),
        (printing("<resource-agent name='x'>"), "line 2"),
        ("kill -9 $$", "ends with status -9"),
    ],
)
def test_no_metadata(tmp_path: Path, body: str, why: str) -> None:
    fault = refusal(agent(tmp_path, body))
    assert why in fault.message and fault.message.startswith(str(tmp_path))
    assert fault.message.isprintable() and "Look at it yourself" in fault.hint


def test_missing_and_not_executable(tmp_path: Path) -> None:
    assert "no such" in refusal(str(tmp_path / "nothing")).message
    path = agent(tmp_path, printing())
    os.chmod(path, 0o644)
    assert refusal(path).hint == f"chmod +x {path}"
    os.chmod(path, 0o755)
    Path(path).write_text("#!/no/such/shell\n")
    assert "cannot be run" in refusal(path).message


@AS_ROOT
def test_not_roots(tmp_path: Path) -> None:
    path = agent(tmp_path, printing())
    os.chown(path, 12345, 0)
    assert refusal(path).hint == f"chown root {path}"
    os.chown(path, 0, 0)
    os.chmod(path, 0o757)
    assert refusal(path).hint == f"chmod o-w {path}"
    assert not (tmp_path / "runs").exists()
    os.chmod(path, 0o755)
    assert isinstance(metadata_of(path, ARGUMENTS), Metadata)
