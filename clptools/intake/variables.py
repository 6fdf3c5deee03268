"""Variables of a trap: found by OID, put in words, compared with a profile."""

from __future__ import annotations

from clptools.config.trap_names import InstancePart
from clptools.core.model.trap_profiles import TrapCondition
from clptools.intake import ber
from clptools.intake.snmp import VarBind

INSTANCE_CHARS = 96
TEXT_CHARS = 240
_BETWEEN = "~"
"""Between two variables that name one part."""


class Binds:
    """A trap's variables, found by OID."""

    def __init__(self, varbinds: tuple[VarBind, ...]) -> None:
        self._binds = varbinds
        self._by_oid = {bind.oid: bind for bind in varbinds}
        self._words: dict[str, str] = {}

    def word(self, oid: str) -> str:
        """The words of the variables at or below `oid`, joined by dots; empty: there is none."""
        found = self._words.get(oid)
        if found is None:
            plain = self._by_oid.get(oid + ".0")
            if plain is not None:
                found = words_of(plain)
            else:
                below = oid + "."
                found = ".".join(
                    [words_of(b) for b in self._binds if b.oid.startswith(below) or b.oid == oid]
                )
            self._words[oid] = found
        return found

    def places(self, oid: str) -> str:
        """Where the variables below `oid` stand: column and row of a table, not the values."""
        below = oid + "."
        return " ".join(b.oid.removeprefix(below) for b in self._binds if b.oid.startswith(below))

    def first(self, oid: str) -> VarBind | None:
        """The first variable at or below `oid`."""
        plain = self._by_oid.get(oid + ".0")
        if plain is not None:
            return plain
        below = oid + "."
        return next((b for b in self._binds if b.oid.startswith(below) or b.oid == oid), None)


def words_of(bind: VarBind) -> str:
    """A value as text, for people and keys: without padding and control characters."""
    if bind.tag != ber.OCTETS:
        return bind.text()[:TEXT_CHARS]
    raw = bind.value.strip(b"\0 \t\r\n")
    if raw and not any(0x20 < byte < 0x7F for byte in raw) and raw.isascii():
        return raw.hex()[:TEXT_CHARS]  # no text: without their values, parts would be all alike
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.hex()[:TEXT_CHARS]
    if text.isprintable():
        return text[:TEXT_CHARS]
    return "".join(c if c.isprintable() else " " for c in text)[:TEXT_CHARS]


class Values:
    """Values of a variable, and what each stands for."""

    def __init__(self, values: dict[str, str], mask: int) -> None:
        self._mask = mask
        self._exact = {k.upper(): v for k, v in values.items() if "*" not in k}
        self._globs = [(k.upper(), v) for k, v in values.items() if "*" in k]
        plain = not mask and not self._globs and not any(k.isdecimal() for k in self._exact)
        self.words = frozenset(self._exact) if plain else frozenset()
        """All its values, if these are words and not numbers; else empty."""

    def find(self, bind: VarBind | None) -> str:
        """The class for a variable's value; empty: none."""
        if bind is None:
            return ""
        number = bind.number()
        if number is None:
            text = words_of(bind)
            number = _binary_number(bind) if bind.tag == ber.OCTETS else None
            if number is None:
                number = _number_in(text)
        else:
            text = str(number)
        if number is not None:
            # Values above 2^31 of a signed type arrive as negative numbers.
            if number < 0:
                number &= 0xFFFFFFFF
            if self._mask:
                number &= self._mask
            found = self._exact.get(str(number))
            if found is not None:
                return found
        if self._mask:
            return ""
        text = text.upper()
        found = self._exact.get(text)
        if found is not None:
            return found
        return next((v for glob, v in self._globs if _like(text, glob)), "")


def _number_in(text: str) -> int | None:
    """The number that a text is, in decimal or with 0x before it."""
    if len(text) > 20 or not text.isascii():
        return None
    if text.isdecimal():
        return int(text)
    hexadecimal = text[:2] in ("0x", "0X") and text[2:].isalnum()
    try:
        return int(text, 16) if hexadecimal else None
    except ValueError:
        return None


def _binary_number(bind: VarBind) -> int | None:
    """The number that an OCTET STRING is if it is no text: some BMCs send an INTEGER so."""
    if not 1 <= len(bind.value) <= 4 or any(0x20 <= byte < 0x7F for byte in bind.value):
        return None
    return int.from_bytes(bind.value, "big")


def _like(text: str, glob: str) -> bool:
    word = glob.strip("*")
    if glob.startswith("*") and glob.endswith("*"):
        return word in text
    return text.endswith(word) if glob.startswith("*") else text.startswith(word)


class Condition:
    """A condition on one variable."""

    def __init__(self, condition: TrapCondition, root: str) -> None:
        self._oid = in_full(root, condition.variable)
        self._values = Values(dict.fromkeys(condition.values, "yes"), condition.mask)

    def fits(self, binds: Binds, unsaid: bool = False) -> bool:
        """Whether the trap meets it; `unsaid`: the trap does not have the variable."""
        said = binds.first(self._oid)
        return unsaid if said is None else bool(self._values.find(said))


class Part:
    """What names a part: a variable, or several of which a trap may say one alone."""

    def __init__(self, part: InstancePart, root: str) -> None:
        self._choices = tuple((in_full(root, choice.oid), choice) for choice in part)
        self.several = len(part) > 1
        self._alone = tuple(Part((choice,), root) for choice in part) if self.several else ()

    def word(self, binds: Binds) -> str:
        """The part's name; empty: the trap does not say it."""
        for oid, choice in self._choices:
            word = binds.places(oid) if choice.places else binds.word(oid)
            if choice.hexadecimal:
                word = word.upper().removeprefix("0X")
            if word:
                # A star in a key would match several parts.
                return (word[choice.skip :] or word)[:INSTANCE_CHARS].replace("*", "_")
        return ""

    def key(self, binds: Binds) -> str:
        """The part in a fault's key: every variable that names it."""
        if not self.several:
            return self.word(binds)
        return _BETWEEN.join(word for word in self._words(binds) if word)

    def ended(self, binds: Binds) -> tuple[str, ...]:
        """The keys that a trap which ends a fault of the part means, `*` for whatever is there.

        What began the fault may have named the part by fewer variables than this trap, or by more:
        the first that both name decides.
        """
        if not self.several:
            return (self.word(binds),)
        words = self._words(binds)
        keys = [key for word in words if word for key in (word, f"{word}{_BETWEEN}*")]
        if keys and not words[0]:
            keys += [f"*{_BETWEEN}{key}" for key in keys[:2]]
        return tuple(keys) or ("",)

    def _words(self, binds: Binds) -> list[str]:
        return [each.word(binds).replace(_BETWEEN, "_") for each in self._alone]


def in_full(root: str, oid: str) -> str:
    """A profile's OID in full: relative to `root`, unless it begins at 1.3.6.1."""
    oid = oid.lstrip(".")
    return oid if not root or oid.startswith("1.3.6.1.") else f"{root}.{oid}"
