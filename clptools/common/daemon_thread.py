"""Work that may hang, in a thread of its own for which nothing waits at the end of the process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def in_daemon_thread(name: str, work: Callable[[], T]) -> asyncio.Future[T]:
    """What `work` returns or raises.

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
