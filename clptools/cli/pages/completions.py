"""Completion for bash, zsh and fish, from the commands' data; live names come from the agent.

Libraries do it worse here.  typer's own asks Python and typer at every Tab, three interpreter
starts; these scripts start nothing but for a live name.  shtab (1.13) writes a whole engine for
each command, 300 kB in place of 51 kB, wants each command as an argparse parser first, and live
names by hand in the language of each shell all the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from clptools.cli.command import Command, Option
from clptools.cli.requests import KINDS

MADE = "# Made by python -m clptools.cli.generate; do not edit."
LIVE = (*KINDS, "any", "revision")
ASK = "clpstat"
"""Says the live names for every command: clpnode and clpwitnessd do not answer."""

BASH_HEAD = f"""\
{MADE}
# Source it, or install it as clptools in bash-completion's folder.

_clptools_line() {{
    # bash splits words at = and : (COMP_WORDBREAKS) and wants back what follows the last of them.
    local text=${{COMP_LINE:0:COMP_POINT}} whole='' word start
    local -a typed
    read -ra typed <<<"$text"
    if [[ $text != *[[:space:]] ]]; then
        whole=${{typed[-1]}}
        unset 'typed[-1]'
    fi
    start=${{whole%"${{whole##*[=:]}}"}}
    while IFS= read -r word; do
        [[ $word == "$whole"* ]] && printf '%s\\n' "${{word#"$start"}}"
    done < <("$1" --complete line "${{typed[@]:1}}" "$whole" 2>/dev/null)
}}

_clptools_values() {{
    case $1 in
        line) _clptools_line "$2" "$3" ;;
        {"|".join(LIVE)}) compgen -W "$("$2" --complete "$1" 2>/dev/null)" -- "$3" ;;
        file) compgen -f -- "$3" ;;
        directory) compgen -d -- "$3" ;;
        ?*) compgen -W "$1" -- "$3" ;;
    esac
}}

_clptools() {{
    local command=$1 current=$2 previous=$3 flags='' valued='' more='' value='' line word
    local ask=${{command%"${{command##*/}}"}}{ASK} place=0 skip=''
    local -a words=() before=("${{COMP_WORDS[@]:1:COMP_CWORD-1}}")
    COMPREPLY=()
    case ${{command##*/}} in
"""
BASH_TAIL = """\
    esac
    # How many words stand before, options and their values left out.
    for word in "${before[@]}"; do
        if [[ $word == '=' ]]; then
            skip=1
        elif [[ -n $skip ]]; then
            skip=''
        elif [[ $word == -* ]]; then
            [[ " $valued " == *" $word "* ]] && skip=1
        else
            place=$((place + 1))
        fi
    done
    if [[ -z $value && $current == -* ]]; then
        while IFS= read -r line; do COMPREPLY+=("$line"); done < <(
            compgen -W "$flags" -- "$current")
        return
    fi
    while IFS= read -r line; do COMPREPLY+=("$line"); done < <(
        _clptools_values "${value:-${words[place]-$more}}" "$ask" "$current")
    # A word that goes on.
    [[ ${#COMPREPLY[@]} -gt 0 && ${COMPREPLY[0]} == *[=.] ]] && compopt -o nospace 2>/dev/null
    return 0
}

"""


def bash(every: tuple[Command, ...]) -> str:
    """One function for all commands."""
    lines = []
    for command in every:
        lines.append(f"        {command.name})")
        flags = " ".join(flag for option in command.options for flag in option.flags)
        lines.append(f"            flags='{flags} --help --version'")
        kinds = [argument.complete for argument in command.arguments]
        if any(kinds):
            lines.append(f"            words=({' '.join(map(_quoted, kinds))})")
            if command.arguments[-1].many:
                lines.append(f"            more={_quoted(kinds[-1])}")
        if _by_flag(command):
            lines.append('            case " ${before[*]} " in')
            for option in _by_flag(command):
                given = "|".join(f"*' {flag} '*" for flag in option.flags)
                lines.append(f"                {given}) words=({_quoted(option.complete)}) ;;")
            lines.append("            esac")
        valued = [option for option in command.options if option.metavar]
        if valued:
            every_flag = " ".join(_valued(command))
            lines.append(f"            valued='{every_flag}'")
            lines.append("            case $previous in")
            for option in valued:
                # A space: a value is due of which nothing is known.
                kind = option.complete or " "
                lines.append(f"                {'|'.join(option.flags)}) value='{kind}' ;;")
            lines.append("            esac")
        lines.append("            ;;")
    names = " ".join(command.name for command in every)
    return BASH_HEAD + "\n".join(lines) + "\n" + BASH_TAIL + f"complete -F _clptools {names}\n"


def _quoted(kind: str) -> str:
    return f"'{kind}'"


def _valued(command: Command) -> list[str]:
    """The flags that take a value."""
    return [flag for option in command.options if option.metavar for flag in option.flags]


def _by_flag(command: Command) -> list[Option]:
    """The flags that say what the command's argument names."""
    return [option for option in command.options if option.complete and not option.metavar]


ZSH_HEAD = """\
# Install it as _clptools in a folder of $fpath.

_clptools_live() {
    # _arguments puts options for compadd before the kind.
    local -a found
    found=(${(f)"$(${words[1]%${words[1]:t}}ASK --complete ${@[-1]} 2>/dev/null)"})
    compadd "${@[1,-2]}" -a found
}

_clptools_line() {
    # Words that go on end with = or a dot, and get no space.
    local ask=${words[1]%${words[1]:t}}ASK
    local -a found on before=("${(@Q)words[2,CURRENT-1]}")
    found=(${(f)"$($ask --complete line "${before[@]}" "${(Q)PREFIX}" 2>/dev/null)"})
    on=(${(M)found:#*[=.]})
    found=(${found:#*[=.]})
    compadd "$@" -S '' -a on
    compadd "$@" -a found
}

_clptools_by() {
    # What an argument names without a flag, then each flag and what it names with that.
    local kind=$1 flag with
    shift
    for flag with in "$@"; do
        (( ${words[(Ie)$flag]} )) && kind=$with
    done
    case $kind in
        file) _files ;;
        none) ;;
        *) _clptools_live $kind ;;
    esac
}

""".replace("ASK", ASK)


def zsh(every: tuple[Command, ...]) -> str:
    """`_arguments` for each command."""
    names = " ".join(command.name for command in every)
    lines = [f"#compdef {names}", MADE, ZSH_HEAD, "case $service in"]
    for command in every:
        specs = [_zsh_option(option) for option in command.options]
        specs.append("'--help[Show a summary and exit.]'")
        specs.append("'--version[Show the version and exit.]'")
        for argument in command.arguments:
            place = "*" if argument.many else ""
            action = _zsh_by_flag(command, argument.complete) or _zsh_action(argument.complete)
            specs.append(f"'{place}:{_zsh(argument.name)}:{action}'")
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
    if kind == "line":
        return "_clptools_line"
    return {"file": "_files", "directory": "_files -/", "": " "}.get(kind, f"({kind})")


def _zsh_by_flag(command: Command, kind: str) -> str:
    pairs = [f"{flag} {o.complete}" for o in _by_flag(command) for flag in o.flags]
    # The space in front keeps _arguments from putting options for compadd there.
    return f" _clptools_by {kind or 'none'} {' '.join(pairs)}" if pairs else ""


def _zsh(text: str) -> str:
    for special in ("\\", "[", "]", ":"):
        text = text.replace(special, "\\" + special)
    return text.replace("'", r"'\''")


FISH_HEAD = f"""\
{MADE}
# Install it in a folder of $fish_complete_path.

function __clptools_place
    # Whether so many words stand before; options are none, nor values of those that are named.
    set -l place 0
    set -l skip 0
    for word in (commandline -opc)[2..-1]
        if test $skip = 1
            set skip 0
        else if string match -q -- '-*' $word
            contains -- $word $argv[2..-1]; and set skip 1
        else
            set place (math $place + 1)
        end
    end
    test $place = $argv[1]
end
"""


def fish(every: tuple[Command, ...]) -> str:
    """A `complete` line for each option."""
    lines = [FISH_HEAD.rstrip("\n")]
    for command in every:
        lines += ["", f"complete -c {command.name} -f", *_fish_arguments(command)]
        lines += [_fish_option(command, option) for option in command.options]
        lines.append(f"complete -c {command.name} -l help -d 'Show a summary and exit.'")
        lines.append(f"complete -c {command.name} -l version -d 'Show the version and exit.'")
    return "\n".join(lines) + "\n"


def _fish_arguments(command: Command) -> Iterator[str]:
    by_flag = _by_flag(command)
    for place, argument in enumerate(command.arguments):
        if not argument.complete:
            continue
        when = ""
        if len(command.arguments) > 1:
            valued = " ".join(_valued(command))
            # The last one may stand several times: wherever none of those before does.
            places = range(place) if argument.many and place else (place,)
            tests = [f"__clptools_place {each} {valued}".rstrip() for each in places]
            no = "not " if argument.many and place else ""
            when = f" -n '{'; and '.join(f'{no}{test}' for test in tests)}'"
        elif by_flag:
            when = f" -n 'not __fish_contains_opt {' '.join(option.name for option in by_flag)}'"
        yield f"complete -c {command.name}{when} -a {_fish_values(argument.complete)}"
    for option in by_flag:
        when = f"-n '__fish_contains_opt {option.name}'"
        yield f"complete -c {command.name} {when} -a {_fish_values(option.complete)}"


def _fish_option(command: Command, option: Option) -> str:
    parts = [f"complete -c {command.name}"]
    parts += [f"-l {f[2:]}" if f.startswith("--") else f"-s {f[1:]}" for f in option.flags]
    if option.metavar and option.complete in ("file", "directory"):
        parts.append("-r -F")
    elif option.metavar:
        parts.append("-x")
        if option.complete:
            parts.append(f"-a {_fish_values(option.complete)}")
    parts.append(f"-d {_fish(option.help)}")
    return " ".join(parts)


def _fish_values(kind: str) -> str:
    if kind in LIVE:
        return f"'({ASK} --complete {kind} 2>/dev/null)'"
    if kind == "line":
        words = "(commandline -opc)[2..-1] (commandline -ct)"
        return f"'({ASK} --complete line {words} 2>/dev/null)'"
    if kind in ("file", "directory"):
        return "'(__fish_complete_path (commandline -ct))'"
    return _fish(kind)


def _fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
