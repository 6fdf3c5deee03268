"""`clpcfchk`: a configuration checked, and what it promises."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from clptools.cli.command import Answer, Args, Argument, Command, Option
from clptools.faults import ExitCode
from clptools.paths import config_file, server_name

if TYPE_CHECKING:
    from clptools.config.load import Loaded
    from clptools.config.safety import Safety
    from clptools.reports import Report

COMMAND = Command(
    "clpcfchk",
    summary="check a configuration, its timing and its safety",
    synopsis=("[FILE] [--strict]",),
    description=(
        (
            "Without FILE it checks this server's configuration. All errors are shown at once, "
            "each with its line and its mend (exit code 8)."
        ),
        (
            "A valid configuration is judged: how long until groups run elsewhere after each "
            "kind of fault, by which proof, and what they could wait for. Warnings also tell "
            "what on this machine would keep it from working, and which of the other servers that "
            "answer now let no ICMP echo through. Scripts are looked for in scripts/ "
            "beside FILE first, as a push of that folder brings them."
        ),
    ),
    options=(Option("--strict", help="Exit code 9 if it is unsafe or there are warnings."),),
    arguments=(Argument("FILE", help="The configuration to check.", complete="file"),),
    examples=(
        (
            "clpcfchk new/clp.toml --strict && clpcfctrl --push -x new",
            "checks the folder new before it is distributed",
        ),
    ),
)


def run(args: Args) -> Answer:
    """Checks."""
    import json

    import msgspec

    from clptools.cli.render.findings import as_json, render_text
    from clptools.config.load import load
    from clptools.registries import registries

    reports, verdict = judge(load(args.word() or config_file(), registries()), ask=True)
    fields = json.loads(msgspec.json.encode(as_json(reports, verdict)))
    text = render_text(reports, verdict)
    if verdict is None:
        return Answer(text, fields, ExitCode.INVALID_CONFIG)
    doubtful = not verdict.safe or any(r.severity == "warning" for r in reports)
    found = args.given("strict") and doubtful
    return Answer(text, fields, ExitCode.FOUND if found else ExitCode.DONE)


def judge(loaded: Loaded, ask: bool = False) -> tuple[tuple[Report, ...], Safety | None]:
    """All that is to be said of a configuration; without a verdict where it has errors.

    With `ask` the other servers are asked over the network as well.
    """
    from clptools.config.check import check
    from clptools.config.facts import gather, unechoed
    from clptools.config.safety import safety
    from clptools.registries import registries

    settings = loaded.settings
    if settings is None:
        return loaded.reports, None
    known = registries()
    # A configuration for other machines says nothing about this one.
    here = server_name() in settings.names
    folder = os.path.dirname(loaded.file) or "."
    silent = unechoed(settings, server_name()) if here and ask else frozenset()
    facts = gather(settings, known, folder=folder, unechoed=silent) if here else None
    return loaded.reports + check(loaded, known, facts), safety(settings)
