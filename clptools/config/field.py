"""One `Field` per configuration key: reader, manual, completion and check are made from it.

A `Field` belongs to a table of `clp.toml` (`section`); variant rooms (links, resources,
monitors, arbiters) declare the keys of their own types in their `registry.py`, so this module
imports nothing that is slow to load.  Each factory of a `Kind` of value reads strictly: a number
in quotes, or `1` for `true`, is a fault, because a configuration that is guessed at cannot be
checked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from ipaddress import ip_address

import msgspec

from clptools.config.address import canonical, endpoint
from clptools.core.model.settings import Option


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Why a value is refused, as the end of a sentence, and what would mend it."""

    text: str
    hint: str = ""
    at: tuple[str | int, ...] = ()
    """Where inside the value: a table's key, a list's index from 0."""
    secret: bool = False
    """The value may be a password, and is not shown."""


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """A sort of value: its name in the manual, and how a TOML value is read as one."""

    name: str
    """`seconds`, `text`, `one of auto, manual`: follows the key in the manual."""
    read: Callable[[object], Option | Fault]
    choices: tuple[str, ...] = ()
    """Closed choices, for completion and near-name hints."""
    empty: Option = ""
    """Replaces a required value that is missing, so that reading can go on."""
    is_duration: bool = False
    """Written in seconds, read into integer milliseconds."""
    by_server: bool = False
    """A table's keys are server names; the loader checks them."""
    within: bool = False
    """It is read from tables by server, into one whose keys are `SERVER/NAME`."""
    has_tables: bool = False
    """What each server has is a table."""
    shape: str = "text"
    """How it stands in the file: `text`, `number`, `boolean`, `list`, `numbers`, `table`, or
    `text or table`."""

    def __call__(self, value: object) -> Option | Fault:
        """The typed value, or the fault."""
        return self.read(value)


ON_SERVERS = "_on"
"""Ends a key that has the values of single servers, in place of those of the key before it."""


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
        """Its name in a variant's `options`; of a duration, `<name>_ms`."""
        return f"{self.name}_ms" if self.parse.is_duration else self.name

    def default_value(self) -> Option:
        """The default as read: what a table without this key gets."""
        if self.default is None:
            return None
        value = self.parse(self.default)
        if isinstance(value, Fault):
            raise ValueError(f"default of {self.section}.{self.name}: {value.text}")
        return value


# ---------------------------------------------------------------------- kinds of value


_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)
MAX_NAME_BYTES = 63


def toml_type(value: object) -> str:
    """What a TOML value is called, with its article."""
    names = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
    if type(value) in names:
        return names[type(value)]
    if isinstance(value, (list, tuple)):
        return "a list"
    return "a table" if isinstance(value, dict) else "a date or time"


def _text_fault(value: object, what: str = "text in quotes") -> Fault:
    return Fault(text=f"must be {what}, not {toml_type(value)}")


def text(*, max_bytes: int = 4096, min_bytes: int = 0, what: str = "text") -> Kind:
    """Any text without control characters; lengths are in bytes of UTF-8."""

    def read(value: object) -> Option | Fault:
        if not isinstance(value, str):
            return _text_fault(value)
        size = len(value.encode())
        if size > max_bytes:
            return Fault(text=f"{size} bytes, at most {max_bytes:,} are allowed")
        if size < min_bytes:
            return Fault(text="must not be empty")
        if any(ord(c) < 32 or ord(c) == 127 for c in value):
            return Fault(text="must not contain control characters")
        return value

    return Kind(name=what, read=read)


def _name(value: object) -> Option | Fault:
    if not isinstance(value, str):
        return _text_fault(value)
    if not _NAME.fullmatch(value):
        return Fault(
            text="not a name",
            hint="Use letters, digits, and _ - . inside; names become file names.",
        )
    if len(value) > MAX_NAME_BYTES:
        return Fault(text=f"{len(value)} bytes, at most {MAX_NAME_BYTES} are allowed")
    return value


NAME = Kind(name="name", read=_name)
"""A name of a server, group, ...: safe as a file name and in a script's environment."""

TEXT = text()


def _boolean(value: object) -> Option | Fault:
    return value if isinstance(value, bool) else Fault(
        text=f"must be true or false, not {toml_type(value)}"
    )  # fmt: skip


BOOLEAN = Kind(name="true or false", read=_boolean, choices=("true", "false"), shape="boolean")


def integer(low: int, high: int) -> Kind:
    """A whole number from `low` to `high`."""

    def read(value: object) -> Option | Fault:
        if isinstance(value, bool) or not isinstance(value, int):
            return Fault(text=f"must be a whole number, not {toml_type(value)}")
        if not low <= value <= high:
            return Fault(text=f"must be from {low} to {high}")
        return value

    return Kind(name="number", read=read, shape="number")


def number(low: float, high: float) -> Kind:
    """A number from `low` to `high`, with or without a fraction."""

    def read(value: object) -> Option | Fault:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return Fault(text=f"must be a number, not {toml_type(value)}")
        if not low <= value <= high:  # which refuses nan, too
            return Fault(text=f"must be from {low:g} to {high:g}")
        return float(value)

    return Kind(name="number", read=read, shape="number")


def seconds(low: float, high: float = 30 * 86400) -> Kind:
    """Seconds, with or without a fraction; read into milliseconds."""

    def read(value: object) -> Option | Fault:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return Fault(text=f"must be a number of seconds, not {toml_type(value)}")
        if not math.isfinite(value) or not low <= value <= high:
            return Fault(text=f"must be from {low:g} to {high:g} seconds")
        return round(value * 1000)

    return Kind(name="seconds", read=read, is_duration=True, shape="number")


def choice(*names: str) -> Kind:
    """One of some words."""

    def read(value: object) -> Option | Fault:
        if not isinstance(value, str):
            return _text_fault(value)
        if value not in names:
            shown = ", ".join(names)
            return Fault(text=f"must be one of {shown}")
        return value

    return Kind(name="one of " + ", ".join(names), read=read, choices=names)


def list_of(item: Kind, *, at_least: int = 0) -> Kind:
    """A list whose items are texts of one kind, each at most once."""

    def read(value: object) -> Option | Fault:
        if not isinstance(value, (list, tuple)):
            return Fault(
                text=f"must be a list, not {toml_type(value)}", hint='Write ["…"], with brackets.'
            )
        if len(value) < at_least:
            return Fault(text="must not be empty")
        items: list[str] = []
        for index, one in enumerate(value):
            got = item(one)
            if isinstance(got, Fault):
                return Fault(text=got.text, hint=got.hint, at=(index,))
            if got in items:
                return Fault(text="is listed twice", at=(index,))
            items.append(str(got))
        return tuple(items)

    return Kind(
        name=f"list of {item.name}", read=read, choices=item.choices, empty=(), shape="list"
    )


def numbers(low: int, high: int) -> Kind:
    """One whole number or a list of them; read as a tuple of their decimal digits."""
    each = integer(low, high)

    def read(value: object) -> Option | Fault:
        found: list[str] = []
        for one in value if isinstance(value, (list, tuple)) else [value]:
            got = each(one)
            if isinstance(got, Fault):
                return got
            found.append(str(got))
        return tuple(found)

    return Kind(name="number or list of numbers", read=read, empty=(), shape="numbers")


def table_of(what: str, item: Kind) -> Kind:
    """A table whose keys are any text (a `what`), with texts of one kind."""

    def read(value: object) -> Option | Fault:
        if not isinstance(value, dict):
            return Fault(
                text=f"must be a table, not {toml_type(value)}",
                hint=f'Write {{ "{what}" = "…" }}.',
            )
        found: dict[str, str] = {}
        for key, one in value.items():
            got = item(one)
            if isinstance(got, Fault):
                return Fault(text=got.text, hint=got.hint, at=(key,))
            found[key] = str(got)
        return found

    return Kind(name=f"table of {what} to {item.name}", read=read, empty={}, shape="table")


_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*", re.ASCII)


def parameters(own: re.Pattern[str]) -> Kind:
    """What an agent is given: a table of text, numbers, true or false, read as text.

    `own` matches the beginning of names that are not for the configuration.
    """
    item = text()

    def read(value: object) -> Option | Fault:
        if not isinstance(value, dict):
            return Fault(
                text=f"must be a table, not {toml_type(value)}", hint='Write { name = "…" }.'
            )
        found: dict[str, str] = {}
        for name, one in value.items():
            if not _PARAMETER.fullmatch(name) or len(name) > MAX_NAME_BYTES:
                return Fault(text="is no name of a parameter", at=(name,))
            if own.match(name):
                return Fault(text="is set by clptools", hint="Leave it out.", at=(name,))
            if isinstance(one, bool):
                one = "true" if one else "false"
            elif isinstance(one, (int, float)):
                one = str(one)
            got = item(one)
            if isinstance(got, Fault):
                return Fault(text=got.text, hint=got.hint, at=(name,))
            found[name] = str(got)
        return found

    return Kind(name="table of parameter to value", read=read, empty={}, shape="table")


def on_each(item: Kind) -> Kind:
    """Tables of one kind by server, read as one table from `SERVER/NAME` to texts."""

    def read(value: object) -> Option | Fault:
        if not isinstance(value, dict):
            return Fault(
                text=f"must be a table, not {toml_type(value)}",
                hint='Write { server = { name = "…" } }.',
            )
        found: dict[str, str] = {}
        for server, one in value.items():
            got = item(one)
            if isinstance(got, Fault):
                return msgspec.structs.replace(got, at=(server, *got.at))
            assert isinstance(got, dict)
            found |= {f"{server}/{name}": text for name, text in got.items()}
        return found

    name = f"table of server to {item.name}"
    return Kind(
        name=name, read=read, empty={}, by_server=True, within=True, has_tables=True, shape="table"
    )


def per_server(item: Kind) -> Kind:
    """A table from server names to texts of one kind."""
    table = table_of("server", item)
    return Kind(name=table.name, read=table.read, by_server=True, empty={}, shape="table")


def lists_per_server(item: Kind) -> Kind:
    """A table from server names to lists; read as texts with commas between the items."""
    each = list_of(item, at_least=1)

    def read(value: object) -> Option | Fault:
        if not isinstance(value, dict):
            return Fault(
                text=f"must be a table, not {toml_type(value)}", hint='Write { server = ["…"] }.'
            )
        found: dict[str, str] = {}
        for server, one in value.items():
            items = [part.strip() for part in one.split(",")] if isinstance(one, str) else one
            got = each(items)
            if isinstance(got, Fault):
                return msgspec.structs.replace(got, at=(server, *got.at))
            assert isinstance(got, tuple)
            found[server] = ",".join(got)
        return found

    name = f"table of server to {each.name}"
    return Kind(name=name, read=read, by_server=True, empty={}, shape="table")


def one_or_per_server(item: Kind) -> Kind:
    """Either one text for all servers, or a table from server names to texts."""
    each = per_server(item)

    def read(value: object) -> Option | Fault:
        return each(value) if isinstance(value, dict) else item(value)

    name = f"{item.name}, or {each.name}"
    return Kind(name=name, read=read, by_server=True, shape="text or table")


def checked(parse: Callable[[str], object], what: str) -> Kind:
    """A text that `parse` accepts (it raises ValueError with a sentence); kept as written."""

    def read(value: object) -> Option | Fault:
        if not isinstance(value, str):
            return _text_fault(value)
        try:
            parse(value)
        except ValueError as error:
            return Fault(text=str(error))
        return value

    return Kind(name=what, read=read)


ADDRESS = checked(canonical, "address")
"""An IPv4 or IPv6 address."""

ENDPOINT = checked(lambda value: endpoint(value, 1), "address[:port]")
"""An address, or `address:port`, `[IPv6]:port`."""


def _fingerprint(value: object) -> Option | Fault:
    if not isinstance(value, str):
        return _text_fault(value)
    digits = value.lower().removeprefix("sha256:").replace(":", "")
    if value and not re.fullmatch(r"[0-9a-f]{64}", digits):
        return Fault(
            text="is no SHA-256 of a certificate",
            hint='Write "sha256:" and 64 hexadecimal digits; clpbmccnf --certificate shows them.',
        )
    return f"sha256:{digits}" if value else ""


FINGERPRINT = Kind(name="SHA-256", read=_fingerprint)
"""Of a certificate in DER, with or without colons between the bytes."""


def _network(value: str) -> None:
    host, slash, prefix = value.partition("/")
    bits = 128 if ":" in canonical(host) else 32
    if not slash:
        raise ValueError(f'the prefix length is missing, as in "{host}/{24 if bits == 32 else 64}"')
    if not (prefix.isascii() and prefix.isdigit() and 1 <= int(prefix[:4]) <= bits):
        raise ValueError(f'"{prefix}" is not a prefix length (1 to {bits})')


NETWORK = checked(_network, "address/prefix")
"""An address with its prefix length: `192.168.0.100/24`."""


def _absolute(value: str) -> None:
    if not value.startswith("/"):
        raise ValueError("must be an absolute path")
    if "\0" in value or len(value.encode()) > 4095:
        raise ValueError("not a path")


PATH = checked(_absolute, "path")
"""An absolute path."""


def _metrics(value: str) -> None:
    if not value or value.startswith("/"):
        _absolute(value or "/")
        return
    found = endpoint(value, 0)
    if not found.port:
        raise ValueError(f'the port is missing, as in "{found.host}:9402"')
    if not ip_address(found.host).is_loopback:
        raise ValueError(
            "metrics are served on loopback or a Unix socket only; let an exporter's proxy, which "
            "knows who may read them, offer them to others"
        )


METRICS = checked(_metrics, "address:port or path")
"""A loopback address with its port, or the path of a Unix socket; empty: neither."""


def _script(value: str) -> None:
    if not value or value.startswith("/"):
        return
    if "\0" in value or ".." in value.split("/") or len(value.encode()) > 4095:
        raise ValueError('must be a file name below the scripts folder, without "..", or absolute')


SCRIPT = checked(_script, "script")
"""A file below the object's scripts folder, or an absolute path; empty: none."""


def _url(value: str) -> None:
    from urllib.parse import urlsplit

    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError('must be an address such as "https://host:port/path"')
    if not value.isascii():
        raise ValueError(
            "must be ASCII, as HTTP is: write the host's name in punycode (xn--...), "
            "and what follows it with %XX"
        )
    if parts.username or parts.password:
        raise ValueError("must not carry a user or a password")
    _ = parts.port  # raises ValueError for a bad port


URL = checked(_url, "url")
"""An http or https URL without credentials."""


def near(word: object, known: Iterable[str]) -> str:
    """`Did you mean …?` for the nearest known word, else the words there are."""
    import difflib  # only for what is refused: half of all commands never need it

    words = list(known)
    found = difflib.get_close_matches(str(word), words, n=1, cutoff=0.6)
    if found:
        return f"Did you mean {found[0]}?"
    return f"Known: {', '.join(words)}." if words else ""
