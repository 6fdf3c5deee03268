"""The volatile state of the rules: kept in `/run` with the boot id, gone with the boot.

Written before any part of it is used or told.  What is not in here is forgotten by an agent
restart, and the rules are safe with that.
"""

from __future__ import annotations

import msgspec

from clptools.core.model.messages import NO_EPOCH, NO_TERM, Epoch, Shared, Term
from clptools.core.model.settings import Arbiter, Cluster, InForce


class HeldGroup(msgspec.Struct, frozen=True, kw_only=True):
    """One group as far as a restart must know it."""

    group: str
    seen: Epoch = NO_EPOCH
    """Highest epoch seen; a grant must be above it."""
    held: bool = False
    state: str = ""
    event: str = "START"
    """`CLP_EVENT` of its start, told again to its stop script."""
    previous: str = ""
    resources: dict[str, str] = {}
    """Resource -> `ResourceState` value."""
    purge: bool = False
    """Something of it may be left from before the agent that began without state."""


class MonitorMemory(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an agent restart must know of one monitor; instants are of this boot."""

    monitor: str
    suspended: bool = False
    suspended_by: str = ""
    suspended_at: int = 0
    scripts: tuple[int, ...] = ()
    restarts: tuple[int, ...] = ()
    failovers: tuple[int, ...] = ()


class OpenEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One open hardware event in the ledger on disk."""

    id: int
    monitor: str
    key: str
    event_class: str
    meaning: str
    source: str
    first_at: int
    last_at: int
    count: int = 1


class LedgerFile(msgspec.Struct, frozen=True, kw_only=True):
    """The ledger of open hardware events: on disk, because hardware outlives a boot.

    Instants are of the clock that `now` comes from; the agent that keeps the file over a boot
    shifts them to the new clock (they may become negative).
    """

    next_event: int = 1
    entries: tuple[OpenEntry, ...] = ()
    halts: dict[str, int] = {}
    """`rm`, `rc` -> final actions of monitors, of resources, in a row that ended the machine."""
    liars: tuple[str, ...] = ()
    """Servers whose BMC read off while they were heard: what it says is no proof."""
    behind: dict[str, str] = {}
    """Resource whose copy of mirrored data here is behind -> the server with the newer one."""


class Durable(msgspec.Struct, frozen=True, kw_only=True):
    """What `Persist` writes and `AgentStarted` brings back."""

    term: Term = NO_TERM
    vote: str = ""
    """The server we last voted for."""
    vote_term: Term = NO_TERM
    groups: tuple[HeldGroup, ...] = ()
    lease_until: int = 0
    """Holder's lease, `now` of this boot."""
    left: tuple[str, ...] = ()
    """Servers that said they left."""
    confirmed: dict[str, str] = {}
    """Server -> user who confirmed it down."""
    newcomer: bool = False
    shared: Shared = Shared(version=NO_EPOCH)
    """The policy known last, so that what an operator stopped stays stopped."""
    suspended_since: int = 0
    """Since when the cluster is suspended, `now` of this boot: negative where it began before."""
    waived: bool = False
    """Suspended, and all know that this server does not stop itself by its lease."""
    monitors: tuple[MonitorMemory, ...] = ()
    names: tuple[str, ...] = ()
    """Servers of the revision by which we vote, or of the one before while both count."""
    arbiter: Arbiter | None = None
    cluster: Cluster | None = None
    """Its lengths, likewise."""
    ratio_until: int = 0
    """When stretched time-outs end, `now` of this boot."""
    macs: dict[str, tuple[str, ...]] = {}
    """Server -> its MAC addresses."""
    doubt: bool = False
    """Voters or lengths change, and some server may not have heard of it."""
    turns_before: tuple[InForce, ...] = ()
    """Revisions by which some server may still take turns in fencing."""
    off: dict[str, int] = {}
    """Server -> when the newest off read of it that counts was asked, `now` of this boot."""
    off_at: dict[str, str] = {}
    """Server -> address and port of the BMC that read so."""
