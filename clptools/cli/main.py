"""Every command starts here and ends here.

The command is the name it was called by.  This is the one place that prints faults, chooses
exit codes and keeps tracebacks from people (`CLP_DEBUG=1` shows them).
"""

from __future__ import annotations

import os
import sys

from clptools.cli.answer import Answer
from clptools.cli.options import Command
from clptools.cli.parse import UnknownOption, UsageError, parse
from clptools.cli.registry import COMMANDS
from clptools.faults import ClpError, ExitCode


def main() -> int:
    """Entry point of all commands; returns the exit code."""
    return run(os.path.basename(sys.argv[0]), sys.argv[1:])


def run(name: str, line: list[str]) -> int:
    """Runs the command `name` with the words that followed it."""
    as_json = "--json" in line
    try:
        return _say(_answer(name, line), as_json)
    except ClpError as error:
        return _fail(name, error, as_json)
    except BrokenPipeError:
        return _reader_gone()
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as shells count
    except Exception as error:
        if os.environ.get("CLP_DEBUG"):
            raise
        told = _system(error) if isinstance(error, OSError) else _bug(error)
        return _fail(name, told, as_json)


def _answer(name: str, line: list[str]) -> Answer:
    if name not in COMMANDS:
        raise ClpError(
            ExitCode.USAGE, f"{name}: no such command.", f"Known: {', '.join(sorted(COMMANDS))}"
        )
    module = __import__(COMMANDS[name], fromlist=("COMMAND", "run"))
    command: Command = module.COMMAND
    if line[:1] == ["--complete"]:
        from clptools.cli.complete import names

        return Answer("\n".join(names("".join(line[1:2]))))
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
    return ClpError(ExitCode.FAILED, f"{where}{error.strerror or error}.")


def _bug(error: Exception) -> ClpError:
    return ClpError(
        ExitCode.FAILED,
        f"This should not have happened: {type(error).__name__}: {error}",
        "Run it again with CLP_DEBUG=1 to see where.",
    )


def _say(answer: Answer, as_json: bool) -> int:
    if as_json and answer.fields is not None:
        import json

        print(json.dumps({"schema": 1, **answer.fields}, ensure_ascii=False))
    elif answer.text:
        print(answer.text)
    sys.stdout.flush()
    return int(answer.code)


def _fail(name: str, error: ClpError, as_json: bool) -> int:
    code = _exit_code(name, error)
    try:
        if as_json:
            import json

            fields = {
                "code": code,
                "name": error.code.name,
                "message": error.message,
                "hint": error.hint,
            }
            print(json.dumps({"schema": 1, "error": fields}, ensure_ascii=False), flush=True)
        else:
            sys.stdout.flush()
            print(f"{name}: {error.message}", file=sys.stderr)
            if error.hint:
                print(error.hint, file=sys.stderr)
    except BrokenPipeError:
        _reader_gone()
    return code


def _exit_code(name: str, error: ClpError) -> int:
    """The fault's own, unless the command keeps the original's: then `_answer` has loaded it."""
    module = sys.modules.get(COMMANDS.get(name, ""))
    codes: dict[int, int] = module.COMMAND.fault_codes if module is not None else {}
    return codes.get(error.code, int(error.code))


def _reader_gone() -> int:
    """`clpstat | head`: not a fault; and Python must not complain again at its end."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, sys.stdout.fileno())
    os.close(sink)
    return 141  # 128 + SIGPIPE


if __name__ == "__main__":
    # `python -m clptools.cli.main clpstat -s`: from a source tree without an installation.
    sys.exit(run(sys.argv[1] if len(sys.argv) > 1 else "", sys.argv[2:]))
