"""One server in a container."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from lab import alone
from lab.places import Trouble, cache, run

NETWORKS = {"lan1": "192.168.0", "lan2": "10.0.0"}
"""Networks of every server, and their /24 prefixes; the server's number ends its address."""
BOOTS_WITHIN_S = 120.0
COMES_WITHIN_S = 60.0

ROOTS: list[Root] = []
"""Of the case that runs: ended after it."""


class Root:
    """One server: a folder with a Debian, and its processes while it is booted."""

    def __init__(self, base: str, number: int) -> None:
        self.name = f"server{number}"
        self.number = number
        self.folder = alone.folder() / self.name
        upper, work = (alone.folder() / f"{self.name}.{name}" for name in ("upper", "work"))
        for each in (self.folder, upper, work):
            each.mkdir()
        layers = f"lowerdir={trees() / base},upperdir={upper},workdir={work}"
        run("mount", "-t", "overlay", "overlay", "-o", layers, self.folder)
        (self.folder / "etc/hostname").write_text(f"{self.name}\n")
        (self.folder / "etc/hosts").write_text(
            "127.0.0.1 localhost\n10.0.0.1 server1\n10.0.0.2 server2\n"
        )
        self._process: subprocess.Popen[bytes] | None = None
        self._leader = 0
        self._console = open(f"{self.folder}.console", "ab")  # noqa: SIM115, closed by remove()
        ROOTS.append(self)

    def boot(self) -> None:
        """Starts its systemd, and waits until that is done."""
        for name in NETWORKS:
            run("ip", "-n", self.name, "link", "set", name, "up")
        words = ("--quiet", "--register=no", "--keep-unit", "--kill-signal=SIGRTMIN+3", "--boot")
        self._process = subprocess.Popen(
            [
                *("systemd-nspawn", *words, f"--machine={self.name}", "-D", self.folder),
                f"--network-namespace-path=/run/netns/{self.name}",
                # Floating addresses: its network is its own.
                "--capability=CAP_NET_ADMIN,CAP_NET_RAW",
            ],
            stdin=subprocess.DEVNULL,
            stdout=self._console,
            stderr=subprocess.STDOUT,
        )
        until(self._booted, f"{self.name} has booted", BOOTS_WITHIN_S)

    def _booted(self) -> bool:
        # Another process is nspawn's child until the system's first one is.
        self._leader = self._first()
        states = ("running", "degraded")
        return (
            bool(self._leader) and self.try_sh("systemctl is-system-running")[1].strip() in states
        )

    def _first(self) -> int:
        assert self._process is not None
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        with contextlib.suppress(OSError, IndexError):
            return int(children.read_text().split()[0])
        return 0

    def end(self) -> None:
        """As a power loss ends it."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._leader, signal.SIGKILL)
            self._process.kill()
            self._process.wait()
            self._process = None
            # The namespace stays, and would answer for the addresses of a server that is gone.
            for name in NETWORKS:
                inside = ("ip", "-n", self.name)
                run(*inside, "link", "set", name, "down")
                run(*inside, "address", "flush", "dev", name, "secondary")

    def remove(self) -> None:
        """Its files go, too."""
        self.end()
        self._console.close()
        run("umount", self.folder)

    def try_sh(self, line: str) -> tuple[int, str]:
        """Exit status and everything that a shell line says there."""
        enter = ["nsenter", "-t", str(self._leader), "-a", "env", "-i"]
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        done = subprocess.run(
            [*enter, path, "HOME=/root", "LC_ALL=C.UTF-8", "TERM=dumb", "sh", "-c", f"cd; {line}"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    def sh(self, line: str) -> str:
        """What a shell line says there.  Raises Trouble if it fails."""
        status, said = self.try_sh(line)
        if status:
            raise Trouble(f"{self.name}: {line}: exit status {status}\n{said[-2000:]}")
        return said

    def take(self, file: Path) -> str:
        """Copies a file to its /root; returns the name there."""
        shutil.copy(file, self.folder / "root" / file.name)
        return f"/root/{file.name}"

    def write(self, place: str, text: str, mode: int = 0o644) -> None:
        """A file of it."""
        path = self.folder / place.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)


def trees() -> Path:
    """Debian systems and packages, made once."""
    return cache() / "roots"


def until(true: Callable[[], bool], what: str, within_s: float = COMES_WITHIN_S) -> None:
    """Waits until it is true.  Raises Trouble."""
    deadline = time.monotonic() + within_s
    while not true():
        if time.monotonic() > deadline:
            raise Trouble(f"not within {within_s:.0f} s: {what}")
        time.sleep(0.2)


def check(true: bool, what: str) -> None:
    """Raises Trouble unless it is true."""
    if not true:
        raise Trouble(f"not so: {what}")
