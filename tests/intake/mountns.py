"""A mount namespace for a test's thread."""

from __future__ import annotations

import asyncio
import ctypes
import subprocess
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

T = TypeVar("T")
CLONE_NEWNS = 0x00020000


def mount(*words: str) -> None:
    """Run `mount` in the namespace of this thread."""
    done = subprocess.run(["mount", *words], capture_output=True, text=True)
    assert done.returncode == 0, f"mount {' '.join(words)}: {done.stderr}"


def own_mounts(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a thread whose mounts nobody else sees; they go with it."""
    outcome: list[T] = []
    faults: list[BaseException] = []

    def body() -> None:
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
                work.close()
                pytest.skip("a mount namespace needs CAP_SYS_ADMIN")
            mount("--make-rprivate", "/")
            outcome.append(asyncio.run(work))
        except BaseException as fault:
            faults.append(fault)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if faults:
        raise faults[0]
    return outcome[0]
