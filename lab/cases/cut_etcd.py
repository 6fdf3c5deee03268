"""Both interconnects of the holder are cut, etcd decides for everyone: the other one goes on."""

from lab import arbiter
from lab.case import Lab
from lab.cluster import sample

ASKED_ONLY = True


def run(lab: Lab) -> None:
    with (
        arbiter.etcd(lab),
        arbiter.configured(lab, sample(more=f"{arbiter.ETCD_NP}required = true\n")),
    ):
        lab.cluster.normal()
        holder = lab.holder()
        other = lab.other(holder)
        lab.fault(f"{holder.name}: LAN1 and LAN2 cut", lambda: lab.cut(holder, "lan1", "lan2"))
        lab.serves(other)
        lab.proven(other, "power off", "forced stop")
        lab.expect(f"{holder.name} is off", lambda: not holder.on)
        arbiter.healed(lab)
