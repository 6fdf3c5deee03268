"""`clpmdctrl`: for scripts that switch mirror disks; there are none."""

from __future__ import annotations

from clptools.cli.absent import mirror_disk
from clptools.cli.command import Answer, Args, Argument, Command, Option
from clptools.cli.requests import one_of

COMMAND = Command(
    "clpmdctrl",
    summary="refuse to switch mirror disks: there are none",
    synopsis=(
        "-a|-d|-b|-r NAME...",
        "-f [SERVER] NAME",
        "--rwait|--resize [WORD] NAME",
    ),
    description=(
        (
            "clptools has no mirror disks, so every call fails with 5. So scripts that test the "
            "exit code stop, and do not go on without a mirror."
        ),
    ),
    options=(
        Option("-a", "--active", help="Activate one."),
        Option("-d", "--deactive", help="Deactivate one."),
        Option("-b", "--break", help="Break one."),
        Option("-f", "--force", help="Recover one by force."),
        Option("-r", "--recovery", help="Recover one."),
        Option("--rwait", help="Wait for a recovery."),
        Option("--resize", help="Resize one."),
    ),
    arguments=(Argument("NAME", help="A mirror disk.", many=True),),
    examples=(("clpmdctrl -a md1", "fails with 5"),),
)


def run(args: Args) -> Answer:
    # Callers give -f after -a: it says how, not what.
    ways = ("active", "deactive", "break", "recovery", "rwait", "resize")
    if not args.given("force"):
        one_of(COMMAND, args, *ways)
    raise mirror_disk(args.words[-1] if args.words else "")
