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
            "the port of traps by UDP if this server receives traps (162). Without a configuration "
            "they are 29002 and 162."
        ),
        (
            "Each step is shown before it is done. If firewalld runs, the ports become its service "
            "clusterpro (the original's name) in the default zone, and firewalld reloads. The "
            "reload drops firewalld settings that are not permanent. If nftables filters without "
            "firewalld, a rule with the comment clptools is added to each chain that filters "
            "input. These rules do not survive a boot, so also write them into your own. If "
            "nothing filters, nothing is done. Tables of iptables and of ufw are not changed (6)."
        ),
        "Ports that are already open are not changed. --remove undoes only what --add did.",
    ),
    options=(
        Option("--add", help="Open them."),
        Option("--remove", help="Undo --add."),
        Option("--dry-run", help="Only show the steps."),
    ),
    examples=(
        ("clpfwctrl --add --dry-run", "shows which ports would be opened, and in which firewall"),
    ),
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
