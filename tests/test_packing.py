"""What `clplogcc` packs holds no secret of the configuration, however it is written there."""

from __future__ import annotations

import io
import os
import tarfile
import tomllib
from pathlib import Path

import pytest

from clptools import paths
from clptools.packing import pack, without_secrets


@pytest.mark.parametrize(
    "text",
    [
        'snmp_community = "s3cret"',
        '[[monitor]]\ncommunity = ["s3cret"]',
        '"community" = "s3cret"',
        '"comm\\u0075nity" = "s3cret"',
        'alert.snmp_community = "s3cret"',
        'alert = { level = "INFO", snmp_community = "s3cret" }',
        'community = """\ns3cret"""',
        "community = '''\n]\n# s3cret\n'''",
        'community = [\n "a]b",\n "s3cret",  # of the rack\n]',
        'community = [["a"], ["s3cret"]]',
        '[alert]\n# snmp_community = "s3cret"',
        'name = "a#b"  # the password is s3cret',
        '[[np]]\nurl = "http://clp:s3cret@witness:8080/"',
        '[[np]]\nendpoints = [\n  "https://etcd1", "https://root:s3cret@etcd2",\n]',
        '[[np]]\nurl = "http:\\u002f/clp:s3cret\\u0040witness"',
        '[alert]\nsmtp = "clp:s3cret@relay:25"',
        'smtp_password_file = "s3cret"',
        "[np.password]\nof = 's3cret'",
    ],
)
def test_no_secret_is_told_and_the_rest_stays_on_its_line(text: str) -> None:
    rest = '\n[cluster]\nname = "c#1"  # of the "lab"\nmail_to = ["ops@example.com"]\n'
    told = without_secrets(text + rest)
    assert told is not None
    assert "s3cret" not in told
    assert "(left out)" in told
    assert told.endswith(rest)
    assert told.count("\n") == (text + rest).count("\n")
    assert tomllib.loads(told)["cluster"]["name"] == "c#1"


def test_a_configuration_without_secrets_is_packed_as_it_is() -> None:
    example = Path(__file__).parents[1] / "examples/three-servers/clp.toml"
    text = example.read_text().replace("password", "pw").replace("community", "c")
    assert without_secrets(text) == text


def test_a_file_that_is_no_toml_is_left_out_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLP_ROOT", str(tmp_path))
    os.makedirs(paths.history_dir())
    Path(paths.config_file()).write_text('[alert\nsnmp_community = "s3cret"\n')
    # An editor's byte order mark makes no other file of it.
    marked = '\ufeff[alert]\nsnmp_community = "s3cret"\n'
    Path(paths.history_dir(), "0001.toml").write_text(marked)
    packed = io.BytesIO()
    pack(packed, "server1", {})
    packed.seek(0)
    with tarfile.open(fileobj=packed) as archive:
        files = {m.name: archive.extractfile(m) for m in archive.getmembers()}
        held = {name: file.read() for name, file in files.items() if file is not None}
    assert sorted(held) == [
        "server1-log/config/clp.toml.left-out",
        "server1-log/config/history/0001.toml",
    ]
    assert b"not TOML" in held["server1-log/config/clp.toml.left-out"]
    assert b"s3cret" not in b"".join(held.values())
