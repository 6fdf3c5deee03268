"""A program on the holder takes all memory: the kernel ends it, and nothing moves."""

from lab.case import Lab

EAT = "systemd-run -q --collect python3 -c 'a=[]\nwhile True: a.append(bytearray(1<<20))'"
KILLED = "journalctl -k -b --no-pager -o cat | grep 'Killed process' || true"


def run(lab: Lab) -> None:
    holder = lab.holder()
    before = holder.sh(KILLED)
    lab.fault(f"{holder.name}: memory is eaten", lambda: holder.sh(EAT))
    said = lab.until("the kernel ends it", lambda: holder.sh(KILLED)[len(before) :], 120)
    lab.note(said.strip().partition(" total-vm")[0])
    lab.stays(holder, 10)
    if "python3" not in said or len(said.splitlines()) > 1:
        raise AssertionError(f"others were ended: {said}")
    if len({word.run for word in lab.words()}) != 1:
        raise AssertionError("the workload was started anew")
