"""Checks of a BMC's answers: it is the BMC of that server, and the server's kernel does not answer.

A BMC says a GUID at each login.  It is the system's (SMBIOS) UUID where the BMC knows that, else
one of its own (IPMI 2.0, 20.8 and 22.14).  So two equal GUIDs, or another server's that is this
machine's, prove a mistake in `[server.bmc]`; one that differs from this machine's proves nothing.

A server whose agent hangs or restarts is silent, and yet not off, whatever its BMC says.  So ICMP
echoes go out on every interconnect together with the question to its BMC.
"""

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
"""The least wait for an answer.  If the BMC takes longer, later answers count as well: that errs on
the safe side."""


class Guids:
    """The GUIDs that BMCs said, compared.  `on_change` gets a notice of each mistake."""

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
        """Forgets what was found under another configuration."""
        bmcs = {server.name: server.bmc for server in settings.servers if server.bmc}
        if bmcs != self._bmcs:
            self._of.clear()
            self._told.clear()
        self._bmcs = bmcs

    def told(self, server: str, guid: bytes) -> None:
        """Takes the GUID that the BMC of `server` said; reports a mistake once."""
        if len(guid) != 16 or guid in _NONE or self._of.get(server) == guid:
            return
        self._of[server] = guid
        for other, its in self._of.items():
            if other != server and its == guid:
                first, second = sorted((server, other))
                self._tell(BmcsAreOne(first, second))
        self._compare()

    def machine(self, guid: bytes) -> None:
        """Takes the GUID that this machine's BMC said through the kernel's driver."""
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
        """This machine's UUID in each byte order that BMCs use."""
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
    """Pings servers on all interconnects.  `on_change` gets a notice if that is not permitted."""

    def __init__(self, server: str, on_change: Callable[[Notice], None]) -> None:
        self._server = server
        self._on_change = on_change
        self._paths: dict[str, tuple[tuple[str, str], ...]] = {}
        """Server -> our address and its own, on each LAN interconnect that both have."""
        self._told = False

    def apply(self, settings: Settings) -> None:
        """Takes the interconnects of `settings`."""
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
        """Echo requests for one question to `server`; to be closed."""
        return EchoesTo(self._paths.get(server, ()), self._not_permitted)

    def _not_permitted(self) -> None:
        if not self._told:
            self._told = True
            self._on_change(EchoesForbidden())


def _is_own(address: str) -> bool:
    """Whether our own kernel would answer: servers of a rehearsal use loopback addresses."""
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


class EchoesTo:
    """One echo request on each path to a server."""

    def __init__(
        self, paths: tuple[tuple[str, str], ...], not_permitted: Callable[[], None]
    ) -> None:
        self._paths = paths
        self._not_permitted = not_permitted
        self._echoes: list[Echo] = []
        self._until_s = 0.0

    def send(self) -> None:
        """Sends the requests, except on paths that cannot be used now."""
        for source, target in self._paths:
            try:
                echo = Echo(target, source)
            except PermissionError:
                self._not_permitted()
                continue
            except OSError:
                continue
            self._echoes.append(echo)
            # A network that is down fails at once, and brings no answer.
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
        """Ignores later answers."""
        for echo in self._echoes:
            echo.close()

    def __enter__(self) -> EchoesTo:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
