"""`docs/storage.md` as it is written: its commands build a group, which moves with its data."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.real.cluster import Cluster, Node, until
from tests.real.loop_device import AGENTS, loop_device
from tests.real.test_ocf import inside

pytestmark = [pytest.mark.root, pytest.mark.slow]

PAGE = Path(__file__).parents[2] / "docs/storage.md"
PG_CTL = "/usr/lib/postgresql/15/bin/pg_ctl"
VOLUME = "/dev/vg_db/lv_db"
FOLDER = "/srv/db"
PATIENCE_S = 120.0


def commands(title: str, device: str, folder: Path) -> list[str]:
    """The command lines of a section, with a device and a folder of this test."""
    found = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## )", PAGE.read_text(), re.M | re.S)
    assert found, title
    blocks = re.findall(r"```console\n(.*?)```", found[1], re.S)
    lines = [line.removeprefix("# ") for block in blocks for line in block.splitlines()]
    return [line.replace(VOLUME, device).replace(FOLDER, str(folder)) for line in lines]


@pytest.fixture
def device(tmp_path: Path) -> Iterator[str]:
    with loop_device(tmp_path, 192, PG_CTL, str(AGENTS / "pgsql")) as device:
        yield device


def where(cluster: Cluster, group: str) -> str:
    """The server on which the group is online."""
    found = {one["name"]: one for one in cluster[1].status().get("groups", ())}.get(group, {})
    return str(found.get("current", "")) if found.get("status") == "Online" else ""


def ask(node: Node, sql: str) -> str:
    """What the database at the floating address answers; empty where it does not."""
    return node.run(f'psql -h 192.168.0.77 -U postgres -Atc "{sql}" postgres').stdout.strip()


@pytest.fixture
def place() -> Iterator[Path]:
    """Where it is mounted; the database's own user has to get there."""
    folder = Path(tempfile.mkdtemp(prefix="clpdb"))
    folder.chmod(0o755)
    yield folder
    subprocess.run(["umount", "-q", folder], check=False)
    folder.rmdir()


def test_the_pages_group_moves_with_its_database_and_restarts_it(device: str, place: Path) -> None:
    with Cluster() as cluster:
        folder = place
        for line in commands("The database, once", device, folder):
            subprocess.run(["sh", "-ec", line], check=True, capture_output=True)
            if "initdb" in line:
                settings = folder / "data/postgresql.conf"
                settings.write_text(settings.read_text() + "listen_addresses = '*'\n")
                access = folder / "data/pg_hba.conf"
                access.write_text(access.read_text() + "host all all 192.168.0.0/24 trust\n")
        cluster.configure()
        cluster.start()
        cluster.online(timeout_s=PATIENCE_S)
        first, second = cluster[1], cluster[2]
        new = cluster.folder / "new"
        new.mkdir()
        first.ok(f"cd {new} && clpcfctrl --pull -x .", timeout_s=PATIENCE_S)
        lines = [one for one in commands("The group", device, folder) if "LVM-activate" not in one]
        for line in lines:
            names = line.replace("server1", first.name).replace("server2", second.name)
            first.ok(f"cd {new} && {names}", timeout_s=PATIENCE_S)
        until("it is online", lambda: where(cluster, "db"), PATIENCE_S)
        here = next(node for node in cluster if node.name == where(cluster, "db"))
        there = next(node for node in cluster if node is not here)
        until("it answers", lambda: ask(there, "select 1") == "1")
        ask(there, "create table t (n int)")
        assert ask(there, "insert into t values (1) returning n").startswith("1")

        here.ok(f"clpgrp -m db -a {there.name}", timeout_s=PATIENCE_S)
        until("it moved", lambda: where(cluster, "db") == there.name, PATIENCE_S)
        assert ask(here, "select n from t") == "1"

        began = ask(here, "select pg_postmaster_start_time()")
        inside(there, f"kill -9 $(head -1 {folder}/data/postmaster.pid)")
        until(
            "its monitor found it, and it runs again",
            lambda: ask(here, "select pg_postmaster_start_time()") not in ("", began),
            PATIENCE_S,
        )
        until("it is online there", lambda: where(cluster, "db") == there.name, PATIENCE_S)
        assert ask(here, "select n from t") == "1"
        assert "restarts pg1 because of pg1w" in there.ok("clpstat --explain pg1w")
        cluster.assert_never_two()
