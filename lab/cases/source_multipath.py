"""A multipath disk loses a path: Caution; the last one: the group moves; both are back: Normal."""

from lab import sources
from lab.case import Lab
from lab.machine import Machine

CONFIG = sources.CONFIG

MAP = """
dmsetup info mpatha >/dev/null 2>&1 && exit 0
modprobe dm-multipath; modprobe dm-round-robin
size=$(blockdev --getsz /dev/sda)
dmsetup create mpatha --uuid mpath-lab --table "0 $size multipath 0 0 2 1 \\
    round-robin 0 1 0 /dev/sda round-robin 0 1 0 /dev/sdb"
udevadm settle
"""
READ = "dd if=/dev/mapper/mpatha of=/dev/null bs=4k count=1 iflag=direct"


def run(lab: Lab) -> None:
    holder = lab.holder()
    other = lab.other(holder)
    holder.sh(sources.SCSI + MAP)
    holder.sh(READ)
    sources.becomes(lab, holder, "paths", "Normal")
    sources.break_it(lab, holder, "a path of mpatha fails", f"{_state('sda', 'offline')}; {READ}")
    sources.becomes(lab, holder, "paths", "Caution")
    sources.says(holder, "mpatha: path sda failed, 1 left")
    lab.stays(holder, 5)
    line = f"{_state('sdb', 'offline')}; {READ} || :"
    since = sources.break_it(lab, holder, "the last one fails", line)
    lab.serves(other)
    sources.becomes(lab, holder, "paths", "Error")
    sources.says(holder, "mpatha: the last path is lost")
    sources.measure(lab, holder, "paths", since)
    _reinstate(holder)
    lab.note("both paths work again")
    sources.recovered(lab, holder, "paths")
    holder.sh(READ)


def _state(disk: str, word: str) -> str:
    return f"echo {word} >/sys/block/{disk}/device/state"


def _reinstate(server: Machine) -> None:
    """What multipathd does when its checker finds a path well."""
    for disk in ("sda", "sdb"):
        number = f"$(cat /sys/block/{disk}/dev)"
        server.sh(f"{_state(disk, 'running')}; dmsetup message mpatha 0 reinstate_path {number}")
