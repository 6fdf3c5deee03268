"""Whether a server's kernel lives, asked together with its BMC: ICMP echo on every interconnect.

A server whose agent stands still or restarts is silent, yet not off, whatever its BMC says.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from ipaddress import ip_address

from clptools.common.ping import Echo
from clptools.core.model.settings import Settings
from clptools.core.notices.form import Notice
from clptools.hardware.notices import EchoesForbidden

WINDOW_S = 0.05
"""How long an answer is waited for.  One that comes later counts if the BMC took longer still:
that errs to the safe side."""


class Echoes:
    """Where the servers can be asked.  `on_change(text)`: one line for the log."""

    def __init__(self, server: str, on_change: Callable[[Notice], None]) -> None:
        self._server = server
        self._on_change = on_change
        self._paths: dict[str, tuple[tuple[str, str], ...]] = {}
        """Server -> own address and its, on each LAN interconnect that both have."""
        self._told = False

    def apply(self, settings: Settings) -> None:
        """Knows the interconnects of `settings`."""
        self._paths = {
            server.name: tuple(
                (path.addresses[self._server], path.addresses[server.name])
                for path in settings.interconnects
                if path.is_lan
                and {self._server, server.name} <= path.addresses.keys()
                and not _is_own(path.addresses[server.name])
            )
            for server in settings.servers
        }

    def to(self, server: str) -> EchoesTo:
        """One question to `server`, to be closed."""
        return EchoesTo(self._paths.get(server, ()), self._not_permitted)

    def _not_permitted(self) -> None:
        if not self._told:
            self._told = True
            self._on_change(EchoesForbidden())


def _is_own(address: str) -> bool:
    """Whether our own kernel would answer: servers of a rehearsal live on loopback addresses."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


class EchoesTo:
    """One echo request on each path to a server, and whether one is answered."""

    def __init__(
        self, paths: tuple[tuple[str, str], ...], not_permitted: Callable[[], None]
    ) -> None:
        self._paths = paths
        self._not_permitted = not_permitted
        self._echoes: list[Echo] = []
        self._until_s = 0.0

    def send(self) -> None:
        """They leave; a path that cannot be used now is left out."""
        for source, target in self._paths:
            try:
                echo = Echo(target, source)
            except PermissionError:
                self._not_permitted()
                continue
            except OSError:
                continue
            self._echoes.append(echo)
            # A network that is down says so at once: then no answer comes from there.
            with contextlib.suppress(OSError):
                echo.send()
        self._until_s = asyncio.get_running_loop().time() + WINDOW_S

    async def answered(self) -> bool:
        """Whether an answer came; waits until `WINDOW_S` after the requests."""
        if not self._echoes:
            return False
        await asyncio.sleep(self._until_s - asyncio.get_running_loop().time())
        return any(echo.answered() for echo in self._echoes)

    def close(self) -> None:
        """What comes later counts for nothing."""
        for echo in self._echoes:
            echo.close()

    def __enter__(self) -> EchoesTo:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
