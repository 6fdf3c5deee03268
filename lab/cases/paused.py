"""The holder is paused for 4 s, as hypervisors do: it fences nobody, and nothing moves."""

import time

from lab.case import Lab


def run(lab: Lab) -> None:
    holder = lab.holder()
    boots = [lab.boot_of(each) for each in lab.servers]
    lab.fault(f"{holder.name}: paused", holder.freeze)
    time.sleep(4)
    holder.thaw()
    lab.note("it goes on")
    lab.stays(holder, 10)
    if boots != [lab.boot_of(each) for each in lab.servers]:
        raise AssertionError("a server was stopped, or reset")
