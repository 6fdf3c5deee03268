"""`clpstat --watch`: the screen that follows the cluster, and its keys.

Two threads listen to the agent's streams (status, events) and reconnect when it is away; the
main thread draws and reads keys.  Colour only doubles what the words say.
"""

from __future__ import annotations

import os
import select
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

from rich.console import Console
from rich.live import Live
from rich.text import Text

from clptools.api.client import Client, Silent
from clptools.cli.render.explain import explanation
from clptools.cli.render.screen import WELL, Line, Size, frame, text_frame
from clptools.cli.render.status import hardware
from clptools.cli.render.text import duration
from clptools.faults import ClpError

if TYPE_CHECKING:
    from clptools.cli.json_types import (
        EventJson,
        ExplanationJson,
        HardwareJson,
        StatusJson,
    )

REDRAW_S = 1.0
"""Clock and ages move on at least this often."""
RETRY_S = 0.5
CALL_TIMEOUT_S = 2.0
EVENTS_KEPT = 200
_NOBODY = "no node agent answers"
QUIT_KEYS = ("q", "\x03", "\x04")


class Feed:
    """What the agent sends; `wake` is readable when there is something new."""

    def __init__(self, status: StatusJson) -> None:
        self.status = status
        self.events: deque[EventJson] = deque(maxlen=EVENTS_KEPT)
        self.received_at = time.monotonic()
        self.lost_at: float | None = None
        self._why = _NOBODY
        self.wake, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._cursor = ""

    def start(self) -> None:
        """Begins to listen; the threads end with the process."""
        for listen in (self._listen_status, self._listen_events):
            threading.Thread(target=self._forever, args=(listen,), daemon=True).start()

    def refresh(self) -> None:
        """Asks for the status if none came for a while: ages change without any event."""
        if self.lost_at is not None or time.monotonic() - self.received_at < REDRAW_S:
            return
        # The listening threads notice that the agent is gone, and report it.
        with suppress(ClpError), Client(timeout_s=CALL_TIMEOUT_S) as client:
            self._take(cast("StatusJson", client.call("GetStatus")["status"]))

    def lost(self) -> str:
        """Why nothing comes, and for how long; empty while it does."""
        if self.lost_at is None:
            return ""
        return f"{self._why} ({duration(time.monotonic() - self.lost_at)}): trying again"

    def drain(self) -> None:
        """Forgets the wake-ups that came so far."""
        with suppress(BlockingIOError):
            while os.read(self.wake, 4096):
                pass

    def _forever(self, listen: Callable[[], None]) -> None:
        while True:
            try:
                listen()
            except ClpError as error:
                self._why = error.message.rstrip(".") if isinstance(error, Silent) else _NOBODY
            if self.lost_at is None:
                self.lost_at = time.monotonic()
            self._notify()
            time.sleep(RETRY_S)

    def _listen_status(self) -> None:
        with Client(timeout_s=None) as client:
            for reply in client.stream("WatchStatus"):
                self._take(cast("StatusJson", reply["status"]))

    def _listen_events(self) -> None:
        with Client(timeout_s=None) as client:
            for reply in client.stream("GetEvents", since=self._cursor, follow=True):
                for event in cast("list[EventJson]", reply["events"]):
                    self._cursor = event["cursor"]
                    self.events.append(event)
                self._notify()

    def _take(self, status: StatusJson) -> None:
        self.status = status
        self.received_at = time.monotonic()
        self.lost_at = None
        self._notify()

    def _notify(self) -> None:
        with suppress(BlockingIOError):
            os.write(self._waker, b".")


@dataclass(kw_only=True)
class Screen:
    """The page that is shown, and the modes that keys have switched."""

    feed: Feed
    only_bad: bool = False
    paused: bool = False
    page: str = ""
    """Empty: the main screen; `hardware`, or `explain` for `subject`."""
    subject: str = ""
    page_text: str = ""
    page_at: float = 0.0
    frozen: list[Line] = field(default_factory=list)

    def press(self, key: str) -> bool:
        """Does what a key asks for; False ends the screen."""
        if key in QUIT_KEYS:
            return False
        if key == "e":
            subjects = self._subjects()
            after = subjects.index(self.subject) + 1 if self.subject in subjects else 0
            if subjects:
                self.page, self.subject = "explain", subjects[after % len(subjects)]
        elif key == "h":
            self.page = "" if self.page == "hardware" else "hardware"
        elif key in ("b", "\x1b"):
            self.page, self.subject = "", ""
        elif key == "f":
            self.only_bad = not self.only_bad
        elif key == "p":
            self.paused = not self.paused
        self.page_at = 0.0
        self.frozen = []
        return True

    def lines(self, size: Size) -> list[Line]:
        """The frame for now."""
        if self.paused and len(self.frozen) == size.lines:
            return self.frozen
        now = time.time()
        if self.page:
            self._turn(size)
            title = self.subject if self.page == "explain" else "hardware"
            self.frozen = text_frame(title, self.page_text, size, now)
        else:
            self.frozen = frame(
                self.feed.status,
                list(self.feed.events),
                size,
                now,
                only_bad=self.only_bad,
                paused=self.paused,
                lost=self.feed.lost(),
            )
        return self.frozen

    def _subjects(self) -> list[str]:
        """What may be explained: groups, then monitors and servers that are not well."""
        status = self.feed.status
        return [
            *(group["name"] for group in status["groups"]),
            *(m["name"] for m in status["monitors"] if m["status"] not in WELL),
            *(s["name"] for s in status["servers"] if s["status"] not in WELL),
        ]

    def _turn(self, size: Size) -> None:
        """Asks the agent for the text of the page, at most once a second."""
        if time.monotonic() - self.page_at < REDRAW_S:
            return
        self.page_at = time.monotonic()
        columns = max(size.columns - 1, 20)
        try:
            with Client(timeout_s=CALL_TIMEOUT_S) as client:
                if self.page == "hardware":
                    found = client.call("GetHardware")["hardware"]
                    self.page_text = hardware(cast("HardwareJson", found), time.time(), columns)
                else:
                    told = client.call("Explain", subject=self.subject)["explanation"]
                    self.page_text = explanation(
                        cast("ExplanationJson", told), self.feed.status, columns
                    )
        except ClpError as error:
            self.page_text = f"{error.message} {error.hint}"


def watch(status: StatusJson) -> None:
    """Shows the cluster until `q` is pressed; `status` is what the agent said just now."""
    feed = Feed(status)
    feed.start()
    screen = Screen(feed=feed)
    console = Console(highlight=False, soft_wrap=False)
    with (
        suppress(KeyboardInterrupt),  # Ctrl-C is as good an end as `q`
        keys() as keyboard,
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while True:
            size = Size(console.size.width, console.size.height)
            live.update(drawn(screen.lines(size)), refresh=True)
            waiting = [feed.wake, keyboard] if keyboard is not None else [feed.wake]
            # Short enough that a change of the terminal's size shows at once.
            ready, _, _ = select.select(waiting, [], [], REDRAW_S / 4)
            if keyboard is not None and keyboard in ready:
                pressed = os.read(keyboard, 64).decode(errors="replace")
                if not pressed or not all(screen.press(key) for key in typed(pressed)):
                    return
            feed.drain()
            feed.refresh()


def drawn(lines: list[Line]) -> Text:
    """A frame as rich draws it."""
    text = Text(no_wrap=True, overflow="crop", end="")
    for index, line in enumerate(lines):
        text.append("\n" if index else "")
        for piece, style in line:
            text.append(piece, style or None)
    return text


def typed(pressed: str) -> list[str]:
    """The keys in what was read; a function key's sequence counts as none."""
    if len(pressed) > 1 and pressed.startswith("\x1b"):
        return []
    return list(pressed)


@contextmanager
def keys() -> Iterator[int | None]:
    """The keyboard, key by key and without echo, as a descriptor; None if there is none."""
    import termios
    import tty

    if not sys.stdin.isatty():
        yield None
        return
    keyboard = sys.stdin.fileno()
    before = termios.tcgetattr(keyboard)
    tty.setcbreak(keyboard)
    try:
        yield keyboard
    finally:
        termios.tcsetattr(keyboard, termios.TCSADRAIN, before)
