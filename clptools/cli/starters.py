"""The scripts by which commands are started: `python -m clptools.cli.starters FOLDER`.

pip writes scripts that start Python whole.  Most of that is `site`: it looks for `.pth` files and
customisations, and imports what they name.  These name the places of modules themselves, and tell
Python to leave `site` out; the Debian package has the same.  Daemons keep pip's: they start once.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

from clptools.cli.registry import COMMANDS

LINE_BYTES = 255
"""The kernel reads no more of a script's first line (BINPRM_BUF_SIZE, linux/binfmts.h)."""

_STARTER = """\
{first}
from _signal import SIG_DFL, SIG_IGN, SIGINT, getsignal, signal

if getsignal(SIGINT) != SIG_IGN:  # see clptools.launcher
    signal(SIGINT, SIG_DFL)
import sys

sys.path += {places!r}
from clptools.launcher import main

sys.exit(main())
"""


def starter(python: str, places: tuple[str, ...]) -> str:
    """The script of any command: it knows by its own name which one it is.

    `python` is the interpreter's path, `places` are where modules lie besides its own.  Raises
    ValueError for a path that the first line of a script cannot hold.
    """
    # -I: neither the caller's environment nor the current folder decides what is imported.
    first = f"#!{python} -IS"
    if len(os.fsencode(first)) >= LINE_BYTES or any(letter.isspace() for letter in python):
        raise ValueError(python)
    return _STARTER.format(first=first, places=list(places))


def places() -> tuple[str, ...]:
    """Where this interpreter finds clptools and what it needs."""
    package = str(Path(__file__).parent.parent.parent)
    found = (package, sysconfig.get_path("purelib"), sysconfig.get_path("platlib"))
    return tuple(dict.fromkeys(found))


def main() -> int:
    """Writes them into the folder that was given, over those of pip."""
    if len(sys.argv) != 2:
        print("usage: python -m clptools.cli.starters FOLDER", file=sys.stderr)
        return 2
    try:
        text = starter(sys.executable, places())
    except ValueError:
        print(f"starters: {sys.executable}: too long; pip's scripts stay.", file=sys.stderr)
        return 0
    for name in COMMANDS:
        path = Path(sys.argv[1], name)
        unfinished = path.with_name(f".{name}.new")
        unfinished.write_text(text)
        unfinished.chmod(0o755)
        unfinished.rename(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
