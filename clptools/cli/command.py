"""A command: what it takes, as data, how its line is read, and what it answers.

Parser, help, man page and completion come from the data.  Every command loads this module, so it
has plain classes and no slow import: a command that only reads starts about as fast as the
interpreter.  `typer_app.py` reads the same lines to the same result; it is used for help, and for a
better word on a mistake.  `main.py` alone prints and exits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

TYPE_CHECKING = False
"""As in `typing`, whose import would take a tenth of the start of such a command."""
SECONDS_MAX = 31_536_000
"""A year: no wait is longer, and the system's clocks have a limit."""
WHOLE_MAX = 2**53
"""Above it, readers of JSON cannot tell whole numbers apart."""


class Option:
    """One option; a flag when it has no `metavar`."""

    __slots__ = ("complete", "flags", "help", "high", "low", "many", "metavar", "number", "whole")

    def __init__(
        self,
        *flags: str,
        help: str,
        metavar: str = "",
        many: bool = False,
        number: bool = False,
        whole: bool = False,
        low: float = 0,
        high: float | None = None,
        complete: str = "",
    ) -> None:
        self.flags = flags
        self.help = help
        self.metavar = metavar
        self.many = many
        """May be given several times."""
        self.number = number or whole
        """Its value is a number from `low` to `high`; seconds, where nothing else is said."""
        self.whole = whole
        """Its value is a whole number."""
        self.low = low
        self.high = high if high is not None else WHOLE_MAX if whole else SECONDS_MAX
        self.complete = complete
        """What its value names: group, resource, server, monitor, file, directory, or words; line:
        that depends on all words before.  For a flag: what the command's argument then names.
        """

    @property
    def name(self) -> str:
        """How `Args` knows it: the long flag without its dashes."""
        return self.flags[-1].lstrip("-")


class Argument:
    """The words beside the options."""

    __slots__ = ("complete", "help", "many", "name", "required")

    def __init__(
        self,
        name: str,
        *,
        help: str,
        required: bool = False,
        many: bool = False,
        complete: str = "",
    ) -> None:
        self.name = name
        """In capitals, as the synopsis shows it."""
        self.help = help
        self.required = required
        self.many = many
        self.complete = complete


class Command:
    """One command: everything about it but its code."""

    __slots__ = (
        "arguments",
        "description",
        "examples",
        "exit_codes",
        "fault_codes",
        "name",
        "options",
        "summary",
        "synopsis",
    )

    def __init__(
        self,
        name: str,
        *,
        summary: str,
        synopsis: tuple[str, ...],
        description: tuple[str, ...],
        options: tuple[Option, ...] = (),
        arguments: tuple[Argument, ...] = (),
        examples: tuple[tuple[str, str], ...] = (),
        exit_codes: tuple[tuple[str, str], ...] = (),
        fault_codes: tuple[tuple[int, int], ...] = (),
        json: bool = True,
    ) -> None:
        self.name = name
        self.summary = summary
        """Half a sentence without a full stop."""
        self.synopsis = synopsis
        """What follows the command's name, a form a line."""
        self.description = description
        """Paragraphs."""
        self.options = (*options, JSON) if json else options
        self.arguments = arguments
        self.examples = examples
        """(command line, what it does)."""
        self.exit_codes = exit_codes
        """(code, meaning), where they are not those of all commands."""
        self.fault_codes = dict(fault_codes)
        """Code of a fault (`ExitCode`) -> the exit code that this command has for it."""


class Args:
    """What was given on one command line."""

    __slots__ = ("_values", "words")

    def __init__(self, values: dict[str, list[str]], words: tuple[str, ...]) -> None:
        self._values = values
        self.words = words
        """The words beside the options, in order."""

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Args) and self._values == other._values and self.words == other.words
        )

    def __repr__(self) -> str:
        return f"Args({self._values!r}, {self.words!r})"

    def given(self, name: str) -> bool:
        """Whether the option of that name was given."""
        return name in self._values

    def text(self, name: str, default: str = "") -> str:
        """The last value given to an option."""
        return self._values[name][-1] if name in self._values else default

    def many(self, name: str) -> tuple[str, ...]:
        """Every value given to an option, in order."""
        return tuple(self._values.get(name, ()))

    def number(self, name: str) -> float | None:
        """The last value given to an option that takes numbers; None when not given."""
        return float(self._values[name][-1]) if name in self._values else None

    def whole(self, name: str, default: int) -> int:
        """The last value given to an option that takes whole numbers."""
        return int(self._values[name][-1]) if name in self._values else default

    def word(self) -> str:
        """The first word beside the options, or nothing."""
        return self.words[0] if self.words else ""


JSON = Option("--json", help="Print one JSON object instead of text, errors too.")


def host(what: str = "Carry it out on this server instead of the local one.") -> Option:
    """`-h`: as in the original, the host, never help; its name, or one of its addresses."""
    return Option(
        "-h",
        "--host",
        metavar="HOST",
        help=f"{what} HOST is its name or one of its addresses.",
        complete="server",
    )


def wait(what: str) -> Option:
    """`-w`."""
    return Option("-w", "--wait", metavar="SEC", help=what, number=True)


REQUEST_PORT = Option(
    "-p",
    "--port",
    metavar="PORT",
    help="Their port; by default that of this server's configuration, or 29002.",
    whole=True,
    low=1,
    high=65535,
)
FOLDER = Option(
    "-x",
    "--dir",
    metavar="DIR",
    help="The folder of clp.toml and scripts/.",
    complete="directory",
)
FORCE = Option("-f", "--force", help="Do it even if the present state speaks against it.")
APITO = Option(
    "--apito",
    metavar="SEC",
    help="Wait this long for an answer of the node agent, like -w.",
    number=True,
)


# ---------------------------------------------------------------------- its answer


SUCCEEDED = "Command succeeded."


class Answer:
    """Text for people, an object for programs, and the exit code.

    `fields` is printed with `--json`, together with `"schema": 1`.  A command that has written its
    output already (a live screen, a stream) returns neither.
    """

    __slots__ = ("code", "fields", "text")

    def __init__(
        self, text: str = "", fields: dict[str, object] | None = None, code: int = 0
    ) -> None:
        self.text = text
        self.fields = fields
        self.code = code


def printed(answer: Answer, in_json: bool, encoding: str = "") -> str:
    """What is printed of an answer, without its last newline; nothing where it is empty."""
    if in_json and answer.fields is not None:
        return as_json({"schema": 1, **answer.fields}, encoding)
    return answer.text


def as_json(fields: dict[str, object], encoding: str = "") -> str:
    """An object as programs read it, on one line that a stream in `encoding` can take.

    Without `encoding` it is that of standard output.
    """
    import json
    import sys

    # A stream in another encoding than UTF-8 would write `\xe9`, which is no JSON.
    encoding = encoding or sys.stdout.encoding or "utf-8"
    return json.dumps(fields, ensure_ascii=not encoding.lower().startswith("utf"))


Told = Sequence[dict[str, object]]
"""Replies of the agent, each as `Client.call` returns it."""


class Query:
    """A line that only reads: what it asks of the agent, and what it makes of the replies.

    The command makes its answer of this; for its thin client the agent does (`clptools.queries`).
    So `answer` opens no file and looks at no stream.
    """

    __slots__ = ("answer", "calls")

    def __init__(
        self,
        calls: tuple[tuple[str, dict[str, object]], ...],
        answer: Callable[[Told, int], Answer],
    ) -> None:
        self.calls = calls
        """Method and parameters of each call."""
        self.answer = answer
        """Of the replies to these calls, in order, and the columns that text may take."""


def done(text: str = "", **fields: object) -> Answer:
    """Done, or already done: prints what the original prints, or `text`."""
    said = text or SUCCEEDED
    return Answer(said, {"result": "done", "text": said, **fields})


# ---------------------------------------------------------------------- its line


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
    """Text that is not UTF-8 can neither be sent nor stored; Python marks it with surrogates."""
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
    """A number out of range is a usage error; it is not cut to what fits."""
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
        # The words are not shown: one may be a password.
        most_words = f"{most} word{'s' if most > 1 else ''}" if most else "no words"
        raise UsageError(f"It takes {most_words} beside its options, not {len(words)}.")
