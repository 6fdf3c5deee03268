"""`systemctl stop clpnode` on the holder: the group moves; a start brings it back as standby."""

from lab.case import Lab


def run(lab: Lab) -> None:
    holder = lab.holder()
    other = lab.other(holder)
    lab.fault(
        f"{holder.name}: systemctl stop clpnode", lambda: holder.spawn("systemctl stop clpnode")
    )
    lab.serves(other)
    lab.proven(other)
    lab.expect(
        "the unit is down",
        lambda: holder.try_sh("systemctl is-active clpnode")[1].strip() == "inactive",
        60,
    )
    holder.sh("systemctl start clpnode", within_s=60)
    lab.note(f"{holder.name}: systemctl start clpnode")
    lab.stays(other, 10)
