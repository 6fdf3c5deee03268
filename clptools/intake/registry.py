"""Built-in sources of messages about this server itself: category -> module, and their keys.

A source is one file here, and one line in `SOURCES`.  It has the function of `sources.Watch`,
which runs until it is cancelled.  The agent runs a source while a message receive monitor of
its category is configured for its server (`sources.Sources`).
"""

from __future__ import annotations

from functools import partial

from clptools.config.field import PATH, SCRIPT, Field, integer, number, one_or_per_server, seconds

SOURCES: dict[str, str] = {
    "NIC": "clptools.intake.netlink",
    "FC": "clptools.intake.fc",
    "HA/SS": "clptools.intake.storage",
    "HA/AM": "clptools.intake.units",
    "HA/RS": "clptools.intake.resource_shortage",
    "SPS": "clptools.intake.multipath",
    "MCE": "clptools.intake.edac",
}

_key = partial(Field, section="monitor")

COMMON = (
    _key(
        name="flap_count",
        parse=integer(2, 1000),
        default=3,
        help="How many faults of one device within flap_window count as flapping.",
    ),
    _key(
        name="flap_window",
        parse=seconds(1, 86400),
        default=60,
        help="The time in which the faults of a flapping device are counted.",
    ),
    _key(
        name="settle",
        parse=seconds(0.1, 86400),
        default=30,
        help="How long a flapping device must be well before it counts as well.",
    ),
    _key(
        name="quiet",
        parse=seconds(0, 30 * 86400),
        default=0,
        help="An error that has no end of its own (a machine check, an I/O error) is closed after "
        "this long without another one. 0: only clpmonctrl --acknowledge closes it.",
    ),
)
"""Keys of every category that has a source."""

OWN: dict[str, tuple[Field, ...]] = {
    "HA/SS": (
        _key(
            name="probe_interval",
            parse=seconds(0, 86400),
            default=60,
            help="Time between two reads of the block device that the keyword names. 0: it is not "
            "read.",
        ),
        _key(
            name="probe_timeout",
            parse=seconds(0.1, 3600),
            default=30,
            help="How long such a read may take.",
        ),
        _key(
            name="smart_interval",
            parse=seconds(0, 86400),
            default=300,
            help="Time between two reads of the critical warnings of NVMe controllers, which the "
            "kernel does not report. 0: they are read only at the start.",
        ),
    ),
    "HA/AM": (
        _key(
            name="loop_count",
            parse=integer(2, 1000),
            default=3,
            help="How many restarts of a unit by systemd within flap_window count as a restart "
            "loop.",
        ),
        _key(
            name="pid_file",
            parse=one_or_per_server(PATH),
            help="File with the id of the application's main process, for an application that is "
            "not a systemd unit. The keyword is then its name.",
        ),
        _key(
            name="health_command",
            parse=SCRIPT,
            help="Command under scripts/monitor.s/MONITOR/ whose exit status says whether the "
            "application that the keyword names is well. It runs every interval, for at most "
            "timeout.",
        ),
    ),
    "HA/RS": (
        _key(
            name="pressure_stall",
            parse=number(1, 100),
            default=60,
            help="Threshold: percentage of time in which work waits for cpu, io or memory.",
        ),
        _key(
            name="pressure_window",
            parse=seconds(0.5, 10),
            default=2,
            help="The time over which the kernel measures pressure_stall. Below 2 s the kernel "
            "requires CAP_SYS_RESOURCE.",
        ),
        _key(
            name="memory_used",
            parse=number(1, 100),
            default=97,
            help="Threshold: percentage of the memory that is not available.",
        ),
        _key(
            name="files_used",
            parse=number(1, 100),
            default=90,
            help="Threshold: percentage of the system's file handles in use.",
        ),
        _key(
            name="processes_used",
            parse=number(1, 100),
            default=90,
            help="Threshold: percentage of the system's process ids in use.",
        ),
        _key(
            name="space_used",
            parse=number(1, 100),
            default=95,
            help="Threshold: percentage of a file system's space in use.",
        ),
        _key(
            name="inodes_used",
            parse=number(1, 100),
            default=95,
            help="Threshold: percentage of a file system's inodes in use.",
        ),
        _key(
            name="duration",
            parse=seconds(0, 86400),
            default=30,
            help="How long a threshold must be exceeded before it is a fault, and how long it must "
            "be kept before the fault ends.",
        ),
        _key(
            name="sample_interval",
            parse=seconds(0.05, 3600),
            default=10,
            help="Time between two checks of memory, handles, processes and disks, which the "
            "kernel does not report by itself.",
        ),
    ),
    "MCE": (
        _key(
            name="correctable_count",
            parse=integer(1, 1_000_000),
            default=10,
            help="How many corrected errors of one device within correctable_window predict its "
            "failure.",
        ),
        _key(
            name="correctable_window",
            parse=seconds(1, 30 * 86400),
            default=3600,
            help="The time in which corrected errors are counted.",
        ),
    ),
}
"""Keys of one category alone."""

FIELDS: dict[str, tuple[Field, ...]] = {
    category: (*COMMON, *OWN.get(category, ())) for category in SOURCES
}
"""Category -> the keys that its message receive monitors have beside those of every mrw."""
