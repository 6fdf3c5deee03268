"""`clpbmccnf`: the password with which a server's BMC is asked."""

from __future__ import annotations

import sys

from clptools.cli.answer import Answer, done
from clptools.cli.options import Args, Argument, Command, Option
from clptools.faults import ClpError, ExitCode
from clptools.paths import bmc_password_file, config_file, server_name

COMMAND = Command(
    "clpbmccnf",
    summary="store the password of a server's BMC",
    synopsis=("[-u USER] [--new] [SERVER]",),
    description=(
        (
            "Asks for the password, or reads it from standard input (one line). It is stored in "
            "bmc/SERVER below the configuration folder, for root alone, and nowhere else. Without "
            "SERVER it is the local server's."
        ),
        "Every server asks the BMCs of all: store the password on each of them.",
        (
            "A server that is only about to join is not known yet: with --new its password is on "
            "the others before the push that brings it in, and they can prove it down from then on."
        ),
        "The user's name is in clp.toml. With -u it is compared with what stands there.",
    ),
    options=(
        Option("-u", "--user", metavar="USER", help="The BMC's user, as clp.toml has it."),
        Option(
            "-p",
            "--password",
            metavar="PASSWORD",
            help="Refused: everybody on the server can read the arguments of a command.",
        ),
        Option("--new", help="SERVER is not in the configuration yet."),
    ),
    arguments=(Argument("SERVER", help="Whose BMC it is.", complete="server"),),
    examples=(
        ("clpbmccnf -u clp server1", "asks for the password of server1's BMC"),
        ("clpbmccnf -u clp server2 < password", "reads it"),
    ),
)


def run(args: Args) -> Answer:
    """Stores it."""
    if args.given("password"):
        raise ClpError(
            ExitCode.USAGE,
            "A password is not taken as an argument: everybody on the server could read it.",
            "Type it when asked, or hand it in on standard input. Change the one you gave.",
        )
    from clptools.config.field import Fault
    from clptools.config.kinds import NAME
    from clptools.config.passwords import write_bmc_password

    server = args.word() or server_name()
    name = NAME.read(server)
    if isinstance(name, Fault):
        raise ClpError(ExitCode.USAGE, f"{server}: {name.text}", name.hint)
    known = _in_configuration(server, args.text("user"), args.given("new"))
    write_bmc_password(server, _password(server))
    path = bmc_password_file(server)
    note = "" if known else f"\n{server} is not in {config_file()} yet."
    return done(f"Command succeeded.{note}", server=server, file=path)


def _in_configuration(server: str, user: str, new: bool) -> bool:
    """Whether the configuration has that server.  Raises ClpError where it says otherwise."""
    from clptools.config.load import load
    from clptools.registries import registries

    settings = load(config_file(), registries()).settings
    if settings is None:
        return False
    found = settings.server(server)
    if found is None:
        if new:
            return False
        mend = f"Known: {', '.join(settings.names)}.  One that is to join: --new."
        raise ClpError(ExitCode.NO_SUCH, f"{server}: no such server.", mend)
    if user and found.bmc is not None and found.bmc.user != user:
        raise ClpError(
            ExitCode.REFUSED,
            f"{config_file()} gives the BMC of {server} the user {found.bmc.user!r}, not {user!r}.",
            "Change user under [server.bmc] there, then: clpcfctrl --push",
        )
    return True


def _password(server: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    from getpass import getpass

    first = getpass(f"Password of the BMC of {server}: ")
    if getpass("Once more: ") != first:
        raise ClpError(ExitCode.FAILED, "The two are not the same. Nothing was changed.")
    return first
