"""`/dev/ipmi0`: the kernel's structures, requests and late answers, and the LAN as the way out.

The driver itself is exercised on whole machines (`lab/`), which have the device; here its side
of the ioctls is played, by the pointers that it would follow.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from clptools.hardware import ipmi_device
from clptools.hardware.ipmi_device import LocalIpmi, OwnBmc, Received, Request
from clptools.hardware.ipmi_requests import BmcError
from clptools.hardware.notices import IpmiDeviceSilent, IpmiServiceMissing
from clptools.hardware.watchdog import OwnTimer, read
from tests.noticed import Noticed

LAYOUT = r"""
#include <sys/ioctl.h>
#include <linux/ipmi.h>
#include <stddef.h>
#include <stdio.h>
int main(void) {
  printf("%lu %lu\n", (unsigned long)IPMICTL_SEND_COMMAND,
         (unsigned long)IPMICTL_RECEIVE_MSG_TRUNC);
  printf("%zu %zu %zu %zu\n", sizeof(struct ipmi_req), offsetof(struct ipmi_req, msgid),
         offsetof(struct ipmi_req, msg.data_len), offsetof(struct ipmi_req, msg.data));
  printf("%zu %zu %zu %zu\n", sizeof(struct ipmi_recv), offsetof(struct ipmi_recv, msgid),
         offsetof(struct ipmi_recv, msg.data_len), offsetof(struct ipmi_recv, msg.data));
  printf("%zu %d %d %d %d\n", sizeof(struct ipmi_system_interface_addr),
         IPMI_SYSTEM_INTERFACE_ADDR_TYPE, IPMI_BMC_CHANNEL, IPMI_RESPONSE_RECV_TYPE,
         IPMI_MAX_MSG_LENGTH);
}
"""


def test_structures_and_numbers_are_those_of_the_kernel(tmp_path: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None or not Path("/usr/include/linux/ipmi.h").exists():
        pytest.skip("NOT TESTED: no C compiler, or no <linux/ipmi.h>")
    source = tmp_path / "layout.c"
    source.write_text(LAYOUT)
    subprocess.run([compiler, "-o", str(tmp_path / "layout"), str(source)], check=True)
    told = subprocess.run([tmp_path / "layout"], capture_output=True, text=True, check=True)

    def layout(kind: Any) -> list[int]:
        inside = kind.msg.offset
        message = ipmi_device.Message
        data_len, data = message.data_len.offset, message.data.offset
        return [ctypes.sizeof(kind), kind.msgid.offset, inside + data_len, inside + data]

    ours = [
        [ipmi_device.SEND_COMMAND, ipmi_device.RECEIVE_MSG_TRUNC],
        layout(Request),
        layout(Received),
        [ctypes.sizeof(ipmi_device.Address), 0x0C, 0x0F, 1, 272],
    ]
    assert [[int(n) for n in line.split()] for line in told.stdout.splitlines()] == ours


class Driver:
    """The kernel's side: a watchdog timer behind the two ioctls, readable through a FIFO."""

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "ipmi0")
        os.mkfifo(self.path)
        self._bell = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        self._answers: list[tuple[int, bytes]] = []
        self.asked: list[tuple[int, int, bytes]] = []
        self.timer = bytes(6)
        self.running = False
        self.mute = False
        self.code = 0

    def __call__(self, fd: int, number: int, argument: Any) -> int:
        if number == ipmi_device.SEND_COMMAND:
            request: Request = argument
            address = ipmi_device.Address.from_address(request.addr)
            assert (address.addr_type, address.channel) == (0x0C, 0x0F)
            assert request.addr_len == ctypes.sizeof(ipmi_device.Address)
            message = request.msg
            data = ctypes.string_at(message.data, message.data_len) if message.data_len else b""
            self.asked.append((message.netfn, message.cmd, data))
            answer = self._perform(message.cmd, data)
            if not self.mute:
                self.answer(request.msgid, answer)
        else:
            assert number == ipmi_device.RECEIVE_MSG_TRUNC
            os.read(fd, 1)
            msgid, content = self._answers.pop(0)
            received: Received = argument
            received.recv_type = 1
            received.msgid = msgid
            assert received.msg.data_len >= len(content)
            ctypes.memmove(received.msg.data, content, len(content))
            received.msg.data_len = len(content)
        return 0

    def answer(self, msgid: int, content: bytes) -> None:
        self._answers.append((msgid, content))
        os.write(self._bell, b"!")

    def _perform(self, command: int, data: bytes) -> bytes:
        if self.code:
            return bytes([self.code])
        if command == 0x24:
            self.timer = data
        elif command == 0x22:
            self.running = True
        elif command == 0x25:
            use = self.timer[0] & 0x07 | (0x40 if self.running else 0)
            return bytes([0, use, *self.timer[1:], *self.timer[4:6]])
        return bytes([0])


class Lan:
    """The BMC's LAN: counts what is asked of it."""

    server = "server1"
    latency_s = 0.0
    where = "192.168.0.11:623"

    def __init__(self) -> None:
        self.asked: list[tuple[str, float]] = []

    async def command(
        self,
        what: str,
        netfn: int,
        command: int,
        data: bytes = b"",
        *,
        patience_s: float = 3.0,
        urgent: bool = False,
    ) -> tuple[bytes, int]:
        self.asked.append((what, patience_s))
        return b"\x41\0\0\0\x05\0\x05\0", 1


async def test_the_watchdog_is_armed_fed_and_read_by_the_device_alone(tmp_path: Path) -> None:
    driver, lan = Driver(tmp_path), Lan()
    own = OwnBmc(lan, LocalIpmi(driver.path, driver))
    timer = OwnTimer(own, lambda: 1_000_000)
    text = await timer.arm(5_000, pytest.fail)
    assert text == f"BMC watchdog {driver.path}, 5 s"
    assert driver.running
    found = await read(own)
    assert (found.running, found.countdown) == (True, 50)
    assert not lan.asked
    written = [asked for asked in driver.asked if asked[1] != 0x25]
    assert written[0] == (0x06, 0x24, bytes([0x44, 1, 0, 0x10, 50, 0]))
    timer.close()
    own.close()


async def test_a_late_answer_is_not_taken_for_the_next_one(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    device = LocalIpmi(driver.path, driver)
    driver.answer(77, b"\0late")
    assert await device.exchange(0x06, 0x22, b"", 1.0) == (0, b"")
    device.close()


async def test_a_device_that_hangs_is_left_alone_and_the_lan_asked_within_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ipmi_device, "PATIENCE_S", 0.1)

    driver, lan = Driver(tmp_path), Lan()
    driver.mute = True
    told = Noticed()
    own = OwnBmc(lan, LocalIpmi(driver.path, driver), told.take)
    for _ in range(2):
        await own.command("get watchdog timer", 0x06, 0x25, patience_s=4.0)
    assert len(driver.asked) == 1
    assert len(lan.asked) == 2
    assert lan.asked[0][1] < 3.95
    assert own.where == lan.where
    (line,) = told
    assert told.kinds == [IpmiDeviceSilent]
    assert "does not answer (timed out): its BMC is reached over the LAN alone" in line
    own.close()


async def test_without_the_device_the_lan_does_everything(tmp_path: Path) -> None:
    lan = Lan()
    own = OwnBmc(lan, LocalIpmi(str(tmp_path / "none")))
    assert (await read(own)).beat == "5" or lan.asked
    assert lan.asked[0][0] == "get watchdog timer"


async def test_that_the_ipmi_service_does_not_run_is_told_once_with_the_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ipmi_device, "QUIET_S", 0.0)

    told = Noticed()
    device = str(tmp_path / "none")
    own = OwnBmc(Lan(), LocalIpmi(device), told.take)
    for _ in range(3):
        await own.command("get watchdog timer", 0x06, 0x25)
    assert told.kinds == [IpmiServiceMissing]
    assert told == [
        (
            f"the ipmi service does not run on server1 ({device} is not there): its BMC is "
            "reached over the LAN alone. Start it: systemctl enable --now ipmi, or modprobe "
            "ipmi_si ipmi_devintf."
        )
    ]


async def test_a_refusal_names_the_device_and_the_code(tmp_path: Path) -> None:
    driver, lan = Driver(tmp_path), Lan()
    driver.code = 0xC1
    own = OwnBmc(lan, LocalIpmi(driver.path, driver))
    with pytest.raises(BmcError, match=r"ipmi0.*command not supported \(0xc1\)"):
        await own.command("get watchdog timer", 0x06, 0x25)
    assert not lan.asked
    own.close()


async def test_many_at_once_each_get_their_own_answer(tmp_path: Path) -> None:
    driver = Driver(tmp_path)
    device = LocalIpmi(driver.path, driver)
    asked = (device.exchange(0x06, command, b"", 2.0) for command in (0x22, 0x25, 0x22))
    found = await asyncio.gather(*asked)
    assert [len(data) for _, data in found] == [0, 8, 0]
    device.close()
