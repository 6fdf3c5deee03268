"""What `clprexec` and `clptrnreq` ask: of the local agent, or of servers at an address over TLS."""

from __future__ import annotations

import errno
import os
import stat
import time

from clptools.api.client import Client, Json, user
from clptools.cli.command import TYPE_CHECKING
from clptools.cli.requests import is_address, known_resource, objects, status
from clptools.faults import ClpError, ExitCode
from clptools.paths import authkey_file

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clptools.cli.command import Args
    from clptools.cli.json_types import ExternalNoticeJson, GroupMoveJson

DEFAULT_PORT = 29002
WAIT_S = 30.0
HOSTS_MAX = 32
KEY_BYTES_MAX = 4096
GOES_ON_AFTER = (ExitCode.NO_AGENT, ExitCode.TIMED_OUT, ExitCode.FAILED)
"""Faults that say nothing about the request: the next server is asked."""


class Errand:
    """What is to be done, and how long that may take."""

    __slots__ = ("request", "resource", "script", "seconds")

    def __init__(
        self,
        request: GroupMoveJson | ExternalNoticeJson | None,
        *,
        script: str = "",
        resource: str = "",
        seconds: float | None = None,
    ) -> None:
        self.request = request
        """None: run `script`, which is no request to the core."""
        self.script = script
        self.resource = resource
        """With a move that names no group: the group that holds this resource."""
        self.seconds = WAIT_S if seconds is None else max(seconds, 0.1)


class Log:
    """The file of `-o`, a line for each server that was asked.

    Raises OSError where nothing can be written there, before anything is asked.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._append("")

    def line(self, host: str, text: str) -> None:
        """Appends a line, if a file was given."""
        self._append(f"{time.strftime('%Y/%m/%d %H:%M:%S')} {host} {text}\n")

    def _append(self, text: str) -> None:
        """Appends text as it is."""
        if self._path:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(text)


def ask_here(errand: Errand) -> Json:
    """Asked of the local agent; the outcome."""
    request = errand.request
    with Client() as client:
        client.finish_within(errand.seconds)
        if request is None:
            reply = client.call(
                "RunScript", user=user(), script=errand.script, timeout_s=errand.seconds
            )
            ended = reply.get("outcome")
        else:
            if errand.resource and request["type"] == "group-move":
                group, _ = known_resource(status(client), errand.resource)
                request["group"] = str(group["name"])
            ended = client.call("Request", request=request, user=user()).get("outcome")
    return ended if isinstance(ended, dict) else {}


def ask_first(errand: Errand, hosts: list[str], port: int, key: bytes, log: Log) -> Json:
    """Asked of the first of the servers that answers; the outcome."""
    places = [place for host in hosts for place in places_of(host)]
    for number, place in enumerate(places, 1):
        try:
            return ask(errand, place, port, key)
        except ClpError as error:
            if number == len(places) or error.code not in GOES_ON_AFTER:
                raise
            log.line(place, error.message)
    raise AssertionError("the last server's fault was raised")


def port_of(args: Args) -> int:
    """Where servers are asked: `-p`, else the port of this server's configuration if it has one."""
    if args.given("port"):
        return args.whole("port", DEFAULT_PORT)
    # Imported here: only a request to another server pays for it.
    from clptools.cli.stat_configuration import local_settings

    try:
        return local_settings().cluster.port
    except (ClpError, OSError):  # outside the cluster, or not for our eyes
        return DEFAULT_PORT


def hosts_in(text: str) -> list[str]:
    """The servers that `-h` names.  Raises ClpError (USAGE)."""
    hosts = [host for host in text.split(",") if host]
    if not 0 < len(hosts) <= HOSTS_MAX:
        raise ClpError(ExitCode.USAGE, f"-h takes 1 to {HOSTS_MAX} servers, with commas.")
    for host in hosts:
        if not (is_address(host) or _is_name(host)):
            text = f"{host[:80]!r} is neither an address nor a name of a host."
            raise ClpError(ExitCode.USAGE, text, "-h takes servers with commas between them.")
    return hosts


def _is_name(host: str) -> bool:
    """Whether the system could resolve it."""
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return host.isprintable() and " " not in host


def places_of(host: str) -> tuple[str, ...]:
    """Where a server is asked: a server of this cluster at its addresses, in their order.

    Any other name is one for the system to resolve.
    """
    return (host,) if is_address(host) else tuple(_addresses(host)) or (host,)


def _addresses(host: str) -> Iterator[str]:
    try:
        with Client() as client:
            servers = objects(status(client), "servers")
    except ClpError:  # outside the cluster, or with its agent down
        return
    for server in servers:
        found = server.get("addresses")
        if server.get("name") == host and isinstance(found, list):
            yield from map(str, found)


def ask(errand: Errand, place: str, port: int, key: bytes) -> Json:
    """One request over the control channel, and its outcome."""
    # Imported here: only a request to another server pays for TLS.
    import msgspec

    from clptools.api.messages import Transaction, TransactionScript
    from clptools.core.model.requests import ExternalNotice, GroupMove, Outcome
    from clptools.links.connection import call_from_outside

    request: Transaction | TransactionScript
    if errand.request is None:
        request = TransactionScript(script=errand.script, timeout_s=errand.seconds, user=user())
    else:
        of_core = msgspec.convert(errand.request, GroupMove | ExternalNotice)
        request = Transaction(request=of_core, resource=errand.resource, user=user())
    ended = call_from_outside(place, port, key, request, Outcome, errand.seconds)
    return {"code": ended.code, "text": ended.text, "hint": ended.hint, "did": ended.did}


def as_text(ended: Json) -> str:
    """An outcome in words, for the log."""
    said = " ".join(str(ended.get(key) or "") for key in ("did", "text", "hint")).strip()
    return said or ("Command succeeded." if not ended.get("code") else "It failed.")


def read_key(path: str = "") -> bytes:
    """The authkey in a file, by default this server's.

    Raises ClpError: a key that others can read is none.
    """
    path = path or authkey_file()
    try:
        # A FIFO holds nobody up, unless a shell made it: `--key <(...)`.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            if not stat.S_ISREG(mode) and not path.startswith(("/dev/", "/proc/")):
                raise OSError(errno.EINVAL, "is no plain file", path)
            os.set_blocking(file.fileno(), True)
            key = file.read(KEY_BYTES_MAX)
    except OSError as error:
        raise ClpError(
            ExitCode.NOT_PERMITTED,
            f"The key {path} cannot be read: {error.strerror}.",
            "Give the cluster's authkey with --key FILE.",
        ) from error
    if mode & 0o077:
        raise ClpError(
            ExitCode.NOT_PERMITTED,
            f"The key {path} can be read by others.",
            f"chmod 0400 {path}",
        )
    return key
