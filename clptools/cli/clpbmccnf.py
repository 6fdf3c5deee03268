"""`clpbmccnf`: the password of a server's BMC, the pass phrases of its SNMPv3 user, its alerts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from clptools.cli.command import Answer, Args, Argument, Command, Option, done
from clptools.faults import ClpError, ExitCode
from clptools.paths import bmc_password_file, config_file, server_name, snmp_key_file

if TYPE_CHECKING:
    from clptools.cli.bmc_alerts import Way
    from clptools.config.load import Loaded
    from clptools.core.model.settings import Bmc, Settings

_CONNECT_S = 5.0

COMMAND = Command(
    "clpbmccnf",
    summary="store the password of a server's BMC, and let it send its traps to the cluster",
    synopsis=(
        "[-u USER] [--new] [SERVER]",
        "--snmp USER",
        "--alerts [--check | --yes] [SERVER]",
        "--certificate [SERVER]",
    ),
    description=(
        (
            "Asks for the password of the BMC of SERVER (default: the local server), or reads it "
            "from standard input (one line). The password is stored only in bmc/SERVER below the "
            "configuration folder, and only root can read it."
        ),
        "Every server asks the BMCs of all servers, so store the password on each server.",
        (
            "A server that is about to join is not in the configuration yet. With --new, its "
            "password can be stored on the other servers before the push that adds it. From that "
            "push on they can prove it down."
        ),
        "The user's name is in clp.toml. With -u, USER is compared with that name.",
        (
            "With --snmp, it asks for the two pass phrases with which BMCs send SNMPv3 traps as "
            "USER: first for authentication, then for privacy (empty: the same). From standard "
            "input it takes one line or two. They are stored in snmp/USER, as clp.toml(5) "
            "describes. Every server needs them."
        ),
        (
            "With --certificate, it shows the SHA-256 of the certificate that the BMC has now, in "
            'the form that [server.bmc] needs for protocol = "redfish", and compares it with the '
            "configured one. It sends no password to it. The configuration may still lack the "
            "certificate: the server's name and the BMC's address are enough. Before you pin the "
            "certificate, compare it with the one that the BMC's own page shows, because a machine "
            "in the middle could present another."
        ),
        (
            "With --alerts, it configures the BMC of SERVER (default: of every server) to send its "
            "traps to the keyword address of the monitor. It sets destination, policy, event "
            "filter, community and the switches, over LAN or, for this server, by the kernel's "
            "driver. First it shows what it would set, and asks. Other settings of the BMC stay."
        ),
        (
            "With --check, nothing is set. Exit code 9 means that a BMC would not send a trap, 1 "
            "that a BMC could not be asked. After that: clptrap test --through-bmc. For a BMC with "
            'protocol = "redfish" it says whether its event service is on, and whether its events '
            "come by a stream, a log or a subscription of the agent. It sets nothing in such a BMC."
        ),
    ),
    options=(
        Option(
            "-u", "--user", metavar="USER", help="The BMC's user; it must be the one in clp.toml."
        ),
        Option(
            "-p",
            "--password",
            metavar="PASSWORD",
            help="Refused: everybody on the server can read the arguments of a command.",
        ),
        Option("--new", help="SERVER is not in the configuration yet."),
        Option("--alerts", help="Check the BMC's alerts, and set them."),
        Option("--check", help="With --alerts: only check."),
        Option("--yes", help="With --alerts: set them without asking."),
        Option("--snmp", metavar="USER", help="Store the pass phrases of this SNMPv3 user."),
        Option("--certificate", help="Show the certificate of the BMC, for Redfish."),
    ),
    arguments=(Argument("SERVER", help="Whose BMC it is.", complete="server"),),
    examples=(
        ("clpbmccnf -u clp server1", "asks for the password of server1's BMC"),
        ("clpbmccnf -u clp server2 < password", "reads it"),
        ("clpbmccnf --alerts", "lets the BMCs of all servers send their traps here"),
        ("clpbmccnf --snmp trapper", "asks for the pass phrases of that SNMPv3 user"),
        ("clpbmccnf --certificate server2", "shows the certificate to pin for the BMC of server2"),
    ),
)


def run(args: Args) -> Answer:
    if args.given("password"):
        raise ClpError(
            ExitCode.USAGE,
            "A password is not taken as an argument: everybody on the server could read it.",
            "Type it when asked, or hand it in on standard input. Change the one you gave.",
        )
    if args.given("certificate"):
        return _certificate(args)
    if args.given("alerts"):
        return _alerts(args)
    if args.given("check") or args.given("yes"):
        raise ClpError(ExitCode.USAGE, "--check and --yes go with --alerts.")
    return _store_snmp(args) if args.given("snmp") else _store_bmc(args)


def _certificate(args: Args) -> Answer:
    """Exit code 9: it differs from the pinned one.  Raises ClpError."""
    import asyncio

    from clptools.common.http import HttpError
    from clptools.common.http_client import KeptConnection, pinned_tls
    from clptools.config.servers import HTTPS_PORT

    if any(map(args.given, ("user", "new", "snmp", "alerts", "check", "yes"))):
        raise ClpError(ExitCode.USAGE, "--certificate [SERVER] stands alone.")
    name = args.word() or server_name()
    bmc = _bmc_of(name)
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


def _bmc_of(name: str) -> Bmc:
    """The BMC that the configuration gives a server, also while it lacks what is to be pinned.

    Raises ClpError.
    """
    from clptools.config.servers import bmc_in

    loaded = _load()
    if loaded.settings is not None:
        server = loaded.settings.server(name)
        bmc = server.bmc if server is not None else None
    elif (bmc := bmc_in(loaded.text, name)) is None:
        raise ClpError(ExitCode.INVALID_CONFIG, str(loaded.errors[0]), "All of them: clpcfchk")
    if bmc is None:
        text = f"{name}: no such server with a BMC in {config_file()}."
        raise ClpError(ExitCode.NO_SUCH, text, "[server.bmc] names its address.")
    return bmc


def _alerts(args: Args) -> Answer:
    import asyncio

    from clptools.cli import bmc_alerts

    if args.given("snmp") or args.given("user") or args.given("new"):
        raise ClpError(ExitCode.USAGE, "--alerts goes with --check or --yes, and a server.")
    settings = _settings()
    servers = bmc_alerts.servers_of(settings, args.words)
    own = server_name()
    found = asyncio.run(bmc_alerts.look(settings, servers, own))
    settable = any(finding.changes for way in found for finding in way.findings)
    if args.given("check") or not settable:
        return _alerts_answer(found)
    if not args.given("yes"):
        _ask_to_set(found)
    found, refused = asyncio.run(bmc_alerts.mend(settings, servers, own))
    return _alerts_answer(found, refused)


def _load() -> Loaded:
    """The configuration of this server.  Raises ClpError where it may not be read."""
    from clptools.config.load import load
    from clptools.registries import registries

    return load(config_file(), registries())


def _settings() -> Settings:
    loaded = _load()
    if loaded.settings is None:
        raise ClpError(ExitCode.INVALID_CONFIG, str(loaded.errors[0]), "All of them: clpcfchk")
    return loaded.settings


def _ask_to_set(found: list[Way]) -> None:
    """Shows what differs, and asks.  Raises ClpError where the answer is not yes."""
    from clptools.cli.bmc_alerts import as_text
    from clptools.cli.wizard_steps import Cancelled, Ended, Talk

    talk = Talk(sys.stderr)
    for way in found:
        talk.say(as_text(way))
    try:
        agreed = talk.yes("Set what can be set?", default=False)
    except (Ended, Cancelled):
        agreed = False
    if not agreed:
        raise ClpError(ExitCode.USAGE, "Nothing was set.", "Without a question: --yes")


def _alerts_answer(found: list[Way], refused: list[str] | None = None) -> Answer:
    from clptools.cli.bmc_alerts import as_object, as_text

    lines = [as_text(way) for way in found]
    if refused is not None:
        lines += [f"Not set: {text}" for text in refused]
    code = ExitCode.DONE
    if any(way.fault for way in found):
        code = ExitCode.FAILED
    elif any(not way.clear for way in found):
        code = ExitCode.FOUND
    elif refused is not None:
        lines.append("Prove it: clptrap test --through-bmc --to SERVER")
    fields = {"ways": [as_object(way) for way in found], "refused": refused or []}
    return Answer("\n".join(lines), fields, code)


def _store_bmc(args: Args) -> Answer:
    from clptools.config.files import write_bmc_password

    server = args.word() or server_name()
    _check_name(server)
    known = _in_configuration(server, args.text("user"), args.given("new"))
    redfish = not known or _speaks_redfish(server)
    write_bmc_password(server, _password(server), redfish=redfish)
    path = bmc_password_file(server)
    note = "" if known else f"\n{_unknown(server)}"
    return done(f"Command succeeded.{note}", server=server, file=path)


def _store_snmp(args: Args) -> Answer:
    from clptools.config.files import write_snmp_keys

    if args.words or args.given("user") or args.given("new"):
        raise ClpError(ExitCode.USAGE, "--snmp USER stands alone: the keys are no server's.")
    user = args.text("snmp")
    _check_name(user)
    settings = _load().settings
    known = settings is not None and any(
        user == each.user for monitor in settings.monitors for each in monitor.snmpv3_users
    )
    write_snmp_keys(user, *_phrases(user))
    note = "" if known else f"\nNo monitor in {config_file()} has the SNMPv3 user {user} yet."
    return done(f"Command succeeded.{note}", user=user, file=snmp_key_file(user))


def _check_name(name: str) -> None:
    """It becomes the name of a file."""
    from clptools.config.field import NAME, Fault

    read = NAME.read(name)
    if isinstance(read, Fault):
        raise ClpError(ExitCode.USAGE, f"{name}: {read.text}", read.hint)


def _in_configuration(server: str, user: str, new: bool) -> bool:
    """Whether the configuration has that server.  Raises ClpError where it says otherwise."""
    settings = _load().settings
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


def _unknown(server: str) -> str:
    """Why the configuration does not say that it has that server."""
    if _load().settings is None:
        return f"{config_file()} has faults: clpcfchk shows them."
    return f"{server} is not in {config_file()} yet."


def _speaks_redfish(server: str) -> bool:
    settings = _load().settings
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
