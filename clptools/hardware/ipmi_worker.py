"""The processes that speak IPMI: `python -m clptools.hardware.ipmi_worker`, started by the agent.

pyghmi waits in select loops and threads of its own and keeps its sessions in class variables, so
each BMC gets a process: a BMC that hangs holds up nobody else.  To spare memory they are forks
of one parent that has loaded the library and does nothing but fork.

On the parent's standard input arrives, for each BMC, one end of a socket pair.  On that, frames
of four bytes length and MessagePack: a `Command` at a time, a `Result` for each.  The agent
closing its end ends the session with the BMC and the process.

An off read counts only in a session that the BMC has kept for a while (docs/rules.md, *Out*), so
a lost answer must not cost the session.  pyghmi would repeat for 6 to 8 s and then log in anew
without a word.  It therefore only logs in and packs the datagrams here; when they leave, and when
a session is given up, is decided in `Session`.  Each login is named.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from typing import Any

import msgspec

from clptools.common.child_process import framed, heed_no_terminal, receive
from clptools.hardware.coredump import dump_nothing

IDLE_S = 55.0
"""A session not used for so long is closed, as the BMC itself does at the earliest 2 s later."""
_KEPT_MS = 63_000
"""A BMC that got nothing for so long has closed the session: 60 s +- 3 s (IPMI 2.0, 6.12.15)."""
_FIRST_RETRY_S = 0.25
"""pyghmi repeats a lost packet after this and up to 0.5 s more; its own value is twice that."""
_LOGIN_S = 10.0
"""A login that takes longer ends the process: pyghmi may begin it again for ever."""
_ANSWER_MS = 1_000
"""How long the answer to a command that leaves only once is waited for."""
_REPEAT_MS = 300
"""An answer is lost if it has not come by then, and the question is put again."""
_TRY_MS = 450
"""For each try of a session in doubt."""
_SILENT_TRIES = 4
"""So many tries without an answer, before and after each of which the BMC answered outside of the
session, and it has lost that."""
_PROBE_MS = 250
"""How often it is asked outside of sessions until it answers."""
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
    until_ms: int
    """No datagram of it leaves later (CLOCK_BOOTTIME)."""
    once: bool = False
    """It leaves as one datagram or never; else it is repeated until it is answered."""


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What came of it."""

    number: int
    code: int = 0
    """IPMI completion code; 0 is success."""
    data: bytes = b""
    fault: str = ""
    """Why there is no session.  The process ends."""
    missed: str = ""
    """It did not leave, or has no answer.  A session that is open stays open."""
    latency_ms: int = 0
    session: str = ""
    """Name of the login that it was answered in."""
    session_at: int = 0
    """When that login was through (CLOCK_BOOTTIME, ms)."""
    guid: bytes = b""
    """The system's GUID, as the BMC said at that login (IPMI 2.0, 13.21)."""


class Session:
    """One pyghmi session with one BMC, opened when it is needed.

    A BMC that restarted does not know it any more: what is answered in it comes from a BMC that
    has not.  So after a lost answer the same session is asked again.  While nothing comes, that is
    done only where the BMC answers outside of sessions: each datagram has a number, a BMC looks
    only 15 numbers ahead, and a few minutes of them sent into a dead network would lose the
    session.  What answers outside but not inside has lost it, and is logged in to at once.
    """

    def __init__(self) -> None:
        self._open: Any = None
        self._as: tuple[str, int, str, str] | None = None
        self._heard_at = 0
        """When it was last answered in (CLOCK_BOOTTIME, ms)."""
        self._number = 0
        """The BMC's number of that answer."""
        self._doubted = False
        """The last datagram in it was not answered."""
        self._silent = 0
        """Tries one after the other that show that the BMC has lost it, see `_SILENT_TRIES`."""

    def perform(self, command: Command) -> Result:
        """Carries out one command; every fault becomes a `Result`."""
        from pyghmi.exceptions import IpmiException

        try:
            if command.once:
                return self._only_once(command)
            return self._until_answered(command)
        except IpmiException as error:
            self.close(polite=False)
            lost = str(error) in ("", "None") or "no longer connected" in str(error)
            return Result(number=command.number, fault="no answer" if lost else str(error))
        except Exception as error:
            # pyghmi indexes and unpacks what the BMC sent without looking at its length.
            self.close(polite=False)
            return Result(number=command.number, fault=f"malformed answer ({error!r})")

    def _until_answered(self, command: Command) -> Result:
        """A command that is repeated, in the same session as long as the BMC may know that.

        All repetitions are one question to the BMC (the same rqSeq), so any answer will do.
        """
        while self._logged_in(command):
            started = boot_ms()
            question = _Question(self._open, command.netfn, command.command, command.data)
            while not self._doubted or self._reach(command, question):
                if self._silent >= _SILENT_TRIES and not self._hears(question):
                    self.close()
                    break
                if (left_ms := command.until_ms - boot_ms()) <= 0:
                    break
                answer = self._put(question, min(left_ms, self._try_ms()))
                if answer is not None:
                    return _result(self._open, command, answer, boot_ms() - started)
            question.forget()
        return Result(number=command.number, missed="no answer")

    def _try_ms(self) -> int:
        return _TRY_MS if self._doubted else _REPEAT_MS

    def _only_once(self, command: Command) -> Result:
        """A command that leaves in time or never, and as one datagram.

        A read goes before it: answered, it shows that the BMC knows this session and that the
        command's datagram does not wait in the kernel for an address to be resolved.
        """
        number = command.number
        late = Result(number=number, missed="not sent: it would have come too late")
        silent = Result(number=number, missed="not sent: the BMC did not answer in time")
        if boot_ms() > command.until_ms:
            return late
        if not self._logged_in(command) or (self._doubted and not self._reach(command)):
            return silent
        if (left_ms := command.until_ms - boot_ms()) <= 0:
            return late
        read = _Question(self._open, _CHASSIS, _STATUS, b"")
        if self._put(read, left_ms) is None:
            read.forget()
            return silent
        started = boot_ms()
        if started > command.until_ms:
            return late
        order = _Question(self._open, command.netfn, command.command, command.data)
        answer = self._put(order, _ANSWER_MS)
        if answer is None:
            order.forget()
            return Result(number=number, missed="sent, but not answered")
        return _result(self._open, command, answer, boot_ms() - started)

    def _put(self, question: _Question, patient_ms: int) -> dict[str, Any] | None:
        """Sends it once, and waits so long for the answer; keeps count of what that shows."""
        session = self._open
        whole = patient_ms >= self._try_ms()
        if not question.answers:
            question.send()
            until = boot_ms() + patient_ms
            while not question.answers and (left_ms := until - boot_ms()) > 0:
                _listen(session, left_ms)
        if not self._hears(question) and self._doubted and whole:
            self._silent += 1
        self._doubted = not question.answers
        return question.answers[0] if question.answers else None

    def _hears(self, question: _Question) -> bool:
        """Whether something came in the session since this was last asked.

        An answer that is too late for its question shows as well that the session lives.
        """
        number = self._open.remseqnumber
        if not question.answers and number == self._number:
            return False
        self._number = number
        self._heard_at = boot_ms()
        self._silent = 0
        return True

    def _reach(self, command: Command, question: _Question | None = None) -> bool:
        """Whether the BMC answers outside of sessions; asked again until then or `until_ms`.

        An answer to `question`, of which datagrams are under way, shows it, too.  The socket is a
        new one: no answer to an earlier call is taken for one to this.
        """
        while (left_ms := command.until_ms - boot_ms()) > 0:
            try:
                where = socket.getaddrinfo(command.address, command.port, type=socket.SOCK_DGRAM)
                with socket.socket(where[0][0], where[0][1]) as probe:
                    probe.connect(where[0][4])
                    while (left_ms := command.until_ms - boot_ms()) > 0:
                        probe.send(_PROBE)
                        if self._probed(probe, min(left_ms, _PROBE_MS), question):
                            return True
            except OSError:
                time.sleep(min(left_ms, _PROBE_MS) / 1000)  # no route, or nobody at the port
        return False

    def _probed(self, probe: socket.socket, patient_ms: int, question: _Question | None) -> bool:
        """Waits so long for an answer to a probe or to `question`.  Raises OSError."""
        from pyghmi.ipmi.private import session as pyghmi

        until = boot_ms() + patient_ms
        watched = [probe, *(pyghmi.iosockets if self._open is not None else ())]
        while (left_ms := until - boot_ms()) > 0:
            ready = select.select(watched, [], [], left_ms / 1000)[0]
            if probe in ready and _is_probed(probe.recv(1500)):
                return True
            if self._open is not None:
                _listen(self._open, 0)
            if question is not None and question.answers:
                return True
        return False

    def _logged_in(self, command: Command) -> bool:
        """Whether there is a session to ask in, a new one where none is kept.

        The login begins once the BMC is there: pyghmi waits longer each time that it is not.
        """
        from pyghmi.exceptions import IpmiException
        from pyghmi.ipmi.private import session

        wanted = (command.address, command.port, command.user, command.password)
        idle = boot_ms() - self._heard_at > _KEPT_MS
        if self._as == wanted and not idle and self._open.logged and not self._open.broken:
            return boot_ms() < command.until_ms
        self.close()
        if not self._reach(command):
            return False
        _forget_sessions(session)
        signal.setitimer(signal.ITIMER_REAL, _LOGIN_S)
        try:
            self._open = session.Session(
                command.address,
                command.user,
                command.password,
                port=command.port,
                keepalive=False,
            )
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if self._open.ipmiversion != 2.0:
            # Else whoever answers in the BMC's place could talk us down to MD5.
            raise IpmiException("it offers IPMI 1.5 only, 2.0 is needed")
        self._as = wanted
        self._heard_at = boot_ms()
        self._number = self._open.remseqnumber
        self._doubted, self._silent = False, 0
        return True

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


class _Question:
    """One request in a session; put as often as wanted, it stays the same one to the BMC."""

    def __init__(self, session: Any, netfn: int, command: int, data: bytes) -> None:
        self.answers: list[dict[str, Any]] = []
        """One, if it came, with a completion code."""
        self._session = session
        self._netfn, self._command, self._data = netfn, command, data

    def send(self) -> None:
        """One datagram; nothing repeats it."""
        session = self._session
        if session.lastpayload or session.pendingpayloads:
            return  # it would be queued behind what is still repeated, and leave at any time
        session.raw_command(
            netfn=self._netfn,
            command=self._command,
            data=list(self._data),
            retry=False,
            callback=self._answered,
        )
        session.incommand = False  # else pyghmi waits before the next one, and before a logout

    def _answered(self, answer: dict[str, Any]) -> None:
        if answer.get("code", 0x100) <= 0xFF:
            self.answers.append(answer)

    def forget(self) -> None:
        """Its answer may yet come: the next one has another number, so it is not taken for that."""
        self._session.request_entry.clear()
        self._session.seqlun = (self._session.seqlun + 1) & 0x3F


def _forget_sessions(session: Any) -> None:
    """Of a session that is closed pyghmi keeps parts, and would take them for a new login.

    With another socket nothing reaches the new one that is late for the old.
    """
    for each in session.iosockets:
        each.close()
    session.iosockets.clear()
    session.sessionqueue.clear()
    for kept in ("bmc_handlers", "initting_sessions", "socketpool"):
        getattr(session.Session, kept).clear()


def _listen(session: Any, patient_ms: int) -> None:
    """Takes in what has come, or the first that comes in that time."""
    from pyghmi.ipmi.private import session as pyghmi

    pyghmi._io_wait(patient_ms / 1000)
    pyghmi.sessionqueue.clear()  # read only during logins; it would grow for ever
    # What cannot be read is no answer.  pyghmi looks at lengths before it knows the sender.
    with contextlib.suppress(Exception):
        session.process_pktqueue()


_PROBE = bytes.fromhex("0600ff07000000000000000000092018c88100388e04b5")
"""Get Channel Authentication Capabilities, outside any session (IPMI 2.0, 22.13)."""


def _is_probed(answer: bytes) -> bool:
    """Whether it is a response (network function 7) to `_PROBE`, whatever it says."""
    return answer[:4] == _PROBE[:4] and answer[15:16] == b"\x1c" and answer[19:20] == b"\x38"


def serve(connection: socket.socket) -> None:
    """Carries out commands until the agent closes its end."""
    session = Session()
    try:
        while True:
            if not select.select([connection], [], [], IDLE_S)[0]:
                session.close()
                connection.setblocking(True)
                select.select([connection], [], [])
            command = receive(connection, Command)
            if command is None:
                return
            result = session.perform(command)
            connection.sendall(framed(result))
            if result.fault:
                # pyghmi keeps what is left of a failed session, and would find it again.
                return
    except OSError:
        return
    finally:
        session.close()


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
    """Marks each login of a session, also those that pyghmi begins anew by itself.

    `_req_priv_level` is the first that it does once the keys of a new login are agreed on.  In a
    second one it would wait there for the first one's time to be over, 10 s.
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
    heed_no_terminal()
    from pyghmi.ipmi.private import session

    dump_nothing()
    _prepare(session)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
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
