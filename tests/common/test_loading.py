"""Libraries that several rooms need at the same moment are loaded whole, or waited for."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from clptools.common.threads import load

# As in pyroute2: the package needs its part, and the part needs the package.
PACKAGE = "import time\ntime.sleep(0.2)\nfrom circular.part import whole\n"
PART = "import circular\nimport time\ntime.sleep(0.2)\nwhole = True\n"


def test_two_threads_that_load_one_library_both_get_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "circular"
    folder.mkdir()
    (folder / "__init__.py").write_text(PACKAGE)
    (folder / "part.py").write_text(PART)
    monkeypatch.syspath_prepend(tmp_path)

    def has_all(name: str) -> bool:
        return bool(load(name).whole)

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(has_all, ("circular", "circular.part"))) == [True, True]
