"""SNMPv3: key files, engines learned, replays refused; messages are net-snmp's own."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from clptools.core.model.settings import SnmpUser
from clptools.faults import ClpError
from clptools.intake import snmp
from clptools.intake.snmp import V3Message
from clptools.intake.usm import Engine, Refused, UserKeys, Usm, engine_id, read_keys
from tests.conftest import LIMIT_S, free_port
from tests.intake.conftest import run
from tests.intake.test_netsnmp import V2_ARGUMENTS

USER = SnmpUser(user="bmc")
KEYS = UserKeys(auth=b"authpass1", priv=b"privpass1")


def usm() -> Usm:
    return Usm([(USER, KEYS)], Engine(id=engine_id("server1"), boots=5, started_ms=0))


def recorded(boots: int, time: int, engine: str = "0x8000000001020304") -> bytes:
    """A v3 trap of net-snmp with these boots and time."""

    async def scenario() -> bytes:
        port = free_port()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
            sock.bind(("127.0.0.1", port))
            code, out = await run(
                "snmptrap", "-v3", "-l", "authPriv", "-u", "bmc", "-a", "SHA-256",
                "-A", "authpass1", "-x", "AES", "-X", "privpass1", "-e", engine,
                "-Z", f"{boots},{time}", f"127.0.0.1:{port}", *V2_ARGUMENTS,
            )  # fmt: skip
            assert code == 0, out
            loop = asyncio.get_running_loop()
            return await asyncio.wait_for(loop.sock_recv(sock, 9000), LIMIT_S)

    return asyncio.run(scenario())


def message(data: bytes) -> V3Message:
    found = snmp.decode(data)
    assert isinstance(found, V3Message)
    return found


def test_an_engine_is_learned_and_its_clock_may_only_go_on() -> None:
    receiver = usm()
    first = message(recorded(3, 1_000))
    assert receiver.receive(first, "10.0.0.1", 0).user == "bmc"
    # Ten minutes later the same bytes are a replay; within the window they are a resend.
    assert receiver.receive(first, "10.0.0.1", 100_000).user == "bmc"
    with pytest.raises(Refused, match="clock went back") as refused:
        receiver.receive(first, "10.0.0.1", 600_000)
    assert refused.value.counter == "replayed"
    assert receiver.receive(message(recorded(3, 1_600)), "10.0.0.1", 600_000)
    # A restarted BMC counts from zero with a higher number of boots; then the old one is over.
    assert receiver.receive(message(recorded(4, 1)), "10.0.0.1", 700_000)
    with pytest.raises(Refused, match="clock went back"):
        receiver.receive(message(recorded(3, 1_700)), "10.0.0.1", 700_000)


def test_engines_of_several_bmcs_are_told_apart() -> None:
    receiver = usm()
    assert receiver.receive(message(recorded(9, 9_000)), "10.0.0.1", 0)
    other = message(recorded(1, 1, "0x8000000005060708"))
    assert receiver.receive(other, "10.0.0.1", 0)
    assert receiver.receive(message(recorded(1, 1)), "10.0.0.2", 0)


@pytest.mark.parametrize("at", [-1, -20, 60])
def test_a_changed_byte_is_noticed(at: int) -> None:
    data = bytearray(recorded(3, 1_000))
    data[at] ^= 1
    with pytest.raises((Refused, snmp.DecodeError)):
        usm().receive(message(bytes(data)), "10.0.0.1", 0)


def test_a_recorded_message_can_be_read_at_any_time() -> None:
    reader = usm()
    reader.receive(message(recorded(9, 9_000)), "10.0.0.1", 0)
    assert reader.read(message(recorded(3, 1_000))).oid.startswith("1.3.6.1.4.1.3183")


def write(path: Path, text: str, mode: int = 0o400) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize(
    "text, auth, priv",
    [
        ("auth=authpass1\npriv=privpass1\n", b"authpass1", b"privpass1"),
        ("# of the BMC\n\n priv=with=sign \nauth=authpass1", b"authpass1", b"with=sign"),
        ("auth=authpass1", b"authpass1", b""),
        ("one passphrase", b"one passphrase", b"one passphrase"),
    ],
)
def test_key_files_are_read(tmp_path: Path, text: str, auth: bytes, priv: bytes) -> None:
    keys = read_keys(write(tmp_path / "bmc", text))
    assert (keys.auth, keys.priv) == (auth, priv)
    assert auth.decode() not in repr(keys)


@pytest.mark.parametrize(
    "text, mode, fault",
    [
        ("auth=authpass1", 0o440, "others"),
        ("auth=short", 0o400, "less than 8"),
        ("auth=authpass1\npriv=short", 0o400, "less than 8"),
        ("", 0o400, "less than 8"),
    ],
)
def test_unusable_key_files_are_refused(tmp_path: Path, text: str, mode: int, fault: str) -> None:
    with pytest.raises(ClpError, match=fault):
        read_keys(write(tmp_path / "bmc", text, mode))


def test_a_missing_key_file_names_itself(tmp_path: Path) -> None:
    with pytest.raises(ClpError, match="nobody"):
        read_keys(str(tmp_path / "nobody"))


def test_a_user_with_privacy_needs_a_key_for_it() -> None:
    with pytest.raises(ClpError, match="no priv= line"):
        Usm([(USER, UserKeys(auth=b"authpass1"))], Engine(id=b"e", boots=1, started_ms=0))


def test_engine_ids_differ_by_server_and_stay() -> None:
    assert engine_id("server1") == engine_id("server1") != engine_id("server2")
    assert 5 <= len(engine_id("server1")) <= 32
