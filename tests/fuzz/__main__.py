"""Runs the harnesses under atheris: `python -m tests.fuzz [NAME ...] [--seconds N | --hours N]`.

Each runs in a child of its own, from its corpus in `tests/fuzz/corpus/NAME`.  What it finds lies in
`.fuzz/NAME` with the input that repeats it: `python -m tests.fuzz NAME --play FILE`.  The corpus of
a run is kept there too, so that the next one begins where this one ended.
Exit status 1: something was found.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz.harnesses import HARNESSES

CORPUS = Path(__file__).parent / "corpus"
WORK = Path(".fuzz")
INPUT_BYTES = 4096
SLOW_S = 5
"""One input that takes as long is a finding; under atheris all is ten times slower."""
_DONE = re.compile(r"Done (\d+) runs in (\d+) second")
_COVERED = re.compile(r"cov: (\d+) ")


def main() -> int:
    """Prints a line for each harness."""
    arguments = _arguments()
    if arguments.play:
        for name in arguments.names:
            HARNESSES[name](arguments.play.read_bytes())
        return 0
    if arguments.child:
        return _fuzz(arguments.names[0], arguments.seconds)
    names = arguments.names or list(HARNESSES)
    seconds = arguments.seconds
    if arguments.hours:
        seconds = max(1, round(arguments.hours * 3600 / len(names)))
    found = [name for name in names if not _run(name, seconds)]
    if found:
        print(f"Found something: {', '.join(found)}. The inputs are below {WORK}/.")
    return 1 if found else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("names", nargs="*", choices=[*HARNESSES, []], metavar="NAME")
    parser.add_argument("--seconds", type=int, default=10, help="for each (10)")
    parser.add_argument("--hours", type=float, default=0.0, help="for all together")
    parser.add_argument("--play", type=Path, help="an input: runs it without atheris")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _run(name: str, seconds: int) -> bool:
    """Whether nothing was found."""
    words = ["-m", "tests.fuzz", "--child", "--seconds", str(seconds), name]
    begun = time.monotonic()
    ended = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    said = ended.stdout + ended.stderr
    done, covered = _DONE.search(said), _COVERED.findall(said)
    runs = int(done[1]) if done else 0
    took_s = max(time.monotonic() - begun, 0.1)
    well = ended.returncode == 0 and done is not None
    print(
        f"{name:18} {runs:10,} inputs {runs / took_s:9,.0f}/s  covers "
        f"{covered[-1] if covered else '?'}{'' if well else '  FOUND'}",
        flush=True,
    )
    if not well:
        (WORK / name / "said").write_text(said)
        print("\n".join(said.splitlines()[-25:]), flush=True)
    return well


def _fuzz(name: str, seconds: int) -> int:
    import atheris

    folder = WORK / name
    grown = folder / "corpus"
    grown.mkdir(parents=True, exist_ok=True)
    # The product is instrumented; what it stands on is not.
    with atheris.instrument_imports(include=["clptools"]):
        for module in [each for each in sys.modules if each.split(".")[0] in ("clptools", "tests")]:
            if module != "tests":
                del sys.modules[module]
        from tests.fuzz.harnesses import HARNESSES as instrumented
    atheris.Setup(
        [
            *(sys.argv[0], f"-max_total_time={seconds}", f"-max_len={INPUT_BYTES}"),
            *(f"-timeout={SLOW_S}", "-rss_limit_mb=2048", f"-artifact_prefix={folder}/"),
            *(str(grown), str(CORPUS / name)),
        ],
        instrumented[name],
    )
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
