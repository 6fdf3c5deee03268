"""Tables with a `type`, which brings keys of its own."""

from __future__ import annotations

from collections.abc import Sequence

from clptools.config.field import ON_SERVERS, Field, near
from clptools.config.table import Table, known_servers
from clptools.config.variants import REFUSED, Variants
from clptools.core.model.settings import Option


def variant(table: Table, what: str, variants: Variants) -> tuple[Field, ...] | None:
    """The keys of the table's `type`; None, with an error, if there is no such type.

    The caller then skips the table: errors for all its keys would hide this one.
    """
    name = table.raw.get("type")
    if not isinstance(name, str) or name in variants:
        return variants.get(str(name), ())
    reason, mend = REFUSED[what].get(name, (f"no such {what} type", near(name, variants)))
    table.error("type", reason, mend)
    return None


def options_of(
    table: Table, values: dict[str, Option], own: tuple[Field, ...], servers: Sequence[str] = ()
) -> dict[str, Option]:
    """The values of a variant's own keys; those of single servers go into the key that they are of.

    With `interface_on`, `interface` becomes the table of all `servers`.
    """
    found = {field.option: values[field.option] for field in own}
    for field in own:
        name = field.name.removesuffix(ON_SERVERS)
        if name == field.name or name not in found:
            continue
        if field.parse.within:
            keys = found[field.option]
            named = {key.partition("/")[0] for key in keys} if isinstance(keys, dict) else ()
            known_servers(table, field.name, sorted(named), servers)
            continue
        single, common = found.pop(field.option), found[name]
        if not isinstance(single, dict):
            continue
        known_servers(table, field.name, single, servers)
        if isinstance(common, dict):
            found[name] = {**common, **single}
            continue
        shared = ",".join(common) if isinstance(common, tuple) else str(common or "")
        found[name] = {server: single.get(server, shared) for server in servers}
    return found
