"""Real arbiters for tests, all on loopback: etcd, the witness server, a disk."""

from __future__ import annotations

import asyncio
import base64
import datetime
import ipaddress
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clptools.arbiters.base import ArbiterContext, Held, NpResolution
from tests.conftest import LIMIT_S, free_port, in_memory

AUTHKEY = bytes(range(32))


def context(server: str, *, timeout_ms: int = 5_000, lease_ms: int = 600) -> ArbiterContext:
    """`server1` and so on, of the cluster `prod`."""
    return ArbiterContext(
        cluster="prod",
        server=server,
        authkey=AUTHKEY,
        timeout_ms=timeout_ms,
        lease_ms=lease_ms,
        place=int(server.removeprefix("server")) - 1,
    )


def until(what: str, condition: Callable[[], object], timeout_s: float = LIMIT_S) -> None:
    """Poll until it is true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        time.sleep(0.02)


async def held_by(arbiter: NpResolution, lease_ms: int) -> None:
    """Ask until it is held."""
    deadline = time.monotonic() + LIMIT_S
    last = Held()
    while not last.held:
        assert time.monotonic() < deadline, last
        last = await arbiter.hold(lease_ms)
        await asyncio.sleep(0.02)


class Program:
    """A child process that can be stopped, continued, killed and started again."""

    def __init__(self, words: list[str], log: Path) -> None:
        self.words = words
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; it dies with the test run."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *self.words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def send(self, sign: int) -> None:
        """Signal it."""
        assert self.process is not None
        self.process.send_signal(sign)

    def kill(self) -> None:
        """End it without warning."""
        if self.process is not None and self.process.poll() is None:
            self.send(signal.SIGCONT)
            self.process.kill()
            self.process.wait(LIMIT_S)


class Etcd(Program):
    """One member; with `tls` it wants client certificates too."""

    def __init__(self, folder: Path, *, tls: Certificates | None = None) -> None:
        if shutil.which("etcd") is None:
            pytest.skip("NOT TESTED: etcd is not installed")
        self.tls = tls
        scheme = "https" if tls else "http"
        self.url = f"{scheme}://127.0.0.1:{free_port()}"
        peer = f"http://127.0.0.1:{free_port()}"
        words = ["etcd", "--data-dir", in_memory(), "--log-level", "warn"]
        words += ["--listen-client-urls", self.url, "--advertise-client-urls", self.url]
        words += ["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer]
        words += ["--initial-cluster", f"default={peer}"]
        if tls:
            words += ["--cert-file", str(tls.cert), "--key-file", str(tls.key)]
            words += ["--client-cert-auth", "--trusted-ca-file", str(tls.ca)]
        super().__init__(words, folder / "etcd.log")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        super().start()
        until("etcd answers", self._answers)

    def _answers(self) -> bool:
        try:
            self.call("/v3/kv/range", {"key": "AA=="})
        except urllib.error.HTTPError:
            return True  # it wants a user
        except OSError:
            return False
        return True

    def call(self, path: str, body: dict[str, Any], token: str = "") -> Any:
        """A request on its JSON gateway, past the code under test."""
        request = urllib.request.Request(self.url + path, json.dumps(body).encode())
        if token:
            request.add_header("Authorization", token)
        tls = None
        if self.tls:
            tls = ssl.create_default_context(cafile=str(self.tls.ca))
            tls.load_cert_chain(self.tls.cert, self.tls.key)
        with urllib.request.urlopen(request, timeout=LIMIT_S, context=tls) as answer:
            return json.load(answer)

    def enable_auth(self, password: str) -> None:
        """Users `root` and `clp`; the latter may use `/clptools/` alone."""
        begin, end = (base64.b64encode(k).decode() for k in (b"/clptools/", b"/clptools0"))
        grant = {"permType": "READWRITE", "key": begin, "range_end": end}
        for path, body in (
            ("user/add", {"name": "root", "password": "of-root"}),
            ("role/add", {"name": "root"}),
            ("user/grant", {"user": "root", "role": "root"}),
            ("user/add", {"name": "clp", "password": password}),
            ("role/add", {"name": "clp"}),
            ("role/grant", {"name": "clp", "perm": grant}),
            ("user/grant", {"user": "clp", "role": "clp"}),
            ("enable", {}),
        ):
            self.call(f"/v3/auth/{path}", body)


class Witness(Program):
    """`clpwitnessd`."""

    def __init__(
        self, folder: Path, *options: str, tls: Certificates | None = None, longest: float = 1.0
    ) -> None:
        key = folder / "witness-authkey"
        if not key.exists():
            key.write_bytes(AUTHKEY)
            key.chmod(0o400)
        port = free_port()
        self.longest = longest
        self.port = port
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
        words = [sys.executable, "-m", "clptools.arbiters.witness_server"]
        words += ["--listen", f"127.0.0.1:{port}", "--authkey", str(key)]
        words += ["--longest-lease", str(longest), *options]
        if tls:
            words += ["--cert", str(tls.cert), "--key", str(tls.key)]
        super().__init__(words, folder / "witness.log")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        super().start()
        until("the witness answers", self._answers)

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), LIMIT_S).close()
        except OSError:
            return False
        return True


class Certificates:
    """An authority, and a certificate of 127.0.0.1 for servers and clients."""

    def __init__(self, folder: Path) -> None:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

        def name(text: str) -> x509.Name:
            return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

        def builder(subject: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
            now = datetime.datetime.now(datetime.UTC)
            return (
                x509.CertificateBuilder()
                .subject_name(name(subject))
                .issuer_name(name("authority"))
                .public_key(key.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - datetime.timedelta(days=1))
                .not_valid_after(now + datetime.timedelta(days=1))
            )

        authority = ec.generate_private_key(ec.SECP256R1())
        signing = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        ca = (
            builder("authority", authority)
            .add_extension(x509.BasicConstraints(True, None), critical=True)
            .add_extension(signing, critical=True)
            .sign(authority, hashes.SHA256())
        )
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        cert = (
            builder("127.0.0.1", key)
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .sign(authority, hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        self.ca, self.cert, self.key = (folder / f"{n}.pem" for n in ("ca", "cert", "key"))
        self.ca.write_bytes(ca.public_bytes(pem))
        self.cert.write_bytes(cert.public_bytes(pem))
        self.key.write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
        self.key.chmod(0o400)


def shared_file(folder: Path) -> Path:
    """A file that can take the part of a shared disk."""
    path = folder / "shared"
    with open(path, "wb") as file:
        file.truncate(1 << 20)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_DIRECT))
    except OSError:
        pytest.skip(f"NOT TESTED: {folder} has no O_DIRECT")
    return path
