"""Event numbers of what ends a recovery, as the original's catalogue has them (X 4.2).

Log filters that people have go by module and number.  What the original has no message for is
numbered from 930: its own end before that in every module.
"""

from __future__ import annotations

from clptools.core.model.settings import Monitor
from clptools.core.model.words import FinalAction

ACTION = {
    FinalAction.STOP_GROUP: 12,
    FinalAction.STOP_RESOURCE: 12,
    FinalAction.STOP_CLUSTER: 15,
    FinalAction.SHUTDOWN: 16,
    FinalAction.REBOOT: 17,
    FinalAction.SYSRQ_PANIC: 35,
    FinalAction.KEEPALIVE_RESET: 37,
    FinalAction.KEEPALIVE_PANIC: 39,
    FinalAction.BMC_RESET: 41,
    FinalAction.BMC_POWER_OFF: 43,
    FinalAction.BMC_POWER_CYCLE: 45,
    FinalAction.BMC_NMI: 47,
}
"""A final action, or what the BMC does after a recovery, begins."""

FAILED: dict[str, int] = {
    FinalAction.STOP_CLUSTER: 21,
    FinalAction.SHUTDOWN: 22,
    FinalAction.REBOOT: 23,
    FinalAction.SYSRQ_PANIC: 36,
    FinalAction.KEEPALIVE_RESET: 38,
    FinalAction.KEEPALIVE_PANIC: 40,
    FinalAction.BMC_RESET: 42,
    FinalAction.BMC_POWER_OFF: 44,
    FinalAction.BMC_POWER_CYCLE: 46,
    FinalAction.BMC_NMI: 48,
}
"""It was not done."""


def module(monitor: Monitor) -> str:
    """`mm` for message receive monitors, `rm` for all others."""
    return "mm" if monitor.type == "mrw" else "rm"
