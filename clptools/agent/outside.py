"""What is asked from outside the cluster (`clprexec`) and what came of it, for the alert log.

Who asked is told by the address that the connection came from; the name is only the caller's
word.  That a notice was accepted is told by the core, which finds its monitors.
"""

from __future__ import annotations

from collections.abc import Awaitable

from clptools.agent import clock
from clptools.agent.notices import KnockDenied, OutsideDenied, OutsideDone, OutsideFailed
from clptools.agent.records import Records, one_line
from clptools.api import messages as said
from clptools.core.model.requests import ExternalNotice, Outcome
from clptools.core.notices.form import Notice
from clptools.core.notices.requests import OutsideAccepted
from clptools.faults import ClpError

_KNOCKS_APART_S = 600.0
"""Refused before anything was asked, by a port scanner say: told this often, all callers together,
so that nobody without the key can fill the alert log."""

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
        others, self._told_at, self._untold = self._untold, now, 0
        self.tell(KnockDenied(address, why, others))

    def tell(self, notice: Notice) -> None:
        """One line for the alert log."""
        self._records.notice(notice)


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
            self._outside.tell(OutsideAccepted(self._what, self._who))
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
            self._outside.tell(OutsideDenied(self._what, self._who, why))
            return
        self.accepted()
        if code:
            self._outside.tell(OutsideFailed(self._what, self._who, why))
        elif not self._by_core:
            self._outside.tell(OutsideDone(self._what, self._who))


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
