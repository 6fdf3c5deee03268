"""`clpencrypt`: for scripts that encrypt a password for `clp.conf`; here none stands there."""

from __future__ import annotations

from clptools.cli.command import Answer, Args, Argument, Command
from clptools.faults import ClpError, ExitCode

COMMAND = Command(
    "clpencrypt",
    summary="refuse to encrypt a password, and say where passwords are stored",
    synopsis=("PASSWORD",),
    description=(
        (
            "In the original, this command prints a password in the form that clp.conf needs. "
            "clp.toml contains no passwords. They are in files of their own that only root can "
            "read, because a text that any copy of the program can decrypt protects nothing. So "
            "the command prints nothing and fails with 1, so that a script does not go on with an "
            "empty password."
        ),
        "The password is neither shown nor kept. But a user who lists processes may have seen it.",
    ),
    arguments=(Argument("PASSWORD", help="It is ignored.", many=True),),
    examples=(("clpbmccnf -u clp server1", "asks for the password of a BMC, and stores it"),),
)


def run(args: Args) -> Answer:
    raise ClpError(
        ExitCode.FAILED,
        "Nothing is encrypted: the configuration of clptools contains no passwords.",
        "The password of a BMC is stored by: clpbmccnf SERVER.  Others: password_file in "
        "clp.toml(5).",
    )
