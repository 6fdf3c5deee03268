"""A `clp.conf`, the configuration of EXPRESSCLUSTER, as a tree: read, walked, edited and written.

Each element has a tag and at most one label: the attribute `name`, or `id` where children are
numbered.  A tag path names one as the original's `clpcfset` does: `policy@server1/order`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from xml.parsers import expat

from clptools.faults import ClpError, ExitCode

MAX_BYTES = 4 << 20
MAX_DEPTH = 40
"""Of elements within each other; samples have up to 8."""
MAX_ELEMENTS = 100_000
"""500 monitors with all that a file can say of them are a third of it."""
MAX_ALIKE = 1_000
"""Elements of one tag within one element."""
_MAX_DIGITS = 9

_DECLARED = re.compile(r"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([^"']*)["'][^>]*\?>""")
_ENCODINGS = {
    **dict.fromkeys(("utf-8", "utf8", "ascii", "us-ascii"), ("utf-8",)),
    **dict.fromkeys(("euc-jp", "eucjp", "eucjp-ms", "eucjp-win", "cp51932"),
                    ("euc_jp", "euc_jis_2004")),
    **dict.fromkeys(("sjis", "shift_jis", "shift-jis", "x-sjis", "cp932", "windows-31j",
                     "ms_kanji", "ms932"), ("cp932", "shift_jis_2004")),
    **dict.fromkeys(("gb2312", "gbk", "gb18030", "cp936", "euc-cn"), ("gb18030",)),
    **dict.fromkeys(("iso-8859-1", "latin1", "windows-1252"), ("cp1252",)),
    **dict.fromkeys(("utf-16", "utf-16le", "utf-16be"), ("utf-16",)),
}  # fmt: skip
"""Declared encoding -> the ones of Python that read it, the stricter first.  Files that declare a
national standard have letters of its maker's extension all the same."""
_ESCAPES = str.maketrans({
    "&": "&amp;", "<": "&lt;", ">": "&gt;", "\t": "&#9;", "\n": "&#10;",
    "\r": "&#13;",
})  # fmt: skip
"""Our own: `xml.sax.saxutils` loads all of `urllib.request`,
a seventh of the time of one step of clpcfset."""
_UNREADABLE = "\ufffd"
"""Stands for what cannot be decoded."""


class Node:
    """One element."""

    __slots__ = ("children", "label", "line", "tag", "text")

    def __init__(self, tag: str, label: str = "", text: str = "", line: int = 0) -> None:
        self.tag = tag
        self.label = label
        self.text = text
        """Without blanks around it; what stands between children, too."""
        self.line = line
        self.children: list[Node] = []

    @property
    def step(self) -> str:
        """Its part of a tag path: `policy@server1`."""
        return f"{self.tag}@{self.label}" if self.label else self.tag

    def all(self, tag: str) -> list[Node]:
        """The children of that tag; numbered ones in the order of their numbers."""
        found = [child for child in self.children if child.tag == tag]
        if all(child.label.isdecimal() for child in found):
            found.sort(key=lambda child: number(child.label))
        return found

    def find(self, path: str, *, loose: bool = False) -> Node | None:
        """The first element at a tag path below; `loose`: a step without label takes any."""
        node: Node | None = self
        for step in path.split("/"):
            tag, at, label = step.partition("@")
            any_label = loose and not at
            assert node is not None
            node = next(
                (
                    one
                    for one in node.children
                    if one.tag == tag and (any_label or one.label == label)
                ),
                None,
            )
            if node is None:
                return None
        return node

    def value(self, path: str, default: str = "") -> str:
        """The text at a tag path; the default, too, where it is empty."""
        found = self.find(path)
        return found.text or default if found is not None else default

    def number(self, path: str, default: int = 0) -> int:
        """The number at a tag path; the default, too, where it is none."""
        return number(self.value(path), default)

    def leaves(self, before: str = "") -> Iterator[tuple[str, Node]]:
        """Tag path and element of all that is below and has no children, or text among them."""
        for child in self.children:
            path = f"{before}{child.step}"
            if not child.children or child.text:
                yield path, child
            yield from child.leaves(f"{path}/")

    def copy(self) -> Node:
        """The same tree, to be changed."""
        node = Node(self.tag, self.label, self.text, self.line)
        node.children = [child.copy() for child in self.children]
        return node

    def make(self, path: str) -> Node:
        """The element at a tag path, made with those on the way where it is missing."""
        node = self
        for step in path.split("/"):
            found = node.find(step)
            if found is None:
                tag, _, label = step.partition("@")
                found = Node(tag, label)
                node.children.append(found)
            node = found
        return node

    def set(self, path: str, text: str) -> None:
        """Sets the text at a tag path."""
        self.make(path).text = text

    def drop(self, path: str) -> bool:
        """Takes the element at a tag path out, and those that it leaves empty."""
        step, _, rest = path.partition("/")
        child = self.find(step)
        if child is None or (rest and not child.drop(rest)):
            return False
        if not rest or not (child.children or child.text):
            self.children.remove(child)
        return True


def number(text: str, default: int = 0) -> int:
    """A number that is not negative; the default where it is none, or longer than any here."""
    plain = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    return int(text) if plain else default


def tag_of(path: str) -> str:
    """A tag path as the tables here have it: without `/root/` before it."""
    return path.strip("/").removeprefix("root/")


def spelled(text: str) -> str:
    """Text for a message: nothing in it that a terminal would obey."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


# ---------------------------------------------------------------------- reading


def parsed(data: bytes, file: str) -> Node:
    """The root of a `clp.conf`, read in the encoding that it declares.

    Letters that the encoding does not know are replaced in comments, and refused elsewhere.

    Raises:
        ClpError: it is no such file (too large, not XML, another root, an unknown encoding).
    """
    if len(data) > MAX_BYTES:
        raise _refused(file, f"larger than {MAX_BYTES >> 20} MiB")
    text, encoding = _decoded(data, file)
    root = _Reader(text, file).root
    if root.tag != "root" or root.find("cluster") is None:
        raise _refused(file, "not a clp.conf: there is no <root><cluster>")
    second = root.all("cluster")[1:]
    if second:
        text = "a second <cluster>: a clp.conf is one cluster"
        raise _refused(file, text, second[0].line, "Put each into a file of its own.")
    for path, node in root.leaves():
        unreadable = _UNREADABLE in node.text and node.tag != "comment"
        if unreadable or _UNREADABLE in path:
            raise _refused(file, f"{spelled(path)} is not {encoding} text", node.line)
    return root


def _refused(file: str, reason: str, line: int = 0, hint: str = "") -> ClpError:
    place = f"{file}:{line}" if line else file
    return ClpError(ExitCode.INVALID_CONFIG, f"{place}: {reason}", hint)


def _decoded(data: bytes, file: str) -> tuple[str, str]:
    """The text, and the encoding that it declares."""
    wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
    head = data[:1000].decode("utf-16" if wide else "latin-1", "replace")
    declared = _DECLARED.match(head.removeprefix("\xef\xbb\xbf").removeprefix("\ufeff"))
    encoding = "utf-16" if wide else declared[1].lower() if declared else "utf-8"
    if data.startswith(b"\xef\xbb\xbf"):
        encoding, data = "utf-8", data[3:]
    if encoding not in _ENCODINGS:
        raise _refused(file, f'unknown encoding "{spelled(encoding[:40])}"')
    for codec in _ENCODINGS[encoding]:
        try:
            return data.decode(codec), encoding
        except UnicodeDecodeError:
            continue
    tried = [data.decode(codec, "replace") for codec in _ENCODINGS[encoding]]
    return min(tried, key=lambda text: text.count(_UNREADABLE)), encoding


class _Reader:
    """Builds the tree; comments and processing instructions leave nothing behind."""

    def __init__(self, text: str, file: str) -> None:
        self._file = file
        self._open: list[Node] = []
        self._texts: list[list[str]] = []
        """The text of each open element so far, in pieces."""
        self._alike: list[Counter[str]] = []
        """How many children of each tag each open element has so far."""
        self._count = 0
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = self._doctype
        top = Node("")
        self._enter(top)
        try:
            self._parser.Parse(text, True)
        except expat.ExpatError as fault:
            raise self._fault(fault) from None
        self.root = top.children[0]

    def _fault(self, fault: expat.ExpatError) -> ClpError:
        if fault.code == expat.errors.codes[expat.errors.XML_ERROR_JUNK_AFTER_DOC_ELEMENT]:
            reason, hint = "something follows </root>", "A clp.conf is one cluster."
        elif fault.code in (
            expat.errors.codes[expat.errors.XML_ERROR_NO_ELEMENTS],
            expat.errors.codes[expat.errors.XML_ERROR_UNCLOSED_TOKEN],
        ):
            reason = "not XML: it ends in the middle" if len(self._open) > 1 else "not XML"
            hint = ""
        else:
            reason, hint = f"not XML: {expat.errors.messages[fault.code]}", ""
        return _refused(self._file, reason, fault.lineno, hint)

    def _doctype(self, *_: object) -> None:
        text = "has a document type declaration, as no clp.conf has"
        raise _refused(self._file, text, self._parser.CurrentLineNumber)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        line = self._parser.CurrentLineNumber
        if len(self._open) > MAX_DEPTH:
            text = f"more than {MAX_DEPTH} elements within each other, as no clp.conf has"
            raise _refused(self._file, text, line)
        self._count += 1
        if self._count > MAX_ELEMENTS:
            raise _refused(
                self._file, f"more than {MAX_ELEMENTS} elements, as no clp.conf has", line
            )
        self._alike[-1][tag] += 1
        if self._alike[-1][tag] > MAX_ALIKE:
            where = self._open[-1].tag
            text = f"more than {MAX_ALIKE} times <{spelled(tag[:40])}> in <{spelled(where[:40])}>, "
            raise _refused(self._file, text + "as no clp.conf has", line)
        label = next((name for name in ("name", "id") if attributes.get(name)), "")
        node = Node(tag, attributes.pop(label, ""), "", line)
        for name, value in attributes.items():
            if value or name not in ("name", "id"):
                node.children.append(Node(name, "", value, line))
        self._open[-1].children.append(node)
        self._enter(node)

    def _enter(self, node: Node) -> None:
        self._open.append(node)
        self._texts.append([])
        self._alike.append(Counter())

    def _characters(self, text: str) -> None:
        self._texts[-1].append(text)

    def _end(self, _: str) -> None:
        self._alike.pop()
        self._open.pop().text = "".join(self._texts.pop()).strip()


# ---------------------------------------------------------------------- writing


def written(root: Node, encoding: str = "UTF-8", comment: str = "") -> bytes:
    """The file, pretty-printed; letters that the encoding lacks become references."""
    head = f'<?xml version="1.0" encoding="{encoding}" standalone="yes"?>\n'
    head += f"<!-- {comment} -->\n" if comment else ""
    return (head + "".join(_lines(root, ""))).encode(encoding, "xmlcharrefreplace")


def _lines(node: Node, indent: str) -> Iterator[str]:
    kind = "id" if node.label.isdecimal() else "name"
    label = node.label.translate(_ESCAPES).replace('"', "&quot;")
    start = f'{node.tag} {kind}="{label}"' if label else node.tag
    if not node.children:
        yield (
            f"{indent}<{start}>{node.text.translate(_ESCAPES)}</{node.tag}>\n"
            if node.text
            else (f"{indent}<{start}/>\n")
        )
        return
    yield f"{indent}<{start}>\n"
    for child in node.children:
        yield from _lines(child, f"{indent}  ")
    yield f"{indent}</{node.tag}>\n"
