"""`clplogcmd`: a line of one's own in the alert log."""

from __future__ import annotations

from clptools.api.client import Client
from clptools.cli.command import Answer, Args, Command, Option, done
from clptools.faults import ClpError, ExitCode

COMMAND = Command(
    "clplogcmd",
    summary="write a message into the alert log and syslog",
    synopsis=("-m TEXT [-l LEVEL] [-i ID]",),
    description=(
        (
            "The message is also among the recorded events of the cluster (clpstat --events), on "
            "every server. Its module is logcmd."
        ),
    ),
    options=(
        Option("-m", "--message", metavar="TEXT", help="The message, up to 511 bytes."),
        Option(
            "-l",
            "--level",
            metavar="LEVEL",
            help="INFO, WARN or ERROR (default INFO). The first letters are enough, in upper or "
            "lower case.",
            complete="INFO WARN ERROR",
        ),
        Option(
            "-i",
            "--id",
            metavar="ID",
            help="Number of the message, 1 to 65535 (default 1).",
            whole=True,
            low=1,
            high=65535,
        ),
        Option("--alert", help="Accepted for old scripts: the message always goes there."),
        Option("--mail", help="Accepted for old scripts: [alert] says what is mailed."),
        Option("--trap", help="Accepted for old scripts: [alert] says what is sent."),
        Option("--syslog", help="Accepted for old scripts: the message always goes there."),
    ),
    examples=(("clplogcmd -m 'failover1: data checked' -l INFO", "from a start script"),),
)

LEVELS = ("INFO", "WARN", "ERROR")
TEXT_BYTES_MAX = 511


def run(args: Args) -> Answer:
    text = args.text("message")
    if not 0 < len(text.encode()) <= TEXT_BYTES_MAX:
        raise ClpError(ExitCode.USAGE, f"-m takes a message of 1 to {TEXT_BYTES_MAX} bytes.")
    asked = args.text("level", "INFO").upper()
    # WARNING as well as WAR: scripts in the field write either.
    level = next((known for known in LEVELS if asked and _same(known, asked)), None)
    if level is None:
        raise ClpError(ExitCode.USAGE, f"{asked}: not a level.", f"Known: {', '.join(LEVELS)}")
    with Client() as client:
        client.call("WriteLog", text=text, level=level, event_id=args.whole("id", 1))
    return done()


def _same(known: str, asked: str) -> bool:
    return known.startswith(asked) or asked.startswith(known)
