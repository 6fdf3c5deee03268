"""Scripts that another user could change are not run as root: by mode, owner or access list."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from clptools.common.foreign_files import check_script
from clptools.faults import ClpError
from tests.access_lists import NOBODY, access_list

OWNER, USER, OWNING_GROUP, GROUP, MASK, OTHERS = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
ALL, READ = 7, 5


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "scripts" / "start.sh"
    path.parent.mkdir(mode=0o755)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    check_script(str(path))
    return path


def give(path: Path, named: tuple[int, int, int], *, mask: int = ALL, group: int = READ) -> None:
    entries = (
        (OWNER, ALL, NOBODY),
        *([named] if named[0] == USER else []),
        (OWNING_GROUP, group, NOBODY),
        *([named] if named[0] == GROUP else []),
        (MASK, mask, NOBODY),
        (OTHERS, READ, NOBODY),
    )
    os.setxattr(path, "system.posix_acl_access", access_list(*entries))


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize(
    ("tag", "who", "remove"), [(USER, "uid 12345", "u"), (GROUP, "group 12345", "g")]
)
def test_who_may_write_by_an_access_list_is_named(
    script: Path, tag: int, who: str, remove: str, folder: bool
) -> None:
    loose = script.parent if folder else script
    give(loose, (tag, ALL, 12_345))
    with pytest.raises(ClpError, match=f"{loose}: its access control list lets {who}") as refused:
        check_script(str(script))
    assert refused.value.hint == f"setfacl -x {remove}:12345 {loose}"


@pytest.mark.parametrize(
    ("named", "mask"), [((USER, READ, 12_345), ALL), ((USER, ALL, 12_345), READ)]
)
def test_a_list_that_lets_nobody_write_is_fine(
    script: Path, named: tuple[int, int, int], mask: int
) -> None:
    give(script, named, mask=mask)
    check_script(str(script))


def test_the_owning_group_counts_by_its_entry_where_there_is_a_list(script: Path) -> None:
    os.chown(script, 0, 12_345)
    give(script, (USER, ALL, 0))
    check_script(str(script))  # the mask lets write, the entry of the group does not
    give(script, (USER, ALL, 0), group=ALL)
    with pytest.raises(ClpError, match="group 12345 may write to it"):
        check_script(str(script))


def test_a_group_that_may_write_without_a_list_is_named(script: Path) -> None:
    os.chown(script, 0, 12_345)
    script.chmod(0o775)
    with pytest.raises(ClpError, match="group 12345 may write to it") as refused:
        check_script(str(script))
    assert refused.value.hint == f"chmod g-w {script}"
