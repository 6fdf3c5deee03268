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
            help="Script that stops it; empty: nothing is to be stopped.",
        ),
        Field(
            section=_SECTION,
            name="background",
            parse=BOOLEAN,
            default=False,
            help="Whether the start script is the program itself and goes on: the start succeeds "
            "as soon as it has begun, the stop script has to end it, and pidw can watch it.",
        ),
        Field(
            section=_SECTION,
            name="migrate",
            parse=SCRIPT,
            default="",
            help="Script that carries its state over before a failover by a monitor with "
            "migrate_before_failover (virsh managedsave onto shared storage, a copy ahead). It "
            "starts nothing elsewhere: the stop script follows, and the start script of the next "
            "server goes on with what it finds. Failure and time-out hold nothing up.",
        ),
        Field(
            section=_SECTION,
            name="prepare",
            parse=SCRIPT,
            default="",
            help="Script that makes another server ready, at once when a move to it is planned "
            "(prepare_on_stall of a monitor): fetch an image, warm a cache. It starts nothing and "
            "takes nothing that the start needs; nothing waits for it, a start neither, and it "
            "may run more than once.",
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
            help="Addresses of single servers, in place of address.",
        ),
        Field(
            section=_SECTION,
            name="interface",
            parse=one_or_per_server(_INTERFACE),
            help="Interface that carries it; left out: the one with an address of that network.",
        ),
        Field(
            section=_SECTION,
            name="interface_on",
            parse=per_server(_INTERFACE),
            help="Interfaces of single servers, in place of interface.",
        ),
        Field(
            section=_SECTION,
            name="announcements",
            parse=integer(0, 60),
            default=5,
            help="How often neighbours are told of the new place, the first time at once; also "
            "when the link comes back, or something took the address away and it was put back.",
        ),
        Field(
            section=_SECTION,
            name="announce_interval",
            parse=integer(0, 86_400),
            default=60,
            help="Seconds after which neighbours are told again although nothing changed, for "
            "switches and routers that forgot or learned wrong; 0: never.",
        ),
        Field(
            section=_SECTION,
            name="duplicate_check",
            parse=BOOLEAN,
            default=True,
            help="Whether the network is asked first if somebody has the address already. Whoever "
            "answers is asked again for up to 60 s; in the name of a server that is proven powered "
            "off it is taken all the same.",
        ),
    ),
    "ocf": (
        Field(
            section=_SECTION,
            name="agent",
            parse=AGENT,
            required=True,
            help="The resource agent, as it is installed on every server of the group.",
        ),
        Field(
            section=_SECTION,
            name="parameters",
            parse=PARAMETERS,
            default={},
            help="What the agent is given, by the names of its meta-data.",
        ),
        Field(
            section=_SECTION,
            name="parameters_on",
            parse=on_each(PARAMETERS),
            default={},
            help="Parameters of single servers, in place of those or beside them: "
            '{ server2 = { nic = "eth3" } }.',
        ),
        Field(
            section=_SECTION,
            name="parameters_from",
            parse=table_of("parameter", PATH),
            default={},
            help="Files with the values of parameters that nobody may see, such as passwords, "
            "mode 0400 on every server.",
        ),
        Field(
            section=_SECTION,
            name="role",
            parse=choice("started", "promoted"),
            default="started",
            help="promoted: the agent has two roles, and the server of the group is where it is "
            "promoted (the primary of a mirror). A start promotes it as well; a stop demotes it "
            "and leaves it there unpromoted, as a mirror needs it on the other server.",
        ),
        Field(
            section=_SECTION,
            name="monitor_interval",
            parse=seconds(0, 86_400),
            default=0,
            help="Time between two runs of its monitor while it is online; 0: none. They are those "
            "of a monitor of type ocfw and of the resource's name with a w behind it, which "
            "restarts the resource, and then fails its group over; write a monitor of type ocfw "
            "for another recovery.",
        ),
        Field(
            section=_SECTION,
            name="monitor_timeout",
            parse=seconds(1, 86_400),
            default=60,
            help="How long one run of its monitor may take; longer is a failure.",
        ),
        Field(
            section=_SECTION,
            name="depth",
            parse=integer(0, 1000),
            default=0,
            help="How thorough its monitor is (OCF_CHECK_LEVEL); 0 is the ordinary one.",
        ),
    ),
    "service": (
        Field(
            section=_SECTION,
            name="unit",
            parse=text(max_bytes=255, min_bytes=1, what="unit"),
            required=True,
            help="The systemd unit, `.service` if it has no other suffix.",
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
