"""What a command takes, as data: its parser, its help, man page and completion come from here.

Plain classes without a single import: every command loads this, and those that only read are
to start as fast as the interpreter does.
"""

from __future__ import annotations

TYPE_CHECKING = False
"""As in `typing`, which would take a tenth of the time that such a command needs to start."""
SECONDS_MAX = 31_536_000
"""A year: nobody waits longer, and clocks of the system take no number however large."""
WHOLE_MAX = 2**53
"""Beyond it readers of JSON no longer tell whole numbers apart."""


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
        """What its value names: group, resource, server, monitor, file, directory, or words.

        Of a flag: what the command's argument names with it.
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
    """`-h`: as in the original, the host, never help."""
    return Option("-h", "--host", metavar="HOST", help=what, complete="server")


def wait(what: str) -> Option:
    """`-w`."""
    return Option("-w", "--wait", metavar="SEC", help=what, number=True)


FORCE = Option("-f", "--force", help="Do it even where the present state speaks against it.")
APITO = Option(
    "--apito",
    metavar="SEC",
    help="Wait this long for an answer of the node agent, like -w.",
    number=True,
)
