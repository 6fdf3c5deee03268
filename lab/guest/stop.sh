#!/bin/sh
# Ends the workload, and returns when it is gone.
set -eu
pid=$(cat /run/workload.pid 2>/dev/null) || exit 0
kill "$pid" 2>/dev/null || true
while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
rm -f /run/workload.pid
