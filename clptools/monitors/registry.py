"""Monitor types: name -> module, and the keys that only that type understands.

`mrw` has no module here: messages come in through `clptools.intake`, and its keys are part of
the core's settings (`clptools.config.fields`).
"""

from __future__ import annotations

from clptools.config.field import (
    ADDRESS,
    PATH,
    SCRIPT,
    Field,
    choice,
    list_of,
    lists_per_server,
    numbers,
    one_or_per_server,
    per_server,
    text,
)

_INTERFACE = text(max_bytes=15, min_bytes=1, what="interface")

VARIANTS: dict[str, str] = {
    "userw": "clptools.monitors.userw",
    "genw": "clptools.monitors.genw",
    "ipw": "clptools.monitors.ipw",
    "miiw": "clptools.monitors.miiw",
    "pidw": "clptools.monitors.pidw",
    "bmcw": "clptools.monitors.bmcw",
    "diskw": "clptools.monitors.diskw",
    "fipw": "clptools.monitors.fipw",
    "ocfw": "clptools.monitors.ocfw",
}

FIELDS: dict[str, tuple[Field, ...]] = {
    "mrw": (),
    "userw": (
        Field(
            section="monitor",
            name="method",
            parse=choice("softdog", "ipmi", "keepalive", "guard", "none"),
            default="guard",
            help="What resets this server when its user space hangs.",
        ),
        Field(
            section="monitor",
            name="guard_action",
            parse=text(min_bytes=1, what="reboot, or the path of an executable"),
            default="reboot",
            help="What the guard does when it is not fed.",
        ),
    ),
    "genw": (
        Field(
            section="monitor",
            name="script",
            parse=SCRIPT,
            default="genw.sh",
            help="Script whose exit status is the result of the check, under "
            "scripts/monitor.s/MONITOR/.",
        ),
        Field(
            section="monitor",
            name="normal",
            parse=numbers(0, 255),
            help="Exit statuses that mean normal. Default: 0. Every other status is an error.",
        ),
    ),
    "ipw": (
        Field(
            section="monitor",
            name="targets",
            parse=list_of(ADDRESS, at_least=1),
            required=True,
            help="Addresses. One of them must answer a ping.",
        ),
        Field(
            section="monitor",
            name="targets_on",
            parse=lists_per_server(ADDRESS),
            help="Addresses of single servers, instead of targets.",
        ),
    ),
    "miiw": (
        Field(
            section="monitor",
            name="interface",
            parse=one_or_per_server(_INTERFACE),
            required=True,
            help="Network interface whose link is watched: one for all servers, or one for each.",
        ),
        Field(
            section="monitor",
            name="interface_on",
            parse=per_server(_INTERFACE),
            help="Interfaces of single servers, instead of interface.",
        ),
    ),
    "pidw": (
        Field(
            section="monitor",
            name="pid_file",
            parse=one_or_per_server(PATH),
            help="File with the id of the process. Default: the process that the target's start "
            "script left running is watched.",
        ),
    ),
    "bmcw": (),
    "diskw": (
        Field(
            section="monitor",
            name="path",
            parse=one_or_per_server(PATH),
            required=True,
            help="Block device or file that the check reads, or directory that it writes to.",
        ),
        Field(
            section="monitor",
            name="path_on",
            parse=per_server(PATH),
            help="Paths of single servers, instead of path.",
        ),
    ),
    "fipw": (),
    "ocfw": (),
}
