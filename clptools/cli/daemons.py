"""What the manual and the shells know of the daemons.

`clpnode` itself is `agent.main`, `clpwitnessd` is `arbiters.witness_server`.
"""

from __future__ import annotations

from clptools.cli.command import Argument, Command, Option

CLPNODE = Command(
    "clpnode",
    summary="the node agent of a server",
    synopsis=("", "confirm-down SERVER --yes [--force] [--json]", "--help | --version"),
    description=(
        (
            "Runs in the foreground, started by systemd (Type=notify) or by hand. It starts the "
            "cluster service, unless clpcl -t stopped it since the last boot. Until a first "
            "configuration is pushed, it needs only the authkey."
        ),
        (
            "After SIGTERM it moves this server's groups to others, or stops them, and then ends. "
            "While the cluster is suspended it leaves them running. After kill -9 the next agent "
            "finds the groups that were held."
        ),
        (
            "Only one agent may run for one root. A second agent starts and stops nothing, names "
            "the process that runs, and ends with 6. An agent whose heartbeat address is in use by "
            "another process of this host does the same. Files that are removed from /run/clptools "
            "are made again within a second. While the state there cannot be written (full, "
            "read-only), the agent does nothing and sends no heartbeats. It records this in the "
            "alert log, and goes on by itself when it can write again."
        ),
        (
            "confirm-down: you confirm that SERVER is down, and stays down until it is back on the "
            "network. A group that waited for this proof starts elsewhere. If SERVER still runs, "
            "two servers run the group and its data is lost. The command is recorded with your "
            "name. It is refused (6) while there is any sign that the server is up: use "
            "clpforcestop, which powers it off, and that is proof. --force overrides a BMC that "
            "reads on, and datagrams that are refused, such as those with another authkey. It "
            "never overrides a server that is heard."
        ),
    ),
    options=(
        Option("--yes", help="With confirm-down: you have made sure."),
        Option(
            "--force",
            help="With confirm-down: also if its BMC or refused datagrams are signs that it is up. "
            "This is recorded.",
        ),
        Option("--json", help="With confirm-down: one JSON object instead of text."),
    ),
    arguments=(
        Argument("confirm-down", help="Confirm that a server is down.", complete="confirm-down"),
        Argument("SERVER", help="The server that is down.", complete="server"),
    ),
    examples=(("clpnode confirm-down server1 --yes", "after you have unplugged server1"),),
    json=False,
)

CLPWITNESSD = Command(
    "clpwitnessd",
    summary="the witness server, for a machine outside the cluster",
    synopsis=("[--listen ADDRESS[:PORT]] [--authkey FILE]... [--cert FILE --key FILE]",),
    description=(
        (
            "Grants a lease to one server of a cluster at a time. If a cluster is divided, the "
            "half that gets the lease goes on ([[np]] type witness). The program runs in the "
            "foreground, on a machine that is not a server of the cluster. It only needs the right "
            "to read its key: the file that clpcfctrl --keygen --for witness makes on a server. "
            "The authkey also works, but opens the whole cluster."
        ),
        (
            "It also carries heartbeats between servers whose networks are cut ([[interconnect]] "
            "type witnesshb)."
        ),
        (
            "Requests and answers are signed with the key. A client without the key gets nothing. "
            "With several --authkey it serves several clusters."
        ),
        (
            "It keeps nothing on disk. After a start it grants nothing for as long as an earlier "
            "lease may run (--longest-lease). If the witness server fails, nothing stops as long "
            "as the servers hear each other."
        ),
    ),
    options=(
        Option(
            "--listen",
            metavar="ADDRESS[:PORT]",
            help="Address at which it answers (default 0.0.0.0:29003).",
        ),
        Option(
            "--authkey",
            metavar="FILE",
            help="A cluster's key, mode 0400; may be repeated.",
            many=True,
            complete="file",
        ),
        Option(
            "--cert",
            metavar="FILE",
            complete="file",
            help="Certificate (PEM). With it, the server answers only https.",
        ),
        Option("--key", metavar="FILE", complete="file", help="Key of the certificate (PEM)."),
        Option(
            "--longest-lease", metavar="SECONDS", help="Longer leases are not granted (default 10)."
        ),
    ),
    examples=(
        (
            "clpwitnessd --authkey /etc/clptools/authkey",
            'each server then has: [[np]] type = "witness", url = "http://witness:29003"',
        ),
    ),
    json=False,
)

DAEMONS = (CLPNODE, CLPWITNESSD)
