"""The volatile state of the rules: kept in `/run` with the boot id, and gone with the boot.

It is written before any part of it is used or told. What is not in here is forgotten when an agent
restarts, and the rules are safe with that.
"""

from __future__ import annotations

import msgspec

from clptools.core.model.messages import NO_EPOCH, NO_TERM, Epoch, Shared, Term
from clptools.core.model.settings import Arbiter, Cluster, InForce


class HeldGroup(msgspec.Struct, frozen=True, kw_only=True):
    """What a restarted agent must know of one group."""

    group: str
    seen: Epoch = NO_EPOCH
    """Highest epoch seen; a grant must be above it."""
    held: bool = False
    state: str = ""
    event: str = "START"
    """`CLP_EVENT` of its start, which its stop script gets again."""
    previous: str = ""
    resources: dict[str, str] = {}
    """Resource -> `ResourceState` value."""
    purge: bool = False
    """Something of it may still run from before this agent started without state."""


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
    """The ledger of open hardware events: on disk, because hardware faults outlive a boot.

    Instants are of the clock that `now` comes from. When the agent reads the file after a boot, it
    shifts them to the new clock, so they may become negative.
    """

    next_event: int = 1
    entries: tuple[OpenEntry, ...] = ()
    halts: dict[str, int] = {}
    """`rm` (monitors), `rc` (resources) -> how many final actions in a row ended the machine."""
    liars: tuple[str, ...] = ()
    """Servers whose BMC read off while they were heard, so what it says is no proof."""
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
    """End of the holder's lease, in `now` of this boot."""
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
    """The cluster is suspended, and all servers know that this one does not stop itself by its
    lease."""
    monitors: tuple[MonitorMemory, ...] = ()
    names: tuple[str, ...] = ()
    """Servers of the revision by which we vote, or of the previous one while both count."""
    arbiter: Arbiter | None = None
    cluster: Cluster | None = None
    """The durations of that revision."""
    ratio_until: int = 0
    """When stretched time-outs end, `now` of this boot."""
    macs: dict[str, tuple[str, ...]] = {}
    """Server -> its MAC addresses."""
    doubt: bool = False
    """Voters or durations are changing, and some server may not have heard of it."""
    turns_before: tuple[InForce, ...] = ()
    """Revisions by which some server may still take its turn to fence."""
    off: dict[str, int] = {}
    """Server -> when its newest read that counted as off was asked, in `now` of this boot."""
    off_at: dict[str, str] = {}
    """Server -> address and port of the BMC that read off."""
