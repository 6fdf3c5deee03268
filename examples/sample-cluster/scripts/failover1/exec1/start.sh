#!/bin/sh
# Starts the application of failover1.  Exit status 0: it runs; anything else: it does not, and
# the group is stopped here and tried on the next server.
#
# What is known (see clp.toml(5), "Scripts"):
#   CLP_EVENT         START (by an operator or with the cluster) or FAILOVER (taken over from
#                     another server); of a restart here: as it was started before
#   CLP_SERVER        HOME on the first server of the group's list, OTHER elsewhere
#   CLP_PRIORITY      this server's place in that list, from 1
#   CLP_SERVER_PREV   where the group ran before; may be empty
#   CLP_GROUPNAME, CLP_RESOURCENAME, CLP_PATH
set -eu

case "${CLP_EVENT:-}" in
START)
    echo "starting ${CLP_GROUPNAME} on its ${CLP_SERVER} server"
    ;;
FAILOVER)
    # Data may be as a crash left it: this is the place to check and repair it.
    echo "taking over ${CLP_GROUPNAME} from ${CLP_SERVER_PREV:-an unknown server}"
    ;;
*)
    echo "not started by the cluster (CLP_EVENT is not set)" >&2
    exit 1
    ;;
esac

# Start the application here, for example:
#   systemctl start my-application.service
# and return only when it answers, so that what depends on it finds it:
#   curl --silent --fail --retry 30 --retry-connrefused http://127.0.0.1:8080/health

echo "${CLP_RESOURCENAME} runs"
