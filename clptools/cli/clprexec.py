"""`clprexec`: what another system asks of the cluster."""

from __future__ import annotations

import json
import os
import time

from clptools.api.client import INTERFACE, Client, Json, fault, user
from clptools.cli.answer import Answer
from clptools.cli.change import one_of, outcome
from clptools.cli.names import find, objects
from clptools.cli.options import Args, Argument, Command, Option, wait
from clptools.faults import ClpError, ExitCode
from clptools.paths import authkey_file, server_name

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
            "On a server of the cluster, without -h, it asks the local node agent. With -h it asks "
            "the servers at these addresses in turn until one answers, over TLS; the cluster's "
            "authkey proves who asks: the local one, or the file given with --key."
        ),
        "--script runs a script that lies below scripts/trnreq on the server that is asked.",
        (
            "--notice reports an error to message receive monitors, --clear takes it back: by the "
            "monitor's name, or by category and keyword. Monitors of the linkage (BMCNOTICE, "
            "NIC, FC, HA/*, SPS, MCE) take neither; they answer to their own source alone "
            "(exit code 6)."
        ),
        "--failover does nothing for a group that is offline (exit code 6).",
    ),
    options=(
        Option("--failover", help="Fail GROUP, or the group of RESOURCE, over."),
        Option("--script", help="Run the script FILE."),
        Option("--notice", help="Report an error."),
        Option("--clear", help="Take an error back."),
        Option(
            "-r",
            "--resource",
            metavar="RESOURCE",
            help="With --failover: the group that holds it.",
            complete="resource",
        ),
        Option("-k", "--keyword", metavar="CATEGORY[.KEYWORD]", help="What the notice is about."),
        Option("-h", "--host", metavar="IP[,IP]", help="Servers to ask, in this order (up to 32)."),
        Option("-p", "--port", metavar="PORT", help="Their port (29002).", number=True),
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


def run(args: Args) -> Answer:
    """Asks; the first server that answers decides."""
    what = one_of(COMMAND, args, "failover", "script", "notice", "clear")
    log = Log(args.text("log"))
    try:
        method, parameters = wanted(what, args)
        if args.given("host"):
            return _outside(args, method, parameters, log)
        if args.given("key") or args.given("port"):
            raise ClpError(ExitCode.USAGE, "--key and -p go with -h.")
        wait_s = args.number("wait")
        with Client() as client:
            client.finish_within(WAIT_S if wait_s is None else max(wait_s, 0.001))
            if "resource" in parameters:
                parameters = _by_resource(client.call("GetStatus"), parameters)
            ended = client.call(method, **parameters).get("outcome")
        log.line(server_name(), f"{what}: {ended}")
        return outcome(ended if isinstance(ended, dict) else {})
    except ClpError as error:
        log.line(args.text("host") or server_name(), f"{what}: {error.message}")
        raise


def wanted(what: str, args: Args) -> tuple[str, Json]:
    """The method and its parameters.  Raises ClpError (USAGE)."""
    name, resource = args.word(), args.text("resource")
    if resource and what != "failover":
        raise ClpError(ExitCode.USAGE, "-r goes with --failover.")
    category, _, keyword = args.text("keyword").partition(".")
    if category and what not in ("notice", "clear"):
        raise ClpError(ExitCode.USAGE, "-k goes with --notice and --clear.")
    if what == "script":
        if not name:
            raise ClpError(ExitCode.USAGE, "--script needs the name of a script.")
        wait_s = args.number("wait")
        return "RunScript", {"script": name, "timeout_s": WAIT_S if wait_s is None else wait_s}
    if bool(name) == bool(resource or category):
        one = "a group or -r RESOURCE" if what == "failover" else "a monitor or -k CATEGORY"
        raise ClpError(ExitCode.USAGE, f"--{what} needs {one}, one of them.")
    if what == "failover":
        request: Json = {"type": "group-move", "group": name, "failover": True}
        request["reason"] = "clprexec"
        return "Request", {"request": request, **({"resource": resource} if resource else {})}
    request = {"type": "external-notice", "clear": what == "clear", "origin": server_name()}
    request |= {"monitor": name} if name else {"category": category, "keyword": keyword}
    return "Request", {"request": request}


def _by_resource(reply: Json, parameters: Json) -> Json:
    """The parameters with the group that holds the resource.  Raises ClpError (NO_SUCH)."""
    status, request = reply.get("status"), parameters["request"]
    groups = objects(status, "groups") if isinstance(status, dict) else []
    holders = [(g, r) for g in groups for r in objects(g, "resources")]
    found = find([r for _, r in holders], "resource", str(parameters["resource"]))
    group = next(g["name"] for g, r in holders if r is found)
    return {"request": {**(request if isinstance(request, dict) else {}), "group": group}}


def _outside(args: Args, method: str, parameters: Json, log: Log) -> Answer:
    hosts = [host for host in args.text("host").split(",") if host]
    if not 0 < len(hosts) <= HOSTS_MAX:
        raise ClpError(ExitCode.USAGE, f"-h takes 1 to {HOSTS_MAX} addresses, with commas.")
    key = read_key(args.text("key") or authkey_file())
    port = int(args.number("port") or PORT)
    given_s = args.number("wait")
    wait_s = WAIT_S if given_s is None else given_s
    last: ClpError | None = None
    for host in hosts:
        try:
            sent = parameters
            if "resource" in sent:
                sent = _by_resource(_ask(host, port, key, "GetStatus", {}, wait_s), sent)
            ended = _ask(host, port, key, method, sent, wait_s).get("outcome")
        except ClpError as error:
            log.line(host, error.message)
            if error.code not in (ExitCode.NO_AGENT, ExitCode.TIMED_OUT, ExitCode.FAILED):
                raise
            last = error
            continue
        log.line(host, f"{method}: {ended}")
        return outcome(ended if isinstance(ended, dict) else {})
    assert last is not None
    if len(hosts) == 1:
        raise last
    raise ClpError(
        last.code, f"None of {', '.join(hosts)} could be asked. {last.message}", last.hint
    )


def _ask(host: str, port: int, key: bytes, method: str, parameters: Json, wait_s: float) -> Json:
    """One call over the control channel."""
    from clptools.api.outside import OutsideCall, OutsideReply
    from clptools.links.outside import call

    if "request" in parameters or "script" in parameters:
        parameters = {**parameters, "user": user()}
    asked = {"method": f"{INTERFACE}.{method}", "parameters": parameters}
    request = OutsideCall(data=json.dumps(asked).encode())
    answered = call(host, port, key, request, OutsideReply, max(wait_s, 0.1))
    reply = json.loads(answered.data.rstrip(b"\0"))
    told = reply.get("parameters") or {}
    if "error" in reply:
        raise fault(str(reply["error"]), told, method)
    return dict(told)


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
