"""Redfish BMCs for tests: processes of `tests.redfish.bmc`, their certificates and clients."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from clptools.common.http_client import fingerprint
from clptools.core.model.settings import Bmc
from tests.conftest import LIMIT_S, free_port

PASSWORD = "s3cret-Pass"
_numbers = itertools.count(1)
_REPOSITORY = Path(__file__).parents[2]


def make_certificate(folder: Path, address: str) -> str:
    """`cert.pem` and `key.pem` there; returns the fingerprint."""
    folder.mkdir(parents=True, exist_ok=True)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bmc")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return fingerprint(made.public_bytes(serialization.Encoding.DER))


class Redfish:
    """A running BMC."""

    def __init__(
        self,
        folder: Path,
        wrap: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        **options: Any,
    ) -> None:
        """`wrap`: the command that it is run by, into a namespace say; `environment`: its own and
        the machine's."""
        self.folder = folder
        self.address = str(options.pop("address", "") or f"127.80.{next(_numbers)}.1")
        self.port = int(options.pop("port", 0)) or free_port()
        self.certificate = make_certificate(folder, self.address)
        self._options = {"folder": str(folder), "address": self.address, "port": self.port}
        self._options |= options
        self._wrap = wrap
        self._environment = environment
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Runs it; returns when it answers."""
        with open(self.folder / "bmc.log", "ab") as log:
            self._process = subprocess.Popen(
                [
                    *("setpriv", "--pdeathsig", "TERM", *self._wrap),
                    *(sys.executable, "-m", "tests.redfish.bmc", json.dumps(self._options)),
                ],
                cwd=_REPOSITORY,
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._read() == {"ready": True}

    @property
    def process(self) -> subprocess.Popen[str]:
        """What runs it."""
        assert self._process is not None
        return self._process

    def stop(self) -> None:
        """It is gone, with what runs on it."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            try:
                self._process.wait(3)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def kill(self) -> None:
        """The BMC alone is gone at once."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        self._process = None

    def signal(self, number: int) -> None:
        """To its process."""
        assert self._process is not None
        self._process.send_signal(number)

    def do(self, what: str, **words: Any) -> dict[str, Any]:
        """One line to it, and its answer."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **words}) + "\n")
        self._process.stdin.flush()
        return self._read()

    def event(self, message: str, severity: str, origin: str = "", **words: Any) -> None:
        """Hardware says something."""
        words |= {"MessageId": message, "Severity": severity, "Message": f"{message} happened"}
        if origin:
            words["OriginOfCondition"] = {"@odata.id": origin}
        self.do("event", **words)

    def counter(self, name: str) -> int:
        """How often that happened."""
        return int(self.do("look")["counters"].get(name, 0))

    def settings(self, **more: Any) -> Bmc:
        """As `[server.bmc]` says it."""
        made = Bmc(
            address=self.address,
            port=self.port,
            user="clp",
            protocol="redfish",
            certificate=self.certificate,
        )
        return msgspec.structs.replace(made, **more)

    def _read(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise AssertionError((self.folder / "bmc.log").read_text())
        found: dict[str, Any] = json.loads(line)
        return found


@contextmanager
def redfish(folder: Path, **options: Any) -> Iterator[Redfish]:
    """A running BMC; skips where the emulator is missing."""
    pytest.importorskip("sushy_tools", reason="NOT TESTED: sushy-tools is not installed")
    bmc = Redfish(folder / f"redfish{next(_numbers)}", **options)
    bmc.start()
    try:
        yield bmc
    finally:
        bmc.stop()


def boot_ms() -> int:
    """The agent's clock."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


async def until(what: str, condition: Callable[[], object], timeout_s: float = LIMIT_S) -> None:
    """Polls; fails with `what`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s: {what}"
        await asyncio.sleep(0.02)
