"""`etcd` with TLS, users and several endpoints, against Debian's etcd."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from clptools.arbiters.base import Held
from clptools.arbiters.etcd import EtcdArbiter
from clptools.common.http import Response
from clptools.common.http_client import Site
from clptools.core.model.settings import Arbiter, Option
from tests.arbiters.parts import Certificates, Etcd, context
from tests.conftest import free_port

LEASE_MS = 1000


def opened(server: str = "server1", **options: Option) -> EtcdArbiter:
    return EtcdArbiter(Arbiter(name="etcd1", type="etcd", options=options), context(server))


def hold(arbiter: EtcdArbiter) -> Held:
    return asyncio.run(arbiter.hold(LEASE_MS))


@pytest.fixture
def member(tmp_path: Path) -> Iterator[Etcd]:
    etcd = Etcd(tmp_path)
    etcd.start()
    yield etcd
    etcd.kill()


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


def password_file(folder: Path, text: str = "of-clp\n", mode: int = 0o400) -> str:
    path = folder / "etcd-password"
    path.unlink(missing_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_tls_with_client_certificates(tmp_path: Path, certificates: Certificates) -> None:
    etcd = Etcd(tmp_path, tls=certificates)
    etcd.start()
    ca, cert, key = (str(path) for path in (certificates.ca, certificates.cert, certificates.key))
    try:
        good = opened(endpoints=(etcd.url,), ca=ca, cert=cert, key=key)
        assert hold(good).held
        said = hold(opened(endpoints=(etcd.url,), ca=ca)).error
        assert said.startswith(f"etcd1: {etcd.url}: "), said
        said = hold(opened(endpoints=(etcd.url,))).error
        assert f"{etcd.url}: its certificate is refused" in said
        said = hold(opened(endpoints=(etcd.url,), ca=str(tmp_path / "none"))).error
        assert said == f"etcd1: {tmp_path}/none: no such file or directory"
        said = hold(opened(endpoints=(etcd.url,), ca=ca, cert=key, key=key)).error
        assert str(certificates.key) in said
    finally:
        etcd.kill()


async def test_a_user_with_a_password_and_a_token_that_is_forgotten(
    member: Etcd, tmp_path: Path
) -> None:
    member.enable_auth("of-clp")
    file = password_file(tmp_path)
    arbiter = opened(endpoints=(member.url,), user="clp", password_file=file)
    assert (await arbiter.hold(LEASE_MS)).held
    arbiter._login = "long-forgotten.1"
    assert (await arbiter.hold(LEASE_MS)).held
    member.kill()  # simple tokens do not survive a restart
    member.start()
    assert (await arbiter.hold(LEASE_MS)).held
    other = opened("server2", endpoints=(member.url,), user="clp", password_file=file)
    assert (await other.hold(LEASE_MS)).holder == "server1"
    await arbiter.release()
    assert (await other.hold(LEASE_MS)).held


def test_what_is_wrong_with_user_or_password_is_said_without_it(
    member: Etcd, tmp_path: Path
) -> None:
    member.enable_auth("of-clp")
    said = hold(opened(endpoints=(member.url,))).error
    assert said.startswith(f"etcd1: {member.url}: ")
    assert said.endswith("(this etcd wants a user)")
    wrong = password_file(tmp_path, "guessed-wrong")
    said = hold(opened(endpoints=(member.url,), user="clp", password_file=wrong)).error
    assert said.startswith(f"etcd1: {member.url}: authentication failed"), said
    assert "guessed-wrong" not in said
    loose = password_file(tmp_path, mode=0o644)
    said = hold(opened(endpoints=(member.url,), user="clp", password_file=loose)).error
    assert said == f"etcd1: {loose}: mode 0644, others than its owner may use it"


def test_a_user_who_may_not_write_the_key_is_told(member: Etcd, tmp_path: Path) -> None:
    member.enable_auth("of-clp")
    token = member.call("/v3/auth/authenticate", {"name": "root", "password": "of-root"})["token"]
    member.call("/v3/auth/user/revoke", {"name": "clp", "role": "clp"}, token)
    arbiter = opened(endpoints=(member.url,), user="clp", password_file=password_file(tmp_path))
    assert hold(arbiter).error == f"etcd1: {member.url}: permission denied"


def test_endpoints_that_are_dead_or_hang_are_passed_over(
    member: Etcd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Site.request
    asked: list[str] = []

    async def listening(self: Site, *given: Any, **named: Any) -> Response:
        asked.append(self.url)
        return await request(self, *given, **named)

    monkeypatch.setattr(Site, "request", listening)
    hangs = Etcd(tmp_path / "second")
    (tmp_path / "second").mkdir()
    hangs.log = tmp_path / "second.log"
    hangs.start()
    hangs.send(signal.SIGSTOP)
    dead = f"http://127.0.0.1:{free_port()}"
    try:
        arbiter = opened(endpoints=(dead, hangs.url, member.url))
        assert hold(arbiter).held
        asked.clear()
        assert hold(arbiter).held
        assert set(asked) == {member.url}, "the one that answered is asked first"
        member.kill()
        said = hold(arbiter).error
        assert dead in said
        assert hangs.url in said
        assert member.url in said
    finally:
        hangs.kill()


async def test_an_answer_that_was_lost_is_found_out(member: Etcd) -> None:
    """The txn took effect, its answer did not arrive: the key is ours all the same."""
    arbiter = opened(endpoints=(member.url,))
    assert (await arbiter.hold(LEASE_MS)).held
    arbiter._revision = 0
    assert (await arbiter.hold(LEASE_MS)).held
    arbiter._revision -= 1
    await arbiter.release()
    arbiter._revision = 1
    await arbiter.release()
    assert (await opened("server2", endpoints=(member.url,)).hold(LEASE_MS)).held


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        ("404 Not Found", b"no\n", "answered with status 404"),
        ("404 Not Found", b'{"x":' + b"[" * 100_000, "answered with status 404"),
        ("200 OK", b'{"ID":"1","TTL":"x"}', "the answer is not etcd's"),
        ("200 OK", b'{"ID":"1","TTL":"' + b"9" * 5_000 + b'"}', "the answer is not etcd's"),
        ("200 OK", b'{"x":' + b"[" * 100_000, "the answer is not etcd's"),
        ("200 OK", b'{"ID":"1","TTL":"\xff"}', "the answer is not etcd's"),
    ],
)
async def test_a_server_that_is_no_etcd_is_said(status: str, body: bytes, why: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        length = f"Content-Length: {len(body)}".encode()
        writer.write(b"HTTP/1.1 " + status.encode() + b"\r\n" + length + b"\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    said = (await opened(endpoints=(url,)).hold(LEASE_MS)).error
    server.close()
    assert said.replace(url, "URL") == f"etcd1: URL: {why}"
