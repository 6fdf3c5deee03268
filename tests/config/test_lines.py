"""Every key of a configuration is found on its line, however it is written."""

from __future__ import annotations

import re
import tomllib
from unittest import mock

import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from clptools.config import lines as lines_module
from clptools.config.lines import Lines, Path

TEXT = '''\
# a comment with [brackets] and "quotes
title = "x"  # = not a key
[cluster]
name = 'c#1'
nested.key = 1

[[server]]
name = "server1"
[server.bmc]
address = "192.168.0.11"

[[server]]
name = "server2"
"quoted key" = """
many
[lines]
"""""
after = 1
[[group]]
[[group.resource]]
name = "a"
[[group.resource]]
name = "b"
[group.resource.deep]
er = { one = 1, two = { three = [1,
   2] } }
[[group]]
[[group.resource]]
list = [
  "first",  # ]
  { in_list = 'x' },
]
'''


def test_each_key_has_its_line() -> None:
    lines = Lines(TEXT)
    expected: dict[Path, int] = {
        ("title",): 2,
        ("cluster",): 3,
        ("cluster", "name"): 4,
        ("cluster", "nested", "key"): 5,
        ("server", 0): 7,
        ("server", 0, "name"): 8,
        ("server", 0, "bmc"): 9,
        ("server", 0, "bmc", "address"): 10,
        ("server", 1, "name"): 13,
        ("server", 1, "quoted key"): 14,
        ("server", 1, "after"): 18,
        ("group", 0, "resource", 0, "name"): 21,
        ("group", 0, "resource", 1, "name"): 23,
        ("group", 0, "resource", 1, "deep", "er", "one"): 25,
        ("group", 0, "resource", 1, "deep", "er", "two", "three", 1): 26,
        ("group", 1, "resource", 0, "list"): 29,
        ("group", 1, "resource", 0, "list", 1, "in_list"): 31,
    }
    assert {path: lines.line(path) for path in expected} == expected


def test_what_is_not_there_is_where_its_table_is() -> None:
    assert Lines(TEXT).line(("server", 0, "bmc", "user", "x")) == 9
    assert Lines(TEXT).line(("nothing",)) == 1
    assert Lines("").line(("a", 3)) == 1


def paths(value: object, path: Path = ()) -> list[Path]:
    if isinstance(value, dict):
        return [(*path, k) for k in value] + [p for k in value for p in paths(value[k], (*path, k))]
    if isinstance(value, list):
        return [p for i, v in enumerate(value) for p in paths(v, (*path, i))]
    return []


keys = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1, max_size=6)
leaves = st.integers(0, 9) | st.booleans() | st.text(max_size=12) | st.floats(allow_nan=False)
documents = st.dictionaries(
    keys,
    st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
        max_leaves=12,
    ),
    max_size=5,
)


@settings(max_examples=150, deadline=None)
@given(documents, st.booleans())
def test_every_document_that_toml_can_write_is_indexed(
    document: dict[str, object], multiline: bool
) -> None:
    try:
        text = tomli_w.dumps(document, multiline_strings=multiline)
        tomllib.loads(text)
    except (ValueError, TypeError):
        return
    lines = Lines(text)
    with mock.patch.object(lines_module, "_SIMPLE", re.compile("(?!)")):
        bit_by_bit = Lines(text)
    assert vars(lines) == vars(bit_by_bit)
    written = text.split("\n")
    for path in paths(document):
        line = lines.line(path)
        key = path[-1]
        assert path in lines._found, path
        if isinstance(key, str) and key.isascii() and key.isalnum():
            assert key in written[line - 1]
