"""What the agent's service gives the core, and keeps from it."""

from __future__ import annotations

import msgspec

from clptools.agent.service import without_secrets
from clptools.core.model.settings import Group, Monitor, Resource, Settings


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
