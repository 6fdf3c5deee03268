"""The cases on fresh systems, as far as they can be checked without one."""

from __future__ import annotations

import re
from pathlib import Path

from clptools.config.load import load
from clptools.registries import registries
from clptools.version import VERSION
from lab.places import SOURCE
from lab.roots.cases import CASES
from lab.roots.pair import CONFIG


def test_every_case_says_what_it_is() -> None:
    assert all((case.__doc__ or "").strip() for case in CASES.values())


def test_their_cluster_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "clp.toml"
    file.write_text(CONFIG)
    for name in ("start.sh", "stop.sh"):
        script = tmp_path / "scripts/app/worker" / name
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text("#!/bin/sh\n")
        script.chmod(0o755)
    loaded = load(str(file), registries())
    assert loaded.settings is not None, loaded.reports


def test_readme_begins_with_a_bundle_of_this_name() -> None:
    section = (SOURCE / "README.md").read_text().partition("## Five minutes")[2]
    blocks = re.findall(r"```console\n(.*?)```", section.partition("\n## ")[0], re.S)
    assert len(blocks) == 4, "on both, on server1, on both, on server1"
    assert blocks[0].startswith(f"# sh clptools-{VERSION}-1.run ")
