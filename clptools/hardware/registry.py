"""The names of the host actions; `host.py` carries them out, those of `bmc-` by the own BMC."""

from __future__ import annotations

HOST_ACTIONS = (
    "shutdown",
    "reboot",
    "sysrq-panic",
    "keepalive-reset",
    "keepalive-panic",
    "bmc-reset",
    "bmc-power-off",
    "bmc-power-cycle",
    "bmc-nmi",
)
