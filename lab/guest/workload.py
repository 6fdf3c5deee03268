"""The application of failover1 in the laboratory: it says all the time that it runs.

`workload.py SERVER FLOATING-ADDRESS COLLECTOR PORT` sends a datagram from the floating address
at begin, every 100 ms and at end (SIGTERM), each with the server and a number.
"""

import contextlib
import signal
import socket
import sys
import time

BEAT_S = 0.1


class Ended(Exception):
    """SIGTERM."""


def ended(*_: object) -> None:
    raise Ended


def main() -> None:
    server, source, collector, port = sys.argv[1:]
    run = f"{time.time_ns():x}"
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.bind((source, 0))
    number = 0

    def tell(kind: str) -> None:
        nonlocal number
        number += 1
        with contextlib.suppress(OSError):  # no path now: the collector sees the gap
            sender.sendto(f"{kind} {server} {run} {number}".encode(), (collector, int(port)))

    signal.signal(signal.SIGTERM, ended)
    try:
        tell("begin")
        while True:
            time.sleep(BEAT_S)
            tell("beat")
    except Ended:
        tell("end")


main()
