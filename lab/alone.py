"""A room of its own for the laboratory: one at a time, in namespaces that end with it.

Whatever happens to it (an end, a fault, a signal, even SIGKILL), no server, bridge or address
stays behind on the machine it runs on.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from lab.places import Trouble, cache

INSIDE = "CLPTOOLS_LAB_INSIDE"


def inside() -> bool:
    """Whether this process is the one in the namespaces."""
    return INSIDE in os.environ


def take() -> int:
    """The lock that all laboratories of this machine share, open.  Raises Trouble."""
    lock = os.open(cache() / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise Trouble("another laboratory runs on this machine; it uses the same image") from None
    return lock


def folder() -> Path:
    """Disks, sockets and consoles of the servers; emptied when a laboratory begins."""
    return cache() / "room"


def enter(lock: int, module: str = "lab") -> int:
    """Runs this program's own command line anew in namespaces; returns its exit status.

    `setpriv` ends `unshare` if this process is gone, `--kill-child` ends what is in the
    namespaces then, and the kernel ends everything else there with its first process.
    """
    shutil.rmtree(folder(), ignore_errors=True)
    folder().mkdir()
    own = ("--net", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc")
    words = ["setpriv", "--pdeathsig", "KILL", "unshare", *own]
    program = subprocess.Popen(
        [*words, sys.executable, "-m", module, *sys.argv[1:]],
        env={**os.environ, INSIDE: "1", "KEEP": "1"},
        pass_fds=(lock,),
    )
    # `unshare` itself is deaf to these.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: program.kill())
    try:
        while True:
            try:
                return program.wait()
            except KeyboardInterrupt:
                continue  # the terminal told those inside, too: they end by themselves
    finally:
        program.kill()
        program.wait()
        shutil.rmtree(folder(), ignore_errors=True)
