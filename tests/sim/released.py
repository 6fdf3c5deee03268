"""The core of a released version beside the present one, in one simulated cluster.

What passes between the two passes as bytes, as between two servers or from one agent to the next
on the same server: heartbeats in the form of the link, everything else as MessagePack.  So a field
that one of them lacks is lost or has its default, and a word that one does not know is not taken.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import msgspec

from clptools.core.model import actions, datagram, events
from clptools.core.model.change import Refusal
from clptools.core.model.settings import Settings
from clptools.core.model.state import NodeState
from clptools.core.node import Node
from clptools.sim.clusters import sample
from clptools.sim.explore import Plan, Run, run_seed
from tests.releases import LAST, unpacked


@contextmanager
def _imports_from(folder: Path) -> Iterator[None]:
    """`clptools` is what is in `folder`, for this while."""

    def ours() -> list[str]:
        return [name for name in sys.modules if name.split(".")[0] == "clptools"]

    present = {name: sys.modules.pop(name) for name in ours()}
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in ours():
            del sys.modules[name]
        sys.modules.update(present)


class Release:
    """The modules of one released core, and what translates to and from them."""

    def __init__(self, version: str) -> None:
        folder = unpacked(version)
        with _imports_from(folder):
            self.node = self._module("node")
            self.datagram = self._module("model.datagram")
            events = self._module("model.events")
            settings = self._module("model.settings")
            # Made in here: msgspec looks a type's name up in the module of that name.
            self._event = msgspec.msgpack.Decoder(events.Event)
            self._settings = msgspec.msgpack.Decoder(settings.Settings)
        assert str(self.node.__file__).startswith(str(folder))
        self._beat_seen = events.BeatSeen
        self._names = self.datagram.digests(f"server{n}" for n in range(1, 33))

    @staticmethod
    def _module(name: str) -> ModuleType:
        return import_module(f"clptools.core.{name}")

    def event(self, event: events.Event) -> Any:
        """As this release reads it.  Raises ValueError: it cannot."""
        if isinstance(event, events.BeatSeen):
            kind = datagram.form(event.beat)
            if kind not in (self.datagram.PLAIN, self.datagram.PACKED):
                raise ValueError("a form of datagram that it does not know")
            beat = self.datagram.unpack(datagram.pack(event.beat), kind, self._names)
            return self._beat_seen(link=event.link, beat=beat)
        return self._event.decode(_pack(event))

    def settings(self, settings: Settings) -> Any:
        """As this release reads them."""
        return self._settings.decode(_pack(settings))


_pack = msgspec.msgpack.Encoder().encode
_present_action = msgspec.msgpack.Decoder(actions.Action)
_present_state = msgspec.msgpack.Decoder(NodeState)


@cache
def release(version: str) -> Release:
    """That release, loaded once."""
    return Release(version)


class Released:
    """A server's core of a release, as the simulated world wants a core."""

    def __init__(self, version: str, settings: Settings, server: str, *new: Any) -> None:
        self._release = release(version)
        self._core = self._release.node.Node(self._release.settings(settings), server, *new)
        self._state: NodeState | None = None
        self.unread = 0
        """Events that this release could not read, and dropped."""

    def step(self, event: events.Event, now: int) -> list[actions.Action]:
        """As `Node.step`."""
        try:
            read = self._release.event(event)
        except ValueError:
            self.unread += 1
            return []
        self._state = None
        return [_present_action.decode(_pack(x)) for x in self._core.step(read, now)]

    @property
    def state(self) -> NodeState:
        """What it remembers, as the present version would read it."""
        if self._state is None:
            self._state = _present_state.decode(_pack(self._core.state))
        return self._state

    def refuses(self, settings: Settings) -> Refusal | None:
        """As `Node.refuses`."""
        why = str(self._core.refuses(self._release.settings(settings)))
        return Refusal(why) if why else None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)


SAMPLES = ("2bmc", "3lease", "3bmc", "2strong", "5bmc", "2lease")


class Mixture:
    """Which version a server's agent is of, start by start."""

    def __init__(self, seed: int) -> None:
        self._rng = Random(f"versions {seed}")
        self.started: set[bool] = set()
        """Whether an agent that started was of the last release."""

    def node(self, *new: Any) -> Any:
        """The core of an agent that starts."""
        old = self._rng.random() < 0.5
        self.started.add(old)
        return Released(LAST, *new) if old else Node(*new)


def play(seed: int, seconds: float = 60) -> tuple[Mixture, Run]:
    """A run with every fault, on one of the sample clusters."""
    versions = Mixture(seed)
    plan = Plan(settings=sample(SAMPLES[seed % len(SAMPLES)], groups=2), seconds=seconds)
    return versions, run_seed(plan, seed, make_node=versions.node, restore_node=Node.restore)


def main(words: list[str]) -> int:
    """`python -m tests.sim.released 1:1000`; 9: a promise was broken."""
    first, last = (int(x) for x in words[0].split(":"))
    broken = 0
    for seed in range(first, last + 1):
        _, run = play(seed, 120)
        if run.violations:
            broken += 1
            print(f"seed {seed}: {run.violations[0]}")
    print(f"{last - first + 1} runs beside {LAST}, {broken} broke a promise")
    return 9 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
