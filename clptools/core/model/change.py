"""Which changes of a configuration cannot take effect while groups run."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from clptools.core.model.options import BESIDES
from clptools.core.model.settings import Group, Option, Resource, Settings


class Refusal(msgspec.Struct, frozen=True):
    """Why a new configuration cannot take effect now, and what helps."""

    text: str
    hint: str = ""


def in_the_way(old: Settings, new: Settings, held: Iterable[str]) -> Refusal | None:
    """Says which held group, if any, forbids the new configuration; the first one found.

    A running group keeps its resources, their types, options and order, because they must be
    stopped as they were started. Time-outs, policies, monitors and comments may change.
    """
    for name in held:
        before, after = old.group(name), new.group(name)
        if before is None:
            continue
        if after is None:
            return Refusal(
                f"{name} runs and is no longer configured",
                f"Stop it first (clpgrp -t {name}), or leave it in the configuration.",
            )
        if _shape(before) != _shape(after):
            return Refusal(
                f"{name} runs, and its resources would change",
                f"Stop it first (clpgrp -t {name}), or leave its resources as they are.",
            )
    return None


def _shape(group: Group) -> tuple[object, ...]:
    return tuple((r.name, r.type, r.depends, _options(r)) for r in group.resources)


def _options(resource: Resource) -> list[tuple[str, Option]]:
    """The options by which the resource is started and stopped."""
    besides = BESIDES.get(resource.type, frozenset())
    return sorted(each for each in resource.options.items() if each[0] not in besides)
