"""The agent comes before ordinary work, and what it starts does not."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, subprocess, sys
from clptools.agent.process import come_first
come_first()
child = "import os; print(os.getpriority(os.PRIO_PROCESS, 0))"
print(os.getpriority(os.PRIO_PROCESS, 0), flush=True)
subprocess.run([sys.executable, "-c", child], check=True)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may raise priorities")
def test_children_have_the_ordinary_priority() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True)
    own, child = (int(line) for line in done.stdout.split())
    if own != -10:
        pytest.skip("this machine does not let root raise priorities")
    assert child == 0
