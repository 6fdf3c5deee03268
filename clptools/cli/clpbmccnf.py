"""`clpbmccnf`: the password of a server's BMC, and the pass phrases of its SNMPv3 user."""

from __future__ import annotations

import sys

from clptools.cli.answer import Answer, done
from clptools.cli.options import Args, Argument, Command, Option
from clptools.faults import ClpError, ExitCode
from clptools.paths import bmc_password_file, config_file, server_name, snmp_key_file

_CONNECT_S = 5.0

COMMAND = Command(
    "clpbmccnf",
    summary="store the password of a server's BMC, or the pass phrases of an SNMPv3 user",
    synopsis=("[-u USER] [--new] [SERVER]", "--snmp USER", "--certificate [SERVER]"),
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
        (
            "With --snmp it asks for the two pass phrases with which BMCs send SNMPv3 traps as "
            "USER: for authentication, then for privacy (empty: the same). From standard input it "
            "takes one line or two. They are stored in snmp/USER, as clp.toml(5) describes it; "
            "every server needs them."
        ),
        (
            "With --certificate it shows the SHA-256 of the certificate that the BMC has now, as "
            '[server.bmc] wants it for protocol = "redfish", and compares it with what stands '
            "there. Nothing is sent to the BMC. Compare it with what the BMC's own page shows "
            "before you pin it: whoever stands between could show another."
        ),
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
        Option("--snmp", metavar="USER", help="Store the pass phrases of this SNMPv3 user."),
        Option("--certificate", help="Show the certificate of the BMC, for Redfish."),
    ),
    arguments=(Argument("SERVER", help="Whose BMC it is.", complete="server"),),
    examples=(
        ("clpbmccnf -u clp server1", "asks for the password of server1's BMC"),
        ("clpbmccnf -u clp server2 < password", "reads it"),
        ("clpbmccnf --snmp trapper", "asks for the pass phrases of that SNMPv3 user"),
        ("clpbmccnf --certificate server2", "shows what to pin of the BMC of server2"),
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
    if args.given("certificate"):
        return _certificate(args)
    return _store_snmp(args) if args.given("snmp") else _store_bmc(args)


def _certificate(args: Args) -> Answer:
    """Exit code 9: it is another than the pinned one.  Raises ClpError."""
    import asyncio

    from clptools.common.http import HttpError
    from clptools.common.kept_http import KeptConnection, pinned_tls
    from clptools.config.load import load
    from clptools.config.servers import HTTPS_PORT
    from clptools.registries import registries

    if args.given("user") or args.given("new") or args.given("snmp"):
        raise ClpError(ExitCode.USAGE, "--certificate [SERVER] stands alone.")
    name = args.word() or server_name()
    settings = load(config_file(), registries()).settings
    server = settings.server(name) if settings is not None else None
    if server is None or server.bmc is None:
        text = f"{name}: no such server with a BMC in {config_file()}."
        raise ClpError(ExitCode.NO_SUCH, text, "[server.bmc] names its address.")
    bmc = server.bmc
    port = bmc.port if bmc.is_redfish else HTTPS_PORT

    async def shown() -> str:
        async with asyncio.timeout(_CONNECT_S):
            connection = await KeptConnection.open(bmc.address, port, pinned_tls("any", ""))
        connection.close()
        return connection.certificate

    where = f"BMC of {name} ({bmc.address} port {port})"
    try:
        found = asyncio.run(shown())
    except TimeoutError:
        raise ClpError(ExitCode.FAILED, f"{where}: no answer within {_CONNECT_S:g} s") from None
    except HttpError as fault:
        raise ClpError(ExitCode.FAILED, f"{where}: {fault}") from None
    line = f'certificate = "{found}"'
    if not bmc.certificate:
        text = f'{line}\nPut that under [server.bmc] of {name}, with protocol = "redfish".'
    elif bmc.certificate == found:
        text = f"{line}\nIt is the one that {config_file()} has."
    else:
        text = f"{line}\n{config_file()} has another: {bmc.certificate}"
    differs = bool(bmc.certificate) and bmc.certificate != found
    answer = done(text, server=name, certificate=found, pinned=bmc.certificate)
    if differs:
        answer.code = ExitCode.FOUND
    return answer


def _store_bmc(args: Args) -> Answer:
    from clptools.config.passwords import write_bmc_password

    server = args.word() or server_name()
    _check_name(server)
    known = _in_configuration(server, args.text("user"), args.given("new"))
    redfish = not known or _speaks_redfish(server)
    write_bmc_password(server, _password(server), redfish=redfish)
    path = bmc_password_file(server)
    note = "" if known else f"\n{server} is not in {config_file()} yet."
    return done(f"Command succeeded.{note}", server=server, file=path)


def _store_snmp(args: Args) -> Answer:
    from clptools.config.load import load
    from clptools.config.passwords import write_snmp_keys
    from clptools.registries import registries

    if args.words or args.given("user") or args.given("new"):
        raise ClpError(ExitCode.USAGE, "--snmp USER stands alone: the keys are no server's.")
    user = args.text("snmp")
    _check_name(user)
    settings = load(config_file(), registries()).settings
    known = settings is not None and any(
        user == each.user for monitor in settings.monitors for each in monitor.snmpv3_users
    )
    write_snmp_keys(user, *_phrases(user))
    note = "" if known else f"\nNo monitor in {config_file()} has the SNMPv3 user {user} yet."
    return done(f"Command succeeded.{note}", user=user, file=snmp_key_file(user))


def _check_name(name: str) -> None:
    """It becomes the name of a file."""
    from clptools.config.field import Fault
    from clptools.config.kinds import NAME

    read = NAME.read(name)
    if isinstance(read, Fault):
        raise ClpError(ExitCode.USAGE, f"{name}: {read.text}", read.hint)


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


def _speaks_redfish(server: str) -> bool:
    from clptools.config.load import load
    from clptools.registries import registries

    settings = load(config_file(), registries()).settings
    found = settings.server(server) if settings is not None else None
    return found is not None and found.bmc is not None and found.bmc.is_redfish


def _password(server: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    return _asked(f"Password of the BMC of {server}")


def _phrases(user: str) -> tuple[str, str]:
    """For authentication and for privacy; the second is empty where the first serves for both."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n"), sys.stdin.readline().rstrip("\n")
    return (
        _asked(f"Authentication pass phrase of {user}"),
        _asked("Privacy pass phrase (empty: the same)"),
    )


def _asked(what: str) -> str:
    from getpass import getpass

    first = getpass(f"{what}: ")
    if getpass("Once more: ") != first:
        raise ClpError(ExitCode.FAILED, "The two are not the same. Nothing was changed.")
    return first
