"""Names in a status: found, or refused with those there are; printed for the shells' completion.

`clpgrp --complete group` prints live names, one a line.  Every command answers it; it is no option
for people.  Without an agent they come from the configuration file, without one there are none; it
never fails.
"""

from __future__ import annotations

from clptools.api.client import Client
from clptools.faults import ClpError, ExitCode
from clptools.paths import config_file

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


# ---------------------------------------------------------------------- names for the shells


KINDS = ("group", "resource", "server", "monitor")
PATIENCE_S = 1.0


def live_names(kind: str) -> list[str]:
    """What there is of a kind; `any` is all of them."""
    kinds = KINDS if kind == "any" else (kind,)
    state = _state()
    return [name for each in kinds for name in _of(state, each)]


def _state() -> Json:
    try:
        with Client(timeout_s=PATIENCE_S) as client:
            return status(client)
    except ClpError:
        return _from_file()


def _from_file() -> Json:
    import tomllib

    try:
        with open(config_file(), encoding="utf-8-sig") as file:
            read = tomllib.loads(file.read())
    except (OSError, ValueError):
        return {}
    groups = [{**group, "resources": group.get("resource")} for group in objects(read, "group")]
    return {
        "groups": groups,
        "servers": read.get("server"),
        "monitors": read.get("monitor"),
    }


def _of(state: Json, kind: str) -> list[str]:
    if kind == "resource":
        found = [r for group in objects(state, "groups") for r in objects(group, "resources")]
    else:
        found = objects(state, f"{kind}s")
    return [str(item["name"]) for item in found if "name" in item]
