"""Migration before failover with real agents and scripts: what was saved goes on elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.cluster import Cluster, Node, until

pytestmark = [pytest.mark.root, pytest.mark.slow]

RESOURCE = """
[[group.resource]]
type = "exec"
name = "exec1"
timeout = 60
migrate = "migrate.sh"
"""
MONITOR = """
[[monitor]]
type = "mrw"
name = "site1"
category = "SITE"
[monitor.recovery]
action = "failover"
target = "failover1"
failover_count = 5
migrate_before_failover = true
"""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as made:
        made.configure(made.toml(resources=RESOURCE, more=MONITOR))
        saved = made.folder / "saved"
        for node in made:
            node.script(
                "failover1/exec1/start.sh",
                f'#!/bin/sh\necho "begin {node.name} failover1 $CLP_EVENT '
                f'$(cat {saved} 2>/dev/null)" >> {made.diary}\nrm -f {saved}\n',
            )
        migrate(made, f'echo "count=42 $CLP_FACTOR $CLP_EVENT" > {saved}')
        made.start()
        yield made
        made.assert_never_two()


def migrate(cluster: Cluster, what: str) -> None:
    for node in cluster:
        node.script("failover1/exec1/migrate.sh", f"#!/bin/sh\n{what}\n")


def began(cluster: Cluster) -> str:
    """The diary's line of the newest start."""
    return [line for line in cluster.diary.read_text().splitlines() if "begin" in line][-1]


def moves_to(cluster: Cluster, other: Node) -> None:
    until(f"failover1 is on {other.name}", lambda: cluster.online() is other)


def test_what_was_saved_goes_on_elsewhere_and_the_story_says_so(cluster: Cluster) -> None:
    first = cluster.online()
    other = next(node for node in cluster if node is not first)
    first.ok("clpmsg SITE 'the room gets hot'")
    moves_to(cluster, other)
    assert began(cluster) == f"begin {other.name} failover1 FAILOVER count=42 GROUPFAILOVER START"
    story = first.ok("clpstat --explain failover1")
    assert f"{first.name} migrates exec1 first" in story
    assert "exec1 was migrated" in story


def test_a_migration_that_fails_holds_no_failover_up(cluster: Cluster) -> None:
    migrate(cluster, "echo no room on the shared disk; exit 3")
    first = cluster.online()
    other = next(node for node in cluster if node is not first)
    first.ok("clpmsg SITE 'the room gets hot'")
    moves_to(cluster, other)
    assert began(cluster) == f"begin {other.name} failover1 FAILOVER "
    until("the alert log says why", lambda: "no room on the shared disk" in first.alerts())


def test_an_agent_that_is_killed_in_the_middle_goes_on_with_the_stop(cluster: Cluster) -> None:
    pid_file = cluster.folder / "migrate.pid"
    migrate(cluster, f"echo $$ > {pid_file}; exec sleep 1000")
    first = cluster.online()
    other = next(node for node in cluster if node is not first)
    first.ok("clpmsg SITE 'the room gets hot'")

    def words() -> tuple[str, str]:
        group = first.status()["groups"][0]
        return group["status"], group["resources"][0]["status"]

    until("exec1 migrates", lambda: words() == ("Offline Pending", "Offline Pending"))
    first.kill()
    first.start()
    moves_to(cluster, other)
    assert ended(int(pid_file.read_text())), "its script was ended before"


def ended(pid: int) -> bool:
    """Whether a process is gone, or waits for its parent only."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True
