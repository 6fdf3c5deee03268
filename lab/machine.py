"""One whole server: qemu as the machine, OpenIPMI's `ipmi_sim` as its BMC.

The BMC starts and ends the machine (`startcmd`), so power is what IPMI says it is.  In band the
guest reaches the same BMC by KCS, or, where a case asks for it, one of QEMU's own, whose watchdog
timer can be fed.  Emulation (TCG) is the default and suffices; `ACCEL=kvm` uses
the processor where that works.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

from clptools.intake.rehearsal import pet_event
from lab.guestagent import GuestAgent, GuestGone
from lab.image import NETWORKS, Image, mac
from lab.network import bmc_address
from lab.places import Trouble, run, say

USER, PASSWORD = "clp", "lab-Secret1"
MEMORY_MB = 640
PROCESSORS = 2
"""Even where the laboratory itself has no more: a server boots while the others idle, and then in
two thirds of the time that one processor takes."""
MACHINE_PORT = 9000
"""Plus the server's number: where the machine meets its BMC."""
BOOTS_WITHIN_S = 600.0
"""Half a minute on an idle machine."""
HANGS_AFTER_S = 120.0
"""An emulated machine hangs in one of a hundred boots, in a storm of timer interrupts before its
kernel has a console; after that long without a word of it it is reset."""

SHARED_DISK = "/dev/disk/by-id/virtio-shared"
"""The disk that all servers see, in a server; it has no cache of its own that power could empty."""
SHARED_DISK_MB = 512

FATAL = "07h/6F/0"
"""Row of the class table: processor, internal error (IERR)."""

_LAN = """\
name "bmc{number}"
startlan 1
  addr {address} 623
  priv_limit admin
  allowed_auths_admin md5
  guid a123456789abcdefa123456789abcd{number:02x}
endlan
user 2 true "{user}" "{password}" admin 10
serial 15 127.0.0.1 {port} codec VM
startcmd "{folder}/machine"
startnow false
poweroff_wait 1
kill_wait 1
"""
# The watchdog's own sensor (number 0, type 35): without it ipmi_sim's would never expire.
_MC = """\
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02
sel_enable 0x20 1000 0x0a
sensor_add 0x20 0 0 35 0x6f event-only
mc_enable 0x20
"""
# The BMC's sockets are not the machine's: it would keep their addresses taken.
_START = """\
#!/bin/bash
for fd in {{3..60}}; do eval "exec $fd>&-"; done
exec {command} </dev/null >>{folder}/qemu.log 2>&1
"""


class Machine:
    """A server of the laboratory; `number` from 1."""

    def __init__(self, number: int, folder: Path, image: Image) -> None:
        self.number = number
        self.name = f"server{number}"
        self.folder = folder / self.name
        self._image = image
        self._sequence = 0
        self._bmc: subprocess.Popen[bytes] | None = None
        self._own_timer = False
        self._shared_disk: Path | None = None
        self._agent = GuestAgent(self.folder / "agent.sock")

    # ---- the BMC and its buttons ----

    def install(self, own_timer: bool = False, shared_disk: Path | None = None) -> None:
        """A fresh disk, and the BMC with the machine off.

        `own_timer`: `/dev/ipmi0` is a BMC inside QEMU, the one on the network knows nothing of it.
        `shared_disk`: a file that other servers have as a disk, too.
        """
        self._own_timer = own_timer
        self._shared_disk = shared_disk
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        (self.folder / "state").mkdir()
        disk = self.folder / "disk.qcow2"
        backing = ("-F", "raw", "-b", self._image.disk)
        run("qemu-img", "create", "-q", "-f", "qcow2", *backing, disk)
        start = self.folder / "machine"
        start.write_text(_START.format(command=self._command(disk), folder=self.folder))
        start.chmod(0o755)
        (self.folder / "mc.emu").write_text(_MC)
        (self.folder / "lan.conf").write_text(
            _LAN.format(
                number=self.number,
                address=bmc_address(self.number),
                user=USER,
                password=PASSWORD,
                port=MACHINE_PORT + self.number,
                folder=self.folder,
            )
        )
        with open(self.folder / "bmc.log", "ab") as log:
            self._bmc = subprocess.Popen(
                ["ipmi_sim", "-n", "-c", "lan.conf", "-f", "mc.emu", "-s", "state"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def power(self, word: str) -> str:
        """`on`, `off`, `reset`, `cycle` or `status` by IPMI, over the BMC network.

        `off` returns once it is: `ipmi_sim` says so a second before.
        """
        said = self.ipmi("chassis", "power", word)
        deadline = time.monotonic() + 10
        while word == "off" and self.on and time.monotonic() < deadline:
            time.sleep(0.02)
        return said

    def ipmi(self, *words: str) -> str:
        """What ipmitool says over the BMC network.  Raises Trouble."""
        where = ("-I", "lanplus", "-C", "3", "-H", bmc_address(self.number))
        return run("ipmitool", *where, "-U", USER, "-P", PASSWORD, *words).strip()

    def pull_the_plug(self) -> None:
        """Its power is gone, and nobody told the BMC."""
        pid = self.pid
        if pid:
            os.kill(pid, signal.SIGKILL)

    def trap(self, row: str = FATAL, *, deasserted: bool = False) -> None:
        """Its BMC sends a PET (v2c) of a row of the class table."""
        self._sequence += 1
        event = pet_event(row, deasserted=deasserted, sequence=self._sequence)
        pet = "1.3.6.1.4.1.3183.1.1"
        where = f"udp:{NETWORKS['bmc']}.{self.number}:162"
        source = f"--clientaddr={bmc_address(self.number)}"
        said = ("", f"{pet}.0.{event.specific}", f"{pet}.1", "x", event.octets().hex())
        run("snmptrap", "-v2c", "-c", "public", source, where, *said)

    @property
    def on(self) -> bool:
        """Whether the machine runs, seen from outside and without the BMC."""
        return self.pid != 0

    @property
    def pid(self) -> int:
        """The process that is the machine; 0: it is off."""
        mark = f"{self.folder}/agent.sock".encode()
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    line = (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if line.startswith(b"qemu-system") and mark in line:
                    return int(entry.name)
        return 0

    def boot(self, within_s: float = BOOTS_WITHIN_S) -> None:
        """Powers it on and returns when systemd has started everything."""
        if not self.on:
            self.press_on()
        self.booted(within_s)

    def press_on(self) -> None:
        """The power button, of a BMC that may itself have only started."""
        deadline = time.monotonic() + 15
        while True:
            try:
                self.power("on")
                return
            except Trouble:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def booted(self, within_s: float = BOOTS_WITHIN_S) -> None:
        """Returns when it is up.  Raises Trouble."""
        deadline = time.monotonic() + within_s
        silent_since = time.monotonic()
        while time.monotonic() < deadline:
            try:
                said = self._agent.call("systemctl is-system-running --wait", within_s=60)[1]
            except GuestGone:
                if time.monotonic() - silent_since > HANGS_AFTER_S and self.on:
                    say(f"  {self.name} does not boot; it is reset")
                    self.power("reset")
                    silent_since = time.monotonic()
                time.sleep(0.5)
                continue
            silent_since = time.monotonic()
            if said.strip() in ("running", "degraded"):
                return
            time.sleep(0.5)
        raise Trouble(f"{self.name} did not boot within {within_s:g} s: {self.folder}/console.log")

    # ---- inside ----

    def sh(self, line: str, *, text: str = "", within_s: float = 60.0) -> str:
        """A shell line in the server; its output.  Raises Failed and GuestGone."""
        return self._agent.run(line, text=text, within_s=within_s)

    def try_sh(self, line: str, *, within_s: float = 60.0) -> tuple[int, str]:
        """As `sh`, with the exit status.  Raises GuestGone."""
        status, out, err = self._agent.call(line, within_s=within_s)
        return status, out + err

    def spawn(self, line: str) -> None:
        """Starts a shell line in the server that may be its end."""
        self._agent.spawn(line)

    def alive(self) -> bool:
        """Whether its system answers."""
        return self.on and self._agent.alive()

    def write(self, path: str, text: str, mode: str = "0644") -> None:
        """A file in the server."""
        self.sh(f"install -D -m {mode} /dev/stdin {path}", text=text)

    # ---- how it is broken ----

    def panic(self) -> None:
        """The kernel panics (sysrq c)."""
        self.spawn("sleep 0.2; echo c >/proc/sysrq-trigger")

    def freeze(self) -> None:
        """All its processors stop at once, and go on at `thaw` as if nothing had been."""
        self._monitor("stop")

    def thaw(self) -> None:
        """The end of `freeze`."""
        self._monitor("cont")

    def machine_check(self, bank: int, status: int, *, global_status: int = 0) -> None:
        """Its processor finds a hardware error, as QEMU's `mce` puts it into the registers.

        `status` is IA32_MCi_STATUS, `global_status` IA32_MCG_STATUS (Intel SDM 3B, 15.3.2); the
        address is one without memory, so that no page is lost.
        """
        # Who survives an uncorrected one waits for all processors to take note of it.
        everyone = "-b " if global_status else ""
        line = f"mce {everyone}0 {bank} {status:#x} {global_status:#x} 0xfffff000 0x8c"
        self._monitor("human-monitor-command", {"command-line": line})

    def disturb(self, network: str, how: str) -> None:
        """Delay and loss of what it sends, in tc-netem's words; empty: none.

        In the server itself, whose kernel is known to have netem.
        """
        self.try_sh(f"tc qdisc del dev {network} root")
        if how:
            self.sh(f"modprobe sch_netem && tc qdisc add dev {network} root netem {how}")

    def freeze_bmc(self, frozen: bool = True) -> None:
        """Its BMC hangs: it keeps its address and answers nothing."""
        assert self._bmc is not None
        self._bmc.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def end(self) -> None:
        """Everything of it ends."""
        if self._bmc is not None:
            self._bmc.kill()
            self._bmc.wait()
        self.pull_the_plug()

    def _monitor(self, command: str, arguments: dict[str, str] | None = None) -> None:
        with socket.socket(socket.AF_UNIX) as link:
            link.settimeout(10)
            link.connect(str(self.folder / "monitor.sock"))
            reader = link.makefile("rb")
            reader.readline()
            for each, words in (("qmp_capabilities", {}), (command, arguments or {})):
                link.sendall(json.dumps({"execute": each, "arguments": words}).encode())
                while b'"return"' not in reader.readline():
                    pass

    def _shared(self) -> list[str]:
        """The disk that others have, too.  What the server flushed is there whatever happens."""
        if self._shared_disk is None:
            return []
        how = "if=none,id=shared,format=raw,cache=writeback,file.locking=off"
        return [
            f"-drive file={self._shared_disk},{how}",
            # In a late slot: the first disk is the server's own, /dev/vda.
            "-device virtio-blk-pci,drive=shared,serial=shared,share-rw=on,addr=0x1d",
        ]

    def _command(self, disk: Path) -> str:
        accel = os.environ.get("ACCEL", "tcg")
        processor = "host" if accel == "kvm" else "Nehalem"
        kernel = (
            f"systemd.hostname={self.name} systemd.show_status=no net.ifnames=0"
            " root=/dev/vda rw rootflags=errors=remount-ro console=ttyS0 quiet loglevel=4"
            " mitigations=off nokaslr audit=0 lsm= cryptomgr.notests i8042.noaux i8042.nokbd"
        )
        words = [
            f"qemu-system-x86_64 -name {self.name} -M q35,sata=off,smbus=off,vmport=off",
            f"-accel {accel} -cpu {processor}",
            f"-m {MEMORY_MB} -smp {PROCESSORS} -nodefaults -display none",
            f"-kernel {self._image.kernel} -initrd {self._image.initrd} -append '{kernel}'",
            f"-drive file={disk},if=virtio,format=qcow2,cache=writeback",
            *self._shared(),
            f"-serial file:{self.folder}/console.log",
            "-global ICH9-LPC.noreboot=false -rtc base=utc,clock=host",
            f"-qmp unix:{self.folder}/monitor.sock,server=on,wait=off",
            f"-chardev socket,id=agent,path={self.folder}/agent.sock,server=on,wait=off",
            "-device virtio-serial-pci",
            "-device virtserialport,chardev=agent,name=org.qemu.guest_agent.0",
        ]
        port = MACHINE_PORT + self.number
        if self._own_timer:
            words.append("-device ipmi-bmc-sim,id=bmc0")
        else:
            words.append(f"-chardev socket,id=bmc,host=127.0.0.1,port={port},reconnect=1")
            words.append("-device ipmi-bmc-extern,id=bmc0,chardev=bmc")
        words.append("-device isa-ipmi-kcs,bmc=bmc0")
        for name in NETWORKS:
            tap = f"s{self.number}{name}"
            words.append(f"-netdev tap,id={name},ifname={tap},script=no,downscript=no")
            words.append(
                f"-device virtio-net-pci,netdev={name},romfile=,mac={mac(self.number, name)}"
            )
        return " \\\n  ".join(words)
