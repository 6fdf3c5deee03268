"""The types of group resources: their modules and the keys of `[[group.resource]]` each has."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

from clptools.common.ocf import OWN_NAMES, named
from clptools.config.field import (
    BOOLEAN,
    NETWORK,
    PATH,
    SCRIPT,
    Field,
    checked,
    choice,
    integer,
    on_each,
    one_or_per_server,
    parameters,
    per_server,
    seconds,
    table_of,
    text,
)
from clptools.core.model.settings import Resource, Settings
from clptools.core.model.words import Operation
from clptools.faults import ClpError

if TYPE_CHECKING:
    # A command that checks a configuration must not load what runs scripts.
    from clptools.resources.operations import (
        Migrating,
        ResourceContext,
        ResourceModule,
        ResourceOutcome,
        Watching,
    )

VARIANTS = {
    "exec": "clptools.resources.exec",
    "fip": "clptools.resources.fip",
    "ocf": "clptools.resources.ocf",
    "service": "clptools.resources.service",
}

_SECTION = "group.resource"
_INTERFACE = text(max_bytes=15, min_bytes=1, what="interface")

AGENT = checked(named, "ocf:PROVIDER:TYPE")
PARAMETERS = parameters(OWN_NAMES)

FIELDS: dict[str, tuple[Field, ...]] = {
    "exec": (
        Field(
            section=_SECTION,
            name="start",
            parse=SCRIPT,
            default="start.sh",
            help="Script that starts it, under scripts/<group>/<resource>/, or an absolute path.",
        ),
        Field(
            section=_SECTION,
            name="stop",
            parse=SCRIPT,
            default="stop.sh",
            help="Script that stops it. Empty: there is nothing to stop.",
        ),
        Field(
            section=_SECTION,
            name="background",
            parse=BOOLEAN,
            default=False,
            help="Whether the start script is the program itself and keeps running. The start then "
            "succeeds as soon as the script has begun, the stop script has to end it, and pidw can "
            "watch it.",
        ),
        Field(
            section=_SECTION,
            name="migrate",
            parse=SCRIPT,
            default="",
            help="Script that carries its state over before a failover by a monitor with "
            "migrate_before_failover (for example virsh managedsave onto shared storage, or a copy "
            "in advance). It must not start anything elsewhere: the stop script follows, and the "
            "start script on the next server continues with what it finds. A failure or a time-out "
            "of this script does not delay the failover.",
        ),
        Field(
            section=_SECTION,
            name="prepare",
            parse=SCRIPT,
            default="",
            help="Script that prepares another server as soon as a move to it is planned "
            "(prepare_on_stall of a monitor), for example fetches an image or warms a cache. It "
            "must not start anything, and must not hold anything that the start needs. Nothing "
            "waits for it, not even a start. It may run more than once.",
        ),
    ),
    "fip": (
        Field(
            section=_SECTION,
            name="address",
            parse=NETWORK,
            required=True,
            help="The floating address with its prefix length, IPv4 or IPv6.",
        ),
        Field(
            section=_SECTION,
            name="address_on",
            parse=per_server(NETWORK),
            help="Addresses of single servers, instead of address.",
        ),
        Field(
            section=_SECTION,
            name="interface",
            parse=one_or_per_server(_INTERFACE),
            help="Interface that carries it. Default: the interface with an address of that "
            "network.",
        ),
        Field(
            section=_SECTION,
            name="interface_on",
            parse=per_server(_INTERFACE),
            help="Interfaces of single servers, instead of interface.",
        ),
        Field(
            section=_SECTION,
            name="announcements",
            parse=integer(0, 60),
            default=5,
            help="How many announcements tell neighbours where the address is now; the first is "
            "sent at once. They are also sent when the link comes back, and when the address was "
            "removed and set again.",
        ),
        Field(
            section=_SECTION,
            name="announce_interval",
            parse=integer(0, 86_400),
            default=60,
            help="Time after which the address is announced again although nothing changed, for "
            "switches and routers that forgot it or learned a wrong place. 0: never.",
        ),
        Field(
            section=_SECTION,
            name="duplicate_check",
            parse=BOOLEAN,
            default=True,
            help="Whether the network is asked first if another machine already has the address. "
            "If one answers, it is asked again for up to 60 s. An answer for a server that is "
            "proven to be powered off does not prevent the start.",
        ),
    ),
    "ocf": (
        Field(
            section=_SECTION,
            name="agent",
            parse=AGENT,
            required=True,
            help="The resource agent. It must be installed on every server of the group.",
        ),
        Field(
            section=_SECTION,
            name="parameters",
            parse=PARAMETERS,
            default={},
            help="Parameters that the agent gets, with the names of its meta-data.",
        ),
        Field(
            section=_SECTION,
            name="parameters_on",
            parse=on_each(PARAMETERS),
            default={},
            help="Parameters of single servers, which replace those in parameters or are added: { "
            'server2 = { nic = "eth3" } }.',
        ),
        Field(
            section=_SECTION,
            name="parameters_from",
            parse=table_of("parameter", PATH),
            default={},
            help="Files with the values of secret parameters, such as passwords, with mode 0400 on "
            "every server.",
        ),
        Field(
            section=_SECTION,
            name="role",
            parse=choice("started", "promoted"),
            default="started",
            help="promoted: the agent has two roles, and is promoted on the server that runs the "
            "group (the primary of a mirror). A start also promotes it. A stop only demotes it and "
            "leaves it running unpromoted, because the other server needs it for the mirror.",
        ),
        Field(
            section=_SECTION,
            name="monitor_interval",
            parse=seconds(0, 86_400),
            default=0,
            help="Time between two runs of its monitor while it is online. 0: it has no monitor. "
            "The runs belong to a monitor of type ocfw whose name is the resource's name and a w. "
            "It restarts the resource, and then fails its group over. For another recovery, write "
            "a monitor of type ocfw.",
        ),
        Field(
            section=_SECTION,
            name="monitor_timeout",
            parse=seconds(1, 86_400),
            default=60,
            help="How long one run of its monitor may take. A longer run is a failure.",
        ),
        Field(
            section=_SECTION,
            name="depth",
            parse=integer(0, 1000),
            default=0,
            help="How thorough its monitor is (OCF_CHECK_LEVEL). 0 is the ordinary level.",
        ),
    ),
    "service": (
        Field(
            section=_SECTION,
            name="unit",
            parse=text(max_bytes=255, min_bytes=1, what="unit"),
            required=True,
            help="The systemd unit. Without a suffix, .service is added.",
        ),
    ),
}


def module(kind: str) -> ResourceModule:
    """The module of a resource type, loaded on its first use."""
    return cast("ResourceModule", import_module(VARIANTS[kind]))


async def watch(resource: Resource, context: ResourceContext) -> None:
    """Watch over a resource that an agent before this one started, where its type can."""
    variant = module(resource.type)
    if hasattr(variant, "watch"):
        await cast("Watching", variant).watch(resource, context)


_warm: set[str] = set()
"""Types whose libraries are loaded."""


def warm_up(settings: Settings) -> None:
    """Load what the configured resources need, so that the first failover does not wait for it."""
    for kind in {resource.type for group in settings.groups for resource in group.resources}:
        _warm_up(kind)


def _warm_up(kind: str) -> None:
    module(kind).warm_up()
    _warm.add(kind)


async def perform(resource: Resource, op: Operation, context: ResourceContext) -> ResourceOutcome:
    """Carry out `start`, `stop` or `migrate`; any fault becomes the outcome's text.

    One at a time: an operation of the same resource that still runs is ended first.
    """
    # Imported here, as commands that only read the types must not load it.
    from clptools.resources.operations import ResourceOutcome, in_turn

    place = f"{context.group}/{resource.name}"
    try:
        return await in_turn(op, place, context, lambda: _perform(resource, op, context))
    except TimeoutError:
        timeout_ms = (
            resource.start_timeout_ms if op == Operation.START else resource.stop_timeout_ms
        )
        return ResourceOutcome(
            ok=False,
            timed_out=True,
            text=f"{place}: the {op} did not end within {timeout_ms / 1000:g} s",
        )
    except ClpError as fault:
        hint = f" ({fault.hint})" if fault.hint else ""
        return ResourceOutcome(ok=False, text=f"{place}: {fault.message}{hint}")
    except OSError as fault:
        return ResourceOutcome(
            ok=False, text=f"{place}: the {op} failed: {fault.strerror or fault}"
        )


async def _perform(resource: Resource, op: Operation, context: ResourceContext) -> ResourceOutcome:
    if resource.type not in _warm:
        # In a thread: on a slow server this takes seconds, and heartbeats must go on.
        import asyncio

        await asyncio.to_thread(_warm_up, resource.type)
    variant = module(resource.type)
    if op == Operation.MIGRATE:
        return await cast("Migrating", variant).migrate(resource, context)
    operation = variant.start if op == Operation.START else variant.stop
    return await operation(resource, context)
