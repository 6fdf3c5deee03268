"""Reading a `clp.conf`, the configuration of EXPRESSCLUSTER, as a tree of XML elements."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree import ElementTree

from clptools.faults import ClpError, ExitCode

MAX_BYTES = 4 << 20

_DECLARED = re.compile(rb"""^\s*<\?xml[^>]*encoding\s*=\s*["']([A-Za-z0-9_-]+)["'][^>]*\?>""")


def parsed(data: bytes, file: str) -> ElementTree.Element:
    """The root of a `clp.conf`, read in the encoding that it declares.

    Raises:
        ClpError: it is no such file (too large, not XML, another root, an unknown encoding).
    """

    def refused(reason: str) -> ClpError:
        return ClpError(ExitCode.INVALID_CONFIG, f"{file}: {reason}")

    if len(data) > MAX_BYTES:
        raise refused(f"larger than {MAX_BYTES >> 20} MiB")
    declared = _DECLARED.match(data)
    encoding = declared[1].decode().lower() if declared else "utf-8"
    try:
        # Python knows EUC-JP, GB2312 and SJIS; the XML parser does not.
        text = data.decode("utf-8" if encoding == "ascii" else encoding)
    except LookupError:
        raise refused(f'unknown encoding "{encoding}"') from None
    except UnicodeDecodeError:
        raise refused(f"not {encoding} text") from None
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise refused("has a document type declaration, as no clp.conf has")
    try:
        root = ElementTree.fromstring(text[declared.end() :] if declared else text)
    except ElementTree.ParseError as fault:
        raise refused(f"not XML: {fault}") from None
    if root.tag != "root" or root.find("cluster") is None:
        raise refused("not a clp.conf: there is no <root><cluster>")
    return root


def text_of(element: ElementTree.Element, path: str, default: str = "") -> str:
    """The text at a path below an element, without blanks around it."""
    return (element.findtext(path) or default).strip()


def number_of(element: ElementTree.Element, path: str, default: int) -> int:
    """The number at a path below an element; the default, too, where it is none."""
    value = text_of(element, path)
    return int(value) if value.isascii() and value.isdigit() else default


def name_of(element: ElementTree.Element) -> str:
    """The name of an object, or of what refers to it."""
    return element.get("name", "")


def parameters_of(element: ElementTree.Element, before: str = "") -> Iterator[tuple[str, str]]:
    """Tag path and text of all that is set below an element: `policy@server1/order`, `0`."""
    for child in element:
        label = child.get("name") or child.get("id")
        path = f"{before}{child.tag}{'@' + label if label else ''}"
        if len(child):
            yield from parameters_of(child, path + "/")
        elif child.text and child.text.strip():
            yield path, child.text.strip()
