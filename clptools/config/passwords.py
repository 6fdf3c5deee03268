"""BMC passwords (`bmc/SERVER`) and SNMPv3 keys (`snmp/USER`), each in a file of its own."""

from __future__ import annotations

from clptools import paths
from clptools.config.secretfile import read_secret, write_secret
from clptools.faults import ClpError, ExitCode

MAX_BMC_BYTES = 20
"""IPMI 2.0 section 22.30: a password has at most 20 bytes."""
MAX_REDFISH_BYTES = 255
MIN_SNMP_CHARACTERS = 8
"""RFC 3414 section 11.2: shorter ones are no secret."""


def how_bmc(server: str) -> str:
    """How the password file of a BMC is made."""
    return f"Set it: clpbmccnf -u USER {server}"


def how_snmp(user: str) -> str:
    """How the key file of an SNMPv3 user is made."""
    return f"Set them: clpbmccnf --snmp {user}"


def read_bmc_password(server: str) -> str:
    """The password of `server`'s BMC.

    Raises ClpError if it is missing, others may read it, or it is no text.
    """
    mend, path = how_bmc(server), paths.bmc_password_file(server)
    try:
        password = read_secret(path, mend).decode().partition("\n")[0].rstrip("\r")
    except UnicodeDecodeError:
        raise ClpError(ExitCode.FAILED, f"{path}: not text", mend) from None
    if not password:
        raise ClpError(ExitCode.FAILED, f"{path}: empty", mend)
    return password


def write_bmc_password(server: str, password: str, *, redfish: bool = False) -> None:
    """Keep the password of `server`'s BMC; by Redfish it may be longer than by IPMI.

    Raises ClpError if it cannot be one.
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
    """Keep the pass phrases of an SNMPv3 user, as `intake.usm` reads them.

    Without `priv` the first serves for both.  Raises ClpError if they cannot be ones.
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
