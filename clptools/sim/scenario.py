"""Scenario files: a story in verbs, `----`, and below it what happened (`docs/scenarios.md`).

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

A blank line ends the expected text.  What is wrong with a file is reported as `BadLine`, with the
number of its line.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from clptools.core.model.settings import Settings
from clptools.core.notices.monitors import ACTIONS
from clptools.sim.breaks import last_break
from clptools.sim.clusters import Unknown, sample
from clptools.sim.host import SECOND, MakeNode
from clptools.sim.promises import PROMISES
from clptools.sim.repair import mend_and_settle
from clptools.sim.verbs import perform
from clptools.sim.words import SECONDS_MAX, BadLine, number_in, one_of, shown, whole_in
from clptools.sim.world import World

HANDED = "config"


class Key(NamedTuple):
    """What `KEY=VALUE` of a `cluster` line takes, and what it means."""

    takes: type[int] | type[float] | type[str] | tuple[str, ...]
    """A whole number, a number, any word, or one of these."""
    low: float
    high: float
    does: str

    def read(self, name: str, word: str) -> int | float | str:
        """The value.  Raises BadLine."""
        if self.takes is int:
            return whole_in(word, name, int(self.low), int(self.high))
        if self.takes is float:
            return number_in(word, name, self.low, self.high)
        return one_of(word, name, self.takes) if isinstance(self.takes, tuple) else word


def _words(does: str, *words: str) -> Key:
    return Key(words, 0, 0, does)


def _yes(does: str) -> Key:
    return Key(int, 0, 1, does)


_RESETS = ("none", "reset", "power-off", "power-cycle", "nmi")

WORLD_KEYS = {
    "seed": Key(int, 0, 10**12, "What chance begins with; 1 if it is not given."),
    "uptime": Key(float, 0, SECONDS_MAX, "Seconds since the servers were booted; 1000."),
    "boot": Key(float, 0, 86_400, "Seconds that a server takes to boot; 10."),
    "drift": Key(int, -500_000, 500_000, "Millionths by which all clocks run fast; 0."),
    "steady": _yes("1: datagrams take the same time always, and none of it is chance."),
}
CLUSTER_KEYS = {
    "groups": Key(int, 1, 64, "Failover groups; 1."),
    "resources": Key(int, 1, 26, "Resources of each group; 1."),
    "links": Key(int, 1, 16, "LAN interconnects; 1."),
    "interval_s": Key(float, 0.02, 60, "`heartbeat_interval`; 0.2."),
    "timeout_s": Key(float, 0.1, 3600, "`heartbeat_timeout`; 3."),
    "lease_s": Key(float, 0.2, 3600, "`lease`; 3."),
    "self_stop_s": Key(float, 0.2, 3600, "`self_stop`; 6."),
    "startup_wait_s": Key(float, 1, 3600, "`startup_wait`; 60."),
    "forced_stop": _words("`[forced_stop] action`; power-off where there are BMCs.", *_RESETS),
    "after_recovery": _words("What the BMC does after a recovery by `mrw1`; none.", *_RESETS),
    "final_action": _words("Final action of `mrw1` and `genw1`; none.", "none", *ACTIONS),
    "script": Key(str, 0, 0, "Name of a recovery script of `genw1`; none."),
    "userw": _words(
        "The watchdog's method; softdog with an arbiter or from three servers on, else none.",
        *("softdog", "ipmi", "guard", "none"),
    ),
    "migrate": _yes("1: resources migrate before the failovers of `mrw1`."),
    "prepare": _yes(
        "1: a failure that `mrw1` expects plans a move into its quiet window (`window`), and "
        "resources have prepare scripts."
    ),
    "bmchb": _yes("1: there is a BMC interconnect too."),
    "raid": _yes("1: there is a monitor `mrw3` for messages of the category RAID."),
    "ordered": _yes(
        "1: each group starts after the one before it, and stops after the one behind it; 20 s "
        "are waited for that."
    ),
    "apart": _words(
        "How strictly `failover1` is kept apart from the other groups; none.",
        *("none", "normal", "absolute"),
    ),
    "fence": _words(
        "What reads and stops a server besides a BMC, or without: a fence agent, which is polled, "
        "or asked once the server is silent; none.",
        *("none", "polled", "silent"),
    ),
}


class Frame(NamedTuple):
    """A line that is no verb: it makes the world, or judges it."""

    usage: str
    example: str
    does: str


FRAME = {
    "cluster": Frame(
        f"cluster NAME|{HANDED} [KEY=VALUE ...]",
        "cluster 3bmc groups=2 boot=90",
        "The first line: the cluster that the story is about. `clpsim --config FILE --play STORY` "
        f"hands over a configuration of your own: `cluster {HANDED}`.",
    ),
    "expect": Frame(
        "expect PROMISE ...",
        "expect I1",
        "These promises are broken in this story, and are meant to be.",
    ),
    "settle": Frame(
        "settle [aided]",
        "settle",
        "What `before` and `after` still have to do is done; then all is mended and switched on, "
        "and time passes until all is well. `aided`: a person helps.",
    ),
}


class Block(msgspec.Struct, kw_only=True):
    """Some lines of verbs and what they printed."""

    number: int
    """The number of its first line in the file, from 1."""
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
    begins = 1
    # Only this ends a line for an editor, too: `splitlines` knows eight more.
    rest = enumerate(text.split("\n"), start=1)
    for number, line in rest:
        if line.strip() != "----":
            lines.append(line)
            continue
        block = Block(number=begins, lines=lines, expected=[])
        blocks.append(block)
        lines, begins = [], number + 1
        for below, words in rest:
            begins = below + 1
            if not words.strip():
                break
            block.expected.append(words)
    if any(line.strip() for line in lines):
        blocks.append(Block(number=begins, lines=lines, expected=[]))
    return blocks


def wants_config(text: str) -> bool:
    """Whether the cluster of this file is a configuration that must be handed over."""
    begun = (line.split()[:2] for block in parse(text) for line in block.lines)
    return ["cluster", HANDED] in begun


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
    number = 1
    for block in parse(text):
        told.clear()
        for number, line in enumerate(block.lines, start=block.number):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            try:
                if words[0] == "cluster" and world is None:
                    world = make_world(words[1:], make_node, restore_node, settings)
                    world.tell = told.append
                    world.journal = world.check.deep = deep
                elif words[0] == "expect":
                    expected += _promises(words[1:])
                elif world is None:
                    raise BadLine(f"{shown(line)}: {_BEGINS}")
                else:
                    world.line = number
                    told += _perform(world, line, words).splitlines()
            except BadLine as error:
                raise error.of(number) from None
        written += [*block.lines, "----", *told, ""]
    if world is None:
        raise BadLine(_BEGINS).of(number)
    world.check.finish()
    return world


_BEGINS = f"a scenario begins with its cluster; an example: {FRAME['cluster'].example}"


def _perform(world: World, line: str, words: list[str]) -> str:
    """One line of a story that has begun; the text that it prints, or nothing.  Raises BadLine."""
    if words[0] == "cluster":
        raise BadLine(f"{shown(line)}: a second cluster; a scenario has one, put it into its own")
    if words[0] != "settle":
        return perform(world, line)
    if words[1:] not in ([], ["aided"]):
        raise BadLine(f"{shown(line)}: usage: {FRAME['settle'].usage}")
    settle(world, aided="aided" in words)
    return ""


def _promises(names: list[str]) -> list[str]:
    if not names:
        raise BadLine(f"expect: PROMISE is missing; an example: {FRAME['expect'].example}")
    return [one_of(name, "promise", tuple(PROMISES)) for name in names]


def settle(world: World, *, aided: bool) -> None:
    """Play on until what is pending is done and, everything mended, all is well again."""
    if not world.check.violations:
        world.run_until(max(world.t, last_break(world)))
    mend_and_settle(world, aided=aided)


def make_world(
    words: list[str], make_node: MakeNode, restore_node: MakeNode, settings: Settings | None
) -> World:
    """The world of a `cluster` line; `settings` are those of `cluster config`.  Raises BadLine."""
    if not words:
        raise BadLine(f"cluster: NAME is missing; an example: {FRAME['cluster'].example}")
    name, *given = words
    options: dict[str, str] = {}
    for word in given:
        key, equals, value = word.partition("=")
        if not equals or key not in {**CLUSTER_KEYS, **WORLD_KEYS}:
            known = " ".join({**CLUSTER_KEYS, **WORLD_KEYS})
            raise BadLine(f"cluster {shown(name)}: {shown(word)}: not KEY=VALUE; keys: {known}")
        options[key] = value
    ours = {
        key: WORLD_KEYS[key].read(key, options.pop(key))
        for key in WORLD_KEYS.keys() & options.keys()
    }
    if name == HANDED:
        if settings is None:
            raise BadLine(
                f"cluster {HANDED}: no configuration was handed over; "
                "clpsim --config FILE --play STORY does"
            )
        if options:
            raise BadLine(f"cluster {HANDED}: {next(iter(options))} belongs to sample clusters")
    else:
        try:
            settings = configure(name, options)
        except Unknown as error:
            raise BadLine(f"cluster {shown(str(error))}") from None
    world = World(
        settings, int(ours.get("seed", 1)), make_node, restore_node, steady=ours.get("steady") == 1
    )
    for host in world.hosts.values():
        host.boot_us = -round(float(ours.get("uptime", 1000)) * SECOND)
        host.rate = 1_000_000 + int(ours.get("drift", 0))
    boot = round(float(ours.get("boot", 10)) * SECOND)
    world.boot_us = (boot, boot)
    return world


def sample_of(text: str) -> Settings:
    """A sample cluster by its name, with `KEY=VALUE` words after it: `3lease fence=polled`.

    Raises BadLine, Unknown.
    """
    name, *words = text.split() or [""]
    for word in words:
        if word.partition("=")[0] not in CLUSTER_KEYS:
            raise Unknown(f"{word}: no such keyword; known: {', '.join(CLUSTER_KEYS)}")
    return configure(name, dict(word.partition("=")[::2] for word in words))


def configure(name: str, options: dict[str, str]) -> Settings:
    """A sample cluster with `KEY=VALUE` words as its keywords.  Raises BadLine, Unknown."""
    values = {key: CLUSTER_KEYS[key].read(key, word) for key, word in options.items()}
    return sample(name, **values)  # type: ignore[arg-type]  # each of the type that it takes
