"""Loads big libraries in threads, one at a time.

In the agent's loop no heartbeat would go out meanwhile.  Two threads that load a package with
circular imports at the same time get half-made modules, or `_DeadlockError`: Python locks each
module by itself.
"""

from __future__ import annotations

import threading
from importlib import import_module
from types import ModuleType

_turn = threading.RLock()


def load(name: str) -> ModuleType:
    """The module of that name, complete.  Waits while another thread loads one."""
    with _turn:
        return import_module(name)
