"""Machine checks: corrected ones are a Stall, an uncorrected one moves the group."""

from lab import sources
from lab.case import Lab

CONFIG = sources.CONFIG

# IA32_MCi_STATUS and IA32_MCG_STATUS (Intel SDM 3B, 15.3.2): a corrected memory read error, and
# an uncorrected one of memory scrubbing that software may survive (SRAO).
CORRECTED = 0x9400_0000_0000_009F
UNCORRECTED = 0xBD00_0000_0000_00C0
RIP_VALID_AND_IN_PROGRESS = 5
EAGER = "echo 1 >/sys/devices/system/machinecheck/machinecheck0/check_interval"


def run(lab: Lab) -> None:
    holder = lab.holder()
    other = lab.other(holder)
    holder.sh(EAGER)  # the kernel looks every second, not every five minutes
    lab.fault(f"{holder.name}: corrected memory errors", lambda: None)
    for bank in range(4, 8):
        holder.machine_check(bank, CORRECTED)
    sources.becomes(lab, holder, "processor", "Stall")
    lab.stays(holder, 5)
    lab.note(f"{holder.name}: an uncorrected error")
    since = float(holder.sh("date +%s.%N"))
    holder.machine_check(9, UNCORRECTED, global_status=RIP_VALID_AND_IN_PROGRESS)
    lab.serves(other)
    sources.becomes(lab, holder, "processor", "Error")
    sources.says(holder, "uncorrected machine check in bank 9")
    sources.measure(lab, holder, "processor", since)
    sources.recovered(lab, holder, "processor", 90)
