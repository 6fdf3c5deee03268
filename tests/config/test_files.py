"""Files of the configuration: whole or not at all, secrets for their owner alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from clptools import paths
from clptools.config import history
from clptools.config.files import (
    dumps,
    keygen,
    read_authkey,
    read_bmc_password,
    save,
    write_bmc_password,
    write_snmp_keys,
)
from clptools.faults import ClpError, ExitCode
from clptools.registries import registries
from tests.access_lists import NOBODY, access_list
from tests.config.sample import TWO, read


@pytest.fixture(autouse=True)
def _own_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))


def mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


def test_a_new_key_is_for_its_owner_alone_and_not_replaced_by_accident() -> None:
    path = keygen()
    key = read_authkey()
    assert (path, mode(path), len(key)) == (paths.authkey_file(), 0o400, 32)
    with pytest.raises(ClpError) as refused:
        keygen()
    assert refused.value.code == ExitCode.REFUSED and path in refused.value.message
    assert read_authkey() == key
    keygen(force=True)
    assert read_authkey() != key


@pytest.mark.parametrize("loose", [0o440, 0o604, 0o644, 0o420])
def test_a_key_that_others_can_use_is_none(loose: int) -> None:
    path = keygen()
    os.chmod(path, loose)
    with pytest.raises(ClpError, match=f"{path}: mode 0{loose:o}") as refused:
        read_authkey()
    assert refused.value.hint == f"chmod 0400 {path}"


def test_a_key_of_another_user_is_none() -> None:
    path = keygen()
    os.chown(path, 12_345, 0)
    with pytest.raises(ClpError, match="belongs to user 12345") as refused:
        read_authkey()
    assert refused.value.hint == f"chown root {path}; chmod 0400 {path}"


def test_a_list_that_lets_a_user_read_the_key_shows_in_its_mode() -> None:
    path = keygen()
    may_read = access_list((0x01, 4, NOBODY), (0x02, 4, 12_345), (0x04, 0, NOBODY),
                           (0x10, 4, NOBODY), (0x20, 0, NOBODY))  # fmt: skip
    os.setxattr(path, "system.posix_acl_access", may_read)
    with pytest.raises(ClpError, match="mode 0440, others than its owner may use it") as refused:
        read_authkey()
    os.chmod(path, 0o400)  # as the hint says: the mask goes, and the entry with it
    assert refused.value.hint == f"chmod 0400 {path}"
    assert read_authkey()


def test_a_missing_or_short_key_says_how_to_make_one() -> None:
    with pytest.raises(ClpError, match="authkey: not there") as missing:
        read_authkey()
    assert "clpcfctrl --keygen" in missing.value.hint
    path = keygen()
    os.chmod(path, 0o600)
    Path(path).write_bytes(b"short")
    with pytest.raises(ClpError, match="5 bytes"):
        read_authkey()


def test_a_fifo_in_the_place_of_the_key_does_not_hang() -> None:
    os.makedirs(paths.config_dir())
    os.mkfifo(paths.authkey_file(), 0o400)
    with pytest.raises(ClpError, match="not a regular file"):
        read_authkey()


def test_bmc_passwords() -> None:
    write_bmc_password("server1", "geheim ä")
    assert read_bmc_password("server1") == "geheim ä"
    assert mode(paths.bmc_password_file("server1")) == 0o400
    write_bmc_password("server1", "another")
    assert read_bmc_password("server1") == "another"
    for bad in ("", "x" * 21, "a\nb"):
        with pytest.raises(ClpError):
            write_bmc_password("server1", bad)
    assert read_bmc_password("server1") == "another"
    with pytest.raises(ClpError) as missing:
        read_bmc_password("server2")
    assert missing.value.hint == "Set its password: clpbmccnf server2"


def test_snmp_keys() -> None:
    write_snmp_keys("trapper", "authentic1", "private12")
    path = paths.snmp_key_file("trapper")
    assert mode(path) == 0o400
    assert Path(path).read_text() == "auth=authentic1\npriv=private12\n"
    write_snmp_keys("trapper", "authentic1")
    assert Path(path).read_text() == "auth=authentic1\npriv=authentic1\n"
    with pytest.raises(ClpError, match="shorter than 8"):
        write_snmp_keys("trapper", "short")


def test_a_bad_configuration_changes_nothing() -> None:
    path = paths.config_file()
    assert save(TWO, path, registries()).settings is not None
    assert mode(path) == 0o640
    assert save(TWO + "nonsense = 1\n", path, registries()).settings is None
    assert Path(path).read_text() == TWO
    assert os.listdir(paths.config_dir()) == ["clp.toml"]


def test_a_failed_write_leaves_the_old_file(monkeypatch: pytest.MonkeyPatch) -> None:
    path = paths.config_file()
    save(TWO, path, registries())

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ClpError, match="no space left"):
        save(TWO + "# more\n", path, registries())
    assert Path(path).read_text() == TWO
    assert os.listdir(paths.config_dir()) == ["clp.toml"]


def test_a_written_document_reads_the_same() -> None:
    import tomllib

    text = dumps(tomllib.loads(TWO))
    assert read(text).settings == read(TWO).settings


def test_history_lists_compares_and_gives_back() -> None:
    assert (history.entries(), history.revision()) == ((), 0)
    history.remember(1, "a = 1\n")
    history.remember(2, "a = 2")
    (Path(paths.history_dir()) / "notes.txt").write_text("not a revision")
    assert [entry.number for entry in history.entries()] == [1, 2]
    assert history.revision() == 2
    assert history.content(1) == "a = 1\n"
    assert history.diff(history.content(1), history.content(2), "1", "2").splitlines() == [
        "--- 1",
        "+++ 2",
        "@@ -1 +1 @@",
        "-a = 1",
        "+a = 2",
    ]
    assert history.diff("a", "a", "1", "2") == ""
    with pytest.raises(ClpError, match="kept: 1 to 2") as missing:
        history.content(7)
    assert missing.value.code == ExitCode.NO_SUCH
