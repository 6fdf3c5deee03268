"""Certificates from the authkey: the same on every server, valid whatever the clock says."""

from __future__ import annotations

import datetime
import ssl
import subprocess
from pathlib import Path

import pytest

from clptools.faults import ClpError
from clptools.links.credentials import (
    OUTSIDE,
    Minting,
    authority_name,
    common_name,
    context,
    mint,
)

KEY = b"k" * 32


def shake(client: ssl.SSLContext, server: ssl.SSLContext, asks_for: str = "") -> tuple[str, str]:
    """A handshake in memory: the name each end sees of the other."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(to_client, to_server, server_hostname=asks_for or None)
    two = server.wrap_bio(to_server, to_client, server_side=True)
    done = [False, False]
    for _ in range(8):
        for n, end in enumerate((one, two)):
            if not done[n]:
                try:
                    end.do_handshake()
                    done[n] = True
                except ssl.SSLWantReadError:
                    pass
    assert done == [True, True]
    return common_name(one), common_name(two)


def test_two_servers_that_share_only_the_authkey_know_each_other_by_name() -> None:
    client = context(mint(KEY, "server1"), serving=False)
    server = context(mint(KEY, "server2"), serving=True)
    assert shake(client, server) == ("server2", "server1")
    assert shake(context(mint(KEY, OUTSIDE), serving=False), server) == ("server2", OUTSIDE)


def test_another_authkey_is_refused_by_both_ends() -> None:
    ours, theirs = mint(KEY, "server1"), mint(b"x" * 32, "server2")
    with pytest.raises(ssl.SSLCertVerificationError):
        shake(context(ours, serving=False), context(theirs, serving=True))


def test_in_a_key_roll_every_two_servers_know_each_other_and_callers_with_either_key_do() -> None:
    new = b"n" * 32

    def ends(*keys: bytes) -> tuple[ssl.SSLContext, ssl.SSLContext]:
        return (
            context(*(mint(key, "server1") for key in keys), serving=False),
            context(*(mint(key, "server2") for key in keys), serving=True),
        )

    before, accepts, uses, after = ends(KEY), ends(KEY, new), ends(new, KEY), ends(new)
    for stages in ((before, accepts), (accepts, uses), (uses, after)):
        for client, _ in stages:
            for _, server in stages:
                assert shake(client, server) == ("server2", "server1")
    for key in (KEY, new):
        caller = mint(key, OUTSIDE)
        for _, server in (accepts, uses):
            known = shake(context(caller, serving=False), server, authority_name(caller))
            assert known == ("server2", OUTSIDE)
    with pytest.raises(ssl.SSLError):
        shake(uses[0], before[1])


def test_an_end_without_certificate_is_refused() -> None:
    bare = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    bare.check_hostname = False
    bare.verify_mode = ssl.CERT_NONE
    with pytest.raises(ssl.SSLError):
        shake(bare, context(mint(KEY, "server2"), serving=True))


def test_tls_1_2_is_refused() -> None:
    old = context(mint(KEY, "server1"), serving=False)
    old.minimum_version = ssl.TLSVersion.TLSv1_2
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError):
        shake(old, context(mint(KEY, "server2"), serving=True))


def test_the_same_key_gives_the_same_bytes_another_name_does_not() -> None:
    assert mint(KEY, "server1") == mint(KEY, "server1")
    assert mint(KEY, "server1").key != mint(KEY, "server2").key
    assert mint(KEY, "server1").authority == mint(KEY, "server2").authority


@pytest.mark.parametrize("year", [1970, 2000, 2038, 2106, 9999])
def test_no_clock_jump_leaves_the_validity(year: int, tmp_path: Path) -> None:
    """OpenSSL itself, told that it is another year."""
    identity = mint(KEY, "server1")
    (tmp_path / "ca").write_text(identity.authority)
    (tmp_path / "leaf").write_text(identity.certificate)
    when = datetime.datetime(year, 6, 1, tzinfo=datetime.UTC).timestamp()
    try:
        checked = subprocess.run(
            [
                *("openssl", "verify", "-x509_strict", "-attime", str(int(when))),
                *("-CAfile", str(tmp_path / "ca"), str(tmp_path / "leaf")),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        pytest.skip("the openssl command is not installed")
    assert checked.returncode == 0, checked.stderr


async def test_an_agent_mints_in_a_child() -> None:
    assert await Minting((KEY,), "server1").identities() == (mint(KEY, "server1"),)
    with pytest.raises(ClpError, match=r"cannot mint the certificate of server1: .*at least 16"):
        await Minting((b"short",), "server1").identities()
