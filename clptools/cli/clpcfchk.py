"""`clpcfchk`: a configuration checked, and what it promises."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from clptools.cli.command import Answer, Args, Argument, Command, Option
from clptools.faults import ClpError, ExitCode
from clptools.paths import config_file, server_name

if TYPE_CHECKING:
    from clptools.config.load import Loaded
    from clptools.config.safety import Safety
    from clptools.core.model.machine import AccountFault, ServerFacts
    from clptools.core.model.settings import Settings
    from clptools.reports import Report

FACTS_WITHIN_S = 20.0
MAIN = "clp.toml"
TABLE = "cfchk_result.csv"

COMMAND = Command(
    "clpcfchk",
    summary="check a configuration, its timing and its safety",
    synopsis=("[FILE | DIR | -i DIR] [-o DIR] [--strict]",),
    description=(
        (
            "Without FILE, it checks this server's configuration. It shows all errors at once, "
            "each with its line and its remedy (exit code 8)."
        ),
        (
            "For a valid configuration it says, for each kind of fault, how long it takes until "
            "groups run elsewhere, by which proof, and what they may have to wait for. It asks "
            "every server through the agents for its watchdog, ports, addresses, files, clock and "
            "BMC account. The result does not rely on anything that a server is known to lack, and "
            "each server that does not answer is named. Warnings also name what would keep the "
            "configuration from working on this machine, and servers that answer now but block "
            "ICMP echo. If this server has the password of a BMC, it asks the BMC whether our "
            "account may switch its power, and whether the BMC would send its traps to the keyword "
            "address. It looks for scripts in scripts/ beside clp.toml, because a push of that "
            "folder installs those scripts and removes all others."
        ),
    ),
    options=(
        Option(
            "-i",
            "--input",
            metavar="DIR",
            help="Check clp.toml in this folder.",
            complete="directory",
        ),
        Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Also write cfchk_result.csv in this folder, with one line for each report: "
            "level, file, line, key, text and remedy. The original does not define these columns; "
            "they are those of clptools.",
            complete="directory",
        ),
        Option(
            "--strict", help="Exit code 9 if the configuration is unsafe or there are warnings."
        ),
    ),
    arguments=(
        Argument("FILE", help="The configuration to check, or its folder.", complete="file"),
    ),
    examples=(
        (
            "clpcfchk new/clp.toml --strict && clpcfctrl --push -x new",
            "checks the folder new before it is distributed",
        ),
    ),
)


def run(args: Args) -> Answer:
    import json

    import msgspec

    from clptools.cli.render.findings import as_json, render_text
    from clptools.cli.render.text import screen_columns
    from clptools.config.load import load
    from clptools.registries import registries

    if args.word() and args.given("input"):
        raise ClpError(ExitCode.USAGE, "Give FILE or -i, not both.")
    given = args.word()
    folder = args.text("input") or (given if os.path.isdir(given) else "")
    path = os.path.join(folder, MAIN) if folder else given or config_file()
    reports, verdict = judge(load(path, registries()), ask=True)
    edit = unpushed(path)
    reports += edit + (unpushed_elsewhere() if path == config_file() else ())
    if args.given("output"):
        write_table(args.text("output"), reports)
    fields = json.loads(msgspec.json.encode(as_json(reports, verdict)))
    text = render_text(reports, verdict, screen_columns(piped=0))
    if verdict is None:
        text = "\n".join([text.rstrip("\n"), *(f"{one} {one.hint}" for one in edit)])
        return Answer(text, fields, ExitCode.INVALID_CONFIG)
    doubtful = not verdict.safe or any(r.severity == "warning" for r in reports)
    found = args.given("strict") and doubtful
    return Answer(text, fields, ExitCode.FOUND if found else ExitCode.DONE)


def write_table(folder: str, reports: tuple[Report, ...]) -> None:
    """The reports as a table for spreadsheets and scripts."""
    import csv
    import io

    from clptools.config.files import CONFIG_MODE, replace_file

    os.makedirs(folder, exist_ok=True)
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(("level", "file", "line", "key", "text", "mend"))
    for one in reports:
        place = one.line or ""
        rows.writerow((one.severity, one.file, place, one.key, one.message, one.hint))
    replace_file(os.path.join(folder, TABLE), table.getvalue().encode(), CONFIG_MODE)


def unpushed(path: str) -> tuple[Report, ...]:
    """That this server's file is not what its agent starts with."""
    from clptools.config import history
    from clptools.core.phrases import listed
    from clptools.reports import Report

    number = history.in_force() if path == config_file() else 0
    if not number:
        return ()
    found = []
    edit = history.edit(number)
    if edit:
        message = f"{path} {edit}: revision {number} is in force."
        hint = history.mend(number, edit, server_name())
        found.append(Report(severity="note", message=message, hint=hint))
    scripts = history.edited_scripts(number)
    if scripts:
        verb = ("is", "runs") if len(scripts) == 1 else ("are", "run")
        found.append(
            Report(
                severity="note",
                message=f"{listed(scripts)} {verb[0]} not as in revision {number}, and {verb[1]} "
                "so on this server alone.",
                hint=history.mend(number, history.EDITED, server_name()),
            )
        )
    return tuple(found)


def unpushed_elsewhere() -> tuple[Report, ...]:
    """What the agents of other servers say of their files; nothing where no agent runs here."""
    from clptools.api.client import Client
    from clptools.cli.requests import objects, status
    from clptools.reports import Report

    try:
        with Client() as client:
            client.finish_within(FACTS_WITHIN_S)
            seen = status(client)
    except ClpError:
        return ()
    return tuple(
        Report(
            severity="note",
            message=f"{server['name']}: {condition['text']}.",
            hint=str(condition.get("mend", "")),
        )
        for server in objects(seen, "servers")
        if not server.get("local")
        for condition in objects(server, "conditions")
        if condition.get("name") == "configuration"
    )


def judge(loaded: Loaded, ask: bool = False) -> tuple[tuple[Report, ...], Safety | None]:
    """The reports on a configuration, and the verdict unless it has errors.  Those of parameters
    of resource agents show on a server that has the agent alone.

    With `ask` the other servers are asked over the network as well.
    """
    from clptools.config.check import check
    from clptools.config.check_machine import (
        agents_unseen,
        check_machine,
        check_others,
        lacks,
        left_out,
    )
    from clptools.config.facts import gather, is_own_folder, is_replaced, unechoed
    from clptools.config.safety import safety
    from clptools.registries import registries

    settings = loaded.settings
    if settings is None:
        return loaded.reports, None
    known = registries()
    # A configuration for other machines says nothing about this one.
    here = server_name() in settings.names
    folder = os.path.dirname(loaded.file) or "."
    # A file of another name is not pushed as it lies there: it is compared with this server.
    pushed = folder if os.path.basename(loaded.file) == MAIN else ""
    silent = unechoed(settings, server_name()) if here and ask else frozenset()
    bmc = _accounts(settings) if here and ask else {}
    validate = ask and _is_ours(loaded.file)
    facts = gather(settings, known, bmc, pushed, silent, validate=validate) if here else None
    alerts = _alerts(loaded, settings, bmc) if here and ask else ()
    found = loaded.reports + check(loaded)
    if pushed and ask and not is_own_folder(pushed):
        found += tuple(left_out(loaded, pushed, known).values())
    replaced = partial(is_replaced, folder)
    told = others(settings, loaded.text, replaced) if here and ask else ()
    if facts is not None:
        found += check_machine(loaded, facts, known)
    found += check_others(loaded, server_name(), told, known) + alerts
    if not here:
        found += agents_unseen(loaded, server_name())
    if any(report.severity == "error" for report in found):
        return found, None
    machines = [one.facts for one in told if one.facts is not None and one.name != server_name()]
    if facts is not None:
        machines.append(facts)
    return found, safety(settings, lacks(settings, machines))


def _is_ours(path: str) -> bool:
    """Whether nobody else can have written it, so that agents may be run with what it gives."""
    try:
        found = os.stat(path)
    except OSError:
        return False
    return found.st_uid in (0, os.geteuid()) and not found.st_mode & 0o022


def warnings_of_others(
    text: str, file: str, brings: Callable[[str], bool], folder: str = ""
) -> list[str]:
    """What the other servers lack for a valid configuration, in lines, before it is put in force,
    and first what `folder` lacks of it, if it comes from one, and which addresses this server has
    not.

    `file`: its name, in messages; `brings`: as `others` takes it.
    """
    from clptools.cli.render.findings import render_report
    from clptools.config.check_machine import check_others, foreign_addresses, left_out
    from clptools.config.load import loads
    from clptools.registries import registries

    loaded = loads(text, registries(), file)
    if loaded.settings is None:
        return []
    told = others(loaded.settings, loaded.text, brings)
    lacking = left_out(loaded, folder, registries()) if folder else {}
    reports = (
        *lacking.values(),
        *foreign_addresses(loaded, server_name(), told),
        *check_others(loaded, server_name(), told, registries()),
    )
    return [line for report in reports for line in render_report(report)]


def others(settings: Settings, text: str, brings: Callable[[str], bool]) -> tuple[ServerFacts, ...]:
    """What the agents tell of their machines, asked through the agent of this server.

    `brings(path)`: whether the configuration decides about the script, so that what is there now
    does not count.
    """
    import msgspec

    from clptools.api.client import Client
    from clptools.core.model.machine import ServerFacts

    try:
        with Client() as client:
            client.finish_within(FACTS_WITHIN_S)
            told = client.call("GetFacts", config=text)["servers"]
        return tuple(
            msgspec.structs.replace(
                one,
                facts=msgspec.structs.replace(
                    one.facts,
                    files={
                        path: fault for path, fault in one.facts.files.items() if not brings(path)
                    },
                ),
            )
            if one.facts is not None
            else one
            for one in msgspec.convert(told, tuple[ServerFacts, ...])
        )
    except ClpError as fault:
        why = fault.message
    except (KeyError, msgspec.ValidationError):
        why = "the agent here is of another version"
    return tuple(ServerFacts(name=name, unreachable=why) for name in settings.names)


def _accounts(settings: Settings) -> dict[str, AccountFault]:
    """What our accounts lack at the BMCs whose password this server has."""
    import asyncio

    from clptools.hardware.accounts import account_faults
    from clptools.paths import bmc_password_file

    servers = tuple(
        server.name
        for server in settings.servers
        if server.bmc is not None and os.access(bmc_password_file(server.name), os.R_OK)
    )
    return asyncio.run(account_faults(settings, servers)) if servers else {}


def _alerts(loaded: Loaded, settings: Settings, bmc: dict[str, AccountFault]) -> tuple[Report, ...]:
    """Whether each server's BMC would send its traps to the keyword address.

    `bmc`: what was found about accounts; what keeps us out is reported only once.
    """
    import asyncio

    from clptools.cli.bmc_alerts import look, servers_of
    from clptools.config.check import Places
    from clptools.paths import bmc_password_file

    try:
        servers = servers_of(settings, ())
    except ClpError:
        return ()
    # Without its password a BMC cannot be asked; another warning says that it is missing.
    servers = tuple(name for name in servers if os.access(bmc_password_file(name), os.R_OK))
    places, found = Places(loaded), []
    for way in asyncio.run(look(settings, servers, server_name())) if servers else ():
        name, table = f"{way.server}.bmc", f"server:{way.server}.bmc"
        head = f"whether it sends its {way.tells}s to {way.address}"
        if way.fault and way.server in bmc:
            continue
        if way.fault:
            hint = f"Ask again: clpbmccnf --alerts --check {way.server}"
            found.append(
                places.warn(name, f"{head} cannot be told: {way.fault}", hint, table=table)
            )
        elif way.clear:
            found.append(places.note(name, way.arrival, "", table=table))
        else:
            what = "; ".join(finding.text for finding in way.findings)
            hints = [finding.hint for finding in way.findings if finding.hint]
            if any(finding.changes for finding in way.findings):
                hints.insert(0, f"clpbmccnf --alerts {way.server} sets what can be set.")
            text = f"not every event of it reaches {way.address}: {what}"
            if way.tells == "trap":
                text = f"a trap of it does not reach {way.address}: {what}"
            found.append(places.warn(name, text, " ".join(hints), table=table))
    return tuple(found)
