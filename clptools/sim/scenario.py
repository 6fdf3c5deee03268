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
`drift` (ppm of all), `steady` (1: no chance).  `cluster config` is the configuration that the
player was handed.  `expect I1` says that this promise is broken, and meant to be.  `settle` waits
for what `before` and `after` still have to do, mends everything, and waits till all is well; with
`aided` a person helps.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from clptools.core.settings import Settings
from clptools.sim.breaks import last_break
from clptools.sim.clusters import sample
from clptools.sim.explore import mend_and_settle
from clptools.sim.host import SECOND, MakeNode
from clptools.sim.verbs import BadLine, perform
from clptools.sim.world import World

WORLD_KEYS = {"seed", "uptime", "boot", "drift", "steady"}
HANDED = "config"


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


def play(
    text: str,
    make_node: MakeNode,
    restore_node: MakeNode,
    *,
    settings: Settings | None = None,
    written: list[str] | None = None,
    expected: list[str] | None = None,
) -> World:
    """Play a file for what it does to the world.  Raises BadLine.

    `settings`: the cluster of a file that says `cluster config`.  The file as it would be written
    now is put into `written`, promises that it says are broken into `expected`.
    """
    written = written if written is not None else []
    expected = expected if expected is not None else []
    return _play(text, make_node, restore_node, written, expected, deep=False, settings=settings)


def _play(
    text: str,
    make_node: MakeNode,
    restore_node: MakeNode,
    written: list[str],
    expected: list[str],
    *,
    deep: bool,
    settings: Settings | None = None,
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
                world = make_world(words[1:], make_node, restore_node, settings)
                world.tell = told.append
                world.journal = world.check.deep = deep
            elif words[0] == "expect":
                expected += words[1:]
            elif world is None:
                raise BadLine(f"{line}: a scenario begins with `cluster NAME`")
            elif words[0] == "settle":
                settle(world, aided="aided" in words)
            else:
                printed = perform(world, line)
                if printed:
                    told += printed.splitlines()
        written += [*block.lines, "----", *told, ""]
    if world is None:
        raise BadLine("a scenario begins with `cluster NAME`")
    world.check.finish()
    return world


def settle(world: World, *, aided: bool) -> None:
    """Play on until what is pending is done and, everything mended, all is well again."""
    if not world.check.violations:
        world.run_until(max(world.t, last_break(world)))
    mend_and_settle(world, aided=aided)


def make_world(
    words: list[str], make_node: MakeNode, restore_node: MakeNode, settings: Settings | None
) -> World:
    """The world of a `cluster` line; `settings` are those of `cluster config`.  Raises BadLine."""
    options = dict(word.split("=", 1) for word in words[1:] if "=" in word)
    ours = {key: options.pop(key) for key in list(options) if key in WORLD_KEYS}
    if words[0] == HANDED:
        if settings is None:
            raise BadLine(f"cluster {HANDED}: no configuration was handed over")
    else:
        settings = configure(words[0], options)
    seed, steady = int(ours.get("seed", "1")), ours.get("steady") == "1"
    world = World(settings, seed, make_node, restore_node, steady=steady)
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
