"""`clplogcc`: logs, journal, configuration and state of the servers, packed for analysis."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from typing import BinaryIO

from clptools.api.client import Client
from clptools.cli.command import Answer, Args, Command, Option, done, host
from clptools.cli.requests import find, objects, server_called, status
from clptools.faults import ClpError, ExitCode
from clptools.paths import server_name

COMMAND = Command(
    "clplogcc",
    summary="collect logs, journal, configuration and state of the servers",
    synopsis=("[-o DIR] [-n SERVER | -h HOST] [-l]",),
    description=(
        (
            "Writes SERVER-log.tar.gz for every server, or for the named servers. Files of other "
            "servers come over the interconnects. If a server does not answer, the command names "
            "it and exits with 1. If no agent runs on this server, only this server is packed. "
            "timeline.txt beside the archives has the records of all servers in one order. DIR is "
            "made if it is missing."
        ),
        (
            "An archive contains no secrets: no authkey, no passwords and keys of BMCs and SNMP "
            "users, no community names, and no scripts. clpreplay reads the journal in it."
        ),
    ),
    options=(
        Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Where to write (the current folder).",
            complete="directory",
        ),
        Option("-l", "--local", help="This server only."),
        Option(
            "-n",
            "--server",
            metavar="SERVER",
            help="This server only; may be given again.",
            many=True,
            complete="server",
        ),
        host("The same for one server."),
        Option(
            "-t",
            "--type",
            metavar="TYPE",
            help="Accepted for old scripts; everything is packed.",
        ),
        Option("-r", "--rotations", metavar="N", help="Accepted for old scripts.", number=True),
    ),
    examples=(
        ("clplogcc -o /tmp", "writes /tmp/server1-log.tar.gz, /tmp/server2-log.tar.gz, ..."),
        ("clplogcc -l", "this server only"),
    ),
)

STATE = {"status.json": "GetStatus", "hardware.json": "GetHardware", "counters.json": "GetCounters"}
WITHIN_S = 90.0
"""A server that packs a lot may take this long."""


def run(args: Args) -> Answer:
    from clptools.packing import name_of

    wanted, remark = _wanted(args)
    folder = args.text("output") or "."
    _make(folder)
    written: dict[str, str] = {}
    missing: dict[str, ClpError] = {}
    for server in wanted:
        path = os.path.join(folder, name_of(server))
        try:
            with _in_place(path) as file:
                if server == server_name():
                    remark = _pack(file) or remark
                else:
                    _fetch(file, server)
        except ClpError as fault:
            if len(wanted) == 1:
                raise
            missing[server] = fault
        else:
            written[server] = path
    line, lacks = _time_line(folder) if len(wanted) > 1 else ("", "")
    told = f"{line} written: what all servers recorded, in one order." if line else lacks
    text = "\n".join(
        [
            *(f"{path} written." for path in written.values()),
            *(f"{server} was not collected: {why.message}" for server, why in missing.items()),
            *filter(None, (told, remark)),
        ]
    )
    if missing:
        fields: dict[str, object] = {"result": "failed", "text": text, "files": written}
        fields |= {
            "timeline": line,
            "missing": {name: why.message for name, why in missing.items()},
        }
        return Answer(text, fields, ExitCode.FAILED)
    return done(text, files=written, timeline=line)


def _make(folder: str) -> None:
    """The folder, where there is none yet.  Raises ClpError."""
    try:
        os.makedirs(folder, mode=0o750, exist_ok=True)
    except OSError as error:
        raise _unwritable(error.filename or folder, error) from error


TIME_LINE = "timeline.txt"


def _time_line(folder: str) -> tuple[str, str]:
    """Writes what all servers recorded, in one order; returns the file, or why there is none."""
    import msgspec

    from clptools.cli.past import gather
    from clptools.cli.render.text import event_line

    path = os.path.join(folder, TIME_LINE)
    try:
        found = gather(None, None)
    except ClpError as error:
        return "", f"Without {TIME_LINE}: {error.message}"
    told = [event_line(msgspec.to_builtins(record)) for record in found.records]
    with _in_place(path) as file:
        file.write("".join(f"{each}\n" for each in (*told, *found.remarks)).encode())
    return path, ""


def _wanted(args: Args) -> tuple[list[str], str]:
    """The servers to collect from, and a remark for the output."""
    own = server_name()
    named = list(dict.fromkeys([*args.many("server"), *args.many("host")]))
    if args.given("local"):
        others = [name for name in named if name != own]
        if others:
            raise ClpError(ExitCode.USAGE, f"-l is {own}, and not {' and '.join(others)}.")
        return [own], ""
    try:
        with Client() as client:
            state = status(client)
    except ClpError:
        if [name for name in named if name != own]:
            raise
        return [own], "" if named else "The other servers were not asked."
    known = objects(state, "servers")
    named = list(dict.fromkeys(server_called(state, name) for name in named))
    for name in named:
        find(known, "server", name)
    return named or [str(server["name"]) for server in known] or [own], ""


@contextlib.contextmanager
def _in_place(path: str) -> Iterator[BinaryIO]:
    """A file that replaces `path` once it is written whole; only its owner can read it."""
    folder = os.path.dirname(path)
    try:
        handle, temporary = tempfile.mkstemp(prefix=".clplogcc.", dir=folder)
    except OSError as error:
        raise _unwritable(folder, error) from error
    try:
        with open(handle, "wb") as file:
            yield file
        os.replace(temporary, path)
    except PermissionError as error:
        os.unlink(temporary)
        text = f"{error.filename or path}: {error.strerror}"
        raise ClpError(ExitCode.NOT_PERMITTED, text, "Run it as root.") from error
    except OSError as error:
        os.unlink(temporary)
        raise _unwritable(error.filename or path, error) from error
    except BaseException:
        os.unlink(temporary)
        raise


def _unwritable(path: str, error: OSError) -> ClpError:
    text = f"{path}: {error.strerror}"
    code = ExitCode.NOT_PERMITTED if isinstance(error, PermissionError) else ExitCode.FAILED
    return ClpError(code, text, "Write somewhere else: -o DIR")


def _pack(file: BinaryIO) -> str:
    """Packs this server; returns a remark on what is missing, if anything."""
    from clptools.packing import pack

    state, silent = {}, ""
    for inside, method in STATE.items():
        try:
            with Client() as client:
                state[inside] = json.dumps(client.call(method), indent=1, ensure_ascii=False)
        except ClpError as error:
            silent = f"Without the present state: {error.message}"
            break
    pack(file, server_name(), state)
    return silent


def _fetch(file: BinaryIO, server: str) -> None:
    import base64

    size = 0
    with Client(timeout_s=WITHIN_S) as client:
        for reply in client.stream("CollectLogs", server=server):
            part = reply.get("part")
            if isinstance(part, dict):
                file.write(base64.b64decode(str(part["data"])))
                size = int(part["size"])
    if file.tell() != size:
        raise ClpError(ExitCode.FAILED, f"{file.tell()} of {size} bytes came. Try again.")
