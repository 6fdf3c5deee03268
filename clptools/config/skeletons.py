"""Scripts that a new `exec` resource needs, as a frame to fill in; what is there stays."""

from __future__ import annotations

import os

START = """\
#!/bin/sh
# Starts {resource} of {group}.  Exit status 0: it runs; anything else: it does not, and the group
# is stopped here and tried on the next server.
set -eu

# A restart here, by a monitor say, is told as the start before it was.
case "${{CLP_EVENT:-}}" in
START)      # by an operator, or with the cluster
    ;;
FAILOVER)   # taken over from ${{CLP_SERVER_PREV:-another server}}: data may need a check
    ;;
*)
    echo "not started by the cluster (CLP_EVENT is not set)" >&2
    exit 1
    ;;
esac

# Start the application here, and return when it answers.
"""
STOP = """\
#!/bin/sh
# Stops {resource} of {group}.  Exit status 0 is a promise that it no longer runs here: another
# server starts it next.  Stopping what does not run is success.
set -eu

# Stop the application here, and wait until it is gone.  CLP_FACTOR says why it is stopped.
"""
MODE = 0o750


def make(folder: str, group: str, resource: str) -> list[str]:
    """Makes `scripts/GROUP/RESOURCE/start.sh` and `stop.sh` where they are missing.

    Returns the paths of those made.  Raises OSError.
    """
    place = os.path.join(folder, "scripts", group, resource)
    made: list[str] = []
    for name, frame in (("start.sh", START), ("stop.sh", STOP)):
        path = os.path.join(place, name)
        if os.path.lexists(path):
            continue
        os.makedirs(place, mode=0o750, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, MODE), "w") as file:
            os.fchmod(file.fileno(), MODE)
            file.write(frame.format(group=group, resource=resource))
        made.append(path)
    return made
