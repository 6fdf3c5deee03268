"""The holder's processor spins with interrupts off: only the BMC's timer can still reset it."""

import base64

from lab import hang
from lab.case import Lab
from lab.cases import userw_ipmi

OWN_TIMER = True
CONFIG = userw_ipmi.CONFIG


def run(lab: Lab) -> None:
    holder = lab.holder()
    other = lab.other(holder)
    before = lab.boot_of(holder)
    made = hang.module(holder.sh("uname -r").strip())
    holder.sh("base64 -d >/run/hang.ko", text=base64.b64encode(made).decode())
    lab.fault(
        f"{holder.name}: a module takes its processor, interrupts off",
        lambda: holder.spawn("insmod /run/hang.ko"),
    )
    lab.serves(other)
    lab.proven(other)
    lab.rebooted(holder, before)
    lab.stays(other, 10)
