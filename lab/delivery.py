"""Packages on their way to servers: another version of one, and a shelf to fetch it from."""

from __future__ import annotations

import contextlib
import functools
import re
import tempfile
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from lab.collector import ADDRESS
from lab.places import run

PORT = 8000


def renumbered(package: Path, suffix: str) -> Path:
    """The same package with a higher version, beside the other ones in the cache."""
    made = package.parent / "newer" / package.name.replace("_amd64", f".{suffix}_amd64")
    if not made.exists():
        made.parent.mkdir(exist_ok=True)
        for old in made.parent.glob("*.deb"):
            old.unlink()
        with tempfile.TemporaryDirectory() as folder:
            run("dpkg-deb", "-R", package, f"{folder}/tree")
            control = Path(folder, "tree/DEBIAN/control")
            text = re.sub(r"(?m)^(Version: .*)$", rf"\1.{suffix}", control.read_text())
            control.write_text(text)
            run("dpkg-deb", "--root-owner-group", "-Zzstd", "--build", f"{folder}/tree", made)
    return made


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextlib.contextmanager
def shelf(folder: Path) -> Iterator[str]:
    """Serves a folder to the servers as long as the block runs; yields its address."""
    handler = functools.partial(_Quiet, directory=str(folder))
    server = ThreadingHTTPServer((ADDRESS, PORT), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{ADDRESS}:{PORT}"
    finally:
        server.shutdown()
        server.server_close()
