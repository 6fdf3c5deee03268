"""Man pages, completions, the page of scenarios, from data: `python -m clptools.cli.generate`.

Run it after a change of a command's data, or of the language of scenarios; a test compares the
files with what it would write.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from clptools.cli import shells
from clptools.cli.man import page
from clptools.cli.man_config import config_page
from clptools.cli.options import Command
from clptools.cli.registry import COMMANDS, DESCRIBED
from clptools.cli.scenarios_page import scenarios_page
from clptools.registries import registries

ROOT = Path(__file__).parent.parent.parent
"""The source tree; the files are no part of the package."""


def commands() -> tuple[Command, ...]:
    """All commands, by name."""
    everything = {**COMMANDS, **DESCRIBED}
    return tuple(import_module(everything[name]).COMMAND for name in sorted(everything))


def files() -> dict[str, str]:
    """Path below the source tree -> content."""
    every = commands()
    return {
        **{f"man/{command.name}.8": page(command, every) for command in every},
        "docs/scenarios.md": scenarios_page(),
        "man/clp.toml.5": config_page(registries()),
        "completions/clptools.bash": shells.bash(every),
        "completions/_clptools": shells.zsh(every),
        "completions/clptools.fish": shells.fish(every),
    }


def main() -> int:
    """Writes them; removes man pages of commands that are gone."""
    wanted = files()
    for path, text in wanted.items():
        (ROOT / path).parent.mkdir(exist_ok=True)
        (ROOT / path).write_text(text)
    for page_file in (ROOT / "man").glob("*.8"):
        if f"man/{page_file.name}" not in wanted:
            page_file.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
