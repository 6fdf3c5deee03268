"""What the manual and the shells know of `clpwitnessd`; the command itself is an arbiter's."""

from __future__ import annotations

from clptools.cli.command import Command, Option

COMMAND = Command(
    "clpwitnessd",
    summary="the witness server, for a machine outside the cluster",
    synopsis=("[--listen ADDRESS[:PORT]] [--authkey FILE]... [--cert FILE --key FILE]",),
    description=(
        (
            "Grants a lease to one server of a cluster at a time, so that the half of a divided "
            "cluster that gets it goes on ([[np]] type witness). It runs in the foreground, on a "
            "machine that is none of the cluster's servers, and needs no rights but to read the "
            "authkey."
        ),
        (
            "It also carries heartbeats between servers whose networks are cut ([[interconnect]] "
            "type witnesshb)."
        ),
        (
            "Requests and answers are signed with the cluster's authkey; whoever does not have "
            "it gets nothing. With several --authkey it serves several clusters."
        ),
        (
            "It keeps nothing on a disk: after a start it grants nothing for as long as a lease "
            "of before may run (--longest-lease). Losing it stops nothing while the servers "
            "hear each other."
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
