"""The keys of `[[fence]]`."""

from __future__ import annotations

import re
from functools import partial

from clptools.config.fence_agents import NOT_TAKEN, present_name
from clptools.config.field import (
    BOOLEAN,
    MAX_NAME_BYTES,
    NAME,
    PATH,
    Fault,
    Field,
    Kind,
    integer,
    list_of,
    on_each,
    seconds,
    text,
    toml_type,
)
from clptools.core.model.settings import Option

_PARAMETER = re.compile(r"[A-Za-z][A-Za-z0-9_-]*", re.ASCII)
_AGENT = re.compile(r"fence_[a-z0-9_]{1,50}", re.ASCII)
_VALUE = text(max_bytes=1024)


def _agent(value: object) -> Option | Fault:
    if not isinstance(value, str):
        return Fault(text=f"must be text in quotes, not {toml_type(value)}")
    if not _AGENT.fullmatch(value):
        return Fault(
            text="no name of a fence agent", hint='Write it as in /usr/sbin: "fence_apc_snmp".'
        )
    return value


def _value(value: object) -> str | Fault:
    """As the agent reads it from its standard input."""
    if isinstance(value, bool):
        return "1" if value else "0"
    got = _VALUE(str(value) if isinstance(value, (int, float)) else value)
    if isinstance(got, Fault):
        return got
    found = str(got)
    if found != found.strip() or found[:1] in ('"', "'"):
        return Fault(text="agents strip blanks and quotes at its ends")
    return found


def _parameters(value: object) -> dict[str, str] | Fault:
    if isinstance(value, str):  # of a command line
        pairs = [pair.partition("=") for pair in value.split(",") if pair.strip()]
        if not all(equals for _, equals, _ in pairs):
            return Fault(text="must be a table", hint='Write { plug = "…" }.')
        value = {name.strip(): found.strip() for name, _, found in pairs}
    if not isinstance(value, dict):
        return Fault(text=f"must be a table, not {toml_type(value)}", hint='Write { plug = "…" }.')
    found: dict[str, str] = {}
    for name, one in value.items():
        if not _PARAMETER.fullmatch(name) or len(name) > MAX_NAME_BYTES:
            return Fault(text="is no name of a parameter", at=(name,))
        known = present_name(name)
        if known in NOT_TAKEN:
            return Fault(text=NOT_TAKEN[known], hint="Leave it out.", at=(name,), secret=True)
        got = _value(one)
        if isinstance(got, Fault):
            return Fault(text=got.text, hint=got.hint, at=(name,))
        found[name] = got
    return found


AGENT = Kind(name="name of an agent", read=_agent)
PARAMETERS = Kind(
    name="table of an agent's parameters", read=lambda v: _parameters(v), empty={}, shape="table"
)
_fence = partial(Field, section="fence")

FENCE = (
    _fence(name="name", parse=NAME, required=True, help="Name."),
    _fence(
        name="agent",
        parse=AGENT,
        required=True,
        help="Name of the fence agent in /usr/sbin, such as fence_apc_snmp. It is asked for off, "
        "on and status, never for reboot. Agents that cut off storage or a network, and not power, "
        "are refused, because their off proves nothing.",
    ),
    _fence(
        name="servers",
        parse=list_of(NAME, at_least=1),
        help="Servers whose power it controls. Default: all.",
    ),
    _fence(
        name="parameters",
        parse=PARAMETERS,
        help="Parameters that the agent gets on its standard input, with the agent's own names "
        "(fence_… -o metadata): ip, username, plug, … The parameters action and passwords are "
        "refused here.",
    ),
    _fence(
        name="parameters_on",
        parse=on_each(PARAMETERS),
        help="Parameters of single servers: { server1 = { plug = 1 }, server2 = { plug = 2 } }.",
    ),
    _fence(
        name="password_file",
        parse=PATH,
        help="File that contains only its password (or apikey, secret_key, token), with mode 0400, "
        "on every server. The password goes to the agent's standard input.",
    ),
    _fence(
        name="order",
        parse=integer(1, 99),
        default=1,
        help="Level of the agent. Lower levels are tried first; after one failed, the next is "
        "tried. A BMC comes before all levels. Agents with the same order are one level, such as "
        "the two outlets of two power supplies: all of them are switched off, and the proof is "
        "that all of them read off.",
    ),
    _fence(
        name="poll",
        parse=BOOLEAN,
        default=False,
        help="Read the status every 5 s. The agent runs each time, so use this only if a run is "
        "cheap. Without poll, the status is read only after the server became silent. Its off is "
        "then proof after it was read for 60 s, or if the same agent read on before.",
    ),
    _fence(
        name="timeout",
        parse=seconds(1, 300),
        default=30,
        help="How long one run of the agent may take. Then the agent is killed, with all processes "
        "that it started.",
    ),
)
