"""Scripts run alone, clean, in time, and are found again after the agent was killed."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clptools import paths
from clptools.faults import ClpError
from clptools.resources.leftovers import start_time
from clptools.resources.script import Script, ScriptResult, ScriptRunner
from tests.conftest import LIMIT_S, until, wait_until
from tests.resources.conftest import MakeScript

LONG_MS = 60_000


def run(path: str, timeout_ms: int = LONG_MS) -> ScriptResult:
    async def main() -> ScriptResult:
        runner = ScriptRunner(grace_ms=300)
        return await runner.run(Script(name="g/r", path=path, timeout_ms=timeout_ms))

    return asyncio.run(main())


def children() -> list[int]:
    """Our child processes, zombies among them."""
    out = subprocess.run(
        ["ps", "-o", "pid=,comm=", "--ppid", str(os.getpid())], capture_output=True, text=True
    ).stdout
    return [int(line.split()[0]) for line in out.splitlines() if line.split()[1] != "ps"]


def test_success_and_failure_are_told_with_the_last_line(make_script: MakeScript) -> None:
    assert run(make_script("good.sh", "echo fine\n")).ok
    bad = run(make_script("bad.sh", "echo one; echo 'cannot mount /data' >&2; exit 3\n"))
    assert not bad.ok and not bad.timed_out
    assert 'ended with exit status 3: "cannot mount /data"' in bad.text
    assert bad.tail == ("one", "cannot mount /data")


async def test_only_path_lang_home_and_clp_variables_reach_a_script(
    make_script: MakeScript, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "x")
    monkeypatch.setenv("LD_PRELOAD", "")
    path = make_script("env.sh", "/usr/bin/env\n")

    script = Script(
        name="g/r",
        path=path,
        timeout_ms=LONG_MS,
        environment={"CLP_EVENT": "START", "IFS": "x", "CLP_MESSAGE": "a b"},
    )
    outcome = await ScriptRunner().run(script)
    names = {line.split("=")[0] for line in outcome.tail}
    # PWD and the like are the shell's own.
    assert {n for n in names if not n.startswith("CLP_")} <= {
        "PATH",
        "LANG",
        "HOME",
        "PWD",
        "_",
        "SHLVL",
        "OLDPWD",
    }
    assert {"CLP_EVENT", "CLP_MESSAGE", "CLP_ROOT", "CLP_NODE", "CLP_PATH"} <= names


def test_standard_input_is_empty_and_nothing_else_is_open(make_script: MakeScript) -> None:
    result = run(make_script("in.sh", "cat; ls /proc/self/fd | tr '\\n' ' '\n"))
    # 3 is the directory that ls itself reads.
    assert result.tail[-1].split() == ["0", "1", "2", "3"]


def test_a_hung_script_is_killed_with_its_children(make_script: MakeScript, tmp_path: Path) -> None:
    path = make_script(
        "hang.sh",
        f"trap '' TERM\nsleep 1000 & echo $! > {tmp_path}/child\nwhile :; do wait; done\n",
    )
    result = run(path, timeout_ms=1_500)
    assert result.timed_out and not result.ok and result.killable
    assert "did not end within 1.5 s" in result.text
    child = int((tmp_path / "child").read_text())
    deadline = time.monotonic() + LIMIT_S  # the kernel ends what was killed in its own time
    while start_time(child) is not None:
        assert time.monotonic() < deadline, "the child outlived the script"
        time.sleep(0.01)
    assert children() == []


def test_a_script_may_tidy_up_on_term(make_script: MakeScript) -> None:
    path = make_script("tidy.sh", "trap 'echo tidied; exit 1' TERM\nsleep 1000 & wait\n")
    result = run(path, timeout_ms=1_500)
    assert result.timed_out and result.tail[-1] == "tidied"


def test_what_a_start_script_leaves_running_is_left_alone(
    make_script: MakeScript, tmp_path: Path
) -> None:
    path = make_script(
        "daemon.sh",
        f"(while :; do echo still here; echo x >> {tmp_path}/beats; sleep 0.02; done) &\n"
        f"echo $! > {tmp_path}/pid\n",
    )
    beats = tmp_path / "beats"

    async def main() -> int:
        runner = ScriptRunner()
        assert (await runner.run(Script(name="g/r", path=path, timeout_ms=LONG_MS))).ok
        assert runner.leftovers() == ()
        runner.close()
        return beats.stat().st_size if beats.exists() else 0

    # A loop of its own: its end is the end of the agent, which the daemon outlives.
    seen = asyncio.run(main())
    daemon = int((tmp_path / "pid").read_text())
    try:
        # Its output goes nowhere now (no agent reads it), which must not kill it.
        wait_until(lambda: beats.exists() and beats.stat().st_size > seen + 20)
        assert start_time(daemon) is not None
    finally:
        os.kill(daemon, signal.SIGKILL)


async def test_output_without_end_is_bounded(make_script: MakeScript) -> None:
    lines: list[str] = []

    runner = ScriptRunner(log=lambda name, line: lines.append(line), grace_ms=200)
    path = make_script("flood.sh", "exec yes '\x1b[2J'\n")
    outcome = await runner.run(Script(name="g/r", path=path, timeout_ms=500))
    assert outcome.timed_out
    assert 1_000 <= len(lines) <= 1_001
    assert "\x1b" not in lines[0]


async def test_a_stop_ends_a_hung_start_of_the_same_resource(make_script: MakeScript) -> None:
    start = make_script("start.sh", "sleep 1000\n")
    stop = make_script("stop.sh", "exit 0\n")

    runner = ScriptRunner(grace_ms=300)
    hung = asyncio.create_task(runner.run(Script(name="g/r", path=start, timeout_ms=LONG_MS)))
    await until(lambda: children())
    stopped = await runner.run(Script(name="g/r", path=stop, timeout_ms=LONG_MS))
    ended = await hung
    assert stopped.ok
    assert not ended.ok and not ended.timed_out
    assert "for another script of the same resource" in ended.text


KILLED_AGENT = """
import asyncio, sys
from clptools.resources.script import Script, ScriptRunner
asyncio.run(ScriptRunner().run(Script(name="g/r", path=sys.argv[1], timeout_ms=60_000)))
"""


def kill_agent_during(path: str, mark: Path) -> None:
    """Run a script by an agent of its own, which is then killed with SIGKILL."""
    agent = subprocess.Popen([sys.executable, "-c", KILLED_AGENT, path])
    wait_until(mark.exists)
    agent.kill()
    agent.wait()


async def test_the_next_agent_finds_a_script_and_ends_it_before_its_own(
    make_script: MakeScript, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    kill_agent_during(
        make_script("start.sh", f"echo $$ > {mark}.tmp; mv {mark}.tmp {mark}; sleep 1000\n"), mark
    )
    pid = int(mark.read_text())
    assert start_time(pid) is not None

    runner = ScriptRunner(grace_ms=300)
    (left,) = runner.leftovers()
    assert left.name == "g/r" and left.pid == pid
    result = await runner.run(
        Script(name="g/r", path=make_script("stop.sh", "exit 0\n"), timeout_ms=LONG_MS)
    )
    assert runner.leftovers() == ()
    assert result.ok
    assert start_time(pid) is None


async def test_a_leftover_is_ended_by_its_name(make_script: MakeScript, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    kill_agent_during(
        make_script("start.sh", f"echo $$ > {mark}.tmp; mv {mark}.tmp {mark}; sleep 1000\n"), mark
    )

    runner = ScriptRunner(grace_ms=300)
    await runner.end("g/r", 300)
    assert runner.leftovers() == ()
    assert start_time(int(mark.read_text())) is None


async def test_a_monitor_is_written_down_only_if_it_lasts_and_then_found(
    make_script: MakeScript, tmp_path: Path
) -> None:
    folder, go_on = tmp_path / "run/clptools/scripts", tmp_path / "go on"
    short = make_script("short.sh", f"ls {folder}\n")
    script = Script(name="g/r", path=short, timeout_ms=LONG_MS, quiet=True)
    runner = ScriptRunner(grace_ms=300)
    assert (await runner.run(script)).tail[-1].endswith("No such file or directory")
    assert not folder.exists()

    text = f"while ! [ -e '{go_on}' ]; do sleep 0.05; done\n"
    long = Script(name="g/r", path=make_script("long.sh", text), timeout_ms=LONG_MS, quiet=True)
    running = asyncio.create_task(runner.run(long))
    await until(lambda: folder.exists() and [*folder.iterdir()])
    (left,) = ScriptRunner().leftovers()
    assert (left.name, left.started) == ("g/r", start_time(left.pid))
    go_on.touch()
    assert (await running).ok and not [*folder.iterdir()]

    # An agent that ends while it runs writes it down at once.
    go_on.unlink()
    running = asyncio.create_task(runner.run(long))
    await until(lambda: runner.running)
    runner.close()
    (left,) = ScriptRunner().leftovers()
    assert left.name == "g/r"
    await ScriptRunner(grace_ms=300).end("g/r", 300)
    running.cancel()


async def test_a_script_whose_process_was_not_written_down_yet_is_found_by_its_token(
    make_script: MakeScript, tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    kill_agent_during(
        make_script("start.sh", f"echo $$ > {mark}.tmp; mv {mark}.tmp {mark}; sleep 1000\n"), mark
    )
    (entry,) = (tmp_path / "run/clptools/scripts").iterdir()
    import json

    known = json.loads(entry.read_text())
    entry.write_text(json.dumps(known | {"pid": 0, "started": 0}))
    # Its agent may have been killed before it wrote it down by itself.
    pid = int(mark.read_text())

    runner = ScriptRunner(grace_ms=300)
    (left,) = runner.leftovers()
    assert left.pid == pid
    await runner.end("g/r", 300)
    assert start_time(pid) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may be kept from the OOM killer")
def test_what_is_started_is_not_kept_from_the_oom_killer(
    make_script: MakeScript, tmp_path: Path
) -> None:
    go = tmp_path / "go"
    path = make_script(
        "oom.sh",
        f"while [ ! -e {go} ]; do sleep 0.01; done\n"
        f"cat /proc/self/oom_score_adj > {tmp_path}/score\n",
    )
    agent = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "open('/proc/self/oom_score_adj', 'w').write('-500')" + KILLED_AGENT,
            path,
        ]
    )
    go.touch()
    assert agent.wait(20) == 0
    assert (tmp_path / "score").read_text() == "0\n"


def test_a_file_of_another_boot_or_of_a_number_used_again_names_nobody(tmp_path: Path) -> None:
    from clptools.resources.leftovers import Register

    register = Register(str(tmp_path / "scripts"))
    register.started(register.open("g/r", "t"), os.getpid())
    assert len(register.entries()) == 1
    path = tmp_path / "scripts/g%2Fr"
    text = path.read_text()
    started = start_time(os.getpid())
    path.write_text(
        text.replace(f'"started":{started}', f'"started":{started + 1 if started else 0}')
    )
    assert register.entries() == ()
    path.write_text("{garbage")
    assert register.entries() == () and not path.exists()


@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root's scripts are checked, and only root can give files away"
)
class TestOwnership:
    def fault(self, path: str) -> ClpError:
        with pytest.raises(ClpError) as caught:
            run(path)
        return caught.value

    def test_a_script_that_others_may_write_is_refused(self, make_script: MakeScript) -> None:
        path = make_script("a/s.sh", "")
        os.chmod(path, 0o757)
        fault = self.fault(path)
        assert fault.message.startswith(path) and fault.hint == f"chmod o-w {path}"

    def test_a_directory_on_the_way_counts(self, make_script: MakeScript) -> None:
        path = make_script("a/s.sh", "")
        folder = os.path.dirname(path)
        os.chmod(folder, 0o777)
        assert self.fault(path).hint == f"chmod o-w {folder}"

    def test_a_foreign_owner_is_named(self, make_script: MakeScript) -> None:
        path = make_script("a/s.sh", "")
        os.chown(path, 65534, -1)
        fault = self.fault(path)
        assert "uid 65534" in fault.message and fault.hint == f"chown root {path}"

    def test_a_link_leads_to_what_is_checked(self, make_script: MakeScript) -> None:
        path = make_script("a/s.sh", "")
        os.chmod(path, 0o757)
        link = make_script("b/link.sh", "")
        os.unlink(link)
        os.symlink("../a/s.sh", link)
        assert self.fault(link).hint == f"chmod o-w {path}"


def test_a_missing_script_and_one_not_executable_say_what_to_do(make_script: MakeScript) -> None:
    path = make_script("s.sh", "")
    os.chmod(path, 0o644)
    with pytest.raises(ClpError) as caught:
        run(path)
    assert caught.value.hint == f"chmod +x {path}"
    with pytest.raises(ClpError, match="no such"):
        run(path + "x")
    broken = make_script("broken.sh", "")
    Path(broken).write_text("#!/no/such/interpreter\n")
    with pytest.raises(ClpError, match="cannot be run"):
        run(broken)


def open_files() -> list[str]:
    return sorted(os.listdir("/proc/self/fd"))


async def test_where_too_many_files_are_open_it_is_said_and_none_is_left_open(
    make_script: MakeScript,
) -> None:
    path = make_script("s.sh", "exec sleep 1000\n")

    async def attempt(runner: ScriptRunner, free: int) -> str:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = max(map(int, open_files())) + 32
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        taken = []
        try:
            with pytest.raises(OSError, match="Too many open files"):
                while True:
                    taken.append(os.open("/dev/null", os.O_RDONLY))
            for _ in range(free):
                os.close(taken.pop())
            script = Script(name="g/r", path=path, timeout_ms=50)
            return (await runner.run(script)).text
        except (ClpError, OSError) as fault:
            return str(fault)
        finally:
            for fd in taken:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))

    runner = ScriptRunner(grace_ms=50)
    before, said = open_files(), []
    for free in range(10):
        said.append(await attempt(runner, free))
        await until(lambda: open_files() == before)
        assert runner.leftovers() == () and not list(Path(paths.run_dir()).glob("scripts/*"))
    assert f"{path}: cannot be run: Too many open files" in said
    assert "and was killed" in said[-1]
    assert children() == []


async def test_a_script_that_cannot_be_watched_is_ended_and_said(
    make_script: MakeScript, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = make_script("s.sh", f"sleep 1000 & echo $! > {tmp_path}/pid; wait\n")

    runner = ScriptRunner()
    before = open_files()

    def refused(pid: int) -> int:
        while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
            time.sleep(0.01)
        raise OSError(errno.ENFILE, "Too many open files in system")

    monkeypatch.setattr(os, "pidfd_open", refused)
    with pytest.raises(ClpError, match=r"s.sh: cannot be run: Too many open files in system"):
        await runner.run(Script(name="g/r", path=path, timeout_ms=LONG_MS))
    assert open_files() == before and runner.leftovers() == () and children() == []
    await until(lambda: start_time(int((tmp_path / "pid").read_text())) is None)


async def test_starting_a_script_takes_the_agent_little_time(make_script: MakeScript) -> None:
    """What it computes itself, against the same done by the standard library."""
    path = make_script("stamp.sh", "exit 0\n")

    def plain() -> float:
        began = time.process_time()
        subprocess.run([path], close_fds=False)
        return time.process_time() - began

    async def ours() -> float:
        runner = ScriptRunner()
        began = time.process_time()
        await runner.run(Script(name="g/r", path=path, timeout_ms=LONG_MS))
        return time.process_time() - began

    outcome = [(await ours(), plain()) for _ in range(40)]
    mine, theirs = (sorted(x)[20] for x in zip(*outcome, strict=True))
    assert mine < 10 * theirs
