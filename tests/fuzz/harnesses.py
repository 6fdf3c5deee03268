"""What is fuzzed: each parser of bytes that others made, and what it may raise.

A harness hands bytes to the parser that the product calls, in the way it calls it.  Whatever it
raises beside its documented exceptions is a finding, and so is one input that takes long.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import ip_address

import msgspec

from clptools.agent.store import Store
from clptools.api.connection import Malformed, decode_call
from clptools.api.messages import EventRecord, PeerNotice, PeerRequest
from clptools.arbiters import disk_lease, etcd
from clptools.common import agent_metadata
from clptools.common.http import HttpError, Response
from clptools.common.redfish import RedfishError
from clptools.config import clpconf
from clptools.config.load import loads
from clptools.core.model.settings import SnmpUser
from clptools.core.report import journal
from clptools.faults import ClpError
from clptools.intake import edac, fc, multipath, netlink, pet, recorded_traps, snmp, storage
from clptools.intake.ber import DecodeError as BerError
from clptools.intake.class_table import ClassTable
from clptools.intake.decoded_trap import duplicate_key, event_of
from clptools.intake.disks import read_mounts
from clptools.intake.kernel import read_uevent
from clptools.intake.kmsg import line_of
from clptools.intake.message_socket import read_message
from clptools.intake.redfish_events import EventTable, events_of
from clptools.intake.redfish_push import StreamParser
from clptools.intake.snmp import Trap, V3Message
from clptools.intake.usm import Engine, Refused, UserKeys, Usm
from clptools.links import connection
from clptools.links.credentials import cluster_id
from clptools.links.wire import DecodeError, Wire, _code
from clptools.registries import registries
from clptools.resources.neighbours import answering_mac

Harness = Callable[[bytes], object]

_KEY = b"k" * 32
_NAMES = ("server1", "server2", "server3")
_WIRE = Wire("cluster", [_KEY], _NAMES)
_TABLE = ClassTable()
_NOW = 1_700_000_000.0
_ADDRESS = ip_address("10.9.0.100")


def _usm() -> Usm:
    keys = UserKeys(auth=b"authpass1", priv=b"privpass1")
    engine = Engine(id=b"\x80engine", boots=3, started_ms=0)
    return Usm([(SnmpUser(user="bmc"), keys)], engine)


def heartbeat(data: bytes) -> None:
    with suppress(DecodeError):
        _WIRE.decode(data)
    with suppress(DecodeError):
        head = bytes([data[0] if data else 1]) + cluster_id("cluster") + data[1:]
        _WIRE.decode(head + _code(_WIRE._macs[0], head))


def control_frame(data: bytes) -> None:
    with suppress(connection.FrameError):
        connection.decode_frame(data)


_requests = msgspec.msgpack.Decoder(PeerRequest)
_notices = msgspec.msgpack.Decoder(PeerNotice)


def control_message(data: bytes) -> None:
    for decoder in (_requests, _notices):
        with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            decoder.decode(data)


def varlink_call(data: bytes) -> None:
    with suppress(Malformed):
        decode_call(data)


def driver_message(data: bytes) -> None:
    with suppress(ValueError):
        read_message(data, "fuzz")


def trap(data: bytes) -> None:
    try:
        found = snmp.decode(data)
        if isinstance(found, V3Message):
            found = _usm().receive(found, "10.0.0.1", 10_000)
    except (BerError, Refused):
        return
    if isinstance(found, Trap):
        decoded = pet.decode_trap(found, _TABLE, _NOW)
        event_of("mrw1", found, decoded, "10.0.0.1", duplicate_key(found, decoded, "10.0.0.1"))


def pet_octets(data: bytes) -> None:
    specific = int.from_bytes(data[:4], "big") if len(data) >= 4 else None
    assert pet.decode_pet(specific, data[4:], _TABLE, _NOW).key


def packet_capture(data: bytes) -> None:
    with suppress(ClpError, ValueError):
        list(recorded_traps.of_capture(data))


def trap_lines(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    for each in recorded_traps.of_lines(text.splitlines()):
        with suppress(ClpError):
            each.decode(_TABLE, _NOW)


def kernel_log(data: bytes) -> None:
    line = line_of(data)
    for source in (edac, netlink, storage, fc):
        source.read_line(line)


def uevent(data: bytes) -> None:
    read_uevent(data)


def mount_table(data: bytes) -> None:
    read_mounts(data.decode("utf-8", "replace"))


def multipath_status(data: bytes) -> None:
    multipath.read_status(data)


def redfish_stream(data: bytes) -> None:
    parser, table = StreamParser(), EventTable()
    with suppress(RedfishError):
        for at in range(0, len(data), 7):
            for _, body in parser.feed(data[at : at + 7]):
                _judge(table, body)


def redfish_events(data: bytes) -> None:
    _judge(EventTable(), data)


def _judge(table: EventTable, body: bytes) -> None:
    try:
        found = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return
    if isinstance(found, dict):
        for event in events_of(found):
            table.judge(event)


def clp_conf(data: bytes) -> None:
    with suppress(ClpError):
        clpconf.parsed(data, "clp.conf")


_registries = registries()


def clp_toml(data: bytes) -> None:
    loads(data.decode("utf-8", "replace"), _registries)


def agent_meta_data(data: bytes) -> None:
    with suppress(ClpError):
        agent_metadata.parse(data)


def disk_slot(data: bytes) -> None:
    disk_lease.decode(data)
    head = disk_lease._MAGIC + len(data[:200]).to_bytes(2) + data[:200]
    head = head.ljust(disk_lease.USED_BYTES - 4, b"\0")
    disk_lease.decode(head + zlib.crc32(head).to_bytes(4))
    disk_lease.foreign(data)


_ETCD = (etcd._Token, etcd._Lease, etcd._Range, etcd._Txn)


def etcd_answer(data: bytes) -> None:
    for status in (200, 503):
        for kind in _ETCD:
            with suppress(HttpError, etcd._Refused, etcd._NoLogin):
                etcd._understood(Response(status=status, body=data), kind)


def journal_segment(data: bytes) -> None:
    for segment in (data, journal.MAGIC + data):
        with suppress(journal.BadJournal):
            _, entries = journal.read(segment)
            for _ in entries:
                pass


def ledger_file(data: bytes) -> None:
    store = Store(b"b" * 16)
    store._ledger.content = data
    store.ledger(1_000, _NOW)


_records = msgspec.json.Decoder(EventRecord)


def record_line(data: bytes) -> None:
    with suppress(ValueError, RecursionError):
        _records.decode(data)


def neighbour_frame(data: bytes) -> None:
    answering_mac(data, _ADDRESS)


def _harnesses() -> Iterator[tuple[str, Harness]]:
    for name, value in list(globals().items()):
        if callable(value) and getattr(value, "__module__", "") == __name__ and name[0] != "_":
            yield name, value


HARNESSES: dict[str, Harness] = dict(_harnesses())
