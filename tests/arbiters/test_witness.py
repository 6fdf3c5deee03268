"""The witness: what strangers, recordings and bad bytes get from it, and TLS."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clptools.arbiters import witness_server
from clptools.arbiters.base import Held
from clptools.arbiters.witness import MAC_HEADER, PATH, Ask, Signer, WitnessArbiter, witness_key
from clptools.arbiters.witness_server import MAX_SERVERS, Leases
from clptools.common.http import Response, Server
from clptools.common.http_client import Site
from clptools.core.model.settings import Arbiter, Option
from clptools.links.credentials import outside_key
from tests.arbiters.parts import AUTHKEY, Certificates, Program, Witness, context, held_by, until
from tests.conftest import LIMIT_S, free_port

LEASE_MS = 100


def opened(server: str, url: str, authkey: bytes = AUTHKEY, **more: Option) -> WitnessArbiter:
    asks = msgspec.structs.replace(context(server), authkey=authkey)
    definition = Arbiter(name="witness1", type="witness", options={"url": url, **more})
    return WitnessArbiter(definition, asks)


def hold(arbiter: WitnessArbiter) -> Held:
    return asyncio.run(arbiter.hold(LEASE_MS))


def hold_at_last(arbiter: WitnessArbiter) -> None:
    until("it is held", lambda: hold(arbiter).held)


@pytest.fixture
def witness(tmp_path: Path) -> Iterator[Witness]:
    program = Witness(tmp_path, longest=0.2)
    program.start()
    yield program
    program.kill()


def test_who_does_not_have_the_key_gets_nothing(witness: Witness) -> None:
    hold_at_last(opened("server1", witness.url))
    stranger = opened("server2", witness.url, authkey=bytes(32))
    said = hold(stranger).error
    assert said == f"witness1: {witness.url}: it does not know this cluster's authkey"


def test_a_witness_serves_with_the_key_made_for_it(tmp_path: Path) -> None:
    """Servers have the authkey and know nothing of it; leases by either are the same."""
    key = witness_key(AUTHKEY)
    assert AUTHKEY not in key
    assert Signer(key).name == Signer(AUTHKEY).name
    (tmp_path / "witness-authkey").write_bytes(key)
    (tmp_path / "witness-authkey").chmod(0o400)
    program = Witness(tmp_path, longest=0.2)
    program.start()
    try:
        first = opened("server1", program.url)
        hold_at_last(first)
        assert not hold(opened("server2", program.url, authkey=bytes(32))).held
    finally:
        program.kill()


@pytest.mark.parametrize(
    "key",
    [outside_key(AUTHKEY), witness_key(AUTHKEY)[:-9], b'{"for":"witness","name":"","pairs":{}}'],
)
def test_a_witness_does_not_start_with_a_key_for_something_else(tmp_path: Path, key: bytes) -> None:
    file = tmp_path / "key"
    file.write_bytes(key)
    file.chmod(0o400)
    words = [sys.executable, "-m", "clptools.arbiters.witness_server", "--authkey", str(file)]
    words += ["--listen", f"127.0.0.1:{free_port()}"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 1
    assert str(file) in done.stderr
    assert "clpcfctrl --keygen --for witness" in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_false_witness_is_not_believed() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"nonce":"","ticket":"t","held":true}'
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n{MAC_HEADER}: 00\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    held = await opened("server1", url).hold(LEASE_MS)
    server.close()
    assert not held.held
    outcome = held.error
    assert outcome.endswith("the answer is not signed with this cluster's authkey")


async def test_a_recorded_request_has_no_effect_and_a_recorded_answer_is_refused(
    witness: Witness, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded: list[tuple[bytes, str, Response]] = []
    real = Site.request

    async def listening(self: Site, method: str, path: str = "", **more: object) -> Response:
        answer = await real(self, method, path, **more)  # type: ignore[arg-type]  # as given
        mac = dict(more["headers"])[MAC_HEADER]  # type: ignore[call-overload]  # pairs
        recorded.append((more["body"], mac, answer))  # type: ignore[arg-type]  # bytes
        return answer

    first, second = opened("server1", witness.url), opened("server2", witness.url)
    with monkeypatch.context() as patch:
        patch.setattr(Site, "request", listening)
        await held_by(first, LEASE_MS)
        await first.release()
    await held_by(second, LEASE_MS)
    for body, mac, _ in recorded:  # everything that server1 ever sent, its release too
        request = urllib.request.Request(witness.url + PATH, body, {MAC_HEADER: mac}, method="POST")
        with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
            assert answer.status == 200
    assert (await second.hold(LEASE_MS)).held

    async def replayed(self: Site, method: str, path: str = "", **more: object) -> Response:
        return next(answer for _, _, answer in recorded if b'"held":true' in answer.body)

    monkeypatch.setattr(Site, "request", replayed)
    assert "belongs to another request" in (await first.hold(LEASE_MS)).error


def test_of_two_requests_with_one_ticket_one_takes_effect() -> None:
    leases = Leases(0, 1000)
    ask = Ask(cluster="c", server="a", token="t", op="hold", lease_ms=1000, nonce="1")
    ticket = leases.ask("k", ask, 5000).ticket
    late_release = Ask(cluster="c", server="a", token="t", op="release", ticket=ticket, nonce="2")
    now = msgspec.structs.replace(ask, ticket=ticket)
    assert leases.ask("k", now, 5000).held
    assert leases.ask("k", late_release, 5001).stale
    other = Ask(cluster="c", server="b", token="t", op="hold", lease_ms=1000, nonce="3")
    ticket = leases.ask("k", other, 5999).ticket
    answer = leases.ask("k", msgspec.structs.replace(other, ticket=ticket), 5999)
    assert (answer.held, answer.holder) == (False, "a")
    again = msgspec.structs.replace(other, ticket=answer.ticket)
    assert leases.ask("k", again, 6000).held


def test_clusters_do_not_see_each_other_and_the_memory_is_bounded() -> None:
    leases = Leases(0, 1000)

    def held(key: str, cluster: str, server: str) -> bool:
        ask = Ask(cluster=cluster, server=server, token="t", op="hold", lease_ms=1000, nonce="1")
        ticket = leases.ask(key, ask, 5000).ticket
        return leases.ask(key, msgspec.structs.replace(ask, ticket=ticket), 5000).held

    assert held("k", "c", "a")
    assert held("k", "d", "b")
    assert held("other key", "c", "b")
    assert not held("k", "c", "b")
    for n in range(2 * MAX_SERVERS):
        assert not held("k", "c", f"s{n}")
    assert len(leases._clusters["k c"].tickets) == MAX_SERVERS
    assert not held("k", "c", "x" * 1000)


async def test_a_lease_longer_than_the_witness_waits_after_a_start_is_refused(
    witness: Witness,
) -> None:
    held = await opened("server1", witness.url).hold(3000)
    assert held.error == (
        f"witness1: {witness.url}: a lease of 3 s is not granted, 0.2 s is the longest "
        "(clpwitnessd --longest-lease)"
    )


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\x16\x03\x01\x02\x00",
        b"GET /\r\n\r\n",
        b"POST /v1/lease HTTP/1.1\r\n\r\n",
        b"POST /v1/lease HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/lease HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        b"POST /v1/lease HTTP/1.1\r\nContent-Length: 5000\r\n\r\n",
        b"POST /v1/lease HTTP/1.1\r\nContent-Length: 2\r\nClptools-Mac: \xff\r\n\r\n{}",
        b"X" * 100_000,
    ],
)
def test_bytes_of_strangers_do_no_harm(witness: Witness, sent: bytes) -> None:
    with socket.create_connection(("127.0.0.1", witness.port), LIMIT_S) as sock:
        sock.settimeout(LIMIT_S)
        try:
            sock.sendall(sent)
            sock.shutdown(socket.SHUT_WR)
            assert b" 200 " not in sock.recv(4096)
        except OSError:
            pass  # it hung up
    hold_at_last(opened("server1", witness.url))
    assert witness.process is not None
    assert witness.process.poll() is None
    assert "Traceback" not in witness.log.read_text()


def idle(witness: Witness, sources: int, of_each: int) -> contextlib.ExitStack:
    """Connections of strangers, 127.0.9.1 and so on, that say nothing."""
    stack = contextlib.ExitStack()
    for n in range(sources * of_each):
        source = (f"127.0.9.{n % sources + 1}", 0)
        with contextlib.suppress(OSError):
            stack.enter_context(
                socket.create_connection(
                    ("127.0.0.1", witness.port), LIMIT_S, source_address=source
                )
            )
    return stack


def handles(witness: Witness) -> int:
    assert witness.process is not None
    return len(os.listdir(f"/proc/{witness.process.pid}/fd"))


def answers(witness: Witness) -> bool:
    """Whether a server that never was here gets its answer at once."""
    with socket.create_connection(("127.0.0.1", witness.port), LIMIT_S, ("127.0.10.1", 0)) as sock:
        try:
            sock.sendall(b"GET / HTTP/1.1\r\nHost: witness\r\n\r\n")
            return b" 200 " in sock.recv(4096)
        except OSError:
            return False


def test_a_stranger_who_holds_connections_open_shuts_nobody_out(witness: Witness) -> None:
    with idle(witness, 1, 300):
        assert answers(witness)


def test_many_strangers_shut_out_no_server_that_was_here_before(witness: Witness) -> None:
    known = opened("server1", witness.url)
    hold_at_last(known)
    with idle(witness, 20, 8):
        assert not answers(witness)
        assert hold(known).held


def test_who_says_nothing_has_to_go_soon(witness: Witness) -> None:
    with socket.create_connection(("127.0.0.1", witness.port), LIMIT_S) as sock:
        sock.settimeout(LIMIT_S)
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(1) == b""


def test_a_handshake_that_never_ends_takes_a_place_and_not_for_long(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    program = Witness(tmp_path, tls=certificates, longest=0.2)
    program.start()
    try:
        known = opened("server1", program.url, ca=str(certificates.ca))
        hold_at_last(known)
        at_rest = handles(program)
        with idle(program, 1, 300):
            assert hold(known).held
            # How many of them have been thrown out by now is the machine's affair.
            assert handles(program) < 60
            until("they have to go", lambda: handles(program) <= at_rest + 2)
    finally:
        program.kill()


def test_signed_nonsense_is_refused(witness: Witness) -> None:
    for body in (b"", b"[]", b"{", msgspec.json.encode({"cluster": 1})):
        mac = Signer(AUTHKEY).sign_ask(body)
        request = urllib.request.Request(witness.url + PATH, body, {MAC_HEADER: mac}, method="POST")
        with pytest.raises(urllib.error.HTTPError) as raised:
            urllib.request.urlopen(request, timeout=LIMIT_S)
        assert raised.value.code == 400


def test_https_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    program = Witness(tmp_path, tls=certificates, longest=0.2)
    program.start()
    try:
        hold_at_last(opened("server1", program.url, ca=str(certificates.ca)))
        assert "its certificate is refused" in hold(opened("server1", program.url)).error
        assert hold(opened("server1", program.url.replace("https", "http"))).error
    finally:
        program.kill()


def test_it_answers_who_only_looks(witness: Witness) -> None:
    with urllib.request.urlopen(witness.url, timeout=LIMIT_S) as answer:
        assert answer.status == 200


def test_it_ends_in_words(tmp_path: Path) -> None:
    def end(*options: str) -> str:
        words = [sys.executable, "-m", "clptools.arbiters.witness_server", *options]
        done = subprocess.run(words, capture_output=True, text=True, timeout=LIMIT_S)
        assert done.returncode in (1, 2)
        return done.stderr.strip()

    key = tmp_path / "authkey"
    assert end("--authkey", str(key)).startswith(f"clpwitnessd: {key}: not there")
    key.write_bytes(AUTHKEY)
    key.chmod(0o644)
    assert "chmod 0400" in end("--authkey", str(key))
    key.chmod(0o400)
    taken = Witness(tmp_path)
    taken.start()
    try:
        listen = f"127.0.0.1:{taken.port}"
        said = end("--authkey", str(key), "--listen", listen)
        assert said == f"clpwitnessd: cannot listen on {listen}: address already in use"
    finally:
        taken.kill()
    assert "--longest-lease: from" in end("--authkey", str(key), "--longest-lease", "0")
    assert (
        end("--authkey", str(key), "--cert", str(key))
        .splitlines()[0]
        .startswith(f"clpwitnessd: {key}: ")
    )


def test_a_signal_as_soon_as_it_listens_ends_it_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = tmp_path / "authkey"
    key.write_bytes(AUTHKEY)
    key.chmod(0o400)
    listen, listens = Server.start, f"127.0.0.1:{free_port()}"

    async def listened(server: Server, *where: Any) -> int:
        port = await listen(server, *where)
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
        os.kill(os.getpid(), signal.SIGTERM)
        return port

    monkeypatch.setattr(Server, "start", listened)
    assert witness_server.main(["--listen", listens, "--authkey", str(key)]) == 0


def test_sigterm_ends_it(witness: Program) -> None:
    assert witness.process is not None
    witness.process.terminate()
    assert witness.process.wait(10) == 0
