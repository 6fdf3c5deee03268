"""Questions and answers on a terminal or through a pipe: plain lines, nothing else."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TextIO

from clptools.faults import ClpError

CANCEL = "<"


class Ended(Exception):
    """There are no more answers: the end of the pipe, or Ctrl-D."""


class Cancelled(Exception):
    """The operator does not want to answer this: `<`."""


class Talk:
    """Asks on `out`, reads from standard input."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._echo = not sys.stdin.isatty()

    def say(self, text: str = "") -> None:
        """Prints."""
        print(text, file=self._out)

    def ask(self, question: str, default: str = "", about: str = "") -> str:
        """One line; the default where it is empty.  `?` shows what it is about.

        Raises Ended, and Cancelled for `<`.
        """
        shown = f" [{default}]" if default else ""
        while True:
            print(f"{question}{shown}: ", end="", file=self._out, flush=True)
            line = sys.stdin.readline()
            if not line:
                self.say()
                raise Ended
            answer = line.strip()
            if self._echo:
                self.say(answer)
            if answer == CANCEL:
                raise Cancelled
            if answer != "?" or not about:
                return answer or default
            self.say(f"  {about}")

    def until(
        self, question: str, take: Callable[[str], None], default: str = "", about: str = ""
    ) -> str:
        """Asks until `take` accepts the answer; its fault is shown before the next try."""
        while True:
            answer = self.ask(question, default, about)
            try:
                take(answer)
            except ClpError as fault:
                self.say(f"  {fault.message}")
                if fault.hint:
                    self.say(f"  {fault.hint}")
            else:
                return answer

    def yes(self, question: str, default: bool) -> bool:
        """Yes or no."""
        while True:
            answer = self.ask(f"{question} (y/n)", "y" if default else "n").lower()
            if answer in ("y", "yes", "n", "no"):
                return answer.startswith("y")
