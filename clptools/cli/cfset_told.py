"""Steps in the original's words, from the tree of what was told to `clp.toml`.

A step changes the tree; what the tree means before and after it differs in some keys, and those are
set.  What is lost refuses the step; anything else that is not carried is a note.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from clptools.cli.cfset_session import Session, make, path_of
from clptools.config.clpconf import Node, spelled
from clptools.config.exporter import exported
from clptools.config.importer import translated
from clptools.config.original import Grade
from clptools.config.references import forget
from clptools.config.table import inner_of
from clptools.config.translation import Entry, Offer, Translation, message_of
from clptools.faults import ClpError, ExitCode

_KINDS = ("server", "interconnect", "np", "group", "monitor")
_IN_ORDER = ("server", "interconnect", "np")
_NOT_YET = ("no interconnect is on it", "no group has it")
"""What becomes of parts of a configuration that is not complete yet."""
_Tables = dict[str, Any]


def is_refused(session: Session, name: str) -> bool:
    """Whether an object of that name was told and is not carried, and no other one is there."""
    there = any(name in session.config.names(kind) for kind in ("group", "resource", "monitor"))
    return name in session.translation.refused and not there


def is_offered(session: Session, name: str) -> bool:
    """Whether such an object is not carried, and something else does all of its work."""
    offers = session.translation.offers
    return is_refused(session, name) and any(
        one.name == name and one.grade is Grade.DECISION for one in offers
    )


def refused(session: Session, name: str) -> None:
    """Raises ClpError (INVALID_CONFIG) for what was told and is lost."""
    if is_refused(session, name) and not is_offered(session, name):
        text = f"{spelled(name)} was refused: {session.translation.refused[name]}."
        raise ClpError(ExitCode.INVALID_CONFIG, text)


def tell(
    session: Session, edit: Callable[[Node], None], *, keep: bool = False, lose: bool = False
) -> None:
    """Takes one step.  `keep`: it is remembered even if it is refused; `lose`: none is refused.

    Raises ClpError (INVALID_CONFIG) where something would be lost.
    """
    tree = session.tree.copy()
    edit(tree)
    before, after = session.translation, translated(tree)
    for grade, entries in _told(before, after).items():
        if grade is Grade.LOST and not lose:
            if keep:
                session.remember(tree, session.document.original)
            one = entries[0]
            same = [each for each in entries if each.reason == one.reason]
            text = message_of(one.label, grade, one.reason, same)
            hint = "\n".join(filter(None, (one.hint, *_new_offers(before, after))))
            raise ClpError(ExitCode.INVALID_CONFIG, f"{text}.", hint)
        for one in entries:
            session.note(f"{message_of(one.label, grade, one.reason, [one])}.")
    known = {remark.about for remark in before.remarks}
    for remark in after.remarks:
        if remark.about not in known:
            session.note(f"{spelled(remark.text)}.")
    for text in _new_offers(before, after):
        session.note(text)
    _apply(session, before.tables, after.tables)
    session.told(tree, after)


def merge(session: Session, tree: Node) -> None:
    """Changes what an edited export says otherwise; all else stays, and is not spoken of."""
    before, after = translated(exported(session.config).root), translated(tree)
    for entries in _told(before, after).values():
        for one in entries:
            if one.grade is not Grade.EQUIVALENT:
                session.note(f"{message_of(one.label, one.grade, one.reason, [one])}.")
    for text in _new_offers(before, after):
        session.note(text)
    _apply(session, before.tables, after.tables)


def _new_offers(before: Translation, after: Translation) -> list[str]:
    """What is offered now, and was not, or in other words."""
    return [
        f"This is not in clp.toml yet; it goes {_behind(one)}:\n{one.text.rstrip()}"
        for one in after.offers
        if one not in before.offers
    ]


def _behind(offer: Offer) -> str:
    return f"behind group {spelled(offer.group)}" if offer.group else "at its end"


def _told(before: Translation, after: Translation) -> dict[Grade, list[Entry]]:
    """What is new about leaves, the graver first."""

    def about(entry: Entry) -> tuple[str, ...]:
        return entry.label, entry.tag, entry.value, entry.grade, entry.reason

    known = Counter(about(entry) for entry in before.entries)
    found: dict[Grade, list[Entry]] = {}
    for grade in (Grade.LOST, Grade.DECISION, Grade.EQUIVALENT):
        for entry in after.entries:
            if entry.grade is not grade or entry.reason in _NOT_YET:
                continue
            if known[about(entry)]:
                known[about(entry)] -= 1
            else:
                found.setdefault(grade, []).append(entry)
    return found


# ---------------------------------------------------------------------- the difference


def _apply(session: Session, before: _Tables, after: _Tables) -> None:
    for name in ("cluster", "alert"):
        _keys(session, name, before.get(name, {}), after.get(name, {}))
    for kind in _KINDS:
        old = {one["name"]: one for one in before.get(kind, ())}
        new = {one["name"]: one for one in after.get(kind, ())}
        _objects(session, kind, old, new)
        if kind in _IN_ORDER and list(old) != list(new):
            _order(session, kind, list(new))


def _objects(session: Session, kind: str, old: _Tables, new: _Tables, owner: str = "") -> None:
    config = session.config
    for name in old:
        if name not in new:
            found = config.find(kind, name, owner)
            config.delete(found)
            still = forget(config, found)
            if still:
                session.note(f"Still named: {name} in {'; '.join(still)}.")
    for name, table in new.items():
        if old.get(name) == table:
            continue  # looking all up takes a quarter of a step's time with 500 monitors
        if name not in old:
            make(session, kind, name, type=_type(kind, table), owner=owner)
        found = config.find(kind, name, owner)
        _keys(session, path_of(found), old.get(name, {}), table, kind)
        if kind == "group":
            inside = _resources(old.get(name, {})), _resources(table)
            _objects(session, "resource", *inside, name)


def _resources(group: _Tables) -> _Tables:
    return {one["name"]: one for one in group.get("resource", ())}


def _type(kind: str, table: _Tables) -> str:
    return str(table["type"]) if "type" in table else "failover" if kind == "group" else ""


def _keys(session: Session, path: str, old: _Tables, new: _Tables, kind: str = "") -> None:
    inner = inner_of(kind) if kind else {}
    for key in {**new, **old}:
        if key in ("name", "type", "resource") and path != "cluster":
            continue
        was, wanted = old.get(key), new.get(key)
        if was == wanted:
            continue
        if key in inner:
            _keys(session, f"{path}.{key}", was or {}, wanted or {})
        elif wanted is None:
            session.config.drop(session.config.place(f"{path}.{key}"))
        else:
            session.config.put(session.config.place(f"{path}.{key}", make=True), wanted)


def _order(session: Session, kind: str, names: list[str]) -> None:
    """Puts objects into that order; those that are not named stay in their places."""
    there = session.config.names(kind)
    places = [place for place, name in enumerate(there) if name in names]
    wanted = [name for name in names if name in there]
    if [there[place] for place in places] == wanted:
        return
    for place, name in zip(places, wanted, strict=True):
        session.config.move(session.config.find(kind, name), place)


# ---------------------------------------------------------------------- steps on the tree


def siblings(root: Node, section: str) -> list[Node]:
    """The objects of a section."""
    holder = root.find(section)
    return [one for one in holder.children if one.tag != "types"] if holder is not None else []


def object_in(root: Node, section: str, type: str, name: str) -> Node:
    """An object of a section, made with the entry for its type where it is missing."""
    holder = root.make(section)
    holder.make(f"types@{type}")
    return holder.make(f"{type}@{name}")


def set_place(siblings: list[Node], node: Node, tag: str, place: int) -> None:
    """Sets a place; an object that has it already moves back, with those after it."""
    if node.value(tag) == str(place):
        return
    taken = place
    for one in sorted(siblings, key=lambda one: one.number(tag)):
        if one is not node and one.find(tag) is not None and one.number(tag) == taken:
            taken += 1
            one.set(tag, str(taken))
    node.set(tag, str(place))


def drop_below(root: Node, owner: str, path: str) -> None:
    """Takes out what is below an object; the object stays."""
    node = root.find(owner) if owner else root
    if node is not None:
        node.drop(path)
