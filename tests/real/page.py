"""Runs the commands of a page of `docs/` as they are written there, in order.

A block of a page that a reader types begins with three backticks and `console`:

    server1# clpgrp -m failover1 -a server2
    Command succeeded.

A line with a prompt is a command on that server.  The lines below it come out of it, in this
order, maybe with others between: `...` on a line of its own says so, and within a line it stands
for any words.  Blanks are not compared.  What only asks is asked again until it says so, as is
what answers "Try again in a moment".
Between blocks, a comment `<!-- here: server1 loses its power -->` names what happens there; the
test that plays the page does it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.conftest import LIMIT_S
from tests.real.cluster import Cluster

DOCS = Path(__file__).parents[2] / "docs"
_PART = re.compile(r"^<!-- here: (.+?) -->$|^```console\n(.*?)^```$", re.M | re.S)
_PROMPT = re.compile(r"^(\w+)# (.+)$")
_ASKS = (
    "clpstat",
    "clpgrp -n",
    "clpcfctrl --diff",
    "clpcfctrl --history",
    "clpcfchk",
    "tail",
    "ip ",
)


class Command:
    """One command of a page."""

    def __init__(self, server: str, line: str) -> None:
        self.server = server
        self.line = line
        self.shows: list[str] = []

    def shown_in(self, output: str) -> bool:
        """Whether what the page shows is what came out."""
        lines = [_squeezed(line) for line in output.splitlines()]
        at = 0
        for wanted in self.shows:
            if wanted.strip() == "...":
                continue
            pattern = re.compile(
                ".*".join(re.escape(part) for part in _squeezed(wanted).split("..."))
            )
            while at < len(lines) and not pattern.fullmatch(lines[at]):
                at += 1
            if at == len(lines):
                return False
            at += 1
        return True


def _squeezed(line: str) -> str:
    return " ".join(line.split())


def parts(name: str) -> Iterator[str | list[Command]]:
    """What happens, and the commands of each block, in the page's order."""
    for found in _PART.finditer((DOCS / name).read_text()):
        happens, block = found.groups()
        yield happens or list(_commands(block))


def _commands(block: str) -> Iterator[Command]:
    command: Command | None = None
    for line in block.splitlines():
        prompt = _PROMPT.match(line)
        if prompt:
            if command is not None:
                yield command
            command = Command(*prompt.groups())
        else:
            assert command is not None, f"a block begins with a prompt: {line}"
            if command.line.endswith("\\"):
                command.line = command.line[:-1] + line.strip()
            else:
                command.shows.append(line)
    if command is not None:
        yield command


def play(name: str, cluster: Cluster, happens: dict[str, Callable[[], object]]) -> None:
    """Does what the page says on a cluster whose servers have the names of the page's prompts."""
    missing = dict(happens)
    at: dict[str, str] = {}
    for part in parts(name):
        if isinstance(part, str):
            assert part in happens, f"{name}: nobody knows how to do: {part}"
            happens[part]()
            missing.pop(part, None)
        else:
            for command in part:
                _run(name, cluster, command, at)
    assert not missing, f"{name} does not say: {list(missing)}"


def _run(name: str, cluster: Cluster, command: Command, at: dict[str, str]) -> None:
    """`at`: server -> the folder that was changed to there."""
    node = next(node for node in cluster if node.name == command.server)
    if command.line.startswith("cd "):
        at[node.name] = command.line.removeprefix("cd ")
        return
    deadline = time.monotonic() + LIMIT_S
    while True:
        done = node.run(
            f"cd {node.root}{at.get(node.name, '')} && {command.line}", timeout_s=LIMIT_S
        )
        # This server's files lie below a folder of the test's.
        output = (done.stdout + done.stderr).replace(str(node.root), "")
        right = command.shown_in(output) and (done.returncode == 0 or bool(command.shows))
        again = command.line.startswith(_ASKS) or "Try again in a moment" in output
        if right or not again or time.monotonic() > deadline:
            break
        time.sleep(0.2)
    shows = "\n".join(command.shows)
    assert right, (
        f"{name}: {command.server}# {command.line} -> {done.returncode}\n{output}\n"
        f"--- the page shows\n{shows}\n"
    )
