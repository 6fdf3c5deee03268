"""All variants of all rooms, gathered for the configuration loader.

Only the rooms' `registry.py` are imported, never a variant itself, so this is cheap.
"""

from __future__ import annotations

from functools import cache

from clptools.arbiters.registry import FIELDS as ARBITERS
from clptools.config.variants import Registries
from clptools.intake.registry import FIELDS as SOURCES
from clptools.links.registry import FIELDS as LINKS
from clptools.monitors.registry import FIELDS as MONITORS
from clptools.resources.registry import FIELDS as RESOURCES


@cache
def registries() -> Registries:
    """What `clptools.config.load.load` wants."""
    return Registries(
        links=LINKS,
        resources=RESOURCES,
        monitors=MONITORS,
        arbiters=ARBITERS,
        sources=SOURCES,
    )
