"""The catalogue of what clptools tells people, by the room of the core that tells it.

`form.py` says what a notice is; `docs/events.md` is made from these modules and from the
`notices.py` of the rooms around the core.
"""

from __future__ import annotations

from clptools.core.notices import cluster, groups, hardware, monitors, requests, safety

__all__ = ["cluster", "groups", "hardware", "monitors", "requests", "safety"]
