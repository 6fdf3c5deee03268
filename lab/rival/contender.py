"""Whoever keeps the group running on the two servers, as the comparison sees it."""

from __future__ import annotations

from typing import Protocol, TypeAlias

from lab.case import Lab
from lab.machine import Machine

Steps: TypeAlias = dict[str, float]
"""Steps of a take-over by its own log, in seconds from the fault."""


OURS = "clptools"


class Contender(Protocol):
    """One cluster software, configured."""

    name: str

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
    """The cluster that every other case has, as it is."""

    def __init__(self, lab: Lab) -> None:
        self.name = OURS
        self._lab = lab

    def begin(self) -> None:
        """Back in service, where the other one had stopped it."""
        for each in self._lab.servers:
            each.sh("systemctl enable -q --now clpnode", within_s=180)
        self._lab.servers[0].try_sh("clpcl -s -a", within_s=180)

    def ready(self) -> None:
        """Every server says that all is well."""
        self._lab.cluster.normal()

    def steps(self, other: Machine, since: float) -> Steps:
        """Its alert log is in the time line of every case."""
        return {}

    def end(self) -> None:
        """Stopped on all servers, and not started by a boot."""
        self._lab.servers[0].sh("clpcl -t -a", within_s=180)
        for each in self._lab.servers:
            each.sh("systemctl disable -q --now clpnode", within_s=180)
