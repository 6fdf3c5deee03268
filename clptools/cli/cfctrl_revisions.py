"""`clpcfctrl --history`, `--diff` and `--rollback`: the configurations that were in force."""

from __future__ import annotations

import os
from collections.abc import Sequence

from clptools.api.client import Json
from clptools.cli.cfctrl_distribution import MAIN, distribute, in_force, pushed_by, script_paths
from clptools.cli.command import SUCCEEDED, Answer, done
from clptools.faults import ClpError, ExitCode
from clptools.paths import config_dir


def history() -> Answer:
    """The configurations that this server keeps."""
    import time

    import msgspec

    from clptools.config.history import entries

    kept = entries()
    current = kept[-1].number if kept else 0
    lines = [
        f"{entry.number:>5}  {time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(entry.saved_at))}"
        f"  {entry.size:>7} bytes{'  in force' if entry.number == current else ''}"
        f"{pushed_by(entry.pushed)}"
        for entry in kept
    ]
    revisions: list[Json] = [
        {
            "revision": e.number,
            "time": e.saved_at,
            "bytes": e.size,
            "in_force": e.number == current,
            "pushed": None if e.pushed is None else msgspec.to_builtins(e.pushed),
        }
        for e in kept
    ]
    return Answer(
        "\n".join(lines) or "No configuration was ever in force here.", {"history": revisions}
    )


def diff(numbers: tuple[int, ...], folder: str) -> Answer:
    """What differs, as a unified diff; exit code 9 where anything does.

    Scripts are compared as well, unless an earlier version did not keep those of a revision.
    """
    from clptools.config.history import content, revision, scripts
    from clptools.config.history import diff as compare

    current = revision()
    first = numbers[0] if numbers else current
    old, old_name = (content(first), f"revision {first}") if first else ("", "nothing")
    old_scripts = scripts(first) if first else {}
    if numbers:
        second = numbers[1] if len(numbers) == 2 else current
        in_force = "" if len(numbers) == 2 else " (in force)"
        new, new_name = content(second), f"revision {second}{in_force}"
        new_scripts = scripts(second)
    else:
        new, new_name = _main_of(folder), os.path.join(folder, MAIN)
        new_scripts = {path: _as_it_is(os.path.join(folder, path)) for path in script_paths(folder)}
    found = compare(old, new, old_name, new_name)
    if old_scripts is not None and new_scripts is not None:
        for path in sorted({*old_scripts, *new_scripts}):
            there = f"{new_name} {path}" if numbers else os.path.join(folder, path)
            found += compare(
                *(old_scripts.get(path, ""), new_scripts.get(path, "")),
                *(f"{old_name} {path}", there),
            )
    code = ExitCode.FOUND if found else ExitCode.DONE
    text = found.rstrip("\n") or f"{old_name} and {new_name} are the same."
    return Answer(text, {"from": old_name, "to": new_name, "diff": found}, code)


def _main_of(folder: str) -> str:
    """The `clp.toml` of a folder, whatever it says.  Raises ClpError."""
    from clptools.config.load import of_the_original

    main = os.path.join(folder, MAIN)
    try:
        return _as_it_is(main)
    except (FileNotFoundError, NotADirectoryError):
        hint = of_the_original(main) or (
            "Give the folder of a clp.toml: -x DIR; or two configurations: clpcfctrl --diff N M"
        )
        raise ClpError(ExitCode.FAILED, f"{main}: no such file.", hint) from None


def _as_it_is(path: str) -> str:
    from clptools.common.foreign_files import whole
    from clptools.config.lines import MAX_BYTES

    return whole(path, MAX_BYTES).decode(errors="replace")


def rollback(number: int, without: Sequence[str] = ()) -> Answer:
    """Push an old configuration again; of the one in force, only write the files again."""
    from clptools.cli.clpcfchk import warnings_of_others
    from clptools.config import history

    old, scripts, current = history.content(number), history.scripts(number), history.revision()
    same = old == history.content(current) and scripts == history.scripts(current)
    if number == current or same:
        count = history.write_out(current)
        files = f"its {count} files are" if count > 1 else f"its {MAIN} is"
        which = "" if number == current else f" the same as revision {current}, which is"
        return done(
            f"Revision {number} is{which} in force; {files} written again into {config_dir()}."
            f"\n{SUCCEEDED}"
        )
    how, notes = f"rollback to {number}", []
    if scripts is None:
        scripts = {path: text for path, text in in_force()[0].items() if path != MAIN}
        how += ", scripts kept"
        notes = [f"The scripts of revision {number} were not kept: those of today stay."]
    base = config_dir()
    notes += warnings_of_others(
        old, f"revision {number}", lambda path: os.path.relpath(path, base) in scripts
    )
    answer = distribute({**scripts, MAIN: old}, how=how, without=without)
    answer.text = "\n".join([*notes, answer.text])
    return answer
