"""`clprexec`: requests of other systems to the cluster."""

from __future__ import annotations

from clptools.cli.command import (
    REQUEST_PORT,
    SUCCEEDED,
    TYPE_CHECKING,
    Answer,
    Args,
    Argument,
    Command,
    Option,
    wait,
)
from clptools.cli.requests import one_of, outcome
from clptools.cli.transactions import (
    Errand,
    Log,
    as_text,
    ask_first,
    ask_here,
    hosts_in,
    port_of,
    read_key,
)
from clptools.faults import ClpError, ExitCode
from clptools.paths import server_name

if TYPE_CHECKING:
    from clptools.cli.json_types import ExternalNoticeJson, GroupMoveJson

COMMAND = Command(
    "clprexec",
    summary="ask a cluster, also from outside, for a failover, a script, or to report an error",
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
            "the servers at these addresses in turn, over TLS, until one answers. The cluster's "
            "authkey (the local one, or the file given with --key) identifies the client. On a "
            "machine that is not a server of the cluster, use a file of clpcfctrl --keygen --for "
            "clprexec instead: the authkey would allow that machine to act as any server."
        ),
        "--script runs a script below scripts/trnreq on the server that is asked.",
        (
            "--notice reports an error to message receive monitors, and --clear withdraws it. Name "
            "them by the monitor's name, or by category and keyword. With a keyword, --clear "
            "withdraws only what was reported about that device, otherwise everything. Monitors of "
            "the linkage (BMCNOTICE, NIC, FC, HA/*, SPS, MCE) accept neither, because they accept "
            "messages only from their own source (exit code 6)."
        ),
        "--failover is refused for a group that is offline (exit code 6).",
        (
            "A request with -h is recorded in the alert log of the server that was asked, with the "
            "client's address (module trnsv: 10 accepted, 1 denied, 30 done, 31 failed). Requests "
            "without the key are recorded at most once in ten minutes."
        ),
    ),
    options=(
        Option("--failover", help="Fail over GROUP, or the group of RESOURCE."),
        Option("--script", help="Run the script FILE.", complete="file"),
        Option("--notice", help="Report an error.", complete="monitor"),
        Option("--clear", help="Withdraw an error.", complete="monitor"),
        Option(
            "-r",
            "--resource",
            metavar="RESOURCE",
            help="With --failover: fail over the group with this resource.",
            complete="resource",
        ),
        Option("-k", "--keyword", metavar="CATEGORY[.KEYWORD]", help="What the notice is about."),
        Option(
            "-h",
            "--host",
            metavar="IP[,IP]",
            help="Servers to ask, in this order (up to 32): addresses, names of this cluster's "
            "servers, or other names that this host can resolve.",
        ),
        REQUEST_PORT,
        Option(
            "--key",
            metavar="FILE",
            help="A file of clpcfctrl --keygen --for clprexec, or the cluster's authkey; mode 0400 "
            "or 0600.",
            complete="file",
        ),
        wait("Wait this long for an answer (30)."),
        Option(
            "-o",
            "--log",
            metavar="LOG",
            help="Append each request, the server asked, and the result to this file.",
            complete="file",
        ),
    ),
    arguments=(Argument("NAME", help="The group, script file or monitor.", complete="group"),),
    examples=(
        (
            "clprexec --failover failover1 -h 10.0.0.1,10.0.0.2 --key ./authkey",
            "fails over from a machine outside the cluster",
        ),
        ("clprexec --notice -k RAID.sda -h 10.0.0.1", "reports an error of your own category"),
    ),
)


def run(args: Args) -> Answer:
    """Asks; the first server that answers decides."""
    what = one_of(COMMAND, args, "failover", "script", "notice", "clear")
    log = Log(args.text("log"))
    errand = Errand(
        request_of(what, args),
        script=args.word() if what == "script" else "",
        resource=args.text("resource"),
        seconds=args.number("wait"),
    )
    try:
        if args.given("host"):
            hosts, port = hosts_in(args.text("host")), port_of(args)
            ended = ask_first(errand, hosts, port, read_key(args.text("key")), log)
        else:
            ended = ask_here(errand)
    except ClpError as error:
        log.line(args.text("host") or server_name(), f"{what}: {error.message}")
        raise
    said = as_text(ended)
    log.line(server_name(), f"{what}: {said}")
    if not ended.get("code") and said != SUCCEEDED:
        log.line(server_name(), f"{what}: {SUCCEEDED}")  # as the last line of the output
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
