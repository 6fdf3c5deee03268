"""`clplogcf`: for scripts that set how much is logged; here all of it is, always."""

from __future__ import annotations

from clptools.cli.command import SUCCEEDED, Answer, Args, Command, Option

COMMAND = Command(
    "clplogcf",
    summary="say that no log level is set, to scripts that set one",
    synopsis=("[-t TYPE] [-l LEVEL] [-s SIZE]",),
    description=(
        (
            "In the original it sets how much each of its modules logs, and into how large a "
            "file. A node agent writes one log, the journal of the system, and all of it: what "
            "is of interest is chosen when it is read. So it changes nothing and succeeds."
        ),
        (
            "What the agents record of the cluster is apart from that, in journals of their own: "
            "clpstat --events reads them, and [cluster] journal_bytes bounds them."
        ),
    ),
    options=(
        Option("-t", "--type", metavar="TYPE", help="Accepted for old scripts."),
        Option("-l", "--level", metavar="LEVEL", help="Accepted for old scripts."),
        Option("-s", "--size", metavar="SIZE", help="Accepted for old scripts."),
    ),
    examples=(("journalctl -u clpnode -p warning", "what needs attention in the log"),),
)

SENTENCE = (
    "No log level is set: all is logged, and chosen when it is read.  journalctl -u clpnode -p "
    "LEVEL; clpstat --events --level LEVEL"
)


def run(args: Args) -> Answer:
    return Answer(f"{SENTENCE}\n{SUCCEEDED}", {"text": SENTENCE})
