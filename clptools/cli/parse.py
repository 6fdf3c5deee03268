"""Command lines read by the options of a command, without any import that takes time.

`typer_app.py` reads the same lines to the same end; it is asked when help is wanted, or when
this finds a mistake that deserves a better word.
"""

from __future__ import annotations

from collections.abc import Iterator

from clptools.cli.options import Args, Command, Option


class UsageError(Exception):
    """The line does not fit the command."""


class UnknownOption(UsageError):
    """An option that the command does not have."""


def parse(command: Command, line: list[str]) -> Args:
    """Reads what followed the command's name.  Raises `UsageError`."""
    for item in line:
        _check_text(item)
    known = {flag: option for option in command.options for flag in option.flags}
    values: dict[str, list[str]] = {}
    words: list[str] = []
    rest = iter(line)
    for item in rest:
        if item == "--":
            words.extend(rest)
        elif item.startswith("--"):
            flag, equals, value = item.partition("=")
            option = _option(known, flag)
            if not option.metavar:
                if equals:
                    raise UsageError(f"{flag} takes no value.")
                values.setdefault(option.name, [])
            else:
                _add(values, option, flag, value if equals else next(rest, None))
        elif item.startswith("-") and item != "-":
            _short(known, values, item, rest)
        else:
            words.append(item)
    _check_words(command, words)
    return Args(values, tuple(words))


def _check_text(item: str) -> None:
    """What is no UTF-8 can neither be sent nor stored; Python marks it with surrogates."""
    if not item.isascii() and any("\udc80" <= letter <= "\udcff" for letter in item):
        raise UsageError(f"{ascii(item.encode(errors='surrogateescape'))[1:]}: not UTF-8 text.")


def _short(
    known: dict[str, Option], values: dict[str, list[str]], item: str, rest: Iterator[str]
) -> None:
    """`-x`, `-xVALUE`, `-x VALUE`, and flags in one: `-sf`."""
    at = 1
    while at < len(item):
        flag = "-" + item[at]
        option = _option(known, flag)
        at += 1
        if option.metavar:
            value = item[at:] if at < len(item) else next(rest, None)
            _add(values, option, flag, value)
            return
        values.setdefault(option.name, [])


def _option(known: dict[str, Option], flag: str) -> Option:
    if flag not in known:
        raise UnknownOption(f"{flag}: no such option.")
    return known[flag]


def _add(values: dict[str, list[str]], option: Option, flag: str, value: str | None) -> None:
    if value is None:
        raise UsageError(f"{flag} needs a value: {option.metavar}.")
    if option.number:
        _check_number(option, flag, value)
    given = values.setdefault(option.name, [])
    if not option.many:
        given.clear()
    given.append(value)


def _check_number(option: Option, flag: str, value: str) -> None:
    """A silly number is a wrong line, not one that is cut to what fits."""
    fits = is_number(value) and option.low <= float(value) <= option.high
    if fits and not (option.whole and "." in value):
        return
    kind = "a whole number" if option.whole else "a number"
    raise UsageError(f"{flag}: {value!r} is not {kind} from {option.low} to {option.high}.")


def is_number(text: str) -> bool:
    """Whether it is a decimal number, not negative: `5`, `0.25`."""
    whole, point, part = text.partition(".")
    digits = whole + part
    return digits.isascii() and digits.isdigit() and bool(whole) and (bool(part) or not point)


def _check_words(command: Command, words: list[str]) -> None:
    fewest = sum(argument.required for argument in command.arguments)
    most = len(command.arguments)
    if len(words) < fewest:
        missing = next(a for a in command.arguments[len(words) :] if a.required)
        raise UsageError(f"{missing.name} is missing.")
    if len(words) > most and not any(a.many for a in command.arguments):
        # Not which: it may be a password.
        most_words = f"{most} word{'s' if most > 1 else ''}" if most else "no words"
        raise UsageError(f"It takes {most_words} beside its options, not {len(words)}.")
