"""Files that others own or may change: read without being held up, run only where that is safe.

The agent runs as root, so a user who can change a script, or any directory on the way to it, is
root.  The rule for scripts, and commands named in the configuration, is sshd's `StrictModes`, read
for the whole path: every component belongs to root or to the agent's own user, and nobody else
may write to it.  A directory with the sticky bit (`/tmp`) is fine: others cannot replace what is
in it and not theirs.
"""

from __future__ import annotations

import errno
import os
import stat

from clptools.faults import ClpError, ExitCode


def beginning(path: str, most: int) -> bytes:
    """The first `most` bytes of a plain file.

    A FIFO or a device is not even opened, since it may never answer.  A disk may hang as well, so
    this is not for the agent's loop.  Raises OSError, and ClpError if it is no plain file.
    """
    found = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(found).st_mode):
            raise ClpError(ExitCode.FAILED, f"{path} is no plain file")
        # The file that was looked at; not to wait is for its owner's lease (fcntl(2), F_SETLEASE).
        fd = os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(found)
    try:
        return os.read(fd, most)
    finally:
        os.close(fd)


_HANDED_OVER = ("/dev/", "/proc/")
"""Where a shell puts what a user pipes in: `/dev/stdin`, `/dev/fd/63`."""


def whole(path: str, most: int) -> bytes:
    """A file of at most `most` bytes.

    What lies at `path` holds nobody up: nobody may ever write into a FIFO there.  Raises OSError,
    also for what is no plain file, or larger.
    """
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    kind = os.fstat(fd).st_mode
    if stat.S_ISDIR(kind):
        os.close(fd)
        raise IsADirectoryError(errno.EISDIR, "is a directory", path)
    with open(fd, "rb") as file:
        if not stat.S_ISREG(kind) and not path.startswith(_HANDED_OVER):
            raise OSError(errno.EINVAL, "is no plain file", path)
        os.set_blocking(fd, True)
        found = file.read(most + 1)
    if len(found) > most:
        raise OSError(errno.EFBIG, f"larger than {most >> 20} MiB", path)
    return found


MAX_SYMLINKS = 40
"""As the kernel's own limit (path_resolution(7))."""


def check_script(path: str) -> None:
    """Raise `ClpError` unless `path` is an executable file that only we or root can change.

    Raises:
        ClpError: names the component at fault and the command that mends it.
    """
    if not os.path.isabs(path):
        raise ClpError(ExitCode.FAILED, f"{path}: not an absolute path")
    if os.geteuid() == 0:
        _check_owners(path)
    try:
        found = os.stat(path)
    except FileNotFoundError:
        raise ClpError(
            ExitCode.FAILED,
            f"{path}: no such script",
            "put it there on every server that may run it",
        ) from None
    except OSError as fault:
        raise ClpError(ExitCode.FAILED, f"{path}: {fault.strerror}") from fault
    if not stat.S_ISREG(found.st_mode):
        raise ClpError(ExitCode.FAILED, f"{path}: not a regular file")
    if not os.access(path, os.X_OK):
        raise ClpError(ExitCode.FAILED, f"{path}: not executable", f"chmod +x {path}")


def _check_owners(path: str) -> None:
    """Walk as the kernel walks, symbolic links included, and look at every component."""
    at, todo = "/", path.strip("/").split("/")
    _check_component("/")
    links = 0
    while todo:
        name = todo.pop(0)
        if name in ("", "."):
            continue
        if name == "..":
            at = os.path.dirname(at)
            continue
        at = os.path.join(at, name)
        if not _check_component(at):
            links += 1
            if links > MAX_SYMLINKS:
                raise ClpError(ExitCode.FAILED, f"{path}: too many symbolic links")
            target = os.readlink(at)
            todo = target.split("/") + todo
            at = "/" if target.startswith("/") else os.path.dirname(at)


def _check_component(path: str) -> bool:
    """Check one component; False if it is a symbolic link (whose directory was checked)."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        raise ClpError(
            ExitCode.FAILED,
            f"{path}: no such file or directory",
            "put the script there on every server that may run it",
        ) from None
    except OSError as fault:
        raise ClpError(ExitCode.FAILED, f"{path}: {fault.strerror}") from fault
    if found.st_uid not in (0, os.geteuid()):
        raise ClpError(
            ExitCode.FAILED,
            f"{path}: belongs to uid {found.st_uid}, who could have it run as root",
            f"chown root {path}",
        )
    if stat.S_ISLNK(found.st_mode):
        return False
    sticky = stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX
    if found.st_mode & stat.S_IWOTH and not sticky:
        raise ClpError(
            ExitCode.FAILED,
            f"{path}: everybody may write to it, and it would run as root",
            f"chmod o-w {path}",
        )
    if found.st_mode & stat.S_IWGRP and found.st_gid not in (0, os.getegid()) and not sticky:
        raise ClpError(
            ExitCode.FAILED,
            f"{path}: group {found.st_gid} may write to it, and it would run as root",
            f"chmod g-w {path}",
        )
    return True
