"""The demonstration plays, tells the truth, and leaves nothing behind, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clptools.faults import ClpError, ExitCode
from clptools.intake.rehearsal import build_pet_trap, pet_event
from clptools.sim import demo
from clptools.sim.loopback import LoopbackCluster
from tests.conftest import LIMIT_S, wait_until

COMMAND = [sys.executable, "-m", "clptools.cli.main", "clpdemo"]


def left_behind(folder: Path) -> list[str]:
    """Processes that name the folder, and the folder's content."""
    found = [str(path) for path in folder.iterdir()]
    for line in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words, at = line.read_bytes(), os.readlink(line.parent / "cwd")
        except OSError:
            continue
        if str(folder) in at or str(folder).encode() in words:
            found.append(words.replace(b"\0", b" ").decode())
    return found


def leaves(folder: Path, *kept: str) -> None:
    """Nothing else is left there, once the children of agents that ended have noticed it."""
    wait_until(lambda: left_behind(folder) == list(kept))


def environment(folder: Path) -> dict[str, str]:
    return os.environ | {"TMPDIR": str(folder)}


def test_a_trap_moves_the_group_and_every_step_is_shown(tmp_path: Path) -> None:
    done = subprocess.run(COMMAND, env=environment(tmp_path), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert max(len(line) for line in lines if not line.startswith("  Files")) <= 80
    heads = [line[:2] for line in lines if line[:2] in ("1.", "2.", "3.", "4.", "5.", "6.")]
    assert heads == ["1.", "2.", "3.", "4.", "5.", "6."]
    before, _, after = done.stdout.partition("\n4. ")
    assert "current        : server1" in before
    assert 'FATAL  (profile default, row "07h/6F/0")' in before
    assert "stop script runs on server1" in after
    assert "failover1 is Online on server2" in after
    assert "current        : server2" in after
    leaves(tmp_path)


def test_for_programs_it_is_one_object(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--json", "--keep"], env=environment(tmp_path), capture_output=True, text=True
    )
    told = json.loads(done.stdout)
    assert told["before"]["groups"][0]["current"] == "server1"
    assert told["after"]["groups"][0]["current"] == "server2"
    assert told["trap"]["trap"]["event_class"] == "FATAL"
    timings = told["timings"]
    assert 0 < timings["stop_begun_ms"] < timings["start_begun_ms"] < timings["online_ms"]
    kept = Path(told["folder"])
    assert (kept / "server1/etc/clptools/clp.toml").exists()
    leaves(tmp_path, str(kept))


def test_a_reader_that_is_gone_at_once_leaves_nothing_behind(tmp_path: Path) -> None:
    line = f"exec {' '.join(COMMAND)} | true"
    subprocess.run(["sh", "-c", line], env=environment(tmp_path), check=True, timeout=60)
    leaves(tmp_path)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_whoever_stops_it_finds_nothing_left(tmp_path: Path, sign: signal.Signals) -> None:
    playing = subprocess.Popen(
        COMMAND,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert playing.stdout is not None
    for line in playing.stdout:
        if line.startswith("An agent that starts"):
            break
    assert list(tmp_path.iterdir())
    playing.send_signal(sign)
    _, said = playing.communicate(timeout=LIMIT_S)
    assert playing.returncode == 128 + sign, said
    assert said == ""
    leaves(tmp_path)


def test_a_signal_while_the_cluster_is_made_leaves_nothing(tmp_path: Path) -> None:
    """Its folder is there, but nobody has it yet who would remove it."""
    code = (
        "import os, signal, sys\n"
        "from clptools.cli.main import run\n"
        "from clptools.sim.loopback import LoopbackCluster\n"
        "make = LoopbackCluster.__init__\n"
        "def made(*words, **more):\n"
        "    make(*words, **more)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "LoopbackCluster.__init__ = made\n"
        "sys.exit(run('clpdemo', []))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(tmp_path), capture_output=True, text=True, timeout=LIMIT_S,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (128 + signal.SIGTERM, "")
    leaves(tmp_path)


def test_a_step_that_does_not_come_true_is_one_clear_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr(demo, "FAILOVER_WITHIN_S", 1.0)
    harmless = build_pet_trap(pet_event("INFO", unix_time=time.time()))
    with (
        LoopbackCluster() as cluster,
        pytest.raises(ClpError) as raised,
    ):
        demo.Demo(cluster, lambda: harmless, lambda _: None).run(keep=False)
    assert raised.value.code == ExitCode.TIMED_OUT
    assert raised.value.message == "Not within 1 s: group failover1 online on server2."
    leaves(tmp_path)


def test_an_agent_that_ends_is_told_at_once_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with LoopbackCluster(cluster="lease = 'long'") as cluster, pytest.raises(ClpError) as raised:
        demo.Demo(cluster, lambda: b"", lambda _: None).run(keep=False)
    assert "the agent of server1 ended" in raised.value.message
    assert raised.value.hint.startswith("The agent of server1 said last: ")
