"""The original's places on this host: links to ours, made by `clpcompat` and taken away again.

What was made is noted in a list beside it, so that exactly that is taken away: a link that was
changed since, or a file that somebody edited, stays.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
from collections.abc import Container, Iterator
from typing import NamedTuple

from clptools.cli.registry import COMMANDS, DAEMONS
from clptools.config.files import replace_file
from clptools.faults import ClpError, ExitCode
from clptools.paths import log_dir, root, scripts_dir

HOME = "/opt/nec/clusterpro"
SBIN = "/usr/sbin"
UNITS = "/etc/systemd/system"
LIST = f"{HOME}/.clptools"
SUFFIXED = {
    "clpbackup.sh": "clpbackup",
    "clpcfadm.py": "clpcfadm",
    "clpfwctrl.sh": "clpfwctrl",
    "clprestore.sh": "clprestore",
    "clpsvcctrl.sh": "clpsvcctrl",
}
"""Names with the endings of the original's scripts, beside those without."""
STANDS_FOR = ("evt", "trn", "ib", "webmgr", "alertsync", "nm", "md", "api")
"""Side services of the original: `clusterpro_webmgr` and so on.  Scripts restart them one by one,
which must not restart the node agent, so each is a unit of its own that runs nothing."""
AGENT = "clpnode.service"
_UNIT_FOLDERS = (UNITS, "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
                 "/lib/systemd/system")  # fmt: skip
_MADE_BY = "# Made by clpcompat(8) of clptools; clpcompat --remove takes it away.\n"


class Made(NamedTuple):
    """One thing that was made; a line of the list."""

    kind: str
    """`link`, `file` or `folder`."""
    mark: str
    """Where a link leads; the digest of a file."""
    path: str
    """Without CLP_ROOT."""

    @property
    def place(self) -> str:
        """Where it is."""
        return root() + self.path

    def is_unchanged(self) -> bool:
        """Whether it is still what was made."""
        if self.kind == "link":
            return os.path.islink(self.place) and os.readlink(self.place) == self.mark
        if os.path.islink(self.place):
            return False
        with open(self.place, "rb") as file:
            return _digest(file.read()) == self.mark


class Wanted(NamedTuple):
    """One thing to be made."""

    made: Made
    text: str = ""
    """Of a file."""


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _link(path: str, to: str) -> Wanted:
    return Wanted(Made("link", to, path))


def _file(path: str, text: str) -> Wanted:
    return Wanted(Made("file", _digest(text.encode()), path), text)


# ---------------------------------------------------------------------- what is made


def wanted(binaries: str, ours: Container[str]) -> Iterator[Wanted]:
    """Everything but folders.

    `binaries`: the folder of our commands; `ours`: paths that were made before.
    """
    yield _link(f"{HOME}/scripts", scripts_dir())
    yield _link(f"{HOME}/log", log_dir())
    for name in ("trnreq", "rexec"):
        yield _link(f"{HOME}/work/{name}", f"{scripts_dir()}/trnreq")
    names = {**{name: name for name in (*COMMANDS, *DAEMONS)}, **SUFFIXED}
    for name, command in sorted(names.items()):
        yield _link(f"{HOME}/bin/{name}", f"{binaries}/{command}")
        beside = f"{SBIN}/{name}"
        if beside in ours or not os.path.lexists(root() + beside):
            yield _link(beside, f"{binaries}/{command}")
    units = (f"{root()}{folder}/{AGENT}" for folder in _UNIT_FOLDERS)
    if unit := next(filter(os.path.exists, units), ""):
        yield _link(f"{UNITS}/clusterpro.service", unit)
        for name in STANDS_FOR:
            yield _file(f"{UNITS}/clusterpro_{name}.service", _stand_in(name))


def _stand_in(name: str) -> str:
    return (
        f"{_MADE_BY}[Unit]\nDescription=Stands for clusterpro_{name}, of which clptools has none\n"
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )


# ---------------------------------------------------------------------- made, and taken away


def install(binaries: str) -> list[str]:
    """Makes what is missing; returns where all of it is.

    Raises ClpError where something of others is in the way, and then made nothing.
    """
    noted = _noted()
    home = root() + HOME
    if noted is None and os.path.isdir(home) and os.listdir(home):
        raise ClpError(
            ExitCode.REFUSED,
            f"{home} is there already, and not by clpcompat.",
            "EXPRESSCLUSTER may be installed here: remove it first.",
        )
    before = {one.path: one for one in noted or ()}
    every = tuple(wanted(binaries, before))
    for one in every:
        if one.made.path not in before and os.path.lexists(one.made.place):
            text = f"{one.made.place} is there already, and not by clpcompat."
            raise ClpError(ExitCode.REFUSED, text)
    folders = {path: Made("folder", "-", path) for one in every for path in _missing(one.made)}
    listed = before | folders | {one.made.path: one.made for one in every}
    # The list comes first: what a crash leaves behind can be taken away, too.
    os.makedirs(home, mode=0o755, exist_ok=True)
    replace_file(root() + LIST, "".join(map(_line, listed.values())).encode(), 0o644)
    for folder in folders.values():
        os.makedirs(folder.place, mode=0o755, exist_ok=True)
    for one in every:
        _make(one)
    _reload()
    return [one.place for one in listed.values()]


def _missing(made: Made) -> Iterator[str]:
    """The folders on the way to it that are not there: they go again with it."""
    at = ""
    for name in made.path.strip("/").split("/")[:-1]:
        at += f"/{name}"
        if not os.path.isdir(root() + at):
            yield at


def _make(one: Wanted) -> None:
    place = one.made.place
    if one.made.kind == "file":
        replace_file(place, one.text.encode(), 0o644)
        return
    if os.path.lexists(place):
        if one.made.is_unchanged():
            return
        os.unlink(place)
    os.symlink(one.made.mark, place)


def remove() -> tuple[list[str], list[str]]:
    """Takes away what was made; returns what is gone, and what stays because it was changed.

    Raises ClpError: nothing was made.
    """
    noted = _noted()
    if noted is None:
        raise ClpError(ExitCode.REFUSED, f"{root()}{HOME} was not made by clpcompat.")
    gone: list[str] = []
    stays: list[str] = []
    for one in noted:
        if one.kind == "folder" or not os.path.lexists(one.place):
            continue
        if not one.is_unchanged():
            stays.append(one.place)
            continue
        _disable(one)
        os.unlink(one.place)
        gone.append(one.place)
    os.unlink(root() + LIST)
    for folder in reversed([one for one in noted if one.kind == "folder"]):
        with contextlib.suppress(OSError):  # something of others is in it
            os.rmdir(folder.place)
            gone.append(folder.place)
    _reload()
    return gone, stays


def _disable(one: Made) -> None:
    """Takes away the link by which somebody enabled a unit of ours."""
    if one.kind == "file" and one.path.startswith(UNITS):
        link = f"{root()}{UNITS}/multi-user.target.wants/{os.path.basename(one.path)}"
        if os.path.islink(link) and os.readlink(link) == one.path:
            os.unlink(link)


def is_installed() -> bool:
    """Whether it was made here."""
    return _noted() is not None


def _noted() -> list[Made] | None:
    """What was made, folders before what is in them; None: nothing."""
    try:
        with open(root() + LIST, encoding="utf-8") as file:
            return [Made(*line.split("\t")) for line in file.read().splitlines()]
    except FileNotFoundError:
        return None


def _line(one: Made) -> str:
    return "\t".join(one) + "\n"


def _reload() -> None:
    """systemd reads its units again; a node below CLP_ROOT has none."""
    if not root() and os.path.isdir("/run/systemd/system"):
        subprocess.run(["systemctl", "daemon-reload"], stdin=subprocess.DEVNULL, check=False)
