"""`clpcfctrl`: the configuration, distributed, fetched, compared, undone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from clptools.api.client import Client, Json, user
from clptools.cli.command import (
    FORCE,
    SUCCEEDED,
    Answer,
    Args,
    Argument,
    Command,
    Option,
    done,
    host,
)
from clptools.cli.requests import one_of, outcome
from clptools.faults import ClpError, ExitCode
from clptools.paths import authkey_file, config_dir, server_name

if TYPE_CHECKING:
    from clptools.core.model.settings import Pushed

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
    ),
    description=(
        (
            "A configuration is a folder: clp.toml and scripts/. --push checks it on every "
            "server and puts it in force on all of them, or on none; the node agents do that, so "
            "they must run. What lies in /etc/clptools is what people edit: an agent starts with "
            "what was pushed last, whatever that file says, and tells of the difference; a push "
            "from elsewhere keeps it as clp.toml.edited, and edited scripts below scripts.edited. "
            "An agent on a new server needs nothing but the authkey; the passwords of new BMCs can "
            "be stored on the other servers before (clpbmccnf --new)."
        ),
        (
            "Servers, NP resolution and the lengths of leases may change while groups run: until "
            "every server has the change, a majority must be one by both configurations, and of "
            "two lengths the safer counts. A server can be removed when it has left (clpcl -t) "
            "or was confirmed down. It then forgets the configuration; if it does not answer, "
            "its clp.toml and history/ must go before it boots; the push says how."
        ),
        (
            "A push takes away every script that its folder lacks. It is refused (exit code 6) "
            "where clp.toml still names one that is in force, because a group could neither start "
            "nor stop; with --force it is done."
        ),
        (
            "A push goes on without a server that is proven down: its BMC reads off, it has left, "
            "or it was confirmed down. Of one that is not, --without SERVER says that you take "
            "that upon yourself, which is recorded. Where servers, NP resolution, leases or BMCs "
            "change, that is not enough: the server must have left, or be confirmed down (clpnode "
            "confirm-down). A server that missed a change takes it over from another one when it "
            "is back, and takes no part before."
        ),
        (
            "Every configuration that was in force is kept under a number, with its scripts, and "
            "with who pushed it, where and how. --rollback puts an old one in force again, as a "
            "new number. Of the one in force it writes the files again: so an edit is dropped."
        ),
        (
            "--import translates a clp.conf of EXPRESSCLUSTER X into DIR/clp.toml (DIR: the "
            "current folder). It names what is done in another way here, what needs your decision "
            "and what is lost, with its value, and counts them. Read that before --push. Of a "
            "folder with a clp.conf it also copies scripts/, which has the same layout. A file of "
            "EXPRESSCLUSTER for Windows is refused without --force."
        ),
        (
            "--export writes what a clp.conf can say of the configuration in DIR "
            "(/etc/clptools), and names the rest. A script that edits a clp.conf works on that: "
            "--export, edit, --import with --merge, which changes in the clp.toml that is there "
            "only what the file now says otherwise, and then --push."
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
            help="Show what differs: between N and M, N and the one in force, or that and DIR.",
            complete="revision",
        ),
        Option(
            "--rollback",
            help="Put configuration N in force again; its files, if it is.",
            complete="revision",
        ),
        Option(
            "--without",
            metavar="SERVER",
            many=True,
            help="Push although this server is not reached, on your word.",
            complete="server",
        ),
        Option(
            "--import",
            metavar="CLP.CONF",
            help="Translate this file, or that of this folder.",
            complete="file",
        ),
        Option(
            "--merge", help="With --import: change the clp.toml that is there where it differs."
        ),
        Option(
            "--export",
            metavar="CLP.CONF",
            help="Write the configuration in DIR as this file.",
            complete="file",
        ),
        Option("--keygen", help="Make the authkey, the secret that all servers share."),
        Option("-x", "--dir", metavar="DIR", help="The folder.", complete="directory"),
        host(
            "Accepted for old scripts: --push gives the configuration to all its servers, and "
            "--pull fetches what is in force on all; HOST must be one of them."
        ),
        Option("-p", "--port", metavar="PORT", help="Accepted for old scripts.", whole=True),
        Option("-l", "--linux", help="Accepted for old scripts; there is one format."),
        Option("-w", "--windows", help="Accepted for old scripts; there is one format."),
        Option("--nocheck", help="Accepted for old scripts; it is checked all the same."),
        FORCE,
    ),
    arguments=(Argument("N", help="Numbers of configurations.", many=True),),
    examples=(
        ("clpcfctrl --push", "after clp.toml was edited on this server"),
        ("clpcfctrl --diff 3", "what changed since configuration 3"),
        ("clpcfctrl --rollback 3", "undoes it"),
    ),
)

DISTRIBUTED_WITHIN_S = 120.0
MAIN = "clp.toml"


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
    )
    what = one_of(COMMAND, args, *actions)
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
            return translate(args.text("import"), folder or ".", force=force, merge=merge)
        case "export":
            from clptools.cli.of_clp_conf import export

            force = args.given("force")
            return export(args.text("export"), folder or config_dir(), force=force)
        case _:
            return keygen(args.given("force"))


def _numbers(what: str, words: tuple[str, ...]) -> tuple[int, ...]:
    most, fewest = {"diff": (2, 0), "rollback": (1, 1)}.get(what, (0, 0))
    if not fewest <= len(words) <= most:
        takes = "the number of a configuration" if most else "no number"
        raise ClpError(ExitCode.USAGE, f"--{what} takes {takes}.", "List them: clpcfctrl --history")
    for word in words:
        if not (word.isascii() and word.isdigit()):
            raise ClpError(
                ExitCode.USAGE, f"{word}: not a number.", "List them: clpcfctrl --history"
            )
    return tuple(int(word) for word in words)


def push(folder: str, without: Sequence[str], server: str = "", *, force: bool = False) -> Answer:
    """A folder, to all servers or none; what servers lack for it comes first, and holds nothing
    up.  `server`: one that must be among them."""
    from clptools.cli.clpcfchk import warnings_of_others
    from clptools.config.facts import is_replaced
    from clptools.config.history import revision

    base = revision()
    files = read(folder)
    if server:
        _must_have(files[MAIN], server)
    if not force:
        _must_keep_scripts(files[MAIN], folder)
        _must_fit_agents(files[MAIN], folder)
    lacks = warnings_of_others(
        files[MAIN], os.path.join(folder, MAIN), partial(is_replaced, folder), folder
    )
    how = "import" if _is_import(files[MAIN]) else ""
    answer = distribute(files, how=how, without=without)
    answer.text = "\n".join([*_not_read(folder), *lacks, *_meanwhile(base), answer.text])
    return answer


def _not_read(folder: str) -> list[str]:
    """That a `clp.conf` was edited there: who knows the original believes that it is pushed."""
    from clptools.cli.of_clp_conf import CLP_CONF, is_edited

    conf = os.path.join(folder, CLP_CONF)
    if not is_edited(conf, os.path.join(folder, MAIN)):
        return []
    return [
        f"{conf} is newer than {MAIN}, and is not pushed.",
        f"  Take its changes over first: clpcfctrl --import {conf} -x {folder} --merge",
    ]


def _must_keep_scripts(text: str, folder: str) -> None:
    """Raises ClpError (REFUSED) where the push would take away a script that is in force and
    still named: a group that runs could not be stopped any more."""
    from clptools.config.check_machine import left_out
    from clptools.config.load import loads
    from clptools.core.phrases import listed
    from clptools.registries import registries

    missing = left_out(loads(text, registries(), MAIN), folder, registries())
    lost = sorted(missing.keys() & in_force()[0].keys()) if missing else []
    if lost:
        them = "it" if len(lost) == 1 else "them"
        raise ClpError(
            ExitCode.REFUSED,
            f"{folder} lacks {listed(lost)}: its {MAIN} names {them}, and the push would take "
            f"{them} away from every server.",
            "All that is in force, with its scripts: clpcfctrl --pull -x NEW. Push all the same: "
            "--force",
        )


def _must_fit_agents(text: str, folder: str) -> None:
    """Raises ClpError (INVALID_CONFIG) where the resource agents of this server do not take what
    they are given, or are not there."""
    from clptools.config.agents import agent_faults
    from clptools.config.check_machine import agent_reports
    from clptools.config.load import loads
    from clptools.registries import registries

    loaded = loads(text, registries(), os.path.join(folder, MAIN))
    if loaded.settings is None:
        return
    faults = agent_faults(loaded.settings, server_name())
    errors = [one for one in agent_reports(faults, loaded) if one.severity == "error"]
    if errors:
        more = f" ({len(errors) - 1} more: clpcfchk {folder})" if len(errors) > 1 else ""
        first = errors[0]
        hint = f"{first.hint} Push all the same: --force".strip()
        raise ClpError(ExitCode.INVALID_CONFIG, f"{first}{more}", hint)


def _must_have(text: str, host: str) -> None:
    """Raises ClpError (NO_SUCH) unless a configuration has that server, by name or address."""
    from clptools.cli.requests import server_called
    from clptools.cli.stat_configuration import settings_of
    from clptools.config.load import loads
    from clptools.faults import known
    from clptools.registries import registries

    settings = settings_of(loads(text, registries(), MAIN), 0)
    servers: list[Json] = [
        {"name": name, "addresses": list(settings.addresses_of(name))} for name in settings.names
    ]
    if server_called({"servers": servers}, host) not in settings.names:
        text = f"{host}: no server of this configuration."
        raise ClpError(ExitCode.NO_SUCH, text, known(settings.names, host))


def _is_import(text: str) -> bool:
    """Whether it was translated since the one in force, which was not."""
    from clptools.cli.of_clp_conf import IMPORTED
    from clptools.config.history import text_in_force

    if not text.startswith(IMPORTED):
        return False
    with contextlib.suppress(OSError, ClpError, UnicodeDecodeError):
        before, number = text_in_force()
        return not (number and before.startswith(IMPORTED))
    return True


def _meanwhile(base: int) -> list[str]:
    """What others put in force after revision `base`, so that our push did not know it."""
    from clptools.config.history import entries

    kept = entries()
    here = server_name()
    ours = max((e.number for e in kept if e.pushed and e.pushed.server == here), default=0)
    return [
        f"Revision {e.number} came meanwhile ({_by(e.pushed).strip()}) and was replaced: what it "
        f"changed is undone. See: clpcfctrl --diff {e.number} {ours}"
        for e in kept
        if base < e.number < ours
    ]


def distribute(
    files: dict[str, str], *, dry_run: bool = False, how: str = "", without: Sequence[str] = ()
) -> Answer:
    """To all servers or none; `dry_run` only compares."""
    more: dict[str, object] = {"how": how} if how else {}
    if without:
        more["without"] = list(without)
    with Client() as client:
        client.finish_within(DISTRIBUTED_WITHIN_S)
        reply = client.call("PushConfig", files=files, dry_run=dry_run, user=user(), **more)
    ended = reply.get("outcome")
    answer = outcome(ended if isinstance(ended, dict) else {})
    if not dry_run and answer.text != SUCCEEDED:
        answer.text = f"{answer.text}\n{SUCCEEDED}"
    return answer


def read(folder: str) -> dict[str, str]:
    """`clp.toml` and scripts of a folder, checked.

    Raises ClpError: INVALID_CONFIG with every error, FAILED where a script cannot be distributed.
    """
    from clptools.cli.render.findings import render_text
    from clptools.config.load import load
    from clptools.config.scripts import script_text
    from clptools.registries import registries

    main = os.path.join(folder, MAIN)
    loaded = load(main, registries())
    if loaded.settings is None:
        raise ClpError(ExitCode.INVALID_CONFIG, render_text(loaded.reports, None))
    files = {MAIN: loaded.text}
    inside = os.path.realpath(folder)
    for path in script_paths(folder):
        script = os.path.join(folder, path)
        if not os.path.realpath(script).startswith(f"{inside}/"):
            raise ClpError(
                ExitCode.FAILED,
                f"{script}: is a symbolic link that leads out of {folder}.",
                "Its text would go to every server; put a copy in its place if it should.",
            )
        files[path] = script_text(script)
    return files


def script_paths(folder: str) -> list[str]:
    """The scripts below a folder, relative to it."""
    return [
        os.path.relpath(os.path.join(place, name), folder)
        for place, _, names in os.walk(os.path.join(folder, "scripts"))
        for name in sorted(names)
    ]


def in_force() -> tuple[dict[str, str], int]:
    """The configuration of the agent, and its number."""
    with Client() as client:
        reply = client.call("GetConfig")
    files, number = reply.get("files"), reply.get("revision")
    if not isinstance(files, dict):
        raise ClpError(ExitCode.FAILED, "The node agent sent no configuration.")
    return {str(path): str(text) for path, text in files.items()}, int(str(number or 0))


def pull(folder: str, server: str = "") -> Answer:
    """The configuration in force, into a folder; `server`: one for which it must be in force."""
    from clptools.config.files import CONFIG_MODE, replace_file

    files, number = in_force()
    if server:
        _must_have(files[MAIN], server)
    for path, text in files.items():
        if path != MAIN and (not path.startswith("scripts/") or ".." in path.split("/")):
            raise ClpError(ExitCode.FAILED, f"{path}: does not belong into a configuration.")
        target = os.path.join(folder, path)
        os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
        replace_file(target, text.encode(), CONFIG_MODE if path == MAIN else 0o750)
    count = f"{len(files)} file{'s' if len(files) != 1 else ''}"
    what = f"{count} of revision {number}" if number else count
    place = os.path.abspath(folder)
    return done(f"{what} written into {place}.\n{SUCCEEDED}", files=sorted(files))


def history() -> Answer:
    """What is kept on this server."""
    import time

    import msgspec

    from clptools.config.history import entries

    kept = entries()
    current = kept[-1].number if kept else 0
    lines = [
        f"{entry.number:>5}  {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(entry.saved_at))}"
        f"  {entry.size:>7} bytes{'  in force' if entry.number == current else ''}"
        f"{_by(entry.pushed)}"
        for entry in kept
    ]
    revisions: list[Json] = [
        {
            "revision": e.number,
            "time": e.saved_at,
            "bytes": e.size,
            "in_force": e.number == current,
            "pushed": None if e.pushed is None else msgspec.to_builtins(e.pushed),
        }
        for e in kept
    ]
    return Answer(
        "\n".join(lines) or "No configuration was ever in force here.", {"history": revisions}
    )


def _by(pushed: Pushed | None) -> str:
    """Who put it in force, where and how."""
    if pushed is None:
        return ""
    who = f" by {pushed.user}" if pushed.user else ""
    where = f" on {pushed.server}" if pushed.server else ""
    lacking = f", without {', '.join(pushed.without)}" if pushed.without else ""
    return f"  {pushed.how}{who}{where}{lacking}"


def diff(numbers: tuple[int, ...], folder: str) -> Answer:
    """What differs, as a unified diff; exit code 9 where anything does.

    Scripts are compared as well, unless an earlier version did not keep those of a revision.
    """
    from clptools.config.history import content, revision, scripts
    from clptools.config.history import diff as compare

    current = revision()
    first = numbers[0] if numbers else current
    old, old_name = (content(first), f"revision {first}") if first else ("", "nothing")
    old_scripts = scripts(first) if first else {}
    if numbers:
        second = numbers[1] if len(numbers) == 2 else current
        in_force = "" if len(numbers) == 2 else " (in force)"
        new, new_name = content(second), f"revision {second}{in_force}"
        new_scripts = scripts(second)
    else:
        new, new_name = _as_it_is(os.path.join(folder, MAIN)), os.path.join(folder, MAIN)
        new_scripts = {path: _as_it_is(os.path.join(folder, path)) for path in script_paths(folder)}
    found = compare(old, new, old_name, new_name)
    if old_scripts is not None and new_scripts is not None:
        for path in sorted({*old_scripts, *new_scripts}):
            there = f"{new_name} {path}" if numbers else os.path.join(folder, path)
            found += compare(
                *(old_scripts.get(path, ""), new_scripts.get(path, "")),
                *(f"{old_name} {path}", there),
            )
    code = ExitCode.FOUND if found else ExitCode.DONE
    text = found.rstrip("\n") or f"{old_name} and {new_name} are the same."
    return Answer(text, {"from": old_name, "to": new_name, "diff": found}, code)


def _as_it_is(path: str) -> str:
    from clptools.common.foreign_files import whole
    from clptools.config.load import MAX_BYTES

    return whole(path, MAX_BYTES).decode(errors="replace")


def rollback(number: int, without: Sequence[str] = ()) -> Answer:
    """An old configuration again, as `push`; of the one in force, its files."""
    from clptools.cli.clpcfchk import warnings_of_others
    from clptools.config import history

    old, scripts, current = history.content(number), history.scripts(number), history.revision()
    same = old == history.content(current) and scripts == history.scripts(current)
    if number == current or same:
        count = history.write_out(current)
        files = f"its {count} files are" if count > 1 else f"its {MAIN} is"
        which = "" if number == current else f" the same as revision {current}, which is"
        return done(
            f"Revision {number} is{which} in force; {files} written again into {config_dir()}."
            f"\n{SUCCEEDED}"
        )
    how, notes = f"rollback to {number}", []
    if scripts is None:
        scripts = {path: text for path, text in in_force()[0].items() if path != MAIN}
        how += ", scripts kept"
        notes = [f"The scripts of revision {number} were not kept: those of today stay."]
    base = config_dir()
    notes += warnings_of_others(
        old, f"revision {number}", lambda path: os.path.relpath(path, base) in scripts
    )
    answer = distribute({**scripts, MAIN: old}, how=how, without=without)
    answer.text = "\n".join([*notes, answer.text])
    return answer


def keygen(force: bool) -> Answer:
    """The authkey.  An existing one is not replaced without `--force`."""
    from clptools.config.files import keygen as make

    path = make(authkey_file(), force=force)
    return done(f"{path} made. Copy it to every server (mode 0400).\n{SUCCEEDED}", file=path)
