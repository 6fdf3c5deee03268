"""A script of `clpcfset` lines, a process each, against the interpreter alone."""

from __future__ import annotations

import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.bench.report import Row, Section

GROUPS = 5
SECONDS = 10.0
RATIO = 3.5


def lines() -> Iterator[str]:
    """82 of them, as the original's pages write them: two servers, five groups."""
    yield "create cluster ASCII"
    for number in range(2):
        yield f"add srv server{number + 1} {number}"
        for link in range(2):
            yield f"add device server{number + 1} lan {link} 10.0.{link}.{number + 1}"
        yield f"add device server{number + 1} ping 0 10.0.0.254"
    yield "add hb lankhb 0 0"
    yield "add hb lankhb 1 1"
    yield "add np pingnp 0 0 0 0 10.0.0.254"
    yield "add clsparam cluster/comment shop"
    yield "add clsparam cluster/heartbeat/timeout 30000"
    yield "add clsparam cluster/heartbeat/interval 3000"
    for n in range(1, GROUPS + 1):
        yield f"add grp failover failover{n}"
        yield f"add rsc failover{n} fip fip{n}"
        yield f"add rscparam fip fip{n} parameters/ip 10.0.0.1{n}"
        yield f"add rsc failover{n} exec exec{n}"
        yield f"add rscparam exec exec{n} parameters/act/path start.sh"
        yield f"add rscparam exec exec{n} parameters/deact/path stop.sh"
        yield f"add rscparam exec exec{n} act/timeout 60"
        yield f"add rscdep exec exec{n} fip{n}"
        yield f"add mon genw genw{n}"
        yield f"add monparam genw genw{n} parameters/path genw.sh"
        yield f"add monparam genw genw{n} polling/interval 30"
        yield f"add monparam genw genw{n} relation/name failover{n}"
    yield "add mon userw userw"
    yield "add monparam userw userw parameters/method softdog"
    yield "add mon miiw miiw1"
    yield "add monparam miiw miiw1 parameters/object eth0"
    yield "add mon mrw mrw1"
    yield "add monparam mrw mrw1 parameters/category NIC"
    yield "add monparam mrw mrw1 parameters/keyword eth0"


def measure() -> Section:
    """Each line in turn with the interpreter alone, so that both see the same machine."""
    idle = os.getloadavg()[0] < 1
    binary = str(Path(sys.executable).parent / "clpcfset")
    alone = [sys.executable, "-I", "-c", "pass"]
    script = [shlex.split(line) for line in lines()]
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(2):  # the first time, Python writes what it compiled
            for path in Path(folder).glob("clp.toml*"):
                path.unlink()
            spent = [(*_run([binary, *words], folder), *_run(alone, folder)) for words in script]
    wall, cpu, wall_alone, cpu_alone = (sum(column) for column in zip(*spent, strict=True))
    return Section(
        title="A script of `clpcfset` lines",
        how=f"{len(script)} lines that make two servers and {GROUPS} groups, each a process, in "
        "turn with `python -I -c pass`. The ratio is also good where others compute beside it.",
        rows=(
            Row(
                what="CPU of the lines / of python -I -c pass",
                measured=f"{cpu / cpu_alone:.2f}",
                target=f"at most {RATIO:g}",
                met=cpu / cpu_alone <= RATIO,
            ),
            Row(
                what=f"CPU of {len(script)} lines",
                measured=f"{cpu:.1f} s",
                target=f"under {SECONDS:g} s on an idle machine",
                met=cpu < SECONDS if idle or cpu < SECONDS else None,
            ),
            Row(what="the same, as time passed", measured=f"{wall:.1f} s"),
            Row(what=f"{len(script)} times python -I -c pass", measured=f"{wall_alone:.1f} s"),
        ),
    )


def _run(words: list[str], folder: str) -> tuple[float, float]:
    """Seconds that passed, and seconds of CPU."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(words, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=True)
    after, ended = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return ended - begun, spent
