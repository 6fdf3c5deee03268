"""The original's places on this host: links to ours, made by `clpcompat` and taken away again.

`etc/clp.conf` is an export of the configuration in force.  A unit of systemd writes it again when
another one is put in force, which the folder of revisions shows.

What was made is noted in a list beside it, so that exactly that is taken away: a link that was
changed since, or a file that somebody edited, stays.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
from collections.abc import Container, Iterable, Iterator
from typing import NamedTuple

from clptools.cli.registry import COMMANDS, DAEMONS
from clptools.config.files import CONFIG_MODE, replace_file
from clptools.faults import ClpError, ExitCode
from clptools.paths import history_dir, log_dir, root, scripts_dir

HOME = "/opt/nec/clusterpro"
SBIN = "/usr/sbin"
UNITS = "/etc/systemd/system"
LIST = f"{HOME}/.clptools"
CONF = f"{HOME}/etc/clp.conf"
EDITED = f"{CONF}.edited"
FRESH = "clpcompat"
"""Name of the units that keep `etc/clp.conf` fresh."""
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
        if os.path.islink(self.place) or not os.path.isfile(self.place):
            return False
        with open(self.place, "rb") as file:
            return _digest(file.read()) == self.mark


class Wanted(NamedTuple):
    """One thing to be made."""

    made: Made
    text: str = ""
    """Of a file."""
    mode: int = 0o644


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _link(path: str, to: str) -> Wanted:
    return Wanted(Made("link", to, path))


def _file(path: str, text: str, mode: int = 0o644) -> Wanted:
    return Wanted(Made("file", _digest(text.encode()), path), text, mode)


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
    if text := conf_text():
        yield _file(CONF, text, CONFIG_MODE)
    units = (f"{root()}{folder}/{AGENT}" for folder in _UNIT_FOLDERS)
    if unit := next(filter(os.path.exists, units), ""):
        yield _link(f"{UNITS}/clusterpro.service", unit)
        for name in STANDS_FOR:
            yield _file(f"{UNITS}/clusterpro_{name}.service", _stand_in(name))
        yield _file(f"{UNITS}/{FRESH}.path", _watch())
        yield _file(f"{UNITS}/{FRESH}.service", _refresh(binaries))
        yield _link(f"{UNITS}/multi-user.target.wants/{FRESH}.path", f"{UNITS}/{FRESH}.path")


def _stand_in(name: str) -> str:
    return (
        f"{_MADE_BY}[Unit]\nDescription=Stands for clusterpro_{name}, of which clptools has none\n"
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )


def _watch() -> str:
    return (
        f"{_MADE_BY}[Unit]\nDescription=Another configuration of clptools is in force\n"
        f"[Path]\nPathChanged={history_dir()}\n[Install]\nWantedBy=multi-user.target\n"
    )


def _refresh(binaries: str) -> str:
    return (
        f"{_MADE_BY}[Unit]\nDescription=Writes {CONF} again\n"
        f"[Service]\nType=oneshot\nExecStart={binaries}/clpcompat --refresh\n"
    )


def conf_text() -> str:
    """The configuration in force as a `clp.conf`; empty: there is none yet, or it is not valid."""
    import tomllib

    from clptools.cli.stat_configuration import configuration_in_force
    from clptools.config.exporter import export_clp_conf
    from clptools.registries import registries

    try:
        return export_clp_conf(configuration_in_force(), registries())[0].decode()
    except (FileNotFoundError, tomllib.TOMLDecodeError, RecursionError):
        return ""


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
    _keep_edit(before.get(CONF))
    _note(listed.values())
    for folder in folders.values():
        os.makedirs(folder.place, mode=0o755, exist_ok=True)
    for one in every:
        _make(one)
    _reload()
    return [one.place for one in listed.values()]


def refresh() -> str:
    """Writes `etc/clp.conf` again; returns where an edit of it was put, or nothing.

    Raises ClpError: nothing was made.
    """
    listed = {one.path: one for one in _must_be_noted()}
    edit = _keep_edit(listed.get(CONF))
    if text := conf_text():
        one = _file(CONF, text, CONFIG_MODE)
        for path in _missing(one.made):
            listed[path] = Made("folder", "-", path)
            os.makedirs(root() + path, mode=0o755)
        _note((listed | {CONF: one.made}).values())
        _make(one)
    return edit


def _keep_edit(made: Made | None) -> str:
    """Puts `etc/clp.conf` aside if it was edited; returns where, or nothing."""
    if made is None or not os.path.lexists(made.place) or made.is_unchanged():
        return ""
    os.replace(made.place, root() + EDITED)
    return root() + EDITED


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
        replace_file(place, one.text.encode(), one.mode)
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
    noted = _must_be_noted()
    _systemctl("stop", f"{FRESH}.path", *(f"clusterpro_{name}.service" for name in STANDS_FOR))
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
    if one.path.startswith(f"{UNITS}/clusterpro"):
        link = f"{root()}{UNITS}/multi-user.target.wants/{os.path.basename(one.path)}"
        if os.path.islink(link) and os.readlink(link) == one.path:
            os.unlink(link)


def is_installed() -> bool:
    """Whether it was made here."""
    return _noted() is not None


def _noted() -> list[Made] | None:
    """What was made, folders before what is in them; None: nothing.

    Raises ClpError where the list is none.
    """
    try:
        with open(root() + LIST, encoding="utf-8") as file:
            lines = [line.split("\t") for line in file.read().splitlines()]
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        lines = [[]]
    if not all(len(line) == len(Made._fields) for line in lines):
        raise ClpError(
            ExitCode.FAILED,
            f"{root()}{LIST}: is not the list of what clpcompat made.",
            f"Take it away, and {root()}{HOME} with it; then what is to be there: clpcompat "
            "--install",
        )
    return [Made(*line) for line in lines]


def _must_be_noted() -> list[Made]:
    noted = _noted()
    if noted is None:
        raise ClpError(ExitCode.REFUSED, f"{root()}{HOME} was not made by clpcompat.")
    return noted


def _note(every: Iterable[Made]) -> None:
    text = "".join("\t".join(one) + "\n" for one in every)
    replace_file(root() + LIST, text.encode(), 0o644)


def _reload() -> None:
    """systemd reads its units again, and watches from now on."""
    _systemctl("daemon-reload")
    if is_installed():
        _systemctl("start", f"{FRESH}.path")


def _systemctl(*words: str) -> None:
    """Runs systemctl; where it fails there is no such unit.  A node below CLP_ROOT has no units."""
    if not root() and os.path.isdir("/run/systemd/system"):
        line = ["systemctl", "--quiet", *words]
        subprocess.run(line, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
