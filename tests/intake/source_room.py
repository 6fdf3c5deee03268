"""Sources run as the agent runs them, and what they told."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from clptools.core.model.events import MessageSeen
from clptools.core.model.settings import Monitor, Option, Server, Settings
from clptools.intake.kernel import Kernel, Uevents
from clptools.intake.kernel import Take as TakeUevent
from clptools.intake.kmsg import Finding, Kmsg, Line, Read, Take, line_of
from clptools.intake.sources import Faults, Sources, watched
from tests.conftest import LIMIT_S

SERVER = "server1"


def mrw(category: str, keyword: str = "", **options: Option) -> Monitor:
    """A message receive monitor."""
    return Monitor(
        name=f"mrw-{keyword or 'any'}",
        type="mrw",
        servers=(SERVER,),
        category=category,
        keywords={SERVER: keyword} if keyword else {},
        options=options,
    )


def settings(*monitors: Monitor) -> Settings:
    return Settings(servers=(Server(name=SERVER),), monitors=monitors)


class SpokenKmsg(Kmsg):
    """A log whose lines the test speaks: in the form of `/dev/kmsg`, without its prefix."""

    def __init__(self) -> None:
        super().__init__()
        self._heard: list[tuple[tuple[bytes, ...], Read, Take]] = []

    def listen(
        self,
        needles: tuple[bytes, ...],
        read: Read,
        take: Take,
        look_again: Callable[[], None] = lambda: None,
    ) -> Callable[[], None]:
        self.look_again = look_again
        one = (needles, read, take)
        self._heard.append(one)
        return lambda: self._heard.remove(one)

    def say(self, *texts: str) -> None:
        """Each a line; what follows `\\n` is its dictionary."""
        for text in texts:
            data = text.encode()
            for needles, read, take in list(self._heard):
                found = read(line_of(data)) if any(n in data for n in needles) else None
                if found is not None:
                    take(found, 1)

    def close(self) -> None:
        self._heard.clear()


class SpokenUevents(Uevents):
    """Uevents that the test speaks."""

    def listen(
        self, subsystems: frozenset[str], take: TakeUevent, look_again: Callable[[], None]
    ) -> Callable[[], None]:
        mark = object()
        self._listeners[mark] = (subsystems, take, look_again)
        return lambda: self._listeners.pop(mark, None) and None

    def say(self, head: str, **values: str) -> None:
        """`change@/devices/...` and its values, as the kernel puts them into a message."""
        lines = [head, *(f"{key}={value}" for key, value in values.items())]
        self.message(b"".join(line.encode() + b"\0" for line in lines))


def spoken(tmp: Path, *, proc: str = "/proc") -> tuple[Kernel, SpokenKmsg, SpokenUevents]:
    """A kernel with a sysfs of the test's own below `tmp`."""
    kmsg, uevents = SpokenKmsg(), SpokenUevents()
    kernel = Kernel(sys=f"{tmp}/sys", proc=proc, dev=f"{tmp}/dev", kmsg=kmsg, uevents=uevents)
    (tmp / "sys").mkdir(exist_ok=True)
    (tmp / "dev").mkdir(exist_ok=True)
    return kernel, kmsg, uevents


def put(folder: Path, **files: str | int) -> Path:
    """Files of a sysfs directory."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")
    return folder


class Heard:
    """The sources of some monitors, and what they told."""

    def __init__(
        self, *monitors: Monitor, kernel: Kernel | None = None, was_open: Iterable[str] = ()
    ) -> None:
        self.told: list[MessageSeen] = []
        self.at: list[float] = []
        self.notes: list[str] = []
        self.settings = settings(*monitors)
        self.sources = Sources(
            SERVER, self._message, self.notes.append, lambda: frozenset(was_open), kernel
        )

    async def _message(self, event: MessageSeen) -> None:
        self.at.append(time.monotonic())
        self.told.append(event)

    async def __aenter__(self) -> Heard:
        self.sources.apply(self.settings)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.sources.close()

    async def until(self, condition: Callable[[], object], seconds: float = LIMIT_S) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"told {self.lines}, noted {self.notes}"
            await asyncio.sleep(0.002)

    async def count(self, number: int, seconds: float = LIMIT_S) -> MessageSeen:
        """The event of that number, once it was told."""
        await self.until(lambda: len(self.told) >= number, seconds)
        return self.told[number - 1]

    @property
    def lines(self) -> list[str]:
        """What was told, a line each: `keyword#fault`, a sign, the text."""
        return [
            f"{e.keyword}#{e.fault}"
            f" {'ok' if e.recovered else 'warning' if e.predictive else 'error'}: {e.text}"
            for e in self.told
        ]


class Told:
    """Faults of one source, without the source.  Make it inside a running loop."""

    def __init__(self, *monitors: Monitor, was_open: Iterable[str] = ()) -> None:
        self.told: list[MessageSeen] = []
        one = watched(settings(*monitors), SERVER)
        self.faults = Faults(next(iter(one.values())), self.told.append, was_open)

    @property
    def lines(self) -> list[str]:
        return [
            f"{e.keyword}#{e.fault}"
            f" {'ok' if e.recovered else 'warning' if e.predictive else 'error'}: {e.text}"
            for e in self.told
        ]


async def listening(kmsg: SpokenKmsg, seconds: float = LIMIT_S) -> None:
    """Until a source listens."""
    deadline = time.monotonic() + seconds
    while not kmsg._heard:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.002)


def finding(read: Read, text: str) -> Finding | None:
    """What a source makes of a line."""
    head, _, tail = text.partition("\n DEVICE=")
    return read(Line(text=head, device=tail))
