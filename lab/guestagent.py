"""Commands inside a server, over the QEMU guest agent: no network, no key, no login.

The connection outlives nothing: a server that is reset, frozen or dark answers no more, and then
`GuestGone` says so after its time.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import time
from pathlib import Path
from typing import Any

SOONEST_S, LATEST_S = 0.05, 0.4
"""Between two looks whether a command has ended: every look costs the server, too."""


class GuestGone(Exception):
    """The server did not answer in time: it is off, hangs, or boots."""


class Failed(Exception):
    """A command in the server ended with another status than zero."""


class GuestAgent:
    """The agent behind one socket; every call opens it anew."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def alive(self, within_s: float = 2.0) -> bool:
        """Whether the agent answers."""
        try:
            with self._connected(time.monotonic() + within_s):
                return True
        except GuestGone:
            return False

    def run(self, line: str, *, text: str = "", within_s: float = 60.0) -> str:
        """Runs a shell line, gives it `text` to read, and returns what it wrote.

        Raises Failed (with both outputs) and GuestGone.
        """
        status, out, err = self.call(line, text=text, within_s=within_s)
        if status:
            raise Failed(f"{line}: exit status {status}\n{out}{err}".rstrip())
        return out

    def call(self, line: str, *, text: str = "", within_s: float = 60.0) -> tuple[int, str, str]:
        """As `run`, with the exit status and both outputs.  Raises GuestGone."""
        deadline = time.monotonic() + within_s
        arguments: dict[str, Any] = {
            "path": "/bin/sh",
            "arg": ["-c", line],
            "env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root"],
            "capture-output": True,
        }
        if text:
            arguments["input-data"] = base64.b64encode(text.encode()).decode()
        with self._connected(deadline) as ask:
            pid = ask("guest-exec", arguments)["pid"]
            pause_s = SOONEST_S
            while not (state := ask("guest-exec-status", {"pid": pid}))["exited"]:
                time.sleep(pause_s)
                pause_s = min(pause_s * 1.5, LATEST_S)
        out, err = (
            base64.b64decode(state.get(key, "")).decode(errors="replace")
            for key in ("out-data", "err-data")
        )
        # Ended by a signal: as a shell counts it.
        status = state.get("exitcode", 128 + state.get("signal", 0))
        return status, out, err

    def spawn(self, line: str, within_s: float = 10.0) -> None:
        """Starts a shell line and does not wait for it: it may be the end of the server."""
        arguments = {"path": "/bin/sh", "arg": ["-c", line]}
        with self._connected(time.monotonic() + within_s) as ask:
            ask("guest-exec", arguments)

    @contextlib.contextmanager
    def _connected(self, deadline: float) -> Any:
        """A fresh connection that the agent has answered on."""
        with socket.socket(socket.AF_UNIX) as link:
            left = deadline - time.monotonic()
            link.settimeout(max(left, 0.1))
            try:
                link.connect(str(self._path))
                reader = link.makefile("rb")

                def ask(command: str, arguments: dict[str, Any]) -> Any:
                    link.settimeout(max(deadline - time.monotonic(), 0.1))
                    request = {"execute": command, "arguments": arguments}
                    link.sendall(json.dumps(request).encode() + b"\n")
                    return self._answer(reader.readline(), command)

                # What a caller before us left unread is skipped up to our own mark.
                mark = time.monotonic_ns() & 0x7FFFFFFF
                request = {"execute": "guest-sync", "arguments": {"id": mark}}
                link.sendall(json.dumps(request).encode() + b"\n")
                while self._answer(reader.readline(), "guest-sync") != mark:
                    pass
                yield ask
            except OSError as error:
                raise GuestGone(f"{self._path.parent.name} does not answer: {error}") from error

    def _answer(self, line: bytes, command: str) -> Any:
        if not line:
            raise GuestGone(f"{self._path.parent.name} went while it was asked")
        answer = json.loads(line)
        if "error" in answer:
            if command == "guest-sync":
                return None  # half a line of a caller before us
            raise Failed(f"{command}: {answer['error'].get('desc')}")
        return answer["return"]
