"""The holder's clock is set an hour forth, then two back: nothing moves."""

from functools import partial

from lab.case import Lab


def run(lab: Lab) -> None:
    holder = lab.holder()
    for step in (3600, -7200, 3600):
        line = f"date -s @$(( $(date +%s) + {step} ))"
        lab.fault(f"{holder.name}: clock {step:+d} s", partial(holder.sh, line))
        lab.stays(holder, 6)
