"""A SCSI disk reports a medium error, later it answers no more: the group moves both times."""

from lab import sources
from lab.case import Lab

CONFIG = sources.CONFIG

OPTIONS = "/sys/bus/pseudo/drivers/scsi_debug/opts"
EVERY = "/sys/bus/pseudo/drivers/scsi_debug/every_nth"
# Sector 0x1234 is the one that scsi_debug is bad at.
READ = "dd if=/dev/sdc of=/dev/null bs=512 skip=4660 count=1 iflag=direct"

# Every command is ignored; the kernel waits for a second, and tries once only.
HANG = f"""
echo 1 >/sys/block/sdc/device/timeout
echo 0 >$(echo /sys/block/sdc/device/scsi_disk/*/max_retries)
echo 4 >{OPTIONS}; echo 1 >{EVERY}
"""


def run(lab: Lab) -> None:
    holder = lab.holder()
    other = lab.other(holder)
    for each in (holder, other):
        each.sh(sources.SCSI)
    since = sources.break_it(
        lab, holder, "sdc reports a medium error", f"echo 2 >{OPTIONS}; {READ} || :"
    )
    lab.serves(other)
    sources.becomes(lab, holder, "scsi", "Error")
    sources.says(holder, "sdc: critical medium error")
    sources.measure(lab, holder, "scsi", since)
    holder.sh(f"echo 0 >{OPTIONS}; {READ}")
    lab.note("it reads again")
    sources.recovered(lab, holder, "scsi")
    other.spawn(HANG + READ)
    lab.note(f"{other.name}: sdc answers no more")
    lab.expect(f"the group is heard from {holder.name}", lambda: _speaks(lab, holder.name), 90)
    sources.becomes(lab, other, "scsi", "Error")
    other.sh(f"echo 0 >{OPTIONS}; echo 0 >{EVERY}; echo running >/sys/block/sdc/device/state")
    lab.note("it answers again")
    sources.recovered(lab, other, "scsi")


def _speaks(lab: Lab, name: str) -> bool:
    return lab.collector.speaker() == name
