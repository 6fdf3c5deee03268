"""What peers ask of this agent, and callers outside the cluster that have its key (`clprexec`).

What was asked from outside, and what came of it, is recorded.  The record names the address that
the connection came from, since the name is only the caller's word.  The core records that a notice
was accepted, because it finds the monitors.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from clptools.agent import clock
from clptools.agent.backend import AgentBackend
from clptools.agent.key_roll import KeyRoll
from clptools.agent.notices import KnockDenied, OutsideDenied, OutsideDone, OutsideFailed
from clptools.agent.push_receiver import PushReceiver
from clptools.agent.records import Records, one_line
from clptools.api import messages as said
from clptools.api.messages import LogsPart
from clptools.core.model.requests import ExternalNotice, Outcome
from clptools.core.notices.form import Notice
from clptools.core.notices.requests import OutsideAccepted
from clptools.faults import ClpError, ExitCode

_KNOCKS_APART_S = 600.0
"""Rate limit for recording callers that were refused before a request, such as a port scanner: one
record for all of them in this time, so that no caller without the key can fill the alert log."""

_WHAT_CHARACTERS = 100


class PeerAnswers:
    """The answers of this agent to its peers, and to callers outside the cluster with the key."""

    def __init__(
        self,
        server: str,
        backend: AgentBackend,
        records: Records,
        received: PushReceiver,
        key_roll: KeyRoll,
    ) -> None:
        self._backend = backend
        self._records = records
        self._received = received
        self._key_roll = key_roll
        self.outside = Outside(server, records)
        """What was asked from outside the cluster."""

    async def answer(self, sender: str, asked: said.PeerRequest, source: str) -> msgspec.Struct:
        """What a peer asked, or (`Transaction…`) a caller with the key.  Raises ClpError.

        `source`: the address of a caller that is no server; that is all that is known of it.
        """
        reply: msgspec.Struct = await self._handlers[type(asked)](self, source or sender, asked)
        return reply

    async def _ask_records(self, sender: str, asked: said.AskRecords) -> msgspec.Struct:
        limit = max(0, min(asked.limit, 1000))
        # A version that does not say which of its own records it has lacks none of them.
        asker = sender if asked.present else ""
        lacking = self._records.after(asked.after, limit, asker, asked.present)
        return said.Records(records=lacking)

    async def _push_prepare(self, _: str, asked: said.PushPrepare) -> msgspec.Struct:
        return await self._received.prepare(asked)

    async def _push_commit(self, _: str, asked: said.PushCommit) -> msgspec.Struct:
        return await self._received.commit(asked)

    async def _push_abort(self, _: str, asked: said.PushAbort) -> msgspec.Struct:
        return await self._received.abort(asked)

    async def _push_removed(self, sender: str, asked: said.PushRemoved) -> msgspec.Struct:
        return self._received.removed(asked, sender)

    async def _config_hash(self, sender: str, _: said.AskConfigHash) -> msgspec.Struct:
        return await self._received.hashes(sender)

    async def _config(self, _: str, __: said.AskConfig) -> msgspec.Struct:
        return await self._backend.config()

    async def _ask_status(self, _: str, asked: said.AskStatus) -> msgspec.Struct:
        return self._backend.status(asked.local)

    async def _ask_counters(self, _: str, __: said.AskCounters) -> msgspec.Struct:
        return self._backend.own_counters()

    async def _ask_facts(self, _: str, asked: said.AskFacts) -> msgspec.Struct:
        facts = await self._backend.own_facts(asked.config)
        return said.ToldFacts(facts=facts, wall=clock.wall_s())

    async def _ask_logs(self, _: str, asked: said.AskLogs) -> LogsPart:
        return await self._backend.logs_part(asked)

    async def _key(self, _: str, asked: said.KeyMessage) -> msgspec.Struct:
        return await self._key_roll.answer(asked)

    async def _transaction(self, sender: str, asked: said.Transaction) -> msgspec.Struct:
        who = _on_behalf(asked.user, sender)
        asking = self.outside.asking(asked, who)

        async def work() -> Outcome:
            request = asked.request
            if isinstance(request, ExternalNotice):
                # Not the name that the caller gives itself.
                request = msgspec.structs.replace(request, origin=sender)
            elif asked.resource:
                request = msgspec.structs.replace(request, group=self._group_of(asked.resource))
            return await self._backend.request(request, who, asking.accepted)

        return await asking.followed(work())

    def _group_of(self, resource: str) -> str:
        for group in self._backend.status(False).groups:
            if any(each.name == resource for each in group.resources):
                return group.name
        raise ClpError(ExitCode.NO_SUCH, f"{resource}: no such group resource.")

    async def _script(self, sender: str, asked: said.TransactionScript) -> msgspec.Struct:
        who = _on_behalf(asked.user, sender)
        asking = self.outside.asking(asked, who)

        async def work() -> Outcome:
            self._backend.script_path(asked.script)
            # Recorded before it runs: the script may end this server.
            asking.accepted()
            return await self._backend.run_script(
                asked.script, who, max(0.1, min(asked.timeout_s, 86_400))
            )

        return await asking.followed(work())

    _handlers: dict[type, Callable[[Any, str, Any], Any]] = {
        said.AskRecords: _ask_records,
        said.PushPrepare: _push_prepare,
        said.PushCommit: _push_commit,
        said.PushAbort: _push_abort,
        said.PushRemoved: _push_removed,
        said.AskConfigHash: _config_hash,
        said.AskConfig: _config,
        said.AskStatus: _ask_status,
        said.AskCounters: _ask_counters,
        said.AskFacts: _ask_facts,
        said.AskLogs: _ask_logs,
        said.AskKeys: _key,
        said.AskNewKey: _key,
        said.AcceptKey: _key,
        said.UseKey: _key,
        said.DropKey: _key,
        said.ForgetKey: _key,
        said.Transaction: _transaction,
        said.TransactionScript: _script,
    }


def _on_behalf(user: str, sender: str) -> str:
    named = "".join(c for c in user if c.isprintable())[:64]
    return f"{named} (clprexec, {sender})" if named else f"clprexec, {sender}"


class Outside:
    """The requests from outside to this server, for the alert log."""

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
        # The core records a notice that it accepts.
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
