"""Earlier releases, to run beside the present one."""

from __future__ import annotations

import atexit
import tarfile
import tempfile
from functools import cache
from pathlib import Path

LAST = "0.1.0"
"""The release before this version."""
_FOLDER = Path(__file__).parent
"""`clptools-VERSION.tar.xz`: the package of that release, by
`git archive v0.1.0 clptools | xz -9e`."""


@cache
def unpacked(version: str) -> Path:
    """A folder with the package `clptools` of that release in it; it goes when the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="clptools-release-")
    atexit.register(folder.cleanup)
    with tarfile.open(_FOLDER / f"clptools-{version}.tar.xz") as archive:
        archive.extractall(folder.name, filter="data")
    return Path(folder.name)
