"""Manual pages in roff (man(7)), from a command's data."""

from __future__ import annotations

from clptools.cli.options import Command, Option

EXIT_CODES = (
    ("0", "done, or already so"),
    ("1", "failed; the line on standard error says why"),
    ("2", "wrong usage"),
    ("3", "no node agent, or the cluster is stopped"),
    ("4", "not permitted"),
    ("5", "no such server, group, resource or monitor"),
    ("6", "refused in the present state; the line says what would allow it"),
    ("7", "timed out; the line says whether the work goes on, or which process does not answer"),
    ("8", "the configuration is invalid"),
    ("9", "done, and it found something: a difference, a violation, a warning"),
)
ENVIRONMENT = (
    ("CLP_ROOT", "Prefixes every path: several nodes on one machine."),
    ("CLP_SERVER", "The node's name; else the host name."),
    ("CLP_DEBUG", "With 1, a bug shows its traceback."),
)
FILES = (
    ("/etc/clptools/clp.toml", "the configuration"),
    ("/etc/clptools/authkey", "the secret that all servers share"),
    ("/run/clptools/clpnode.sock", "where the node agent answers (varlink)"),
)


def page(command: Command, every: tuple[Command, ...]) -> str:
    """The page of a command; `every` is what it may refer to."""
    name = command.name
    lines = [
        r".\" Made by python -m clptools.cli.generate; do not edit.",
        f'.TH {name.upper()} 8 "" clptools clptools',
        ".SH NAME",
        f"{text(name)} \\- {text(command.summary)}",
        ".SH SYNOPSIS",
    ]
    for form in command.synopsis:
        lines += [".br", f".B {name}", text(form)] if form else [".br", f".B {name}"]
    lines.append(".SH DESCRIPTION")
    for paragraph in command.description:
        lines += [".PP", text(paragraph)]
    lines.append(".SH OPTIONS")
    for argument in command.arguments:
        lines += [".TP", rf"\fI{text(argument.name)}\fR", text(argument.help)]
    for option in command.options:
        lines += [".TP", _flags(option), text(option.help)]
    lines += [".TP", r"\fB\-\-help\fR", "Show a summary and exit."]
    lines.append(".SH EXIT STATUS")
    lines += _terms(command.exit_codes or EXIT_CODES)
    lines.append(".SH ENVIRONMENT")
    lines += _terms(ENVIRONMENT)
    lines.append(".SH FILES")
    lines += _terms(FILES)
    if command.examples:
        lines.append(".SH EXAMPLES")
        for line, said in command.examples:
            lines += [".TP", rf"\fB{text(line)}\fR", text(said)]
    others = sorted({other.name for other in every} - {name})
    lines.append(".SH SEE ALSO")
    lines += [f".BR {other} (8)," for other in others[:-1]] + [f".BR {others[-1]} (8)"]
    return "\n".join(lines) + "\n"


def _flags(option: Option) -> str:
    value = rf" \fI{text(option.metavar)}\fR" if option.metavar else ""
    return ", ".join(rf"\fB{text(flag)}\fR" for flag in option.flags) + value


def _terms(terms: tuple[tuple[str, str], ...]) -> list[str]:
    return [line for term, said in terms for line in (".TP", rf"\fB{text(term)}\fR", text(said))]


def text(words: str) -> str:
    """Text that roff leaves as it is: no escapes, real minus signs, no request at its head."""
    safe = words.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq")
    return rf"\&{safe}" if safe.startswith(".") else safe
