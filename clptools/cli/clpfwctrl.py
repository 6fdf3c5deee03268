"""`clpfwctrl`: the cluster's ports, opened in the firewall of this host."""

from __future__ import annotations

from clptools.cli.command import SUCCEEDED, TYPE_CHECKING, Answer, Args, Command, Option, done
from clptools.cli.requests import one_of
from clptools.faults import ClpError, ExitCode
from clptools.paths import server_name

if TYPE_CHECKING:
    from clptools.cli.firewall import Plan, Port

COMMAND = Command(
    "clpfwctrl",
    summary="open the cluster's ports in the firewall of this host",
    synopsis=("--add [--dry-run]", "--remove [--dry-run]"),
    description=(
        (
            "The ports are those of the configuration: [cluster] port by UDP and TCP (29002), and "
            "that of traps by UDP where this server receives them (162). Without a configuration "
            "they are these two."
        ),
        (
            "Each step is shown before it is done. Where firewalld runs, they become its service "
            "clusterpro, the original's name, in the default zone, and firewalld reloads: what was "
            "set in it for the running time alone is lost by that. Where nftables filters without "
            "it, a rule with the comment clptools goes into each chain that filters input; that "
            "does not outlive a boot, so write the rules into your own, too. Where nothing "
            "filters, nothing is done. Tables of iptables and of ufw are left to them (6)."
        ),
        "What is open already is left alone. --remove takes back what --add did, and nothing else.",
    ),
    options=(
        Option("--add", help="Open them."),
        Option("--remove", help="Take that back."),
        Option("--dry-run", help="Only show the steps."),
    ),
    examples=(("clpfwctrl --add --dry-run", "which ports, and in which firewall"),),
)


def run(args: Args) -> Answer:
    from clptools.cli.firewall import carry_out, plan

    add = one_of(COMMAND, args, "add", "remove") == "add"
    wanted = ports()
    found = plan(wanted, add=add)
    shown = [str(step) for step in found.steps]
    fields: dict[str, object] = {
        "firewall": found.firewall,
        "ports": [str(port) for port in wanted],
        "steps": shown,
    }
    if args.given("dry-run"):
        return done("\n".join(shown) or _nothing(found), **fields)
    if not args.given("json"):
        for line in shown:
            print(line, flush=True)
    carry_out(found)
    said = [] if shown else [_nothing(found)]
    if shown and add and not found.lasts:
        said.append("This lasts until the next boot: write these rules into your own, too.")
    return done("\n".join([*said, SUCCEEDED]), **fields)


def _nothing(found: Plan) -> str:
    if not found.firewall:
        return "No firewall filters what comes in to this host: there is nothing to do."
    return f"{found.firewall} is as it should be: there is nothing to do."


def ports() -> tuple[Port, ...]:
    """What the configuration of this server listens at."""
    from clptools.cli.firewall import Port
    from clptools.cli.stat_configuration import local_settings
    from clptools.config.machine import wanted_ports

    try:
        found = wanted_ports(local_settings(), server_name())
        listed = tuple(dict.fromkeys(Port(protocol, number) for protocol, _, number in found))
    except ClpError as error:
        if error.code is ExitCode.NOT_PERMITTED:
            raise
        listed = ()
    return listed or (Port("udp", 29002), Port("tcp", 29002), Port("udp", 162))
