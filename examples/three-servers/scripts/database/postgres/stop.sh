#!/bin/sh
# Stops the database of database.  Exit status 0 is a promise that it no longer runs here:
# another server starts it next.  Anything else keeps the group from starting elsewhere without
# proof, so never exit 0 when in doubt.
#
# Stopping what does not run is success: this script is also called after a start that failed,
# and when the agent starts without knowing what ran before.
#
#   CLP_FACTOR        why: GROUPSTOP, GROUPMOVE, GROUPFAILOVER, SERVERSTOP, CLUSTERSTOP, ...
#   CLP_EVENT         how it had been started
#   CLP_GROUPNAME, CLP_RESOURCENAME, CLP_SERVER, CLP_PRIORITY, CLP_PATH
set -eu

if [ -z "${CLP_EVENT:-}" ]; then
    echo "not called by the cluster (CLP_EVENT is not set)" >&2
    exit 1
fi

echo "stopping ${CLP_RESOURCENAME} of ${CLP_GROUPNAME} (${CLP_FACTOR:-unknown reason})"

# Stop the database here, and wait until it is gone, for example:
#   systemctl stop postgresql.service
#   ! systemctl --quiet is-active postgresql.service
