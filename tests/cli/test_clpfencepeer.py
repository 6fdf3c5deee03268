"""`clpfencepeer` as DRBD's handlers run it; with real agents: `tests/real/test_mirror.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from clptools.core.model.requests import Outcome, OutdateCopy
from clptools.core.model.words import CopyFate
from tests.api.fake import Agent
from tests.cli.conftest import Clp


def test_drbd_is_told_nothing_by_a_fault(clp: Clp, node: Path) -> None:
    """Each of our usual exit codes from 3 to 7 would be an answer to it."""
    for words in (("-r", "exec1", "--peer", "server2", "-w", "0"), ("-r", "exec1"), ()):
        ran = clp("clpfencepeer", *words)
        assert (ran.code, ran.out) == (1, "") and ran.err
    assert clp("clpfencepeer", "--clear", "-r", "exec1").code == 1
    assert clp("clpfencepeer", "-r", "exec1", "-f").code == 2


def test_drbd_names_its_resource_and_its_peer(
    clp: Clp, agent: Agent, monkeypatch: pytest.MonkeyPatch, node: Path
) -> None:
    def asked() -> object:
        return agent.backend.asked[-1][0]

    servers = (
        '[[server]]\nname = "server1"\n[[server]]\nname = "server2"\n[[server]]\nname = "s3"\n'
    )
    resource = 'type = "ocf"\nname = "m1"\nagent = "ocf:linbit:drbd"\n'
    (node / "etc/clptools").mkdir(parents=True, exist_ok=True)
    (node / "etc/clptools/clp.toml").write_text(
        f'{servers}[[group]]\nname = "g1"\n[[group.resource]]\n{resource}'
        'parameters = { drbd_resource = "r0" }\n'
    )
    (node / "drbdadm").write_text("#!/bin/sh\necho UpToDate/DUnknown; echo UpToDate/DUnknown\n")
    (node / "drbdadm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{node}:/bin:/usr/bin")
    monkeypatch.setenv("DRBD_RESOURCE", "r0")
    assert "Which server lost m1?" in clp("clpfencepeer").err
    monkeypatch.setenv("DRBD_PEERS", "s3")
    agent.backend.outcome = Outcome(fate=CopyFate.OFF, did="m1: s3: it is out (power off).")
    ran = clp("clpfencepeer")
    assert (ran.code, ran.out) == (7, "m1: s3: it is out (power off).\n")
    assert asked() == OutdateCopy(resource="m1", peer="s3", current=True)
    (node / "drbdadm").write_text("#!/bin/sh\necho UpToDate/DUnknown; echo Consistent/DUnknown\n")
    clp("clpfencepeer")
    assert asked() == OutdateCopy(resource="m1", peer="s3")
    monkeypatch.setenv("DRBD_RESOURCE", "r1")
    assert clp("clpfencepeer").code == 1
