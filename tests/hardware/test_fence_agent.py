"""Fence agents: what reaches them, what comes of them, and what they cannot do to us."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from pathlib import Path

import pytest

from clptools.core.model.words import PowerState
from clptools.faults import ClpError
from clptools.hardware.fence_agent import (
    MAX_OUTPUT,
    AgentAction,
    Ended,
    input_of,
    read_password,
    run,
)
from tests.conftest import until
from tests.hardware.fence_fakes import Fake, root

__all__ = ["root"]

SECRET = "s3cret-Pass"


def password(folder: Path, text: str = f"{SECRET}\n", mode: int = 0o400) -> str:
    path = folder / "password"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


async def ran(fake: Fake, action: AgentAction, **more: object) -> Ended:
    fence = fake.fence(**more)
    return await run(fence, str(fake.path), action, ("password", read_password(fence)))


async def test_only_the_standard_input_says_what_to_do(root: Path) -> None:
    fake = Fake(root, "fence_pdu")
    ended = await ran(fake, AgentAction.OFF, password_file=password(root))
    assert ended.status == 0
    assert fake.calls() == [["ip=192.0.2.1", "plug=1", f"password={SECRET}", "action=off"]]
    assert not (fake.here / "argv").exists()
    environ = (fake.here / "environ").read_text()
    assert SECRET not in environ and "PCMK_service" not in environ
    assert (await ran(fake, AgentAction.STATUS)).power is PowerState.OFF
    assert (await ran(fake, AgentAction.ON)).status == 0
    assert (await ran(fake, AgentAction.STATUS)).power is PowerState.ON


@pytest.mark.parametrize("word", ["reboot", "Off", "OFF", "of", "", "off ", "off\naction=reboot"])
def test_no_word_but_the_three_is_ever_sent(root: Path, word: str) -> None:
    fake = Fake(root, "fence_pdu")
    with pytest.raises(ValueError):
        input_of(fake.fence(), word)  # type: ignore[arg-type]  # as a mistake in the code would


@pytest.mark.parametrize("name", ["action", "option", "ACTION", "Option"])
def test_no_parameter_replaces_the_action(root: Path, name: str) -> None:
    fake = Fake(root, "fence_pdu")
    with pytest.raises(ClpError, match="would replace the action"):
        input_of(fake.fence(parameters={name: "reboot"}), AgentAction.OFF)


def test_no_value_begins_a_line_of_its_own(root: Path) -> None:
    fake = Fake(root, "fence_pdu")
    with pytest.raises(ClpError, match="control character"):
        input_of(fake.fence(parameters={"plug": "1\naction=reboot"}), AgentAction.OFF)


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        (f"{SECRET}\n", 0o440, "0440"),
        ("", 0o400, "no password"),
        ("two\nlines\n", 0o400, "no password"),
        ("'quoted'\n", 0o400, "no password"),
    ],
)
async def test_a_password_comes_from_a_file_of_root_alone(
    root: Path, text: str, mode: int, why: str
) -> None:
    fake = Fake(root, "fence_pdu")
    with pytest.raises(ClpError, match=why):
        await ran(fake, AgentAction.STATUS, password_file=password(root, text, mode))
    assert fake.calls() == []


async def test_an_agent_that_others_may_change_is_not_run(root: Path) -> None:
    fake = Fake(root, "fence_pdu")
    fake.path.chmod(0o777)
    with pytest.raises(ClpError, match="everybody may write to it"):
        await ran(fake, AgentAction.OFF)
    fake.path.chmod(0o755)
    os.chown(fake.path, 12_345, 0)
    with pytest.raises(ClpError, match="belongs to uid 12345"):
        await ran(fake, AgentAction.OFF)
    fake.path.unlink()
    with pytest.raises(ClpError, match="no such"):
        await ran(fake, AgentAction.OFF)
    assert fake.calls() == []


async def test_the_last_line_of_its_errors_says_why_and_tells_no_password(root: Path) -> None:
    fake = Fake(
        root,
        "fence_pdu",
        'echo "2026-12-01 00:00:00,123 ERROR: first" >&2\n'
        f'echo "2026-12-01 00:00:00,123 ERROR: Unable to connect with {SECRET}" >&2\n'
        "echo >&2; exit 1",
    )
    ended = await ran(fake, AgentAction.OFF, password_file=password(root))
    assert (ended.status, ended.said) == (1, "Unable to connect with ***")
    assert ended.nothing_sent


async def test_no_end_of_a_password_is_left_where_its_output_is_cut(root: Path) -> None:
    # Of an endless line what is kept begins within the password.
    fake = Fake(
        root, "fence_pdu", f"printf 'x{SECRET}'; head -c 4090 /dev/zero | tr '\\0' y; exit 1"
    )
    fake.path.write_text(fake.path.read_text().replace("printf 'x", "exec >&2; printf 'x"))
    ended = await ran(fake, AgentAction.OFF, password_file=password(root))
    assert ended.said == "y" * 200


@pytest.mark.parametrize(
    ("before", "power"),
    [
        ("exit 3", PowerState.UNKNOWN),
        ("exit 255", PowerState.UNKNOWN),
        ("kill -9 $$", PowerState.UNKNOWN),
        ("echo 'Status: ON'; exit 2", PowerState.UNKNOWN),
        ("echo 'Status: OFF'; exit 0", PowerState.UNKNOWN),
        ("head -c 3000 /dev/urandom >&2; echo 'Status: OFF'; exit 2", PowerState.OFF),
        ("echo 'Status: OFF'; echo 'Status: ON'; exit 2", PowerState.UNKNOWN),
        ("echo 'Status: OFFLINE'; exit 2", PowerState.UNKNOWN),
        # What shells and interpreters end with where they run no agent at all.
        ("exit 2", PowerState.UNKNOWN),
        ("exec /bin/sh -c 'if ('", PowerState.UNKNOWN),
        ("exec python3 /nonexistent/agent", PowerState.UNKNOWN),
        ("head -c 3000 /dev/urandom; head -c 3000 /dev/urandom >&2; exit 2", PowerState.UNKNOWN),
        ("exec <&- >&- 2>&-; exit 0", PowerState.UNKNOWN),
    ],
)
async def test_exit_status_and_text_must_agree(root: Path, before: str, power: PowerState) -> None:
    fake = Fake(root, "fence_pdu", before)
    ended = await ran(fake, AgentAction.STATUS)
    assert ended.power is power
    assert ended.said.isprintable()


async def test_one_that_does_not_read_is_no_trouble(root: Path) -> None:
    fake = Fake(root, "fence_pdu")
    fake.path.write_text("#!/bin/sh\necho 'Status: OFF'\nexit 2\n")
    assert (await ran(fake, AgentAction.STATUS)).power is PowerState.OFF


async def test_one_that_writes_without_end_is_killed(root: Path) -> None:
    fake = Fake(root, "fence_pdu", "exec yes")
    ended = await ran(fake, AgentAction.STATUS, timeout_ms=60_000)
    assert ended.power is PowerState.UNKNOWN
    assert f"more than {MAX_OUTPUT >> 20} MiB" in ended.said


async def test_a_hanging_one_is_killed_with_its_children_that_left_its_group(root: Path) -> None:
    fake = Fake(
        root,
        "fence_pdu",
        """trap '' TERM
setsid sleep 4711 & echo $! > "$here/child"
(setsid sh -c 'sleep 4712 & echo $! > '"$here"'/orphan; wait' &)
while [ ! -s "$here/orphan" ]; do sleep 0.01; done
touch "$here/hangs"
sleep 4713""",
    )
    task = asyncio.ensure_future(ran(fake, AgentAction.OFF, timeout_ms=3_000))
    ended = await task
    assert ended.status is None and not ended.nothing_sent
    assert "did not end within 3 s" in ended.said
    if (fake.here / "hangs").exists():
        pids = [int((fake.here / name).read_text()) for name in ("child", "orphan")]
        await until(lambda: not any(_lives(pid) for pid in pids))


async def test_a_daemon_that_it_left_is_no_reason_to_wait_and_does_not_act_later(
    root: Path,
) -> None:
    fake = Fake(
        root,
        "fence_pdu",
        """(setsid sleep 4714 & echo $! > "$here/left")
while [ ! -s "$here/left" ]; do sleep 0.01; done""",
    )
    begun = time.monotonic()
    ended = await ran(fake, AgentAction.OFF, timeout_ms=120_000)
    assert ended.status == 0
    assert time.monotonic() - begun < 100
    left = int((fake.here / "left").read_text())
    await until(lambda: not _lives(left))


async def test_one_that_forks_for_ever_comes_to_its_end(root: Path) -> None:
    fake = Fake(
        root, "fence_pdu", "i=0; while [ $i -lt 40 ]; do i=$((i+1)); sleep 4715 & done; sleep 4716"
    )
    ended = await ran(fake, AgentAction.STATUS, timeout_ms=2_000)
    assert ended.power is PowerState.UNKNOWN
    await until(lambda: not _with(b"4715"))


def _lives(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()
    return False


def _with(word: bytes) -> list[str]:
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError):
                if word in Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0"):
                    found.append(name)
    return found
