"""BMC passwords (`bmc/SERVER`) and SNMPv3 keys (`snmp/USER`), each in a file of its own."""

from __future__ import annotations

import msgspec

from clptools import paths
from clptools.config.secretfile import read_secret, write_secret
from clptools.faults import ClpError, ExitCode

MAX_BMC_BYTES = 20
"""IPMI 2.0 section 22.30: a password has at most 20 bytes."""
MIN_SNMP_CHARACTERS = 8
"""RFC 3414 section 11.2: shorter ones are no secret."""


class SnmpKeys(msgspec.Struct, frozen=True, kw_only=True):
    """The pass phrases of a USM user; `priv` is empty where none is used."""

    auth: str
    priv: str


def how_bmc(server: str) -> str:
    """How the password file of a BMC is made."""
    return f"Set it: clpbmccnf -u USER {server}"


def how_snmp(user: str) -> str:
    """How the key file of an SNMPv3 user is made."""
    return f"Write the pass phrases into {paths.snmp_key_file(user)}, one a line, mode 0400."


def read_bmc_password(server: str) -> str:
    """The password of `server`'s BMC.

    Raises ClpError if it is missing, others may read it, or it is no text.
    """
    mend, path = how_bmc(server), paths.bmc_password_file(server)
    password = _lines(path, read_secret(path, mend), mend)[0]
    if not password:
        raise ClpError(ExitCode.FAILED, f"{path}: empty", mend)
    return password


def write_bmc_password(server: str, password: str) -> None:
    """Keep the password of `server`'s BMC.  Raises ClpError if it cannot be one."""
    _check(password, "BMC password")
    if len(password.encode()) > MAX_BMC_BYTES:
        raise ClpError(
            ExitCode.USAGE,
            f"BMC password of {server}: longer than {MAX_BMC_BYTES} bytes, no BMC takes that",
        )
    write_secret(paths.bmc_password_file(server), f"{password}\n".encode())


def read_snmp_keys(user: str) -> SnmpKeys:
    """The pass phrases of an SNMPv3 user: authentication, then (second line) privacy.

    Without a second line the first serves for both.  Raises ClpError as `read_bmc_password`.
    """
    path = paths.snmp_key_file(user)
    mend = how_snmp(user)
    lines = _lines(path, read_secret(path, mend), mend)
    auth, priv = lines[0], (lines[1:] or lines)[0] or lines[0]
    if min(len(auth), len(priv)) < MIN_SNMP_CHARACTERS:
        raise ClpError(
            ExitCode.FAILED, f"{path}: shorter than {MIN_SNMP_CHARACTERS} characters", mend
        )
    return SnmpKeys(auth=auth, priv=priv)


def write_snmp_keys(user: str, auth: str, priv: str = "") -> None:
    """Keep the pass phrases of an SNMPv3 user.  Raises ClpError if they cannot be ones."""
    for phrase in (auth, priv or auth):
        _check(phrase, f"pass phrase of {user}")
        if len(phrase) < MIN_SNMP_CHARACTERS:
            text = f"pass phrase of {user}: shorter than {MIN_SNMP_CHARACTERS} characters"
            raise ClpError(ExitCode.USAGE, text)
    write_secret(paths.snmp_key_file(user), f"{auth}\n{priv or auth}\n".encode())


def _check(secret: str, what: str) -> None:
    if not secret:
        raise ClpError(ExitCode.USAGE, f"{what}: empty")
    if any(ord(c) < 32 or ord(c) == 127 for c in secret):
        raise ClpError(ExitCode.USAGE, f"{what}: holds a control character")


def _lines(path: str, content: bytes, mend: str) -> list[str]:
    try:
        return content.decode().splitlines() or [""]
    except UnicodeDecodeError:
        raise ClpError(ExitCode.FAILED, f"{path}: not text", mend) from None
