"""Scenario files: a story in verbs, `----`, and below it what happened.

    # Title: what is proved.
    cluster 3bmc groups=2
    start
    advance 5
    ----
    ...expected text...

    off server1
    until failover1 server2 5
    ----
    ...

A blank line ends the expected text.  `cluster NAME KEY=VALUE ...` comes first: a sample cluster
of `clusters.py` with its keywords, and of the world `seed`, `uptime` (seconds), `boot` (seconds),
`drift` (ppm of all).  `expect I1` says that this promise is broken, and meant to be.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from clptools.core.settings import Settings
from clptools.sim.clusters import sample
from clptools.sim.host import SECOND, MakeNode
from clptools.sim.verbs import BadLine, perform
from clptools.sim.world import World

WORLD_KEYS = {"seed", "uptime", "boot", "drift"}


class Block(msgspec.Struct, kw_only=True):
    """Some lines of verbs and what they printed."""

    lines: list[str]
    expected: list[str]


class Result(msgspec.Struct, kw_only=True):
    """How a scenario went."""

    text: str
    """The file as it would be written now."""
    violated: tuple[str, ...]
    """Promises that were broken."""
    expected: tuple[str, ...]
    """Promises that the file says are broken."""


def parse(text: str) -> list[Block]:
    """The blocks of a file; comments stay with their lines."""
    blocks: list[Block] = []
    lines: list[str] = []
    rest = iter(text.splitlines())
    for line in rest:
        if line.strip() != "----":
            lines.append(line)
            continue
        expected: list[str] = []
        for below in rest:
            if not below.strip():
                break
            expected.append(below)
        blocks.append(Block(lines=lines, expected=expected))
        lines = []
    if any(line.strip() for line in lines):
        blocks.append(Block(lines=lines, expected=[]))
    return blocks


def run(text: str, make_node: MakeNode, restore_node: MakeNode) -> Result:
    """Play a file, and say how it would be written now.  Raises BadLine."""
    written: list[str] = []
    expected: list[str] = []
    world = _play(text, make_node, restore_node, written, expected, deep=True)
    return Result(
        text="\n".join(written).rstrip("\n") + "\n",
        violated=tuple(dict.fromkeys(v.invariant for v in world.check.violations)),
        expected=tuple(expected),
    )


def play(text: str, make_node: MakeNode, restore_node: MakeNode) -> World:
    """Play a file for what it does to the world.  Raises BadLine."""
    return _play(text, make_node, restore_node, [], [], deep=False)


def _play(
    text: str,
    make_node: MakeNode,
    restore_node: MakeNode,
    written: list[str],
    expected: list[str],
    *,
    deep: bool,
) -> World:
    told: list[str] = []
    world: World | None = None
    for block in parse(text):
        told.clear()
        for line in block.lines:
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if words[0] == "cluster":
                world = _world(words[1:], make_node, restore_node)
                world.tell = told.append
                world.journal = world.check.deep = deep
            elif words[0] == "expect":
                expected += words[1:]
            elif world is None:
                raise BadLine(f"{line}: a scenario begins with `cluster NAME`")
            else:
                printed = perform(world, line)
                if printed:
                    told += printed.splitlines()
        written += [*block.lines, "----", *told, ""]
    if world is None:
        raise BadLine("a scenario begins with `cluster NAME`")
    world.check.finish()
    return world


def _world(words: list[str], make_node: MakeNode, restore_node: MakeNode) -> World:
    options = dict(word.split("=", 1) for word in words[1:] if "=" in word)
    ours = {key: options.pop(key) for key in list(options) if key in WORLD_KEYS}
    world = World(configure(words[0], options), int(ours.get("seed", "1")), make_node, restore_node)
    for host in world.hosts.values():
        host.boot_us = -round(float(ours.get("uptime", "1000")) * SECOND)
        host.rate = 1_000_000 + int(ours.get("drift", "0"))
    boot = round(float(ours.get("boot", "10")) * SECOND)
    world.boot_us = (boot, boot)
    return world


def configure(name: str, options: dict[str, str]) -> Settings:
    """A sample cluster with `KEY=VALUE` words as its keywords."""
    values: dict[str, object] = {}
    for key, word in options.items():
        number = word.replace(".", "", 1).isdigit()
        values[key] = (
            (float(word) if "." in word or key.endswith("_s") else int(word)) if (number) else word
        )
    try:
        return sample(name, **values)  # type: ignore[arg-type]  # keywords of a text file
    except TypeError as error:
        raise BadLine(f"cluster {name}: {error}") from None


def schedule_text(cluster: str, seed: int, lines: Iterable[tuple[float, str]]) -> str:
    """A random schedule as a scenario file."""
    out = [f"cluster {cluster} seed={seed}"]
    at = 0.0
    for when, line in lines:
        if when > at:
            out.append(f"advance {when - at:.3f}")
            at = when
        out.append(line)
    return "\n".join([*out, "----", ""])
