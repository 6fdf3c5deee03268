"""The exact wheels of a release: `python -m lab.lock` resolves pyproject.toml's dependencies anew.

`lab/requirements.lock` names each with its version, the SHA-256 of its wheel, and its licence as
a comment; packages are built from these and nothing else (`pip install --require-hashes`).
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from importlib.metadata import metadata
from typing import Any

from lab.places import SOURCE, Trouble, run

LOCK = SOURCE / "lab/requirements.lock"
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")
"""Of the wheels: they run wherever glibc is 2.28 or newer, whatever this machine has."""
ABI = "3.11"
KIND = (
    *("--only-binary", ":all:", f"--python-version={ABI}", "--implementation=cp"),
    *(f"--abi={abi}" for abi in ("cp311", "abi3", "none")),
    *(f"--platform={each}" for each in PLATFORMS),
)
"""What pip is told of the server's Python."""
HEAD = "# By `make lock`. Each wheel of the packages, its SHA-256, its licence.\n"
_LINE = re.compile(r"(\S+)==(\S+) --hash=sha256:([0-9a-f]{64})  # (.+)")
_READ = {"pysnmp": "BSD-2-Clause"}
"""Read in its LICENSE.rst: its metadata do not say it."""
_SPDX = {
    "Apache License, Version 2.0": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License": "ISC",
    "MIT License": "MIT",
}


@dataclass(frozen=True, slots=True)
class Wheel:
    """One locked dependency."""

    name: str
    version: str
    sha256: str
    licence: str
    """An SPDX expression, or what the wheel itself calls it."""


def locked() -> list[Wheel]:
    """What the lock file names."""
    lines = LOCK.read_text().splitlines()[1:]
    found = [_LINE.fullmatch(line) for line in lines]
    assert all(found), f"{LOCK}: a line that is none of `make lock`"
    return [Wheel(*each.groups()) for each in found if each]


def resolve(dependencies: list[str]) -> list[Wheel]:
    """The newest wheels that these allow, and what those need.  Raises Trouble."""
    quiet = ("-q", "--disable-pip-version-check", "--dry-run", "--ignore-installed")
    report = run(
        *(sys.executable, "-m", "pip", "install", *quiet, "--report", "-"),
        *(*KIND, "--target", "/nonexistent", *dependencies),
    )
    return sorted(map(_wheel, json.loads(report)["install"]), key=lambda wheel: wheel.name)


def _wheel(item: dict[str, Any]) -> Wheel:
    name = re.sub(r"[-_.]+", "-", item["metadata"]["name"]).lower()
    sha256 = item["download_info"]["archive_info"]["hashes"]["sha256"]
    return Wheel(name, item["metadata"]["version"], sha256, _licence(name))


def _licence(name: str) -> str:
    """As the package says it that is installed here.  Raises Trouble: it says nothing."""
    of = metadata(name)
    classes = [c.rpartition(" :: ")[2] for c in of.get_all("Classifier", []) if "License ::" in c]
    said = [
        _READ.get(name),
        of.get("License-Expression"),
        *(of.get("License") or "").splitlines()[:1],
        *classes,
    ]
    for each in filter(None, said):
        return _SPDX.get(each, each)
    raise Trouble(f"{name} does not say its licence: read its files, and note it in _READ")


def main() -> None:
    """Writes the lock file."""
    from lab.package import project

    wanted = project()["dependencies"]
    assert isinstance(wanted, list)
    wheels = resolve(wanted)
    lines = [f"{w.name}=={w.version} --hash=sha256:{w.sha256}  # {w.licence}\n" for w in wheels]
    LOCK.write_text(HEAD + "".join(lines))


if __name__ == "__main__":
    main()
