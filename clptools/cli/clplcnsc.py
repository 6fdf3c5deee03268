"""`clplcnsc`: for scripts that register licences; none is needed."""

from __future__ import annotations

from clptools.cli.command import SUCCEEDED, Answer, Args, Argument, Command, Option
from clptools.cli.requests import one_of

COMMAND = Command(
    "clplcnsc",
    summary="say that no licence is needed, to scripts that register one",
    synopsis=(
        "-i FILE... [-p PRODUCT]",
        "-l [-p PRODUCT]",
        "-d NAME... | -d -a",
        "--distribute",
    ),
    description=(
        (
            "clptools needs no licence and keeps none. For each request to register, list, delete "
            "or distribute a licence, the command says so and succeeds. It reads no file."
        ),
    ),
    options=(
        Option("-i", "--register", help="Nothing is registered."),
        Option("-l", "--list", help="Nothing is listed."),
        Option("-d", "--delete", help="Nothing is deleted."),
        Option("--distribute", help="Nothing is distributed."),
        Option("-a", "--all", help="Accepted for old scripts."),
        Option("-p", "--product", metavar="PRODUCT", help="Accepted for old scripts."),
    ),
    arguments=(Argument("FILE", help="Licence files or names.", many=True, complete="file"),),
    examples=(("clplcnsc -l", "says that no licence is needed"),),
)

SENTENCE = "No licence is needed for this cluster: clptools keeps none."


def run(args: Args) -> Answer:
    what = one_of(COMMAND, args, "register", "list", "delete", "distribute")
    last = [] if what == "list" else [SUCCEEDED]
    return Answer("\n".join([SENTENCE, *last]), {"licences": [], "text": SENTENCE})
