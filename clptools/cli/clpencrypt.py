"""`clpencrypt`: for scripts that encrypt a password for `clp.conf`; here none stands there."""

from __future__ import annotations

from clptools.cli.command import Answer, Args, Argument, Command
from clptools.faults import ClpError, ExitCode

COMMAND = Command(
    "clpencrypt",
    summary="refuse to encrypt a password, and say where passwords lie",
    synopsis=("PASSWORD",),
    description=(
        (
            "In the original it prints a password as clp.conf has it. clp.toml holds no "
            "passwords: they lie in files of their own that root alone can read, because a text "
            "that any copy of the program can decrypt protects nothing. So it prints nothing and "
            "fails with 1, and a script does not go on with an empty password."
        ),
        "The password is not shown and not kept; but whoever lists processes may have seen it.",
    ),
    arguments=(Argument("PASSWORD", help="It is not looked at.", many=True),),
    examples=(("clpbmccnf -u clp server1", "asks for the password of a BMC, and stores it"),),
)


def run(args: Args) -> Answer:
    raise ClpError(
        ExitCode.FAILED,
        "Nothing is encrypted: no password stands in the configuration of clptools.",
        "A BMC's goes into its file by: clpbmccnf -u USER SERVER.  Others: password_file in "
        "clp.toml(5).",
    )
