"""What `clpcfset` knows of the resource agents on this machine: times to begin with, and what an
agent still needs."""

from __future__ import annotations

import msgspec

from clptools.cli.cfset_session import Session, path_of
from clptools.common import ocf
from clptools.common.agent_metadata import Metadata, Parameter
from clptools.config.edit import Found
from clptools.faults import ClpError


class Offer(msgspec.Struct, frozen=True, kw_only=True):
    """What the agent of a resource advises and lacks."""

    keys: dict[str, int | float]
    """Times in seconds that are not set."""
    lacks: tuple[Parameter, ...]
    """Parameters that must be given and are not."""
    others: tuple[str, ...]
    """Names of those that may be."""


def offer(session: Session, found: Found) -> Offer | None:
    """For a new `ocf` resource: the times that its agent advises are set, and it is noted what it
    needs besides; None where nothing is known of it here."""
    agent = found.table.get("agent")
    if found.table.get("type") != "ocf" or not isinstance(agent, str):
        return None
    try:
        metadata = ocf.metadata(ocf.named(agent))
    except ValueError:
        return None  # the loader says so
    except ClpError as fault:
        session.note(f"{fault.message}: its parameters are not checked here. {fault.hint}".strip())
        return None
    of_group = session.config.find("group", found.owner).table.get("servers")
    made = _offer(found, metadata, of_group or session.config.names("server"))
    path = path_of(found)
    for key, value in made.keys.items():
        try:
            session.config.set(f"{path}.{key}", f"{value:g}")
        except ClpError:
            session.note(f"{agent} advises {key} = {value:g}, which cannot be: set it yourself.")
    where = f" -x {session.folder}" if session.folder else ""
    for one in made.lacks:
        what = f" ({one.shortdesc})" if one.shortdesc else ""
        session.note(
            f"{agent} still needs: clpcfset set {path}.parameters.{one.name}=VALUE{where}{what}"
        )
    if made.others:
        session.note(f"It also takes: {', '.join(made.others)}.")
    return made


def _offer(found: Found, metadata: Metadata, servers: list[str]) -> Offer:
    """`servers`: those that may run it."""
    keys: dict[str, int | float] = {}
    actions = {name: metadata.action(name) for name in ("start", "stop", "monitor")}
    for key, name, value in (
        ("timeout", "start", "timeout_s"),
        ("stop_timeout", "stop", "timeout_s"),
        ("monitor_interval", "monitor", "interval_s"),
        ("monitor_timeout", "monitor", "timeout_s"),
    ):
        advised = getattr(actions[name], value, None)
        if key not in found.table and advised:
            keys[key] = advised
    tables = (found.table.get("parameters"), found.table.get("parameters_from"))
    given = {name for table in tables if isinstance(table, dict) for name in table}
    on = found.table.get("parameters_on")
    if isinstance(on, dict) and servers:
        of_each = (own if isinstance(own := on.get(one), dict) else {} for one in servers)
        given |= set.intersection(*map(set, of_each))
    known = [one for one in metadata.parameters if not one.deprecated and one.name not in given]
    lacks = tuple(one for one in known if one.must_be_given and one.obsoletes not in given)
    others = tuple(one.name for one in known if one not in lacks)
    return Offer(keys=keys, lacks=lacks, others=others)
