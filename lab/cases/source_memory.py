"""Memory runs short: above the threshold for 2 s the group moves; there is some again: Normal."""

from lab import sources
from lab.case import Lab

CONFIG = sources.CONFIG

# What is left free is a tenth of the memory, and no more comes of it than that.
FILL = """
mount -o remount,size=95% /dev/shm
free=$(awk '/MemAvailable/{print $2}' /proc/meminfo)
all=$(awk '/MemTotal/{print $2}' /proc/meminfo)
head -c $(( (free - all / 10) * 1024 )) /dev/zero >/dev/shm/fill
"""


def run(lab: Lab) -> None:
    holder = lab.holder()
    other = lab.other(holder)
    sources.becomes(lab, holder, "memory", "Normal")
    since = sources.break_it(lab, holder, "nine tenths of its memory are taken", FILL)
    lab.serves(other)
    sources.becomes(lab, holder, "memory", "Error")
    sources.says(holder, "memory is used up")
    sources.measure(lab, holder, "memory", since)
    holder.sh("rm /dev/shm/fill")
    lab.note("there is memory again")
    sources.recovered(lab, holder, "memory")
