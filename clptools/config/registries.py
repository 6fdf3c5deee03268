"""What variants there are, as the loader is told: it imports none of them itself."""

from __future__ import annotations

import msgspec

from clptools.config.field import Field

Variants = dict[str, tuple[Field, ...]]
"""Type name -> the keys that only this type understands."""


class Registries(msgspec.Struct, frozen=True, kw_only=True):
    """Every type that a configuration may name."""

    links: Variants
    resources: Variants
    monitors: Variants
    arbiters: Variants
    sources: Variants = {}
    """Category of message receive monitors -> the keys that its source understands."""
    host_actions: tuple[str, ...]
    """Actions on a host or by its BMC: `shutdown`, `bmc-reset`, ..."""

    @property
    def final_actions(self) -> tuple[str, ...]:
        """Names for `final_action`: those the cluster does itself, then those on the host."""
        return ("none", "stop-resource", "stop-group", "stop-cluster", *self.host_actions)

    @property
    def partition_actions(self) -> tuple[str, ...]:
        """Names for `[cluster] partition_action`."""
        return ("none", "stop", *self.host_actions)
