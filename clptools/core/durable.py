"""The volatile state of the rules: kept in `/run` with the boot id, gone with the boot.

Written before any part of it is used or told.  What is not in here is forgotten by an agent
restart, and the rules are safe with that.
"""

from __future__ import annotations

import msgspec

from clptools.core.messages import NO_EPOCH, NO_TERM, Epoch, Term


class HeldGroup(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
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


class Durable(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
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
    suspended: bool = False
    suspended_by: str = ""
    counters: dict[str, tuple[int, int, int]] = {}
    """Monitor -> (scripts, restarts, failovers) used up."""
