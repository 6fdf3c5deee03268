"""SNMPv3 with the user-based security model (RFC 3412, 3414, 3826, 7860).

Traps: the sender's engine is authoritative; it is learned from the first message that proves a
user's key, and from then on its boots and time must only increase, also over a restart of the agent
(`engine_clocks.py`).  INFORMs: this receiver's engine
is authoritative; it answers discovery and reports its time.  Keys are localised and payloads
decrypted by pysnmp, which is imported only here, only when a user is configured.

Key file of a user (`snmp/<user>`, mode 0400 or 0600), lines in any order, `#` comments:

    auth=the authentication passphrase
    priv=the privacy passphrase

A file of one line without `auth=` is one passphrase for both.  At least 8 characters each.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from clptools.config.files import read_secret
from clptools.core.model.settings import SnmpUser
from clptools.faults import ClpError, ExitCode
from clptools.intake import ber, snmp
from clptools.intake.ber import DecodeError
from clptools.intake.snmp import Trap, V3Message

if TYPE_CHECKING:  # it loads asyncio, which who only decodes has no use for
    from clptools.intake.engine_clocks import EngineClocks, EngineKey

TIME_WINDOW = 150
"""Seconds (RFC 3414, section 2.2.3)."""
MOST_BOOTS = 0x7FFFFFFF

_STATS = "1.3.6.1.6.3.15.1.1"
NOT_IN_TIME, UNKNOWN_USER, UNKNOWN_ENGINE, WRONG_DIGEST, DECRYPTION = (
    f"{_STATS}.2.0",
    f"{_STATS}.3.0",
    f"{_STATS}.4.0",
    f"{_STATS}.5.0",
    f"{_STATS}.6.0",
)

_HASHES = {
    "md5": (hashlib.md5, 12),
    "sha": (hashlib.sha1, 12),
    "sha224": (hashlib.sha224, 16),
    "sha256": (hashlib.sha256, 24),
    "sha384": (hashlib.sha384, 32),
    "sha512": (hashlib.sha512, 48),
}
"""Protocol -> hash and the bytes of its digest that travel."""


class UserKeys(msgspec.Struct, frozen=True, kw_only=True):
    """A user's passphrases."""

    auth: bytes
    priv: bytes = b""

    def __repr__(self) -> str:
        return "UserKeys(...)"


class Engine(msgspec.Struct, frozen=True, kw_only=True):
    """This receiver as an SNMP engine: for INFORMs it is the authority."""

    id: bytes
    boots: int
    """Higher after each start, so that old messages stay old."""
    started_ms: int

    def time(self, now_ms: int) -> int:
        """Seconds since it started."""
        return (now_ms - self.started_ms) // 1000


class Refused(Exception):
    """A v3 message that is refused: the counter's name, and a sentence."""

    def __init__(self, counter: str, text: str, report: bytes = b"") -> None:
        super().__init__(text)
        self.counter = counter
        self.text = text
        self.report = report
        """A Report for the sender, if it asked for one."""


def engine_id(server: str) -> bytes:
    """The engine ID of a server's receiver: the same after each start."""
    digest = hashlib.sha256(b"clptools snmp engine " + server.encode()).digest()
    return bytes.fromhex("80001f8805") + digest[:12]


def read_keys(path: str) -> UserKeys:
    """A user's key file.  Raises ClpError where it is missing, open to others or unreadable."""
    hint = "Write it with clpbmccnf, or by hand: auth=..., priv=..., mode 0400."
    content = read_secret(path, hint)
    lines = [line.strip() for line in content.splitlines()]
    lines = [line for line in lines if line and not line.startswith(b"#")]
    found = dict(line.split(b"=", 1) for line in lines if line[:5] in (b"auth=", b"priv="))
    if not found and len(lines) == 1:
        found = {b"auth": lines[0], b"priv": lines[0]}
    keys = UserKeys(auth=found.get(b"auth", b""), priv=found.get(b"priv", b""))
    if len(keys.auth) < 8 or 0 < len(keys.priv) < 8:
        raise ClpError(ExitCode.FAILED, f"{path}: a passphrase has less than 8 characters", hint)
    return keys


class _User:
    """A configured user with its keys, not yet localised to an engine."""

    def __init__(self, user: SnmpUser, keys: UserKeys) -> None:
        from pysnmp.proto.secmod.rfc3414 import localkey

        self.name = user.user.encode()
        self.hash, self.digest_bytes = _HASHES[user.auth_protocol]
        self.auth = localkey.hash_passphrase(keys.auth, self.hash).asOctets()
        self.cipher, protocol = _cipher(user)
        self.priv: Any = None
        if self.cipher is not None:
            if not keys.priv:
                raise ClpError(
                    ExitCode.FAILED,
                    f"SNMPv3 user {user.user}: its key file has no priv= line",
                    'Add one, or set priv_protocol = "none".',
                )
            self.priv = self.cipher.hash_passphrase(protocol, keys.priv)
        self._protocol = protocol

    def auth_key(self, engine: bytes) -> bytes:
        """RFC 3414, section 2.6."""
        return self.hash(self.auth + engine + self.auth).digest()

    def clock_key(self, source: str, engine: bytes) -> EngineKey:
        """Under which the clock of an engine is known that proved this user's key."""
        proof = hashlib.sha256(b"clptools engine clock " + self.auth_key(engine)).digest()
        return proof[:8], source, engine

    def priv_key(self, engine: bytes) -> Any:
        """The privacy key of that engine, as pysnmp wants it."""
        from pyasn1.type.univ import OctetString

        return OctetString(self.cipher.localize_key(self._protocol, self.priv, OctetString(engine)))

    def digest(self, engine: bytes, message: bytes) -> bytes:
        """The authentication parameters of a message in which theirs are zero."""
        return hmac.digest(self.auth_key(engine), message, self.hash)[: self.digest_bytes]

    def decrypt(self, message: V3Message) -> bytes:
        """The scoped PDU.  Raises DecodeError."""
        from pyasn1.type.univ import OctetString
        from pysnmp.proto.error import ProtocolError, StatusInformation

        salt: Any = OctetString(message.priv)
        if len(message.priv) != 8:
            raise DecodeError("privacy parameters are not 8 bytes")
        try:
            plain = self.cipher.decrypt_data(
                self.priv_key(message.engine),
                (message.boots, message.time, salt),
                OctetString(message.payload),
            )
        except (ProtocolError, StatusInformation, ValueError) as error:
            raise DecodeError("payload cannot be decrypted") from error
        return bytes(plain)

    def encrypt(self, engine: Engine, now_ms: int, scoped: bytes) -> tuple[bytes, bytes]:
        """Encrypted payload and its privacy parameters."""
        payload, salt = self.cipher.encrypt_data(
            self.priv_key(engine.id), (engine.boots, engine.time(now_ms), None), scoped
        )
        return payload.asOctets(), salt.asOctets()


class Usm:
    """Accepts or refuses v3 messages; makes the answers to INFORMs.

    Raises ClpError at construction if a user's keys cannot be used.
    """

    def __init__(
        self,
        users: Iterable[tuple[SnmpUser, UserKeys]],
        engine: Engine,
        clocks: EngineClocks | None = None,
    ) -> None:
        self.engine = engine
        self._users = {user.user.encode(): _User(user, keys) for user, keys in users}
        if clocks is None:
            from clptools.intake.engine_clocks import EngineClocks

            clocks = EngineClocks()
        self._clocks = clocks

    def receive(self, message: V3Message, source: str, now_ms: int) -> Trap:
        """The notification in a message that proved its user, and that is no replay.

        Raises Refused (with a Report if the sender asks for one) and DecodeError.
        """
        own = message.engine == self.engine.id
        user = self._proved(message, now_ms)
        self._in_time(message, user, source, now_ms, own)
        trap = self._open(message, user, now_ms)
        if trap.inform and not own:
            raise Refused(
                "discovery",
                "an INFORM to another engine",
                self._report(message, UNKNOWN_ENGINE, now_ms),
            )
        return trap

    def read(self, message: V3Message) -> Trap:
        """The notification in a recorded message, however old it is.

        Raises Refused and DecodeError.
        """
        return self._open(message, self._proved(message, 0), 0)

    def response(self, message: V3Message, trap: Trap, now_ms: int) -> bytes:
        """The answer to an INFORM that `receive` accepted, with the same security."""
        scoped = ber.sequence(
            ber.octets(trap.context_engine or self.engine.id),
            ber.octets(trap.context_name),
            snmp.response_pdu(trap),
        )
        return self._message(message, self._users[message.user], scoped, now_ms)

    def _proved(self, message: V3Message, now_ms: int) -> _User:
        """The user whose key the message proves (RFC 3414, section 3.2, steps 3 to 6)."""
        if not message.authenticated:
            if message.reportable and message.engine != self.engine.id and not message.encrypted:
                report = self._report(message, UNKNOWN_ENGINE, now_ms)
                raise Refused("discovery", "engine discovery", report)
            raise Refused("bad_community", "an SNMPv3 message without authentication")
        name = _name(message.user)
        user = self._users.get(message.user)
        if user is None:
            raise Refused(
                "bad_community",
                f"SNMPv3 user {name} is not configured",
                self._report(message, UNKNOWN_USER, now_ms),
            )
        if user.cipher is not None and not message.encrypted:
            raise Refused("bad_community", f"SNMPv3 user {name} without privacy")
        if user.cipher is None and message.encrypted:
            raise Refused("bad_community", f"SNMPv3 user {name} has no privacy key")
        end = message.auth_at + len(message.auth)
        blank = message.raw[: message.auth_at] + bytes(len(message.auth)) + message.raw[end:]
        if not hmac.compare_digest(user.digest(message.engine, blank), message.auth):
            raise Refused(
                "bad_community",
                f"SNMPv3 user {name}: wrong key (or another auth_protocol)",
                self._report(message, WRONG_DIGEST, now_ms),
            )
        return user

    def _open(self, message: V3Message, user: _User, now_ms: int) -> Trap:
        """The notification in a message that is authentic."""
        name = _name(message.user)
        if not message.encrypted:
            return snmp.decode_scoped(message.payload, name, message.quirks)
        try:
            return snmp.decode_scoped(user.decrypt(message), name, message.quirks)
        except DecodeError as error:
            # Authentic but unreadable: the privacy key or protocol differs.
            raise Refused(
                "bad_community",
                f"SNMPv3 user {name}: wrong privacy key or protocol ({error.reason})",
                self._report(message, DECRYPTION, now_ms),
            ) from None

    def _in_time(
        self, message: V3Message, user: _User, source: str, now_ms: int, own: bool
    ) -> None:
        """RFC 3414, section 3.2, step 7."""
        if own:
            here = self.engine.time(now_ms)
            if message.boots == self.engine.boots and abs(message.time - here) <= TIME_WINDOW:
                return
            report = b""
            if message.reportable:
                scoped = self._report_scoped(0, NOT_IN_TIME)
                report = self._message(message, user, scoped, now_ms, private=False)
            # The first message after discovery asks for the time.
            raise Refused("discovery", "engine time not yet known to the sender", report)
        key = user.clock_key(source, message.engine)
        known = self._clocks.get(key)
        if known is not None:
            expected = known.time + (now_ms - known.at_ms) // 1000
            if (
                message.boots < known.boots
                or message.boots == MOST_BOOTS
                or (message.boots == known.boots and message.time < expected - TIME_WINDOW)
            ):
                self._clocks.refused()
                mend = f", then: rm {self._clocks.file}" if self._clocks.file else ""
                raise Refused(
                    "replayed",
                    f"SNMPv3 engine {message.engine.hex()}: its clock went back (boots and "
                    f"seconds {message.boots}, {message.time} after {known.boots}, {known.time}): "
                    f"a replay, or a BMC that forgot its boots{mend}",
                )
            if (message.boots, message.time) <= (known.boots, known.time):
                return
        self._clocks.learn(key, message.boots, message.time, now_ms)

    def _report(self, message: V3Message, counter: str, now_ms: int) -> bytes:
        """An unauthenticated Report, if the sender asked for one."""
        if not message.reportable:
            return b""
        request_id = 0 if message.encrypted else snmp.request_id_of(message.payload)
        return self._message(message, None, self._report_scoped(request_id, counter), now_ms)

    def _report_scoped(self, request_id: int, counter: str) -> bytes:
        bind = snmp.varbind(counter, ber.integer(1, ber.COUNTER32))
        return ber.sequence(
            ber.octets(self.engine.id), ber.octets(b""), snmp.pdu(snmp.REPORT, request_id, bind)
        )

    def _message(
        self,
        asked: V3Message,
        user: _User | None,
        scoped: bytes,
        now_ms: int,
        private: bool = True,
    ) -> bytes:
        """A v3 message from this engine, secured for `user` (None: not at all)."""
        payload, salt, flags = scoped, b"", 0
        if user is not None:
            flags = 1
            if private and user.cipher is not None:
                encrypted, salt = user.encrypt(self.engine, now_ms, scoped)
                payload, flags = ber.octets(encrypted), 3
        size = user.digest_bytes if user else 0

        def build(digest: bytes) -> bytes:
            security = ber.sequence(
                ber.octets(self.engine.id),
                ber.integer(self.engine.boots),
                ber.integer(self.engine.time(now_ms)),
                ber.octets(asked.user),
                ber.octets(digest),
                ber.octets(salt),
            )
            header = ber.sequence(
                ber.integer(asked.id),
                ber.integer(snmp.MESSAGE_BYTES),
                ber.octets(bytes((flags,))),
                ber.integer(3),
            )
            return ber.sequence(ber.integer(3), header, ber.octets(security), payload)

        blank = build(bytes(size))
        return build(user.digest(self.engine.id, blank)) if user else blank


def _cipher(user: SnmpUser) -> tuple[Any, Any]:
    """pysnmp's privacy service of the user, and its name for the authentication protocol."""
    # `service` first: pysnmp's modules import each other in a circle that only opens there.
    from pysnmp.proto.secmod.rfc3414 import service  # noqa: F401
    from pysnmp.proto.secmod.eso.priv import aes192, aes256  # isort: skip
    from pysnmp.proto.secmod.rfc3414.auth import hmacmd5, hmacsha
    from pysnmp.proto.secmod.rfc3414.priv import des
    from pysnmp.proto.secmod.rfc3826.priv import aes
    from pysnmp.proto.secmod.rfc7860.auth import hmacsha2

    sha2 = hmacsha2.HmacSha2
    protocol = {
        "md5": hmacmd5.HmacMd5.SERVICE_ID,
        "sha": hmacsha.HmacSha.SERVICE_ID,
        "sha224": sha2.SHA224_SERVICE_ID,
        "sha256": sha2.SHA256_SERVICE_ID,
        "sha384": sha2.SAH384_SERVICE_ID,
        "sha512": sha2.SHA512_SERVICE_ID,
    }[user.auth_protocol]
    service_of = {
        "aes": aes.Aes,
        "aes192": aes192.AesBlumenthal192,
        "aes256": aes256.AesBlumenthal256,
        "des": des.Des,
    }
    made = service_of.get(user.priv_protocol)
    return (made() if made else None), protocol


def _name(user: bytes) -> str:
    return user.decode("ascii", "backslashreplace")
