"""`clpcfget`: names and values of the configuration by the paths of `clp.conf`."""

from __future__ import annotations

from clptools.cli.command import TYPE_CHECKING, Answer, Args, Command, Option
from clptools.cli.requests import one_of
from clptools.faults import ClpError, ExitCode

if TYPE_CHECKING:
    from clptools.config.clpconf import Node

COMMAND = Command(
    "clpcfget",
    summary="print names and values of the configuration by the paths of clp.conf",
    synopsis=("-e PATH [-x DIR]", "-g PATH [-x DIR]"),
    description=(
        (
            "Reads the configuration in force as clpcfctrl --export would write it, for scripts "
            "that use the paths of clp.conf. -e prints the names of all elements of a path, one on "
            "each line: -e /root/monitor/types prints the types that exist, -e /root/monitor/genw "
            "the monitors of that type. For an element whose children have no names, and for "
            "/root, it prints their tags. For a path with no elements it prints nothing (0). -g "
            "prints the text of one element; it is an error if the element does not exist (5)."
        ),
        (
            "An export contains only what clp.conf can hold. A parameter that has its default may "
            "be missing, as in the original's own files."
        ),
    ),
    options=(
        Option("-e", "--entries", metavar="PATH", help="Print names."),
        Option("-g", "--get", metavar="PATH", help="Print a value."),
        Option(
            "-x",
            "--dir",
            metavar="DIR",
            help="Read clp.toml in this folder instead.",
            complete="directory",
        ),
    ),
    examples=(
        ("clpcfget -e /root/monitor/types", "userw, mrw, ... one a line"),
        ("clpcfget -g /root/resource/fip@fip1/parameters/ip", "the address of fip1"),
    ),
)


def run(args: Args) -> Answer:
    what = one_of(COMMAND, args, "entries", "get")
    path = args.text(what).strip("/")
    whole = path == "root" and what == "entries"
    path = "" if whole else path.removeprefix("root/")
    if not whole and path in ("", "root"):
        raise ClpError(ExitCode.USAGE, "PATH begins as in /root/monitor/types.")
    root = tree(args.text("dir"))
    if what == "entries":
        found = _tags(root) if whole else names(root, path)
        return Answer("\n".join(found), {"path": f"/root/{path}".rstrip("/"), "names": found})
    node = root.find(path, loose=True)
    if node is None:
        raise ClpError(ExitCode.NO_SUCH, f"/root/{path}: not there.", "See: clpcfctrl --export")
    return Answer(node.text, {"path": f"/root/{path}", "value": node.text})


def tree(folder: str) -> Node:
    """The export of the configuration in force, or of that in a folder.  Raises ClpError."""
    import os
    import tomllib

    from clptools.cli.cfset_session import text_at
    from clptools.cli.stat_configuration import configuration_in_force
    from clptools.config.document import Document
    from clptools.config.edit import Configuration
    from clptools.config.exporter import exported
    from clptools.registries import registries

    text = text_at(os.path.join(folder, "clp.toml")) if folder else configuration_in_force()
    try:
        return exported(Configuration(Document(text), registries())).root
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ClpError(
            ExitCode.INVALID_CONFIG, f"Not TOML: {error}.", "Check it: clpcfchk"
        ) from None


def names(root: Node, path: str) -> list[str]:
    """The labels of all elements at a path, else the tags of what is in the first one."""
    above, _, tag = path.rpartition("/")
    parent = root.find(above, loose=True) if above else root
    if parent is None:
        return []
    found = parent.all(tag)
    labels = [node.label for node in found if node.label]
    if labels:
        return labels
    inside = parent.find(tag, loose=True)
    return _tags(inside) if inside else []


def _tags(node: Node) -> list[str]:
    return list(dict.fromkeys(child.step for child in node.children))
