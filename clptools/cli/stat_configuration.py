"""`clpstat -i`, `--cl` and the rest: the configuration, also where no agent runs.

And the status there: what is configured, all of it Offline.
"""

from __future__ import annotations

import os
from typing import cast

import msgspec

from clptools.api.client import Client, SocketMissing
from clptools.cli.command import Answer, Args
from clptools.cli.render import configuration as page
from clptools.config.history import content, in_force, text_in_force
from clptools.config.load import Loaded, load, loads
from clptools.core.model import view
from clptools.core.model.settings import Settings
from clptools.faults import ClpError, ExitCode, no_such
from clptools.paths import config_file, server_name
from clptools.registries import registries


def loaded_in_force() -> tuple[Loaded, int]:
    """What the agent runs with, and its revision; without an agent, what one would start with."""
    found = _of_agent()
    if found is None:
        return _local()
    text, revision = found
    return loads(text, registries(), "clp.toml"), revision


def configuration_in_force() -> str:
    """The same as the text of `clp.toml`.  Raises ClpError or OSError where it cannot be read."""
    found = _of_agent()
    return found[0] if found is not None else text_in_force()[0]


def _of_agent() -> tuple[str, int] | None:
    """The text and its revision; None: what an agent would start with is to be read here.

    Members of the group `clptools` get the file as well: the agent gives the configuration, with
    its scripts, only to those who may change it, but the group may read the file.
    """
    try:
        with Client() as client:
            reply = client.call("GetConfig")
    except SocketMissing:
        raise  # what it runs with may not be what the file says
    except ClpError as error:
        readable = os.access(config_file(), os.R_OK)
        if error.code is not ExitCode.NO_AGENT and not (
            error.code is ExitCode.NOT_PERMITTED and readable
        ):
            raise
        return None
    text = cast("dict[str, str]", reply["files"]).get("clp.toml", "")
    return text, cast("int", reply["revision"])


def local_settings() -> Settings:
    """What an agent of this server would start with; of revision 0 where nothing was pushed."""
    return settings_of(*_local())


def _local() -> tuple[Loaded, int]:
    number = in_force()
    if not number:
        return load(config_file(), registries()), 0
    return loads(content(number), registries(), config_file()), number


def settings_of(loaded: Loaded, revision: int) -> Settings:
    """The settings.  Raises `ClpError` (INVALID_CONFIG) with all that is wrong with them."""
    if loaded.settings is not None:
        return msgspec.structs.replace(loaded.settings, revision=revision)
    raise ClpError(
        ExitCode.INVALID_CONFIG,
        "\n".join(str(report) for report in loaded.errors),
        "Check it: clpcfchk",
    )


def configuration(args: Args, asked: str) -> Answer:
    """`-i`, `--cl` and the rest."""
    loaded, revision = loaded_in_force()
    settings, alert = settings_of(loaded, revision), loaded.alert
    kinds = page.WHOLE if asked == "i" else (page.Kind(asked),)
    name = args.word()
    if name and name not in page.names_of(settings, kinds[0]):
        raise no_such(page.WORDS[kinds[0]], name, list(page.names_of(settings, kinds[0])))
    if args.given("json"):
        return Answer(fields=page.configuration_fields(settings, alert, kinds, name))
    detail = args.given("detail")
    return Answer(page.configuration(settings, alert, kinds, name, detail=detail)[:-1])


# ---------------------------------------------------------------------- the status without an agent


OFFLINE = "Offline"


def offline() -> view.StatusView:
    """The view in which all that is configured is Offline.  Raises `ClpError`."""
    settings, server = local_settings(), server_name()
    return view.StatusView(
        cluster=view.ClusterView(
            name=settings.cluster.name, status="Stopped", revision=settings.revision
        ),
        servers=tuple(
            view.ServerView(
                name=name,
                status=OFFLINE,
                local=name == server,
                heartbeats=tuple(
                    view.HeartbeatView(
                        name=path.name,
                        type=path.type,
                        status=OFFLINE,
                        peers={
                            peer: view.PeerView(status=OFFLINE)
                            for peer in settings.names
                            if peer != name
                        },
                    )
                    for path in settings.interconnects
                ),
                np=tuple(
                    view.ArbiterView(name=arbiter.name, type=arbiter.type, status=OFFLINE)
                    for arbiter in settings.arbiters
                ),
            )
            for name in settings.names
        ),
        groups=tuple(
            view.GroupView(
                name=group.name,
                status=OFFLINE,
                current=None,
                comment=group.comment,
                resources=tuple(
                    view.ResourceView(
                        name=found.name, type=found.type, status=OFFLINE, comment=found.comment
                    )
                    for found in group.resources
                ),
            )
            for group in settings.groups
        ),
        monitors=tuple(
            view.MonitorView(
                name=monitor.name,
                type=monitor.type,
                status=OFFLINE,
                comment=monitor.comment,
                servers={
                    name: view.MonitorOnServerView(status=OFFLINE) for name in monitor.servers
                },
            )
            for monitor in settings.monitors
        ),
    )
