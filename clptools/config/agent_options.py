"""The keys of an `ocf` resource, for those who check it and for those who run it."""

from __future__ import annotations

from clptools.core.model.options import VariantOptions


class Options(VariantOptions, frozen=True, kw_only=True):
    """The agent, and what it is given."""

    agent: str
    parameters: dict[str, str] = {}
    parameters_on: dict[str, str] = {}
    """Those of single servers, by `SERVER/NAME`."""
    parameters_from: dict[str, str] = {}
    """Parameter -> file with its value, which never shows."""
    role: str = "started"
    """Or `promoted`."""
    monitor_interval_ms: int = 0
    monitor_timeout_ms: int = 60_000
    depth: int = 0

    @property
    def promoted(self) -> bool:
        """Whether the group's server is where it is promoted."""
        return self.role == "promoted"
