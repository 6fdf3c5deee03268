"""The commands as typer sees them, made from the same data: for help and for usage errors.

Importing it costs as much as three interpreters; only `--help` and wrong lines pay that.
"""

from __future__ import annotations

import inspect

import typer

from clptools.cli.command import Args, Argument, Command, Option
from clptools.cli.render.text import WIDEST, screen_columns


def help_text(command: Command) -> str:
    """What `--help` prints."""
    made = _made(command)
    wide = {"terminal_width": screen_columns(), "max_content_width": WIDEST}
    with made.make_context(command.name, [], resilient_parsing=True, **wide) as context:
        return str(made.get_help(context)).rstrip()


def complaint(command: Command, line: list[str]) -> str:
    """What typer finds wrong with a line, or nothing."""
    try:
        read(command, line)
    except Exception as error:  # typer has moved its UsageError between its versions
        say = getattr(error, "format_message", None)
        return str(say()) if say is not None else ""
    return ""


def read(command: Command, line: list[str]) -> Args:
    """The line as typer reads it.  Raises typer's usage errors."""
    made = _made(command)
    with made.make_context(command.name, list(line)) as context:
        given = context.params
    values: dict[str, list[str]] = {}
    for number, option in enumerate(command.options):
        value = given[f"option{number}"]
        if not option.metavar:
            if value:
                values[option.name] = []
        elif option.many and value:
            values[option.name] = list(value)
        elif not option.many and value is not None:
            values[option.name] = [value]
    words: list[str] = []
    for number, argument in enumerate(command.arguments):
        value = given[f"argument{number}"]
        if argument.many:
            words.extend(value or ())
        elif value is not None:
            words.append(value)
    return Args(values, tuple(words))


def _made(command: Command):  # type: ignore[no-untyped-def]  # click's class moves between typers
    def callback(**_given: object) -> None:
        """Never called: only what typer reads of the line is wanted."""

    parameters = []
    annotations: dict[str, object] = {}
    for number, argument in enumerate(command.arguments):
        name = f"argument{number}"
        annotations[name] = list[str] if argument.many else str
        if not argument.required:
            annotations[name] = list[str] | None if argument.many else str | None
        parameters.append(_parameter(name, _typer_argument(argument)))
    for number, option in enumerate(command.options):
        name = f"option{number}"
        annotations[name] = bool if not option.metavar else list[str] if option.many else str | None
        parameters.append(_parameter(name, _typer_option(option)))
    callback.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    callback.__annotations__ = annotations
    # Without markup: `[GROUP]` in a text is no style.
    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command(help=_help(command), epilog=_examples(command))(callback)
    return typer.main.get_command(app)


def _parameter(name: str, default: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)


def _typer_argument(argument: Argument) -> object:
    default = ... if argument.required else None
    metavar = argument.name if argument.required else f"[{argument.name}]"
    return typer.Argument(
        default, metavar=metavar + ("..." if argument.many else ""), help=argument.help
    )


def _typer_option(option: Option) -> object:
    if not option.metavar:
        return typer.Option(False, *option.flags, help=option.help)
    default: list[str] | None = [] if option.many else None
    return typer.Option(
        default, *option.flags, metavar=option.metavar, help=option.help, show_default=False
    )


def _help(command: Command) -> str:
    # \b keeps click from filling the lines of a paragraph.
    forms = "\n".join(f"  {command.name} {form}".rstrip() for form in command.synopsis)
    about = f"{command.summary[:1].upper()}{command.summary[1:]}."
    return "\n\n".join((about, f"\b\n{forms}", *command.description))


def _examples(command: Command) -> str:
    if not command.examples:
        return ""
    lines = "\n".join(f"  {line}\n      {text}" for line, text in command.examples)
    return f"\b\nExamples:\n{lines}"
