"""systemd on the system bus (org.freedesktop.systemd1(5)): its names, calls, and its sender.

Any local user may send a signal that looks like one of systemd's.  A match rule with a sender
keeps out broadcasts of others, but not what one of them sends to us alone.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dbus_fast import Message
    from dbus_fast.aio import MessageBus

NAME = "org.freedesktop.systemd1"
PATH = "/org/freedesktop/systemd1"
MANAGER = f"{NAME}.Manager"
UNIT = f"{NAME}.Unit"
SERVICE = f"{NAME}.Service"
PROPERTIES = "org.freedesktop.DBus.Properties"
BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
"""The bus itself: destination, path, interface."""
OWNER_RULE = (
    f"type='signal',sender='{BUS[0]}',interface='{BUS[2]}',member='NameOwnerChanged',arg0='{NAME}'"
)


class Refused(Exception):
    """A call was answered with an error; the text is what was said."""

    def __init__(self, name: str, text: str) -> None:
        """`name`: the error's, such as `org.freedesktop.systemd1.NoSuchUnit`."""
        super().__init__(text)
        self.name = name


async def connect() -> MessageBus:
    """A connection to the system bus.  Raises OSError, whose text says what is wrong."""
    from dbus_fast import BusType
    from dbus_fast.aio import MessageBus

    try:
        return await MessageBus(bus_type=BusType.SYSTEM).connect()
    except Exception as fault:
        # The library raises what the address, the socket or the handshake happens to raise.
        raise ConnectionError(str(fault)) from fault


async def call(
    bus: MessageBus,
    to: str,
    path: str,
    interface: str,
    method: str,
    signature: str = "",
    *body: object,
) -> list[Any]:
    """The reply's body.  Raises Refused; OSError: the bus is gone."""
    from dbus_fast import Message, MessageType

    message = Message(
        destination=to,
        path=path,
        interface=interface,
        member=method,
        signature=signature,
        body=list(body),
    )
    try:
        reply = await bus.call(message)
    except EOFError as fault:
        raise ConnectionResetError(errno.ECONNRESET, "the bus went away") from fault
    if reply is None:
        raise Refused("", "no answer")
    if reply.message_type is MessageType.ERROR:
        name = str(reply.error_name)
        raise Refused(name, str(reply.body[0]) if reply.body else name)
    return list(reply.body)


class Owner:
    """The owner of systemd's name on one connection; another once systemd is executed anew."""

    def __init__(self) -> None:
        self._unique = ""

    async def follow(self, call: Callable[..., Awaitable[list[Any]]]) -> None:
        """From now on; `changed` must already be given every message.  Raises as `call` does.

        `call(destination, path, interface, method, signature, *body)` returns the reply's body.
        """
        await call(*BUS, "AddMatch", "s", OWNER_RULE)
        (owner,) = await call(*BUS, "GetNameOwner", "s", NAME)
        # What was told of another owner meanwhile is at least as new as this answer.
        self._unique = self._unique or owner

    def changed(self, message: Message) -> bool:
        """Takes note of a change; whether the name has a new owner."""
        if message.sender != BUS[0] or message.member != "NameOwnerChanged":
            return False
        name, _before, owner = message.body
        if name != NAME:
            return False
        self._unique = owner
        return bool(owner)

    def sent(self, message: Message) -> bool:
        """Whether it comes from systemd."""
        return bool(self._unique) and message.sender == self._unique


_SUFFIXES = (
    "service",
    "socket",
    "target",
    "mount",
    "automount",
    "swap",
    "path",
    "timer",
    "slice",
    "scope",
)


def unit_name(unit: str) -> str:
    """The unit with its suffix."""
    return unit if unit.rpartition(".")[2] in _SUFFIXES else f"{unit}.service"
