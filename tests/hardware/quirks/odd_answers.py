"""Answers to chassis status that are no answers: `way` 1 empty · 2 cut short after the first byte ·
3 FFh everywhere · 4 code C7h · 5 code 00h with a state that cannot be (off, with every fault)."""

from __future__ import annotations

from typing import Any

from tests.hardware.quirks.server import STATUS, Quirk, What


class Habit(Quirk):
    def __init__(self, server: Any, way: float = 1) -> None:
        super().__init__(server)
        self._way = int(way)

    def answer(self, what: What, code: int, data: bytes) -> tuple[int, bytes]:
        if what != STATUS:
            return code, data
        ways = {1: (0, b""), 2: (0, data[:1]), 3: (0, b"\xff" * 4), 4: (0xC7, b"")}
        return ways.get(self._way, (0, b"\x1e\0\0"))
