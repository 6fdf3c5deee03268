"""Real agents with a resource agent of two roles that fails as some in the field do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.real.cluster import Cluster, Node, until
from tests.resources.ocf_agents import make_agent

pytestmark = [pytest.mark.root, pytest.mark.slow]

META = """<?xml version="1.0"?>
<resource-agent name="{name}" version="1.0">
<parameters><parameter name="disk"><content type="string" default=""/></parameter></parameters>
<actions><action name="start" timeout="10s"/><action name="stop" timeout="10s"/>
<action name="promote" timeout="10s"/><action name="demote" timeout="10s"/>
<action name="monitor" timeout="10s" interval="10s"/></actions>
</resource-agent>
"""
MIRROR = """here={root}
state=$(cat $here/mirror 2>/dev/null)
if [ "$1" = start ] && [ -e $here/lacks ]; then
    echo "ocf-exit-reason:no module drbd" >&2
    exit 5
fi
case $1 in
start) [ "$state" = promoted ] && exit 8; echo unpromoted >$here/mirror ;;
promote) echo promoted >$here/mirror ;;
demote) [ -z "$state" ] && exit 7; echo unpromoted >$here/mirror ;;
stop) rm -f $here/mirror ;;
monitor) case $state in promoted) exit 8 ;; unpromoted) exit 0 ;; esac; exit 7 ;;
esac
exit 0"""
RESOURCES = """
[[group.resource]]
type = "ocf"
name = "mirror1"
agent = "ocf:test:mirror"
role = "promoted"
timeout = 60
stop_timeout = 60
monitor_interval = 30
"""


def state(node: Node) -> str:
    """The role that the agent has there."""
    file = node.root / "mirror"
    return file.read_text().strip() if file.exists() else ""


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    with Cluster() as made:
        for node in made:
            make_agent(node.root, "mirror", MIRROR.format(root=node.root), META)
        made.configure(made.toml(resources=RESOURCES))
        made.start()
        yield made


def test_a_mirror_is_promoted_on_one_server_and_passes_over_one_that_lacks_it(
    cluster: Cluster,
) -> None:
    first = cluster.online(timeout_s=60)
    second = cluster.other(first)
    assert (state(first), state(second)) == ("promoted", "")

    # How it is monitored may change while it runs.
    config = (first.config / "clp.toml").read_text()
    pushed = config.replace("monitor_interval = 30", "monitor_interval = 1")
    first.write_config(pushed)
    first.ok("clpcfctrl --push", timeout_s=120)
    (first.root / "mirror").write_text("unpromoted\n")
    until("its monitor had it promoted again", lambda: state(first) == "promoted")
    cluster.online(timeout_s=60)
    story = first.ok("clpstat --explain mirror1w")
    assert "ocf:test:mirror: it runs, but is not promoted; its recovery is: restart" in " ".join(
        story.split()
    )

    # One server lacks the software, says its agent: it is tried there once.
    (second.root / "lacks").touch()
    moved = first.run(f"clpgrp -m failover1 -a {second.name}", timeout_s=120)
    assert moved.returncode == 1 and "no module drbd" in moved.stdout + moved.stderr
    assert cluster.online(timeout_s=60) is first and state(first) == "promoted"
    over = f"{second.name} is passed over for failover1 for 10 min"
    until("it is told", lambda: over in " ".join(first.ok("clpstat --explain failover1").split()))

    # Mended, it goes there by hand, and the old place keeps its copy.
    (second.root / "lacks").unlink()
    first.ok(f"clpgrp -m failover1 -a {second.name}", timeout_s=120)
    assert cluster.online(timeout_s=60) is second
    assert (state(first), state(second)) == ("unpromoted", "promoted")
    until("that is over", lambda: over not in " ".join(first.ok("clpstat --explain").split()))

    # An agent that one server lacks is told on every server, before it is needed there.
    (first.root / "usr/lib/ocf/resource.d/test/mirror").unlink()
    # What it told of its machine a moment ago, as it did for the push, it tells again for 5 s.
    lacks = f'"ocf:test:mirror" is not installed on {first.name}'

    def checked() -> str:
        return " ".join(second.run("clpcfchk", timeout_s=120).stdout.split())

    until("the other server tells of it", lambda: lacks in checked())
    first.kill()
    first.start()
    gone = f'mirror1 cannot be started on {first.name}: "ocf:test:mirror" is not installed'
    until("its own agent tells of it at its start", lambda: gone in first.alerts())
