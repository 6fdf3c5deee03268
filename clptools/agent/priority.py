"""The agent comes before ordinary work: heartbeats, leases and the kernel's log do not wait."""

from __future__ import annotations

import contextlib
import os

NICE = -10


def come_first() -> None:
    """Raise the priority of this thread; scripts and other children do not inherit it.

    SCHED_RESET_ON_FORK (sched(7)) gives children and threads nice 0 again: what a group runs
    must compete as if its administrator had started it.  Without the right to, nothing changes.
    """
    with contextlib.suppress(OSError):
        policy = os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK
        if policy == os.SCHED_OTHER and os.getpriority(os.PRIO_PROCESS, 0) > NICE:
            os.sched_setscheduler(0, policy | os.SCHED_RESET_ON_FORK, os.sched_param(0))
            os.setpriority(os.PRIO_PROCESS, 0, NICE)
