"""The holder's root disk answers nothing but I/O errors."""

from lab.case import Lab


def run(lab: Lab) -> None:
    holder = lab.holder()
    other = lab.other(holder)
    pull = "for d in /sys/bus/virtio/drivers/virtio_blk/virtio*; do echo ${d##*/}; done"
    lab.fault(
        f"{holder.name}: its disk is gone",
        lambda: holder.spawn(f"{pull} >/sys/bus/virtio/drivers/virtio_blk/unbind"),
    )
    lab.until("somebody serves", lambda: lab.collector.speaker(2.0), 30)
    lab.stays(lab.cluster[lab.collector.speaker(2.0)], 12)
    lab.note(f"moved to {other.name}" if lab.collector.speaker() == other.name else "did not move")
    lab.note("and it loses its power")
    holder.power("off")
    lab.serves(other, 90)
