"""`clpcompat`: the original's places and names on this host, for scripts that name them."""

from __future__ import annotations

import os
import sys

from clptools.cli.command import SUCCEEDED, Answer, Args, Command, Option, done
from clptools.cli.requests import one_of
from clptools.faults import ClpError, ExitCode

COMMAND = Command(
    "clpcompat",
    summary="make the original's paths and units on this host, or remove them",
    synopsis=("--install", "--remove", "--refresh", "--show"),
    description=(
        (
            "Makes the original's paths for scripts that name them, and only on request: "
            "/opt/nec/clusterpro with bin, scripts, log and work/trnreq as links to those of "
            "clptools, and links in /usr/sbin to commands that are missing there. clpbackup.sh, "
            "clpcfadm.py, clpfwctrl.sh, clprestore.sh and clpsvcctrl.sh also have these endings "
            "there."
        ),
        (
            "If the node agent is a unit of systemd, clusterpro.service is another name of "
            "clpnode.service. The other services of the original (clusterpro_webmgr, "
            "clusterpro_alertsync and so on) have no work here. Each becomes a unit that runs "
            "nothing, so that a script that restarts them does not restart the node agent."
        ),
        (
            "etc/clp.conf is an export of the configuration in force (clpcfctrl --export). The "
            "units clpcompat.path and clpcompat.service write it again whenever another "
            "configuration is put in force; without systemd, --refresh does. clptools does not "
            "read it. A script that edits a clp.conf must use --export, edit, --import. If "
            "--refresh finds an edited file, it keeps it as etc/clp.conf.edited."
        ),
        (
            "--remove removes exactly what --install made. A link that now leads elsewhere, or a "
            "file that was edited, stays and is named. On a host on which EXPRESSCLUSTER itself is "
            "installed the command is refused (6)."
        ),
    ),
    options=(
        Option("--install", help="Make them. Files that already exist stay."),
        Option("--remove", help="Remove them."),
        Option("--refresh", help="Write etc/clp.conf again."),
        Option("--show", help="Say whether they exist."),
    ),
    examples=(("clpcompat --install", "/opt/nec/clusterpro/bin/clpstat is our clpstat"),),
)


def run(args: Args) -> Answer:
    from clptools.cli import compat
    from clptools.paths import root

    what = one_of(COMMAND, args, "install", "remove", "refresh", "show")
    if what == "install":
        made = compat.install(_binaries())
        return done(f"{root()}{compat.HOME} leads to clptools.\n{SUCCEEDED}", made=made)
    if what == "refresh":
        edit = compat.refresh()
        said = [f"It was edited, and nothing had read that: it is kept as {edit}."] if edit else []
        return done("\n".join([*said, SUCCEEDED]), file=root() + compat.CONF, edited=edit)
    if what == "remove":
        gone, stays = compat.remove()
        kept = [f"{path} was changed, and stays." for path in stays]
        return done("\n".join([*kept, SUCCEEDED]), removed=gone, kept=stays)
    there = compat.is_installed()
    text = f"{root()}{compat.HOME} {'leads to clptools' if there else 'is not made'}."
    return Answer(text, {"installed": there})


def _binaries() -> str:
    """The folder of our commands: that of the one that runs."""
    folder = os.path.dirname(os.path.abspath(sys.argv[0]))
    if not os.access(os.path.join(folder, "clpstat"), os.X_OK):
        text = f"{folder}: the commands of clptools are not here, so nothing can lead to them."
        raise ClpError(ExitCode.FAILED, text, "Call it as it is installed.")
    return folder
