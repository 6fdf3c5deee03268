"""What is asked from outside the cluster (`clprexec`) and what came of it, for the alert log.

Module and numbers are the original's: `trnsv` 1 denied, 10 accepted, 30 done, 31 failed.  Who
asked is told by the address that the connection came from; the name is only the caller's word.
That a notice was accepted is told by the core, which finds its monitors.
"""

from __future__ import annotations

from collections.abc import Awaitable

from clptools.agent import clock
from clptools.agent.records import Records, one_line
from clptools.api import peer as said
from clptools.core.model.actions import Record
from clptools.core.model.requests import ExternalNotice, Outcome
from clptools.core.model.words import Level
from clptools.faults import ClpError

_KNOCKS_APART_S = 600.0
"""Refused before anything was asked, by a port scanner say: told this often, all callers together,
so that nobody without the key can fill the alert log."""

_DENIED, _ACCEPTED, _DONE, _FAILED = 1, 10, 30, 31
_WHAT_CHARACTERS = 100


class Outside:
    """All such requests of this server."""

    def __init__(self, server: str, records: Records) -> None:
        self._server = server
        self._records = records
        self._told_at: float | None = None
        self._untold = 0

    def asking(self, asked: said.Transaction | said.TransactionScript, who: str) -> Asking:
        """One request that begins now, by `who`."""
        return Asking(self, asked, who)

    def knocked(self, address: str, why: str) -> None:
        """The control channel refused a caller."""
        now = clock.boot_ms() / 1000
        if self._told_at is not None and now - self._told_at < _KNOCKS_APART_S:
            self._untold += 1
            return
        others = f" (and {self._untold} others before)" if self._untold else ""
        self._told_at, self._untold = now, 0
        text = f"A notification came from outside, by {address}, but it was denied: {why}{others}."
        self.record(_DENIED, text)

    def record(self, event_id: int, text: str) -> None:
        """One line for the alert log."""
        level = Level.ERROR if event_id in (_DENIED, _FAILED) else Level.INFO
        self._records.add(
            Record(
                module="trnsv",
                event_id=event_id,
                level=level,
                subjects=(self._server,),
                text=text,
            )
        )


class Asking:
    """One request from outside."""

    def __init__(
        self, outside: Outside, asked: said.Transaction | said.TransactionScript, who: str
    ) -> None:
        self._outside = outside
        self._what = _what(asked)
        # The core tells of a notice that it took.
        self._by_core = isinstance(getattr(asked, "request", None), ExternalNotice)
        self._who = who
        self._accepted = False

    def accepted(self, _: str = "") -> None:
        """It is being done; told once."""
        if not self._accepted and not self._by_core:
            text = f"A notification ({self._what}) came from outside, by {self._who}."
            self._outside.record(_ACCEPTED, text)
        self._accepted = True

    async def followed(self, work: Awaitable[Outcome]) -> Outcome:
        """The outcome of `work`, once it is on record.  Raises ClpError as `work` does."""
        try:
            outcome = await work
        except ClpError as fault:
            self._ended(int(fault.code), fault.message)
            raise
        self._ended(outcome.code, outcome.text)
        return outcome

    def _ended(self, code: int, text: str) -> None:
        why = text.rstrip(".") or "it failed"
        if code and not self._accepted:
            self._outside.record(
                _DENIED,
                f"A notification ({self._what}) came from outside, by {self._who}, "
                f"but it was denied: {why}.",
            )
            return
        self.accepted()
        if code:
            self._outside.record(_FAILED, f"Action ({self._what}) by {self._who} failed: {why}.")
        elif not self._by_core:
            self._outside.record(_DONE, f"Action ({self._what}) by {self._who} has been completed.")


def _what(asked: said.Transaction | said.TransactionScript) -> str:
    """The request in words; every name in it is the caller's."""
    if isinstance(asked, said.TransactionScript):
        text = f"script {asked.script}"
    elif isinstance(asked.request, ExternalNotice):
        notice = asked.request
        thing = notice.monitor or f"{notice.category}.{notice.keyword}".rstrip(".")
        text = f"{'clear' if notice.clear else 'notice'} {thing}"
    else:
        move = asked.request
        thing = move.group or f"the group of {asked.resource}"
        text = f"{'failover' if move.failover else 'move'} {thing}"
    return one_line(text)[:_WHAT_CHARACTERS]
