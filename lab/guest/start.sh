#!/bin/sh
# Starts the workload of the laboratory in place of an application.
set -eu
exec >/dev/null 2>&1
cd /run
setsid python3 -I -S /usr/lib/clptools-lab/workload.py \
    "$(uname -n)" 192.168.0.100 192.168.0.254 5000 </dev/null &
echo $! >/run/workload.pid
