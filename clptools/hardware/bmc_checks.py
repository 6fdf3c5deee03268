"""What is checked beside a BMC's answers: that it is the right BMC, and that the kernel lives."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable
from ipaddress import ip_address

from clptools import paths
from clptools.common.ping import Echo
from clptools.core.model.settings import Bmc, Settings
from clptools.core.notices.form import Notice
from clptools.hardware.notices import BmcIsOurs, BmcsAreOne, EchoesForbidden

PRODUCT_UUID = "/sys/class/dmi/id/product_uuid"
_NONE = (bytes(16), b"\xff" * 16)
"""Not set."""

WINDOW_S = 0.05
"""How long an answer is waited for.  One that comes later counts if the BMC took longer still:
that errs to the safe side."""


class Guids:
    """What the BMCs said, compared.  `on_change` is told of a mistake."""

    def __init__(
        self, server: str, on_change: Callable[[Notice], None], product_uuid: str = PRODUCT_UUID
    ) -> None:
        self._server = server
        self._on_change = on_change
        self._product_uuid = product_uuid
        self._bmcs: dict[str, Bmc] = {}
        self._of: dict[str, bytes] = {}
        self._told: set[Notice] = set()
        self._machine: frozenset[bytes] | None = None

    def apply(self, settings: Settings) -> None:
        """Forgets what other configurations led to."""
        bmcs = {server.name: server.bmc for server in settings.servers if server.bmc}
        if bmcs != self._bmcs:
            self._of.clear()
            self._told.clear()
        self._bmcs = bmcs

    def told(self, server: str, guid: bytes) -> None:
        """The BMC of `server` said so; a mistake that this shows is told once."""
        if len(guid) != 16 or guid in _NONE or self._of.get(server) == guid:
            return
        self._of[server] = guid
        for other, its in self._of.items():
            if other != server and its == guid:
                first, second = sorted((server, other))
                self._tell(BmcsAreOne(first, second))
        self._compare()

    def machine(self, guid: bytes) -> None:
        """This machine's BMC, asked by the kernel's driver, said so."""
        if len(guid) == 16 and guid not in _NONE:
            self._machine = self._own() | {guid}
            self._compare()

    def _compare(self) -> None:
        for server, guid in self._of.items():
            if server != self._server and guid in self._own():
                self._tell(BmcIsOurs(server))

    def _tell(self, notice: Notice) -> None:
        if notice not in self._told:
            self._told.add(notice)
            self._on_change(notice)

    def _own(self) -> frozenset[bytes]:
        """This machine's UUID in every order of its bytes that BMCs send it in."""
        if self._machine is None:
            self._machine = frozenset()
            # A node that lives below CLP_ROOT is not the machine that it runs on.
            if not paths.root():
                with contextlib.suppress(OSError, ValueError), open(self._product_uuid) as file:
                    found = uuid.UUID(file.read().strip())
                    orders = (found.bytes, found.bytes_le)
                    self._machine = frozenset(orders) | {order[::-1] for order in orders}
        return self._machine


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
