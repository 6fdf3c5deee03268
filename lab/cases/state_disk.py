"""The disk below /var/lib/clptools turns to I/O errors on the holder: what it holds goes on."""

from lab import sources
from lab.case import Lab

PLACE = "/var/lib/clptools"
MOVE = f"""
systemctl stop clpnode
mkfs.ext4 -q -F /dev/mapper/data && mount /dev/mapper/data /mnt
cp -a {PLACE}/. /mnt/ && umount /mnt && mount -o errors=remount-ro /dev/mapper/data {PLACE}
systemctl start clpnode
"""


def run(lab: Lab) -> None:
    first = lab.holder()
    holder = lab.other(first)
    sources.make_disk(holder)
    holder.sh(MOVE, within_s=120)
    lab.until("the cluster is normal", lambda: not lab.cluster.faults(), 120)
    first.sh("clpgrp -m failover1", within_s=60)
    lab.until("it is there", lambda: lab.collector.speaker() == holder.name, 30)
    lab.fault(f"{PLACE} gives I/O errors", lambda: holder.sh(sources.turn_disk(False)))
    lab.stays(holder, 20)
    holder.sh("clpgrp -m failover1", within_s=60)
    lab.expect("the group can still be moved", lambda: lab.collector.speaker() == first.name, 30)
    holder.power("off")
    lab.note(f"{holder.name}: chassis power off")
    lab.stays(first, 5)
