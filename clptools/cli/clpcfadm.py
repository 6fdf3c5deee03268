"""`clpcfadm`: the words of the original's newer editor of configurations, on `clp.toml`."""

from __future__ import annotations

import os

from clptools.cli.clpcfset import MAIN, edit
from clptools.cli.command import FOLDER, Answer, Args, Argument, Command, Option
from clptools.faults import ClpError, ExitCode

COMMAND = Command(
    "clpcfadm",
    summary="change a configuration by the words of the original's editor",
    synopsis=(
        "add rsc GROUP TYPE NAME",
        "add rscdep TYPE NAME DEPENDS-ON",
        "add mon TYPE NAME",
        "mod -t PATH --set VALUE [--nocheck]",
    ),
    description=(
        (
            "It edits clp.toml in the current folder. clpcfset(8) has the same words and more. "
            "Nothing takes effect before clpcfctrl --push -x DIR. PATH is a path of clp.conf, with "
            "or without /root/ before it: monitor/genw@genw1/polling/interval, "
            "resource/exec@exec1/parameters/timeout/start, group@failover1/failback, "
            "cluster/heartbeat/timeout. A parameter without equivalent is refused with the reason "
            "(8)."
        ),
    ),
    options=(
        Option("-t", "--tag", metavar="PATH", help="With mod: the parameter to set."),
        Option("-s", "--set", metavar="VALUE", help="The new value. -set also works."),
        Option("--nocheck", help="Accepted for old scripts; the configuration is still checked."),
        FOLDER,
    ),
    arguments=(
        Argument("VERB", help="add or mod.", required=True, complete="add mod"),
        Argument("WORD", help="The words after VERB, as above.", many=True),
    ),
    examples=(
        ("clpcfadm mod -t monitor/genw@genw1/polling/interval --set 30", "every 30 seconds"),
    ),
)

ADDED = ("rsc", "rscdep", "mon")
PARAMETERS = {"group": "grpparam", "resource": "rscparam", "monitor": "monparam"}


def run(args: Args) -> Answer:
    verb, words = args.word(), list(args.words[1:])
    path = os.path.join(args.text("dir"), MAIN)
    if verb == "add":
        if not words or words[0] not in ADDED:
            raise ClpError(
                ExitCode.USAGE, f"add takes {', '.join(ADDED)}.", "More: clpcfset --help"
            )
        return edit(path, "add", words)
    if verb != "mod":
        raise ClpError(ExitCode.USAGE, f"{verb}: no such verb.", "Known: add, mod")
    value = args.text("set")
    if value == "et" and len(words) == 1:
        value = words.pop()  # `-set VALUE`: one dash, as documents of the original have it, too
    if words or not args.given("tag") or not args.given("set"):
        raise ClpError(ExitCode.USAGE, "mod needs -t PATH --set VALUE.")
    return edit(path, "add", statement(args.text("tag"), value))


def statement(path: str, value: str) -> list[str]:
    """The same for `clpcfset add`.  Raises ClpError (USAGE)."""
    path = path.strip("/").removeprefix("root/")
    first, _, rest = path.partition("/")
    kind, _, name = first.partition("@")
    if kind not in PARAMETERS:
        return ["clsparam", path, value]
    if kind == "group":
        return [PARAMETERS[kind], "failover", name, rest, value]
    sort, _, tag = rest.partition("/")
    type, at, name = sort.partition("@")
    if not at or not tag:
        text = f"{path}: names no parameter of an object."
        raise ClpError(ExitCode.USAGE, text, "As in: monitor/genw@genw1/polling/interval")
    return [PARAMETERS[kind], type, name, tag, value]
