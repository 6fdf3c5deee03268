"""ext4 meets an I/O error and remounts itself read-only: the group moves; repaired: Normal."""

from lab import sources
from lab.case import Lab

CONFIG = sources.CONFIG

MOUNT = "mkdir -p /srv/data; mount -o errors=remount-ro /dev/mapper/data /srv/data"
WRITE = "for n in 1 2 3; do mkdir /srv/data/$n && sync -f /srv/data; done >/dev/null 2>&1 || :"


def run(lab: Lab) -> None:
    holder = lab.holder()
    other = lab.other(holder)
    sources.make_disk(holder)
    holder.sh(f"mkfs.ext4 -q -F /dev/mapper/data && {MOUNT}")
    sources.becomes(lab, holder, "disk", "Normal")
    line = f"{sources.turn_disk(False)}; {WRITE}"
    since = sources.break_it(lab, holder, "the disk below /srv/data gives I/O errors", line)
    lab.serves(other)
    sources.becomes(lab, holder, "disk", "Error")
    sources.says(holder, "/srv/data (/dev/mapper/data) has become read-only")
    sources.measure(lab, holder, "disk", since)
    repair = "umount /srv/data; e2fsck -fy /dev/mapper/data >/dev/null 2>&1"
    holder.sh(f"{sources.turn_disk(True)}; {repair}; {MOUNT} && touch /srv/data/well")
    lab.note("the disk is well, the file system checked and mounted")
    sources.recovered(lab, holder, "disk")
    holder.sh("umount /srv/data")
