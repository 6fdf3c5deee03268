"""Words of which no decision knows."""

from __future__ import annotations

import pytest

from clptools.core.phrases import with_reasons


@pytest.mark.parametrize(
    ("text", "reasons", "told"),
    [
        ("It stays.", (), "It stays."),
        ("It stays.", ("No server would take it.",), "It stays. No server would take it."),
        (
            "It is to move. Call it off: clpgrp --cancel web",
            ("server2 is Online.", "It could take it."),
            "It is to move. server2 is Online. It could take it. Call it off: clpgrp --cancel web",
        ),
        ("Stop it: clpgrp -t web", ("It waits.",), "Stop it: clpgrp -t web (It waits.)"),
    ],
)
def test_reasons_never_run_into_a_command(text: str, reasons: tuple[str, ...], told: str) -> None:
    assert with_reasons(text, reasons) == told
