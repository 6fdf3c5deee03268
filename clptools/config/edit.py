"""Objects and keys of a configuration document: find, add, change, move and remove them.

A value is checked by its `Field` alone as soon as it is set; the loader checks the whole once it is
complete.  A fault that says what does not exist also names what does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from clptools.config.document import Document
from clptools.config.field import NAME, TEXT, Field, near
from clptools.config.groups import ALL_GROUPS, REFUSED_GROUPS
from clptools.config.lines import Json
from clptools.config.table import SINGLE, checked, fields_of, from_word, inner_of, table_from_word
from clptools.config.variants import REFUSED, Registries, Variants
from clptools.faults import ClpError, ExitCode


class Sort(NamedTuple):
    """One sort of object: where it stands, and what it is called."""

    word: str
    within: str = ""
    """The sort of object in whose table it stands."""
    name: str = "name"
    """The key that names it."""


SORTS = {
    "server": Sort("server"),
    "interconnect": Sort("interconnect"),
    "np": Sort("NP resolution"),
    "fence": Sort("fence agent"),
    "server_group": Sort("server group"),
    "group": Sort("group"),
    "resource": Sort("group resource", within="group"),
    "monitor": Sort("monitor"),
    "snmpv3_user": Sort("SNMPv3 user", within="monitor", name="user"),
    "trap_profile": Sort("trap profile"),
    "trap": Sort("trap", within="trap_profile"),
}
SHORT = {
    "srv": "server", "hb": "interconnect", "svg": "server_group", "grp": "group",
    "rsc": "resource", "mon": "monitor",
}  # fmt: skip
"""The original's words for them."""


class Found(NamedTuple):
    """One object of the document."""

    kind: str
    name: str
    table: Json
    siblings: list[Json]
    owner: str = ""
    """Name of the object in which it stands."""

    @property
    def label(self) -> str:
        """As in the loader's messages: `monitor mrw1`."""
        within = f" of trap profile {self.owner}" if self.kind == "trap" else ""
        return f"{SORTS[self.kind].word} {self.name}{within}"


class Place(NamedTuple):
    """One key of one table, or one entry of a key that is a table."""

    table: Json
    field: Field
    entry: str
    part: str
    """Of an entry that is a table: which of it; empty: all."""
    label: str
    """`monitor mrw1: recovery.`"""
    owner: Found | None
    inner: bool

    @property
    def value(self) -> Any:
        """What the document says; None: nothing."""
        value = self.table.get(self.field.name)
        if not self.entry:
            return value
        entry = value.get(self.entry) if isinstance(value, dict) else None
        if not self.part:
            return entry
        return entry.get(self.part) if isinstance(entry, dict) else None


def kind_of(word: str) -> str:
    """The sort of object that a word means.  Raises ClpError (USAGE)."""
    kind = SHORT.get(word, word)
    if kind in SORTS:
        return kind
    raise ClpError(ExitCode.USAGE, f"{word}: no such kind of object.", near(word, (*SORTS, *SHORT)))


class Configuration:
    """A document, and what may be done with it."""

    def __init__(self, document: Document, registries: Registries) -> None:
        self.document = document
        self.tables = document.tables
        self.registries = registries

    # -- finding ------------------------------------------------------------------------

    def all_of(self, kind: str) -> list[Found]:
        """Every object of a sort, in order, by the names that the loader gives them."""
        within = SORTS[kind].within
        if not within:
            return list(_named(kind, self.tables, ""))
        return [one for o in self.all_of(within) for one in _named(kind, o.table, o.name)]

    def names(self, kind: str) -> list[str]:
        """Their names."""
        return [found.name for found in self.all_of(kind)]

    def find(self, kind: str, name: str, owner: str = "") -> Found:
        """The object of that name.  Raises ClpError: NO_SUCH with near names, USAGE where two
        have it."""
        found = [one for one in self.all_of(kind) if one.name == name]
        found = [one for one in found if owner in ("", one.owner)]
        found = found or self._numbered(kind, name, owner)
        if found:
            return _only(found)
        known = [one.name for one in self.all_of(kind) if owner in ("", one.owner)]
        if not name:
            hint = near(name, known) or f"Add one: clpcfset add {kind}"
            text = f"The name of a {SORTS[kind].word} is missing."
            raise ClpError(ExitCode.USAGE, text, hint)
        hint = near(name, known) if known else f"Add one: clpcfset add {kind}"
        raise ClpError(ExitCode.NO_SUCH, f"{name}: no such {SORTS[kind].word}.", hint)

    def _numbered(self, kind: str, number: str, owner: str) -> list[Found]:
        """Traps also go by their number within their profile, from 1."""
        if kind != "trap" or not number.isdecimal():
            return []
        traps = [one for one in self.all_of(kind) if owner in ("", one.owner)]
        place = int(number) - 1
        return [
            one
            for one in traps
            if one.siblings[place : place + 1] and one.siblings[place] is one.table
        ]

    def place(self, path: str, *, make: bool = False) -> Place:
        """The key that a path names: `monitor.mrw1.recovery.target`, `cluster.lease`.

        `make`: tables on the way are made.  Raises ClpError: USAGE for no such key, NO_SUCH for
        no such object.
        """
        head, _, rest = path.partition(".")
        if head in SINGLE:
            table = self.tables.setdefault(head, {}) if make else self.tables.get(head, {})
            return self._key(head, table, f"{head}: ", rest, None)
        found, rest = self.object_at(path)
        inner = inner_of(found.kind, self.registries)
        name, _, below = rest.partition(".")
        if name not in inner:
            return self._key(found.kind, found.table, f"{found.label}: ", rest, found)
        table = found.table.setdefault(name, {}) if make else found.table.get(name, {})
        label = f"{found.label}: {name}."
        if not isinstance(table, dict):
            text = f"{found.label}: {name} must be a table."
            raise ClpError(ExitCode.INVALID_CONFIG, text)
        return self._in(inner[name], table, label, below, found, inner=True)

    def object_at(self, path: str) -> tuple[Found, str]:
        """The object with which a path begins, and what follows its name."""
        head, _, rest = path.partition(".")
        if head not in SORTS and head not in SHORT:
            known = (*SINGLE, *SORTS)
            raise ClpError(ExitCode.USAGE, f"{path}: there is no {head}.", near(head, known))
        found, rest = self._longest(kind_of(head), rest)
        below, _, _ = rest.partition(".")
        if below in SORTS and SORTS[below].within == found.kind:
            return self._longest(below, rest.partition(".")[2], found.name)
        return found, rest

    def _longest(self, kind: str, rest: str, owner: str = "") -> tuple[Found, str]:
        """Names may have dots: the longest one that fits is meant."""
        fits = [
            one
            for one in self.all_of(kind)
            if owner in ("", one.owner) and (rest == one.name or rest.startswith(f"{one.name}."))
        ]
        if not fits:
            name, _, rest = rest.partition(".")
            return self.find(kind, name, owner), rest
        longest = max(len(one.name) for one in fits)
        found = _only([one for one in fits if len(one.name) == longest])
        return found, rest[len(found.name) + 1 :]

    def _key(self, kind: str, table: Json, label: str, rest: str, owner: Found | None) -> Place:
        known = fields_of(kind, table, self.registries)
        return self._in(known, table, label, rest, owner)

    def _in(
        self,
        known: dict[str, Field],
        table: Json,
        label: str,
        rest: str,
        owner: Found | None,
        *,
        inner: bool = False,
    ) -> Place:
        name, _, entry = rest.partition(".")
        below = inner_of(owner.kind, self.registries) if owner and not inner else {}
        if name not in known:
            said = f'there is no key "{name}"' if name else "the key is missing"
            raise ClpError(ExitCode.USAGE, f"{label}{said}.", near(name, (*known, *below)))
        field = known[name]
        if entry and "table" not in field.parse.shape:
            raise ClpError(ExitCode.USAGE, f"{label}{name} is no table: it has no {entry}.")
        part = ""
        if entry and field.parse.has_tables:
            entry, _, part = entry.partition(".")
        if entry and field.parse.by_server:
            self.find("server", entry)
        return Place(table, field, entry, part, label, owner, inner)

    # -- changing ------------------------------------------------------------------------

    def set(self, path: str, word: str) -> None:
        """Sets a key, or the keys of a table within a table, to what a word of a command line
        says."""
        if path.partition(".")[0] not in SINGLE:
            found, last = self.object_at(path)
            if last in inner_of(found.kind, self.registries):
                self._set_whole(path, found, last, word)
                return
        place = self.place(path, make=True)
        self.put(place, word if place.entry else from_word(place.field, word))

    def _set_whole(self, path: str, found: Found, name: str, word: str) -> None:
        entries = table_from_word(word)
        if not entries:
            known = ", ".join(inner_of(found.kind, self.registries)[name])
            raise ClpError(
                ExitCode.USAGE,
                f"{found.label}: {name} is a table.",
                f"Set its keys: {name}=A=…,B=… or {name}.A=…; it has {known}.",
            )
        found.table.pop(name, None)
        for key, value in entries.items():
            place = self.place(f"{path}.{key}", make=True)
            self.put(place, from_word(place.field, value) if isinstance(value, str) else value)

    def put(self, place: Place, value: Any) -> None:
        """Sets a key.  Raises ClpError (INVALID_CONFIG) if it does not take the value."""
        key = place.field.name
        if place.owner is not None and not place.inner:
            if key == SORTS[place.owner.kind].name and place.owner.kind != "trap":
                text = f"{place.label}{key} is changed by rename, which also follows references."
                kind = place.owner.kind
                how = f"clpcfset rename {kind} {place.owner.name} {value}"
                raise ClpError(ExitCode.USAGE, text, how)
            if key == "type":
                self.check_type(place.owner.kind, str(value))
        if place.entry:
            before = place.table.get(key)
            if isinstance(before, list):
                text = f"{place.label}{key} is a list: {place.entry} has no value in it."
                raise ClpError(ExitCode.INVALID_CONFIG, text, f"Set the whole: {key}=A=…,B=…")
            whole = before if isinstance(before, dict) else {}
            if place.part:
                entry = whole.get(place.entry, {})
                if not isinstance(entry, dict):
                    text = f"{place.label}{key}.{place.entry} is written as text."
                    mend = f"Set the whole: {key}.{place.entry}=A=…,B=…"
                    raise ClpError(ExitCode.INVALID_CONFIG, text, mend)
                value = {**entry, place.part: value}
            value = {**whole, place.entry: value}
            checked(place.label, place.field, value)
        place.table[key] = checked(place.label, place.field, value)

    def take_out(self, path: str) -> bool:
        """Takes a key out, so that its default holds; False: it was not set."""
        if path in SINGLE:
            return self.tables.pop(path, None) is not None
        if path.partition(".")[0] not in SINGLE:
            found, last = self.object_at(path)
            if last in inner_of(found.kind, self.registries):
                return found.table.pop(last, None) is not None
        return self.drop(self.place(path))

    def drop(self, place: Place) -> bool:
        """Takes a key out; False: it was not set."""
        if place.value is None:
            return False
        key = place.field.name
        if place.entry:
            rest = dict(place.table[key])
            left = (
                {k: v for k, v in rest.pop(place.entry).items() if k != place.part}
                if (place.part)
                else {}
            )
            if left:
                rest[place.entry] = left
            place.table[key] = rest
            if rest:
                return True
        del place.table[key]
        return True

    # -- objects -------------------------------------------------------------------------

    def check_type(self, kind: str, name: str) -> None:
        """Raises ClpError (INVALID_CONFIG) with the reason if there is no such type."""
        of: dict[str, tuple[str, Variants]] = {
            "interconnect": ("interconnect", self.registries.links),
            "np": ("np", self.registries.arbiters),
            "resource": ("group resource", self.registries.resources),
            "monitor": ("monitor", self.registries.monitors),
        }
        if kind == "group":
            if name != "failover":
                reason = REFUSED_GROUPS.get(name, "no such group type")
                raise ClpError(ExitCode.INVALID_CONFIG, f"{name}: {reason}.", "Write failover.")
            return
        what, variants = of[kind]
        if name not in variants:
            known = near(name, variants)
            reason, mend = REFUSED[what].get(name, (f"no such {what} type", known))
            raise ClpError(ExitCode.INVALID_CONFIG, f"{name}: {reason}.", mend)

    def add(
        self, kind: str, name: str = "", *, type: str = "", owner: str = "", at: int | None = None
    ) -> tuple[Found, bool]:
        """Makes an object; False: it was there already, as asked for.

        Raises ClpError: INVALID_CONFIG for a bad name or type, NO_SUCH for its owner, REFUSED
        where something else has the name.
        """
        sort = SORTS[kind]
        holder = self.find(sort.within, owner).table if sort.within else self.tables
        if type:
            self.check_type(kind, type)
        name = name or self.free_name(kind, type)
        if name:
            self.check_name(kind, name)
        for found in self._same_space(kind, owner):
            if name and name == found.table.get(sort.name, found.name):
                same = (kind, type, owner) == (
                    found.kind, str(found.table.get("type", type)), found.owner
                )  # fmt: skip
                if same:
                    return found, False
                raise ClpError(ExitCode.REFUSED, f"{found.label}: is there already.")
        table: Json = {"type": type} if type and kind != "group" else {}
        if name:
            table[sort.name] = name
        with self.names_kept(kind):
            siblings: list[Json] = holder.setdefault(kind, [])
            siblings.insert(len(siblings) if at is None else at, table)
        return next(one for one in self.all_of(kind) if one.table is table), True

    def free_name(self, kind: str, type: str) -> str:
        """The next name of an object of that type; none for a trap, which may go without.

        Raises ClpError where it must be given.
        """
        if kind == "trap":
            return ""
        name = _made(kind, type, set(self.names(kind)))
        if not name:
            raise ClpError(ExitCode.USAGE, f"The name of the {SORTS[kind].word} is missing.")
        return name

    def check_name(self, kind: str, name: str) -> None:
        """Raises ClpError (INVALID_CONFIG) if an object cannot be called so."""
        label = f"{SORTS[kind].word}: "
        if kind == "trap":
            checked(label, Field(section=kind, name=SORTS[kind].name, parse=TEXT, help=""), name)
            return
        checked(label, Field(section=kind, name=SORTS[kind].name, parse=NAME, help=""), name)
        if name == ALL_GROUPS:
            raise ClpError(ExitCode.INVALID_CONFIG, f"{label}{name}: means all of them.")

    def _same_space(self, kind: str, owner: str) -> list[Found]:
        """The objects among which a name is used once."""
        if kind in ("group", "resource"):
            return [*self.all_of("group"), *self.all_of("resource")]
        return [one for one in self.all_of(kind) if owner in ("", one.owner)]

    def delete(self, found: Found) -> None:
        """Takes an object out; what refers to it is `references.forget`'s."""
        with self.names_kept(found.kind):
            _remove(found.siblings, found.table)
        if not found.siblings:
            within = SORTS[found.kind].within
            holder = self.find(within, found.owner).table if within else self.tables
            del holder[found.kind]

    def move(self, found: Found, place: int) -> None:
        """Gives an object another place among its like, from 0."""
        with self.names_kept(found.kind):
            _remove(found.siblings, found.table)
            found.siblings.insert(place, found.table)

    @contextmanager
    def names_kept(self, kind: str, but: Json | None = None) -> Iterator[None]:
        """Names that the loader derives from positions are written down if they would change.

        `but`: the one table whose name is to change.  Nothing refers to the number of a trap.
        """
        if kind == "trap":
            yield
            return
        key = SORTS[kind].name
        before = {
            id(found.table): found.name
            for found in self.all_of(kind)
            if found.table is not but and (found.table.get(key) or found.table.get("type"))
        }
        yield
        for _ in range(len(before) + 1):
            for found in self.all_of(kind):
                if before.get(id(found.table), found.name) != found.name:
                    found.table[key] = before[id(found.table)]
                    break
            else:
                return


def _remove(siblings: list[Json], table: Json) -> None:
    """That table, not one that is equal to it."""
    del siblings[next(n for n, one in enumerate(siblings) if one is table)]


def _only(found: list[Found]) -> Found:
    """The one of them.  Raises ClpError (USAGE) where there are more."""
    if len(found) == 1:
        return found[0]
    one = found[0]
    owners = ", ".join(each.owner for each in found)
    text = f"{one.name}: {len(found)} are called so, in {owners}."
    path = f"{SORTS[one.kind].within}.{one.owner}.{one.kind}.{one.name}"
    how = f"Say in which: {one.kind} {one.owner} {one.name}, or in a PATH {path}"
    raise ClpError(ExitCode.USAGE, text, how)


def _named(kind: str, holder: Json, owner: str) -> Iterator[Found]:
    """The objects of a list with their names: given ones, or made as the loader makes them."""
    siblings = holder.get(kind, [])
    if not isinstance(siblings, list) or not all(isinstance(one, dict) for one in siblings):
        text = f"{kind}: must be a list of tables."
        raise ClpError(ExitCode.INVALID_CONFIG, text, f"Write [[{kind}]].")
    taken: set[str] = set()
    given = Counter(str(one.get("name", "")) for one in siblings)
    for index, table in enumerate(siblings, 1):
        name = table.get(SORTS[kind].name)
        if kind == "trap" and (given[str(name)] > 1 or str(name).isdecimal()):
            name = ""  # several tables may tell of one fault: each is called by its number
        if not isinstance(name, str) or not name:
            name = _made(kind, str(table.get("type", "")), taken) or str(index)
        taken.add(name)
        yield Found(kind, name, table, siblings, owner)


def _made(kind: str, type: str, taken: set[str]) -> str:
    """The name of an object that has none; empty where it must have one."""
    if kind not in ("interconnect", "np", "monitor") or not type:
        return ""
    if type == "userw":
        return type
    stem = f"{type}np" if kind == "np" else type
    return next(name for n in range(1, len(taken) + 2) if (name := f"{stem}{n}") not in taken)
