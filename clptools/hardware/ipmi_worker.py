"""The processes that speak IPMI: `python -m clptools.hardware.ipmi_worker`, started by the agent.

pyghmi waits in select loops and threads of its own and keeps its sessions in class variables, so
each BMC gets a process: a BMC that hangs holds up nobody else.  To spare memory they are forks
of one parent that has loaded the library and does nothing but fork.

On the parent's standard input arrives, for each BMC, one end of a socket pair.  On that, frames
of four bytes length and MessagePack: a `Command` at a time, a `Result` for each.  The agent
closing its end ends the session with the BMC and the process.

pyghmi repeats what gets no answer, and logs in anew where that does not help, without a word.  So
each login is named here, and what must not come late or twice (`until_ms`) goes another way.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from typing import Any

import msgspec

from clptools.hardware.coredump import dump_nothing

IDLE_S = 20.0
"""A session not used for so long is closed: BMCs have few, and forget it after 60 s anyway."""
_FIRST_RETRY_S = 0.25
"""pyghmi repeats a lost packet after this and up to 0.5 s more; its own value is twice that."""
LENGTH_BYTES = 4
_ANSWER_MS = 1_000
"""How long the answer to a command that leaves only once is waited for."""
_CHASSIS, _STATUS = 0x00, 0x01


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """One IPMI request to one BMC."""

    number: int
    address: str
    port: int
    user: str
    password: str
    netfn: int
    command: int
    data: bytes = b""
    limit_s: float = 30.0
    """Not through by then: the process ends, so that no repetition of it comes later still."""
    until_ms: int = 0
    """It leaves as one datagram by this time (CLOCK_BOOTTIME), or never; 0: it may be repeated."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    number: int
    code: int = 0
    """IPMI completion code; 0 is success."""
    data: bytes = b""
    fault: str = ""
    """Why there is no completion code: no session, no answer.  The process ends."""
    missed: str = ""
    """Of a command with `until_ms`: it did not leave, or has no answer.  The session stays."""
    latency_ms: int = 0
    session: str = ""
    """Name of the login that it was answered in."""
    session_at: int = 0
    """When that login was through (CLOCK_BOOTTIME, ms)."""
    guid: bytes = b""
    """The system's GUID, as the BMC said at that login (IPMI 2.0, 13.21)."""


class Session:
    """One pyghmi session with one BMC, opened when it is needed."""

    def __init__(self) -> None:
        self._open: Any = None
        self._as: tuple[str, int, str, str] | None = None

    def perform(self, command: Command) -> Result:
        """Carries out one command; every fault becomes a `Result`."""
        from pyghmi.exceptions import IpmiException

        signal.setitimer(signal.ITIMER_REAL, command.limit_s)
        try:
            session = self._session(command)
            if command.until_ms:
                return self._only_once(session, command)
            started = time.monotonic()
            answer = session.raw_command(
                netfn=command.netfn, command=command.command, data=list(command.data)
            )
            latency_ms = round((time.monotonic() - started) * 1000)
        except IpmiException as error:
            self.close(polite=False)
            lost = str(error) in ("", "None") or "no longer connected" in str(error)
            return Result(number=command.number, fault="no answer" if lost else str(error))
        except Exception as error:
            # pyghmi indexes and unpacks what the BMC sent without looking at its length.
            self.close(polite=False)
            return Result(number=command.number, fault=f"malformed answer ({error!r})")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if not isinstance(answer, dict) or "code" not in answer or answer["code"] > 0xFF:
            self.close(polite=False)
            return Result(number=command.number, fault="no answer")
        return _result(session, command, answer, latency_ms)

    def _only_once(self, session: Any, command: Command) -> Result:
        """A command that leaves in time or never, and as one datagram.

        A read goes before it: answered, it shows that the BMC knows this session and that the
        command's datagram does not wait in the kernel for an address to be resolved.
        """
        number = command.number
        late = Result(number=number, missed="not sent: it would have come too late")
        if boot_ms() > command.until_ms:
            return late
        if _send_once(session, _CHASSIS, _STATUS, b"", command.until_ms) is None:
            return Result(number=number, missed="not sent: the BMC did not answer in time")
        started = boot_ms()
        if started > command.until_ms:
            return late
        patient_ms = started + _ANSWER_MS
        answer = _send_once(session, command.netfn, command.command, command.data, patient_ms)
        if answer is None:
            return Result(number=number, missed="sent, but not answered")
        return _result(session, command, answer, boot_ms() - started)

    def _session(self, command: Command) -> Any:
        from pyghmi.exceptions import IpmiException
        from pyghmi.ipmi.private import session

        wanted = (command.address, command.port, command.user, command.password)
        if self._as != wanted or self._open is None or self._open.broken or not self._open.logged:
            self.close()
            self._open = session.Session(
                command.address,
                command.user,
                command.password,
                port=command.port,
                keepalive=False,
            )
            if self._open.ipmiversion != 2.0:
                # Else whoever answers in the BMC's place could talk us down to MD5.
                raise IpmiException("it offers IPMI 1.5 only, 2.0 is needed")
            self._as = wanted
        return self._open

    def close(self, polite: bool = True) -> None:
        """Ends the session; with `polite` the BMC is told."""
        opened, self._open, self._as = self._open, None, None
        if opened is None:
            return
        try:
            if polite and opened.logged:
                opened.logout()
        except Exception:
            return


def boot_ms() -> int:
    """Milliseconds since boot, sleep included: an order must not come late by a sleep either."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def _result(session: Any, command: Command, answer: dict[str, Any], latency_ms: int) -> Result:
    """What an answer says.  It was given in the newest login: keys of earlier ones are gone."""
    return Result(
        number=command.number,
        code=answer["code"],
        data=bytes(answer.get("data", b"")),
        latency_ms=latency_ms,
        session=session.clptools_login,
        session_at=session.clptools_login_at,
        guid=bytes(session.remoteguid),
    )


def _send_once(
    session: Any, netfn: int, command: int, data: bytes, until_ms: int
) -> dict[str, Any] | None:
    """One datagram, and the answer if it comes by `until_ms`; nothing is repeated."""
    from pyghmi.ipmi.private import session as pyghmi

    if session.lastpayload or session.pendingpayloads:
        return None  # it would be queued behind what is still repeated, and leave at any time
    answers: list[dict[str, Any]] = []
    session.raw_command(
        netfn=netfn, command=command, data=list(data), retry=False, callback=answers.append
    )
    while not answers and (left_ms := until_ms - boot_ms()) > 0:
        pyghmi._io_wait(left_ms / 1000)
        session.process_pktqueue()
    session.incommand = False
    if answers and answers[0].get("code", 0x100) <= 0xFF:
        return answers[0]
    # Its answer may yet come: the next request has another number, so it is not taken for that.
    session.request_entry.clear()
    session.seqlun = (session.seqlun + 1) & 0x3F
    return None


def serve(connection: socket.socket) -> None:
    """Carries out commands until the agent closes its end."""
    session = Session()
    try:
        while True:
            if not select.select([connection], [], [], IDLE_S)[0]:
                session.close()
                connection.setblocking(True)
                select.select([connection], [], [])
            data = _frame(connection)
            if data is None:
                return
            result = session.perform(msgspec.msgpack.decode(data, type=Command))
            answer = msgspec.msgpack.encode(result)
            connection.sendall(len(answer).to_bytes(LENGTH_BYTES) + answer)
            if result.fault:
                # pyghmi keeps what is left of a failed session, and would find it again.
                return
    except OSError:
        return
    finally:
        session.close()


def _frame(connection: socket.socket) -> bytes | None:
    head = _exactly(connection, LENGTH_BYTES)
    return None if head is None else _exactly(connection, int.from_bytes(head))


def _exactly(connection: socket.socket, count: int) -> bytes | None:
    data = b""
    while len(data) < count:
        got = connection.recv(count - len(data))
        if not got:
            return None
        data += got
    return data


def _prepare(session: Any) -> None:
    """Lets pyghmi wait in the calling thread, and repeat sooner.

    It waits in a thread of its own, and an answer that comes before the caller has begun to wait
    is only seen at the next repetition, up to 0.75 s later.  A process with one session needs no
    such thread.
    """

    def wait(timeout_s: float, *_: Any) -> None:
        select.select(session.iosockets, (), (), max(timeout_s, 0))
        session._io_graball(session.iosockets, {})

    session._io_wait = wait
    _name_logins(session.Session)
    session.iothread = wait  # anything but None: no thread is started
    session.iothreadready = True
    session.initialtimeout = _FIRST_RETRY_S


def _name_logins(session_class: Any) -> None:
    """Marks each login of a session, also those that pyghmi makes in the middle of a command.

    `_req_priv_level` is the first that it does once the keys of a new login are agreed on.  In the
    middle of a command it would wait there for that command's time to be over, 10 s.
    """
    go_on = session_class._req_priv_level

    def logged_in(self: Any) -> None:
        self.clptools_login = os.urandom(8).hex()
        self.clptools_login_at = boot_ms()
        self.incommand = False
        go_on(self)

    session_class._req_priv_level = logged_in


def main() -> None:
    """Forks a process for each socket that arrives on standard input."""
    from pyghmi.ipmi.private import session

    dump_nothing()
    _prepare(session)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=0) as control:
        while True:
            data, handles, _, _ = socket.recv_fds(control, 1, 1)
            if not data:
                return
            for handle in handles:
                if os.fork() == 0:
                    control.close()
                    serve(socket.socket(fileno=handle))
                    os._exit(0)
                os.close(handle)


if __name__ == "__main__":
    main()
