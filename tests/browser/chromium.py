"""Debian's chromium without a window: what it draws, where, and what it complains of."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

PROGRAM = shutil.which("chromium")
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--hide-scrollbars",
    "--proxy-server=127.0.0.1:9",
)
"""Nothing may be fetched: the proxy is the discard port, where nobody listens."""
WITHIN_S = 60.0

needed = pytest.mark.skipif(PROGRAM is None, reason="CHROMIUM IS MISSING: apt-get install chromium")

LOOK = """<script>addEventListener("load", () => {
  const boxes = selector => [...document.querySelectorAll(selector)].map(e => {
    const b = e.getBoundingClientRect();
    return {text: e.textContent, x: b.x, y: b.y, w: b.width, h: b.height};
  });
  const out = document.createElement("script");
  out.type = "application/json"; out.id = "looked";
  out.textContent = JSON.stringify({
    texts: boxes("svg.clp text"), shapes: boxes("svg.clp g.mark > g"),
    cells: boxes("td, th, h1, h2, p, pre"),
    wide: document.documentElement.scrollWidth, room: innerWidth,
    scripts: document.scripts.length - 1,
  }).replaceAll("<", "\\\\u003c");
  document.documentElement.append(out);
})</script>"""
"""Only the copy of a page that is looked at has it; the page itself forbids scripts."""


def _run(path: Path, *more: str, width: int = 1200) -> subprocess.CompletedProcess[str]:
    assert PROGRAM is not None
    with tempfile.TemporaryDirectory() as folder:
        return subprocess.run(
            [PROGRAM, *OPTIONS, f"--user-data-dir={folder}", f"--window-size={width},2000", *more,
             path.as_uri()],
            capture_output=True, text=True, timeout=WITHIN_S, check=True,
        )  # fmt: skip


def complaints(path: Path) -> list[str]:
    """What the console says of a page: scripts and styles that were refused, what was not found."""
    said = _run(path, "--enable-logging=stderr", "--dump-dom").stderr
    return [line for line in said.splitlines() if "CONSOLE" in line]


def looked_at(path: Path, folder: Path, width: int = 1200) -> dict[str, Any]:
    """Where everything is, in pixels, by a script that a copy of the page has."""
    text = path.read_text()
    if path.suffix == ".svg":
        text = f"<!DOCTYPE html><body>{text.partition('?>')[2]}</body>"
    text = re.sub(r"<meta http-equiv=\"(Content-Security-Policy|refresh)\"[^>]*>", "", text)
    copy = folder / f"{path.stem}-looked-at.html"
    copy.write_text(text.replace("</body>", f"{LOOK}</body>"))
    shown = _run(copy, "--dump-dom", width=width).stdout
    found = re.search(r'id="looked">(.*?)</script>', shown, re.DOTALL)
    assert found is not None, shown[-500:]
    looked: dict[str, Any] = json.loads(found[1])
    return looked


def printed(path: Path, folder: Path) -> bytes:
    """The page as a PDF."""
    target = folder / f"{path.stem}.pdf"
    _run(path, f"--print-to-pdf={target}", "--no-pdf-header-footer")
    return target.read_bytes()


def overlaps(boxes: list[dict[str, Any]], slack: float = 1.0) -> list[tuple[str, str]]:
    """Pairs of boxes that lie over each other by more than `slack` pixels."""
    found = []
    for index, one in enumerate(boxes):
        for other in boxes[index + 1 :]:
            across = min(one["x"] + one["w"], other["x"] + other["w"]) - max(one["x"], other["x"])
            down = min(one["y"] + one["h"], other["y"] + other["h"]) - max(one["y"], other["y"])
            if across > slack and down > slack:
                found.append((one["text"], other["text"]))
    return found
