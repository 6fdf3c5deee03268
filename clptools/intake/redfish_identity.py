"""Certificate and key of the listener that BMCs push to: `python -m`, prints both in PEM.

Nobody verifies it, since a BMC knows no authority of ours: it only makes HTTPS possible.  In a
process of its own, because the library that mints it would cost the agent 10 MB for good.
"""

from __future__ import annotations

import asyncio
import datetime
import os
import ssl
import sys

from clptools.common import child_process


async def listener_tls() -> ssl.SSLContext:
    """TLS with a new certificate.  Raises OSError."""
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", __name__),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        said, _ = await child.communicate()
    finally:
        await child_process.end(child)
    if child.returncode:
        raise OSError(0, "no certificate could be made")
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    memory = os.memfd_create("clptools-redfish", os.MFD_CLOEXEC)
    try:
        os.write(memory, said)
        made.load_cert_chain(f"/proc/self/fd/{memory}")
    finally:
        os.close(memory)
    return made


def _minted() -> bytes:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "clptools")])
    # A BMC's clock may be years behind.
    begin = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + datetime.timedelta(days=36_500))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = serialization.PrivateFormat.PKCS8
    return made.public_bytes(pem) + key.private_bytes(pem, private, serialization.NoEncryption())


if __name__ == "__main__":
    sys.stdout.buffer.write(_minted())
