"""`clpcfctrl --push` and `--pull`: a configuration from a folder to all servers, and back."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from clptools.api.client import Client, Json, user
from clptools.cli.command import SUCCEEDED, Answer, done
from clptools.cli.requests import outcome
from clptools.faults import ClpError, ExitCode
from clptools.paths import server_name

if TYPE_CHECKING:
    from clptools.config.load import Loaded
    from clptools.core.model.settings import Pushed

DISTRIBUTED_WITHIN_S = 120.0
MAIN = "clp.toml"


def push(folder: str, without: Sequence[str], server: str = "", *, force: bool = False) -> Answer:
    """Push a folder to all servers, or to none.

    Warnings of what servers lack for it come first and stop nothing.  `server`: one that must be
    among them.
    """
    from clptools.cli.clpcfchk import warnings_of_others
    from clptools.config.facts import is_replaced
    from clptools.config.history import revision
    from clptools.config.load import loads
    from clptools.registries import registries

    base = revision()
    files = read(folder)
    if server:
        _must_have(files[MAIN], server)
    if not force:
        loaded = loads(files[MAIN], registries(), os.path.join(folder, MAIN))
        _must_keep_scripts(loaded, folder)
        _must_fit_agents(loaded, folder)
    lacks = warnings_of_others(
        files[MAIN], os.path.join(folder, MAIN), partial(is_replaced, folder), folder
    )
    how = "import" if _is_import(files[MAIN]) else ""
    answer = distribute(files, how=how, without=without)
    answer.text = "\n".join([*_not_read(folder), *lacks, *_meanwhile(base), answer.text])
    return answer


def _not_read(folder: str) -> list[str]:
    """A warning if a `clp.conf` was edited there: the original would push it."""
    from clptools.cli.of_clp_conf import CLP_CONF, is_edited

    conf = os.path.join(folder, CLP_CONF)
    if not is_edited(conf, os.path.join(folder, MAIN)):
        return []
    return [
        f"{conf} is newer than {MAIN}, and is not pushed.",
        f"  Take its changes over first: clpcfctrl --import {conf} -x {folder} --merge",
    ]


def _must_keep_scripts(loaded: Loaded, folder: str) -> None:
    """Raises ClpError (REFUSED) where the push would take away a script that is in force and
    still named: a group that runs could not be stopped any more."""
    from clptools.config.check_machine import left_out
    from clptools.core.phrases import listed
    from clptools.registries import registries

    missing = left_out(loaded, folder, registries())
    lost = sorted(missing.keys() & in_force()[0].keys()) if missing else []
    if lost:
        them = "it" if len(lost) == 1 else "them"
        raise ClpError(
            ExitCode.REFUSED,
            f"{folder} lacks {listed(lost)}: its {MAIN} names {them}, and the push would take "
            f"{them} away from every server.",
            "All that is in force, with its scripts: clpcfctrl --pull -x NEW. Push all the same: "
            "--force",
        )


def _must_fit_agents(loaded: Loaded, folder: str) -> None:
    """Raises ClpError (INVALID_CONFIG) where the resource agents of this server do not take what
    they are given, or are not there."""
    from clptools.config.agents import agent_faults
    from clptools.config.check_machine import agent_reports

    if loaded.settings is None:
        return
    faults = agent_faults(loaded.settings, server_name())
    errors = [one for one in agent_reports(faults, loaded) if one.severity == "error"]
    if errors:
        more = f" ({len(errors) - 1} more: clpcfchk {folder})" if len(errors) > 1 else ""
        first = errors[0]
        hint = f"{first.hint} Push all the same: --force".strip()
        raise ClpError(ExitCode.INVALID_CONFIG, f"{first}{more}", hint)


def _must_have(text: str, host: str) -> None:
    """Raises ClpError (NO_SUCH) unless a configuration has that server, by name or address."""
    from clptools.cli.requests import server_called
    from clptools.cli.stat_configuration import settings_of
    from clptools.config.load import loads
    from clptools.faults import known
    from clptools.registries import registries

    settings = settings_of(loads(text, registries(), MAIN), 0)
    servers: list[Json] = [
        {"name": name, "addresses": list(settings.addresses_of(name))} for name in settings.names
    ]
    if server_called({"servers": servers}, host) not in settings.names:
        text = f"{host}: no server of this configuration."
        raise ClpError(ExitCode.NO_SUCH, text, known(settings.names, host))


def _is_import(text: str) -> bool:
    """Whether this text was translated from a `clp.conf`, and the one in force was not."""
    from clptools.cli.of_clp_conf import IMPORTED
    from clptools.config.history import text_in_force

    if not text.startswith(IMPORTED):
        return False
    with contextlib.suppress(OSError, ClpError, UnicodeDecodeError):
        before, number = text_in_force()
        return not (number and before.startswith(IMPORTED))
    return True


def _meanwhile(base: int) -> list[str]:
    """What others put in force after revision `base`, so that our push did not know it."""
    from clptools.config.history import entries

    kept = entries()
    here = server_name()
    ours = max((e.number for e in kept if e.pushed and e.pushed.server == here), default=0)
    return [
        f"Revision {e.number} came meanwhile ({pushed_by(e.pushed).strip()}) and was replaced: "
        f"what it changed is undone. See: clpcfctrl --diff {e.number} {ours}"
        for e in kept
        if base < e.number < ours
    ]


def pushed_by(pushed: Pushed | None) -> str:
    """Who put it in force, where and how."""
    if pushed is None:
        return ""
    who = f" by {pushed.user}" if pushed.user else ""
    where = f" on {pushed.server}" if pushed.server else ""
    lacking = f", without {', '.join(pushed.without)}" if pushed.without else ""
    return f"  {pushed.how}{who}{where}{lacking}"


def distribute(
    files: dict[str, str], *, dry_run: bool = False, how: str = "", without: Sequence[str] = ()
) -> Answer:
    """Put files in force on all servers, or on none; `dry_run` only compares."""
    more: dict[str, object] = {"how": how} if how else {}
    if without:
        more["without"] = list(without)
    with Client() as client:
        client.finish_within(DISTRIBUTED_WITHIN_S)
        reply = client.call("PushConfig", files=files, dry_run=dry_run, user=user(), **more)
    ended = reply.get("outcome")
    answer = outcome(ended if isinstance(ended, dict) else {})
    if not dry_run and answer.text != SUCCEEDED:
        answer.text = f"{answer.text}\n{SUCCEEDED}"
    return answer


def read(folder: str) -> dict[str, str]:
    """`clp.toml` and scripts of a folder, checked.

    Raises ClpError: INVALID_CONFIG with every error, FAILED where a script cannot be distributed.
    """
    from clptools.cli.render.findings import render_text
    from clptools.config.load import load
    from clptools.config.scripts import script_text
    from clptools.registries import registries

    main = os.path.join(folder, MAIN)
    loaded = load(main, registries())
    if loaded.settings is None:
        raise ClpError(ExitCode.INVALID_CONFIG, render_text(loaded.reports, None))
    files = {MAIN: loaded.text}
    inside = os.path.realpath(folder)
    for path in script_paths(folder):
        script = os.path.join(folder, path)
        if not os.path.realpath(script).startswith(f"{inside}/"):
            raise ClpError(
                ExitCode.FAILED,
                f"{script}: is a symbolic link that leads out of {folder}.",
                "Its text would go to every server; put a copy in its place if it should.",
            )
        files[path] = script_text(script)
    return files


def script_paths(folder: str) -> list[str]:
    """The scripts below a folder, relative to it."""
    return [
        os.path.relpath(os.path.join(place, name), folder)
        for place, _, names in os.walk(os.path.join(folder, "scripts"))
        for name in sorted(names)
    ]


def in_force() -> tuple[dict[str, str], int]:
    """The configuration of the agent, and its number."""
    with Client() as client:
        reply = client.call("GetConfig")
    files, number = reply.get("files"), reply.get("revision")
    if not isinstance(files, dict):
        raise ClpError(ExitCode.FAILED, "The node agent sent no configuration.")
    return {str(path): str(text) for path, text in files.items()}, int(str(number or 0))


def pull(folder: str, server: str = "") -> Answer:
    """The configuration in force, into a folder; `server`: one for which it must be in force."""
    from clptools.config.files import CONFIG_MODE, replace_file

    files, number = in_force()
    if server:
        _must_have(files[MAIN], server)
    for path, text in files.items():
        if path != MAIN and (not path.startswith("scripts/") or ".." in path.split("/")):
            raise ClpError(ExitCode.FAILED, f"{path}: does not belong into a configuration.")
        target = os.path.join(folder, path)
        os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
        replace_file(target, text.encode(), CONFIG_MODE if path == MAIN else 0o750)
    count = f"{len(files)} file{'s' if len(files) != 1 else ''}"
    what = f"{count} of revision {number}" if number else count
    place = os.path.abspath(folder)
    return done(f"{what} written into {place}.\n{SUCCEEDED}", files=sorted(files))
