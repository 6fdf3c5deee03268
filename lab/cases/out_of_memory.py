"""A program on the holder takes all memory: the kernel ends it, and nothing moves."""

from lab.case import Lab

EAT = "python3 -c 'a=[]\nwhile True: a.append(bytearray(1<<20))'"


def run(lab: Lab) -> None:
    holder = lab.holder()
    lab.fault(f"{holder.name}: memory is eaten", lambda: holder.try_sh(EAT, within_s=120))
    lab.stays(holder, 20)
    killed = holder.sh("journalctl -k -b --no-pager | grep -ci 'out of memory' || true").strip()
    lab.figures["processes ended by the kernel"] = killed
