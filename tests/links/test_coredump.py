"""The programs that hold the authkey for a moment, or for long, leave it in no core dump."""

from __future__ import annotations

import array
import fcntl
import subprocess
import sys
import termios
from pathlib import Path

from tests.conftest import free_port, wait_until
from tests.coredump import dumps, needs_dumps

KEY = b"k" * 32


def test_the_child_that_mints_certificates(tmp_path: Path) -> None:
    needs_dumps(tmp_path)
    line = [sys.executable, "-P", "-m", "clptools.links.credentials"]
    child = subprocess.Popen(line, stdin=subprocess.PIPE, cwd=tmp_path)
    assert child.stdin is not None
    child.stdin.write(KEY)  # the beginning of an order: it waits for the rest
    child.stdin.flush()
    unread = array.array("i", [1])

    def has_the_key() -> bool:
        assert child.stdin is not None
        fcntl.ioctl(child.stdin, termios.FIONREAD, unread)
        return unread[0] == 0

    wait_until(has_the_key)
    assert not dumps(child, tmp_path)
    child.stdin.close()


def test_the_witness_server(tmp_path: Path) -> None:
    needs_dumps(tmp_path)
    key = tmp_path / "authkey"
    key.write_bytes(KEY)
    key.chmod(0o400)
    line = [sys.executable, "-P", "-m", "clptools.arbiters.witness_server"]
    witness = subprocess.Popen(
        [*line, "--listen", f"127.0.0.1:{free_port()}", "--authkey", str(key)],
        stderr=subprocess.PIPE, cwd=tmp_path, text=True,
    )  # fmt: skip
    assert witness.stderr is not None
    with witness.stderr as said:
        assert "answers on http://127.0.0.1:" in said.readline()
        assert not dumps(witness, tmp_path)
