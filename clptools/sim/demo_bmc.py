"""A BMC for rehearsals: OpenIPMI's `ipmi_sim`, or pyghmi's server class where that is missing.

It answers IPMI 2.0 on a loopback address and has power over a *machine*: a command of the
caller's, started and killed as the chassis is switched.  Only for demonstrations and tests.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import msgspec

from clptools.faults import ClpError, ExitCode

IPMI_SIM = "ipmi_sim"
PYGHMI = "pyghmi"

_AUTH_CAPABILITIES = bytes.fromhex("0600ff07000000000000000000092018c88100388e04b5")
"""Get Channel Authentication Capabilities, outside any session (IPMI 2.0, 22.13)."""

_LAN_CONF = """\
name "bmc"
startlan 1
  addr {address} {port}
  priv_limit admin
  allowed_auths_admin md5
  guid {guid}
endlan
user 2 true "{user}" "{password}" admin 10
chassis_control "{chassis} 0x20"
serial 15 {address} {port} codec VM
"""

# Without its sensor (number 0, type 35) the watchdog would never expire.
_MC = """\
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02
sel_enable 0x20 1000 0x0a
sensor_add 0x20 0 0 35 0x6f event-only
mc_enable 0x20
"""

_CHASSIS = """\
#!/bin/sh
# Called as: chassis MC get power | chassis MC set power|reset|shutdown VALUE
cd {folder} || exit 1
on() {{
    pid=$(cat machine.pid 2>/dev/null) && grep -q '^State:.[^ZX]' "/proc/$pid/status" 2>/dev/null
}}
stop() {{
    if on; then kill -s KILL -- "-$pid" 2>/dev/null || kill -s KILL "$pid"; fi
    rm -f machine.pid
    if [ -x off ]; then ./off; fi
}}
start() {{
    on && return
    {machine} </dev/null >>machine.log 2>&1 &
    echo $! >machine.pid
}}
case "$2 $3 $4" in
"get power "*) if on && ! [ -e blind ]; then echo power:1; else echo power:0; fi ;;
"get machine "*) if on; then echo power:1; else echo power:0; fi ;;
"set power 0" | "set shutdown "*) stop ;;
"set power 1") start ;;
"set reset "*) if on; then stop; start; fi ;;
*) exit 1 ;;
esac
"""

_OWN_SESSION = """\
import os, sys
os.setsid()
os.closerange(3, 1024)  # the BMC's sockets, which would keep its address taken
os.execvp(sys.argv[1], sys.argv[1:])
"""


class _SystemInterface(threading.Thread):
    """The machine's end of `ipmi_sim`'s system interface: without it the watchdog cannot act.

    The protocol is that of qemu's `ipmi-bmc-extern`: a command is one byte and its arguments,
    ended by A1h; A0h, A1h and AAh within are escaped.
    """

    def __init__(self, address: str, port: int, act: Callable[..., object]) -> None:
        super().__init__(daemon=True, name=f"machine of {address}:{port}")
        self._act = act
        self._link = socket.create_connection((address, port), 5.0)
        self._link.settimeout(None)
        # Version 1; then: power, reset, interrupt and NMI lines are there.
        self._link.sendall(b"\xff\x01\xa1" + b"\x08\x0f\xa1")

    def run(self) -> None:
        """Does what the BMC commands until it ends."""
        try:
            while data := self._link.recv(256):
                for command in data.split(b"\xa1"):
                    if command == b"\x03":
                        self._act("set", "power", "0")
                    elif command == b"\x04":
                        self._act("set", "reset", "1")
        except OSError:
            return
        finally:
            self._link.close()


class SimulatedBmc:
    """One BMC and its machine.  The folder it is given holds everything it writes.

    An executable `off` there is run when the power went: for what else goes with it, a kernel say.
    """

    def __init__(
        self,
        folder: str,
        address: str,
        port: int = 623,
        user: str = "clp",
        password: str = "secret",
        machine: tuple[str, ...] = ("sleep", "2147483647"),
        kind: str = "",
    ) -> None:
        """`machine`: the command that is the machine.  `kind`: `IPMI_SIM` or `PYGHMI`; empty:
        the first that is installed."""
        self.address = address
        self.port = port
        self.user = user
        self.password = password
        self.kind = kind or (IPMI_SIM if shutil.which("ipmi_sim") else PYGHMI)
        self._folder = Path(folder).absolute()
        self._guid = uuid.uuid5(uuid.NAMESPACE_URL, f"ipmi://{address}:{port}")
        self._machine = machine
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, on: bool = True, timeout_s: float = 10.0) -> None:
        """Starts the BMC, and with `on` the machine; returns when it answers.

        Raises ClpError if it does not within `timeout_s`.
        """
        self._write_files()
        if on:
            self.switch(True)
        self._start_bmc(timeout_s)

    def restart(self, timeout_s: float = 10.0) -> None:
        """The BMC alone restarts: its sessions and its timer are gone, the machine runs on.

        Raises ClpError as `start`.
        """
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._start_bmc(timeout_s)

    def senses(self, right: bool) -> None:
        """Whether the BMC senses its machine's power, or says off whatever that is."""
        blind = self._folder / "blind"
        if right:
            blind.unlink(missing_ok=True)
        else:
            blind.touch()

    def _command(self) -> list[str]:
        """The program that is the BMC; it runs in the folder."""
        return {
            IPMI_SIM: ["ipmi_sim", "-n", "-c", "lan.conf", "-f", "mc.emu", "-s", "state"],
            PYGHMI: [sys.executable, "-P", "-m", "clptools.sim.demo_bmc_server", "server.json"],
        }[self.kind]

    def _start_bmc(self, timeout_s: float) -> None:
        command = self._command()
        with open(self._folder / "bmc.log", "ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + timeout_s
        while not self.answers(0.2):
            ended = self._process.poll() is not None
            if ended or time.monotonic() > deadline:
                self.stop()
                what = "ended" if ended else f"does not answer within {timeout_s:g} s"
                raise ClpError(
                    ExitCode.FAILED,
                    f"the simulated BMC at {self.address} port {self.port} {what}",
                    f"see {self._folder}/bmc.log",
                )
        if self.kind == IPMI_SIM:
            _SystemInterface(self.address, self.port, self._chassis).start()

    def stop(self) -> None:
        """Ends the BMC and its machine."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self.power() == "on":
            self.switch(False)

    def answers(self, timeout_s: float) -> bool:
        """Whether the BMC answers a request outside any session."""
        family = socket.AF_INET6 if ":" in self.address else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.settimeout(timeout_s)
            try:
                probe.connect((self.address, self.port))
                probe.send(_AUTH_CAPABILITIES)
                return bool(probe.recv(1500))
            except OSError:
                # Refused answers come at once; the caller's next try must not spin.
                time.sleep(0.02)
                return False

    def power(self) -> str:
        """`on` or `off`, asked of the machine itself and not over IPMI."""
        asked = self._chassis("get", "machine")
        return "on" if b"power:1" in asked.stdout else "off"

    def machine(self) -> int:
        """Process id of the machine, another after each power-on; 0: it is off."""
        if self.power() == "off":
            return 0
        try:
            return int((self._folder / "machine.pid").read_text())
        except (OSError, ValueError):
            return 0  # switched this very moment

    def switch(self, on: bool) -> None:
        """The machine's power by hand: as a person does with its cable."""
        self._chassis("set", "power", "1" if on else "0")

    def freeze(self) -> None:
        """The BMC hangs: it keeps its address and answers nothing."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """The BMC goes on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)

    def _chassis(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        command = [str(self._folder / "chassis"), "0x20", *words]
        return subprocess.run(command, capture_output=True, check=False)

    def _write_files(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._folder / "state").mkdir(exist_ok=True)
        chassis = self._folder / "chassis"
        machine = shlex.join([sys.executable, "-I", "-S", "-c", _OWN_SESSION, *self._machine])
        folder = shlex.quote(str(self._folder))
        chassis.write_text(_CHASSIS.format(folder=folder, machine=machine))
        chassis.chmod(0o700)
        (self._folder / "mc.emu").write_text(_MC)
        self._write_secret(
            "lan.conf",
            _LAN_CONF.format(
                address=self.address,
                port=self.port,
                user=self.user,
                password=self.password,
                chassis=chassis,
                guid=self._guid.hex,
            ),
        )
        server = {
            "address": self.address,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "chassis": str(chassis),
        }
        self._write_secret("server.json", msgspec.json.encode(server).decode())

    def _write_secret(self, name: str, text: str) -> None:
        handle = os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(text)
