"""The SNMPv3 users of the trap receiver: whose keys can be used, and the security made of them.

Keys lie in files that an administrator may write later, so what cannot be used is reported once and
read again every few seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from clptools.config.address import Endpoint
from clptools.core.model.settings import SnmpUser
from clptools.faults import ClpError
from clptools.intake.admission import Admission
from clptools.intake.engine_clocks import EngineClocks
from clptools.intake.trap_notes import OnCondition, TrapNotes
from clptools.intake.usm import Engine, UserKeys, Usm

KEYS_AGAIN_S = 5.0
"""Until keys that cannot be used are read again."""

ReadUserKeys = Callable[[SnmpUser], UserKeys]


class SnmpUsers:
    """Users by keyword address; `read_keys` raises ClpError."""

    def __init__(
        self,
        engine: Engine,
        clocks: EngineClocks,
        read_keys: ReadUserKeys,
        notes: TrapNotes,
        on_condition: OnCondition,
        again: Callable[[], None],
    ) -> None:
        """`again`: ask for the security of each address where somebody `lacks_keys`."""
        self._engine = engine
        self._clocks = clocks
        self._read_keys = read_keys
        self._notes = notes
        self._on_condition = on_condition
        self._again = again
        self._faults: dict[str, str] = {}
        """User -> why its keys cannot be used."""
        self._usms: dict[Endpoint, tuple[list[tuple[SnmpUser, UserKeys]], Usm | None]] = {}
        self._timer: asyncio.TimerHandle | None = None

    def close(self) -> None:
        """Read no more keys."""
        if self._timer is not None:
            self._timer.cancel()

    def usm(self, admission: Admission) -> Usm | None:
        """The security of one address; None: no user of it can be used."""
        usable: list[tuple[SnmpUser, UserKeys]] = []
        for user in admission.users:
            try:
                usable.append((user, self._read_keys(user)))
            except ClpError as error:
                self._keyless(admission, user.user, str(error))
            else:
                self._keyed(user.user)
        earlier = self._usms.get(admission.address)
        if earlier is not None and earlier[0] == usable:
            return earlier[1]
        try:
            usm = Usm(usable, self._engine, self._clocks) if usable else None
        except ClpError as error:
            self._notes.note("keys", error.message)
            return None
        self._usms[admission.address] = (usable, usm)
        return usm

    def lacks_keys(self, admission: Admission) -> bool:
        """Whether the keys of one of its users cannot be used."""
        return any(user.user in self._faults for user in admission.users)

    def keep(self, users: set[str]) -> None:
        """Others are no longer configured: what was wrong with them is over."""
        for gone in self._faults.keys() - users:
            self._keyed(gone)

    def _keyless(self, admission: Admission, user: str, why: str) -> None:
        """The keys of a user cannot be used: told once, and tried again."""
        if self._faults.get(user) != why:
            self._faults[user] = why
            text = f"SNMPv3 user {user} cannot be used: {why}"
            self._notes.note("keys", text)
            names = tuple(
                monitor.name
                for monitor in admission.monitors
                if any(one.user == user for one in monitor.snmpv3_users)
            )
            self._on_condition(f"snmp user {user}", text, names)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(KEYS_AGAIN_S, self._try_again)

    def _keyed(self, user: str) -> None:
        if self._faults.pop(user, None) is not None:
            self._notes.note("keyed", f"SNMPv3 user {user} can be used now")
            self._on_condition(f"snmp user {user}", "", ())

    def _try_again(self) -> None:
        self._timer = None
        self._again()
