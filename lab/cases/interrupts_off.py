"""All processors of the holder spin, interrupts off: only the BMC's timer can still reset it."""

import base64

from lab import hang
from lab.case import Lab
from lab.cases import userw_ipmi
from lab.cases.agent_stopped import reset_by_watchdog
from lab.image import Image

OWN_TIMER = True
CONFIG = userw_ipmi.CONFIG


def prepare(image: Image) -> None:
    hang.module(image.release)


def run(lab: Lab) -> None:
    holder = lab.holder()
    made = hang.module(holder.sh("uname -r").strip())
    holder.sh("base64 -d >/run/hang.ko", text=base64.b64encode(made).decode())
    reset_by_watchdog(
        lab,
        "a module takes its processors, interrupts off",
        lambda it: it.spawn("insmod /run/hang.ko"),
    )
