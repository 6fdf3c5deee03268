"""A BMC of pyghmi's server class with one habit (`Quirk`), as a process of its own."""

from __future__ import annotations

import importlib
import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from clptools.sim.demo_bmc import PYGHMI, SimulatedBmc
from clptools.sim.demo_bmc_server import ServerSettings, server_of
from tests.conftest import free_port
from tests.hardware.bmc_sim import PASSWORD, free_address

ROOT = Path(__file__).parent.parent.parent.parent
CONTROL, STATUS = (0, 2), (0, 1)
SET_TIMER, GET_TIMER, START_TIMER = (6, 0x24), (6, 0x25), (6, 0x22)
SET_PRIVILEGE = (6, 0x3B)
What = tuple[int, int]
"""Network function and command."""


class Quirk:
    """What a BMC does otherwise than it should; of this one: nothing."""

    def __init__(self, server: Any, **options: float) -> None:
        self.server = server
        self.began = time.monotonic()

    def probed(self) -> bool:
        """Whether it answers outside of sessions."""
        return True

    def opening(self, session: Any, request: bytes) -> int | None:
        """RMCP+ status of a login that begins; None: it says nothing."""
        return 0

    def rakp1(self, session: Any, role: int, user: str) -> int | None:
        """RMCP+ status of the login's second step; None: it says nothing."""
        return 0

    def opened(self, session: Any, answer: bytearray) -> bytearray:
        """The answer to the beginning of a login."""
        return answer

    def closed(self, session: Any) -> None:
        """A session was closed by whoever had it."""

    def asked(self, what: What, data: bytes, session: Any) -> int | None:
        """Completion code with which it refuses; None: it does what it is asked."""
        return None

    def mute(self, what: What, data: bytes) -> bool:
        """Whether it keeps the answer to itself, whatever it did."""
        return False

    def late_s(self, what: What) -> float:
        """How much later its answer in a session leaves; others do not wait for it."""
        return 0.0

    def answer(self, what: What, code: int, data: bytes) -> tuple[int, bytes]:
        """What it says instead of that."""
        return code, data


class QuirkyBmc(SimulatedBmc):
    """Such a BMC with its machine."""

    def __init__(self, folder: str, address: str, port: int, quirk: str, **options: float) -> None:
        super().__init__(folder, address, port, password=PASSWORD, kind=PYGHMI)
        self.quirk, self.options = quirk, options

    def answers(self, timeout_s: float) -> bool:
        return super().answers(timeout_s + 2 * self.options.get("seconds", 0))

    def _command(self) -> list[str]:
        words = [f"{name}={value}" for name, value in self.options.items()]
        inner = f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
        inner += "from tests.hardware.quirks.server import main; main(sys.argv[1:])"
        return [sys.executable, "-P", "-c", inner, "server.json", self.quirk, *words]


@contextmanager
def quirky(folder: Path, quirk: str, on: bool = True, **options: float) -> Iterator[QuirkyBmc]:
    """A running BMC with the habit that `quirks/<quirk>.py` describes."""
    address = free_address()
    bmc = QuirkyBmc(str(folder / f"bmc-{address}"), address, free_port(), quirk, **options)
    bmc.start(on=on)
    try:
        yield bmc
    finally:
        bmc.thaw()
        bmc.stop()


def main(words: list[str]) -> None:
    """`server.json QUIRK [option=number ...]`; answers until it is killed."""
    settings = msgspec.json.decode(Path(words[0]).read_bytes(), type=ServerSettings)
    options = {name: float(value) for name, _, value in (w.partition("=") for w in words[2:])}
    serve(settings, words[1], options)


def serve(settings: ServerSettings, name: str, options: dict[str, float]) -> None:
    """Answers until it is killed."""
    from pyghmi.ipmi.private import serversession
    from pyghmi.ipmi.private import session as pyghmi

    pyghmi.iothread, pyghmi.iothreadready = serve, True  # no thread is started
    base = server_of(settings)
    habit = importlib.import_module(f"tests.hardware.quirks.{name}").Habit
    due: list[tuple[float, Callable[[], None]]] = []

    class Server(base):  # type: ignore[misc, valid-type]  # pyghmi has no types
        def __init__(self) -> None:
            self.quirk: Quirk = habit(self, **options)
            super().__init__()

        def send_auth_cap(self, *words: Any) -> None:
            if self.quirk.probed():
                super().send_auth_cap(*words)

        def handle_raw_request(self, request: Any, session: Any) -> None:
            what, data = (request["netfn"], request["command"]), bytes(request["data"])
            session.what, session.muted = what, self.quirk.mute(what, data)
            code = self.quirk.asked(what, data, session)
            if code is not None:
                session.send_ipmi_response(code=code)
            else:
                super().handle_raw_request(request, session)

    class Login(serversession.ServerSession):  # type: ignore[misc]  # pyghmi has no types
        what: What = (0, 0)
        muted = False

        def create_open_session_response(self, request: Any) -> Any:
            status = self.bmc.quirk.opening(self, bytes(request))
            self.mute_login = status is None
            if status:
                return bytearray([request[0], status, 0, 0]) + request[4:8]
            # The server class of `demo_bmc_server` refuses SHA-256; some BMCs just take it.
            taken = bytearray(request)
            if getattr(self, "takes_all", False):
                taken[12] = 1
            return self.bmc.quirk.opened(self, super().create_open_session_response(taken))

        def _got_rakp1(self, data: Any) -> None:
            user = bytes(data[28:]).decode("utf-8", "replace")
            status = self.bmc.quirk.rakp1(self, data[24] & 0x0F, user)
            if not status and self.authdata.get(user) is None:
                status = 0x0D
            if status:
                refusal = bytearray([data[0], status, 0, 0]) + self.clientsessionid
                self.send_payload(refusal, 0x13, retry=False)
            elif status == 0:
                super()._got_rakp1(data)

        def send_payload(self, payload: Any = (), payload_type: Any = None, **words: Any) -> None:
            if payload_type == 0x11 and getattr(self, "mute_login", False):
                return
            super().send_payload(payload=payload, payload_type=payload_type, **words)

        def handle_client_request(self, request: Any) -> None:
            self.what, self.muted = (request["netfn"], request["command"]), False
            if self.what == SET_PRIVILEGE:
                code = self.bmc.quirk.asked(self.what, bytes(request["data"]), self)
                if code is not None:
                    self.send_ipmi_response(code=code)
                    return
            super().handle_client_request(request)

        def _send_ipmi_net_payload(self, *words: Any, **named: Any) -> None:
            if self.muted:
                return
            code, data = self.bmc.quirk.answer(
                self.what, named.get("code", 0), bytes(named.get("data", b""))
            )
            named |= {"code": code, "data": data}
            late_s = self.bmc.quirk.late_s(self.what)
            names = ("seqlun", "clientaddr", "clientnetfn", "rqlun", "clientcommand")
            then = {name: getattr(self, name) for name in names}
            answer = super()._send_ipmi_net_payload

            def send() -> None:
                now = {name: getattr(self, name) for name in names}
                self.__dict__.update(then)
                answer(*words, **named)
                self.__dict__.update(now)

            if late_s:
                due.append((time.monotonic() + late_s, send))
            else:
                send()

        def close_server_session(self) -> None:
            self.bmc.quirk.closed(self)
            pyghmi.Session.bmc_handlers.pop(self.sockaddr, None)

    serversession.ServerSession = Login
    Server()
    while True:
        select.select(pyghmi.iosockets, (), (), 0.005 if due else None)
        pyghmi._io_graball(pyghmi.iosockets, {})
        while pyghmi.sessionqueue:
            pyghmi.sessionqueue.popleft().process_pktqueue()
        now = time.monotonic()
        for each in [each for each in due if each[0] <= now]:
            due.remove(each)
            each[1]()


def since_boot(folder: str = ".") -> int:
    """How many BMC processes ran in this folder before this one."""
    path = Path(folder) / "boots"
    boots = int(path.read_text()) if path.exists() else 0
    path.write_text(str(boots + 1))
    return boots


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    main(sys.argv[1:])
