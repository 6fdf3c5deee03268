"""Files of others: exit code 4, and what would allow it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from clptools.cli.pages.man_pages import SAMPLE
from tests.cli.conftest import Ran

OTHER = 65534
# The interpreter may lie where only root can read it: so not another user, but a root who may no
# more than one, with files that belong to somebody else.
POWERLESS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def powerless(line: str) -> Ran:
    """A command of somebody who may not touch the node's files."""
    command = [*POWERLESS, sys.executable, "-m", "clptools.cli.main", *line.split()]
    ran = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60
    )
    return Ran(ran.returncode, ran.stdout, ran.stderr)


@pytest.fixture
def closed(node: Path) -> Path:
    """A node whose files its owner and group alone may read, and we are neither."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("not root, or no setpriv: cannot become somebody who may less")
    config = node / "etc/clptools/clp.toml"
    config.parent.mkdir(parents=True)
    config.write_text(SAMPLE)
    config.chmod(0o640)
    for path in (config, config.parent, config.parent.parent, node):
        os.chown(path, OTHER, OTHER)
        if path.is_dir():
            path.chmod(0o755)
    return node


@pytest.mark.parametrize(
    "line",
    [
        "clpcfchk",
        "clpcfctrl --push",
        "clpstat --sv",
        "clpsim --seed 1",
        "clptrap test --to server1 FATAL",
        "clpbmccnf server1",
    ],
)
def test_a_configuration_that_one_may_not_read_is_not_invalid(closed: Path, line: str) -> None:
    ran = powerless(line)
    assert (ran.code, ran.out) == (4, "")
    assert ran.err == (
        f"{line.split()[0]}: {closed}/etc/clptools/clp.toml: permission denied.\n"
        "Run it as root, or as a member of the group clptools.\n"
    )


@pytest.mark.parametrize(
    "line", ["clpcfctrl --diff", "clpcl -s", "clplogcc -l -o {}", "clpcfset create x -x {}"]
)
def test_what_the_system_does_not_permit_is_4(closed: Path, line: str) -> None:
    ran = powerless(line.format(closed))
    assert ran.code == 4
    assert "denied" in ran.err


def test_decoding_a_trap_needs_no_configuration(closed: Path) -> None:
    assert powerless("clptrap decode --specific 880385").code == 0
