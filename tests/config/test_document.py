"""A configuration is changed where it stands: comments and layout of the rest stay."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import pytest
import tomlkit
from hypothesis import given
from hypothesis import strategies as st

from clptools.config import statements
from clptools.config.document import Document, rendered
from clptools.config.statements import with_key, written
from clptools.faults import ClpError
from tests.config.sample import EXAMPLES, SAMPLE


def edited(text: str, change: Any) -> str:
    """The text after a change, which must be read back as it was meant, comments kept."""
    document = Document(text)
    change(document.tables)
    new = document.text()
    read = tomllib.loads(new)
    assert repr(read) == repr(in_order(document.tables, read))
    return new


def lines_gone(old: str, new: str) -> list[str]:
    return [line for line in old.splitlines() if line not in new.splitlines()]


def lines_come(old: str, new: str) -> list[str]:
    return lines_gone(new, old)


def test_a_text_without_changes_is_the_same_text() -> None:
    for path in EXAMPLES.glob("*/clp.toml"):
        assert Document(path.read_text()).text() == path.read_text()


def test_a_value_changes_where_it_stands_and_its_comment_stays_in_its_column() -> None:
    new = edited(SAMPLE, lambda t: t["monitor"][1].update(keyword="192.168.0.1:1162"))
    (old_line,), (new_line,) = lines_gone(SAMPLE, new), lines_come(SAMPLE, new)
    assert new_line.startswith('keyword = "192.168.0.1:1162"')
    assert new_line.index("#") == old_line.index("#")


def test_a_new_key_follows_the_last_one_of_its_table() -> None:
    new = edited(SAMPLE, lambda t: t["monitor"][0].update(interval=5, comment='say "hi"'))
    at = new.index("interval = 5\n" + 'comment = "say \\"hi\\""\n')
    assert new.index("gives no lease proof") < at < new.index('type = "mrw"')
    assert not lines_gone(SAMPLE, new)


def test_an_entry_of_a_table_on_one_line() -> None:
    new = edited(SAMPLE, lambda t: t["interconnect"][0]["address"].update(server3="192.168.0.3"))
    assert 'server2 = "192.168.0.2", server3 = "192.168.0.3" }' in new
    assert len(lines_gone(SAMPLE, new)) == 1


def test_a_key_goes_with_its_line() -> None:
    new = edited(SAMPLE, lambda t: t["group"][0].pop("startup"))
    assert [line.partition(" ")[0] for line in lines_gone(SAMPLE, new)] == ["startup"]
    assert not lines_come(SAMPLE, new)


def test_new_tables_stand_behind_their_like_with_a_blank_line_before() -> None:
    def change(t: Any) -> None:
        t["server"].append({"name": "server3", "bmc": {"address": "192.168.0.13"}})
        t["group"][0]["resource"].append({"type": "service", "name": "web", "unit": "nginx"})
        t["forced_stop"] = {"action": "power-off"}

    new = edited(SAMPLE, change)
    assert not lines_gone(SAMPLE, new)
    for part, behind, before in (
        (
            '\n\n[[server]]\nname = "server3"\n[server.bmc]\n',
            'name = "server2"',
            "[[interconnect]]",
        ),
        ('\n\n[[group.resource]]\ntype = "service"\n', 'name = "fip1"', "[[monitor]]"),
        ("\n\n[forced_stop]\n", 'type = "bmchb"', "[[group]]"),
    ):
        assert new.index(behind) < new.index(part) < new.index(before), part


COMMENTED = """\
# The file is about this.

# -- servers -----------------

# a is the old one
[[server]]
name = "a"  # short
# it goes soon

# -- more of them ------------

# b is the new one
[[server]]
name = "b"
# c is a spare
[[server]]
name = "c"

# The end.
"""


def test_a_table_goes_with_the_comments_that_touch_it_and_no_others() -> None:
    new = edited(COMMENTED, lambda t: t["server"].pop(0))
    assert lines_gone(COMMENTED, new) == [
        "# a is the old one",
        'name = "a"  # short',
        "# it goes soon",
    ]
    new = edited(COMMENTED, lambda t: t["server"].pop(1))
    assert lines_gone(COMMENTED, new) == ["# b is the new one", 'name = "b"']
    new = edited(COMMENTED, lambda t: t["server"].pop(2))
    assert lines_gone(COMMENTED, new) == ["# c is a spare", 'name = "c"']


def test_a_table_moves_with_the_comments_that_touch_it() -> None:
    new = edited(COMMENTED, lambda t: t["server"].insert(0, t["server"].pop()))
    assert not lines_gone(COMMENTED, new)
    order = [
        "-- servers",
        "c is a spare",
        '"c"',
        "a is the old",
        '"a"',
        "-- more",
        "b is",
        "The end",
    ]
    assert sorted(order, key=new.index) == order


def test_keys_with_dots_and_tables_on_one_line_are_changed_as_they_are_written() -> None:
    text = '[[server]]\nname = "a"\nbmc.address = "1.1.1.1"  # over there\n[[server]]\nname = "b"\n'
    text += 'bmc = { address = "2.2.2.2" }\n'

    def change(t: Any) -> None:
        t["server"][0]["bmc"]["address"] = "1.1.1.9"
        t["server"][0]["bmc"]["user"] = "clp"
        t["server"][1]["bmc"]["user"] = "clp"

    new = edited(text, change)
    assert 'bmc.address = "1.1.1.9"  # over there\nbmc.user = "clp"\n' in new
    assert 'bmc = { address = "2.2.2.2", user = "clp" }\n' in new
    assert "bmc" not in edited(text, lambda t: [s.pop("bmc") for s in t["server"]])


@pytest.mark.parametrize("broken", ["raises", "garbles", "does nothing"])
def test_where_the_library_fails_nothing_is_changed_and_that_is_said(
    broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parse(text: str) -> Any:
        if broken == "raises":
            raise KeyError("x")
        return Broken()

    class Broken(dict[str, Any]):
        def as_string(self) -> str:
            return "x" if broken == "garbles" else 'name = "c"\n'

        append = item = dict.get

    monkeypatch.setattr(tomlkit, "parse", parse)
    document = Document('# two\n[cluster]\nname = "c"  # laid out\n', "a/clp.toml")
    document.tables["cluster"]["lease"] = 4
    with pytest.raises(ClpError, match=r"^a/clp.toml: cluster.lease cannot be .* edit it by hand"):
        document.text()


def test_a_table_may_become_a_list_of_tables() -> None:
    text = "# two\n[group]\nx.y = 1\n\n# three\n"
    new = edited(text, lambda t: t.update(group=[{"name": "g"}]))
    assert new == '[[group]]\nname = "g"\n\n# three\n'


def test_lists_on_several_lines_keep_their_comments() -> None:
    text = '[[group]]\nservers = [\n  "a",  # old\n  "b"  # new\n  # end\n]\n'
    new = edited(text, lambda t: t["group"][0]["servers"].append("c"))
    assert new == '[[group]]\nservers = [\n  "a",  # old\n  "b",  # new\n  # end\n  "c"\n]\n'
    new = edited(text, lambda t: t["group"][0]["servers"].remove("a"))
    assert new == '[[group]]\nservers = [\n  "b"  # new\n  # end\n]\n'


def test_lists_of_tables_that_others_stand_between_stay_where_they_are() -> None:
    text = '[[group]]\nname = "g"\n\n# of g\n[[monitor]]\nname = "m"\n\n[[group.resource]]\na = 1\n'
    text += '\n[[group]]\nname = "h"\n'
    new = edited(text, lambda t: t["group"][1].update(startup="manual"))
    assert new == text + 'startup = "manual"\n'
    new = edited(text, lambda t: t["group"][0]["resource"][0].update(a=0x10))
    assert new == text.replace("a = 1", "a = 16")


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param("a.b = 1\nc = 2\na.d = 3\n", id="dotted keys apart"),
        pytest.param("\t'a' =\t0x1F  # hex\n\"b\\u0041\" = 1_000\n", id="keys and numbers"),
        pytest.param("t = 1979-05-27 07:32:00Z\nn = nan\nz = -0.0\n", id="times and no numbers"),
        pytest.param("s = \"\"\"\n[cluster]\n# no \"\"\"\nr = '''\n[[x]]'''\n", id="many lines"),
        pytest.param("l = [ # first\n\n  [1, 2,], # in\n  # last\n]\n", id="lists in lists"),
        pytest.param("l = [{ a = [\n 1, # c\n] }]\n", id="a comment in a table on one line"),
    ],
)
def test_odd_text_around_a_change_stays(odd: str) -> None:
    text = f"[x.y]\n{odd}\n[cluster]\n{odd}lease = 3\n[[server]]\n{odd}[x]\n{odd}"
    new = edited(text, lambda t: t["cluster"].update(lease=4))
    assert new == text.replace("lease = 3", "lease = 4")
    new = edited(text, lambda t: t["server"].append({"name": "b"}))
    assert not lines_gone(text, new) and lines_come(text, new) == ['name = "b"']


def test_lines_end_as_toml_says() -> None:
    text = '[cluster]\r\nname = "x" # a\u2028b\x85c\r\n\r\n[[server]]\r\nname = "a"\r\n'
    new = edited(text, lambda t: t["cluster"].update(lease=4))
    assert 'name = "x" # a\u2028b\x85c\r\nlease = 4\r\n' in new


# ---------------------------------------------------------------------- any document, any change

SEEDS = 150


class Author:
    """Writes texts and changes them as people do, by a seed: hypothesis is thirty times slower."""

    def __init__(self, seed: int) -> None:
        self.chance = Random(seed)
        self.comments = 0

    def maybe(self, share: float = 0.3) -> bool:
        return self.chance.random() < share

    def value(self, depth: int = 2) -> Any:
        kinds = 6 if depth else 4
        match self.chance.randrange(kinds):
            case 0:
                return self.chance.choice([True, False])
            case 1:
                return self.chance.choice([0, 1, -3, 4711])
            case 2:
                return self.chance.choice([0.0, -0.0, 1.5, 1e300, float("inf"), float("nan")])
            case 3:
                return self.chance.choice(["", "x", "# no", "é\u2028", '"', "a\\nb\n", "]", "}, {"])
            case 4:
                return [self.value(depth - 1) for _ in range(self.chance.randrange(4))]
            case _:
                names = self.chance.sample(NAMES, self.chance.randrange(3))
                return {name: self.value(depth - 1) for name in names}

    # -- a text -----------------------------------------------------------------------------

    def comment(self, before: str = "") -> str:
        self.comments += 1
        return f"{before}# {self.comments}c [not] = a table"

    def strewn(self) -> list[str]:
        return [
            self.comment() if self.maybe(0.5) else ""
            for _ in range(self.chance.choice((0, 0, 1, 3)))
        ]

    def as_written(self, value: Any) -> str:
        if isinstance(value, list) and self.maybe(0.6):
            rows = ["["]
            for count, one in enumerate(value, 1):
                comma = "," if count < len(value) or self.maybe(0.5) else ""
                rows.append(
                    f"  {written(one)}{comma}" + (self.comment("  ") if self.maybe() else "")
                )
            return "\n".join([*rows, *([self.comment("  ")] if self.maybe() else []), "]"])
        if isinstance(value, dict) and value and self.maybe():
            inside = ",".join(f"{written_key(k)}={written(v)}" for k, v in value.items())
            return f"{{{inside}}}"
        return written(value)

    def statements(self) -> list[str]:
        lines: list[str] = []
        for name in self.chance.sample(NAMES, self.chance.randrange(4)):
            key, value = written_key(name), self.value()
            if isinstance(value, dict) and value and self.maybe():
                pairs = [f"{key}.{written_key(k)} = {written(v)}" for k, v in value.items()]
            else:
                pairs = [
                    f"{key}{self.chance.choice((' = ', '=', '   =  '))}{self.as_written(value)}"
                ]
            for pair in pairs:
                lines += [*self.strewn(), pair + (self.comment("  ") if self.maybe() else "")]
        return lines

    def block(self, header: str) -> list[str]:
        return [
            *self.strewn(),
            header + (self.comment(" ") if self.maybe() else ""),
            *self.statements(),
        ]

    def text(self) -> str:
        """Tables once and lists of them in any order, with what is below them, however apart."""
        heads = ["[cluster]"] * self.maybe() + ["[alert]"] * self.maybe()
        heads += ["[[server]]"] * self.chance.randrange(4) + ["[[group]]"] * self.chance.randrange(
            3
        )
        heads += ["[[monitor]]"] * self.chance.randrange(3)
        self.chance.shuffle(heads)
        lines = self.strewn()
        groups = 0
        for head in heads:
            groups += head == "[[group]]"
            lines += self.block(head)
            if head == "[[server]]" and self.maybe():
                lines += self.block("[server.bmc]")
            while groups and self.maybe(0.4):
                lines += self.block("[[group.resource]]")
        end = self.chance.choice(("\n", "\n", "\r\n", ""))
        whole = "\n".join([*lines, *self.strewn()]) + self.chance.choice(("", "\n"))
        if end:
            return whole.replace("\n", end)
        return "".join(row + self.chance.choice(("\n", "\r\n")) for row in whole.split("\n"))

    # -- changes ----------------------------------------------------------------------------

    def change(self, table: dict[str, Any], *, may_remove: bool) -> None:
        for key in list(table):
            value = table[key]
            if may_remove and self.maybe(0.2):
                del table[key]
            elif key in LISTS:
                self.change_list(key, value, may_remove=may_remove)
                if not value:
                    del table[key]
            elif isinstance(value, dict) and self.maybe(0.6):
                self.change(value, may_remove=may_remove)
            elif isinstance(value, list) and self.maybe(0.6):
                self.change_values(value, may_remove=may_remove)
            elif self.maybe(0.2) and (may_remove or not isinstance(value, list | dict)):
                table[key] = self.value()
        if self.maybe(0.5):
            name = self.chance.choice(NAMES)
            table.setdefault(name, self.value())

    def change_values(self, values: list[Any], *, may_remove: bool) -> None:
        if may_remove and values and self.maybe(0.5):
            del values[self.chance.randrange(len(values))]
        for index, value in enumerate(values):
            if not isinstance(value, list | dict) and self.maybe(0.2):
                values[index] = self.value(1)
        while self.maybe(0.5):
            values.insert(self.chance.randint(0, len(values)), self.value(1))

    def change_list(self, key: str, tables: list[Any], *, may_remove: bool) -> None:
        if may_remove and self.maybe():
            del tables[self.chance.randrange(len(tables))]
        for table in tables:
            if self.maybe(0.4):
                self.change(table, may_remove=may_remove)
        if self.maybe():
            self.chance.shuffle(tables)
        while self.maybe():
            new = {name: self.value() for name in self.chance.sample(NAMES, 2)}
            if key == "server" and self.maybe():
                new["bmc"] = {"a": 1}
            if key == "group" and self.maybe():
                new["resource"] = [{"a": 1}, {}]
            tables.insert(self.chance.randint(0, len(tables)), new)

    def change_all(self, tables: dict[str, Any], *, may_remove: bool) -> None:
        for key in list(tables):
            if key in LISTS:
                self.change_list(key, tables[key], may_remove=may_remove)
                if not tables[key]:
                    del tables[key]
            elif may_remove and self.maybe(0.1):
                del tables[key]
            else:
                self.change(tables[key], may_remove=may_remove)
        if self.maybe():
            tables.setdefault("forced_stop", {"action": "x"})
        if self.maybe():
            tables.setdefault("np", []).append({"type": "ping"})


NAMES = ["a", "b", "k-1", "a.b", "é", "x y", '"']
LISTS = ("server", "group", "resource", "monitor", "np")


def written_key(name: str) -> str:
    return written({name: 0})[2:].rpartition(" = ")[0]


def comments_in(text: str) -> list[str]:
    return re.findall(r"# (\d+)c \[not\] = a table", text)


@pytest.mark.parametrize("may_remove", [True, False])
def test_any_change_is_read_back_and_keeps_comments(may_remove: bool) -> None:
    for seed in range(SEEDS):
        author = Author(seed)
        text = author.text()
        document = Document(text)
        author.change_all(document.tables, may_remove=may_remove)
        new = document.text()
        assert repr(tomllib.loads(new)) == repr(in_order(document.tables, tomllib.loads(new))), seed
        kept = comments_in(new)
        assert len(kept) == len(set(kept)), seed
        if not may_remove:
            assert sorted(kept) == sorted(comments_in(text)), seed
        if "\r\n" in text and text.count("\r\n") == text.count("\n"):
            assert new.count("\r\n") == new.count("\n"), seed


def in_order(value: Any, like: Any) -> Any:
    """`value` with its keys in the order of `like`: the order of keys means nothing."""
    if isinstance(value, dict) and isinstance(like, dict) and set(value) == set(like):
        return {key: in_order(value[key], like[key]) for key in like}
    if isinstance(value, list) and isinstance(like, list) and len(value) == len(like):
        return [in_order(one, other) for one, other in zip(value, like, strict=True)]
    return value


VALUES = st.recursive(
    st.booleans() | st.integers(-9, 99) | st.floats(0, 9) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.sampled_from("ab-. é"), min_size=1, max_size=4), inner, max_size=2
        )
    ),
    max_leaves=3,
)


KEYS = st.text(st.sampled_from("ab-. é"), min_size=1, max_size=4)


@given(st.dictionaries(KEYS, VALUES, max_size=4), KEYS, VALUES)
def test_statements_as_we_write_them_change_as_the_library_would_change_them(
    tables: dict[str, Any], key: str, value: Any
) -> None:
    text = "".join(
        f"{statements.written_key(name)} = {written(one)}\n" for name, one in tables.items()
    )
    with mock.patch.object(statements, "_with_key_plainly", return_value=None):
        by_library = with_key(text, (key,), value)
    assert with_key(text, (key,), value) == by_library


@pytest.mark.parametrize(
    "text",
    ["a=1\n", " a = 1\n", "a = 1  # why\n", "a = 1\n\n", "a.b = 1\n", "a = [\n  1,\n]\n", "a = 1",
     "a = 0x1\n", "a = 'x'\n", "a = { b = 1}\n"],
)  # fmt: skip
def test_what_somebody_laid_out_is_left_to_the_library(text: str) -> None:
    assert statements._with_key_plainly(text, ("c",), 2) is None


@given(VALUES)
def test_any_value_is_written_on_one_line(value: Any) -> None:
    text = written(value)
    assert "\n" not in text
    assert tomllib.loads(f"v = {text}")["v"] == value


def test_a_new_file_reads_well(tmp_path: Path) -> None:
    assert (
        rendered(
            {"cluster": {"name": "c"}, "server": [{"name": "a", "bmc": {"address": "1.1.1.1"}}]}
        )
        == '[cluster]\nname = "c"\n\n[[server]]\nname = "a"\n[server.bmc]\naddress = "1.1.1.1"\n'
    )
