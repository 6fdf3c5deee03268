"""Final action `bmc-nmi` at a BMC that has none: refused with the reason, the group goes on."""

from lab import finals
from lab.case import Lab

CONFIG = finals.CONFIG

# OpenIPMI's ipmi_sim knows no diagnostic interrupt (IPMI 2.0, 28.3): invalid field, 0xCC.
SAID = "clpstat --events --json | grep 'was not done' | grep -c 'invalid field (0xcc)'"


def run(lab: Lab) -> None:
    holder = lab.holder()
    boot = lab.boot_of(holder)
    lab.fault(f"{holder.name}: final action bmc-nmi", lambda: finals.fail(lab, "bmc-nmi"))
    lab.expect("it says why it was not done", lambda: holder.try_sh(SAID)[0] == 0, 30)
    lab.stays(holder, 5)
    if lab.boot_of(holder) != boot:
        raise AssertionError("the server was reset")
    holder.sh("clpmonctrl --dummy-off -m bmc-nmi")
