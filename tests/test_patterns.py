"""No regular expression takes quadratic time: a hostile line holds nothing up."""

from __future__ import annotations

import importlib
import pkgutil
import re
import time
from itertools import product
from pathlib import Path

import clptools

METHODS = ("search", "match", "fullmatch", "findall", "finditer", "sub", "split")
ONE_LINE = "a| |:|0|\t|-|.|a:|a |0.|x.|A |[a]|\\|\"|'|{0}|a,|A:|(a|: a|#|=|a=|/|::|a: |@|firmware "
AWKWARD = (*ONE_LINE.split("|"), "\n", " \n", "|")
BEGINNINGS = ("", "firmware: ", "a: ", '"', "[")
SHORT, LONG = 1_000, 4_000
FREE_S = 0.001
"""What takes no longer for the long text is looked at no further."""


def uses() -> list[tuple[str, str, str, re.Pattern[str] | re.Pattern[bytes]]]:
    """Module, name, method, and expression of everything that the package compiles once."""
    found = []
    root = Path(clptools.__file__).parent
    for module in pkgutil.walk_packages([str(root)], "clptools."):
        loaded = importlib.import_module(module.name)
        source = Path(loaded.__file__ or "").read_text()
        for name, value in vars(loaded).items():
            if isinstance(value, re.Pattern):
                found += [
                    (module.name, name, method, value)
                    for method in METHODS
                    if re.search(rf"\b{name}\.{method}\b", source)
                ]
    return found


def took_s(pattern: re.Pattern[str] | re.Pattern[bytes], method: str, text: str) -> float:
    """The shortest of three times."""
    given = text.encode() if isinstance(pattern.pattern, bytes) else text
    arguments = (given[:0], given) if method == "sub" else (given,)
    shortest = 1e9
    for _ in range(3):
        begun = time.thread_time()
        ended = getattr(pattern, method)(*arguments)
        if method == "finditer":
            list(ended)
        shortest = min(shortest, time.thread_time() - begun)
        if shortest < FREE_S:
            break
    return shortest


def test_no_text_takes_an_expression_quadratic_time() -> None:
    found = uses()
    assert len(found) > 50
    slow = []
    for (module, name, method, pattern), begins, unit in product(found, BEGINNINGS, AWKWARD):
        short, long = (begins + unit * (length // len(unit)) for length in (SHORT, LONG))
        long_s = took_s(pattern, method, long)
        if long_s >= FREE_S and long_s > 2.5 * LONG / SHORT * took_s(pattern, method, short):
            slow.append(f"{module}.{name}.{method}: {long_s * 1e3:.0f} ms for {begins}{unit!r}...")
    assert not slow, "\n".join(slow)
