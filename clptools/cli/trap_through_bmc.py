"""`clptrap test --through-bmc`: the BMC itself sends a trap, and its arrival is watched.

A BMC that speaks Redfish sends an event in its place.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, cast

from clptools.cli.bmc_alerts import (
    alert_ways,
    how_to_mend,
    is_redfish,
    servers_of,
    wanted_of,
)
from clptools.cli.command import Answer, done
from clptools.faults import ClpError, ExitCode

if TYPE_CHECKING:
    from clptools.core.model.settings import Settings
    from clptools.hardware.alerts import Wanted

ARRIVES_WITHIN_S = 10.0
"""BMCs queue their alerts; most send within a second."""
LOOK_EVERY_S = 0.2
EVENT_WITHIN_S = 20.0
"""By Redfish, where the log may be the only way; it is read every ten seconds."""

_TAKEN = {
    "accepted": "taken",
    "unknown": "taken, and counted alone: no row of the class table knows it",
    "presence": "taken as a sign of life of the BMC",
    "duplicate": "known as a resend of one that was taken before",
    "storm": "known as a repeat, in a storm of traps",
}
_REFUSED = {
    "bad_community": (
        "it has the wrong community or SNMPv3 user",
        "clpbmccnf --alerts {server} sets the community.",
    ),
    "not_allowed": (
        "it came from another address than that of the BMC in clp.toml",
        "Set address under [server.bmc] to the one that the BMC sends from.",
    ),
    "malformed": (
        "it cannot be read as a trap",
        "Catch it with tcpdump, then: clptrap decode --pcap",
    ),
    "queue_full": ("the agent had no place for it", "See clpstat --hw."),
    "undelivered": ("it could not be made durable", "See the log: is the disk full?"),
}
_EVENT_TAKEN = {
    "redfish_test": "taken as the test that it is",
    "redfish_accepted": "taken; it does not say that it is a test",
    "redfish_duplicate": "known as one that was taken before",
    "redfish_late": "known as older than what was taken of its fault",
    "redfish_storm": "dropped, in a storm of events",
}
_EVENT_REFUSED = {
    "redfish_malformed": ("it is no JSON object", "See the log of {server}."),
    "redfish_undelivered": _REFUSED["undelivered"],
}


def test_through_bmc(settings: Settings, server: str, own: str) -> Answer:
    """Lets the BMC of `server` send a test to each keyword address; raises ClpError otherwise."""
    (name,) = servers_of(settings, (server,))
    lines: list[str] = []
    for wanted in wanted_of(settings, name):
        events = is_redfish(settings, name)
        seen = _AtAgent(name, events) if _agent_runs() else None
        if seen is None and events:
            raise ClpError(
                ExitCode.NO_AGENT,
                f"No agent runs here, and events of the BMC of {name} come to an agent alone.",
                "Start the cluster service here: clpcl -s",
            )
        if seen is None and name != own:
            raise ClpError(
                ExitCode.NO_AGENT,
                f"No agent runs here, so nobody can tell what arrives at {name}.",
                f"Ask on {name}, or start the cluster service here: clpcl -s",
            )
        try:
            arrived = asyncio.run(_sent(settings, wanted, own, seen or _AtSocket(wanted, settings)))
        except OSError as error:
            text = f"{wanted.where}: {error.strerror}"
            raise ClpError(ExitCode.FAILED, text, "Is it an address of this server?") from None
        what = "event" if events else "trap"
        lines.append(f"The BMC of {name} sent a test {what} ({arrived[0]}). {arrived[1]}")
    return done("\n".join(lines), server=name)


def _agent_runs() -> bool:
    from clptools.api.client import Client

    try:
        with Client():
            return True
    except ClpError as error:
        if error.code is ExitCode.NO_AGENT:
            return False
        raise


async def _sent(
    settings: Settings, wanted: Wanted, own: str, seen: _AtAgent | _AtSocket
) -> tuple[str, str]:
    """What the BMC was told, and what became of the trap.  Raises ClpError."""
    events = is_redfish(settings, wanted.server)
    with seen:
        async with alert_ways(settings, (wanted.server,), own) as ways:
            try:
                told = await ways[wanted.server].send_test(wanted)
            except ClpError as error:
                error.hint = how_to_mend(error, wanted)
                raise
        within_s = EVENT_WITHIN_S if events else ARRIVES_WITHIN_S
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            if became := seen.look(wanted):
                return told, became
            await asyncio.sleep(LOOK_EVERY_S)
    if events:
        raise ClpError(
            ExitCode.TIMED_OUT,
            f"The BMC of {wanted.server} accepted to send a test event ({told}), and nothing came "
            f"to the agent there within {within_s:g} s.",
            f"clpbmccnf --alerts --check {wanted.server} looks at its event service; the log of "
            f"{wanted.server} says which way does not work.",
        )
    raise ClpError(
        ExitCode.TIMED_OUT,
        f"The BMC of {wanted.server} accepted to send a test trap ({told}), and nothing came to "
        f"{wanted.where} within {ARRIVES_WITHIN_S:g} s.",
        "Can the BMC reach that address (its gateway, VLAN, a firewall)? tcpdump -ni any udp port "
        f"{wanted.port} shows whether it comes to {wanted.server}.",
    )


class _AtAgent:
    """Watches the counters of the agent of that server, which need not be this one."""

    def __init__(self, server: str, events: bool) -> None:
        """`events`: by Redfish, not traps."""
        self._server = server
        self._taken = _EVENT_TAKEN if events else _TAKEN
        self._refused = _EVENT_REFUSED if events else _REFUSED
        self._what = "An event came to the agent" if events else "A trap came to {where}"
        self._it = "It came to the agent" if events else "It came to {where}"
        self._before: dict[str, int] = {}

    def __enter__(self) -> _AtAgent:
        self._before = self._counters()
        return self

    def __exit__(self, *_: object) -> None:
        return

    def look(self, wanted: Wanted) -> str:
        """What became of the test; empty: nothing yet.  Raises ClpError if it was refused."""
        now = self._counters()
        grown = [name for name, count in now.items() if count > self._before.get(name, 0)]
        for name, text in self._taken.items():
            if name in grown:
                return f"{self._it.format(where=wanted.where)} and was {text}."
        for name, (why, hint) in self._refused.items():
            if name in grown:
                raise ClpError(
                    ExitCode.FAILED,
                    f"{self._what.format(where=wanted.where)}, and was refused: {why}.",
                    hint.format(server=wanted.server),
                )
        return ""

    def _counters(self) -> dict[str, int]:
        from clptools.api.client import Client

        with Client() as client:
            found = cast(
                "dict[str, list[dict[str, object]]]", client.call("GetHardware")["hardware"]
            )
        for server in found["servers"]:
            if server["name"] == self._server:
                if server.get("unreachable"):
                    raise ClpError(
                        ExitCode.FAILED,
                        f"The agent of {self._server} cannot be asked what arrives there: "
                        f"{server['unreachable']}.",
                    )
                return cast("dict[str, int]", server["counters"])
        raise ClpError(ExitCode.NO_SUCH, f"{self._server}: the agent here does not know it.")


class _AtSocket:
    """Listens itself, where no agent runs."""

    def __init__(self, wanted: Wanted, settings: Settings) -> None:
        """Raises OSError: the keyword address cannot be bound."""
        from clptools.intake.class_table import ClassTable

        family = socket.AF_INET6 if ":" in wanted.host else socket.AF_INET
        self._table = ClassTable(settings.trap_profiles)
        own = settings.server(wanted.server)
        self._bmc = own.bmc.address if own and own.bmc else ""
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            self._socket.bind((wanted.host, wanted.port))
        except OSError:
            self._socket.close()
            raise

    def __enter__(self) -> _AtSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def look(self, wanted: Wanted) -> str:
        """As `_AtAgent.look`."""
        from clptools.intake import pet, snmp
        from clptools.intake.admission import plain_source
        from clptools.intake.ber import DecodeError

        try:
            data, source = self._socket.recvfrom(65_535)
        except BlockingIOError:
            return ""
        if plain_source(source[0]) != plain_source(self._bmc):
            raise self._refused(wanted, "not_allowed")
        try:
            trap = snmp.decode(data)
        except DecodeError:
            raise self._refused(wanted, "malformed") from None
        if not isinstance(trap, snmp.Trap):
            return f"It came to {wanted.where} as SNMPv3."
        if trap.community.decode("latin-1") not in wanted.communities:
            raise self._refused(wanted, "bad_community")
        decoded = pet.decode_trap(trap, self._table, time.time())
        return f"It came to {wanted.where}: {decoded.meaning}, {decoded.event_class}."

    def _refused(self, wanted: Wanted, why: str) -> ClpError:
        text, hint = _REFUSED[why]
        return ClpError(
            ExitCode.FAILED,
            f"A trap came to {wanted.where} and would be refused: {text}.",
            hint.format(server=wanted.server),
        )
