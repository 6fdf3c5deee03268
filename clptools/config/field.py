"""One record per configuration key: reader, manual, completion and check are made from it.

A `Field` belongs to a table of `clp.toml` (`section`); variant rooms (links, resources,
monitors, arbiters) declare the keys of their own types in their `registry.py`, so this module
imports nothing that is slow to load.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from clptools.core.settings import Option


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Why a value is refused, as the end of a sentence, and what would mend it."""

    text: str
    hint: str = ""
    at: tuple[str | int, ...] = ()
    """Where inside the value: a table's key, a list's index from 0."""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A sort of value: its name in the manual, and how a TOML value is read as one."""

    name: str
    """`seconds`, `text`, `one of auto, manual`: follows the key in the manual."""
    read: Callable[[object], Option | Fault]
    choices: tuple[str, ...] = ()
    """Closed choices, for completion and near-name hints."""
    empty: Option = ""
    """Stands in for a required value that is missing, so that the reading goes on."""
    is_duration: bool = False
    """Written in seconds, read into integer milliseconds."""
    by_server: bool = False
    """A table's keys are server names; the loader checks them."""
    shape: str = "text"
    """How it stands in the file: `text`, `number`, `boolean`, `list`, `numbers`, `table`, or
    `text or table`."""

    def __call__(self, value: object) -> Option | Fault:
        """The typed value, or the fault."""
        return self.read(value)


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One key of one table."""

    section: str
    """Dotted table path without array brackets: `cluster`, `group.resource`, `monitor`."""
    name: str
    parse: Kind
    default: Option = None
    """As it would be written in the file; None: not set."""
    help: str
    """One sentence for the manual, without the default."""
    since: str = "0.1.0"
    required: bool = False

    @property
    def option(self) -> str:
        """Under which name a variant finds it in `options`: durations as `<name>_ms`."""
        return f"{self.name}_ms" if self.parse.is_duration else self.name

    def default_value(self) -> Option:
        """The default as read: what a table without this key gets."""
        if self.default is None:
            return None
        value = self.parse(self.default)
        if isinstance(value, Fault):
            raise ValueError(f"default of {self.section}.{self.name}: {value.text}")
        return value
