"""One agent for each host and root, whatever happens to its files.

Three locks, since any of them may be lost while another remains: a file below `/var/lib`, a file
in `/run` (which agents before this version take alone), and a name of the kernel's (an abstract
Unix socket, which nobody can unlink, but which other network namespaces do not see).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import sys

from clptools import paths
from clptools.agent.slots import same_file
from clptools.core.model.settings import Settings
from clptools.faults import ClpError, ExitCode

_TRIES = 10


class AgentLock:
    """The locks of one agent; `foreign` names a process that holds the kernel's name wrongly."""

    def __init__(self) -> None:
        self._disk = LockFile(paths.data_dir() + "/lock")
        self._run = LockFile(paths.run_dir() + "/lock")
        self._name: socket.socket | None = None
        self.foreign = ""

    def take_disk(self) -> None:
        """The locks that need no `/run`.  Raises ClpError (REFUSED) if an agent has them, OSError.

        The kernel's name is open to every user of this host: only a process of root or of our own
        user counts as an agent, or anybody could keep the agent from starting.
        """
        self._disk.take()
        name = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        found = os.stat(paths.root() or "/")
        address = f"\0clptools/agent/{found.st_dev:x}:{found.st_ino:x}"
        try:
            name.bind(address)
        except OSError:
            name.close()
            pid = _holder_of_name(address)
            if pid is not None and _uid(pid) in (0, os.getuid()):
                self._disk.release()
                raise taken(f"this host's agent of {paths.root() or '/'}", pid) from None
            self.foreign = described(pid)
            return
        self._name = name

    def take_run(self) -> None:
        """The lock in `/run`.  Raises ClpError (REFUSED) if an agent has it, OSError."""
        self._run.take()

    def keep_run(self) -> bool:
        """Makes the lock in `/run` again if it is gone; returns whether it was.

        Raises like `take_run`.
        """
        return self._run.keep()

    def keep_disk(self) -> bool:
        """The same for the one below `/var/lib`."""
        return self._disk.keep()

    def release(self) -> None:
        """Gives all of them up."""
        self._disk.release()
        self._run.release()
        if self._name is not None:
            self._name.close()
            self._name = None


class LockFile:
    """A file locked by `flock`; its content is the process id, for people."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = -1

    def take(self) -> None:
        """Raises ClpError (REFUSED) if another process has it, OSError if it cannot be made."""
        if self._fd >= 0 and same_file(self.path, self._fd):
            return
        for _ in range(_TRIES):
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                other = os.pread(fd, 32, 0).decode("ascii", "replace").strip()
                os.close(fd)
                raise taken(self.path, int(other) if other.isdecimal() else None) from None
            except OSError:
                os.close(fd)
                raise
            if same_file(self.path, fd):
                break
            # Replaced between the two calls: others would not find the file that we locked.
            os.close(fd)
        else:
            raise taken(self.path, None)
        self.release()
        self._fd = fd
        with contextlib.suppress(OSError):  # the number is for people; a full disk may lack it
            os.pwrite(fd, f"{os.getpid():<16d}\n".encode(), 0)

    def keep(self) -> bool:
        """Takes the lock again if its file is gone or was replaced; returns whether it was."""
        if self._fd < 0 or same_file(self.path, self._fd):
            return False
        os.makedirs(os.path.dirname(self.path), mode=0o755, exist_ok=True)
        self.take()
        return True

    def release(self) -> None:
        """Gives it up; the file stays."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def taken(what: str, pid: int | None) -> ClpError:
    """The fault of an agent that is not the only one."""
    return ClpError(
        ExitCode.REFUSED,
        f"{what}: another clpnode already runs here ({described(pid)}); nothing was started or "
        "stopped",
        "One root has one agent; CLP_ROOT=DIR gives another node its own.",
    )


def check_alone(server: str, settings: Settings) -> None:
    """Raises ClpError (REFUSED) where a process of this host has our heartbeat port.

    That may be an agent whose lock files were removed.
    """
    port = settings.cluster.port
    for path in settings.interconnects:
        address = path.addresses.get(server)
        if path.is_lan and address is not None and _in_use(address, port):
            where = f"{address} port {port}/udp of {path.name}"
            pid = _holder_of_port(address, port)
            if pid is None or _may_be_agent(pid):
                raise taken(f"{where} is in use", pid)
            raise ClpError(
                ExitCode.REFUSED,
                f"{where} is taken by another program ({described(pid)}); nothing was started or "
                "stopped",
                f"Stop it, or give the cluster another port: cluster.port in {paths.config_file()}",
            )


def described(pid: int | None) -> str:
    """A process as an operator would look for it."""
    if pid is None:
        return "process unknown"
    try:
        with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
            name = "".join(c for c in file.read(64).strip() if c.isprintable())
    except OSError:
        name = ""
    return f"process {pid}, {name}" if name else f"process {pid}"


def _may_be_agent(pid: int) -> bool:
    """Whether it is an agent, by its command line: its name may be that of its interpreter."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            line = file.read(4096)
    except OSError:
        return True
    return b"clpnode" in line or b"clptools.agent" in line


def _in_use(address: str, port: int) -> bool:
    """Whether a process of this host (of this network namespace) listens there for datagrams."""
    try:
        found = socket.getaddrinfo(
            address, port, type=socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST
        )
    except OSError:
        return False  # an interface that is not there yet
    family, _, _, _, own = found[0]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            probe.bind(own)
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


def _holder_of_port(address: str, port: int) -> int | None:
    """The process with a UDP socket at this port and address, or at every address, if it shows."""
    wanted = {"00000000", "0" * 32, _hexadecimal(address)}
    inodes = set()
    for table in ("/proc/net/udp", "/proc/net/udp6"):
        for words in _table(table):
            # Columns: sl, local, remote, st, queues, timer, retries, uid, time-out, inode.
            local, _, number = words[1].partition(":")
            if number == f"{port:04X}" and local in wanted:
                inodes.add(words[9])
    return _holder(inodes)


def _holder_of_name(address: str) -> int | None:
    # Num, reference count, protocol, flags, type, state, inode, path (with @ for the NUL)
    shown = "@" + address[1:]
    return _holder({w[6] for w in _table("/proc/net/unix") if w[7:8] == [shown]})


def _table(path: str) -> list[list[str]]:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return [line.split() for line in file][1:]
    except OSError:
        return []


def _hexadecimal(address: str) -> str:
    """An address as `/proc/net/udp` writes it: words of 32 bits in the order of the processor."""
    bare = address.partition("%")[0]
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    packed = socket.inet_pton(family, bare)
    words = (int.from_bytes(packed[i : i + 4], sys.byteorder) for i in range(0, len(packed), 4))
    return "".join(f"{word:08X}" for word in words)


def _holder(inodes: set[str]) -> int | None:
    """The process that has one of these sockets open; others than root see their own alone."""
    wanted = {f"socket:[{inode}]" for inode in inodes}
    if not wanted:
        return None
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            folder = f"/proc/{pid}/fd"
            if any(_link(f"{folder}/{fd}") in wanted for fd in os.listdir(folder)):
                return int(pid)
    return None


def _link(path: str) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""


def _uid(pid: int) -> int:
    """Its real user; not the owner of its folder, whom a process can hide."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("Uid:"))
    except (OSError, StopIteration):
        return -1
