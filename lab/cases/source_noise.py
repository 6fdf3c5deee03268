"""Forged lines in the kernel's log, and thousands of true ones of no interest: nothing happens."""

from lab import sources
from lab.case import Lab
from lab.machine import Machine

CONFIG = sources.CONFIG

# What programs write there is marked by the kernel as theirs, whatever they write.
FORGED = (
    "mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 4: bd00000000070005",
    "Buffer I/O error on dev dm-0, logical block 0, async page read",
    "blk_update_request: I/O error, dev sdc, sector 0",
    "NETDEV WATCHDOG: bond0 (bonding): transmit queue 0 timed out",
    "EXT4-fs error (device dm-0): ext4_find_entry:1463: inode #2: comm ls: reading directory",
)
# The kernel itself: a new port, a module, and what every task is doing, five times.
NOISE = """
ip link add noise type veth peer name esion; ip link set noise up; ip link del noise
modprobe dummy numdummies=0
for n in 1 2 3 4 5; do echo t >/proc/sysrq-trigger; done
"""
# A record's number is its second field (Documentation/ABI/testing/dev-kmsg).
NUMBER = """
import os
log = os.open("/dev/kmsg", os.O_RDWR | os.O_NONBLOCK)
os.lseek(log, 0, os.SEEK_END)
os.write(log, b"mark\\n")
print(os.read(log, 8192).split(b",")[1].decode())
"""


def run(lab: Lab) -> None:
    holder = lab.holder()
    sources.make_disk(holder)
    for line in FORGED:
        holder.sh("cat >/dev/kmsg", text=f"<2>{line}\n")
    lab.note(f"{len(FORGED)} forged lines in the kernel's log")
    before = _records(holder)
    lab.fault(f"{holder.name}: noise", lambda: holder.sh(NOISE, within_s=120))
    lab.stays(holder, 10)
    lab.figures["records of the kernel"] = str(_records(holder) - before)
    for monitor in ("network", "disk", "scsi", "processor"):
        if sources.status(lab, holder, monitor) != "Normal":
            said = holder.sh("clpstat --hw", within_s=30)
            raise AssertionError(f"{monitor} took noise for a fault:\n{said}")


def _records(server: Machine) -> int:
    """How many the kernel has written since it booted."""
    return int(server.sh("python3 -I -S -", text=NUMBER))
