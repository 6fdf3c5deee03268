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
            "Runs in the foreground, for systemd (Type=notify) or by hand. It starts the cluster "
            "service unless clpcl -t stopped it since the last boot, and works with the key alone "
            "until a first configuration is pushed."
        ),
        (
            "SIGTERM moves this server's groups to others, or stops them, then it ends. While "
            "the cluster is suspended it leaves them running. After kill -9 it finds what it held."
        ),
        (
            "One root has one agent: a second one starts and stops nothing, names the process "
            "that runs, and ends with 6; so does an agent whose heartbeat address is in use by "
            "another process of this host. Files that are removed from /run/clptools are made "
            "again within a second. While the state there cannot be written (full, read-only) "
            "the agent does nothing and sends no heartbeats; it records that in the alert log, "
            "and goes on by itself when it can write again."
        ),
        (
            "confirm-down: you vouch that SERVER is down, and stays down until it is back on the "
            "network. A group that waited for that proof starts elsewhere. If it still runs, two "
            "servers run the group and its data is lost; it is recorded with your name. It is "
            "refused (6) while anything says that the server lives: clpforcestop powers it off, "
            "and that is proof. --force overrides a BMC that says so, and datagrams that are "
            "refused, as those with another authkey; never a server that is heard."
        ),
    ),
    options=(
        Option("--yes", help="With confirm-down: you have made sure."),
        Option(
            "--force",
            help="With confirm-down: also where its BMC or refused datagrams say that it lives; "
            "recorded.",
        ),
        Option("--json", help="With confirm-down: one JSON object instead of text."),
    ),
    arguments=(
        Argument("confirm-down", help="Vouch for a server.", complete="confirm-down"),
        Argument("SERVER", help="The server that is down.", complete="server"),
    ),
    examples=(("clpnode confirm-down server1 --yes", "server1's power cable is in your hand"),),
    json=False,
)

CLPWITNESSD = Command(
    "clpwitnessd",
    summary="the witness server, for a machine outside the cluster",
    synopsis=("[--listen ADDRESS[:PORT]] [--authkey FILE]... [--cert FILE --key FILE]",),
    description=(
        (
            "Grants a lease to one server of a cluster at a time, so that the half of a divided "
            "cluster that gets it goes on ([[np]] type witness). It runs in the foreground, on a "
            "machine that is none of the cluster's servers, and needs no rights but to read its "
            "key: the file that clpcfctrl --keygen --for witness makes on a server. The authkey "
            "itself does as well, but opens the whole cluster."
        ),
        (
            "It also carries heartbeats between servers whose networks are cut ([[interconnect]] "
            "type witnesshb)."
        ),
        (
            "Requests and answers are signed with the cluster's authkey; a client without it "
            "gets nothing. With several --authkey it serves several clusters."
        ),
        (
            "It keeps nothing on disk: after a start it grants nothing for as long as an earlier "
            "lease may run (--longest-lease). Losing it stops nothing while the servers hear "
            "each other."
        ),
    ),
    options=(
        Option("--listen", metavar="ADDRESS[:PORT]", help="Where it answers; 0.0.0.0:29003."),
        Option(
            "--authkey",
            metavar="FILE",
            help="A cluster's key, mode 0400; may be repeated.",
            many=True,
            complete="file",
        ),
        Option("--cert", metavar="FILE", complete="file", help="Certificate (PEM): https only."),
        Option("--key", metavar="FILE", complete="file", help="Its key (PEM)."),
        Option("--longest-lease", metavar="SECONDS", help="Longer ones are not granted; 10."),
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
