"""Files that others own or may change: read without being held up, run only where that is safe.

The agent runs as root, so a user who can change a script, or any directory on the way to it, is
root.  The rule for scripts, and commands named in the configuration, is sshd's `StrictModes`, read
for the whole path: every component belongs to root or to the agent's own user, and nobody else
may write to it.  A directory with the sticky bit (`/tmp`) is fine: others cannot replace what is
in it and not theirs.  An access control list (acl(5)) may let others write whom the mode does not
show: with a list, the bits of the group are only the mask.
"""

from __future__ import annotations

import errno
import os
import stat
import struct

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


_ACL = "system.posix_acl_access"
_ACL_HEAD_BYTES = 4
_ACL_ENTRY = struct.Struct("<HHI")
"""Tag, permissions, user or group (include/uapi/linux/posix_acl_xattr.h)."""
_ACL_USER, _ACL_GROUP_OBJ, _ACL_GROUP = 0x02, 0x04, 0x08
_ACL_WRITE = 0x02

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
    if found.st_mode & stat.S_IWGRP and not sticky:
        # The mask of a list, if there is one: without its write bit no entry of others counts.
        _check_group(path, found.st_gid)
    return True


def _check_group(path: str, owning: int) -> None:
    """Raise `ClpError` if a group, or a user of the access control list, may write to `path`."""
    try:
        entries = list(_ACL_ENTRY.iter_unpack(os.getxattr(path, _ACL)[_ACL_HEAD_BYTES:]))
    except OSError as fault:
        if fault.errno not in (errno.ENODATA, errno.EOPNOTSUPP):
            raise ClpError(ExitCode.FAILED, f"{path}: its access control list: {fault}") from fault
        entries = [(_ACL_GROUP_OBJ, _ACL_WRITE, 0)]
    for tag, allowed, who in entries:
        if not allowed & _ACL_WRITE:
            continue
        if tag == _ACL_USER and who not in (0, os.geteuid()):
            text = f"{path}: its access control list lets uid {who} write to it"
            mend = f"setfacl -x u:{who} {path}"
        elif tag == _ACL_GROUP and who not in (0, os.getegid()):
            text = f"{path}: its access control list lets group {who} write to it"
            mend = f"setfacl -x g:{who} {path}"
        elif tag == _ACL_GROUP_OBJ and owning not in (0, os.getegid()):
            text, mend = f"{path}: group {owning} may write to it", f"chmod g-w {path}"
        else:
            continue
        raise ClpError(ExitCode.FAILED, f"{text}, and it would run as root", mend)
