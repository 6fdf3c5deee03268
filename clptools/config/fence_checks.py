"""`[[fence]]` compared with what the installed agent says of itself."""

from __future__ import annotations

import os
from collections.abc import Iterator

import msgspec

from clptools import paths
from clptools.common.agent_files import TIMEOUT_S, metadata_of
from clptools.common.agent_metadata import Kind, Metadata, Parameter, seconds
from clptools.config import fence_agents as agents
from clptools.config.field import near
from clptools.core.model.machine import FenceFault
from clptools.core.model.settings import FenceAgent, Settings
from clptools.faults import ClpError


class Misfit(msgspec.Struct, frozen=True, kw_only=True):
    """What of a `[[fence]]` the installed agent does not take."""

    parameter: str
    """Empty: the agent itself."""
    text: str
    mend: str = ""


def misfits(fence: FenceAgent, said: Metadata, real_name: str = "") -> Iterator[Misfit]:
    """What does not fit; `real_name`: that of the file behind a symbolic link."""
    if fence.agent not in (said.name, *said.aliases) and real_name != said.name:
        yield Misfit(
            parameter="",
            text=f"its meta-data are those of {said.name or 'nobody'}",
            mend=f"Look at it: {fence.agent} -o metadata",
        )
        return
    for action in ("off", "on", "status"):
        found = said.action(action)
        if found is None:
            yield Misfit(
                parameter="",
                text=f"it has no action {action}",
                mend="Choose an agent that switches the power and reads it.",
            )
        elif action == "on" and (found.automatic or found.on_target):
            yield Misfit(
                parameter="",
                text="it unfences: it cuts off storage, and not power",
                mend="Choose an agent that switches the power.",
            )
    yield from _parameters(fence, said)


def secret_of(fence: FenceAgent, said: Metadata) -> str:
    """The parameter that takes the content of its password file; empty: it has none.

    With SNMP 1 and 2c the community is all that a device asks for.
    """
    names = {one.name for one in said.parameters}
    version = fence.parameters.get("snmp_version", "1")
    if "community" in names and version in ("1", "2c"):
        return "community"
    return next((name for name in agents.SECRETS if name in names), "")


def _parameters(fence: FenceAgent, said: Metadata) -> Iterator[Misfit]:
    known = {one.name.replace("-", "_"): one for one in said.parameters}
    for name, value in fence.parameters.items():
        found = known.get(name.replace("-", "_"))
        if found is None:
            offered = [
                one
                for one, parameter in known.items()
                if agents.present_name(one) not in agents.NOT_TAKEN and not parameter.deprecated
            ]
            yield Misfit(parameter=name, text="it has no such parameter", mend=near(name, offered))
        elif fault := _type_fault(found, value):
            yield Misfit(parameter=name, text=fault)
    if fence.password_file and not secret_of(fence, said):
        yield Misfit(
            parameter="password_file", text="it takes no password", mend="Leave password_file out."
        )
    given = {agents.present_name(name) for name in fence.parameters}
    lacking = {agents.present_name(one.name): one for one in said.parameters if one.must_be_given}
    for name, parameter in lacking.items():
        if name in given or name == "action":
            continue
        if name in agents.SECRETS:
            if not fence.password_file:
                mend = "Name a file with it, mode 0400, in password_file."
                yield Misfit(parameter="password_file", text=f"it needs its {name}", mend=mend)
            continue
        what = f" ({parameter.shortdesc})" if parameter.shortdesc else ""
        yield Misfit(parameter=name, text=f"it needs this parameter{what}", mend=f"Add {name}.")


def _type_fault(parameter: Parameter, value: str) -> str:
    match parameter.kind:
        case Kind.INTEGER if not value.removeprefix("-").isdecimal():
            return f'"{value}" is no whole number'
        case Kind.BOOLEAN if value.lower() not in (*agents.TRUE, *agents.FALSE):
            return f'"{value}" is neither true nor false'
        case Kind.SELECT if parameter.choices and value not in parameter.choices:
            return f'"{value}" is none of {", ".join(parameter.choices)}'
        case Kind.SECOND if seconds(value) is None:
            return f'"{value}" is no time in seconds'
    return ""


def agent_path(fence: FenceAgent) -> str:
    """The file that is run."""
    return os.path.join(paths.fence_agents_dir(), fence.agent)


def faults(settings: Settings, here: str, timeout_s: float = TIMEOUT_S) -> Iterator[FenceFault]:
    """What of the fence agents for other servers cannot be used on this machine.

    Each agent is asked once, for `timeout_s` at most where it was not asked before.
    """
    looked: dict[str, Metadata | Misfit] = {}
    for server in settings.servers:
        for fence in server.fences if server.name != here else ():
            if fence.agent not in looked:
                looked[fence.agent] = _looked(fence, timeout_s)
            for misfit in _found(fence, looked[fence.agent]):
                key = misfit.parameter
                if key and key != "password_file":
                    key = _place(fence, key)
                yield FenceFault(
                    fence=fence.name,
                    server=server.name,
                    key=key or "agent",
                    text=": ".join(filter(None, (fence.agent, misfit.parameter, misfit.text))),
                    mend=misfit.mend,
                )


def _place(fence: FenceAgent, parameter: str) -> str:
    return f"parameters.{parameter}" if parameter in fence.parameters else "parameters"


def _looked(fence: FenceAgent, timeout_s: float) -> Metadata | Misfit:
    path = agent_path(fence)
    try:
        return metadata_of(path, ("-o", "metadata"), timeout_s=timeout_s)
    except ClpError as fault:
        there = os.path.exists(path)
        mend = fault.hint if there else f"apt install fence-agents ({fence.agent} is part of it)"
        return Misfit(parameter="", text=fault.message, mend=mend)


def _found(fence: FenceAgent, looked: Metadata | Misfit) -> Iterator[Misfit]:
    if isinstance(looked, Misfit):
        yield looked
    else:
        yield from misfits(fence, looked, os.path.basename(os.path.realpath(agent_path(fence))))
