"""The stand-in for `ipmi_sim`: pyghmi's BMC server class with chassis control and watchdog.

Run by `clptools.sim.demo_bmc.SimulatedBmc` as a process of its own, with a JSON file of settings.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What `SimulatedBmc` writes."""

    address: str
    port: int
    user: str
    password: str
    chassis: str
    """The program that has power over the machine."""


_INVALID_ALGORITHM = 0x04
"""RMCP+ status (IPMI 2.0, table 13-15)."""


def _refuse_what_it_cannot(session: Any) -> None:
    """The server class speaks SHA-1 alone, yet takes any proposal: let it refuse the others, as
    BMCs do, so that clients propose SHA-1 next."""
    answer = session.create_open_session_response

    def checked(self: Any, request: Any) -> Any:
        if len(request) > 12 and request[12] != 1:
            return bytearray([request[0], _INVALID_ALGORITHM, 0, 0]) + request[4:8]
        return answer(self, request)

    session.create_open_session_response = checked


def server_of(settings: ServerSettings) -> Any:
    """The class of a BMC with these settings; one instance of it may live in a process."""
    from pyghmi.ipmi.bmc import Bmc
    from pyghmi.ipmi.private.serversession import ServerSession

    _refuse_what_it_cannot(ServerSession)

    class Server(Bmc):  # type: ignore[misc]  # pyghmi has no types
        """Power by the chassis program; the watchdog's last setting is kept, not run."""

        def __init__(self) -> None:
            super().__init__(
                {settings.user: settings.password}, port=settings.port, address=settings.address
            )
            self._watchdog = b"\0\0\0\0\0\0"

        def _chassis(self, *words: str) -> bytes:
            command = [settings.chassis, "0x20", *words]
            return subprocess.run(command, capture_output=True, check=False).stdout

        def get_power_state(self) -> str:
            return "on" if b"power:1" in self._chassis("get", "power") else "off"

        def power_off(self) -> None:
            self._chassis("set", "power", "0")

        def power_on(self) -> None:
            self._chassis("set", "power", "1")

        def power_reset(self) -> None:
            self._chassis("set", "reset", "1")

        def power_cycle(self) -> None:
            self.power_off()
            self.power_on()

        def power_shutdown(self) -> None:
            self.power_off()

        def handle_raw_request(self, request: Any, session: Any) -> None:
            data = bytes(request["data"])
            what = (request["netfn"], request["command"])
            if what == (6, 0x24) and len(data) == 6:
                self._watchdog = data
                session.send_ipmi_response()
            elif what == (6, 0x25):
                countdown = self._watchdog[4:6]
                session.send_ipmi_response(data=list(self._watchdog + countdown))
            elif what == (6, 0x22):
                session.send_ipmi_response()
            else:
                super().handle_raw_request(request, session)

    return Server


def serve(settings: ServerSettings) -> None:
    """Answers until it is killed."""
    server_of(settings)().listen()


if __name__ == "__main__":
    serve(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=ServerSettings))
