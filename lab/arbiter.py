"""Arbiters outside of the cluster, run by the laboratory where the client is.

A case that needs one puts its configuration in force by itself: the arbiter must be there first.
"""

from __future__ import annotations

import base64
import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from lab import network
from lab.case import Lab
from lab.collector import ADDRESS
from lab.places import Trouble

WITNESS, ETCD = 29003, 2379

WITNESS_NP = f"""
[[np]]
type = "witness"
url = "http://{ADDRESS}:{WITNESS}"
"""
ETCD_NP = f"""
[[np]]
type = "etcd"
endpoints = ["http://{ADDRESS}:{ETCD}"]
"""


@contextlib.contextmanager
def witness(lab: Lab) -> Iterator[None]:
    """`clpwitnessd` with this cluster's key."""
    first = lab.servers[0]
    key = first.folder.parent / "authkey"
    key.unlink(missing_ok=True)
    key.write_bytes(base64.b64decode(first.sh("base64 -w0 /etc/clptools/authkey")))
    key.chmod(0o400)
    words = [sys.executable, "-m", "clptools.arbiters.witness_server"]
    words += ["--listen", f"{ADDRESS}:{WITNESS}", "--authkey", str(key)]
    with _running(words, first.folder.parent / "witness.log"):
        yield


@contextlib.contextmanager
def etcd(lab: Lab) -> Iterator[None]:
    """One member of etcd; Debian's package `etcd-server`.  Raises Trouble."""
    if shutil.which("etcd") is None:
        raise Trouble("not installed: etcd (apt-get install etcd-server)")
    folder = lab.servers[0].folder.parent
    shutil.rmtree(folder / "etcd", ignore_errors=True)
    url, peer = f"http://{ADDRESS}:{ETCD}", "http://127.0.0.1:2380"
    words = ["etcd", "--data-dir", str(folder / "etcd")]
    words += ["--listen-client-urls", url, "--advertise-client-urls", url]
    words += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
    words += ["--initial-cluster", f"default={peer}"]
    with _running(words, folder / "etcd.log"):
        yield


@contextlib.contextmanager
def configured(lab: Lab, text: str) -> Iterator[None]:
    """Another configuration as long as the block runs."""
    before = lab.cluster.configuration
    lab.cluster.push(text)
    yield
    lab.cluster.push(before)


def healed(lab: Lab) -> None:
    """Every cable is plugged in, every server on, and the cluster normal."""
    network.heal(len(lab.servers))
    lab.cluster.normal()
    lab.note("the cables are in, the cluster is normal")


@contextlib.contextmanager
def _running(words: list[str], log: Path) -> Iterator[None]:
    with open(log, "ab") as file:
        program = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        yield
    finally:
        program.kill()
        program.wait()
