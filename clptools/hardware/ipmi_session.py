"""One session with one BMC: when datagrams leave, and when the session is given up.

An off read counts only in a session that the BMC has kept for a while (docs/rules.md, *Out*), so
a lost answer must not cost the session.  pyghmi would repeat for 6 to 8 s and then log in anew
without a word.  So pyghmi only logs in and packs the datagrams (`pyghmi_adapter`).
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from typing import Any

from pyghmi.exceptions import IpmiException
from pyghmi.ipmi.private import session as pyghmi

from clptools.hardware.ipmi_requests import Command, Result, boot_ms
from clptools.hardware.pyghmi_adapter import drop, level, listen, log_in, put_aside, take_back

_KEPT_MS = 63_000
"""A BMC that got nothing for so long has closed the session: 60 s +- 3 s (IPMI 2.0, 6.12.15)."""
_ANSWER_MS, _ANSWER_MOST_MS = 1_000, 6_000
"""How long the answer to a command that leaves only once is waited for; a slow BMC takes longer."""
_TRIES_MS = (300, 450, 600)
"""An answer is lost if it has not come by then, and the question is put again: the first time and
each further one.  After this many tries the BMC has lost the session, or is slow."""
_TRY_MOST_MS = 5_000
"""For a BMC that is known to be slow."""
_PROBE_MS, _PROBE_MOST_MS = 250, 500
"""Pauses between probes outside of sessions: the first one twice, then the second."""
_SLOW_MS = 150
"""A BMC slower than this cannot answer twice before an order is too late to leave."""
_JUST_MS = 1_500
_CHASSIS, _STATUS = 0x00, 0x01


class Session:
    """One pyghmi session with one BMC, opened when it is needed.

    A BMC forgets its sessions when it restarts, so an answer in this session proves that it has
    not restarted.  Hence a lost answer is followed by the same question in the same session.  While
    no answer comes, the question is repeated only if the BMC answers outside of sessions: datagrams
    are numbered, a BMC accepts only 15 numbers ahead, and a few minutes of datagrams into a dead
    network would lose the session.

    A BMC that answers outside but not inside has lost the session, or is busy.  A second login
    decides: if the BMC answers in the second and not in the first, the first ends; else it is kept.
    """

    def __init__(self) -> None:
        self._open: Any = None
        self._as: tuple[str, int, str, str] | None = None
        self._heard_at = 0
        """When the last answer in it came (CLOCK_BOOTTIME, ms)."""
        self._number = 0
        """The BMC's number of that answer."""
        self._silent = 0
        """Consecutive unanswered tries."""
        self._waits_since = 0
        """When the first of these was sent."""
        self._slow_ms = 0
        """How long this BMC takes for an answer; until then none counts as lost."""
        self._why = ""
        """The last reason for a missing answer, if there is one."""

    def perform(self, command: Command) -> Result:
        """Carries out one command; every fault becomes a `Result`."""
        self._why = ""
        try:
            if command.once:
                return self._only_once(command)
            return self._until_answered(command)
        except TimeoutError:
            self.close(polite=False)
            return Result(number=command.number, missed="no answer to the login")
        except IpmiException as error:
            self.close(polite=False)
            text = str(error)
            lost = text in ("", "None", "timeout") or "no longer connected" in text
            return Result(number=command.number, fault="no answer to the login" if lost else text)
        except Exception as error:
            # pyghmi indexes and unpacks what the BMC sent without a look at its length.
            self.close(polite=False)
            return Result(number=command.number, fault=f"malformed answer ({error!r})")

    def _until_answered(self, command: Command) -> Result:
        """A command that is repeated, in the same session as long as the BMC may know that.

        All repetitions are one question to the BMC (the same rqSeq), so any answer will do.
        """
        if not self._logged_in(command):
            return self._nothing(command)
        started = boot_ms()
        question = _Question(self._open, command.netfn, command.command, command.data)
        while not self._silent or self._reach(command, question):
            silent = self._silent >= len(_TRIES_MS) and not self._hears(question)
            if silent and self._second_login(command, question):
                question = _Question(self._open, command.netfn, command.command, command.data)
            if (left_ms := command.until_ms - boot_ms()) <= 0:
                break
            answer = self._put(question, min(left_ms, self._try_ms()))
            if answer is not None:
                return _result(self._open, command, answer, boot_ms() - started)
        question.forget()
        return self._nothing(command)

    def _nothing(self, command: Command) -> Result:
        return Result(number=command.number, missed=self._why or "no answer")

    def _try_ms(self) -> int:
        usual = _TRIES_MS[min(self._silent, len(_TRIES_MS) - 1)]
        return max(usual, min(self._slow_ms * 3 // 2 + 100, _TRY_MOST_MS))

    def _only_once(self, command: Command) -> Result:
        """A command that leaves in time or never, and as one datagram.

        A read goes first.  Its answer shows that the BMC knows this session, and that the command's
        datagram will not wait in the kernel for an address to be resolved.  For a slow BMC an
        answer of a moment ago shows the same.
        """
        number = command.number
        late = Result(number=number, missed="not sent: it would have come too late")
        silent = Result(number=number, missed="not sent: the BMC did not answer in time")
        if boot_ms() > command.until_ms:
            return late
        just = self._slow_ms > _SLOW_MS and boot_ms() - self._heard_at <= _JUST_MS
        if not self._logged_in(command) or (self._silent and not self._reach(command)):
            return silent
        if (left_ms := command.until_ms - boot_ms()) <= 0:
            return late
        if not just or self._silent:
            read = _Question(self._open, _CHASSIS, _STATUS, b"")
            if self._put(read, left_ms) is None:
                read.forget()
                return silent
        started = boot_ms()
        if started > command.until_ms:
            return late
        order = _Question(self._open, command.netfn, command.command, command.data)
        answer = self._put(order, min(max(_ANSWER_MS, 2 * self._slow_ms), _ANSWER_MOST_MS))
        if answer is None:
            order.forget()
            return Result(number=number, missed="sent, but not answered", left=True)
        return _result(self._open, command, answer, boot_ms() - started)

    def _put(self, question: _Question, patient_ms: int) -> dict[str, Any] | None:
        """Sends it once and waits so long for the answer; updates what is known of the BMC."""
        whole = patient_ms >= self._try_ms()
        if not question.answers:
            question.send()
            if not self._waits_since:
                self._waits_since = question.sent_at
            until = boot_ms() + patient_ms
            while not question.answers and (left_ms := until - boot_ms()) > 0:
                listen(self._open, left_ms)
        self._hears(question)
        if question.answers:
            self._silent = 0
            self._waits_since = 0
            self._slow_ms = max(question.answered_at - question.sent_at, self._slow_ms * 7 // 8)
            return question.answers[0]
        # The first lost answer puts the session in doubt, however short the wait was.
        self._silent += whole or not self._silent
        return None

    def _hears(self, question: _Question) -> bool:
        """Whether anything came in the session since the last call.

        A late answer also shows that the session lives, and how slow the BMC is.
        """
        number = self._open.remseqnumber
        if not question.answers and number == self._number:
            return False
        self._number = number
        self._heard_at = boot_ms()
        if not question.answers:
            took_ms = self._heard_at - self._waits_since if self._waits_since else 0
            self._slow_ms = max(self._slow_ms, min(took_ms, _TRY_MOST_MS))
            self._waits_since = self._heard_at
            self._silent = 1
        return True

    def _second_login(self, command: Command, question: _Question) -> bool:
        """Whether the BMC lost the session; then a new one is open.

        The BMC answers outside of sessions, and not in this one.  If it answers in both logins, or
        in neither, the first is kept: it may prove more (docs/rules.md, *Out*).
        """
        first, kept, second = self._open, put_aside(), None
        try:
            second = log_in(command, self._slow_ms)
        except (IpmiException, TimeoutError) as error:
            if any(word in str(error).lower() for word in ("password", "unauthorized")):
                raise  # `BmcClient` limits how often a password is tried
            self._why = f"no answer in the session, and to a new login: {error or 'none'}"
        except Exception as error:
            self._why = f"no answer in the session, and to a new login a malformed one ({error!r})"
        take_back(kept)
        self._silent = 1
        if second is None:
            return False
        read = _Question(second, _CHASSIS, _STATUS, b"")
        until = boot_ms() + sum(_TRIES_MS)
        while not (question.answers or read.answers) and boot_ms() < until:
            question.send()
            read.send()
            again = boot_ms() + _TRIES_MS[0]  # the first has its turn, too
            while not question.answers and (left_ms := again - boot_ms()) > 0:
                listen(first, left_ms)
                listen(second, 0)
        lost = bool(read.answers) and not self._hears(question)
        with contextlib.suppress(Exception):
            (first if lost else second).logout()
        drop(first if lost else second)
        if lost:
            self._open = second
            self._begin(second)
        return lost

    def _begin(self, opened: Any) -> None:
        self._heard_at = boot_ms()
        self._number = opened.remseqnumber
        self._silent = self._waits_since = 0

    def _reach(self, command: Command, question: _Question | None = None) -> bool:
        """Whether the BMC answers outside of sessions; repeats the question until `until_ms`.

        An answer to `question` in the session counts too.  The socket is new, so no answer to an
        earlier call is taken for one to this.
        """
        sent: list[int] = []
        while (left_ms := command.until_ms - boot_ms()) > 0:
            try:
                where = socket.getaddrinfo(command.address, command.port, type=socket.SOCK_DGRAM)
                with socket.socket(where[0][0], where[0][1]) as probe:
                    probe.connect(where[0][4])
                    first = len(sent)
                    while (left_ms := command.until_ms - boot_ms()) > 0:
                        pause_ms = _PROBE_MS if len(sent) < 2 else _PROBE_MOST_MS
                        pause_ms = max(pause_ms, self._slow_ms * 3 // 2)
                        sent.append(boot_ms())
                        probe.send(_probe(len(sent) - 1))
                        answered = self._probed(probe, min(left_ms, pause_ms), question)
                        if answered is None:
                            continue
                        self._why = ""
                        if answered >= 0:
                            asked_at = sent[answered] if answered < len(sent) else sent[-1]
                            self._slow_ms = max(self._slow_ms, boot_ms() - asked_at)
                            ahead = len(sent) - 1 - max(answered, first)
                            self._drain(probe, ahead, command.until_ms)
                        return True
            except ConnectionRefusedError:
                self._why = (
                    f"port {command.port} is closed there: switch IPMI over LAN on in the BMC, "
                    "or use Redfish"
                )
                time.sleep(min(left_ms, _PROBE_MS) / 1000)
            except OSError as error:
                self._why = f"no answer ({error.strerror})"
                time.sleep(min(left_ms, _PROBE_MS) / 1000)
        return False

    def _drain(self, probe: socket.socket, ahead: int, until_ms: int) -> None:
        """Waits for the answers to `ahead` more probes: a slow BMC works on them first."""
        until = min(boot_ms() + ahead * self._slow_ms * 5 // 4, until_ms)
        while ahead > 0 and (answered := self._probed(probe, until - boot_ms(), None)) is not None:
            ahead -= answered >= 0

    def _probed(
        self, probe: socket.socket, patient_ms: int, question: _Question | None
    ) -> int | None:
        """The number of the probe that is answered within `patient_ms`; None: none is.

        -1: `question` is answered in the session.  Raises OSError.
        """
        until = boot_ms() + patient_ms
        watched = [probe, *(pyghmi.iosockets if self._open is not None else ())]
        while (left_ms := until - boot_ms()) > 0:
            ready = select.select(watched, [], [], left_ms / 1000)[0]
            if probe in ready and (number := _is_probed(probe.recv(1500))) is not None:
                return number
            if self._open is not None:
                listen(self._open, 0)
                if question is not None and self._open.remseqnumber != self._number:
                    return -1  # to this or to an earlier one: it is there
        return None

    def _logged_in(self, command: Command) -> bool:
        """Whether a session is open; logs in where none is.

        The login begins once the BMC answers probes: pyghmi waits longer after each failure.
        """
        wanted = (command.address, command.port, command.user, command.password)
        idle = boot_ms() - self._heard_at > _KEPT_MS
        if self._as == wanted and not idle and self._open.logged and not self._open.broken:
            return boot_ms() < command.until_ms
        self.close()
        if not self._reach(command):
            return False
        for each in put_aside().sockets:
            each.close()
        self._open = log_in(command, self._slow_ms)
        self._as = wanted
        self._begin(self._open)
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


def _result(session: Any, command: Command, answer: dict[str, Any], latency_ms: int) -> Result:
    """An answer as a `Result`.  It came in the newest login: keys of earlier ones are gone."""
    return Result(
        number=command.number,
        code=answer["code"],
        data=bytes(answer.get("data", b"")),
        latency_ms=latency_ms,
        session=session.clptools_login,
        session_at=session.clptools_login_at,
        guid=bytes(session.remoteguid),
        level=level(session),
    )


class _Question:
    """One request in a session; to the BMC each repetition is the same request."""

    def __init__(self, session: Any, netfn: int, command: int, data: bytes) -> None:
        self.answers: list[dict[str, Any]] = []
        """At most one, with a completion code."""
        self.sent_at = 0
        """When it was first sent (CLOCK_BOOTTIME, ms)."""
        self.answered_at = 0
        self._session = session
        self._netfn, self._command, self._data = netfn, command, data

    def send(self) -> None:
        """Sends one datagram, which pyghmi does not repeat."""
        session = self._session
        if session.lastpayload or session.pendingpayloads:
            return  # it would queue behind a datagram that is still repeated
        self.sent_at = self.sent_at or boot_ms()
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
            self.answered_at = boot_ms()
            self.answers.append(answer)

    def forget(self) -> None:
        """Gives the next request another number: a late answer to this one must not match it."""
        self._session.request_entry.clear()
        self._session.seqlun = (self._session.seqlun + 1) & 0x3F


_PROBE = bytes.fromhex("0600ff07000000000000000000092018c88100388e04b5")
"""Get Channel Authentication Capabilities, outside any session (IPMI 2.0, 22.13)."""


def _probe(number: int) -> bytes:
    """The probe of that number, modulo 64: its rqSeq, which the answer repeats."""
    probe = bytearray(_PROBE)
    probe[18] = number % 64 << 2
    probe[-1] = -sum(probe[17:-1]) & 0xFF
    return bytes(probe)


def _is_probed(answer: bytes) -> int | None:
    """The number of the probe that this answers (network function 7); None: it answers none."""
    if answer[:4] == _PROBE[:4] and answer[15:16] == b"\x1c" and answer[19:20] == b"\x38":
        return answer[18] >> 2
    return None
