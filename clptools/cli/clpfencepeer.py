"""`clpfencepeer`: what DRBD's handlers ask the cluster."""

from __future__ import annotations

import os
import subprocess
import time
import tomllib

from clptools.cli.command import TYPE_CHECKING, Answer, Args, Command, Option, wait
from clptools.cli.requests import Json, follow, objects, outcome
from clptools.faults import ClpError, ExitCode
from clptools.paths import server_name

if TYPE_CHECKING:
    from clptools.cli.json_types import OutdateCopyJson

COMMAND = Command(
    "clpfencepeer",
    summary="tell DRBD whether it is proven that its peer's copy will not be used (fence-peer "
    "handler)",
    synopsis=(
        "[-r RESOURCE] [--peer SERVER] [-w SEC]",
        "--clear | --clear-peer [-r RESOURCE] [--peer SERVER] [-f]",
    ),
    description=(
        (
            "A handler for drbd.conf(5), with fencing resource-and-stonith. When DRBD has lost its "
            "peer, it writes nothing until this command has ended. The command ends with 4, 6 or 7 "
            "only if this is proven: the peer's agent has noted on its disk that its copy is "
            "behind (4); the peer runs the group itself (6); the peer is off, because its power "
            "has read off since DRBD asked, or because a person confirmed it with clpnode "
            "confirm-down (7). It waits until one of these is known. After the time of -w it ends "
            "with 1, and DRBD goes on waiting for the peer. It never ends with DRBD's 3 or 5."
        ),
        (
            "It is refused (1) on a server that does not run the group, and on a server whose own "
            "copy is not UpToDate according to drbdadm dstate. After a boot without the peer "
            "nobody knows which copy is newer, so a person has to decide (docs/storage.md)."
        ),
        (
            "A server whose copy is behind does not take the group, under any coordinator, also "
            "after a boot. clpstat --explain GROUP names it. --clear ends this on that server, in "
            "the handler after-resync-target or by hand. --clear-peer ends it for the peer, in "
            "unfence-peer of DRBD 9. Both are refused if drbdadm dstate does not call that copy "
            "UpToDate. -f overrides this; if the group then starts there, data that was written "
            "since is lost."
        ),
        (
            "RESOURCE is the group resource of agent ocf:linbit:drbd whose drbd_resource is "
            "$DRBD_RESOURCE, as DRBD sets it. SERVER is by default the other server of the group; "
            "if there are several, the one that $DRBD_PEERS names, if it names one."
        ),
    ),
    options=(
        Option(
            "-r",
            "--resource",
            metavar="RESOURCE",
            help="The group resource that mirrors the data.",
            complete="resource",
        ),
        Option("--peer", metavar="SERVER", help="The server that was lost.", complete="server"),
        Option("--clear", help="The copy on this server is in sync again."),
        Option("--clear-peer", help="The copy on the peer is in sync again."),
        Option(
            "-f",
            "--force",
            help="With --clear or --clear-peer: do it whatever DRBD says of the copy.",
        ),
        wait("Wait this long for proof (120)."),
    ),
    examples=(
        ('fence-peer "/usr/sbin/clpfencepeer";', "in the section handlers of drbd.conf"),
        ('after-resync-target "/usr/sbin/clpfencepeer --clear";', "beside it"),
        ('unfence-peer "/usr/sbin/clpfencepeer --clear-peer";', "beside it, with DRBD 9"),
    ),
    exit_codes=(
        ("0", "Cleared."),
        ("1", "Nothing is proven. DRBD goes on waiting."),
        ("2", "Wrong usage."),
        ("4", "The peer has noted that its copy is behind."),
        ("6", "The peer runs the group: the copy here is the older one."),
        ("7", "The peer is off."),
    ),
    # Each of these numbers would tell DRBD something that nobody has proven.
    fault_codes=tuple(
        (code, 1) for code in ExitCode if code not in (ExitCode.DONE, ExitCode.USAGE)
    ),
)
WAIT_S = 120.0
UP_TO_DATE = "UpToDate"
_AGENT_S = 5.0
_AGAIN_S = 1.0
"""Before the agent, which may be starting, is asked again."""
_DRBDADM_S = 10.0
_CODES = {"outdated": 4, "primary": 6, "off": 7}
"""`CopyFate` -> the exit code by which DRBD knows it (drbd.conf(5), fence-peer)."""


def run(args: Args) -> Answer:
    name = args.text("resource") or _resource_of(os.environ.get("DRBD_RESOURCE", ""))
    if args.given("clear") or args.given("clear-peer"):
        return _clear(args, name)
    if args.given("force"):
        raise ClpError(ExitCode.USAGE, "-f goes with --clear and --clear-peer.")
    given = args.number("wait")
    wait_s = WAIT_S if given is None else given
    request: OutdateCopyJson = {
        "type": "outdate-copy",
        "resource": name,
        "peer": args.text("peer") or _peer(name),
        "current": set(_states(name, 0)) == {UP_TO_DATE},
        "lasts_ms": round(wait_s * 1000),
    }
    ended = _ended(request, wait_s)
    code = _CODES.get(str(ended.get("fate", "")))
    if code is None:
        return outcome(ended)
    text = str(ended.get("did") or ended.get("text", ""))
    return Answer(text, {"text": text, "fate": ended.get("fate")}, code)


def _clear(args: Args, name: str) -> Answer:
    of_peer = args.given("clear-peer")
    server = (args.text("peer") or _peer(name)) if of_peer else server_name()
    if not args.given("force") and set(_states(name, int(of_peer))) != {UP_TO_DATE}:
        raise ClpError(
            ExitCode.REFUSED,
            f"drbdadm dstate does not call the copy of {name} on {server} UpToDate.",
            "If it is to be used all the same: -f",
        )
    request: OutdateCopyJson = {
        "type": "outdate-copy",
        "resource": name,
        "in_sync": True,
        "server": server,
    }
    return outcome(follow(request, args.number("wait"), shows=False))


def _ended(request: OutdateCopyJson, patience_s: float) -> Json:
    """The outcome; an agent that is just starting is asked again."""
    until = time.monotonic() + patience_s
    while True:
        try:
            left_s = max(0.0, until - time.monotonic())
            # The agent gives up by itself, and has the reason.
            return follow(request, left_s + _AGENT_S, shows=False)
        except ClpError as fault:
            if fault.code is not ExitCode.NO_AGENT or time.monotonic() + _AGAIN_S > until:
                raise
        time.sleep(_AGAIN_S)


# ---------------------------------------------------------------------- what the file says


def _groups() -> list[Json]:
    """The groups of the configuration in force, each with its `servers`.  Raises ClpError."""
    from clptools.config.history import text_in_force

    read = tomllib.loads(text_in_force()[0])
    every = [server.get("name") for server in objects(read, "server")]
    return [{"servers": every, **group} for group in objects(read, "group")]


def _resource_of(drbd: str) -> str:
    """The group resource that has this resource of DRBD.  Raises ClpError."""
    found = [
        str(one.get("name"))
        for group in _groups()
        for one in objects(group, "resource")
        if _parameter(one) == drbd and drbd
    ]
    if len(found) != 1:
        said = (
            f"{drbd or '$DRBD_RESOURCE'}: {len(found)} resources of agent ocf:linbit:drbd have it"
        )
        raise ClpError(ExitCode.NO_SUCH, f"{said}.", "Name the group resource: -r RESOURCE")
    return found[0]


def _parameter(resource: Json) -> object:
    """Its `drbd_resource`, where it is a resource of DRBD."""
    given = resource.get("parameters")
    of_drbd = str(resource.get("agent", "")).endswith(":drbd") and isinstance(given, dict)
    return given.get("drbd_resource") if of_drbd and isinstance(given, dict) else None


def _peer(resource: str) -> str:
    """The other server of its group; of several, the one that DRBD names.  Raises ClpError."""
    servers: list[object] = []
    for group in _groups():
        if any(one.get("name") == resource for one in objects(group, "resource")):
            found = group["servers"]
            servers = found if isinstance(found, list) else []
    others = [str(one) for one in servers if one != server_name()]
    named = os.environ.get("DRBD_PEERS", "").split()
    if len(others) > 1 and len(named) == 1:
        others = [one for one in others if one == named[0]]
    if len(others) != 1:
        raise ClpError(ExitCode.NO_SUCH, f"Which server lost {resource}?", "Name it: --peer SERVER")
    return others[0]


def _states(resource: str, whose: int) -> list[str]:
    """What DRBD calls each volume of the copy here (0) or of the peer (1); nothing: not known."""
    drbd = os.environ.get("DRBD_RESOURCE") or next(
        (
            str(_parameter(one))
            for group in _groups()
            for one in objects(group, "resource")
            if one.get("name") == resource
        ),
        "",
    )
    try:
        ran = subprocess.run(
            ["drbdadm", "dstate", drbd],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_DRBDADM_S,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    if ran.returncode != 0:
        return []
    # A line for each volume: OURS/PEER's.
    pairs = [line.strip().split("/") for line in ran.stdout.splitlines() if line.strip()]
    return [pair[whose] if whose < len(pair) else "" for pair in pairs]
