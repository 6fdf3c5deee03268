"""`clptrnreq`: a failover or a script, asked by one server of others."""

from __future__ import annotations

from clptools.cli.command import REQUEST_PORT, SUCCEEDED, Answer, Args, Command, Option, done, wait
from clptools.cli.requests import Json, outcome
from clptools.cli.transactions import (
    Errand,
    Log,
    as_text,
    ask,
    ask_first,
    ask_here,
    hosts_in,
    places_of,
    port_of,
    read_key,
)
from clptools.faults import ClpError, ExitCode

COMMAND = Command(
    "clptrnreq",
    summary="ask servers of the cluster for a failover, or to run a script",
    synopsis=(
        "-t GRP_FAILOVER -r RESOURCE [-h HOST[,HOST]] [-w SEC]",
        "-t EXEC_SCRIPT -s SCRIPT [-h HOST[,HOST]] [-w SEC]",
    ),
    description=(
        (
            "GRP_FAILOVER fails over the group with RESOURCE. The first HOST that answers takes "
            "the request. EXEC_SCRIPT runs SCRIPT, which must be in scripts/trnreq, on every HOST, "
            "and prints one line for each. Without -h, HOST is this server."
        ),
        "clprexec does the same for one server, also from outside the cluster.",
    ),
    options=(
        Option(
            "-t",
            "--type",
            metavar="TYPE",
            help="GRP_FAILOVER or EXEC_SCRIPT.",
            complete="GRP_FAILOVER EXEC_SCRIPT",
        ),
        Option(
            "-h",
            "--host",
            metavar="HOST[,HOST]",
            help="Servers to ask (up to 32), by name or address.",
            complete="server",
        ),
        Option(
            "-r",
            "--resource",
            metavar="RESOURCE",
            help="A resource of the group to fail over.",
            complete="resource",
        ),
        Option("-s", "--script", metavar="SCRIPT", help="The script's name.", complete="file"),
        REQUEST_PORT,
        Option(
            "--key",
            metavar="FILE",
            help="The cluster's authkey; by default this server's.",
            complete="file",
        ),
        wait("Wait this long for each (30)."),
    ),
    exit_codes=(
        ("0", "done"),
        ("2", "wrong usage"),
        ("9", "the failover was refused in the present state; the line says why"),
        ("others", "failed, as in clprexec(8); with several servers, the first failure"),
    ),
    fault_codes=((ExitCode.REFUSED, 9),),
    examples=(
        ("clptrnreq -t EXEC_SCRIPT -h server2 -s swap.sh", "runs it on server2"),
        ("clptrnreq -t GRP_FAILOVER -h 10.0.0.2 -r exec1", "fails over the group of exec1"),
    ),
)


def run(args: Args) -> Answer:
    kind, resource, script = args.text("type"), args.text("resource"), args.text("script")
    hosts = hosts_in(args.text("host")) if args.given("host") else []
    if kind not in ("GRP_FAILOVER", "EXEC_SCRIPT"):
        raise ClpError(ExitCode.USAGE, "-t takes GRP_FAILOVER or EXEC_SCRIPT.")
    if (bool(resource), bool(script)) != (kind == "GRP_FAILOVER", kind == "EXEC_SCRIPT"):
        raise ClpError(ExitCode.USAGE, "GRP_FAILOVER needs -r RESOURCE, EXEC_SCRIPT -s SCRIPT.")
    port, seconds = port_of(args) if hosts else 0, args.number("wait")
    if kind == "EXEC_SCRIPT":
        errand = Errand(None, script=script, seconds=seconds)
        return on_each(errand, hosts, port, args.text("key"))
    failover = Errand(
        {"type": "group-move", "failover": True, "reason": "clptrnreq"},
        resource=resource,
        seconds=seconds,
    )
    if hosts:
        return outcome(ask_first(failover, hosts, port, read_key(args.text("key")), Log("")))
    return outcome(ask_here(failover))


def on_each(errand: Errand, hosts: list[str], port: int, key_file: str) -> Answer:
    """The script on every server, a line for each; all are tried.

    Raises ClpError with the code of the first one that failed.
    """
    if not hosts:
        return outcome(ask_here(errand))
    key = read_key(key_file)
    ended = [(host, _once(errand, host, port, key)) for host in hosts]
    lines = [f"{host} : {as_text(each)}" for host, each in ended]
    failed = next((each["code"] for _, each in ended if each["code"]), None)
    if failed is not None:
        code = next((known for known in ExitCode if known == failed), ExitCode.FAILED)
        raise ClpError(code, "\n".join(lines))
    return done("\n".join([*lines, SUCCEEDED]), servers=[{"name": h, **e} for h, e in ended])


def _once(errand: Errand, host: str, port: int, key: bytes) -> Json:
    """The outcome there.  After a time-out the script may run, so no other address is asked."""
    places = places_of(host)
    for number, place in enumerate(places, 1):
        try:
            return ask(errand, place, port, key)
        except ClpError as error:
            if number == len(places) or error.code is not ExitCode.NO_AGENT:
                return {"code": int(error.code), "text": error.message, "hint": error.hint}
    raise AssertionError("the last address answered or failed")
