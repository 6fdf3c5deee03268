"""The cluster's shared secret: 32 random bytes in `authkey`, the same on every server."""

from __future__ import annotations

import os
import secrets

from clptools import paths
from clptools.config.secretfile import read_secret, write_secret
from clptools.faults import ClpError, ExitCode

SIZE = 32
MAKE = "Make it once with clpcfctrl --keygen, and copy it to every server (mode 0400)."


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
    write_secret(path, secrets.token_bytes(SIZE))
    return path


def read_authkey(path: str = "") -> bytes:
    """The key.

    Raises:
        ClpError: it is missing, others may read it, or it is too short to be one.
    """
    path = path or paths.authkey_file()
    key = read_secret(path, MAKE)
    if len(key) < SIZE:
        raise ClpError(ExitCode.FAILED, f"{path}: {len(key)} bytes, a key has {SIZE} or more", MAKE)
    return key
