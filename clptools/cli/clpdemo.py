"""`clpdemo`: a throw-away two-server cluster on this machine, a BMC's trap, a failover."""

from __future__ import annotations

import signal
import sys
from typing import NoReturn

from clptools.cli.command import Answer, Args, Command, Option

COMMAND = Command(
    "clpdemo",
    summary="show a failover on a throw-away cluster on this machine",
    synopsis=("[--keep]",),
    description=(
        (
            "Starts two agents on loopback addresses, each with a simulated BMC, lets the BMC of "
            "server1 send a fatal trap through a real socket, and shows what the operator sees: "
            "status, the trap decoded, the failover with its times, the explanation, status."
        ),
        (
            "It needs no root and no network, touches nothing outside a temporary folder, and "
            "removes all of it at its end, also after Ctrl-C. It takes about eight seconds."
        ),
    ),
    options=(Option("--keep", help="Keep the folder: configuration, logs, journals."),),
    examples=(
        ("clpdemo", "the demonstration"),
        ("clpdemo --keep --json", "for programs; the folder stays for inspection"),
    ),
)

PROCESSOR_FAILED = "07h/6F/0"
"""Row of the class table: processor, internal error (IERR); FATAL."""
ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
BMC_HEARTBEAT = '[[interconnect]]\ntype = "bmchb"'


def run(args: Args) -> Answer:
    """Plays it; ends every process and removes the folder, however it ends."""
    import time

    import msgspec

    from clptools.intake.rehearsal import build_pet_trap, pet_event
    from clptools.sim.demo import Demo
    from clptools.sim.loopback import LoopbackCluster

    keep = args.given("keep")
    quiet = args.given("json")

    def trap() -> bytes:
        return build_pet_trap(pet_event(PROCESSOR_FAILED, unix_time=time.time()))

    # Signals are blocked between making the cluster and entering the block that removes it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDS)
    for sign in ENDS:
        if signal.getsignal(sign) is not signal.SIG_IGN:  # as in the background, or under nohup
            signal.signal(sign, _interrupt)
    cluster = LoopbackCluster(more=BMC_HEARTBEAT)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        told = Demo(cluster, trap, _check if quiet else _tell).run(keep)
    finally:
        # A second Ctrl-C must not leave agents behind.
        for sign in ENDS:
            signal.signal(sign, signal.SIG_IGN)
        cluster.stop()
        if not keep:
            cluster.remove()
    end = f"Kept: {cluster.folder}" if keep else "Every process has ended; the folder is removed."
    return Answer(end, msgspec.to_builtins(told))


_stopped_by: list[int] = []


def _tell(text: str) -> None:
    print(text, flush=True)
    _check(text)


def _check(_: str) -> None:
    # An exception from a signal handler is lost if it interrupts a clean-up, such as an import's.
    if _stopped_by:
        sys.exit(128 + _stopped_by[0])


def _interrupt(number: int, frame: object) -> NoReturn:
    """Ends as Ctrl-C does, through every `finally`."""
    _stopped_by.append(number)
    sys.exit(128 + number)
