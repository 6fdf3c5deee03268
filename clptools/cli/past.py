"""What this server still knows of the past: records, from wherever they are kept.

The newest 10,000 come from the agent.  What is older, or wanted where no agent runs, comes from
this server's files (`past_files`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import msgspec

from clptools import paths
from clptools.api.messages import EventRecord
from clptools.cli.past_files import older, oldest_of
from clptools.core.model.view import StatusView
from clptools.core.report.order import apart_s, in_order
from clptools.faults import ClpError, ExitCode

BEFORE_S = 7 * 86_400.0
"""A state at an instant follows from what happened long before it."""
LED_TO_S = 3600.0
"""How much of that is taken from the journal, which is slow to read."""
CLOCKS_S = 1.0
"""If the clocks of two servers are further apart, it is said."""
_UNKNOWN = "Unknown"


class Past(msgspec.Struct, frozen=True, kw_only=True):
    """The records of all servers, and what they are to be read with."""

    records: tuple[EventRecord, ...]
    """In one order; each `time` is by the clock of this server."""
    raw: tuple[EventRecord, ...]
    """The same, as their servers told them."""
    present: StatusView
    """The cluster now; without an agent what is configured, all of it Offline."""
    me: str
    now: float
    remarks: tuple[str, ...]
    """What is to be said of them, beside the answer."""


def gather(begin: float | None, end: float | None = None, *, before: bool = False) -> Past:
    """What is known from `begin` on (None: of the newest).

    The journal, which is slow to read, is not read beyond `end`.  `before`: also what led to the
    state at `begin`.  Raises ClpError: no agent and no files, or not permitted to read them.
    """
    now = time.time()
    remarks: list[str] = []
    fault: ClpError | None = None
    known: list[EventRecord] = []
    try:
        me, present, known = _of_agent()
    except ClpError as error:
        if error.code is not ExitCode.NO_AGENT:
            raise
        fault = error
        me, present = paths.server_name(), _configured(error)
    wanted = now if begin is None else begin - BEFORE_S * before
    if fault is not None or (begin is not None and oldest_of(known, me, now) > wanted):
        try:
            upto = now if end is None else end
            since = now if begin is None else begin - LED_TO_S * before
            known = older(known, me, wanted, since, upto, remarks)
        except PermissionError as error:
            if fault is not None:
                text = f"{fault.message} {error.filename}: {error.strerror}."
                raise ClpError(ExitCode.NOT_PERMITTED, text, "Run it as root.") from error
            remarks.append(f"What is older is in {error.filename}, which root alone may read.")
    if fault is not None:
        if not known:
            text = " ".join((fault.message, *remarks))
            raise ClpError(fault.code, text, fault.hint) from fault
        remarks.append(f"{fault.message} This is what the files of {me} say.")
    remarks += _clocks(known, me)
    ordered = in_order(known, me)
    told = {record.cursor: record for record in known}
    return Past(
        records=ordered,
        raw=tuple(told[record.cursor] for record in ordered),
        present=present,
        me=me,
        now=now,
        remarks=tuple(remarks),
    )


def short_of(past: Past, begin: float) -> str:
    """What to say where the records do not reach back to `begin`; else nothing."""
    oldest = past.records[0].time if past.records else past.now
    if oldest <= begin:
        return ""
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(oldest))
    return f"{past.me} knows nothing from before {when}; another server may: ask there."


def _clocks(known: Sequence[EventRecord], me: str) -> Iterator[str]:
    from clptools.cli.render.text import duration

    for server, ahead in sorted(apart_s(known, me).items()):
        if abs(ahead) >= CLOCKS_S:
            word = "ahead of" if ahead > 0 else "behind"
            yield (
                f"The clock of {server} is {duration(abs(ahead))} {word} that of {me}; all times "
                f"are by the clock of {me}."
            )


# ---------------------------------------------------------------------- the agent


def _of_agent() -> tuple[str, StatusView, list[EventRecord]]:
    from clptools.api.client import Client

    with Client() as client:
        present = msgspec.convert(client.call("GetStatus")["status"], StatusView)
        found: list[EventRecord] = []
        for reply in client.stream("GetEvents", since="", follow=False):
            found += msgspec.convert(reply["events"], list[EventRecord])
    me = next((s.name for s in present.servers if s.local), paths.server_name())
    return me, present, found


def _configured(fault: ClpError) -> StatusView:
    from clptools.cli.stat_configuration import offline

    try:
        view = offline()
    except (ClpError, OSError):
        raise fault from None
    # Nobody knows how it is now, so this must say nothing about how it was.
    changed = msgspec.structs.replace
    return changed(
        view,
        servers=tuple(changed(server, status=_UNKNOWN) for server in view.servers),
        groups=tuple(changed(group, status=_UNKNOWN) for group in view.groups),
        monitors=tuple(
            changed(
                monitor,
                status=_UNKNOWN,
                servers={
                    name: changed(found, status=_UNKNOWN) for name, found in monitor.servers.items()
                },
            )
            for monitor in view.monitors
        ),
    )
