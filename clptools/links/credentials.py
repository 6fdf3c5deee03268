"""Keys and certificates of the cluster, all derived from the one `authkey`: one file to copy.

Each purpose has its own key: HKDF with SHA-256 (RFC 5869), whose label keeps purposes apart, so
that a heartbeat key that leaks says nothing of the certificate authority's key.

Every server derives the same certificate authority and its own leaf, so no certificate is ever
stored, sent round or renewed.  They are valid from 1950 to 9999 (RFC 5280, 4.1.2.5): no clock
jump can leave that.  The common name is the identity; who has the authkey can be any server,
as with corosync's authkey.

The library that signs costs a process 10 MB, so an agent mints in a child that ends at once:
authkey and name go in, PEM comes out, both through pipes.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
import hmac
import os
import ssl
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import msgspec

from clptools.common.child_process import dump_nothing
from clptools.common.derived_keys import DERIVED_FIELD, REMAKE, is_derived
from clptools.faults import ClpError, ExitCode

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.x509 import CertificateBuilder

MIN_AUTHKEY_BYTES = 16
"""Shorter secrets can be guessed; `clpcfctrl --keygen` makes 32 random bytes."""

_SALT = b"clptools 1"

OUTSIDE = "outside the cluster"
"""Common name of a caller that has the key but is no server; no server's name has spaces."""

_OUTSIDE_NAMED = f"{OUTSIDE}: "
MAX_SECRET_NAME = 32
"""Characters of the name of a secret for a caller outside: a common name has at most 64."""

_AUTHORITY = "cluster authority"
"""Common name of the certificate authority."""
_COMMON = "commonName"
_MINT_TIMEOUT_S = 30.0


def derive(authkey: bytes, label: str, length: int = 32) -> bytes:
    """The key for the purpose `label`.  Raises ValueError for an authkey that is too short."""
    if len(authkey) < MIN_AUTHKEY_BYTES:
        raise ValueError(f"the authkey has {len(authkey)} bytes, at least 16 are needed")
    secret = hmac.digest(_SALT, authkey, "sha256")
    block, made, counter = b"", b"", 0
    while len(made) < length:
        counter += 1
        block = hmac.digest(secret, block + label.encode() + bytes([counter]), "sha256")
        made += block
    return made[:length]


def cluster_id(cluster: str) -> bytes:
    """Eight bytes that tell one cluster's datagrams from another's; no secret."""
    return hashlib.sha256(b"clptools cluster\0" + cluster.encode()).digest()[:8]


# ---------------------------------------------------------------------- certificates


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What one end of the control channel shows and trusts; PEM."""

    name: str
    authority: str
    certificate: str
    key: str


class OutsideKey(
    msgspec.Struct, frozen=True, kw_only=True, tag_field=DERIVED_FIELD, tag="clprexec"
):
    """The file of `clpcfctrl --keygen --for clprexec`, JSON: a caller's identity and no more."""

    identity: Identity


def outside_key(authkey: bytes, name: str = "") -> bytes:
    """What a caller outside needs instead of the authkey.  Raises ValueError, as `mint`.

    `name`: one that can be revoked alone (`[cluster] revoked`).
    """
    common = f"{_OUTSIDE_NAMED}{name}" if name else OUTSIDE
    return msgspec.json.encode(OutsideKey(identity=mint(authkey, common)))


def is_outside(common: str) -> bool:
    """Whether a common name is that of a caller outside the cluster."""
    return common == OUTSIDE or common.startswith(_OUTSIDE_NAMED)


def secret_name(common: str) -> str:
    """The name of the secret of a caller outside; empty: it has none."""
    return common.removeprefix(_OUTSIDE_NAMED) if common.startswith(_OUTSIDE_NAMED) else ""


def outside_identity(key: bytes) -> Identity:
    """Of a caller with `key`: the authkey or what was derived from it.  Raises ValueError."""
    if not is_derived(key):
        return mint(key, OUTSIDE)
    try:
        return msgspec.json.decode(key, type=OutsideKey).identity
    except msgspec.MsgspecError:
        raise ValueError(f"it was made for another purpose ({REMAKE} clprexec)") from None


class _Order(msgspec.Struct, frozen=True, kw_only=True):
    """What the child reads on its standard input."""

    name: str
    authkeys: tuple[bytes, ...]


def mint(authkey: bytes, name: str) -> Identity:
    """The identity of `name`: equal input gives equal bytes.

    Raises ValueError for an authkey too short or a name that fits no certificate.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID

    ca_key = Ed25519PrivateKey.from_private_bytes(derive(authkey, "authority"))
    leaf_key = Ed25519PrivateKey.from_private_bytes(derive(authkey, f"identity {name}"))
    ca_public, leaf_public = ca_key.public_key(), leaf_key.public_key()
    authority = _unsigned(authkey, _AUTHORITY, ca_public, ca_public).sign(ca_key, None)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    leaf = (
        _unsigned(authkey, name, leaf_public, ca_public)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .sign(ca_key, None)
    )
    return Identity(
        name=name,
        authority=authority.public_bytes(Encoding.PEM).decode(),
        certificate=leaf.public_bytes(Encoding.PEM).decode(),
        key=leaf_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
    )


def _unsigned(
    authkey: bytes, subject: str, public: Ed25519PublicKey, ca_public: Ed25519PublicKey
) -> CertificateBuilder:
    """The certificate of `subject`, of an authority where its key is the authority's."""
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    def named(common: str) -> x509.Name:
        organization = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "clptools")
        return x509.Name([organization, x509.NameAttribute(NameOID.COMMON_NAME, common)])

    authority = public is ca_public
    constraints = x509.BasicConstraints(ca=authority, path_length=0 if authority else None)
    usage = x509.KeyUsage(
        digital_signature=not authority,
        key_cert_sign=authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        x509.CertificateBuilder()
        .subject_name(named(subject))
        .issuer_name(named(_AUTHORITY))
        .public_key(public)
        .serial_number(int.from_bytes(derive(authkey, f"serial {subject}", 16)) >> 1 | 1)
        .not_valid_before(datetime.datetime(1950, 1, 1))
        .not_valid_after(datetime.datetime(9999, 12, 31, 23, 59, 59))
        .add_extension(constraints, critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_public), critical=False
        )
    )


class Minting:
    """Identities in the making: the child begins at once, beside what is yet to be imported."""

    def __init__(self, authkeys: tuple[bytes, ...], name: str) -> None:
        self._name = name
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "clptools.links.credentials"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        order = msgspec.msgpack.encode(_Order(name=name, authkeys=authkeys))
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._child.stdin as stdin:
            stdin.write(order)

    async def identities(self) -> tuple[Identity, ...]:
        """As `mint`, one for each key, in their order.  Raises ClpError if the child fails."""
        child = self._child
        assert child.stdout is not None and child.stderr is not None
        try:
            async with asyncio.timeout(_MINT_TIMEOUT_S):
                out = await _read(child.stdout.fileno())
            return msgspec.msgpack.decode(out, type=tuple[Identity, ...])
        except TimeoutError:
            fault = f"no answer in {_MINT_TIMEOUT_S:.0f} s"
        except msgspec.MsgspecError:
            complaint = child.stderr.read().decode(errors="replace").strip()
            fault = (complaint.splitlines() or ["no output"])[-1]
        finally:
            child.kill()
            child.wait()
            child.stdout.close()
            child.stderr.close()
        raise ClpError(ExitCode.FAILED, f"cannot mint the certificate of {self._name}: {fault}")


async def _read(fd: int) -> bytes:
    """Everything up to the end of a pipe."""
    loop = asyncio.get_running_loop()
    said, ended = bytearray(), loop.create_future()

    def readable() -> None:
        chunk = os.read(fd, 65536)
        said.extend(chunk)
        if not chunk and not ended.done():
            ended.set_result(None)

    loop.add_reader(fd, readable)
    try:
        await ended
    finally:
        loop.remove_reader(fd)
    return bytes(said)


def context(*identities: Identity, serving: bool) -> ssl.SSLContext:
    """TLS 1.3 only, both sides verified by the cluster's authority.

    The first identity is shown, the authorities of all are trusted.  A caller that trusts one of
    the others alone names it by `authority_name` (RFC 6066, 3), and is shown that one.
    """
    made = [_context(identity, identities, serving=serving) for identity in identities]
    if serving and len(made) > 1:
        named = {
            authority_name(identity): each for identity, each in zip(identities, made, strict=True)
        }

        def choose(tls: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
            tls.context = named.get(name or "", made[0])

        made[0].sni_callback = choose
    return made[0]


def authority_name(identity: Identity) -> str:
    """What a caller asks for as the server's name: whose certificate it would trust."""
    return hashlib.sha256(identity.authority.encode()).hexdigest()[:32]


def _context(identity: Identity, trusted: tuple[Identity, ...], *, serving: bool) -> ssl.SSLContext:
    """Shows `identity`; its key passes through anonymous memory, never through a file system."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if serving else ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.check_hostname = False  # the common name is compared by `common_name`'s caller
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(cadata="".join(each.authority for each in trusted))
    if serving:
        made.num_tickets = 0
    memory = os.memfd_create("clptools-identity", os.MFD_CLOEXEC)
    try:
        os.write(memory, (identity.certificate + identity.key).encode())
        made.load_cert_chain(f"/proc/self/fd/{memory}")
    finally:
        os.close(memory)
    return made


def common_name(tls: ssl.SSLObject | ssl.SSLSocket) -> str:
    """The verified identity of the other end; empty if it showed none."""
    shown: dict[str, Any] = dict(tls.getpeercert() or {})
    names = [value for part in shown.get("subject", ()) for key, value in part if key == _COMMON]
    return str(names[0]) if len(names) == 1 else ""


def _main() -> None:
    dump_nothing()
    order = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=_Order)
    minted = [mint(authkey, order.name) for authkey in order.authkeys]
    sys.stdout.buffer.write(msgspec.msgpack.encode(minted))


if __name__ == "__main__":
    _main()
