"""Big libraries are loaded in threads, one at a time.

In the agent's loop nothing would beat meanwhile.  And two threads that load a package with
circular imports at the same time get modules that are half made, or `_DeadlockError`: Python
locks each module by itself.
"""

from __future__ import annotations

import threading
from importlib import import_module
from types import ModuleType

_turn = threading.RLock()


def load(name: str) -> ModuleType:
    """The module of that name, whole; it is waited for if another thread loads one."""
    with _turn:
        return import_module(name)
