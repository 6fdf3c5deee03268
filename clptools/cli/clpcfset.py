"""`clpcfset`: a configuration built and changed, one step a call or by questions."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from clptools.cli.command import (
    FOLDER,
    FORCE,
    SUCCEEDED,
    Answer,
    Args,
    Argument,
    Command,
    Option,
    done,
)
from clptools.faults import ClpError, ExitCode
from clptools.paths import config_file

if TYPE_CHECKING:
    from clptools.cli.cfset_session import Session

COMMAND = Command(
    "clpcfset",
    summary="build and change a configuration step by step",
    synopsis=(
        "wizard",
        "create NAME [CHARSET] [--force]",
        "add KIND ... [KEY=VALUE...]",
        "set PATH=VALUE...",
        "unset PATH...",
        "del KIND NAME",
        "rename KIND OLD NEW",
        "move KIND NAME PLACE",
        "show [PATH]",
    ),
    description=(
        (
            "It edits clp.toml in the current folder, or in the place that -x or --file name. "
            "create and wizard make the file. The file is written whole or not at all. Comments "
            "stay, unless they belong to something that is removed. If a change cannot be made in "
            "the file as it is written, clpcfset says so and changes nothing. Nothing takes effect "
            "before clpcfctrl --push -x DIR. If the current folder has no clp.toml and you name "
            "none, show shows this server's."
        ),
        (
            "Kinds are server (srv), interconnect (hb), np, fence, server_group (svg), group "
            "(grp), resource (rsc), monitor (mon), snmpv3_user, trap_profile and trap, a trap "
            "table of a trap profile; in a PATH also cluster, forced_stop and alert. A PATH is "
            "KIND.NAME.KEY: monitor.mrw1.recovery.target, server.server1.bmc.address, "
            "interconnect.lanhb1.address.server2, cluster.lease. Every key of clp.toml(5) can be "
            "set; write lists with commas and tables as A=1,B=2, or both as in the file."
        ),
        (
            "add server NAME [PLACE]; add interconnect TYPE [NAME]; add np TYPE [NAME]; add fence "
            "NAME; add group NAME; add resource GROUP TYPE NAME; add monitor TYPE [NAME]; add "
            "trap_profile NAME; add trap PROFILE [NAME]; each may be followed by keys, such as "
            "category=NIC. A trap without a name, or one of several with the same name, is named "
            "by its number in its profile, from 1: trap_profile.site.trap.2.class. To add a second "
            "trap of a name, leave NAME out and write name=NAME. add with a name that exists "
            "changes the keys of that object. A new exec resource gets templates of its scripts "
            "beside the file, if they are missing."
        ),
        (
            "del KIND NAME, rename and move: if several profiles have a trap of that name, write "
            "the profile before it: del trap site fan. move gives an object another place among "
            "the objects of its kind, counted from 0: after move trap site fan 0, that trap "
            "decides first."
        ),
        (
            "The original's forms are accepted: add srv, device, hb, np pingnp, np httpnp, grp, "
            "grpparam, rsc, rscparam, rscdep, mon, monparam and clsparam with its tag paths, and "
            "del with the same words without the value. They write out the original's defaults "
            "that differ from those of clptools. In any order and any number of times, they give "
            "the same result as clpcfctrl --import of such a file. If nothing is lost, or somebody "
            "has to decide, a parameter leads to a note (0). If something is lost, it is refused "
            "with the reason (8), as are mirror disks, COM and disk heartbeats; later lines about "
            "a refused object say so. Devices are numbered as in a clp.conf, or from 0 in each "
            "type. Values given in these forms that clp.toml cannot hold are kept beside it in "
            "clp.toml.clpcfset. If both differ, clp.toml counts."
        ),
        (
            "A value is checked at once (8), and so is the name of an object (5). clpcfset accepts "
            "a configuration that is not complete yet; clpcfchk says whether all of it fits "
            "together. rename also changes every reference, and the folder of scripts. del removes "
            "the name of a server from lists and addresses, and says where else it is still named. "
            "If there is no userw monitor, the agents add one, as clpcfchk notes."
        ),
        (
            "wizard asks step by step for what the original's window asked for: cluster, servers, "
            "interconnects, NP resolution, groups, resources, monitors. If the file exists, wizard "
            "changes it. It shows what clpcfchk says before it writes. After Ctrl-C nothing is "
            "written. It reads lines, so the answers may also come from a pipe."
        ),
    ),
    options=(
        FOLDER,
        Option("--file", metavar="FILE", help="The file itself.", complete="file"),
        FORCE,
    ),
    arguments=(
        Argument(
            "VERB",
            help="What to do.",
            required=True,
            complete="wizard create add set unset del rename move show",
        ),
        Argument("WORD", help="The words after VERB, as above.", many=True, complete="line"),
    ),
    examples=(
        ("clpcfset create cluster && clpcfset add server server1", "a new clp.toml here"),
        ("clpcfset set server.server1.bmc.address=192.168.0.11", "the BMC of server1"),
        ("clpcfset add mon mrw mrw1 category=NIC keyword=eth0", "a monitor with its keys"),
        ("clpcfset add monparam genw genw1 polling/interval 30", "the form of the original"),
        (
            "clpcfset add trap site fan match=0.7 class=ERROR",
            "a vendor's trap, in the trap profile site",
        ),
        ("clpcfset rename server server2 db2 -x /etc/clptools", "renames it wherever it is named"),
        ("clpcfset show monitor.mrw1", "its keys, with defaults and what they mean"),
    ),
)

MAIN = "clp.toml"


def run(args: Args) -> Answer:
    _load_msgspec()
    from clptools.cli.cfset_session import opened

    # A script with the line ends of Windows leaves a return after each last word.
    verb, *words = (word.removesuffix("\r") for word in args.words or ("",))
    path = args.text("file") or os.path.join(args.text("dir"), MAIN)
    if args.given("file") and args.given("dir"):
        raise ClpError(ExitCode.USAGE, "Give -x or --file, not both.")
    if verb == "show":
        anywhere = args.given("file") or args.given("dir") or os.path.lexists(path)
        return show(opened(path if anywhere else config_file()), words)
    if verb == "wizard":
        from clptools.cli.wizard import run as ask

        _none("wizard", words)
        return ask(path, as_json=args.given("json"))
    if verb != "create" and verb not in _VERBS:
        from clptools.config.field import near

        hint = near(verb, ("wizard", "create", *_VERBS, "show"))
        raise ClpError(ExitCode.USAGE, f"{verb}: no such verb.", hint)
    return edit(path, verb, words, force=args.given("force"))


def _load_msgspec() -> None:
    """msgspec without typing_extensions, a tenth of the time of a step.

    It takes three names from there if it is installed and from `typing` if not, where they are
    the same.
    """
    if "msgspec" in sys.modules or "typing_extensions" in sys.modules:
        return
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]  # as if not installed
    try:
        import msgspec  # noqa: F401  # for everything that imports it later
    finally:
        del sys.modules["typing_extensions"]


def edit(path: str, verb: str, words: list[str], *, force: bool = False) -> Answer:
    """One verb on the file; `force`: create makes it anew where it is there already."""
    from clptools.cli.cfset_session import alone, opened

    with alone(path):
        if verb == "create":
            session = create(path, words, force=force)
        else:
            session = opened(path)
            _VERBS[verb](session, words)
        _still_to_set(session)
        changed = session.save()
    text = "\n".join([*session.notes, SUCCEEDED])
    return done(text, file=path, changed=changed, notes=session.notes)


def create(path: str, words: list[str], *, force: bool) -> Session:
    """A new file; the character set, its encoding and the system are the original's."""
    from clptools.cli.cfset_session import HEAD, Session, read, usage
    from clptools.config.files import CONFIG_MODE, replace_file

    if not 1 <= len(words) <= 4:
        raise usage("create", "NAME [CHARSET [ENCODE [OS]]]")
    charset = words[1] if len(words) > 1 else "UTF-8"
    if charset not in CHARSETS:
        text = f"{charset}: no such character set."
        raise ClpError(ExitCode.USAGE, text, f"Known: {', '.join(CHARSETS)}; the file is UTF-8.")
    if os.path.lexists(path):
        if not force:
            hint = "Edit it with the other verbs, or make a new one all the same: --force"
            raise ClpError(ExitCode.REFUSED, f"{path}: is there already.", hint)
        replace_file(f"{path}.bak", read(path).encode(), CONFIG_MODE)
    session = Session(path, HEAD, new=True)
    with contextlib.suppress(OSError):
        os.unlink(session.told_path)  # it is of the file before
    session.config.set("cluster.name", words[0])
    if os.path.lexists(path):
        session.note(f"The file as it was is {path}.bak.")
    return session


CHARSETS = ("UTF-8", "EUC-JP", "ASCII", "GB2312", "SJIS")


def _set(session: Session, words: list[str]) -> None:
    from clptools.cli.cfset_session import usage

    if len(words) == 2 and "=" not in words[0]:
        words = ["=".join(words)]
    if not words or any("=" not in word.partition(".")[2] for word in words):
        raise usage("set", "PATH=VALUE...", "A PATH is KIND.NAME.KEY, as monitor.mrw1.interval.")
    for word in words:
        path, _, value = word.partition("=")
        session.config.set(path, value)


def _still_to_set(session: Session) -> None:
    """Says how to give a server that joins the addresses that all others have."""
    from clptools.config.references import lacking

    where = f" -x {session.folder}" if session.folder else ""
    for server in session.joined:
        paths = lacking(session.config, server)
        if paths:
            given = " ".join(
                f"{path}={'USER' if path.endswith('bmc.user') else 'ADDRESS'}" for path in paths
            )
            session.note(f"{server} still needs: clpcfset set {given}{where}")
        lists = [
            f"group.{one.name}.servers"
            for one in session.config.all_of("group")
            if "servers" in one.table and server not in one.table["servers"]
        ]
        if lists:
            session.note(f"No group moves to {server} before it is in: {', '.join(lists)}")


def _unset(session: Session, words: list[str]) -> None:
    from clptools.cli.cfset_session import usage

    if not words:
        raise usage("unset", "PATH...")
    for path in words:
        if not session.config.take_out(path):
            session.note(f"{path} was not set.")


def _add(session: Session, words: list[str]) -> None:
    from clptools.cli.cfset_forms import add

    add(session, words)


def _delete(session: Session, words: list[str]) -> None:
    from clptools.cli.cfset_forms import delete

    delete(session, words)


def _rename(session: Session, words: list[str]) -> None:
    from clptools.cli.cfset_forms import named
    from clptools.cli.cfset_session import usage
    from clptools.config.edit import kind_of
    from clptools.config.references import rename

    if len(words) < 3:
        raise usage("rename", "KIND OLD NEW")
    found = named(session.config, kind_of(words[0]), words[1:-1], "rename")
    session.rename_scripts(found, words[-1])
    followed = rename(session.config, found, words[-1])
    if followed:
        session.note(f"Also changed: {'; '.join(followed)}.")
    if found.kind == "server" and "bmc" in found.table:
        session.note(f"The password of its BMC is by name: clpbmccnf {words[-1]}")


def _move(session: Session, words: list[str]) -> None:
    from clptools.cli.cfset_forms import named
    from clptools.cli.cfset_session import digits, usage
    from clptools.config.edit import kind_of

    if len(words) < 3:
        raise usage("move", "KIND NAME PLACE", "Places count from 0.")
    found = named(session.config, kind_of(words[0]), words[1:-1], "move")
    place = digits("PLACE", words[-1])
    session.place_noted(place, len(found.siblings) - 1)
    session.config.move(found, place)


_VERBS: dict[str, Callable[[Session, list[str]], None]] = {
    "add": _add,
    "set": _set,
    "unset": _unset,
    "del": _delete,
    "rename": _rename,
    "move": _move,
}


def _none(verb: str, words: list[str]) -> None:
    if words:
        raise ClpError(ExitCode.USAGE, f"{verb} takes no words, not {len(words)}.")


def tell_unpushed(path: str) -> None:
    """Says on stderr that what is shown is not what the cluster runs with."""
    from clptools.config import history

    number = history.in_force() if os.path.realpath(path) == os.path.realpath(config_file()) else 0
    edit = history.edit(number) if number else ""
    if edit:
        text = f"clpcfset: {path} {edit}: revision {number} is in force (clpcfctrl --diff)."
        print(text, file=sys.stderr)


def show(session: Session, words: list[str]) -> Answer:
    """The objects there are, the keys of one, or one key's value."""
    from clptools.cli.cfset_forms import key, keys, overview
    from clptools.config.edit import SHORT, SORTS
    from clptools.config.table import SINGLE

    if len(words) > 1:
        raise ClpError(ExitCode.USAGE, "show takes one PATH.")
    tell_unpushed(session.path)
    if not words:
        return overview(session.config)
    head, _, rest = words[0].partition(".")
    if head in SINGLE and not rest:
        return keys(session.config, words[0])
    if (head in SORTS or head in SHORT) and not session.config.object_at(words[0])[1]:
        return keys(session.config, words[0])
    return key(session.config, words[0])
