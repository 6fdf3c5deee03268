"""Every command runs here, once `clptools.launcher` has started it, and ends here.

The command is the name it was called by.  This is the one place that prints faults, chooses
exit codes and keeps tracebacks from people (`CLP_DEBUG=1` shows them).
"""

from __future__ import annotations

import gc
import io
import os
import sys
from _signal import SIG_DFL, SIGINT, default_int_handler, signal
from importlib import import_module

from clptools.cli.command import Answer, Command, UnknownOption, UsageError, as_json, parse, printed
from clptools.cli.registry import COMMANDS
from clptools.faults import ClpError, ExitCode, plain

INTERRUPTED = 130
"""By Ctrl-C: 128 + SIGINT, as shells count."""
_COLLECTED_AFTER = 100_000
"""Objects that may come into being before Python looks for unused ones in cycles."""


def begin(name: str, line: list[str], *, interruptible: bool = False) -> int:
    """`run`, after the standard streams were prepared.

    `interruptible`: in the meantime Ctrl-C ends the command in its own way.
    """
    try:
        if interruptible:
            signal(SIGINT, default_int_handler)
        code = _begin(name, line)
        if interruptible:
            signal(SIGINT, SIG_DFL)
    except KeyboardInterrupt:
        return INTERRUPTED
    return code


def _begin(name: str, line: list[str]) -> int:
    # Commands are short: what a collector would free is little, and looking for it among what was
    # imported takes a fifth of their time.  One that goes on for long is still collected.
    gc.set_threshold(_COLLECTED_AFTER)
    _open_missing()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A character that the terminal cannot show appears as its code, and raises nothing.
            stream.reconfigure(errors="backslashreplace")
    code = run(name, line)
    gc.freeze()  # the interpreter would look through it all once more before it ends
    return code


def _open_missing() -> None:
    """/dev/null for each standard stream that the caller closed (`>&-`).

    Otherwise the next file or socket would get its number, and prints would go into that.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            # The system gives the lowest free number: this one, because those before it are open.
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8", closefd=False))


def run(name: str, line: list[str]) -> int:
    """Runs the command `name` with the words that followed it."""
    in_json = "--json" in line
    try:
        answer = _answer(name, line)
        return say(printed(answer, in_json), int(answer.code))
    except (Exception, KeyboardInterrupt) as error:
        return failed(name, error, in_json)


def failed(name: str, error: BaseException, in_json: bool) -> int:
    """Tells what ended a command; returns the exit code."""
    if isinstance(error, ClpError):
        return _fail(name, error, in_json)
    if isinstance(error, BrokenPipeError):
        _give_up(1)
        return 141  # `clpstat | head`, not a fault: 128 + SIGPIPE, as shells count
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if os.environ.get("CLP_DEBUG"):
        raise error
    return _fail(name, _system(error) if isinstance(error, OSError) else _bug(error), in_json)


def _answer(name: str, line: list[str]) -> Answer:
    if name not in COMMANDS:
        raise ClpError(
            ExitCode.USAGE, f"{name}: no such command.", f"Known: {', '.join(sorted(COMMANDS))}"
        )
    module = import_module(COMMANDS[name])
    command: Command = module.COMMAND
    if line[:1] == ["--complete"]:
        if line[1:2] == ["line"]:
            from clptools.cli.cfset_words import offered

            return Answer("\n".join(offered(line[2:])))
        from clptools.cli.requests import live_names

        return Answer("\n".join(live_names("".join(line[1:2]))))
    if "--version" in line:
        from clptools.version import VERSION

        return Answer(f"{name} {VERSION}", {"version": VERSION})
    if "--help" in line:
        from clptools.cli.typer_app import help_text

        return Answer(help_text(command))
    try:
        args = parse(command, line)
    except UsageError as error:
        raise _usage(command, line, error) from error
    answer: Answer = module.run(args)
    return answer


def _usage(command: Command, line: list[str], error: UsageError) -> ClpError:
    message = str(error)
    if isinstance(error, UnknownOption):
        from clptools.cli.typer_app import complaint

        # typer knows which one may have been meant.
        message = complaint(command, line) or message
    forms = "\n       ".join(f"{command.name} {form}".rstrip() for form in command.synopsis)
    return ClpError(ExitCode.USAGE, message, f"Usage: {forms}\nMore: {command.name} --help")


def _system(error: OSError) -> ClpError:
    """What the operating system refused: a file, or the place standard output goes to."""
    where = f"{error.filename}: " if error.filename else ""
    said = f"{where}{error.strerror or error}."
    if isinstance(error, PermissionError):
        return ClpError(ExitCode.NOT_PERMITTED, said, "Run it as root.")
    return ClpError(ExitCode.FAILED, said)


def _bug(error: BaseException) -> ClpError:
    return ClpError(
        ExitCode.FAILED,
        f"This should not have happened: {type(error).__name__}: {error}",
        "Run it again with CLP_DEBUG=1 to see where.",
    )


def say(text: str, code: int) -> int:
    """Prints the answer of a command, if there is any; returns its exit code."""
    try:
        if text:
            print(text)
        sys.stdout.flush()
    except OSError as error:
        raise unwritten(error) from error
    return code


def unwritten(error: OSError) -> Exception:
    """What it is that an answer could not be printed."""
    if isinstance(error, BrokenPipeError):
        return error
    text = f"Done, but the answer could not be written: {error.strerror}."
    return ClpError(ExitCode.FAILED, text)


def _fail(name: str, error: ClpError, in_json: bool) -> int:
    code = _exit_code(name, error)
    try:
        if in_json:
            fields = {
                "code": code,
                "name": error.code.name,
                "message": error.message,
                "hint": error.hint,
            }
            print(as_json({"schema": 1, "error": fields}))
        sys.stdout.flush()
    except OSError as lost:
        _give_up(1)
        in_json = in_json and isinstance(lost, BrokenPipeError)
    if not in_json:
        _complain("\n".join(filter(None, (f"{name}: {error.message}", error.hint))))
    return code


def _exit_code(name: str, error: ClpError) -> int:
    """The fault's own, unless the command keeps the original's: then `_answer` has loaded it."""
    module = sys.modules.get(COMMANDS.get(name, ""))
    codes: dict[int, int] = module.COMMAND.fault_codes if module is not None else {}
    return codes.get(error.code, int(error.code))


def _complain(text: str) -> None:
    try:
        print("\n".join(map(plain, text.split("\n"))), file=sys.stderr, flush=True)
    except OSError:
        _give_up(2)


def _give_up(stream: int) -> None:
    """Points a broken stream at /dev/null, so that Python does not complain of it at exit."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, stream)
    os.close(sink)


if __name__ == "__main__":
    # `python -m clptools.cli.main clpstat -s`: from a source tree without an installation.
    sys.exit(begin(sys.argv[1] if len(sys.argv) > 1 else "", sys.argv[2:]))
