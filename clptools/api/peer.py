"""What agents say to each other beside the core's control messages.

Notices are sent and forgotten; each request has one reply type, named beside it.  Both travel
on the TLS channel (`links/peer.py`), which is handed `Notice` and `Ask` and knows no more of
them.  A caller outside the cluster may send `OUTSIDE` only.
"""

from __future__ import annotations

import msgspec

from clptools.api.backend import BmcFault, ConfigFiles, EventRecord, LogsPart
from clptools.core.model.messages import Control
from clptools.core.model.requests import ExternalNotice, GroupMove, Outcome
from clptools.core.model.view import StatusView


class PeerMessage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Base of everything between agents."""


class Records(PeerMessage, tag="records", frozen=True, kw_only=True):
    """Recorded events of one or more servers, in order for each server."""

    records: tuple[EventRecord, ...]


class AskRecords(PeerMessage, tag="ask-records", frozen=True, kw_only=True):
    """After a time apart: what the asker lacks.

    Reply: `Records`, at most `limit` of the server asked, and of the asker itself.
    """

    after: dict[str, str]
    """Server -> cursor of the newest record the asker has."""
    present: str = ""
    """Begins the cursors of the asker's own records since its agent started: it lacks none."""
    limit: int = 500


class PushPrepare(PeerMessage, tag="push-prepare", frozen=True, kw_only=True):
    """Check this configuration and keep it aside.  Reply: `Outcome`."""

    push: str
    """Names this push in the commit or abort that follows."""
    files: ConfigFiles
    user: str


class PushCommit(PeerMessage, tag="push-commit", frozen=True, kw_only=True):
    """Put the prepared configuration in force.  Reply: `Outcome`."""

    push: str


class PushAbort(PeerMessage, tag="push-abort", frozen=True, kw_only=True):
    """Forget the prepared configuration.  Reply: `Outcome`."""

    push: str


class PushRemoved(PeerMessage, tag="push-removed", frozen=True, kw_only=True):
    """You are none of the cluster's servers any more: forget its configuration.

    Reply: `Outcome`.
    """

    revision: int
    """The first without you."""


class AskConfigHash(PeerMessage, tag="ask-config-hash", frozen=True, kw_only=True):
    """Which configuration is in force there?  Reply: `ConfigHash`."""


class ConfigHash(PeerMessage, tag="config-hash", frozen=True, kw_only=True):
    """The configuration in force: equal hashes mean equal files."""

    revision: int
    files: dict[str, str]
    """Path relative to the configuration folder -> SHA-256 in hex."""
    servers: tuple[str, ...] = ()
    """Names of its servers."""


class AskConfig(PeerMessage, tag="ask-config", frozen=True, kw_only=True):
    """Send the configuration in force.  Reply: `ConfigFiles`."""


class AskStatus(PeerMessage, tag="ask-status", frozen=True, kw_only=True):
    """`clpstat -h`: how that server sees the cluster.  Reply: `StatusView`."""

    local: bool = False


class AskCounters(PeerMessage, tag="ask-counters", frozen=True, kw_only=True):
    """`clpstat --hw`: what came to that server as traps.  Reply: `Counters`."""


class Counters(PeerMessage, tag="counters", frozen=True, kw_only=True):
    """Traps by what became of them, since the agent started, and what is wrong with BMCs."""

    traps: dict[str, int]
    bmcs: tuple[BmcFault, ...] = ()
    """BMCs that it cannot use as it should."""


class AskLogs(PeerMessage, tag="ask-logs", frozen=True, kw_only=True):
    """`clplogcc`: what that server knows, packed.  Reply: `LogsPart`."""

    archive: str = ""
    """Of which a further part is wanted; empty: pack one."""
    offset: int = 0
    """In bytes."""


class Transaction(PeerMessage, tag="transaction", frozen=True, kw_only=True):
    """`clprexec --failover`, `--notice`, `--clear`.  Reply: `Outcome`."""

    request: GroupMove | ExternalNotice
    resource: str = ""
    """With a `GroupMove` that names no group: move the group that holds this resource."""
    user: str = ""


class TransactionScript(PeerMessage, tag="transaction-script", frozen=True, kw_only=True):
    """`clprexec --script`: a script below `scripts/trnreq/` there.  Reply: `Outcome`."""

    script: str
    timeout_s: float
    user: str = ""


Notice = Control | Records
"""What `PeerChannel.send` takes."""

Ask = (
    AskRecords
    | PushPrepare
    | PushCommit
    | PushAbort
    | PushRemoved
    | AskConfigHash
    | AskConfig
    | AskStatus
    | AskCounters
    | AskLogs
    | Transaction
    | TransactionScript
)
"""What `PeerChannel.call` takes."""

PeerReply = Outcome | Records | ConfigHash | ConfigFiles | StatusView | Counters | LogsPart
"""What an answered `Ask` may bring back; the request says which."""

OUTSIDE = (Transaction, TransactionScript)
"""The requests that a caller outside the cluster may send."""
