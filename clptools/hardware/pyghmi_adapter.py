"""pyghmi, made to fit BMCs as they are sold.  Loads pyghmi: only the IPMI processes import it.

What the login does beyond pyghmi's own, each for a BMC that needs it (`tests/hardware/quirks`):

- an account that may not be administrator logs in as operator or user, however the BMC says so;
- SHA-1 (cipher suite 3) where SHA-256 (17) is refused, ignored, or taken and then not used;
- the first wait for an answer fits how long this BMC takes;
- each login is named, also one that pyghmi begins anew by itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import signal
import time
from typing import Any

import msgspec
from pyghmi.exceptions import IpmiException
from pyghmi.ipmi.private import session as pyghmi

from clptools.hardware.ipmi_requests import Command

_FIRST_RETRY_S = 0.25
"""pyghmi repeats a lost packet after this and up to 0.5 s more; its own value is twice that."""
_LOGIN_S = 2.5
"""Longest login to a quick BMC: five questions, with three answers lost."""
_USER, _ADMINISTRATOR = 2, 4
_LEVELS = {2: "USER", 3: "OPERATOR", 4: "ADMINISTRATOR"}
"""IPMI 2.0, table 6-1."""
_NOT_SO_HIGH = (0x09, 0x0A, 0x0D)
"""RMCP+ status: invalid role, unauthorized role, unauthorized name (IPMI 2.0, table 13-15)."""
_NOT_SHA_256 = (0x04, 0x05, 0x0F, 0x10, 0x11)
"""RMCP+ status: an algorithm, or a value computed with it, is refused."""
_SHA_1, _SHA_256 = 1, 256
_RAKP2_HASH = 40
"""Where the key exchange authentication code begins (IPMI 2.0, table 13-12)."""


def level(session: Any) -> str:
    """The privilege level of a session, in the specification's word."""
    return _LEVELS.get(session.privlevel, str(session.privlevel))


def log_in(command: Command, answers_ms: int) -> Any:
    """A new session; `answers_ms` is how long the BMC took for an answer outside of sessions.

    Raises pyghmi's IpmiException with the reason, and TimeoutError.
    """
    answers_s = answers_ms / 1000
    pyghmi.initialtimeout = max(_FIRST_RETRY_S, 1.5 * answers_s)
    signal.signal(signal.SIGALRM, _too_long)
    signal.setitimer(signal.ITIMER_REAL, max(_LOGIN_S, 15 * answers_s))
    try:
        opened = Login(
            command.address, command.user, command.password, port=command.port, keepalive=False
        )
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    if opened.ipmiversion != 2.0:
        # An impostor could otherwise negotiate MD5.
        raise IpmiException("it offers IPMI 1.5 only, 2.0 is needed")
    return opened


def _too_long(*_: object) -> None:
    raise TimeoutError


class Login(pyghmi.Session):  # type: ignore[misc]  # pyghmi has no types
    """A session of pyghmi that logs in as this module says."""

    clptools_login = ""
    clptools_login_at = 0
    _opens = 0
    _most_s = 2.0

    @property
    def maxtimeout(self) -> float:
        """How long pyghmi repeats a datagram; its own value assumes a quick BMC."""
        return max(self._most_s, 3 * float(pyghmi.initialtimeout) + 1.5)

    @maxtimeout.setter
    def maxtimeout(self, most_s: float) -> None:
        self._most_s = most_s

    def _initsession(self) -> None:
        super()._initsession()
        self._opens = 0

    def _got_channel_auth_cap(self, response: Any) -> None:
        data = response.get("data", ())
        if len(data) >= 4 and not (data[1] & 0x80 and data[3] & 0x02):
            self.onlogon({"error": "it offers IPMI 1.5 only, 2.0 is needed"})
            return
        super()._got_channel_auth_cap(response)

    def _open_rmcpplus_request(self) -> None:
        self._opens += 1
        if self._opens > 1:
            self.attemptedhash = _SHA_1  # some BMCs do not answer an unknown algorithm
        super()._open_rmcpplus_request()

    def _got_rmcp_response(self, data: Any) -> Any:
        if len(data) >= 36 and data[0] == self.rmcptag and not data[1]:
            if data[16] == 0 or data[24] == 0 or data[32] == 0:
                self.onlogon({"error": "it offers a login without authentication only"})
                return None
            if data[16] == 1:
                self._by_sha_1()
        return super()._got_rmcp_response(data)

    def _got_rakp2(self, data: Any) -> Any:
        ours = self.sessioncontext == "EXPECTINGRAKP2" and data[0] == self.rmcptag
        if ours and data[1] in _NOT_SHA_256 and self.attemptedhash == _SHA_256:
            self._open_rmcpplus_request()
            return None
        if ours and data[1] in _NOT_SO_HIGH and self.privlevel > _USER:
            self.privlevel -= 1
            self.login()
            return None
        if ours and not data[1] and len(data) == _RAKP2_HASH + hashlib.sha1().digest_size:
            self._by_sha_1()
        return super()._got_rakp2(data)

    def _by_sha_1(self) -> None:
        self.attemptedhash = _SHA_1
        self.currhashlib, self.currhashlen = hashlib.sha1, 12

    def _req_priv_level(self) -> None:
        """The first step after the keys of a login are agreed on."""
        self.clptools_login = os.urandom(8).hex()
        self.clptools_login_at = time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
        self.logged, self.logoutexpiry, self.logontries = 1, None, 1
        while True:
            self.incommand = False  # pyghmi would wait for the end of the login before, 10 s
            answer = self.raw_command(netfn=6, command=0x3B, data=[self.privlevel])
            if not answer["code"] or self.privlevel == _USER:
                break
            self.privlevel -= 1
        self.logging = False
        if answer["code"]:
            self.logged, self.onlogpayload = 0, None
            self.onlogon({"error": f"not even level USER is granted ({answer['code']:#04x})"})
            return
        self.onlogon({"success": True})


class Aside(msgspec.Struct):
    """What pyghmi keeps of sessions, put aside."""

    sockets: list[Any]
    handlers: dict[Any, Any]


def put_aside() -> Aside:
    """Takes from pyghmi what it keeps of earlier sessions, and would use for a new login.

    The new login gets another socket, so nothing that is meant for the old session reaches it.
    """
    kept = Aside(list(pyghmi.iosockets), dict(pyghmi.Session.bmc_handlers))
    pyghmi.iosockets.clear()
    pyghmi.sessionqueue.clear()
    for each in (
        "bmc_handlers",
        "initting_sessions",
        "keepalive_sessions",
        "socketpool",
        "waiting_sessions",
    ):
        getattr(pyghmi.Session, each).clear()
    return kept


def take_back(kept: Aside) -> None:
    """Lets the sessions that were put aside listen again, beside a new one."""
    pyghmi.iosockets.extend(kept.sockets)
    for where, ports in kept.handlers.items():
        pyghmi.Session.bmc_handlers.setdefault(where, {}).update(ports)


def drop(ended: Any) -> None:
    """Closes the socket of an ended session, so that no late answer is read."""
    if ended.socket in pyghmi.iosockets:
        pyghmi.iosockets.remove(ended.socket)
    port = ended.socket.getsockname()[1]
    ended.socket.close()
    for ports in pyghmi.Session.bmc_handlers.values():
        ports.pop(port, None)


def listen(session: Any, patient_ms: int) -> None:
    """Reads what has come, or waits so long for the first datagram."""
    pyghmi._io_wait(patient_ms / 1000)
    pyghmi.sessionqueue.clear()  # pyghmi reads it only during logins; it would grow for ever
    # An unreadable datagram is no answer.  pyghmi parses before it checks the sender.
    with contextlib.suppress(Exception):
        session.process_pktqueue()


def wait_in_caller() -> None:
    """Lets pyghmi wait in the calling thread.

    It waits in a thread of its own, and an answer that comes before the caller has begun to wait
    is only seen at the next repetition, up to 0.75 s later.  A process with one session needs no
    such thread.
    """

    def wait(timeout_s: float, *_: Any) -> None:
        select.select(pyghmi.iosockets, (), (), max(timeout_s, 0))
        pyghmi._io_graball(pyghmi.iosockets, {})

    pyghmi._io_wait = wait
    pyghmi.iothread = wait  # anything but None: no thread is started
    pyghmi.iothreadready = True
