"""Resource agents of a configuration, compared with what is installed on this machine.

What an agent takes is known only where it is installed, and may change with its package.  So this
is no part of the loading: a configuration that is in force stays so whatever is installed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import msgspec

from clptools.common import agent_files, ocf
from clptools.common.agent_metadata import Kind, Metadata, Parameter, seconds
from clptools.common.ocf import Agent
from clptools.common.secret_names import is_secret, secrets_in, shown
from clptools.common.threads import side_by_side
from clptools.config.agent_options import Options
from clptools.config.field import near
from clptools.core.model.machine import AgentFault
from clptools.core.model.options import read
from clptools.core.model.settings import Resource, Settings
from clptools.faults import ClpError, ExitCode, plain

_AT_ONCE = 4
"""Agents that are asked side by side."""
_VALIDATE_S = 5.0
_WORDS = frozenset(
    ("true", "false", "yes", "no", "on", "off", "1", "0", "y", "n", "t", "f")
)  # fmt: skip
"""What `ocf_is_true` of resource-agents decides, in any case."""


def resources_of(settings: Settings, server: str) -> list[Resource]:
    """The `ocf` resources that `server` may have to run."""
    return [
        resource
        for group in settings.groups
        if server in group.servers
        for resource in group.resources
        if resource.type == "ocf"
    ]


def agent_faults(
    settings: Settings, server: str, *, validate: bool = False
) -> dict[str, tuple[AgentFault, ...]]:
    """Resource -> what is wrong with its agent, or with what it is given, on this machine.

    `validate`: each agent that has nothing else against it is asked itself (`validate-all`), with
    the parameters of the configuration; only for a configuration that root may have run.  It may
    block.
    """
    resources = resources_of(settings, server)
    if not resources:
        return {}
    found = side_by_side(
        "agents", lambda one: tuple(_faults(one, server, validate)), resources, _AT_ONCE
    )
    faults = dict(zip((one.name for one in resources), found, strict=True))
    for index, resource in enumerate(resources):
        faults[resource.name] += tuple(_shared(resource, resources[:index], server))
    return {name: each for name, each in faults.items() if each}


def secret_files(settings: Settings, server: str) -> dict[str, str]:
    """Files with values of parameters that `server` needs, and how each is made."""
    return {
        path: f"Write the value of {name} of {resource.name} into it, mode 0400."
        for resource in resources_of(settings, server)
        for name, path in read(Options, resource.options).parameters_from.items()
    }


def _faults(resource: Resource, server: str, validate: bool) -> Iterator[AgentFault]:
    options = _on(read(Options, resource.options), server)
    agent = ocf.named(options.agent)
    refused = ocf.refusal(agent, options.parameters, promoted=options.promoted)
    if refused is not None:
        yield _error("agent", f'"{agent}" cannot work here: {refused[0]}', refused[1])
        return
    try:
        metadata = ocf.metadata(agent)
    except ClpError as fault:
        text = f'"{agent}": {fault.message}'
        if fault.code is ExitCode.NO_SUCH:
            text = f'"{agent}" is not installed on {server}'
        yield _error("agent", text, fault.hint)
        return
    lacks = [name for name in ("promote", "demote") if metadata.action(name) is None]
    if options.promoted and lacks:
        yield _error("role", f"{agent} has no {' and no '.join(lacks)}", "Leave role out.")
        return
    wrong = list(_wrong_parameters(options, metadata))
    yield from wrong
    yield from _advice(resource, options, metadata)
    if validate and not wrong:
        yield from _validated(resource, options, agent, metadata, server)


def _on(options: Options, server: str) -> Options:
    """The options with all parameters that count on that server."""
    given = ocf.on_server(options.parameters, options.parameters_on, server)
    own = {
        key: value for key, value in options.parameters_on.items() if key.startswith(f"{server}/")
    }
    return msgspec.structs.replace(options, parameters=given, parameters_on=own)


def _key(options: Options, name: str) -> str:
    """The key that gives a parameter, on the one server that the options are of."""
    own = next((key for key in options.parameters_on if key.partition("/")[2] == name), "")
    return f"parameters_on.{own.replace('/', '.')}" if own else f"parameters.{name}"


def _error(key: str, text: str, mend: str = "") -> AgentFault:
    return AgentFault(key=key, text=text, mend=mend, severity="error")


def _wrong_parameters(options: Options, metadata: Metadata) -> Iterator[AgentFault]:
    names = sorted(one.name for one in metadata.parameters if not one.deprecated)
    keys = {_key(options, name): name for name in options.parameters}
    keys |= {f"parameters_from.{name}": name for name in options.parameters_from}
    for key, name in keys.items():
        if metadata.parameter(name) is None:
            text = f'{options.agent} has no parameter "{name}"'
            yield _error(key, text, near(name, names))
    for name, value in options.parameters.items():
        known = metadata.parameter(name)
        if known is not None:
            yield from _wrong_value(_key(options, name), known, value)
    both = options.parameters.keys() & options.parameters_from.keys()
    for name in sorted(both):
        yield _error(f"parameters_from.{name}", f"{name} is given twice", "Leave one out.")
    for parameter in metadata.parameters:
        if parameter.must_be_given and not _is_given(parameter, options, metadata):
            what = f": {parameter.shortdesc}" if parameter.shortdesc else ""
            yield _error(
                "parameters",
                f'{options.agent} needs the parameter "{parameter.name}"{what}',
                f'Write parameters = {{ {parameter.name} = "…" }}.',
            )


def _is_given(parameter: Parameter, options: Options, metadata: Metadata) -> bool:
    """Whether it, or its older or newer name, has a value."""
    names = {parameter.name, parameter.obsoletes} - {""}
    names |= {one.name for one in metadata.parameters if one.obsoletes == parameter.name}
    return any(options.parameters.get(n) or n in options.parameters_from for n in names)


def _wrong_value(place: str, parameter: Parameter, value: str) -> Iterator[AgentFault]:
    # What an agent has for its own default is right, whatever type it says it has.
    if value == (parameter.default or ""):
        return
    seen = shown(parameter.name, value)
    match parameter.kind:
        case Kind.BOOLEAN if value.lower() not in _WORDS:
            yield _error(place, f'"{seen}" is neither true nor false')
        case Kind.INTEGER if not re.fullmatch(r"[+-]?[0-9]{1,18}", value, re.ASCII):
            yield _error(place, f'"{seen}" is no whole number')
        case Kind.SECOND if seconds(value) is None:
            yield _error(place, f'"{seen}" is no duration', 'Write seconds, as "20".')
        case Kind.SELECT if parameter.choices and value not in parameter.choices:
            text = f'"{seen}" is none of {", ".join(parameter.choices)}'
            yield _error(place, text, near(value, parameter.choices))


def _advice(resource: Resource, options: Options, metadata: Metadata) -> Iterator[AgentFault]:
    """What works, but perhaps not as intended."""
    for name in options.parameters:
        known = metadata.parameter(name)
        if known is not None and known.deprecated:
            newer = next((p.name for p in metadata.parameters if p.obsoletes == name), "")
            yield AgentFault(
                key=_key(options, name),
                text=f"{name} is an old name",
                mend=f"Write {newer}." if newer else "",
                severity="note",
            )
        if is_secret(name) and options.parameters[name]:
            yield AgentFault(
                key=_key(options, name),
                text=f"whoever reads clp.toml sees {name}",
                mend=f'Write parameters_from = {{ {name} = "FILE" }}, of mode 0400.',
            )
    timeouts = {"start": resource.start_timeout_ms, "stop": resource.stop_timeout_ms}
    if options.promoted:
        timeouts |= {"promote": resource.start_timeout_ms, "demote": resource.stop_timeout_ms}
    timeouts |= {"monitor": options.monitor_timeout_ms} if options.monitor_interval_ms else {}
    keys = {"start": "timeout", "stop": "stop_timeout", "monitor": "monitor_timeout"}
    keys |= {"promote": "timeout", "demote": "stop_timeout"}
    for name, timeout_ms in timeouts.items():
        action = metadata.action(name, options.depth)
        if action is not None and (action.timeout_s or 0) * 1000 > timeout_ms:
            yield AgentFault(
                key=keys[name],
                text=f"{options.agent} may need {action.timeout_s:g} s to {name}, and is killed "
                f"after {timeout_ms / 1000:g} s",
                mend=f"Write {keys[name]} = {action.timeout_s:g}.",
            )
    if metadata.action("migrate_to") is not None:
        yield AgentFault(
            key="agent",
            text=f"{options.agent} can migrate live, which is not used here: for a moment both "
            "servers would have it, and a move stops and starts it",
            severity="note",
        )
    depths = {one.depth for one in metadata.actions if one.name == "monitor"}
    if options.depth and depths and options.depth not in depths:
        yield AgentFault(
            key="depth",
            text=f"the monitor of {options.agent} says nothing of depth {options.depth}",
            mend=f"Known: {', '.join(str(one) for one in sorted(depths))}.",
            severity="note",
        )


def _shared(resource: Resource, before: list[Resource], server: str) -> Iterator[AgentFault]:
    """Values that its agent says no two resources may share, and one of `before` has, too.

    A warning: some agents say so of what two instances share every day.
    """
    options = _on(read(Options, resource.options), server)
    others = {
        one.name: given.parameters
        for one in before
        if (given := _on(read(Options, one.options), server)).agent == options.agent
    }
    try:
        metadata = ocf.metadata(ocf.named(options.agent)) if others else None
    except ClpError:
        return  # it has been told
    for names in _unique(metadata) if metadata is not None else ():
        values = [options.parameters.get(name, "") for name in names]
        same = [
            other
            for other, given in others.items()
            if all(values) and [given.get(name, "") for name in names] == values
        ]
        if same:
            pairs = zip(names, values, strict=True)
            what = " and ".join(f'{name} = "{shown(name, value)}"' for name, value in pairs)
            yield AgentFault(
                key=_key(options, names[0]),
                text=f"{same[0]} has {what}, too, and {options.agent} says that no two resources "
                "may",
            )


def _unique(metadata: Metadata) -> list[tuple[str, ...]]:
    """Parameters whose values, taken together, no two resources may share."""
    groups: dict[str, tuple[str, ...]] = {}
    for one in metadata.parameters:
        if one.unique_group:
            groups[one.unique_group] = (*groups.get(one.unique_group, ()), one.name)
    alone = [(one.name,) for one in metadata.parameters if one.unique and not one.unique_group]
    return [*alone, *groups.values()]


def _validated(
    resource: Resource, options: Options, agent: Agent, metadata: Metadata, server: str
) -> Iterator[AgentFault]:
    """What the agent itself says; where it is to run elsewhere now, it may lack what comes first.

    Secrets in files are left out, so agents that need one are not asked.
    """
    if metadata.action("validate-all") is None or options.parameters_from or os.geteuid() != 0:
        return
    call = ocf.Call(
        agent=agent,
        instance=resource.name,
        action="validate-all",
        parameters=options.parameters,
        timeout_ms=round(_VALIDATE_S * 1000),
        promoted=options.promoted,
        server=server,
        tools="",
    )
    try:
        ocf.make_state_folder()
        command = (ocf.path_of(agent), "validate-all")
        ended = agent_files.run(command, ocf.environment(call), _VALIDATE_S)
    except (ClpError, OSError):
        return
    if ended.in_time and ended.status > 0:
        said = ocf.last_reason(ended.errors.decode("utf-8", "replace").splitlines())
        for secret in secrets_in(options.parameters):
            said = said.replace(secret, "***")
        why = f': "{plain(said)}"' if said else ""
        yield AgentFault(
            key="parameters",
            text=f"on {server}, validate-all of {options.agent} ended with "
            f"{ocf.meaning(ended.status)}{why}",
            severity="note",
        )
