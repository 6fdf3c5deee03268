"""What the agent's service gives the core, and keeps from it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from clptools.agent.service import Core, Service, without_secrets
from clptools.core.model.change import Refusal
from clptools.core.model.group_state import GroupRun
from clptools.core.model.settings import Group, Monitor, Option, Resource, Server, Settings
from clptools.core.node import Node


def test_the_core_and_so_the_journal_gets_no_secrets() -> None:
    options = {
        "agent": "ocf:heartbeat:mysql",
        "parameters": {"datadir": "/data", "test_passwd": "sesame1"},
        "parameters_on": {"server1/test_passwd": "sesame2", "server2/datadir": "/other"},
        "parameters_from": {"replication_passwd": "/etc/clptools/passwd"},
        "depth": 10,
    }
    settings = Settings(
        groups=(
            Group(
                name="failover1",
                servers=("server1", "server2"),
                resources=(
                    Resource(name="sql", type="ocf", options=options),
                    Resource(name="exec1", type="exec", options={"start": "start.sh"}),
                ),
            ),
        ),
        monitors=(
            Monitor(name="mrw1", type="mrw", servers=("server1",), communities=("sesame3",)),
        ),
    )
    given = without_secrets(settings)
    assert b"sesame" in msgspec.json.encode(settings)
    assert b"sesame" not in msgspec.json.encode(given)
    sql, script = given.groups[0].resources
    assert sql.options == options | {
        "parameters": {"datadir": "/data", "test_passwd": "(not shown)"},
        "parameters_on": {"server1/test_passwd": "(not shown)", "server2/datadir": "/other"},
    }
    assert script == settings.groups[0].resources[1]
    # What is no secret still keeps a configuration from changing under a running group.
    assert without_secrets(given) == given


def _with(parameters: dict[str, str], **options: Option) -> Settings:
    options |= {"agent": "ocf:heartbeat:mysql", "parameters": parameters}
    sql = Resource(name="sql", type="ocf", options=options)
    return Settings(
        servers=(Server(name="server1"),),
        groups=(Group(name="failover1", servers=("server1",), resources=(sql,)),),
    )


@pytest.mark.parametrize(
    "changed",
    [{}, {"test_passwd": "sesame2"}, {"datadir": "/other"}],
    ids=["nothing", "a secret", "another parameter"],
)
def test_only_what_changes_a_running_resource_is_refused_and_secrets_are_compared_too(
    changed: dict[str, str],
) -> None:
    """The core knows `(not shown)` alone, which is not what a push has."""
    before = {"datadir": "/data", "test_passwd": "sesame1"}
    nothing: Any = None
    service = Service("server1", *[nothing] * 8)
    node = Node(without_secrets(_with(before)), "server1", "incarnation", 1)
    service.core = Core(node, nothing, nothing, _with(before))
    assert service.refuses(_with(before | changed)) is None
    node.state.lifecycle.runs["failover1"] = GroupRun(held=True)
    expected = (
        Refusal(
            "failover1 runs, and its resources would change",
            "Stop it first (clpgrp -t failover1), or leave its resources as they are.",
        )
        if changed
        else None
    )
    assert service.refuses(_with(before | changed)) == expected
    # Neither its start nor its stop depends on how it is monitored.
    monitored = _with(before | changed, monitor_interval_ms=5_000, depth=10)
    assert service.refuses(monitored) == expected
