"""Both interconnects of the holder are cut, a witness decides: the holder stops by itself."""

from lab import arbiter
from lab.case import Lab
from lab.cluster import sample


def run(lab: Lab) -> None:
    wanted = sample(forced_stop="none", more=arbiter.WITNESS_NP)
    with arbiter.witness(lab), arbiter.configured(lab, wanted):
        lab.cluster.normal()
        holder = lab.holder()
        other = lab.other(holder)
        lab.fault(f"{holder.name}: LAN1 and LAN2 cut", lambda: lab.cut(holder, "lan1", "lan2"))
        lab.serves(other)
        lab.proven(other, "lease")
        if not holder.on:
            raise AssertionError(f"nobody was to power {holder.name} off")
        arbiter.healed(lab)
