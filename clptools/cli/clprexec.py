"""`clprexec`: requests of other systems to the cluster."""

from __future__ import annotations

import os
import time

from clptools.api.client import Client, Json, user
from clptools.cli.command import TYPE_CHECKING, Answer, Args, Argument, Command, Option, wait
from clptools.cli.requests import known_resource, one_of, outcome
from clptools.faults import ClpError, ExitCode
from clptools.paths import authkey_file, server_name

if TYPE_CHECKING:
    from clptools.cli.json_types import ExternalNoticeJson, GroupMoveJson

COMMAND = Command(
    "clprexec",
    summary="ask a cluster, also from outside, for a failover, a script, or to take a notice",
    synopsis=(
        "--failover [GROUP] [-r RESOURCE] [-h IP[,IP]] [-w SEC] [-p PORT] [-o LOG] [--key FILE]",
        "--script FILE [-h IP[,IP]] [-w SEC] [-p PORT] [-o LOG] [--key FILE]",
        (
            "--notice [MONITOR] [-k CATEGORY[.KEYWORD]] [-h IP[,IP]] [-w SEC] [-p PORT] [-o LOG] "
            "[--key FILE]"
        ),
        (
            "--clear [MONITOR] [-k CATEGORY[.KEYWORD]] [-h IP[,IP]] [-w SEC] [-p PORT] [-o LOG] "
            "[--key FILE]"
        ),
    ),
    description=(
        (
            "On a server of the cluster, without -h, it asks the local node agent. With -h it "
            "asks the servers at these addresses in turn, over TLS, until one answers; the "
            "cluster's authkey (the local one, or the file given with --key) identifies the "
            "client."
        ),
        "--script runs a script that lies below scripts/trnreq on the server that is asked.",
        (
            "--notice reports an error to message receive monitors, --clear takes it back: by the "
            "monitor's name, or by category and keyword. With a keyword --clear takes back what "
            "was said of that device alone, otherwise everything. Monitors of the linkage "
            "(BMCNOTICE, NIC, FC, HA/*, SPS, MCE) take neither; they answer to their own source "
            "alone (exit code 6)."
        ),
        "--failover is refused for a group that is offline (exit code 6).",
        (
            "A request by -h is recorded in the alert log of the server that was asked, with the "
            "client's address (module trnsv: 10 accepted, 1 denied, 30 done, 31 failed). "
            "Requests without the key are recorded at most once in ten minutes."
        ),
    ),
    options=(
        Option("--failover", help="Fail GROUP, or the group of RESOURCE, over."),
        Option("--script", help="Run the script FILE.", complete="file"),
        Option("--notice", help="Report an error.", complete="monitor"),
        Option("--clear", help="Take an error back.", complete="monitor"),
        Option(
            "-r",
            "--resource",
            metavar="RESOURCE",
            help="With --failover: the group that holds it.",
            complete="resource",
        ),
        Option("-k", "--keyword", metavar="CATEGORY[.KEYWORD]", help="What the notice is about."),
        Option("-h", "--host", metavar="IP[,IP]", help="Servers to ask, in this order (up to 32)."),
        Option(
            "-p",
            "--port",
            metavar="PORT",
            help="Their port (29002).",
            whole=True,
            low=1,
            high=65535,
        ),
        Option(
            "--key",
            metavar="FILE",
            help="The cluster's authkey, mode 0400 or 0600.",
            complete="file",
        ),
        wait("Wait this long for an answer (30)."),
        Option(
            "-o",
            "--log",
            metavar="LOG",
            help="Append what was asked of whom, and what came of it.",
            complete="file",
        ),
    ),
    arguments=(Argument("NAME", help="The group, script file or monitor.", complete="group"),),
    examples=(
        ("clprexec --failover failover1 -h 10.0.0.1,10.0.0.2 --key ./authkey", "from outside"),
        ("clprexec --notice -k RAID.sda -h 10.0.0.1", "reports an error of your own category"),
    ),
)

PORT = 29002
WAIT_S = 30.0
HOSTS_MAX = 32
KEY_BYTES_MAX = 4096
GOES_ON_AFTER = (ExitCode.NO_AGENT, ExitCode.TIMED_OUT, ExitCode.FAILED)
"""Faults that say nothing about the request: the next server is asked."""


def run(args: Args) -> Answer:
    """Asks; the first server that answers decides."""
    what = one_of(COMMAND, args, "failover", "script", "notice", "clear")
    log = Log(args.text("log"))
    asked = request_of(what, args)
    try:
        ended = _outside(args, asked, log) if args.given("host") else _inside(args, asked)
    except ClpError as error:
        log.line(args.text("host") or server_name(), f"{what}: {error.message}")
        raise
    log.line(server_name(), f"{what}: {as_text(ended)}")
    return outcome(ended)


def request_of(what: str, args: Args) -> GroupMoveJson | ExternalNoticeJson | None:
    """The request; None for a script, which is no request to the core.  Raises ClpError (USAGE)."""
    name, resource = args.word(), args.text("resource")
    if resource and what != "failover":
        raise ClpError(ExitCode.USAGE, "-r goes with --failover.")
    category, _, keyword = args.text("keyword").partition(".")
    if category and what not in ("notice", "clear"):
        raise ClpError(ExitCode.USAGE, "-k goes with --notice and --clear.")
    if not args.given("host") and (args.given("key") or args.given("port")):
        raise ClpError(ExitCode.USAGE, "--key and -p go with -h.")
    if what == "script":
        if not name:
            raise ClpError(ExitCode.USAGE, "--script needs the name of a script.")
        return None
    if bool(name) == bool(resource or category):
        one = "a group or -r RESOURCE" if what == "failover" else "a monitor or -k CATEGORY"
        raise ClpError(ExitCode.USAGE, f"--{what} needs {one}, one of them.")
    if what == "failover":
        return {"type": "group-move", "group": name, "failover": True, "reason": "clprexec"}
    return {
        "type": "external-notice",
        "monitor": name,
        "category": category,
        "keyword": keyword,
        "clear": what == "clear",
        "origin": server_name(),
    }


def as_text(ended: Json) -> str:
    """An outcome in words, for the log."""
    said = " ".join(str(ended.get(key) or "") for key in ("text", "hint")).strip()
    return said or ("Command succeeded." if not ended.get("code") else "It failed.")


def _seconds(args: Args) -> float:
    given = args.number("wait")
    return WAIT_S if given is None else max(given, 0.1)


def _inside(args: Args, request: GroupMoveJson | ExternalNoticeJson | None) -> Json:
    """Asked of the local agent."""
    with Client() as client:
        client.finish_within(_seconds(args))
        if request is None:
            script, timeout_s = args.word(), _seconds(args)
            reply = client.call("RunScript", user=user(), script=script, timeout_s=timeout_s)
            ended = reply.get("outcome")
        else:
            if args.given("resource") and request["type"] == "group-move":
                group, _ = known_resource(client, args.text("resource"))
                request["group"] = str(group["name"])
            ended = client.call("Request", request=request, user=user()).get("outcome")
    return ended if isinstance(ended, dict) else {}


def _outside(args: Args, asked: GroupMoveJson | ExternalNoticeJson | None, log: Log) -> Json:
    """Asked of the first of the servers that answers."""
    hosts = [host for host in args.text("host").split(",") if host]
    if not 0 < len(hosts) <= HOSTS_MAX:
        raise ClpError(ExitCode.USAGE, f"-h takes 1 to {HOSTS_MAX} addresses, with commas.")
    key = read_key(args.text("key") or authkey_file())
    port = int(args.number("port") or PORT)
    for host in hosts:
        try:
            return _ask(host, port, key, asked, args)
        except ClpError as error:
            if host == hosts[-1] or error.code not in GOES_ON_AFTER:
                raise
            log.line(host, error.message)
    raise AssertionError("the last server's fault was raised")


def _ask(
    host: str, port: int, key: bytes, asked: GroupMoveJson | ExternalNoticeJson | None, args: Args
) -> Json:
    """One request over the control channel, and its outcome."""
    # Imported here: only a request to another server pays for TLS.
    import msgspec

    from clptools.api.messages import Transaction, TransactionScript
    from clptools.core.model.requests import ExternalNotice, GroupMove, Outcome
    from clptools.links.connection import call_from_outside

    request: Transaction | TransactionScript
    if asked is None:
        request = TransactionScript(script=args.word(), timeout_s=_seconds(args), user=user())
    else:
        of_core = msgspec.convert(asked, GroupMove | ExternalNotice)
        request = Transaction(request=of_core, resource=args.text("resource"), user=user())
    ended = call_from_outside(host, port, key, request, Outcome, _seconds(args))
    return {"code": ended.code, "text": ended.text, "hint": ended.hint, "did": ended.did}


def read_key(path: str) -> bytes:
    """The authkey in a file.  Raises ClpError: a key that others can read is none."""
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            key = file.read(KEY_BYTES_MAX)
    except OSError as error:
        raise ClpError(
            ExitCode.NOT_PERMITTED,
            f"The key {path} cannot be read: {error.strerror}.",
            "Give the cluster's authkey with --key FILE.",
        ) from error
    if mode & 0o077:
        raise ClpError(
            ExitCode.NOT_PERMITTED,
            f"The key {path} can be read by others.",
            f"chmod 0400 {path}",
        )
    return key


class Log:
    """The file of `-o`, a line for each server that was asked."""

    def __init__(self, path: str) -> None:
        self._path = path

    def line(self, host: str, text: str) -> None:
        """Appends a line, if a file was given."""
        if self._path:
            stamp = time.strftime("%Y/%m/%d %H:%M:%S")
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(f"{stamp} {host} {text}\n")
