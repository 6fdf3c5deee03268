"""`clptrap`: say what a trap is and what it would do; send a rehearsal trap."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from clptools.cli.command import Answer, Args, Argument, Command, Option, as_json, done
from clptools.faults import ClpError, ExitCode

if TYPE_CHECKING:
    from clptools.core.model.settings import Settings
    from clptools.intake.decoded_trap import DecodedTrap
    from clptools.intake.recorded_traps import RecordedTrap

WORDS = "decode test FATAL ERROR PREDICT PERFORMANCE REDUNDANCY INFO"
"""What a shell offers."""

COMMAND = Command(
    "clptrap",
    summary="decode SNMP traps of BMCs, and send test traps",
    synopsis=(
        "decode HEX|-",
        "decode --specific N [--octets HEX]",
        "decode --pcap FILE",
        "test --to SERVER CLASS",
        "test --through-bmc [--to SERVER]",
    ),
    description=(
        (
            "decode says what a trap means, its class, which row of the class table decided, and "
            "what the trap would do with the configuration of this server. It does not start "
            "anything."
        ),
        (
            "HEX is a whole SNMP datagram. With -, every line of standard input is a datagram in "
            "hexadecimal, or the number of a PET and its octets. Quoted octets may continue over "
            "several lines, as snmptrapd prints them. Input that is not a trap is an error, exit "
            "code 1."
        ),
        (
            "If a number or its octets depart from the specification, the line quirks says how it "
            "was read. A number in doubt never ends a fault if its severity is non-critical or "
            "worse; the severity then gives the class. A [[trap_profile]] can give it another "
            "class (specific N)."
        ),
        (
            "test sends a rehearsal trap to the keyword address of SERVER, through the real "
            "socket, signed with the authkey. The trap is shown and counted there and never starts "
            "a recovery. CLASS is FATAL, ERROR, PREDICT, PERFORMANCE, REDUNDANCY, INFO, CLEAR or "
            "UNKNOWN, or an event such as 0Dh/6F/2."
        ),
        (
            "test --through-bmc makes the BMC of SERVER (default: of this server) itself send a "
            "test trap, and waits until it arrives at the keyword address. Exit code 1: it was "
            "refused there, with the reason. Exit code 7: nothing came within 10 s. clpbmccnf "
            "--alerts makes the settings that a BMC needs for this. If no agent runs on this "
            'server, the command itself listens. A BMC with protocol = "redfish" sends a test '
            "event instead, which an agent has to receive within 20 s."
        ),
    ),
    options=(
        Option("--specific", metavar="N", help="The specific-trap number of a PET."),
        Option("--octets", metavar="HEX", help="The octets of its variable."),
        Option("--pcap", metavar="FILE", help="Every trap of a packet capture.", complete="file"),
        Option(
            "--config",
            metavar="FILE",
            help="Use this configuration instead of this server's.",
            complete="file",
        ),
        Option("--through-bmc", help="The BMC of SERVER itself sends the trap."),
        Option("--to", metavar="SERVER", help="Where a rehearsal trap goes.", complete="server"),
    ),
    arguments=(
        Argument(
            "WHAT",
            help="decode or test, and a trap or a class.",
            required=True,
            many=True,
            complete=WORDS,
        ),
    ),
    examples=(
        ("clptrap decode --specific 880385", "shows what a number in a log means"),
        ("clptrap decode --pcap bmc.pcap", "shows what a BMC sent"),
        ("clptrap test --to server1 FATAL", "tests whether traps reach server1"),
        ("clptrap test --through-bmc --to server1", "tests whether traps of its BMC reach it"),
    ),
)

MORE = "More: clptrap --help"
WAIT_S = 1.0
TRIES = 3


def run(args: Args) -> Answer:
    if args.words[0] == "decode":
        return _decode(args)
    if args.words[0] == "test":
        return _through_bmc(args) if args.given("through-bmc") else _test(args)
    raise ClpError(ExitCode.USAGE, f"{args.words[0]!r} is neither decode nor test.", MORE)


# ---------------------------------------------------------------------- decode


def _decode(args: Args) -> Answer:
    import time

    from clptools.intake.class_table import ClassTable
    from clptools.intake.recorded_traps import users_here

    settings = _settings_if_any(args)
    usm = users_here(settings)
    table = ClassTable(settings.trap_profiles if settings else ())
    in_json = args.given("json")
    several = args.given("pcap") or args.words[1:] == ("-",)
    failed = found = 0
    for reading in _readings(args):
        found += 1
        try:
            decoded = reading.decode(table, time.time(), usm)
        except ClpError as error:
            if not several:
                raise
            failed += 1
            _print_fault(error, in_json)
            continue
        if not several:
            return Answer(_text(reading, decoded, settings), _fields(reading, decoded, settings))
        if in_json:
            _print_json(_fields(reading, decoded, settings))
        else:
            print(_text(reading, decoded, settings), end="\n\n")
    if not found:
        raise ClpError(ExitCode.FAILED, "No trap in there.", MORE)
    return Answer(code=ExitCode.FAILED if failed else ExitCode.DONE)


def _readings(args: Args) -> Iterator[RecordedTrap]:
    from clptools.intake import recorded_traps

    words = args.words[1:]
    if args.given("specific") or args.given("octets"):
        if words or args.given("pcap") or not args.given("specific"):
            raise ClpError(ExitCode.USAGE, "--octets goes with --specific N, without HEX.", MORE)
        typed = recorded_traps.of_specific(args.text("specific"), args.text("octets") or None)
        if typed.fault:
            raise ClpError(ExitCode.USAGE, typed.fault, MORE)
        yield typed
    elif args.given("pcap"):
        if words:
            raise ClpError(ExitCode.USAGE, "--pcap stands for itself, without HEX.", MORE)
        with open(args.text("pcap"), "rb") as file:
            yield from recorded_traps.of_capture(file.read(recorded_traps.CAPTURE_BYTES))
    elif words == ("-",):
        yield from recorded_traps.of_lines(sys.stdin)
    elif words:
        typed = recorded_traps.of_hex(" ".join(words))
        if typed.fault:
            raise ClpError(ExitCode.USAGE, typed.fault, MORE)
        yield typed
    else:
        raise ClpError(ExitCode.USAGE, "There is nothing to decode.", MORE)


def _settings_if_any(args: Args) -> Settings | None:
    """The configuration; decoding also works if this server's cannot be read."""
    import os

    from clptools import paths

    if args.given("config"):
        return _settings(args)
    if not os.access(paths.config_file(), os.R_OK):
        return None
    try:
        return _settings(args)
    except ClpError:
        return None


def _settings(args: Args) -> Settings:
    """The configuration.  Raises ClpError: it is invalid, or may not be read."""
    from clptools import paths
    from clptools.config.load import load
    from clptools.registries import registries

    path = args.text("config") or paths.config_file()
    loaded = load(path, registries())
    if loaded.settings is None:
        raise ClpError(
            ExitCode.INVALID_CONFIG, str(loaded.errors[0]), f"All of them: clpcfchk {path}"
        )
    return loaded.settings


def _fields(
    trap: RecordedTrap, decoded: DecodedTrap, settings: Settings | None
) -> dict[str, object]:
    import msgspec

    return {
        "trap": msgspec.to_builtins(decoded),
        "source": trap.source or None,
        "hint": decoded.hint or None,
        "would": [msgspec.to_builtins(change) for change in trap.changes(decoded, settings)],
    }


def _print_json(fields: dict[str, object]) -> None:
    print(as_json({"schema": 1, **fields}))


def _print_fault(error: ClpError, in_json: bool) -> None:
    if in_json:
        fault = {
            "code": int(error.code),
            "name": error.code.name,
            "message": error.message,
            "hint": error.hint,
        }
        _print_json({"error": fault})
    else:
        print(f"clptrap: {error.message}", file=sys.stderr)


def _text(trap: RecordedTrap, decoded: DecodedTrap, settings: Settings | None) -> str:
    from clptools.intake.trap_report import report

    return report(decoded, trap.source, settings, trap.changes(decoded, settings))


# ---------------------------------------------------------------------- test


def _through_bmc(args: Args) -> Answer:
    from clptools.cli.trap_through_bmc import test_through_bmc
    from clptools.paths import server_name

    if len(args.words) != 1:
        text = "Write: clptrap test --through-bmc [--to SERVER]: a BMC sends no class of ours."
        raise ClpError(ExitCode.USAGE, text, MORE)
    own = server_name()
    return test_through_bmc(_settings(args), args.text("to") or own, own)


def _test(args: Args) -> Answer:
    import secrets
    import socket
    import time

    from clptools.config.files import read_authkey
    from clptools.intake.admission import admissions
    from clptools.intake.rehearsal import build_rehearsal, is_answer, pet_event

    server = args.text("to")
    if not server or len(args.words) != 2:
        raise ClpError(ExitCode.USAGE, "Write: clptrap test --to SERVER CLASS", MORE)
    try:
        event = pet_event(args.words[1], sequence=secrets.randbelow(65535) + 1)
    except ValueError as error:
        raise ClpError(ExitCode.USAGE, f"{error}.", MORE) from None
    settings = _settings(args)
    if settings.server(server) is None:
        known = ", ".join(settings.names)
        raise ClpError(ExitCode.NO_SUCH, f"{server}: no such server.", f"Known: {known}")
    places = admissions(settings, server)
    if not places:
        raise ClpError(
            ExitCode.NO_SUCH,
            f"No message receive monitor has a BMCNOTICE keyword on {server}.",
            'Give an mrw category = "BMCNOTICE" and keyword_on.' + server,
        )
    authkey = read_authkey()
    place = places[0].address
    family = socket.AF_INET6 if ":" in place.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(WAIT_S)
        for attempt in range(1, TRIES + 1):
            datagram = build_rehearsal(
                event,
                authkey=authkey,
                server=server,
                nonce=secrets.token_bytes(16),
                issued_ms=int(time.time() * 1000),
                request_id=attempt,
            )
            try:
                sock.connect((place.host, place.port))
                sock.send(datagram)
                while not is_answer(sock.recv(65535), attempt):
                    pass
            except (TimeoutError, ConnectionRefusedError):
                continue
            text = (
                f"{server} took the rehearsal trap at {place}: {args.words[1]}. It is shown and "
                "counted there; nothing is recovered."
            )
            return done(text, server=server, address=str(place))
    raise ClpError(
        ExitCode.TIMED_OUT,
        f"{server} did not answer at {place} ({TRIES} rehearsal traps, {WAIT_S:g} s each).",
        "Is its agent running (clpstat), is UDP let through, is the authkey the same, do the "
        "clocks agree within five minutes? Its counters tell: clpstat --hw",
    )
