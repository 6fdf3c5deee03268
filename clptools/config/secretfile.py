"""Files that hold a secret: read only if nobody else can, written so that nobody else ever could.

Used for the authkey, BMC passwords and SNMPv3 keys.  Secrets are never in `clp.toml`, an
argument, a log or the journal.
"""

from __future__ import annotations

import os
import stat

from clptools.config.write import replace_file
from clptools.faults import ClpError, ExitCode

MAX_BYTES = 4096


def read_secret(path: str, mend: str) -> bytes:
    """The content of a secret file.

    `mend` says how such a file is made.

    Raises:
        ClpError: it is missing, others may read it, or it cannot be one; the file is named.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise ClpError(ExitCode.FAILED, f"{path}: not there", mend) from None
    except OSError as fault:
        code = ExitCode.NOT_PERMITTED if isinstance(fault, PermissionError) else ExitCode.FAILED
        raise ClpError(code, f"{path}: {_reason(fault)}") from fault
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise ClpError(ExitCode.FAILED, f"{path}: not a regular file", mend)
        fault_text = loose(found)
        if fault_text:
            raise ClpError(ExitCode.FAILED, f"{path}: {fault_text}", f"chmod 0400 {path}")
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ClpError(ExitCode.FAILED, f"{path}: larger than {MAX_BYTES} bytes", mend)
    return content


def loose(found: os.stat_result) -> str:
    """Why such a file keeps no secret; empty where it does."""
    if found.st_uid not in (0, os.geteuid()):
        return f"belongs to user {found.st_uid}, who can read and replace it"
    if found.st_mode & 0o077:
        return f"mode {stat.S_IMODE(found.st_mode):04o}, others than its owner may use it"
    return ""


def write_secret(path: str, content: bytes) -> None:
    """Write `path` with mode 0400, whole or not at all.  Raises ClpError naming the file."""
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        replace_file(path, content, 0o400)
    except OSError as fault:
        code = ExitCode.NOT_PERMITTED if isinstance(fault, PermissionError) else ExitCode.FAILED
        raise ClpError(code, f"{path}: cannot be written: {_reason(fault)}") from fault


def _reason(fault: OSError) -> str:
    return (fault.strerror or "failed").lower()
