"""Reading `[[trap_profile]]`: rows of the class table, and families of traps that are no PETs.

The profiles that ship are read by the same rules (`shipped_profile`), so what one of them says a
site can say as well.
"""

from __future__ import annotations

from clptools.config import fields_of_traps as fields
from clptools.config.lines import Lines
from clptools.config.table import Names, Source, Table, build, elements
from clptools.config.trap_checks import (
    Earlier,
    check_families,
    check_family,
    check_match,
    check_overlaps,
    check_rows,
)
from clptools.config.trap_names import MOST, ROOT, canonical_number, is_number, value_fault
from clptools.core.model.settings import Option
from clptools.core.model.trap_profiles import TrapCondition, TrapFamily, TrapProfile


def read_profiles(source: Source, document: dict[str, object]) -> tuple[TrapProfile, ...]:
    """All `[[trap_profile]]`, checked one by one and against each other."""
    names = Names("a trap profile")
    found: list[TrapProfile] = []
    earlier = Earlier()
    for table in elements(source, document, "trap_profile"):
        profile = _profile(table, earlier)
        names.take(table, profile.name)
        found.append(profile)
    return tuple(found)


def shipped_profile(document: dict[str, object]) -> TrapProfile:
    """A profile of the package: the tables of one `[[trap_profile]]` at the top of the file.

    A test checks whether its tables reach each other; a starting agent has no time for that. Raises
    ValueError with the first fault.
    """
    source = Source("profile", Lines(""))
    table = Table(source, (), document, "profile", "trap_profile")
    profile = _profile(table, None)
    if source.reports:
        raise ValueError(source.reports[0].message)
    return profile


def _profile(table: Table, earlier: Earlier | None) -> TrapProfile:
    values = table.read(fields.TRAP_PROFILE, inner=("trap", *fields.CONDITIONS))
    makers = values.pop("manufacturer")
    roots = values.pop("enterprise")
    text = str(values.pop("text") or "")
    check_rows(table, bool(makers), earlier or Earlier())
    numbers = tuple(int(m) for m in makers) if isinstance(makers, tuple) else ()
    enterprises = tuple(str(r).strip(".") for r in roots) if isinstance(roots, tuple) else ()
    for root in enterprises:
        if not root.startswith(ROOT):
            table.error(
                "enterprise",
                f"no trap's name begins with {root}: what is below it can never match",
                "Write it from the root on, as 1.3.6.1.4.1.232.",
            )
    shared = {name: _condition(table, name) for name in fields.CONDITIONS}
    families: list[TrapFamily] = []
    read: list[tuple[Table, TrapFamily]] = []
    for inner in table.many("trap"):
        family = _family(inner, shared, text)
        if family is not None:
            families.append(family)
            read.append((inner, family))
    if earlier is not None:
        check_families(read, enterprises, earlier)
    return build(
        TrapProfile, values, manufacturers=numbers, enterprises=enterprises, traps=tuple(families)
    )


def _family(table: Table, shared: dict[str, TrapCondition | None], text: str) -> TrapFamily | None:
    values = table.read(fields.TRAP, inner=fields.CONDITIONS)
    match = values.pop("match")
    wanted = dict(match) if isinstance(match, dict) else {}
    if isinstance(match, tuple):
        wanted = dict.fromkeys(map(str, match), "")
    conditions = {
        name: _condition(table, name) if name in table.raw else shared[name]
        for name in fields.CONDITIONS
    }
    ok = check_match(table, wanted) and check_overlaps(table, wanted)
    classes = _values(table, "classes", values.pop("classes"))
    levels = _values(table, "levels", values.pop("levels"))
    event_class = values.pop("class")
    family = build(
        TrapFamily,
        values,
        match=wanted,
        event_class=str(event_class or ""),
        classes=classes,
        levels=levels,
        text=str(values.get("text") or text),
        **conditions,
    )
    return family if check_family(table, family) and ok else None


def _condition(table: Table, name: str) -> TrapCondition | None:
    inner = table.one(name)
    if inner is None:
        return None
    values = inner.read(fields.CONDITION)
    said = values["value"]
    if not isinstance(said, tuple) or not said or not values["variable"]:
        return None
    mask = int(values["mask"]) if isinstance(values["mask"], int) else 0
    numbers = tuple(canonical_number(v) for v in said)
    for value in numbers:
        fault = value_fault(value, mask)
        if fault:
            inner.error("value", *fault)
    return TrapCondition(variable=str(values["variable"]), values=numbers, mask=mask)


def _values(table: Table, name: str, given: Option) -> dict[str, str]:
    """Values, ranges of numbers taken apart, with their classes."""
    found: dict[str, str] = {}
    if not isinstance(given, dict):
        return found
    for key, event_class in given.items():
        low, dots, high = key.partition("..")
        keys = [canonical_number(key)]
        if dots and is_number(low) and is_number(high):
            first, last = int(low, 0), int(high, 0)
            if not 0 <= last - first < MOST:
                text = f"no range of at most {MOST} numbers, from low to high"
                table.error(name, text, 'Write it as "3..5".', at=(key,))
                continue
            keys = [str(n) for n in range(first, last + 1)]
        for one in keys:
            if found.get(one, event_class) != event_class:
                text = f"says {found[one]} and {event_class} of {one}"
                table.error(name, text, "Take it out of one of them.", at=(key,))
            found[one] = event_class
    return found
