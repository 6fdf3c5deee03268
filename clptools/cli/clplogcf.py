"""`clplogcf`: for scripts that set how much is logged; here all of it is, always."""

from __future__ import annotations

from clptools.cli.command import SUCCEEDED, Answer, Args, Command, Option

COMMAND = Command(
    "clplogcf",
    summary="say that no log level is set, to scripts that set one",
    synopsis=("[-t TYPE] [-l LEVEL] [-s SIZE]",),
    description=(
        (
            "In the original, this command sets how much each module logs, and the size of the "
            "file. The node agent writes everything into one log, the journal of the system; you "
            "choose the level when you read it. So the command changes nothing and succeeds."
        ),
        (
            "The agents record the events of the cluster in journals of their own. clpstat "
            "--events reads these journals, and [cluster] journal_bytes limits their size."
        ),
    ),
    options=(
        Option("-t", "--type", metavar="TYPE", help="Accepted for old scripts."),
        Option("-l", "--level", metavar="LEVEL", help="Accepted for old scripts."),
        Option("-s", "--size", metavar="SIZE", help="Accepted for old scripts."),
    ),
    examples=(("journalctl -u clpnode -p warning", "shows what needs attention in the log"),),
)

SENTENCE = (
    "No log level is set: all is logged, and chosen when it is read.  journalctl -u clpnode -p "
    "LEVEL; clpstat --events --level LEVEL"
)


def run(args: Args) -> Answer:
    return Answer(f"{SENTENCE}\n{SUCCEEDED}", {"text": SENTENCE})
