"""Views: the one without a core, this server's part of one, and what changed between two."""

from __future__ import annotations

from typing import Any

import msgspec

from clptools.core.model.view import ClusterView, GroupView, ServerView, StatusView

_AGES = frozenset(
    {
        "last_seen_s",
        "since_s",
        "lease_s",
        "latency_ms",
        "first",
        "last",
        "in_s",
        "suspended_s",
        "toratio_left_s",
    }
)
"""Fields that only say how long ago, or how fast: they change without anything happening."""


def blank(server: str, why: str = "") -> StatusView:
    """The view of an agent that has no configuration; `why`: a sentence, where more is known."""
    none = why or f"{server} has no configuration yet: it waits for a first push."
    return StatusView(
        cluster=ClusterView(name="", status="Stopped", none=none),
        servers=(ServerView(name=server, status="Offline", local=True),),
    )


def local_part(view: StatusView, server: str) -> StatusView:
    """What `server` knows of itself alone."""
    own = tuple(each for each in view.servers if each.name == server)
    held = {group.name for each in own for group in each.groups}
    return msgspec.structs.replace(
        view,
        servers=own,
        groups=tuple(group if group.name in held else _not_here(group) for group in view.groups),
        monitors=tuple(
            msgspec.structs.replace(
                monitor,
                servers={name: on for name, on in monitor.servers.items() if name == server},
                status=next(
                    (on.status for name, on in monitor.servers.items() if name == server),
                    monitor.status,
                ),
            )
            for monitor in view.monitors
        ),
    )


def _not_here(group: GroupView) -> GroupView:
    return msgspec.structs.replace(
        group,
        status="Offline",
        current=None,
        waiting_for=None,
        planned_move=None,
        resources=tuple(msgspec.structs.replace(r, status="Offline") for r in group.resources),
    )


def changes(before: Any, after: Any) -> bool:
    """Whether more than ages differs, in a view or any part of it."""
    # Most parts are equal, which is found fast: views are compared ten times a second.
    if before == after:
        return False
    if type(before) is not type(after):
        return True
    if isinstance(before, msgspec.Struct):
        return any(
            changes(getattr(before, name), getattr(after, name))
            for name in before.__struct_fields__
            if name not in _AGES
        )
    if isinstance(before, tuple):
        return len(before) != len(after) or any(map(changes, before, after))
    if isinstance(before, dict):
        return before.keys() - _AGES != after.keys() - _AGES or any(
            changes(before[name], after[name]) for name in before.keys() - _AGES
        )
    return True
