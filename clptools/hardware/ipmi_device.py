"""The BMC of the machine we run on, by the kernel's IPMI driver (`/dev/ipmi0`).

Needs no network and no password, so a watchdog fed this way does not depend on the BMC's LAN.
The device never blocks: a request is handed over, the answer is read when poll(2) says so.

Source: Linux, include/uapi/linux/ipmi.h.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
from collections.abc import Callable
from typing import Any

from clptools.core.notices.form import Notice
from clptools.hardware.ipmi_requests import Asked, BmcError, refusal
from clptools.hardware.notices import IpmiDeviceSilent, IpmiServiceMissing

DEVICE = "/dev/ipmi0"
PATIENCE_S = 1.0
"""KCS answers in milliseconds; after this the BMC is asked over its LAN."""

QUIET_S = 60.0
"""How long a device that is not there, or did not answer, is left alone."""

_SYSTEM_INTERFACE, _BMC_CHANNEL = 0x0C, 0x0F
_RESPONSE = 1
_DATA_BYTES = 272
"""IPMI_MAX_MSG_LENGTH."""
_LATE_ANSWERS = 16
"""Late answers to abandoned requests that are skipped before ours."""


class Address(ctypes.Structure):
    """`struct ipmi_system_interface_addr`."""

    _fields_ = (
        ("addr_type", ctypes.c_int),
        ("channel", ctypes.c_short),
        ("lun", ctypes.c_ubyte),
    )


class Message(ctypes.Structure):
    """`struct ipmi_msg`."""

    _fields_ = (
        ("netfn", ctypes.c_ubyte),
        ("cmd", ctypes.c_ubyte),
        ("data_len", ctypes.c_ushort),
        ("data", ctypes.c_void_p),
    )


class Request(ctypes.Structure):
    """`struct ipmi_req`."""

    _fields_ = (
        ("addr", ctypes.c_void_p),
        ("addr_len", ctypes.c_uint),
        ("msgid", ctypes.c_long),
        ("msg", Message),
    )


class Received(ctypes.Structure):
    """`struct ipmi_recv`."""

    _fields_ = (
        ("recv_type", ctypes.c_int),
        ("addr", ctypes.c_void_p),
        ("addr_len", ctypes.c_uint),
        ("msgid", ctypes.c_long),
        ("msg", Message),
    )


def _ioctl_number(direction: int, number: int, size: int) -> int:
    """`_IOC` of <asm-generic/ioctl.h> with IPMI's magic 'i'."""
    return direction << 30 | size << 16 | ord("i") << 8 | number


SEND_COMMAND = _ioctl_number(2, 13, ctypes.sizeof(Request))
RECEIVE_MSG_TRUNC = _ioctl_number(3, 11, ctypes.sizeof(Received))

Ioctl = Callable[[int, int, Any], Any]


class LocalIpmi:
    """Requests by the device, one at a time."""

    def __init__(self, device: str = DEVICE, ioctl: Ioctl = fcntl.ioctl) -> None:
        self.device = device
        self._ioctl = ioctl
        self._fd = -1
        self._number = 0
        self._lock = asyncio.Lock()

    async def exchange(
        self, netfn: int, command: int, data: bytes, patience_s: float
    ) -> tuple[int, bytes]:
        """Completion code and data of the answer.  Raises OSError; TimeoutError is one."""
        async with asyncio.timeout(patience_s), self._lock:
            try:
                if self._fd < 0:
                    self._fd = os.open(self.device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
                self._number += 1
                self._send(self._number, netfn, command, data)
                return await self._answer(self._number)
            except (OSError, asyncio.CancelledError):
                # Once it is closed, the driver drops late answers.
                self.close()
                raise

    def close(self) -> None:
        """Let go of the device."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _send(self, number: int, netfn: int, command: int, data: bytes) -> None:
        address = Address(_SYSTEM_INTERFACE, _BMC_CHANNEL, 0)
        content = ctypes.create_string_buffer(data, max(len(data), 1))
        request = Request(
            addr=ctypes.addressof(address),
            addr_len=ctypes.sizeof(address),
            msgid=number,
            msg=Message(netfn, command, len(data), ctypes.addressof(content)),
        )
        self._ioctl(self._fd, SEND_COMMAND, request)

    async def _answer(self, number: int) -> tuple[int, bytes]:
        for _ in range(_LATE_ANSWERS):
            await self._readable()
            address = Address()
            content = ctypes.create_string_buffer(_DATA_BYTES)
            received = Received(
                addr=ctypes.addressof(address),
                addr_len=ctypes.sizeof(address),
                msg=Message(0, 0, _DATA_BYTES, ctypes.addressof(content)),
            )
            self._ioctl(self._fd, RECEIVE_MSG_TRUNC, received)
            if received.recv_type == _RESPONSE and received.msgid == number:
                answer = content.raw[: min(received.msg.data_len, _DATA_BYTES)]
                if not answer:
                    raise OSError(5, "an answer without a completion code")
                return answer[0], answer[1:]
        raise OSError(5, "answers to nothing that was asked")

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()

        def tell() -> None:
            if not ready.done():
                ready.set_result(None)

        loop.add_reader(self._fd, tell)
        try:
            await ready
        finally:
            loop.remove_reader(self._fd)


class NoLan:
    """Stands for IPMI over LAN where the BMC is used by Redfish: refuses every request."""

    def __init__(self, server: str, where: str) -> None:
        self.server = server
        self.where = where
        self.latency_s = 0.0

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
        """Raises BmcError."""
        text = f"its timer is reached by {DEVICE} alone, as its protocol is redfish"
        raise BmcError(self.server, self.where, what, 1, text)


class OwnBmc:
    """The own BMC: by the device, and over its LAN where that does not answer."""

    def __init__(
        self, lan: Asked, local: LocalIpmi, on_change: Callable[[Notice], None] = lambda _: None
    ) -> None:
        """`on_change(text)`: one line for the log."""
        self.server = lan.server
        self.latency_s = 0.0
        self.where = lan.where
        """How it was reached last."""
        self._lan = lan
        self._local = local
        self._on_change = on_change
        self._told = False
        self._quiet_until_s = 0.0

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
        """As `BmcClient.command`.  Raises BmcError."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        if begun >= self._quiet_until_s:
            try:
                code, answer = await self._local.exchange(
                    netfn, command, data, min(PATIENCE_S, patience_s / 2)
                )
            except OSError as error:
                self._quiet_until_s = loop.time() + QUIET_S
                self._tell(error)
            else:
                self.where = self._local.device
                if code:
                    raise BmcError(self.server, self.where, what, 1, refusal(code), code)
                self.latency_s = loop.time() - begun
                return answer, round(self.latency_s * 1000)
        self.where = self._lan.where
        gone_s = loop.time() - begun
        answered = await self._lan.command(
            what, netfn, command, data, patience_s=patience_s - gone_s, urgent=urgent
        )
        self.latency_s = self._lan.latency_s
        return answered

    def _tell(self, error: OSError) -> None:
        """Reports once: a missing driver stays missing, and a slow one would fill the log."""
        if self._told:
            return
        self._told = True
        device = self._local.device
        if isinstance(error, FileNotFoundError):
            self._on_change(IpmiServiceMissing(device))
        else:
            self._on_change(IpmiDeviceSilent(device, error.strerror or "timed out"))

    def close(self) -> None:
        """Let go of the device; the LAN's session is not ours."""
        self._local.close()
