"""`docs/storage.md` as it is written: its commands build a group, which moves with its data."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import database
from lab.writer import Writer
from tests.real.cluster import Cluster, Node, until
from tests.real.loop_device import AGENTS, loop_device
from tests.real.test_ocf import inside

pytestmark = [pytest.mark.root, pytest.mark.slow]

PG_CTL = "/usr/lib/postgresql/15/bin/pg_ctl"
VOLUME = "/dev/vg_db/lv_db"
PATIENCE_S = 120.0


def commands(title: str, device: str, folder: Path) -> list[str]:
    """The command lines of a section, with a device and a folder of this test."""
    lines = database.commands(title)
    return [line.replace(VOLUME, device).replace(database.FOLDER, str(folder)) for line in lines]


@pytest.fixture
def device(tmp_path: Path) -> Iterator[str]:
    with loop_device(tmp_path, 192, PG_CTL, str(AGENTS / "pgsql")) as device:
        yield device


def where(cluster: Cluster, group: str) -> str:
    """The server on which the group is online."""
    found = {one["name"]: one for one in cluster[1].status().get("groups", ())}.get(group, {})
    return str(found.get("current", "")) if found.get("status") == "Online" else ""


@pytest.fixture
def place() -> Iterator[Path]:
    """Where it is mounted; the database's own user has to get there."""
    folder = Path(tempfile.mkdtemp(prefix="clpdb"))
    folder.chmod(0o755)
    yield folder
    subprocess.run(["umount", "-q", folder], check=False)
    folder.rmdir()


def test_the_pages_group_moves_with_its_database_and_loses_no_row(device: str, place: Path) -> None:
    """On command, as its monitor fails, and as the BMC says that its server fails."""
    with Cluster() as cluster:
        folder = place
        once = commands("The database, once", device, folder)
        for line in (one for one in once if not one.startswith("vgchange")):
            subprocess.run(["sh", "-ec", line], check=True, capture_output=True)
        cluster.configure()
        cluster.start()
        cluster.online(timeout_s=PATIENCE_S)
        first, second = cluster[1], cluster[2]
        new = cluster.folder / "new"
        new.mkdir()
        first.ok(f"cd {new} && clpcfctrl --pull -x .", timeout_s=PATIENCE_S)
        lines = [one for one in commands("The group", device, folder) if "LVM-activate" not in one]
        # What the hardware says of its server is to move this group.
        lines.insert(0, "clpcfset set monitor.mrw1.recovery.target='All Groups'")
        for line in lines:
            names = line.replace("server1", first.name).replace("server2", second.name)
            first.ok(f"cd {new} && {names}", timeout_s=PATIENCE_S)
        until("it is online", lambda: where(cluster, "db"), PATIENCE_S)
        here = next(node for node in cluster if node.name == where(cluster, "db"))
        there = cluster.other(here)
        # The clients are where the switches are.
        wires = ("ip", "netns", "exec", cluster.wires)
        exports, create, loop, check = database.commands("Try it before you trust it", "$")
        writer = Writer(database.ADDRESS, wires)
        until("it has a table", writer.prepare)
        _shell(new, wires, f"{exports}; {create}").wait()
        page_client = _shell(new, wires, f"{exports}; {loop}")
        writer.start()
        try:
            until("it writes", lambda: writer.sure)
            here.ok(f"clpgrp -m db -a {there.name}", timeout_s=PATIENCE_S)
            _writes_at(cluster, writer, there)
            here, there = there, here

            began = writer.ask("select pg_postmaster_start_time()")
            inside(here, f"kill -9 $(head -1 {folder}/data/postmaster.pid)")
            until(
                "its monitor found it, and it runs again",
                lambda: writer.ask("select pg_postmaster_start_time()") not in ("", began),
                PATIENCE_S,
            )
            _writes_at(cluster, writer, here)
            assert "restarts pg1 because of pg1w" in here.ok("clpstat --explain pg1w")

            for line in database.commands("Try it before you trust it"):
                here.ok(f"cd {new} && {line}", timeout_s=PATIENCE_S)
            inside(here, f"kill -9 $(head -1 {folder}/data/postmaster.pid)")
            _writes_at(cluster, writer, there)
            here, there = there, here

            cluster.trap(here)
            _writes_at(cluster, writer, there)
        finally:
            writer.end()
            os.killpg(page_client.pid, signal.SIGKILL)
        assert len(writer.sure) > 10 and not writer.lost()
        assert len((new / "sure").read_text().split()) > 10
        told = _shell(new, wires, f"{exports}; {check}").communicate()[0]
        assert told == b"" and (new / "there").stat().st_size > 10
        cluster.assert_never_two()


def _shell(place: Path, prefix: tuple[str, ...], line: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*prefix, "bash", "-c", line], cwd=place, stdout=subprocess.PIPE, start_new_session=True
    )


def _writes_at(cluster: Cluster, writer: Writer, node: Node) -> None:
    """The group is online there, and takes new rows."""
    until(f"it is online on {node.name}", lambda: where(cluster, "db") == node.name, PATIENCE_S)
    online = time.monotonic()
    until("its client writes on", lambda: writer.since(online), PATIENCE_S)
    assert not writer.lost()
