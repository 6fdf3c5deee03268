"""The holder is paused for 2.5 s, as hypervisors do: it fences nobody, and nothing moves."""

import time

from lab.case import Lab


def run(lab: Lab) -> None:
    holder = lab.holder()
    boots = [lab.boot_of(each) for each in lab.servers]
    lab.fault(f"{holder.name}: paused", holder.freeze)
    time.sleep(2.5)  # longer than the time-out of 3 s it would be taken for dead
    holder.thaw()
    lab.note("it goes on")
    lab.stays(holder, 10)
    if boots != [lab.boot_of(each) for each in lab.servers]:
        raise AssertionError("a server was stopped, or reset")
