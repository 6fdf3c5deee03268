"""Final actions of monitors: what the cases `final-*` share.

For each action a monitor whose script is always well; a dummy failure of it
(`clpmonctrl --dummy-on`) makes its final action due.  No forced stop is configured, so that what
happens to the server is the action's doing alone.
"""

from __future__ import annotations

from lab.case import Lab
from lab.cluster import ARBITER, GROUP, sample

ACTIONS = (
    "shutdown",
    "reboot",
    "sysrq-panic",
    "bmc-reset",
    "bmc-power-off",
    "bmc-power-cycle",
    "bmc-nmi",
)

_MONITOR = f"""
[[monitor]]
type = "genw"
name = "{{action}}"
script = "/bin/true"
interval = 5
timing = "active"
target = "{GROUP}"
[monitor.recovery]
action = "final"
final_action = "{{action}}"
"""

CONFIG = sample(
    forced_stop="none",
    # Without limit: the cases end each server more often in a row than a real one may.
    more="[cluster]\nmax_reboots = 0\n"
    + ARBITER
    + "".join(_MONITOR.format(action=action) for action in ACTIONS),
)


def check(lab: Lab, action: str, *proofs: str, off: bool = False, before: str = "") -> None:
    """The holder's final action is due: the group moves, and the machine is reset, or off.

    `before`: a shell line for the holder, such as how its kernel is to panic.  Raises Wrong.
    """
    holder = lab.holder()
    other = lab.other(holder)
    if before:
        holder.sh(before)
    boot = lab.boot_of(holder)
    lab.fault(f"{holder.name}: final action {action}", lambda: fail(lab, action))
    lab.serves(other)
    lab.proven(other, *proofs)
    if off:
        lab.expect(f"{holder.name} is off", lambda: not holder.on, 90)
    else:
        lab.rebooted(holder, boot)


def fail(lab: Lab, action: str) -> None:
    """The monitor of that action is in error from now on, where the group is."""
    lab.holder().spawn(f"clpmonctrl --dummy-on -m {action}")
