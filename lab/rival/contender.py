"""Whoever keeps the group running on the two servers, as the comparison sees it."""

from __future__ import annotations

from typing import Protocol, TypeAlias

from lab.case import Lab
from lab.cluster import sample
from lab.machine import Machine

Steps: TypeAlias = dict[str, float]
"""Steps of a take-over by its own log, in seconds from the fault."""

OURS = "clptools"
DEFAULT_S = 3.0
"""Silence that clptools takes for death, `heartbeat_timeout`."""


class Contender(Protocol):
    """One cluster software, configured."""

    name: str
    silence_s: float
    """Its own setting of how long a server may be silent: who has the same is comparable."""

    def begin(self) -> None:
        """Starts it; nothing else keeps the group."""

    def ready(self) -> None:
        """Returns when everything is as it should be.  Raises Trouble or Wrong."""

    def steps(self, other: Machine, since: float) -> Steps:
        """How the take-over by `other` went, by its own log."""
        ...

    def end(self) -> None:
        """Stops it on every server that runs."""


class Clptools:
    """The cluster that every other case has."""

    def __init__(self, lab: Lab) -> None:
        self.name = OURS
        self.silence_s = DEFAULT_S
        self._lab = lab

    def retune(self, silence_s: float) -> None:
        """Another heartbeat time-out, pushed while it runs.  Raises Failed."""
        more = "" if silence_s == DEFAULT_S else f"[cluster]\nheartbeat_timeout = {silence_s:.1f}\n"
        wanted = sample(more=more)
        if self._lab.cluster.configuration != wanted:
            self._lab.cluster.push(wanted)
        self.silence_s = silence_s
        self.name = self.called(silence_s)

    @staticmethod
    def called(silence_s: float) -> str:
        """Its name with that time-out."""
        return OURS if silence_s == DEFAULT_S else f"{OURS}, heartbeat_timeout {silence_s:g} s"

    def begin(self) -> None:
        """Back in service, where the other one had stopped it."""
        for each in self._lab.servers:
            each.sh("systemctl enable -q --now clpnode", within_s=180)
        self._lab.servers[0].try_sh("clpcl -s -a", within_s=180)

    def ready(self) -> None:
        """Every server says that all is well."""
        self._lab.cluster.normal()

    def steps(self, other: Machine, since: float) -> Steps:
        """None: its records are in the time line of every case."""
        return {}

    def end(self) -> None:
        """Stopped on all servers, and not started by a boot."""
        self._lab.servers[0].sh("clpcl -t -a", within_s=180)
        for each in self._lab.servers:
            each.sh("systemctl disable -q --now clpnode", within_s=180)
