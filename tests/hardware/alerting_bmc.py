"""A BMC with alerts: pyghmi's server class, with the parameters of tables 23-4 and 30-6.

`ipmi_sim` keeps filters, policies and the community, but has no destination and no Alert
Immediate.  This one sends PETs: for Alert Immediate, and for a Platform Event that its filters let
through.  A quirk of its own for each thing that BMCs lack.  Run as a process, as `simulated_alerts`
does: pyghmi keeps its sessions in class variables.
"""

from __future__ import annotations

import ipaddress
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clptools.hardware.alerts import plain
from clptools.intake.rehearsal import PetEvent, build_pet_trap
from clptools.sim.demo_bmc import SimulatedBmc
from tests.conftest import LIMIT_S, free_port
from tests.hardware.bmc_sim import PASSWORD

FILTERS = POLICIES = DESTINATIONS = 4


class Memory:
    """What the BMC keeps."""

    def __init__(self, quirks: tuple[str, ...]) -> None:
        self.quirks = quirks
        self.community = b"public".ljust(18, b"\0")
        self.kinds = {n: bytes((n, 0, 0, 0)) for n in range(DESTINATIONS + 1)}
        self.addresses = {n: bytes((n, *bytes(12))) for n in range(DESTINATIONS + 1)}
        self.filters = {n: bytes(20) for n in range(1, FILTERS + 1)}
        if "maker's filters" in quirks:
            self.filters = {
                n: bytes((0xC0, 1, 2, 0x10, 0xFF, 0xFF, n)) + bytes(13)
                for n in range(1, FILTERS + 1)
            }
        self.policies = {n: bytes(3) for n in range(1, POLICIES + 1)}
        self.switches = {1: 0, 2: 0}
        self.access = 0x22 if "muted" in quirks else 0x02
        self.sequence = 0
        self.acknowledged: list[bytes] = []

    # -- parameters ---------------------------------------------------------------------------

    def lan(self, parameter: int, selector: int) -> bytes | None:
        if parameter == 3:
            return bytes(4)
        if parameter == 16:
            return self.community
        if "no destinations" in self.quirks:
            return b"\0" if parameter == 17 else None
        if parameter == 17:
            return bytes((DESTINATIONS,))
        return {18: self.kinds, 19: self.addresses}.get(parameter, {}).get(selector)

    def set_lan(self, data: bytes) -> bool:
        parameter, value = data[1], data[2:]
        if parameter == 16:
            self.community = value
        elif parameter == 18 and value[0] in self.kinds:
            self.kinds[value[0]] = value
        elif parameter == 19 and value[0] in self.addresses:
            self.addresses[value[0]] = value
        else:
            return False
        return True

    def pef(self, parameter: int, selector: int) -> bytes | None:
        if parameter in self.switches:
            return bytes((self.switches[parameter],))
        if parameter in (5, 8):
            return bytes((FILTERS,))
        found = {6: self.filters, 9: self.policies}.get(parameter, {}).get(selector)
        return None if found is None else bytes((selector,)) + found

    def set_pef(self, data: bytes) -> bool:
        parameter = data[0]
        if parameter in self.switches:
            self.switches[parameter] = data[1]
        elif parameter == 6 and data[1] in self.filters:
            self.filters[data[1]] = data[2:22]
        elif parameter == 9 and data[1] in self.policies:
            self.policies[data[1]] = data[2:5]
        else:
            return False
        return True

    # -- traps --------------------------------------------------------------------------------

    def send(self, address: str, selector: int, event: PetEvent) -> None:
        """A PET to a destination, from the BMC's own address; again until it is acknowledged."""
        target = self.addresses[selector]
        host = ipaddress.ip_address(target[2:18] if target[1] >> 4 else target[3:7])
        if not int(host):
            return
        data = build_pet_trap(event, community=self.community.rstrip(b"\0").decode())
        family = socket.AF_INET6 if host.version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            sock.bind((address, 0))
            sock.sendto(data, (str(host), 162))

    def event(self, address: str, data: bytes) -> None:
        """A Platform Event (29.3): filters, then policies."""
        if not (self.switches[1] & 1 and self.switches[2] & 1) or self.access & 0x20:
            return
        revision_less = data[-7:]
        sensor_type, sensor, kind, first = revision_less[1:5]
        for one in self.filters.values():
            if one[0] & 0x80 and one[1] & 1 and one[6] in (0xFF, sensor_type):
                for policy in self.policies.values():
                    if policy[0] & 8 and policy[0] >> 4 == one[2] & 15:
                        self.sequence += 1
                        specific = sensor_type << 16 | (kind & 0x7F) << 8 | kind & 0x80 | first & 15
                        told = PetEvent(
                            specific=specific,
                            severity=one[3],
                            sensor=sensor,
                            sequence=self.sequence,
                            event_data=revision_less[4:7],
                        )
                        self.send(address, policy[1] & 15, told)
                return

    def answer(self, address: str, netfn: int, command: int, data: bytes) -> tuple[int, bytes]:
        """Completion code and data."""
        what = (netfn, command)
        if what == (0x06, 0x42):
            return 0, bytes((1, 4, 1, 0x81, 0xF2, 0x1B, 0, 0, 0))
        if what == (0x06, 0x41):
            return 0, bytes((self.access, 4))
        if what == (0x06, 0x40):
            self.access = data[1] & 0x3F
            return 0, b""
        if "no privilege" in self.quirks and what in ((0x0C, 1), (0x04, 0x12)):
            return 0xD4, b""
        if what == (0x0C, 1):
            return (0 if self.set_lan(data) else 0x80), b""
        if what == (0x04, 0x10):
            return (0xC1, b"") if "no PEF" in self.quirks else (0, bytes((0x51, 0x3F, FILTERS)))
        if what == (0x04, 0x12):
            return (0 if self.set_pef(data) else 0x80), b""
        if what in ((0x0C, 2), (0x04, 0x13)):
            got = self.lan(data[1], data[2]) if netfn == 0x0C else self.pef(data[0], data[1])
            return (0x80, b"") if got is None else (0, b"\x11" + got)
        if what == (0x04, 0x16):
            if "no immediate" in self.quirks:
                return 0xC1, b""
            self.sequence += 1
            test = PetEvent(specific=0, severity=0, sensor=0, sequence=self.sequence)
            self.send(address, data[1] & 15, test)
            return 0, b""
        if what == (0x04, 0x17):
            self.acknowledged.append(data)
            return 0, b""
        if what == (0x04, 0x02):
            self.event(address, data)
            return 0, b""
        return 0xC1, b""


def serve(settings: dict[str, Any]) -> None:
    """Answers until it is killed."""
    from pyghmi.ipmi.bmc import Bmc
    from pyghmi.ipmi.private.serversession import ServerSession

    from clptools.sim.demo_bmc_server import _refuse_what_it_cannot

    _refuse_what_it_cannot(ServerSession)
    memory = Memory(tuple(settings["quirks"]))
    log = Path(settings["log"])

    class Server(Bmc):  # type: ignore[misc]  # pyghmi has no types
        def get_power_state(self) -> str:
            return "on"

        def handle_raw_request(self, request: Any, session: Any) -> None:
            netfn, command = request["netfn"], request["command"]
            data = bytes(request["data"])
            with log.open("a") as file:
                file.write(f"{netfn:02x} {command:02x} {data.hex()}\n")
            code, answer = memory.answer(settings["address"], netfn, command, data)
            if code == 0xC1 and netfn not in (0x04, 0x0C):
                super().handle_raw_request(request, session)
            else:
                session.send_ipmi_response(code=code, data=list(answer))

    Server(
        {settings["user"]: PASSWORD}, port=settings["port"], address=settings["address"]
    ).listen()


class AlertingBmc:
    """One that runs."""

    def __init__(
        self, address: str, port: int, log: Path, process: subprocess.Popen[bytes]
    ) -> None:
        self.address, self.port, self.user, self._log = address, port, "clp", log
        self.process = process

    def asked(self, netfn: int, command: int) -> list[bytes]:
        """The data of all such requests until now."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        head = f"{netfn:02x} {command:02x} "
        return [bytes.fromhex(line[len(head) :]) for line in lines if line.startswith(head)]


@contextmanager
def alerting(folder: Path, address: str, *quirks: str) -> Iterator[AlertingBmc]:
    """Such a BMC at a loopback address."""
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    log = folder / f"asked-{address}"
    settings = {
        "address": plain(address),
        "port": port,
        "user": "clp",
        "quirks": quirks,
        "log": str(log),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.hardware.alerting_bmc", json.dumps(settings)],
        stdin=subprocess.DEVNULL,
    )
    probe = SimulatedBmc(str(folder / "probe"), address, port)
    try:
        deadline = time.monotonic() + LIMIT_S
        while not probe.answers(0.2):
            assert process.poll() is None and time.monotonic() < deadline
        yield AlertingBmc(address, port, log, process)
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]))
