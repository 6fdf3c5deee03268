"""The holder's clock is set an hour forth, then two back: nothing moves."""

from lab.case import Lab


def run(lab: Lab) -> None:
    holder = lab.holder()
    for step in (3600, -7200, 3600):
        lab.fault(
            f"{holder.name}: clock {step:+d} s",
            lambda s=step: holder.sh(f"date -s @$(( $(date +%s) + {s} ))"),
        )
        lab.stays(holder, 12)
