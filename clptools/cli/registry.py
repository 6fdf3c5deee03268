"""The commands, and where each one lives.

A module of a command has `COMMAND` (its data) and `run(args) -> Answer`; it raises `ClpError`
and never prints a fault or exits.  Modules of reading commands import nothing heavy at their
top.
"""

from __future__ import annotations

COMMANDS: dict[str, str] = {
    name: f"clptools.cli.{name}"
    for name in (
        "clpbackup",
        "clpbmccnf",
        "clpbwctrl",
        "clpcfadm",
        "clpcfchk",
        "clpcfctrl",
        "clpcfget",
        "clpcfset",
        "clpcl",
        "clpcompat",
        "clpcpufreq",
        "clpdemo",
        "clpdown",
        "clpencrypt",
        "clpforcestop",
        "clpfencepeer",
        "clpfwctrl",
        "clpgrp",
        "clphealthchk",
        "clplcnsc",
        "clpledctrl",
        "clplogcc",
        "clplogcf",
        "clplogcmd",
        "clpmdctrl",
        "clpmdstat",
        "clpmonctrl",
        "clpmsg",
        "clpperfc",
        "clpperfchk",
        "clpregctrl",
        "clpreplay",
        "clprestore",
        "clprexec",
        "clproset",
        "clprsc",
        "clpsim",
        "clpstat",
        "clpstdn",
        "clpsvcctrl",
        "clptoratio",
        "clptrap",
        "clptrnreq",
        "clpwait",
    )
}

DAEMONS = ("clpnode", "clpwitnessd")
"""Commands of other entry points: `daemons` describes them for the manual and the shells."""
