"""What a resource agent or a fence agent says of itself: its parameters and actions.

Both kinds print the same XML, `<resource-agent><parameters>…<actions>…` (OCF Resource Agent API
1.1, section "Metadata"; for fence agents fence-agents' `FenceAgentAPI.md`).  It is read loosely, as
agents in the field leave the schema in many ways, and without trust: no entity is defined or
expanded, no DTD is read, and size, depth and counts have limits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import TypeVar
from xml.parsers import expat

import msgspec

from clptools.faults import ClpError, ExitCode, plain

MAX_BYTES = 512 * 1024
"""The largest of the 224 agents of Debian 12 that print any prints 13 KiB."""
MAX_DEPTH = 16
MAX_ITEMS = 2_000
"""Most parameters, or actions."""
MAX_TEXT = 500
"""Longer names, defaults and descriptions are cut."""


_Item = TypeVar("_Item")


class Kind(StrEnum):
    """The type of a parameter's value; what is none of these counts as a string."""

    STRING = "string"
    BOOLEAN = "boolean"
    INTEGER = "integer"
    SELECT = "select"
    SECOND = "second"
    """A duration in seconds, perhaps with a unit."""


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter of an agent."""

    name: str
    kind: Kind = Kind.STRING
    required: bool = False
    """It must be given; one that also has a default says so in vain (`must_be_given`)."""
    default: str | None = None
    choices: tuple[str, ...] = ()
    """The values of a select."""
    unique: bool = False
    """No two resources may have the same value."""
    unique_group: str = ""
    """No two resources may have the same values of all parameters of this group."""
    deprecated: bool = False
    obsoletes: str = ""
    """The older name of the same parameter."""
    shortdesc: str = ""

    @property
    def must_be_given(self) -> bool:
        """Whether the agent cannot do without; an empty default is none."""
        return self.required and not self.default


class Action(msgspec.Struct, frozen=True, kw_only=True):
    """One action of an agent, with the times that it advises."""

    name: str
    timeout_s: float | None = None
    interval_s: float | None = None
    depth: int = 0
    """`OCF_CHECK_LEVEL` of a monitor."""
    role: str = ""
    """Promoted, Unpromoted; empty: any."""
    automatic: bool = False
    """Of a fence agent's `on`: a server that joins must be switched on first (fabric fencing)."""
    on_target: bool = False
    """Of a fence agent: it has to run on the server in question."""


class Metadata(msgspec.Struct, frozen=True, kw_only=True):
    """All of it."""

    name: str
    shortdesc: str = ""
    parameters: tuple[Parameter, ...] = ()
    actions: tuple[Action, ...] = ()
    aliases: tuple[str, ...] = ()
    """Further names of a fence agent (`fence_idrac` is `fence_ipmilan`)."""

    def parameter(self, name: str) -> Parameter | None:
        """That parameter."""
        return next((one for one in self.parameters if one.name == name), None)

    def action(self, name: str, depth: int = 0) -> Action | None:
        """That action, of that depth where there are several."""
        found = [one for one in self.actions if one.name == name]
        return next((one for one in found if one.depth == depth), found[0] if found else None)


def parse(data: bytes) -> Metadata:
    """Read what an agent printed.

    Raises:
        ClpError: it is no meta-data; with the line at fault.
    """
    if len(data) > MAX_BYTES:
        raise _refused(f"it is larger than {MAX_BYTES >> 10} KiB")
    if not data.strip():
        raise _refused("it is empty")
    reader = _Reader()
    try:
        reader.parser.Parse(data.lstrip(), True)
    except expat.ExpatError as fault:
        raise _refused(f"line {fault.lineno}: {expat.ErrorString(fault.code)}") from None
    except (ValueError, LookupError):
        raise _refused("its encoding is not known") from None
    return reader.metadata()


def seconds(text: str) -> float | None:
    """A duration as agents write it (`20s`, `20`, `500ms`, `2min`), in seconds."""
    found = re.fullmatch(r"\s*([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*([a-z]*)\s*", text, re.ASCII)
    unit = _UNITS.get(found[2]) if found else None
    return None if found is None or unit is None else float(found[1]) * unit


_UNITS = {
    **dict.fromkeys(("us", "usec"), 1e-6),
    **dict.fromkeys(("ms", "msec"), 1e-3),
    **dict.fromkeys(("", "s", "sec"), 1.0),
    **dict.fromkeys(("m", "min"), 60.0),
    **dict.fromkeys(("h", "hr"), 3600.0),
}
"""Pacemaker's units of time (`crm_get_msec`, lib/common/utils.c)."""


def _refused(why: str) -> ClpError:
    return ClpError(ExitCode.FAILED, f"its meta-data cannot be read: {why}")


class _Reader:
    """Takes the elements that count, wherever agents put them."""

    def __init__(self) -> None:
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.EntityDeclHandler = self._entity
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._text
        self._path: list[str] = []
        self._name: str | None = None
        self._shortdesc = ""
        self._parameters: list[Parameter] = []
        self._actions: list[Action] = []
        self._aliases: list[str] = []
        self._words: list[str] | None = None
        """The text of the short description that is read now."""

    def metadata(self) -> Metadata:
        """What was read.  Raises `ClpError`."""
        if self._name is None:
            raise _refused("it has no resource-agent")
        return Metadata(
            name=self._name,
            shortdesc=self._shortdesc,
            parameters=tuple(_first_of_each(self._parameters)),
            actions=tuple(self._actions),
            aliases=tuple(self._aliases),
        )

    # -- what expat calls ---------------------------------------------------------------

    def _doctype(self, name: str, system: str | None, public: str | None, internal: int) -> None:
        # Most agents name a DTD, which is not read; one that is written out could define entities.
        if internal:
            raise self._fault("it defines a document type of its own")

    def _entity(self, *_: object) -> None:
        raise self._fault("it defines an entity")

    def _start(self, name: str, given: dict[str, str]) -> None:
        self._path.append(name)
        if len(self._path) > MAX_DEPTH:
            raise self._fault(f"its elements are nested more than {MAX_DEPTH} deep")
        if len(self._path) == 1 and name != "resource-agent":
            raise self._fault(f"it is a {_cut(name)!r} and no resource-agent")
        match name:
            case "resource-agent":
                self._name = _cut(given.get("name", ""))
                self._shortdesc = _cut(given.get("shortdesc", ""))
            case "symlink":
                self._add(self._aliases, _cut(given.get("name", "")))
            case "parameter" if given.get("name"):
                self._add(self._parameters, _parameter(given))
            case "content" if self._inside("parameter"):
                self._content(given)
            case "option" if self._inside("content"):
                self._option(given.get("value", ""))
            case "deprecated" if self._inside("parameter"):
                self._amend(deprecated=True)
            case "action" if given.get("name"):
                self._add(self._actions, _action(given))
            case "shortdesc":
                self._words = []

    def _end(self, name: str) -> None:
        self._path.pop()
        if name == "shortdesc" and self._words is not None:
            text = _cut(" ".join("".join(self._words).split()))
            self._words = None
            if self._path and self._path[-1] == "parameter":
                self._amend(shortdesc=text)
            elif len(self._path) == 1:
                self._shortdesc = text

    def _text(self, text: str) -> None:
        if self._words is not None and len(self._words) < MAX_TEXT:
            self._words.append(text[:MAX_TEXT])

    # -- what they add up to ------------------------------------------------------------

    def _inside(self, parent: str) -> bool:
        return len(self._path) > 1 and self._path[-2] == parent and bool(self._parameters)

    def _add(self, items: list[_Item], item: _Item) -> None:
        if len(items) >= MAX_ITEMS:
            raise self._fault(f"it lists more than {MAX_ITEMS} of a kind")
        items.append(item)

    def _content(self, given: dict[str, str]) -> None:
        kind = given.get("type", "")
        default = given.get("default")
        self._amend(
            kind=Kind(kind) if kind in list(Kind) else Kind.STRING,
            default=None if default is None else _cut(default),
        )

    def _option(self, value: str) -> None:
        before = self._parameters[-1].choices
        if len(before) >= MAX_ITEMS:
            raise self._fault(f"it lists more than {MAX_ITEMS} of a kind")
        self._amend(choices=(*before, _cut(value)))

    def _amend(self, **changes: object) -> None:
        if self._parameters:
            self._parameters[-1] = msgspec.structs.replace(self._parameters[-1], **changes)

    def _fault(self, why: str) -> ClpError:
        return _refused(f"line {self.parser.CurrentLineNumber}: {why}")


def _parameter(given: dict[str, str]) -> Parameter:
    return Parameter(
        name=_cut(given["name"]),
        required=_is_true(given.get("required", "")),
        unique=_is_true(given.get("unique", "")),
        unique_group=given.get("unique-group", ""),
        deprecated=_is_true(given.get("deprecated", "")),
        obsoletes=_cut(given.get("obsoletes", "")),
    )


def _action(given: dict[str, str]) -> Action:
    depth = given.get("depth", "0")
    return Action(
        name=_cut(given["name"]),
        timeout_s=seconds(given.get("timeout", "")),
        interval_s=seconds(given.get("interval", "")),
        depth=int(depth) if re.fullmatch("[0-9]{1,4}", depth, re.ASCII) else 0,
        role=_cut(given.get("role", "")),
        automatic=_is_true(given.get("automatic", "")),
        on_target=_is_true(given.get("on_target", "")),
    )


def _first_of_each(parameters: Iterable[Parameter]) -> Iterable[Parameter]:
    """Without those whose name came before."""
    found: dict[str, Parameter] = {}
    for one in parameters:
        found.setdefault(one.name, one)
    return found.values()


def _is_true(text: str) -> bool:
    return text.strip().lower() in ("1", "true", "yes", "on")


def _cut(text: str) -> str:
    """As it may be shown: short, and with nothing that a terminal would obey."""
    text = plain(text)
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"
