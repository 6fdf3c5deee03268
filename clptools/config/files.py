"""Files of a configuration: `clp.toml`, and the secrets beside it.

Each is written whole or not at all: a crash or a full disk leaves the old file.  Secrets (authkey,
BMC passwords, SNMPv3 keys) are read only if nobody else can read them, and are never in `clp.toml`,
an argument, a log or the journal.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING

from clptools import paths
from clptools.config.variants import Registries
from clptools.faults import ClpError, ExitCode

if TYPE_CHECKING:
    from clptools.config.load import Loaded

CONFIG_MODE = 0o640


def replace_file(path: str, content: bytes, mode: int) -> None:
    """Replaces `path` by rename; on the disk when it returns.  Raises OSError."""
    folder = os.path.dirname(path) or "."
    try:
        fd, temporary = _new_beside(path)
    except OSError as fault:
        fault.filename = path  # that of the temporary file means nothing to anybody
        raise
    try:
        with open(fd, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(fd, mode)
            os.fsync(fd)
        os.replace(temporary, path)
    except BaseException as fault:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(fault, OSError):
            fault.filename, fault.filename2 = path, None
        raise
    sync_folder(folder)


def _new_beside(path: str) -> tuple[int, str]:
    """A file of a name that nobody else has, for us alone.  Raises OSError.

    As `tempfile.mkstemp` does it, which takes 4 ms to load, in every command that writes a file.
    """
    folder, name = os.path.split(path)
    while True:
        temporary = os.path.join(folder or ".", f".{name}.{os.urandom(4).hex()}")
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with contextlib.suppress(FileExistsError):
            return os.open(temporary, flags, 0o600), temporary


def sync_folder(folder: str) -> None:
    """Flushes the names in a folder to the disk.  Raises OSError."""
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def dumps(document: dict[str, object]) -> str:
    """Tables as TOML text, without comments."""
    import tomli_w

    return tomli_w.dumps(document)


def save(text: str, path: str, registries: Registries) -> Loaded:
    """Checks `text`, and writes it to `path` if it has no error.

    Returns:
        What was read; where `settings` is None, the file is as it was.

    Raises:
        ClpError: it cannot be written; the file is as it was.
    """
    from clptools.config.load import loads  # not where only a secret is read

    loaded = loads(text, registries, path)
    if loaded.settings is None:
        return loaded
    try:
        os.makedirs(os.path.dirname(path) or ".", mode=0o750, exist_ok=True)
        replace_file(path, text.encode(), CONFIG_MODE)
    except OSError as fault:
        code = ExitCode.NOT_PERMITTED if isinstance(fault, PermissionError) else ExitCode.FAILED
        reason = (fault.strerror or "failed").lower()
        raise ClpError(code, f"{path}: cannot be written: {reason}") from fault
    return loaded


# ---------------------------------------------------------------------- secrets


MAX_SECRET_BYTES = 4096


def read_secret(path: str, mend: str) -> bytes:
    """The content of a secret file.

    `mend` says how such a file is made.

    Raises:
        ClpError: it is missing, others may read it, or it is no secret file; the file is named.
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
            chown = f"chown root {path}; " if found.st_uid not in (0, os.geteuid()) else ""
            raise ClpError(ExitCode.FAILED, f"{path}: {fault_text}", f"{chown}chmod 0400 {path}")
        content = file.read(MAX_SECRET_BYTES + 1)
    if len(content) > MAX_SECRET_BYTES:
        raise ClpError(ExitCode.FAILED, f"{path}: larger than {MAX_SECRET_BYTES} bytes", mend)
    return content


def loose(found: os.stat_result) -> str:
    """Why others can read such a file; empty: they cannot."""
    if found.st_uid not in (0, os.geteuid()):
        return f"belongs to user {found.st_uid}, who can read and replace it"
    if found.st_mode & 0o077:
        return f"mode {stat.S_IMODE(found.st_mode):04o}, others than its owner may use it"
    return ""


def write_secret(path: str, content: bytes) -> None:
    """Writes `path` with mode 0400.  Raises ClpError, which names the file."""
    folder = os.path.dirname(path)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        replace_file(path, content, 0o400)
    except OSError as fault:
        code = ExitCode.NOT_PERMITTED if isinstance(fault, PermissionError) else ExitCode.FAILED
        raise ClpError(code, f"{path}: cannot be written: {_reason(fault)}") from fault


def _reason(fault: OSError) -> str:
    return (fault.strerror or "failed").lower()


# ---------------------------------------------------------------------- the cluster's authkey


AUTHKEY_BYTES = 32
MAKE_AUTHKEY = "Make it once with clpcfctrl --keygen, and copy it to every server (mode 0400)."


def keygen(path: str = "", *, force: bool = False) -> str:
    """Make a new authkey; returns its path.

    Raises:
        ClpError: there is one already (`force` replaces it), or it cannot be written.
    """
    path = path or paths.authkey_file()
    if not force and os.path.lexists(path):
        raise ClpError(
            ExitCode.REFUSED,
            f"{path}: there is a key already",
            "A new key locks out servers that have the old one. Replace it all the same: --force",
        )
    write_secret(path, os.urandom(AUTHKEY_BYTES))
    return path


def read_authkey(path: str = "") -> bytes:
    """The key.

    Raises:
        ClpError: it is missing, others may read it, or it is too short to be one.
    """
    path = path or paths.authkey_file()
    key = read_secret(path, MAKE_AUTHKEY)
    if len(key) < AUTHKEY_BYTES:
        raise ClpError(
            ExitCode.FAILED,
            f"{path}: {len(key)} bytes, a key has {AUTHKEY_BYTES} or more",
            MAKE_AUTHKEY,
        )
    return key


# ---------------------------------------------------------------------- of BMCs and SNMPv3 users


MAX_BMC_BYTES = 20
"""IPMI 2.0 section 22.30: a password has at most 20 bytes."""
MAX_REDFISH_BYTES = 255
MIN_SNMP_CHARACTERS = 8
"""RFC 3414 section 11.2: shorter ones are no secret."""


def how_bmc(server: str, user: str = "") -> str:
    """How the password file of a BMC is made; `user`: its account, if that is known."""
    return f"Set its password: clpbmccnf {f'-u {user} ' if user else ''}{server}"


def how_snmp(user: str) -> str:
    """How the key file of an SNMPv3 user is made."""
    return f"Set them: clpbmccnf --snmp {user}"


def read_bmc_password(server: str) -> str:
    """The password of `server`'s BMC.

    Raises ClpError if it is missing, others may read it, or it is no text.
    """
    mend, path = how_bmc(server), paths.bmc_password_file(server)
    if not os.path.lexists(path):
        raise ClpError(ExitCode.FAILED, f"{path}: no BMC password there", mend)
    try:
        password = read_secret(path, mend).decode().partition("\n")[0].rstrip("\r")
    except UnicodeDecodeError:
        raise ClpError(ExitCode.FAILED, f"{path}: not text", mend) from None
    if not password:
        raise ClpError(ExitCode.FAILED, f"{path}: empty", mend)
    return password


def write_bmc_password(server: str, password: str, *, redfish: bool = False) -> None:
    """Stores the password of `server`'s BMC; for Redfish it may be longer than for IPMI.

    Raises ClpError if no BMC would take it.
    """
    _check(password, "BMC password")
    most = MAX_REDFISH_BYTES if redfish else MAX_BMC_BYTES
    if len(password.encode()) > most:
        by = "" if redfish else " by IPMI"
        raise ClpError(
            ExitCode.USAGE,
            f"BMC password of {server}: longer than {most} bytes, no BMC takes that{by}",
        )
    write_secret(paths.bmc_password_file(server), f"{password}\n".encode())


def write_snmp_keys(user: str, auth: str, priv: str = "") -> None:
    """Stores the pass phrases of an SNMPv3 user in the form that `intake.usm` reads.

    Without `priv` the first serves for both.  Raises ClpError if one is no pass phrase.
    """
    for phrase in (auth, priv or auth):
        _check(phrase, f"pass phrase of {user}")
        if len(phrase) < MIN_SNMP_CHARACTERS:
            text = f"pass phrase of {user}: shorter than {MIN_SNMP_CHARACTERS} characters"
            raise ClpError(ExitCode.USAGE, text)
        if phrase.endswith(" "):
            text = f"pass phrase of {user}: ends in a blank, which does not count in the file"
            raise ClpError(ExitCode.USAGE, text)
    write_secret(paths.snmp_key_file(user), f"auth={auth}\npriv={priv or auth}\n".encode())


def _check(secret: str, what: str) -> None:
    if not secret:
        raise ClpError(ExitCode.USAGE, f"{what}: empty")
    if any(ord(c) < 32 or ord(c) == 127 for c in secret):
        raise ClpError(ExitCode.USAGE, f"{what}: holds a control character")
