"""`clpcfctrl`: the configuration, distributed, fetched, compared, undone."""

from __future__ import annotations

import os

from clptools.cli.cfctrl_distribution import distribute, pull, push, read
from clptools.cli.cfctrl_keys import keygen, keygen_for, keyroll
from clptools.cli.cfctrl_revisions import diff, history, rollback
from clptools.cli.command import (
    FORCE,
    Answer,
    Args,
    Argument,
    Command,
    Option,
    host,
)
from clptools.cli.requests import one_of
from clptools.faults import ClpError, ExitCode
from clptools.paths import config_dir

COMMAND = Command(
    "clpcfctrl",
    summary="distribute, fetch, compare and undo the configuration",
    synopsis=(
        "--push [-x DIR] [-h HOST] [--without SERVER]",
        "--pull [-x DIR] [-h HOST]",
        "--compcheck [-x DIR]",
        "--history",
        "--diff [N [M]] [-x DIR]",
        "--rollback N [--without SERVER]",
        "--import CLP.CONF [-x DIR] [--force | --merge]",
        "--export CLP.CONF [-x DIR] [--force]",
        "--keygen [--force]",
        "--keygen --for clprexec [--name NAME] | --for witness",
        "--keyroll [--cancel]",
    ),
    description=(
        (
            "A configuration is a folder: clp.toml and scripts/. --push checks it on every server "
            "and puts it in force on all of them, or on none. The node agents do this, so they "
            "must run. The files in /etc/clptools are for people to edit. An agent starts with the "
            "configuration that was pushed last, and reports it if the edited file differs. If "
            "another server pushes, the edited file is kept as clp.toml.edited, and edited scripts "
            "below scripts.edited. An agent on a new server needs only the authkey. The passwords "
            "of new BMCs can be stored on the other servers before the push (clpbmccnf --new)."
        ),
        (
            "Servers, NP resolution and the lengths of leases may change while groups run. Until "
            "every server has the change, a majority must be one by both configurations, and the "
            "safer of two lengths counts. A server can be removed after it has left (clpcl -t) or "
            "was confirmed down. It then forgets the configuration. If it does not answer, its "
            "clp.toml and history/ must be removed before it boots; the push says how."
        ),
        (
            "A push removes every script that is not in its folder. It is refused (exit code 6) if "
            "clp.toml still names a script that is in force and would be removed, because a group "
            "could then neither start nor stop. With --force it is done."
        ),
        (
            "A push goes on without a server that is proven down: its BMC reads off, it has left, "
            "or it was confirmed down. For a server that is not proven down, --without SERVER says "
            "that you answer for it; this is recorded. If servers, NP resolution, leases or BMCs "
            "change, that is not enough: the server must have left, or be confirmed down (clpnode "
            "confirm-down). A server that missed a change takes it over from another server when "
            "it is back, and does not take part before."
        ),
        (
            "Every configuration that was in force is kept under a number, with its scripts, and "
            "with a note of who pushed it, where and how. --rollback puts an old configuration in "
            "force again, under a new number. If N is in force, it only writes the files again and "
            "so drops an edit."
        ),
        (
            "--import translates a clp.conf of EXPRESSCLUSTER X into DIR/clp.toml (DIR: the "
            "current folder). It names, with their values, the parameters that are done in another "
            "way here, that need your decision, or that are lost, and counts them. Read this "
            "before --push. From a folder with a clp.conf it also copies scripts/, which has the "
            "same layout. A file of EXPRESSCLUSTER for Windows is refused without --force."
        ),
        (
            "--export writes the configuration in DIR (/etc/clptools) as a clp.conf, and names the "
            "parts that a clp.conf cannot hold. A script that edits a clp.conf works in these "
            "steps: --export, edit, --import with --merge, --push. --merge changes in the existing "
            "clp.toml only what the file now says otherwise."
        ),
        (
            "--keyroll replaces the authkey without a gap, in three steps, each typed by you on "
            "any server: every server accepts the new key beside the old one; every server uses "
            "it; no server accepts the old one any more. Each step needs every server and is safe "
            "to stop at or to repeat; clpstat -s shows where a roll stands. Machines outside with "
            "a secret of the old key need a new one between the last two steps."
        ),
        "Exit code 8: the configuration is invalid; 9: --diff or --compcheck found a difference.",
    ),
    options=(
        Option("--push", help="Distribute the configuration in DIR (/etc/clptools)."),
        Option("--pull", help="Write the configuration in force into DIR (the current folder)."),
        Option("--compcheck", help="Compare every server with the configuration in DIR."),
        Option("--history", help="List the configurations that were in force."),
        Option(
            "--diff",
            help="Show the differences between N and M, between N and the one in force, or between "
            "that one and DIR.",
            complete="revision",
        ),
        Option(
            "--rollback",
            help="Put configuration N in force again; if it is in force, only write its files.",
            complete="revision",
        ),
        Option(
            "--without",
            metavar="SERVER",
            many=True,
            help="Push although this server is not reached; you answer for it.",
            complete="server",
        ),
        Option(
            "--import",
            metavar="CLP.CONF",
            help="Translate this file, or the clp.conf of this folder.",
            complete="file",
        ),
        Option("--merge", help="With --import: change only what differs in the existing clp.toml."),
        Option(
            "--export",
            metavar="CLP.CONF",
            help="Write the configuration in DIR as this file.",
            complete="file",
        ),
        Option("--keygen", help="Make the authkey, the secret that all servers share."),
        Option(
            "--for",
            metavar="PROGRAM",
            help="With --keygen: derive from the authkey the secret of a program on another "
            "machine, and write it beside the authkey as authkey.PROGRAM. PROGRAM is clprexec "
            "(requests, scripts and notices) or witness (clpwitnessd). The secret opens nothing "
            "else, and is valid as long as the authkey is.",
        ),
        Option(
            "--name",
            metavar="NAME",
            help="With --for clprexec: a secret of that name, in authkey.clprexec.NAME, which "
            "[cluster] revoked can take back without a new authkey.",
        ),
        Option(
            "--keyroll",
            help="The next step to a new authkey: every server accepts it beside the old one; "
            "every server uses it; no server accepts the old one any more.",
        ),
        Option("--cancel", help="With --keyroll: undo the first step."),
        Option("-x", "--dir", metavar="DIR", help="The folder.", complete="directory"),
        host(
            "Accepted for old scripts. --push gives the configuration to all its servers, and "
            "--pull fetches the one that is in force on all. HOST must be one of the servers."
        ),
        Option("-p", "--port", metavar="PORT", help="Accepted for old scripts.", whole=True),
        Option("-l", "--linux", help="Accepted for old scripts; there is one format."),
        Option("-w", "--windows", help="Accepted for old scripts; there is one format."),
        Option("--nocheck", help="Accepted for old scripts; the configuration is still checked."),
        FORCE,
    ),
    arguments=(Argument("N", help="Numbers of configurations.", many=True),),
    examples=(
        ("clpcfctrl --push", "puts an edited clp.toml of this server in force"),
        ("clpcfctrl --diff 3", "what changed since configuration 3"),
        ("clpcfctrl --rollback 3", "undoes it"),
    ),
)


def run(args: Args) -> Answer:
    actions = (
        "push",
        "pull",
        "compcheck",
        "history",
        "diff",
        "rollback",
        "import",
        "export",
        "keygen",
        "keyroll",
    )
    what = one_of(COMMAND, args, *actions)
    if args.given("for") and what != "keygen":
        raise ClpError(ExitCode.USAGE, "--for goes with --keygen.")
    if args.given("name") and args.text("for") != "clprexec":
        raise ClpError(ExitCode.USAGE, "--name goes with --keygen --for clprexec.")
    if args.given("cancel") and what != "keyroll":
        raise ClpError(ExitCode.USAGE, "--cancel goes with --keyroll.")
    numbers = _numbers(what, args.words)
    folder = args.text("dir")
    if args.given("host") and what not in ("push", "pull"):
        raise ClpError(ExitCode.USAGE, "-h goes with --push and --pull.")
    match what:
        case "push":
            without, force = args.many("without"), args.given("force")
            return push(folder or config_dir(), without, args.text("host"), force=force)
        case "compcheck":
            return distribute(read(folder or config_dir()), dry_run=True)
        case "pull":
            return pull(folder or ".", args.text("host"))
        case "history":
            return history()
        case "diff":
            return diff(numbers, folder or config_dir())
        case "rollback":
            return rollback(numbers[0], args.many("without"))
        case "import":
            from clptools.cli.of_clp_conf import translate

            merge, force = args.given("merge"), args.given("force")
            _must_be_named(what, args)
            return translate(args.text("import"), folder or ".", force=force, merge=merge)
        case "export":
            from clptools.cli.of_clp_conf import export

            force = args.given("force")
            _must_be_named(what, args)
            return export(args.text("export"), folder or config_dir(), force=force)
        case "keyroll":
            return keyroll(cancel=args.given("cancel"))
        case _:
            if args.given("for"):
                return keygen_for(args.text("for"), args.text("name"))
            return keygen(args.given("force"))


def _must_be_named(what: str, args: Args) -> None:
    if not args.text(what):
        raise ClpError(ExitCode.USAGE, f"--{what} needs the name of a file.", "It is empty.")


def _numbers(what: str, words: tuple[str, ...]) -> tuple[int, ...]:
    most, fewest = {"diff": (2, 0), "rollback": (1, 1)}.get(what, (0, 0))
    if not fewest <= len(words) <= most:
        takes = "the number of a configuration" if most else "no number"
        raise ClpError(ExitCode.USAGE, f"--{what} takes {takes}.", "List them: clpcfctrl --history")
    for word in words:
        if not (word.isascii() and word.isdigit()):
            hint = "List them: clpcfctrl --history"
            if what == "diff" and os.path.isdir(word):
                hint = f"Compare that folder with what is in force: clpcfctrl --diff -x {word}"
            raise ClpError(ExitCode.USAGE, f"{word}: not a number.", hint)
    return tuple(int(word) for word in words)
