"""A disk turns to I/O errors (dm-flakey): the group moves; the disk is well again: Normal."""

from lab import sources
from lab.case import Lab

CONFIG = sources.CONFIG


def run(lab: Lab) -> None:
    holder = lab.holder()
    other = lab.other(holder)
    sources.make_disk(holder)
    holder.sh(sources.READ)
    sources.becomes(lab, holder, "disk", "Normal")
    line = f"{sources.turn_disk(False)}; {sources.READ}"
    since = sources.break_it(lab, holder, "data gives I/O errors", line)
    lab.serves(other)
    sources.becomes(lab, holder, "disk", "Error")
    sources.says(holder, "buffer I/O error")
    sources.measure(lab, holder, "disk", since)
    holder.sh(sources.turn_disk(True))
    lab.note("data is well")
    sources.recovered(lab, holder, "disk")
    lab.stays(other, 5)
