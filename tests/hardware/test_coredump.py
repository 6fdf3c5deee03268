"""What speaks IPMI knows the BMCs' passwords, and leaves them in no core dump."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from clptools.common.child_process import dump_nothing, framed
from clptools.hardware.ipmi_requests import Command, boot_ms
from tests.conftest import LIMIT_S
from tests.coredump import dumps, needs_dumps


def test_the_ipmi_worker_leaves_no_passwords_in_a_dump(tmp_path: Path) -> None:
    needs_dumps(tmp_path)
    control, theirs = socket.socketpair()
    line = [sys.executable, "-P", "-m", "clptools.hardware.ipmi_worker"]
    worker = subprocess.Popen(line, stdin=theirs.fileno(), cwd=tmp_path, text=True)
    ours, handed = socket.socketpair()
    socket.send_fds(control, [b"x"], [handed.fileno()])
    handed.close()
    command = Command(
        number=1, address="127.0.0.1", port=9, user="u", password="p", netfn=6, command=1,
        until_ms=boot_ms() + 500,
    )  # fmt: skip
    ours.settimeout(LIMIT_S)
    ours.sendall(framed(command))
    ours.recv(1)  # an answer or its end: it works
    assert not dumps(worker, tmp_path)
    for each in (control, theirs, ours):
        each.close()


def test_a_script_of_a_group_may_still_leave_a_dump(tmp_path: Path) -> None:
    needs_dumps(tmp_path)
    script = subprocess.Popen(["sleep", "60"], cwd=tmp_path, text=True, preexec_fn=dump_nothing)
    assert dumps(script, tmp_path)
