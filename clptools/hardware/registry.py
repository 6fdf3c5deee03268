"""Host actions, on this machine or by its BMC: name -> module."""

from __future__ import annotations

VARIANTS: dict[str, str] = {
    "shutdown": "clptools.hardware.host",
    "reboot": "clptools.hardware.host",
    "sysrq-panic": "clptools.hardware.host",
    "keepalive-reset": "clptools.hardware.host",
    "keepalive-panic": "clptools.hardware.host",
    "bmc-reset": "clptools.hardware.ipmi",
    "bmc-power-off": "clptools.hardware.ipmi",
    "bmc-power-cycle": "clptools.hardware.ipmi",
    "bmc-nmi": "clptools.hardware.ipmi",
}
