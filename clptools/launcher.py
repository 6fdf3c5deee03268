"""Where every command starts, before Python has loaded more than it needs to run at all.

The scripts that the package installs run it without `site` (`clptools.cli.starters`), whose start
takes longer than all the rest of a command that only reads.
"""

from __future__ import annotations

import sys
from _signal import SIG_DFL, SIG_IGN, SIGINT, getsignal, signal


def main() -> int:
    """Entry point of all commands; returns the exit code."""
    # While modules are loaded, and after the end, Ctrl-C ends the process as it ends one that is
    # not Python's, and shows nobody where Python was.  Where it is ignored (nohup), it stays so.
    interruptible = getsignal(SIGINT) != SIG_IGN
    if interruptible:
        signal(SIGINT, SIG_DFL)
    from clptools.cli.main import begin

    return begin(called(sys.argv[0]), sys.argv[1:], interruptible=interruptible)


def called(path: str) -> str:
    """The command that a script of that path is."""
    # Some are scripts in the original, and called so: `clpfwctrl.sh`.
    name, _, _ = path.rpartition("/")[2].partition(".")
    return name
