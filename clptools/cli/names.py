"""Names in a status: found, or refused with those there are."""

from __future__ import annotations

from clptools.api.client import Client
from clptools.faults import ClpError, ExitCode

Json = dict[str, object]


def objects(parent: Json, key: str) -> list[Json]:
    """The list of objects under `key`; empty where there is none."""
    value = parent.get(key)
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def status(client: Client, *, local: bool = False) -> Json:
    """The status of the cluster."""
    found = client.call("GetStatus", local=local).get("status")
    return found if isinstance(found, dict) else {}


def local_server(of: Json) -> str:
    """The name of the server that gave the status."""
    return next((str(s.get("name")) for s in objects(of, "servers") if s.get("local")), "")


def known_group(client: Client, name: str) -> Json:
    """The group of that name.  Raises ClpError (NO_SUCH)."""
    return find(objects(status(client), "groups"), "group", name)


def known_resource(client: Client, name: str) -> tuple[Json, Json]:
    """The group and the resource of that name.  Raises ClpError (NO_SUCH)."""
    groups = objects(status(client), "groups")
    everything = [(group, item) for group in groups for item in objects(group, "resources")]
    found = find([item for _, item in everything], "resource", name)
    return next(pair for pair in everything if pair[1] is found)


def find(of: list[Json], kind: str, name: str) -> Json:
    """The object of that name.  Raises ClpError: NO_SUCH, or USAGE for no name at all."""
    if not name:
        raise ClpError(ExitCode.USAGE, f"The name of a {kind} is missing.")
    for item in of:
        if item.get("name") == name:
            return item
    known = ", ".join(str(item.get("name")) for item in of) or "none"
    raise ClpError(ExitCode.NO_SUCH, f"{name}: no such {kind}.", f"Known: {known}")
