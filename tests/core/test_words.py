"""The enums of the core: the same words on the wire, and a newer version's words kill nothing."""

from __future__ import annotations

from enum import StrEnum
from typing import get_type_hints

import msgspec
import pytest

from clptools.core.model import words
from clptools.core.model.durable import LedgerFile
from clptools.core.model.events import AgentStarted, BeatSeen
from clptools.core.model.messages import Beat, Holding, Report
from clptools.core.model.view import ServerView

ENUMS = [
    kind
    for kind in vars(words).values()
    if isinstance(kind, type) and issubclass(kind, StrEnum) and kind is not StrEnum
]


@pytest.mark.parametrize("kind", ENUMS, ids=lambda kind: kind.__name__)
def test_each_is_its_word_on_the_wire(kind: type[StrEnum]) -> None:
    for word in kind:
        assert msgspec.json.encode(word) == msgspec.json.encode(str(word))
        assert msgspec.msgpack.encode(word) == msgspec.msgpack.encode(str(word))


@pytest.mark.parametrize("kind", [Beat, Holding, Report, ServerView, LedgerFile])
def test_what_another_version_writes_is_text(kind: type[msgspec.Struct]) -> None:
    """An enum there would refuse the whole message for one word that is new."""

    def kinds(hint: object) -> list[object]:
        inside = getattr(hint, "__args__", ())
        return [hint, *(k for one in inside for k in kinds(one))]

    todo, seen = [kind], set()
    while todo:
        struct = todo.pop()
        seen.add(struct)
        for name, hint in get_type_hints(struct).items():
            for found in kinds(hint):
                if not isinstance(found, type):
                    continue
                assert not issubclass(found, StrEnum), f"{struct.__name__}.{name}"
                if issubclass(found, msgspec.Struct) and found not in seen:
                    todo.append(found)


def test_a_beat_that_asks_what_we_do_not_know_is_heard() -> None:
    beat = Beat(sender="b", to="a", incarnation="i", seq=1, sent_at=1, ask="bless")
    seen = BeatSeen(link="l", beat=beat)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(seen), type=BeatSeen) == seen


def test_a_ledger_with_a_class_that_we_do_not_know_is_read() -> None:
    entry = {
        "id": 1, "monitor": "m", "key": "k", "event_class": "DOOMED",
        "meaning": "x", "source": "s", "first_at": 1, "last_at": 1,
    }  # fmt: skip
    ledger = msgspec.convert({"entries": [entry]}, LedgerFile)
    started = AgentStarted(durable=None, member=False, ledger=ledger)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(started), type=AgentStarted) == started
    assert words.known_class(ledger.entries[0].event_class) is words.EventClass.UNKNOWN
    assert words.known_class("FATAL") is words.EventClass.FATAL
