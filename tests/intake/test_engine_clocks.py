"""A recorded SNMPv3 trap stays a replay after the agent, or its machine, started again."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from clptools.intake import engine_clocks
from clptools.intake.engine_clocks import ENGINES, EngineClocks
from clptools.intake.usm import Engine, Refused, UserKeys, Usm, engine_id
from tests.conftest import LIMIT_S, free_port, until
from tests.intake.conftest import Heard, settings_for
from tests.intake.test_usm import KEYS, USER, message, recorded

BOOT, NEXT_BOOT = b"1" * 16, b"2" * 16
BMC = "10.0.0.1"


class Machine:
    """Whose boot clock and loop clock the test sets."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "snmp-engines"
        self.boot, self.boot_ms = BOOT, 0
        self.faults: list[str] = []

    @asynccontextmanager
    async def agent(self, keys: UserKeys = KEYS, loop_ms: int | None = None) -> AsyncIterator[Usm]:
        """From its start to its end; what it learns is written."""
        clocks = EngineClocks(str(self.file), self.boot, lambda: self.boot_ms, self.faults.append)
        clocks.load(now() if loop_ms is None else loop_ms)
        yield Usm([(USER, keys)], Engine(id=engine_id("server1"), boots=5, started_ms=0), clocks)
        await clocks.close()


def now() -> int:
    return int(asyncio.get_running_loop().time() * 1000)


@pytest.fixture(scope="module")
def old() -> bytes:
    return recorded(3, 1_000)


@pytest.fixture(scope="module")
def newest() -> bytes:
    return recorded(3, 1_600)


@pytest.fixture(scope="module")
def forgot() -> bytes:
    return recorded(1, 5)


@pytest.mark.parametrize("boot", [BOOT, NEXT_BOOT])
async def test_a_replay_is_refused_after_a_restart(
    tmp_path: Path, old: bytes, newest: bytes, boot: bytes
) -> None:
    machine = Machine(tmp_path)
    async with machine.agent() as usm:
        assert usm.receive(message(newest), BMC, now())
    machine.boot = boot
    async with machine.agent() as usm:
        with pytest.raises(Refused, match="its clock went back") as refused:
            usm.receive(message(old), BMC, now())
        assert refused.value.counter == "replayed"
        assert usm.receive(message(newest), BMC, now()), "an honest BMC that resends"
    assert stat.S_IMODE(machine.file.stat().st_mode) == 0o600
    assert machine.faults == []


async def test_time_between_two_agents_counts_within_a_boot_alone(
    tmp_path: Path, newest: bytes
) -> None:
    machine = Machine(tmp_path)
    async with machine.agent() as usm:
        usm.receive(message(newest), BMC, now())
    machine.boot_ms += 600_000
    async with machine.agent() as usm:
        with pytest.raises(Refused, match="its clock went back"):
            usm.receive(message(newest), BMC, now())
    # After another boot nobody knows how long it took: what is within the window is taken.
    machine.boot = NEXT_BOOT
    async with machine.agent() as usm:
        assert usm.receive(message(newest), BMC, now())


async def test_a_bmc_that_forgot_its_boots_is_learned_anew_once_the_file_is_removed(
    tmp_path: Path, newest: bytes, forgot: bytes
) -> None:
    machine = Machine(tmp_path)
    async with machine.agent() as usm:
        usm.receive(message(newest), BMC, now())
    async with machine.agent() as usm:
        with pytest.raises(Refused, match=f"then: rm {machine.file}"):
            usm.receive(message(forgot), BMC, now())
        machine.file.unlink()

        def taken() -> bool:
            try:
                return bool(usm.receive(message(forgot), BMC, now()))
            except Refused:
                return False

        await until(taken)
    assert machine.file.exists()


async def test_the_removed_file_is_not_written_again_with_what_was_in_it(
    tmp_path: Path, newest: bytes, forgot: bytes
) -> None:
    machine = Machine(tmp_path)
    async with machine.agent() as usm:
        usm.receive(message(newest), BMC, now())
    async with machine.agent() as usm:
        machine.file.unlink()
        usm.receive(message(newest), "10.0.0.2", now())  # another BMC's, before the refusal
    async with machine.agent() as usm:
        assert usm.receive(message(forgot), BMC, now())


async def test_a_new_passphrase_begins_anew(tmp_path: Path, newest: bytes) -> None:
    machine = Machine(tmp_path)
    async with machine.agent() as usm:
        usm.receive(message(newest), BMC, now())
    content = machine.file.read_bytes()
    assert KEYS.auth not in content and KEYS.priv not in content
    user = usm._users[b"bmc"]
    async with machine.agent(UserKeys(auth=b"authpass2", priv=b"privpass2")) as other:
        assert other._users[b"bmc"].clock_key(BMC, b"e") != user.clock_key(BMC, b"e")


@pytest.mark.parametrize("content", [b"", b"\xc1", b"x" * 100_000, b"\x81\xa4boot\x01"])
async def test_a_garbled_file_is_told_and_written_again(
    tmp_path: Path, newest: bytes, content: bytes
) -> None:
    machine = Machine(tmp_path)
    machine.file.write_bytes(content)
    async with machine.agent() as usm:
        assert machine.faults == [f"{machine.file} is garbled"]
        assert usm.receive(message(newest), BMC, now())
    assert machine.faults[1:] == [""]


async def test_a_fifo_or_a_link_in_its_place_holds_nobody_up(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    os.mkfifo(machine.file)
    async with machine.agent():
        pass
    machine.file.unlink()
    machine.file.symlink_to("/etc/passwd")
    async with machine.agent():
        pass
    assert machine.faults == [
        f"{machine.file} is garbled",
        f"{machine.file} cannot be read (too many levels of symbolic links)",
    ]


async def test_a_file_that_cannot_be_written_is_told_until_it_can(
    tmp_path: Path, newest: bytes
) -> None:
    machine = Machine(tmp_path / "none")
    async with machine.agent() as usm:
        assert usm.receive(message(newest), BMC, now())
    assert machine.faults == [f"{machine.file} cannot be written (no such file or directory)"]


async def test_a_disk_that_hangs_holds_up_neither_traps_nor_the_end(
    tmp_path: Path, newest: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo = tmp_path / "never"
    os.mkfifo(fifo)
    monkeypatch.setattr(engine_clocks, "CLOSE_S", 0.05)
    monkeypatch.setattr(engine_clocks, "replace_file", lambda *_: fifo.read_bytes())
    machine = Machine(tmp_path)
    async with asyncio.timeout(LIMIT_S), machine.agent() as usm:
        assert usm.receive(message(newest), BMC, now())
    os.close(os.open(fifo, os.O_WRONLY))  # the thread ends


async def test_most_engines_remembered_are_the_newest(tmp_path: Path) -> None:
    clocks = EngineClocks()
    for number in range(ENGINES + 1):
        clocks.learn((b"key", BMC, bytes([number])), 1, 1, number)
    assert clocks.get((b"key", BMC, b"\0")) is None
    assert clocks.get((b"key", BMC, bytes([ENGINES]))) is not None


async def test_a_trap_replayed_over_the_network_after_a_restart_is_counted(
    tmp_path: Path, old: bytes, newest: bytes
) -> None:
    port = free_port()
    settings = settings_for(port, snmpv3_users=(USER,))

    def heard() -> Heard:
        made = Heard(settings, port, {"bmc": KEYS})
        made.receiver._engine_clocks = EngineClocks(str(tmp_path / "snmp-engines"), BOOT, now)
        return made

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        async with heard() as first:
            sender.sendto(newest, ("127.0.0.1", port))
            await until(lambda: first.events)
        async with heard() as second:
            sender.sendto(old, ("127.0.0.1", port))
            await until(lambda: second.counters.get("replayed"))
            assert second.events == []
