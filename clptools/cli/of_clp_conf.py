"""`clpcfctrl --import` and `--export`: a `clp.conf` of EXPRESSCLUSTER, here and back."""

from __future__ import annotations

import contextlib
import errno
import os

from clptools.cli.command import SUCCEEDED, Answer, done
from clptools.common.foreign_files import whole
from clptools.config.clpconf import MAX_BYTES, spelled
from clptools.faults import ClpError, ExitCode

MAIN = "clp.toml"
CLP_CONF = "clp.conf"
SCRIPTS = "scripts"
IMPORTED = "# Translated by clpcfctrl --import from "
"""Begins a `clp.toml` that was made of a `clp.conf`."""


def translate(path: str, folder: str, *, force: bool, merge: bool) -> Answer:
    """A `clp.conf`, or a folder with one, as `clp.toml` and `scripts/`.

    Lists what must be edited by hand; the code is 8 for errors.
    """
    is_folder = os.path.isdir(path)
    source = os.path.join(path, CLP_CONF) if is_folder else path
    data = _conf(source)
    target = os.path.join(folder, MAIN)
    if merge:
        return _merged(data, source, target)
    answer = _translated(data, source, target, force=force)
    copied, left = _scripts(
        os.path.dirname(source) or ".", folder, all_of_it=is_folder, force=force
    )
    lines = [line for line in answer.text.split("\n") if line != SUCCEEDED]
    if left and not answer.code:
        answer.code = ExitCode.FAILED
    end = [] if answer.code else [SUCCEEDED]
    answer.text = "\n".join([*lines, *copied, *left, *end])
    answer.fields = {**(answer.fields or {}), "scripts": [*copied, *left]}
    return answer


def _conf(path: str) -> bytes:
    """The file, which may also come through a pipe.  Raises ClpError, and OSError as it is."""
    try:
        return whole(path, MAX_BYTES)
    except FileNotFoundError:
        hint = "Give the clp.conf, or the folder that it lies in."
        raise ClpError(ExitCode.FAILED, f"{path}: no such file.", hint) from None
    except OSError as fault:
        if fault.errno != errno.EFBIG:
            raise
        hint = "A clp.conf is a few hundred KiB at most."
        raise ClpError(ExitCode.INVALID_CONFIG, f"{path}: {fault.strerror}.", hint) from None


def _translated(data: bytes, source: str, target: str, *, force: bool) -> Answer:
    import msgspec

    from clptools.cli.cfset_session import alone
    from clptools.cli.render.findings import as_json, render_report
    from clptools.config.files import CONFIG_MODE, replace_file
    from clptools.config.importer import import_clp_conf
    from clptools.config.load import loads
    from clptools.config.told import SUFFIX
    from clptools.registries import registries

    imported = import_clp_conf(data, source)
    if imported.windows and not force:
        raise ClpError(
            ExitCode.INVALID_CONFIG,
            f"{source}: is of EXPRESSCLUSTER for Windows: its disks, services and scripts are not "
            "those of Linux.",
            "Translate all the same what is common to both: --force",
        )
    text = f"{IMPORTED}{os.path.basename(source)!r}.\n\n{imported.text}"
    loaded = loads(text, registries(), target)
    _folder_of(target)
    with alone(target):
        if os.path.lexists(target) and not force:
            raise ClpError(
                ExitCode.REFUSED,
                f"{target}: is there already.",
                "Replace it all the same: --force; change in it what the file says otherwise: "
                "--merge",
            )
        replace_file(os.path.realpath(target), text.encode(), CONFIG_MODE)
        with contextlib.suppress(OSError):
            os.unlink(os.path.realpath(target) + SUFFIX)  # it is of the file before
    reports = (*imported.reports, *loaded.reports)
    lines = [line for report in reports for line in render_report(report)]
    counts = {str(grade): count for grade, count in imported.counts.items()}
    lines.append("Parameters: " + ", ".join(f"{count} {grade}" for grade, count in counts.items()))
    lines[-1] += "."
    fields = {"file": target, "grades": counts, **msgspec.to_builtins(as_json(reports, None))}
    if loaded.errors:
        lines.append(f"{target} written. Edit it by hand: see above.")
        return Answer("\n".join(lines), fields, ExitCode.INVALID_CONFIG)
    return Answer("\n".join([*lines, f"{target} written.", SUCCEEDED]), fields)


def _folder_of(target: str) -> None:
    folder = os.path.dirname(target) or "."
    try:
        os.makedirs(folder, mode=0o750, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        hint = "-x takes the folder that clp.toml goes into."
        raise ClpError(ExitCode.FAILED, f"{folder}: is no folder.", hint) from None


def _merged(data: bytes, source: str, target: str) -> Answer:
    """Into the `clp.toml` that is there."""
    from clptools.cli.cfset_session import alone, opened
    from clptools.cli.cfset_told import merge
    from clptools.config.clpconf import parsed

    tree = parsed(data, source)
    with alone(target):
        session = opened(target)
        merge(session, tree)
        changed = session.save()
    said = f"{target} {'changed' if changed else 'says the same already'}."
    text = "\n".join([*session.notes, said, SUCCEEDED])
    return done(text, file=target, changed=changed, notes=session.notes)


def _scripts(
    source: str, folder: str, *, all_of_it: bool, force: bool
) -> tuple[list[str], list[str]]:
    """Copies `scripts/`, which has the same layout; what was done, and what was left, in lines."""
    from clptools.config.files import replace_file

    before, after = os.path.join(source, SCRIPTS), os.path.join(folder, SCRIPTS)
    if not os.path.isdir(before) or os.path.realpath(before) == os.path.realpath(after):
        return [], []
    if not all_of_it:
        return [f"{before} is not copied: import the folder, {source}."], []
    copied, kept = 0, 0
    left: list[str] = []
    for place, folders, names in os.walk(before, onerror=lambda fault: left.append(_left(fault))):
        folders.sort()
        for name in folders:
            path = os.path.join(place, name)
            if os.path.islink(path):
                left.append(f"{spelled(path)} is not copied: it is a link to a folder.")
        for name in sorted(names):
            path = os.path.join(place, name)
            target = os.path.join(after, os.path.relpath(path, before))
            if os.path.lexists(target) and not force:
                kept += 1
                continue
            try:
                text = whole(path, MAX_BYTES)
                os.makedirs(os.path.dirname(target), mode=0o750, exist_ok=True)
                replace_file(target, text, 0o750)
            except OSError as fault:
                left.append(_left(fault))
            else:
                copied += 1
    lines = [f"{copied} script{'s' if copied != 1 else ''} copied into {after}."]
    if kept:
        stay = "1 script stays as it is" if kept == 1 else f"{kept} scripts stay as they are"
        lines.append(f"{stay} there: --force replaces what is there.")
    return lines, left


def _left(fault: OSError) -> str:
    """That a script was not copied, and why."""
    said = (fault.strerror or str(fault)).lower()
    return f"{spelled(str(fault.filename))} is not copied: {said}."


def is_edited(conf: str, main: str) -> bool:
    """Whether a `clp.conf` is newer than the `clp.toml` and not just its export."""
    from clptools.config.exporter import export_clp_conf
    from clptools.registries import registries

    try:
        if os.path.getmtime(conf) <= os.path.getmtime(main):
            return False
        with open(main, encoding="utf-8") as toml:
            return whole(conf, MAX_BYTES) != export_clp_conf(toml.read(), registries())[0]
    except OSError as fault:
        return fault.errno == errno.EFBIG


def export(target: str, folder: str, *, force: bool) -> Answer:
    """What a `clp.conf` can say of the configuration in a folder."""
    import tomllib

    from clptools.cli.cfset_session import text_at
    from clptools.config.exporter import export_clp_conf
    from clptools.config.files import CONFIG_MODE, replace_file
    from clptools.registries import registries

    main = os.path.join(folder, MAIN)
    text = text_at(main)
    try:
        data, unsaid = export_clp_conf(text, registries())
    except (tomllib.TOMLDecodeError, RecursionError) as fault:
        hint = f"Check it: clpcfchk {main}"
        raise ClpError(ExitCode.INVALID_CONFIG, f"{main}: not TOML.", hint) from fault
    if os.path.isdir(target):
        hint = f"Name the file, too: {os.path.join(target, CLP_CONF)}"
        raise ClpError(ExitCode.FAILED, f"{target}: is a folder.", hint)
    if os.path.lexists(target) and not force:
        hint = "Replace it all the same: --force"
        raise ClpError(ExitCode.REFUSED, f"{target}: is there already.", hint)
    replace_file(os.path.realpath(target), data, CONFIG_MODE)
    lines = [f"Not said in it: {spelled(one)}" for one in unsaid]
    lines += [f"{target} written; scripts/ has the same layout.", SUCCEEDED]
    return done("\n".join(lines), file=target, unsaid=list(unsaid))
