"""`clpcfctrl --import` and `--export`: a `clp.conf` of EXPRESSCLUSTER, here and back."""

from __future__ import annotations

import contextlib
import os

from clptools.cli.command import SUCCEEDED, Answer, done
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
    whole = os.path.isdir(path)
    source = os.path.join(path, CLP_CONF) if whole else path
    with open(source, "rb") as file:
        data = file.read(MAX_BYTES + 1)
    target = os.path.join(folder, MAIN)
    if merge:
        return _merged(data, source, target)
    answer = _translated(data, source, target, force=force)
    lines = answer.text.split("\n")
    copied = _scripts(os.path.dirname(source) or ".", folder, whole=whole, force=force)
    last = -1 if lines[-1] == SUCCEEDED else len(lines)
    lines[last:last] = copied
    answer.text = "\n".join(lines)
    return answer


def _translated(data: bytes, source: str, target: str, *, force: bool) -> Answer:
    import msgspec

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
    if os.path.exists(target) and not force:
        raise ClpError(
            ExitCode.REFUSED,
            f"{target}: is there already.",
            "Replace it all the same: --force; change in it what the file says otherwise: --merge",
        )
    text = f"{IMPORTED}{os.path.basename(source)!r}.\n\n{imported.text}"
    loaded = loads(text, registries(), target)
    os.makedirs(os.path.dirname(target) or ".", mode=0o750, exist_ok=True)
    replace_file(target, text.encode(), CONFIG_MODE)
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


def _scripts(source: str, folder: str, *, whole: bool, force: bool) -> list[str]:
    """Copies `scripts/`, which has the same layout; what was done, in lines."""
    from clptools.config.files import replace_file

    before, after = os.path.join(source, SCRIPTS), os.path.join(folder, SCRIPTS)
    if not os.path.isdir(before) or os.path.realpath(before) == os.path.realpath(after):
        return []
    if not whole:
        return [f"{before} is not copied: import the folder, {source}."]
    copied, kept = 0, 0
    for place, _, names in os.walk(before):
        for name in sorted(names):
            path = os.path.join(place, name)
            target = os.path.join(after, os.path.relpath(path, before))
            if os.path.lexists(target) and not force:
                kept += 1
                continue
            with open(path, "rb") as file:
                text = file.read(MAX_BYTES)
            os.makedirs(os.path.dirname(target), mode=0o750, exist_ok=True)
            replace_file(target, text, 0o750)
            copied += 1
    lines = (
        [f"{copied} scripts copied into {after}."]
        if copied != 1
        else [f"1 script copied into {after}."]
    )
    if kept:
        lines.append(f"{kept} scripts stay as they are there: replace them by --force.")
    return lines


def is_edited(conf: str, main: str) -> bool:
    """Whether a `clp.conf` is newer than the `clp.toml` and not just its export."""
    from clptools.config.exporter import export_clp_conf
    from clptools.registries import registries

    try:
        if os.path.getmtime(conf) <= os.path.getmtime(main):
            return False
        with open(conf, "rb") as file, open(main, encoding="utf-8") as toml:
            return file.read(MAX_BYTES + 1) != export_clp_conf(toml.read(), registries())[0]
    except OSError:
        return False


def export(target: str, folder: str, *, force: bool) -> Answer:
    """What a `clp.conf` can say of the configuration in a folder."""
    import tomllib

    from clptools.config.exporter import export_clp_conf
    from clptools.config.files import CONFIG_MODE, replace_file
    from clptools.registries import registries

    main = os.path.join(folder, MAIN)
    with open(main, encoding="utf-8") as file:
        text = file.read()
    try:
        data, unsaid = export_clp_conf(text, registries())
    except (tomllib.TOMLDecodeError, RecursionError) as fault:
        hint = f"Check it: clpcfchk {main}"
        raise ClpError(ExitCode.INVALID_CONFIG, f"{main}: not TOML.", hint) from fault
    if os.path.exists(target) and not force:
        hint = "Replace it all the same: --force"
        raise ClpError(ExitCode.REFUSED, f"{target}: is there already.", hint)
    replace_file(target, data, CONFIG_MODE)
    lines = [f"Not said in it: {spelled(one)}" for one in unsaid]
    lines += [f"{target} written; scripts/ has the same layout.", SUCCEEDED]
    return done("\n".join(lines), file=target, unsaid=list(unsaid))
