"""Namespaces of networks and mounts for tests: a thread is in one, the others are not."""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import pytest

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
CLONE_NEWNS = 0x00020000


def ip(*words: str, netns: str = "") -> str:
    """Run `ip`, in a namespace if one is named."""
    prefix = ["ip", "-n", netns] if netns else ["ip"]
    done = subprocess.run([*prefix, *words], capture_output=True, text=True)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
    return done.stdout


def mount(*words: str) -> None:
    """Run `mount` in the namespace of this thread."""
    done = subprocess.run(["mount", *words], capture_output=True, text=True)
    assert done.returncode == 0, f"mount {' '.join(words)}: {done.stderr}"


def inside(netns: str, work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a thread whose sockets are in that namespace."""

    def enter() -> None:
        with open(f"/run/netns/{netns}") as file:
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")

    return _in_own_thread(work, enter)


def own_network(work: Coroutine[Any, Any, T], *addresses: str) -> T:
    """Run a coroutine in a thread whose loopback, with these addresses, nobody else sees."""

    def enter() -> None:
        _unshare(CLONE_NEWNET, "a network namespace")
        for words in ("link set lo up", *(f"addr add {a} dev lo nodad" for a in addresses)):
            done = subprocess.run(["ip", *words.split()], capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"ip {words}: {done.stderr}")

    return _in_own_thread(work, enter)


def own_mounts(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a thread whose mounts nobody else sees; they go with it."""

    def enter() -> None:
        _unshare(CLONE_NEWNS, "a mount namespace")
        mount("--make-rprivate", "/")

    return _in_own_thread(work, enter)


def _unshare(flag: int, what: str) -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(flag) != 0:
        pytest.skip(f"{what} needs CAP_SYS_ADMIN")


def _in_own_thread(work: Coroutine[Any, Any, T], enter: Callable[[], None]) -> T:
    """Run `work` in a thread that `enter` has taken into a namespace; what they raise is raised."""
    outcome: list[T] = []
    faults: list[BaseException] = []

    def body() -> None:
        try:
            enter()
            outcome.append(asyncio.run(work))
        except BaseException as fault:
            work.close()  # of one that ran it does nothing
            faults.append(fault)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    if faults:
        raise faults[0]
    return outcome[0]


@contextmanager
def wire() -> Iterator[tuple[str, str]]:
    """Two namespaces joined by `eth0`: 10.9.0.1/24 and 10.9.0.2/24, fd09::1 and fd09::2."""
    one, two = (f"clpt{os.getpid()}{end}" for end in "ab")
    try:
        for name in (one, two):
            ip("netns", "add", name)
            ip("link", "set", "lo", "up", netns=name)
        ip(
            "link", "add", "eth0", "netns", one, "type", "veth",
            "peer", "name", "eth0", "netns", two,
        )  # fmt: skip
        for number, name in enumerate((one, two), start=1):
            ip("link", "set", "eth0", "up", netns=name)
            ip("address", "add", f"10.9.0.{number}/24", "dev", "eth0", netns=name)
            ip("address", "add", f"fd09::{number}/64", "dev", "eth0", "nodad", netns=name)
        yield one, two
    finally:
        for name in (one, two):
            subprocess.run(["ip", "netns", "del", name], capture_output=True)
