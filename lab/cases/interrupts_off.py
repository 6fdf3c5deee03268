"""The holder's processor spins with interrupts off: only the BMC's timer can still reset it."""

import base64

from lab import hang
from lab.case import Lab
from lab.cases import userw_ipmi
from lab.cases.agent_stopped import reset_by_watchdog

OWN_TIMER = True
CONFIG = userw_ipmi.CONFIG


def run(lab: Lab) -> None:
    holder = lab.holder()
    made = hang.module(holder.sh("uname -r").strip())
    holder.sh("base64 -d >/run/hang.ko", text=base64.b64encode(made).decode())
    reset_by_watchdog(
        lab,
        "a module takes its processor, interrupts off",
        lambda it: it.spawn("insmod /run/hang.ko"),
    )
