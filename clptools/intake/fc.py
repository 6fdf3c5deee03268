"""FC: links of Fibre Channel host adapters and the remote ports behind them.

States are in `/sys/class/fc_host` and `/sys/class/fc_remote_ports` (scsi_transport_fc).  The
kernel reports changes on NETLINK_SCSITRANSPORT (link up, link down, RSCN), by uevents of remote
ports, and by the drivers' lines in its log; each makes us read the states.  Keywords: `host3`, a
remote port's `rport-3:0-1`, or the port name of either (`0x21000024ff…`).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

from clptools.intake.kernel import Kernel, names, read_text
from clptools.intake.kmsg import Finding, Line
from clptools.intake.sources import Faults

NETLINK_SCSITRANSPORT = 18
ALL_GROUPS = 0xFFFFFFFF
SUBSYSTEMS = frozenset({"fc_host", "fc_remote_ports", "fc_transport", "scsi"})
LOOK_S = 0.02
"""How long to wait for further events of the same moment before the states are read."""
AGAIN_S = (0.5, 5.0)
"""When the states are read again: some follow the events a little later."""

NEEDLES = (
    b"rport-", b"Link Down", b"Link Up", b"LOOP DOWN", b"LOOP UP", b"LIP ", b"fc_host",
)  # fmt: skip
UNSTEADY = ("Blocked", "Marginal")
LOST = ("Not Present", "Offline", "Linkdown", "Error", "Deleted")


async def watch(kernel: Kernel, faults: Faults, note: Callable[[str], None]) -> None:
    """See `sources.Watch`."""
    ports = Ports(kernel, faults)
    faults.same = ports.same
    with contextlib.ExitStack() as stack:
        stack.callback(ports.close)
        stack.callback(kernel.uevents.listen(SUBSYSTEMS, lambda _: ports.look_soon(), ports.look))
        with contextlib.suppress(OSError):
            look = ports.look_soon
            stack.callback(kernel.kmsg.listen(NEEDLES, read_line, lambda *_: look(), look))
        try:
            stack.callback(_listen(ports.look_soon))
        except OSError as fault:
            note(f"Events of the SCSI transport are not seen: {fault.strerror}")
        ports.look()
        await asyncio.Event().wait()


class Ports:
    """All FC ports of this server."""

    def __init__(self, kernel: Kernel, faults: Faults) -> None:
        self._hosts = f"{kernel.sys}/class/fc_host"
        self._remotes = f"{kernel.sys}/class/fc_remote_ports"
        self._faults = faults
        self._names: dict[str, set[str]] = {}
        """Device -> all its names."""
        self._ran: set[str] = set()
        self._timers: list[asyncio.TimerHandle] = []

    def same(self, keyword: str, device: str) -> bool:
        """Whether a keyword means a port."""
        return keyword == device or keyword in self._names.get(device, ())

    def close(self) -> None:
        """Stop every timer."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()

    def look_soon(self) -> None:
        """Read the states soon, and again a little later."""
        self.close()
        loop = asyncio.get_running_loop()
        self._timers = [loop.call_later(s, self.look) for s in (LOOK_S, *AGAIN_S)]

    def look(self) -> None:
        """Read the states of all ports."""
        up = {name: self._host(name) for name in names(self._hosts)}
        for name in names(self._remotes):
            # rport-HOST:CHANNEL-NUMBER
            host = "host" + name.removeprefix("rport-").partition(":")[0]
            if up.get(host, False):
                self._remote(name, host)

    def _host(self, name: str) -> bool:
        """Whether its link is up."""
        state = read_text(f"{self._hosts}/{name}/port_state")
        self._names[name] = {read_text(f"{self._hosts}/{name}/port_name")}
        named = any(self.same(k, name) for k in self._faults.watched.keywords)
        if state == "Online":
            self._ran.add(name)
            self._faults.well(name, "link", f"{name} has its link again")
        elif state in LOST and (named or name in self._ran):
            self._faults.fault(name, "link", f"{name}: the link is {state.lower()}")
        return state == "Online"

    def _remote(self, name: str, host: str) -> None:
        folder = f"{self._remotes}/{name}"
        if "Target" not in read_text(f"{folder}/roles") and name not in self._ran:
            return
        state = read_text(f"{folder}/port_state")
        wwpn = read_text(f"{folder}/port_name")
        self._names[name] = {wwpn}
        own = any(self.same(k, name) for k in self._faults.watched.keywords)
        for device in (host, name) if own else (host,):
            fault = f"target {wwpn or name}"
            if state == "Online":
                self._ran.add(name)
                self._faults.well(device, fault, f"{host}: target {wwpn} is there again")
                self._faults.well(device, f"{fault} unsteady", f"{host}: target {wwpn} is steady")
            elif state in UNSTEADY and name in self._ran:
                text = f"{host}: target {wwpn} is {state.lower()}"
                self._faults.fault(device, f"{fault} unsteady", text, predictive=True)
            elif state in LOST and name in self._ran:
                text = f"{host}: target {wwpn} is {state.lower()}"
                self._faults.fault(device, fault, text)


def read_line(line: Line) -> Finding:
    """Any line about a link or a remote port makes us read the states."""
    return Finding(device="", fault="")


def _listen(look: Callable[[], None]) -> Callable[[], None]:
    """Events of the FC transport; returns what ends it.  Raises OSError where there is none."""
    sock = socket.socket(
        socket.AF_NETLINK,
        socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC,
        NETLINK_SCSITRANSPORT,
    )
    loop = asyncio.get_running_loop()

    def readable() -> None:
        with contextlib.suppress(OSError):
            sock.recvfrom(8192)
        look()

    def end() -> None:
        loop.remove_reader(sock.fileno())
        sock.close()

    try:
        sock.bind((0, ALL_GROUPS))
        loop.add_reader(sock.fileno(), readable)
    except OSError:
        sock.close()
        raise
    return end
