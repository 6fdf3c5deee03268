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
        help="So many faults of one device within flap_window are flapping.",
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
        help="How long a flapping device must be well until it counts as such.",
    ),
    _key(
        name="quiet",
        parse=seconds(0, 30 * 86400),
        default=0,
        help="An error that has no end of its own (a machine check, an I/O "
        "error) is closed after this long without another; 0: by clpmonctrl --acknowledge alone.",
    ),
)
"""Keys of every category that has a source."""

OWN: dict[str, tuple[Field, ...]] = {
    "HA/SS": (
        _key(
            name="probe_interval",
            parse=seconds(0, 86400),
            default=60,
            help="Time between two reads of the block device that the keyword names; 0: none.",
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
            help="Time between two looks at the critical warnings of NVMe controllers, which the "
            "kernel does not tell of; 0: at the start alone.",
        ),
    ),
    "HA/AM": (
        _key(
            name="loop_count",
            parse=integer(2, 1000),
            default=3,
            help="A unit that systemd restarts so often within flap_window is looping.",
        ),
        _key(
            name="pid_file",
            parse=one_or_per_server(PATH),
            help="File with the id of the application's main process, for an application "
            "that is no unit; the keyword is then its name.",
        ),
        _key(
            name="health_command",
            parse=SCRIPT,
            help="Command that says by its exit status whether the application that the "
            "keyword names is well; every interval, for timeout at most; under "
            "scripts/monitor.s/MONITOR/.",
        ),
    ),
    "HA/RS": (
        _key(
            name="pressure_stall",
            parse=number(1, 100),
            default=60,
            help="Percentage of time in which work waits for cpu, io or memory.",
        ),
        _key(
            name="pressure_window",
            parse=seconds(0.5, 10),
            default=2,
            help="The time over which the kernel measures it; below 2 it wants CAP_SYS_RESOURCE.",
        ),
        _key(
            name="memory_used",
            parse=number(1, 100),
            default=97,
            help="Percentage of the memory that is not available.",
        ),
        _key(
            name="files_used",
            parse=number(1, 100),
            default=90,
            help="Percentage of the system's file handles in use.",
        ),
        _key(
            name="processes_used",
            parse=number(1, 100),
            default=90,
            help="Percentage of the system's process ids in use.",
        ),
        _key(
            name="space_used",
            parse=number(1, 100),
            default=95,
            help="Percentage of a file system's space in use.",
        ),
        _key(
            name="inodes_used",
            parse=number(1, 100),
            default=95,
            help="Percentage of a file system's inodes in use.",
        ),
        _key(
            name="duration",
            parse=seconds(0, 86400),
            default=30,
            help="How long a threshold must be passed, and how long kept again.",
        ),
        _key(
            name="sample_interval",
            parse=seconds(0.05, 3600),
            default=10,
            help="Time between two looks at memory, handles, processes and disks, which "
            "the kernel does not tell of by itself.",
        ),
    ),
    "MCE": (
        _key(
            name="correctable_count",
            parse=integer(1, 1_000_000),
            default=10,
            help="So many corrected errors of one device within correctable_window "
            "predict its failure.",
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
