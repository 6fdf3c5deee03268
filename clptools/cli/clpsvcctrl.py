"""`clpsvcctrl`: whether the node agent starts with this host."""

from __future__ import annotations

import subprocess

from clptools.cli.command import SUCCEEDED, Answer, Args, Argument, Command, Option, done
from clptools.cli.requests import one_of
from clptools.faults import ClpError, ExitCode
from clptools.paths import root

COMMAND = Command(
    "clpsvcctrl",
    summary="say whether the node agent starts with this host",
    synopsis=("--enable -a|core|mgr...", "--disable -a|core|mgr..."),
    description=(
        (
            "Enables or disables clpnode.service in systemd, which does the work of the original's "
            "several services. The command starts and stops nothing; clpcl(8) does. It accepts the "
            "names of service groups that scripts for the original use: core is the node agent; "
            "mgr, the services of the original's window, has no counterpart here."
        ),
        "A node with CLP_ROOT set has no unit (6).",
    ),
    options=(
        Option("--enable", help="Let the node agent start with this host."),
        Option("--disable", help="Do not start it with this host, until it is enabled again."),
        Option("-a", "--all", help="All services."),
    ),
    arguments=(
        Argument("SERVICES", help="core or mgr, instead of -a.", many=True, complete="core mgr"),
    ),
    examples=(("clpsvcctrl --disable -a", "before long work on a server"),),
)

UNIT = "clpnode.service"
GROUPS = ("core", "mgr")


def run(args: Args) -> Answer:
    verb = one_of(COMMAND, args, "enable", "disable")
    unknown = [word for word in args.words if word not in GROUPS]
    if unknown or args.given("all") == bool(args.words):
        raise ClpError(ExitCode.USAGE, "Give -a, core or mgr.")
    if not args.given("all") and "core" not in args.words:
        return done(f"mgr has no service of its own: there is nothing to {verb}.\n{SUCCEEDED}")
    if root():
        text = f"The node below {root()} has no unit of systemd."
        raise ClpError(ExitCode.REFUSED, text, "Its agent is started by: clpcl -s")
    try:
        ran = subprocess.run(
            ["systemctl", verb, UNIT],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        raise ClpError(ExitCode.FAILED, "systemctl is not installed on this host.") from None
    if ran.returncode != 0:
        raise ClpError(ExitCode.FAILED, f"systemctl {verb} {UNIT}: {ran.stderr.strip()}")
    return done(f"{UNIT} is {verb}d.\n{SUCCEEDED}")
