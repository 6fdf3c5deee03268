"""Live names for the shells' completion: `clpgrp --complete group` prints them, one a line.

Every command answers it; it is no option for people.  Without an agent the names come from
the configuration file, without one there are none; it never fails.
"""

from __future__ import annotations

from clptools.api.client import Client
from clptools.cli.names import Json, objects, status
from clptools.faults import ClpError
from clptools.paths import config_file

KINDS = ("group", "resource", "server", "monitor")
PATIENCE_S = 1.0


def names(kind: str) -> list[str]:
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
