"""Two servers boot, get the sample cluster by commands, and serve."""

from lab.case import Lab

FRESH = True


def run(lab: Lab) -> None:
    holder = lab.holder()
    lab.note(f"normal, failover1 on {holder.name}")
    for each in lab.servers:
        lab.figures[f"{each.name} boots in"] = each.sh(
            "systemd-analyze | sed -n 's/.*= //p'"
        ).strip()
    said = holder.sh("systemd-analyze security clpnode.service --no-pager | tail -1")
    lab.figures["systemd-analyze security"] = said.split(":")[1].strip()
    lab.expect(
        "what the start script left runs in a scope of its own",
        lambda: holder.sh("systemctl list-units --no-legend --plain 'clptools-failover1-*.scope'"),
    )
    lab.stays(holder, 10)
