"""`clptrap` and `clpmsg` as people and programs use them."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import struct
from pathlib import Path

import pytest

from clptools.cli.main import run
from clptools.intake.rehearsal import build_pet_trap, pet_event
from clptools.intake.snmp import Version
from tests.config.sample import with_trap_monitor
from tests.conftest import free_port
from tests.intake.conftest import AUTHKEY, Heard
from tests.intake.family_rows import DELL, Said, dell
from tests.intake.test_door import Open

MORE = """\
stall_on_predictive_failure = true
[monitor.recovery]
action = "failover"
target = "failover1"
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "etc/clptools"
    folder.mkdir(parents=True)
    (tmp_path / "run/clptools").mkdir(parents=True)
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    monkeypatch.setenv("CLP_SERVER", "server1")
    return tmp_path


def configure(root: Path, port: int = 1162) -> None:
    hosts = [f"127.0.0.1:{port}", f"127.0.0.2:{port}"]
    text = with_trap_monitor(["127.0.0.1", "127.0.0.12"], hosts, MORE)
    (root / "etc/clptools/clp.toml").write_text(text)
    key = root / "etc/clptools/authkey"
    key.write_bytes(AUTHKEY)
    key.chmod(0o400)


def clp(name: str, *line: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(name, list(line))
    return code, out.getvalue(), err.getvalue()


def decode(*line: str) -> tuple[int, dict[str, object]]:
    code, out, _ = clp("clptrap", "decode", "--json", *line)
    return code, json.loads(out)


PREDICT = build_pet_trap(pet_event("0Dh/6F/2", sequence=812))


def test_a_datagram_is_told_with_what_it_would_do(root: Path) -> None:
    configure(root)
    code, out, err = clp("clptrap", "decode", PREDICT.hex())
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "PET, SNMP v2c, specific trap 880386",
        "  drive slot (sensor 30h, entity 4.1): predictive failure",
        "  severity non-critical, sequence 812",
        'Class   PREDICT  (profile default, row "0Dh/6F/2")',
        "Would   mrw1 on server1: Normal -> Stall. No recovery: predictive failures only",
        "        stall (stall_on_predictive_failure).",
    ]


def test_the_json_of_a_specific_trap_is_the_contract(root: Path) -> None:
    configure(root)
    octets = pet_event("0Dh/6F/1", sequence=12).octets()
    code, found = decode("--specific", "880385", "--octets", octets.hex(" "))
    assert (code, found["schema"]) == (0, 1)
    trap = found["trap"]
    assert isinstance(trap, dict)
    assert (trap["specific"], trap["severity"], trap["event_class"]) == (880385, 16, "ERROR")
    assert (trap["entity"], trap["meaning"]) == ([4, 1], "drive slot: drive fault")
    (would,) = found["would"]  # type: ignore[misc]
    assert (would["monitor"], would["server"], would["from"], would["to"]) == (
        "mrw1", "server1", "Normal", "Caution",
    )  # fmt: skip
    assert would["recovery"] is None


def test_a_trap_of_a_vendors_mib_is_told_by_its_family(root: Path) -> None:
    part = ((f"{DELL}.1.6.0", "PSU.Slot.2"),)
    code, found = decode(dell(1, 2185, 5, "PSU0001").of(part).datagram(Version.V1, 1).hex())
    assert code == 0
    assert found["trap"]["event_class"] == "ERROR"
    assert found["trap"]["fault_key"] == "trap/dell-idrac/supply/PSU.Slot.2"
    assert found["trap"]["meaning"].startswith("power supply PSU.Slot.2: What PSU0001 says")
    assert found["hint"] is None


def test_a_trap_that_no_row_knows_is_told_with_how_it_gets_one(root: Path) -> None:
    said = Said("1.3.6.1.4.1.49871.5.0.7", (("1.3.6.1.4.1.49871.5.1.0", "flux"),))
    datagram = said.datagram(Version.V2C, 1).hex()
    code, found = decode(datagram)
    assert code == 0
    assert found["trap"]["event_class"] == "UNKNOWN"
    assert 'rows = { "oid 1.3.6.1.4.1.49871.5.0.7" = "ERROR" }' in found["hint"]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert run("clptrap", ["decode", datagram]) == 0
    assert '"oid 1.3.6.1.4.1.49871.5.0.7"' in out.getvalue()


def test_a_fatal_trap_would_fail_over(root: Path) -> None:
    configure(root)
    _, found = decode("--specific", str(0x076F00))
    assert found["would"][0]["recovery"] == "fail over failover1"  # type: ignore[index]
    assert found["would"][0]["to"] == "Error"  # type: ignore[index]


def test_without_a_configuration_it_still_tells_what_it_is(root: Path) -> None:
    code, found = decode(PREDICT.hex())
    assert (code, found["would"]) == (0, [])


@pytest.mark.parametrize(
    ("text", "wanted"), [("zz", 2), ("30", 1), ("3082ffff", 1), ("deadbeef" * 20, 1)]
)
def test_what_is_no_trap_is_an_error(root: Path, text: str, wanted: int) -> None:
    code, found = decode(text)
    assert code == wanted
    assert found["error"]["message"].startswith("No trap")  # type: ignore[index]


@pytest.mark.parametrize(
    "line",
    [
        (),
        ("--octets", "00"),
        ("--specific", "1", "3000"),
        ("--pcap", "x", "3000"),
    ],
)
def test_wrong_usage_is_told(root: Path, line: tuple[str, ...]) -> None:
    code, _, err = clp("clptrap", "decode", *line)
    assert (code, "More: clptrap --help" in err) == (2, True)


def test_lines_of_all_kinds_are_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"""
{PREDICT.hex()}
880385
0x0D6F01
356224 44454C4C50001059 8043B2C04F333358000219E87E26FFFF202004207318008001FF0000000000190000\
02A20100C1
no trap
.1.3.6.1.2.1.1.3.0 60:5:11:46.26
.1.3.6.1.6.3.1.1.4.1.0 .1.3.6.1.4.1.3183.1.1.0.356096
.1.3.6.1.4.1.3183.1.1.1 "44 45 4C 4C 50 00 10 59 80 43 B2 C0 4F 33 33 58
00 42 19 EE AB 64 FF FF 20 20 00 41 73 18 00 80
01 FF 00 00 00 00 00 19 00 00 02 A2 01 00 C1 "
.1.3.6.1.6.3.18.1.3.0 10.2.3.4
"""
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    code, out, _ = clp("clptrap", "decode", "--json", "-")
    assert code == 1
    found = [json.loads(line) for line in out.splitlines()]
    numbers = [f["trap"]["specific"] if "trap" in f else None for f in found]
    assert numbers == [880386, 880385, 880385, 356224, None, 356096]
    assert found[3]["trap"]["event_class"] == "CLEAR"
    assert found[4]["error"]["code"] == 1
    assert (found[5]["trap"]["sequence"], found[5]["trap"]["severity"]) == (0x42, None)


def frame(payload: bytes, source: bytes, port: int = 162) -> bytes:
    udp = struct.pack(">HHHH", 5555, port, 8 + len(payload), 0) + payload
    ip = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(udp), 0, 0x4000, 64, 17, 0)
    return bytes(12) + b"\x08\x00" + ip + source + b"\xc0\xa8\0\x01" + udp


def test_a_capture_tells_whose_bmc_sent_what(root: Path) -> None:
    configure(root)
    frames = [
        frame(PREDICT, b"\x7f\0\0\x0c"),
        frame(b"not a trap", b"\x7f\0\0\x01"),
        frame(b"something else", b"\x7f\0\0\x01", port=53),
        b"\xff" * 9,
    ]
    classic = struct.pack("<IHHIIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    for data in frames:
        classic += struct.pack("<IIII", 0, 0, len(data), len(data)) + data
    newer = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    newer += struct.pack("<IIHHII", 1, 20, 1, 0, 65535, 20)
    for data in frames:
        padded = data + bytes(-len(data) % 4)
        size = 32 + len(padded)
        newer += struct.pack("<IIIIIII", 6, size, 0, 0, 0, len(data), len(data))
        newer += padded + struct.pack("<I", size)
    for name, content in (("classic", classic), ("newer", newer)):
        path = root / name
        path.write_bytes(content)
        code, out, err = clp("clptrap", "decode", "--pcap", str(path))
        assert code == 1
        assert out.startswith("PET from 127.0.0.12 (BMC of server2), SNMP v2c")
        assert "mrw1 on server2: Normal -> Stall" in out
        assert err.count("No trap") == 1
    (root / "odd").write_bytes(b"odd")
    assert clp("clptrap", "decode", "--pcap", str(root / "odd"))[0] == 1
    assert clp("clptrap", "decode", "--pcap", str(root / "missing"))[0] == 1


def test_a_trap_says_where_it_claims_to_come_from(root: Path) -> None:
    configure(root)
    data = build_pet_trap(pet_event("FATAL"), version=Version.V1, agent_address="127.0.0.12")
    _, out, _ = clp("clptrap", "decode", data.hex())
    assert out.startswith("PET said to be from 127.0.0.12 (BMC of server2), SNMP v1, ")


async def test_a_rehearsal_is_taken_by_the_receiver(root: Path) -> None:
    from clptools.config.load import load
    from clptools.registries import registries

    port = free_port()
    configure(root, port)
    loaded = load(str(root / "etc/clptools/clp.toml"), registries())
    assert loaded.settings is not None, loaded.reports

    assert loaded.settings is not None
    async with Heard(loaded.settings, port) as heard:
        line = ("clptrap", "test", "--to", "server1", "FATAL")
        code, out, err = await asyncio.to_thread(clp, *line)
        assert (code, err) == (0, "")
        assert "server1 took the rehearsal trap" in out
        assert heard.counters["rehearsal"] == 1
        assert not heard.events


def test_a_rehearsal_that_nobody_takes_says_where_to_look(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(root, free_port())
    monkeypatch.setattr("clptools.cli.clptrap.WAIT_S", 0.05)
    code, _, err = clp("clptrap", "test", "--to", "server1", "FATAL")
    assert (code, "did not answer" in err) == (7, True)
    assert clp("clptrap", "test", "--to", "server9", "FATAL")[0] == 5
    assert clp("clptrap", "test", "--to", "server1", "LOUD")[0] == 2
    assert clp("clptrap", "test", "FATAL")[0] == 2


async def test_clpmsg_puts_a_message_through_the_door(root: Path) -> None:
    async with Open(root / "run/clptools") as door:
        code, out, _ = await asyncio.to_thread(clp, "clpmsg", "NIC", "eth0", "link down")
        assert (code, out.endswith("Command succeeded.\n")) == (0, True)
        assert (door.events[0].keyword, door.events[0].recovered) == ("eth0", False)
        code, _, _ = await asyncio.to_thread(clp, "clpmsg", "NIC", "link up", "--recovered")
        assert code == 0
        assert (door.events[1].keyword, door.events[1].recovered) == ("", True)
        code, _, err = await asyncio.to_thread(clp, "clpmsg", "N" * 33, "x")
        assert (code, "33 bytes" in err) == (6, True)


def test_clpmsg_without_an_agent_says_so(root: Path) -> None:
    assert clp("clpmsg", "NIC", "eth0", "down")[0] == 3
    assert clp("clpmsg", "NIC")[0] == 2


def test_decoding_starts_no_agent_and_imports_no_pysnmp(root: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from clptools.cli.main import run; "
        "run('clptrap', ['decode', '--specific', '880385']); "
        "assert not {'pysnmp', 'asyncio', 'cryptography'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_an_encrypted_trap_is_read_where_the_keys_are(root: Path) -> None:
    from tests.intake.test_usm import recorded

    configure(root)
    data = recorded(1, 1).hex()
    assert decode(data)[0] == 1
    config = root / "etc/clptools/clp.toml"
    config.write_text(config.read_text() + '\n[[monitor.snmpv3_user]]\nuser = "bmc"\n')
    keys = root / "etc/clptools/snmp/bmc"
    keys.parent.mkdir()
    keys.write_text("auth=authpass1\npriv=privpass1\n")
    keys.chmod(0o400)
    code, found = decode(data)
    assert code == 0, found
    assert found["trap"]["version"] == "3"  # type: ignore[index]
    assert found["would"][0]["to"] == "Error"  # type: ignore[index]
