"""Completion for bash, zsh and fish, from the commands' data; live names come from the agent."""

from __future__ import annotations

from clptools.cli.complete import KINDS
from clptools.cli.options import Command, Option

MADE = "# Made by python -m clptools.cli.generate; do not edit."
LIVE = (*KINDS, "any")

BASH_HEAD = f"""\
{MADE}
# Source it, or install it as clptools in bash-completion's folder.

_clptools_values() {{
    case $1 in
        {"|".join(LIVE)}) compgen -W "$("$2" --complete "$1" 2>/dev/null)" -- "$3" ;;
        file) compgen -f -- "$3" ;;
        directory) compgen -d -- "$3" ;;
        ?*) compgen -W "$1" -- "$3" ;;
    esac
}}

_clptools() {{
    local command=$1 current=$2 previous=$3 flags='' words='' value='' line
    COMPREPLY=()
    case ${{command##*/}} in
"""
BASH_TAIL = """\
    esac
    if [[ -n $value ]]; then
        words=$value
    elif [[ $current == -* ]]; then
        while IFS= read -r line; do COMPREPLY+=("$line"); done < <(
            compgen -W "$flags" -- "$current")
        return
    fi
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(
        _clptools_values "$words" "$command" "$current")
}

"""


def bash(every: tuple[Command, ...]) -> str:
    """One function for all commands."""
    lines = []
    for command in every:
        flags = " ".join(flag for option in command.options for flag in option.flags)
        words = next((a.complete for a in command.arguments if a.complete), "")
        lines.append(f"        {command.name})")
        lines.append(f"            flags='{flags} --help' words='{words}'")
        valued = [option for option in command.options if option.metavar]
        if valued:
            lines.append("            case $previous in")
            for option in valued:
                # A space: a value is due of which nothing is known.
                kind = option.complete or " "
                lines.append(f"                {'|'.join(option.flags)}) value='{kind}' ;;")
            lines.append("            esac")
        lines.append("            ;;")
    names = " ".join(command.name for command in every)
    return BASH_HEAD + "\n".join(lines) + "\n" + BASH_TAIL + f"complete -F _clptools {names}\n"


ZSH_HEAD = """\
# Install it as _clptools in a folder of $fpath.

_clptools_live() {
    # _arguments puts options for compadd before the kind.
    local -a found
    found=(${(f)"$($words[1] --complete ${@[-1]} 2>/dev/null)"})
    compadd "${@[1,-2]}" -a found
}

"""


def zsh(every: tuple[Command, ...]) -> str:
    """`_arguments` for each command."""
    names = " ".join(command.name for command in every)
    lines = [f"#compdef {names}", MADE, ZSH_HEAD, "case $service in"]
    for command in every:
        specs = [_zsh_option(option) for option in command.options]
        specs.append("'--help[Show a summary and exit.]'")
        for argument in command.arguments:
            place = "*" if argument.many else ""
            specs.append(f"'{place}:{_zsh(argument.name)}:{_zsh_action(argument.complete)}'")
        lines.append(f"    {command.name})")
        lines.append("        _arguments -s \\\n            " + " \\\n            ".join(specs))
        lines.append("        ;;")
    return "\n".join([*lines, "esac"]) + "\n"


def _zsh_option(option: Option) -> str:
    told = f"[{_zsh(option.help)}]"
    if option.metavar:
        told += f":{_zsh(option.metavar)}:{_zsh_action(option.complete)}"
    star = "*" if option.many else ""
    if len(option.flags) == 1 or option.many:
        return " ".join(f"'{star}{flag}{told}'" for flag in option.flags)
    return f"'({' '.join(option.flags)})'{{{','.join(option.flags)}}}'{told}'"


def _zsh_action(kind: str) -> str:
    if kind in LIVE:
        return f"_clptools_live {kind}"
    return {"file": "_files", "directory": "_files -/", "": " "}.get(kind, f"({kind})")


def _zsh(text: str) -> str:
    for special in ("\\", "[", "]", ":"):
        text = text.replace(special, "\\" + special)
    return text.replace("'", r"'\''")


def fish(every: tuple[Command, ...]) -> str:
    """A `complete` line for each option."""
    lines = [MADE, "# Install it in a folder of $fish_complete_path."]
    for command in every:
        lines += ["", f"complete -c {command.name} -f"]
        lines += [
            f"complete -c {command.name} -a {_fish_values(command, argument.complete)}"
            for argument in command.arguments
            if argument.complete
        ]
        lines += [_fish_option(command, option) for option in command.options]
        lines.append(f"complete -c {command.name} -l help -d 'Show a summary and exit.'")
    return "\n".join(lines) + "\n"


def _fish_option(command: Command, option: Option) -> str:
    parts = [f"complete -c {command.name}"]
    parts += [f"-l {f[2:]}" if f.startswith("--") else f"-s {f[1:]}" for f in option.flags]
    if option.complete in ("file", "directory"):
        parts.append("-r -F")
    elif option.metavar:
        parts.append("-x")
        if option.complete:
            parts.append(f"-a {_fish_values(command, option.complete)}")
    parts.append(f"-d {_fish(option.help)}")
    return " ".join(parts)


def _fish_values(command: Command, kind: str) -> str:
    if kind in LIVE:
        return f"'({command.name} --complete {kind} 2>/dev/null)'"
    if kind in ("file", "directory"):
        return "'(__fish_complete_path)'"
    return _fish(kind)


def _fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
