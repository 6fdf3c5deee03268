"""Threads for what must not hold up the agent's loop: big libraries, and work that may hang."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Hashable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, TypeVar

_turn = threading.RLock()


def load(name: str) -> ModuleType:
    """The module of that name, complete; for big libraries, in a thread.

    In the agent's loop no heartbeat would go out meanwhile.  One at a time: two threads that load
    a package with circular imports at once get half-made modules, or `_DeadlockError`, since
    Python locks each module by itself.
    """
    with _turn:
        return import_module(name)


T = TypeVar("T")
Item = TypeVar("Item")


def in_daemon_thread(name: str, work: Callable[[], T]) -> asyncio.Future[T]:
    """What `work` returns or raises, from a thread for which nothing waits at the end.

    The loop's own threads are few, shared by everything, and waited for at the end.  Shield the
    future where its being done is to tell that the thread has ended.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, fault: Exception | None) -> None:
        if found.done():
            return
        if fault is None:
            found.set_result(result)  # type: ignore[arg-type]  # None only where T is
        else:
            found.set_exception(fault)
            found.exception()  # the caller may have given up

    def run() -> None:
        result, fault = None, None
        try:
            result = work()
        except Exception as error:
            fault = error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, result, fault)

    threading.Thread(target=run, name=name, daemon=True).start()
    return found


def side_by_side(
    name: str, work: Callable[[Item], T], items: Sequence[Item], at_once: int
) -> list[T]:
    """What `work` returns for each item, from so many threads for which nothing waits at the end.

    A `ThreadPoolExecutor` has its threads waited for when the process ends, and a disk may hang.
    Raises what one of them raised.
    """
    found: dict[int, T] = {}
    faults: list[Exception] = []
    left = iter(enumerate(items))
    turn = threading.Lock()

    def run() -> None:
        while not faults:
            with turn:
                index, item = next(left, (-1, None))
            if item is None:
                return
            try:
                found[index] = work(item)
            except Exception as error:
                faults.append(error)

    threads = [
        threading.Thread(target=run, name=name, daemon=True)
        for _ in range(min(at_once, len(items)))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise faults[0]
    return [found[index] for index in range(len(items))]


_under_way: dict[Hashable, asyncio.Future[Any]] = {}


async def one_at_a_time(key: Hashable, name: str, work: Callable[[], T]) -> T:
    """As `in_daemon_thread`; who asks by the same key meanwhile gets the result of the same work.

    What hangs so holds one thread, not another one each time.
    """
    doing: asyncio.Future[T] | None = _under_way.get(key)
    if doing is None:
        doing = _under_way[key] = in_daemon_thread(name, work)
        doing.add_done_callback(lambda _: _under_way.pop(key, None))
    return await asyncio.shield(doing)
