"""Event numbers of what ends a recovery, as the original's catalogue has them (X 4.2).

Log filters that people have go by module and number.  What the original has no message for is
numbered from 930: its own end before that in every module.
"""

from __future__ import annotations

from clptools.core.model.settings import Monitor

ACTION = {
    "stop-group": 12,
    "stop-resource": 12,
    "stop-cluster": 15,
    "shutdown": 16,
    "reboot": 17,
    "sysrq-panic": 35,
    "keepalive-reset": 37,
    "keepalive-panic": 39,
    "bmc-reset": 41,
    "bmc-power-off": 43,
    "bmc-power-cycle": 45,
    "bmc-nmi": 47,
}
"""A final action, or what the BMC does after a recovery, begins."""

FAILED = {
    "stop-cluster": 21,
    "shutdown": 22,
    "reboot": 23,
    "sysrq-panic": 36,
    "keepalive-reset": 38,
    "keepalive-panic": 40,
    "bmc-reset": 42,
    "bmc-power-off": 44,
    "bmc-power-cycle": 46,
    "bmc-nmi": 48,
}
"""It was not done."""


def module(monitor: Monitor) -> str:
    """`mm` for message receive monitors, `rm` for all others."""
    return "mm" if monitor.type == "mrw" else "rm"
