"""Real agents with resource agents of Debian: a disk, an address and a service on two servers."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.cluster import Cluster, Node, until
from tests.real.loop_device import loop_device

pytestmark = [pytest.mark.root, pytest.mark.slow]

RESOURCES = """
[[group.resource]]
type = "exec"
name = "exec1"
timeout = 60

[[group.resource]]
type = "ocf"
name = "service1"
agent = "ocf:heartbeat:Dummy"
monitor_interval = 1

[[group.resource]]
type = "ocf"
name = "address1"
agent = "ocf:heartbeat:IPaddr2"
parameters = {{ ip = "192.168.0.77", cidr_netmask = 24, nic = "eth1" }}
timeout = 60
monitor_interval = 5

[[group.resource]]
type = "ocf"
name = "disk1"
agent = "ocf:heartbeat:Filesystem"
parameters = {{ device = "{device}", directory = "{directory}", fstype = "ext4" }}
timeout = 60
monitor_interval = 5
depth = 20
"""


WEB = """
[[group.resource]]
type = "ocf"
name = "address1"
agent = "ocf:heartbeat:IPaddr2"
parameters = {{ ip = "192.168.0.77", cidr_netmask = 24, nic = "eth1" }}

[[group.resource]]
type = "ocf"
name = "web1"
agent = "ocf:heartbeat:nginx"
parameters = {{ configfile = "{configfile}" }}
timeout = 60
monitor_interval = 1
"""
NGINX = """
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{}}
http {{
    access_log off;
    server {{ listen 192.168.0.77:80; location / {{ return 200 "$server_addr\\n"; }} }}
}}
"""


def _directory(node: Node) -> Path:
    return node.cluster.folder / "mnt"


@pytest.fixture
def device(tmp_path: Path) -> Iterator[str]:
    with loop_device(tmp_path, 16) as device:
        yield device


@pytest.fixture
def cluster(device: str) -> Iterator[Cluster]:
    with Cluster() as made:
        resources = RESOURCES.format(device=device, directory=made.folder / "mnt")
        made.configure(made.toml(resources=resources))
        made.start()
        yield made
        made.assert_never_two()


def inside(node: Node, command: str) -> str:
    """A shell command that sees the mounts of the node's agent."""
    pid = subprocess.run(
        ["pgrep", "-f", f"{node.cluster.bin}/clpnode"], capture_output=True, text=True
    ).stdout.split()
    mine = next(p for p in pid if f"CLP_SERVER={node.name}".encode() in _environment(p))
    done = subprocess.run(
        ["nsenter", "-t", mine, "-m", "-n", "sh", "-c", command], capture_output=True, text=True
    )
    return done.stdout.strip()


def _environment(pid: str) -> list[bytes]:
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


def has_all(node: Node) -> bool:
    """Whether the disk, the address and the service are there."""
    mounted = inside(node, f"grep -c ' {_directory(node)} ' /proc/self/mounts")
    state = node.root / "run/resource-agents/Dummy-service1.state"
    return mounted == "1" and "192.168.0.77/24" in node.addresses() and state.exists()


def has_none(node: Node) -> bool:
    mounted = inside(node, f"grep -c ' {_directory(node)} ' /proc/self/mounts")
    state = node.root / "run/resource-agents/Dummy-service1.state"
    return mounted == "0" and "192.168.0.77" not in node.addresses() and not state.exists()


def other_of(node: Node) -> Node:
    return next(one for one in node.cluster if one is not node)


def test_storage_address_and_service_move_with_their_data(cluster: Cluster) -> None:
    first = cluster.online(timeout_s=60)
    second = other_of(first)
    assert has_all(first) and has_none(second)
    inside(first, f"echo one >>{_directory(first)}/data")
    first.ok(f"clpgrp -m failover1 -a {second.name}", timeout_s=120)
    until("it is there", lambda: cluster.online() is second)
    assert has_all(second) and has_none(first)
    assert inside(second, f"cat {_directory(second)}/data") == "one"
    # A fault of the hardware moves it back.
    inside(second, f"echo two >>{_directory(second)}/data")
    cluster.trap(second)
    until("it is back", lambda: cluster.online(timeout_s=60) is first)
    assert has_all(first) and has_none(second)
    assert inside(first, f"cat {_directory(first)}/data") == "one\ntwo"
    shown = first.ok("clpstat --rsc")
    assert "ocf:heartbeat:Filesystem" in shown and "ip = 192.168.0.77" in shown


def test_what_runs_beside_the_cluster_is_told_and_keeps_the_data_where_it_is(
    cluster: Cluster, device: str
) -> None:
    first = cluster.online(timeout_s=60)
    second = other_of(first)
    by_hand = cluster.folder / "by hand"
    inside(second, f"mkdir -p '{by_hand}' && mount {device} '{by_hand}'")
    (second.root / "run/resource-agents/Dummy-service1.state").touch()
    config = (first.config / "clp.toml").read_text()
    first.write_config(config.replace("monitor_interval = 1\n", "monitor_interval = 2\n"))
    first.ok("clpcfctrl --push", timeout_s=120)
    runs = (
        f"CRITICAL, its data is at risk, as {first.name} runs it, too: {{}} runs on {second.name}"
    )
    mounted = f"{runs.format('disk1')}, which does not hold failover1 (its device is mounted on "
    until("the service is told", lambda: runs.format("service1") in second.alerts())
    until("the disk is told", lambda: f"{mounted}{by_hand})" in second.alerts())
    assert runs.format("address1") not in second.alerts()

    # It is the same data: where the group stops, the device is nowhere mounted any more.
    first.ok(f"clpgrp -m failover1 -a {second.name}", timeout_s=120)
    assert cluster.online(timeout_s=60) is second and has_all(second)
    assert inside(second, f"grep -c '{device} ' /proc/self/mounts") == "2"
    second.ok(f"clpgrp -m failover1 -a {first.name}", timeout_s=120)
    assert cluster.online(timeout_s=60) is first
    assert inside(second, f"grep -c '{device} ' /proc/self/mounts") == "0"


def test_a_service_that_is_gone_is_started_again_in_place(cluster: Cluster) -> None:
    node = cluster.online(timeout_s=60)
    state = node.root / "run/resource-agents/Dummy-service1.state"
    state.unlink()
    until("its monitor found it, and it runs again", lambda: state.exists())
    assert cluster.online(timeout_s=60) is node and has_all(node)
    assert "restarts service1 because of service1w" in node.ok("clpstat --explain service1w")
    assert "failover1/service1: monitor: " in node.log()
    # Only what depends on it was stopped with it.
    words = [line.split()[0] for line in cluster.diary.read_text().splitlines()]
    assert words[-3:] == ["begin", "end", "begin"]


def test_a_disk_that_cannot_be_mounted_is_tried_elsewhere_and_the_story_quotes_why(
    cluster: Cluster, device: str
) -> None:
    first = cluster.online(timeout_s=60)
    second = other_of(first)
    # Of the two servers one finds no block device there.
    inside(second, f"mount --bind /dev/null {device}")
    first.run(f"clpgrp -m failover1 -a {second.name}", timeout_s=120)
    until("it came back", lambda: cluster.online(timeout_s=60) is first)
    until(
        "it is told why",
        lambda: "ocf:heartbeat:Filesystem: start ended with" in second.alerts(),
    )


def test_nginx_moves_with_its_address_and_is_restarted_where_its_monitor_misses_it() -> None:
    missing = [program for program in ("nginx", "curl") if shutil.which(program) is None]
    if missing:
        pytest.skip(f"NOT TESTED: not installed: {', '.join(missing)}")
    with Cluster() as cluster:
        config = cluster.folder / "nginx.conf"
        config.write_text(NGINX.format(folder=cluster.folder))
        cluster.configure(cluster.toml(resources=WEB.format(configfile=config)))
        cluster.start()
        first = cluster.online(timeout_s=60)
        second = other_of(first)

        def page() -> str:
            return cluster.wires_run("curl", "-s", "-m2", "http://192.168.0.77").stdout.strip()

        until("it answers", lambda: page() == "192.168.0.77")
        first.ok(f"clpgrp -m failover1 -a {second.name}", timeout_s=60)
        assert cluster.online() is second
        until("it answers there", lambda: page() == "192.168.0.77")
        assert "192.168.0.77" not in first.addresses()
        inside(second, f"kill -9 -$(cat {cluster.folder}/nginx.pid)")
        until("nobody answers", lambda: not page())
        until("its monitor found it, and it answers again", page)
        assert "restarts web1 because of web1w" in second.ok("clpstat --explain web1w")
        cluster.trap(second)
        until("it is back", lambda: cluster.online(timeout_s=60) is first)
        until("it answers here again", lambda: page() == "192.168.0.77")
