"""Whether each `[server.bmc]` leads to that server: by the GUID that a BMC tells at each login.

It is the system's (SMBIOS) UUID where the BMC knows that, else one of its own (IPMI 2.0, 20.8 and
22.14).  So two that are equal, and another server's that is this machine's, are proofs of a
mistake; one that is unlike this machine's is none.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable

from clptools import paths
from clptools.core.model.settings import Bmc, Settings
from clptools.core.notices.form import Notice
from clptools.hardware.notices import BmcIsOurs, BmcsAreOne

PRODUCT_UUID = "/sys/class/dmi/id/product_uuid"
_NONE = (bytes(16), b"\xff" * 16)
"""Not set."""


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
