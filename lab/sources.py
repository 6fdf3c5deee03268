"""Driver and system messages from real kernels: what the cases `source-*` share.

One configuration for all of them, so that the cluster is configured once.  A disk and a
multipath map are made in the server that is broken, out of memory: what the kernel says of them
is what it says of hardware.
"""

from __future__ import annotations

import json

from lab.case import Lab, Wrong
from lab.cluster import GROUP, sample
from lab.machine import Machine

UNIT = "lab-app.service"

_MONITOR = """
[[monitor]]
type = "mrw"
name = "{name}"
category = "{category}"
{more}
[monitor.recovery]
action = "{action}"
target = "{target}"
"""


def _monitor(name: str, category: str, more: str, action: str = "failover") -> str:
    return _MONITOR.format(name=name, category=category, more=more, action=action, target=GROUP)


CONFIG = sample(
    more="".join(
        (
            _monitor("network", "NIC", 'keyword = "bond0"'),
            _monitor("disk", "HA/SS", 'keyword = "data"\nprobe_interval = 5\nquiet = 8'),
            _monitor("scsi", "HA/SS", 'keyword = "sdc"\nprobe_interval = 0\nquiet = 8'),
            _monitor("paths", "SPS", 'keyword = "mpatha"'),
            _monitor(
                "application",
                "HA/AM",
                f'keyword = "{UNIT}"\nloop_count = 3\nflap_window = 15\nsettle = 5',
                action="restart",
            ),
            _monitor(
                "memory",
                "HA/RS",
                'keyword = "memory"\nmemory_used = 85\nduration = 2\nsample_interval = 1',
            ),
            _monitor(
                "processor",
                "MCE",
                "stall_on_predictive_failure = true\ncorrectable_count = 3\n"
                "correctable_window = 20\nquiet = 8",
            ),
        )
    )
)
"""`quiet`: an error without an end of its own is over after 8 s without another, so that a case
need not wait for an operator."""

SCSI = """
[ -b /dev/sdc ] || modprobe scsi_debug add_host=3 dev_size_mb=16
for n in $(seq 100); do [ -b /dev/sdc ] && break; sleep 0.1; done
udevadm settle
"""
"""The shell lines that make three ways to one memory: SCSI disks as two paths of a multipath
disk see it (`sda`, `sdb`), and `sdc` by itself."""

SECTORS = 65536
"""Of the disk `data`: 32 MB."""


def status(lab: Lab, server: Machine, monitor: str) -> str:
    """What `clpstat --json` says of a monitor on that server."""
    for each in lab.cluster.status(server).get("monitors", ()):
        if each["name"] == monitor:
            return str(each["servers"].get(server.name, {}).get("status", ""))
    return ""


def becomes(lab: Lab, server: Machine, monitor: str, word: str, within_s: float = 60.0) -> None:
    """The monitor's status on that server.  Raises Wrong."""
    lab.expect(
        f"{monitor} on {server.name} is {word}",
        lambda: status(lab, server, monitor) == word,
        within_s,
    )


def break_it(lab: Lab, server: Machine, text: str, line: str) -> float:
    """Breaks something by a shell line in the server; its clock just before, in seconds."""
    said: list[str] = []
    lab.fault(f"{server.name}: {text}", lambda: said.append(server.sh(f"date +%s.%N; {line}")))
    return float(said[0].split()[0])


def measure(lab: Lab, server: Machine, monitor: str, since: float) -> None:
    """How long it took from the fault to the monitor's Error, by the server's own clock.

    Raises Wrong: no such record.
    """
    for line in server.sh("clpstat --events --json", within_s=30).splitlines():
        record = json.loads(line)
        if (
            record["server"] == server.name
            and record["module"] == "mm"
            and record["event_id"] == 905
            and monitor in record["text"]
            and record["time"] >= since
        ):
            lab.figures[f"fault to {monitor} Error"] = f"{record['time'] - since:.2f} s"
            return
    raise Wrong(f"{server.name} has no record that {monitor} is in error")


def says(server: Machine, text: str) -> None:
    """`clpstat --hw` shows this.  Raises Wrong."""
    said = server.sh("clpstat --hw", within_s=30)
    if text not in said:
        raise Wrong(f"clpstat --hw on {server.name} was to say {text!r}:\n{said}")


def recovered(lab: Lab, server: Machine, monitor: str, within_s: float = 60.0) -> None:
    """Normal again by itself; then the operator sets the counters of recovery back."""
    becomes(lab, server, monitor, "Normal", within_s)
    server.sh(f"clpmonctrl -c -m {monitor}")


def make_disk(server: Machine) -> None:
    """`/dev/mapper/data`, a disk on dm-flakey that is well."""
    server.sh(
        "modprobe brd rd_nr=1 rd_size=32768; modprobe dm-flakey;"
        f"dmsetup info data >/dev/null 2>&1 || dmsetup create data --table '{_flakey(True)}';"
        "udevadm settle"
    )


def _flakey(well: bool) -> str:
    up, down = (60, 0) if well else (0, 60)
    return f"0 {SECTORS} flakey /dev/ram0 0 {up} {down}"


def turn_disk(well: bool) -> str:
    """The shell line after which `data` answers everything, or nothing but I/O errors."""
    load = f"dmsetup load data --table '{_flakey(well)}'"
    # Not flushed: what the file system has not written yet is to meet the errors.
    return f"dmsetup suspend --nolockfs --noflush data; {load}; dmsetup resume data"


READ = "echo 3 >/proc/sys/vm/drop_caches; dd if=/dev/mapper/data of=/dev/null bs=64k count=1 || :"
"""An application's read that no cache answers."""
