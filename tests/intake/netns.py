"""A network namespace of its own for a test's thread, with an address on its loopback."""

from __future__ import annotations

import asyncio
import ctypes
import subprocess
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

T = TypeVar("T")
CLONE_NEWNET = 0x40000000


def own_network(work: Coroutine[Any, Any, T], *addresses: str) -> T:
    """Runs a coroutine in a thread whose loopback, with these addresses, nobody else sees."""
    outcome: list[T] = []
    faults: list[BaseException] = []

    def body() -> None:
        try:
            if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET) != 0:
                work.close()
                pytest.skip("a network namespace needs CAP_SYS_ADMIN")
            for words in ("link set lo up", *(f"addr add {a} dev lo nodad" for a in addresses)):
                done = subprocess.run(["ip", *words.split()], capture_output=True, text=True)
                if done.returncode:
                    work.close()
                    pytest.skip(f"ip {words}: {done.stderr}")
            outcome.append(asyncio.run(work))
        except BaseException as fault:
            faults.append(fault)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if faults:
        raise faults[0]
    return outcome[0]
