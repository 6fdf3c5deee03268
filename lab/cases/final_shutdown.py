"""Final action `shutdown`: the group moves, the server is off; the last server refuses its own."""

from lab import finals
from lab.case import Lab

CONFIG = finals.CONFIG


def run(lab: Lab) -> None:
    finals.check(lab, "shutdown", "released", "left", off=True)
    last = lab.holder()
    boot = lab.boot_of(last)
    lab.note(f"{last.name} is the last one; its final action reboot is due")
    finals.fail(lab, "reboot")
    lab.expect(
        "it refuses, and says so (rm 200)",
        lambda: '"rm"' in last.sh("clpstat --events --json | grep '\"event_id\": *200\\b' || true"),
        40,
    )
    lab.stays(last, 10)
    if lab.boot_of(last) != boot:
        raise AssertionError("the last server was rebooted")
    last.sh("clpmonctrl --dummy-off -m reboot")
