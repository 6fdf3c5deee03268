"""A client of a database that writes all the time, and knows what was promised to it.

It speaks through `psql`, one row at a time, and takes down only what the server acknowledged; after
an error, an end or a silence it connects anew.  Afterwards it reads everything back.
"""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import threading
import time
from collections.abc import Sequence
from itertools import pairwise

PATIENCE_S = 3.0
"""A connection that is silent for that long is given up: a server without power closes none."""
PAUSE_S = 0.2

_TABLE = "create table if not exists written (n bigint primary key, at timestamptz default now())"


def missing() -> str:
    """What it needs and is not installed."""
    return "" if shutil.which("psql") else "psql (postgresql-client)"


class Writer(threading.Thread):
    """Writes rows 1, 2, 3, … to the database at an address, as user postgres, until `end`."""

    def __init__(self, address: str, prefix: Sequence[str] = ()) -> None:
        """`prefix`: words before the program's, to run it in another network namespace."""
        super().__init__(daemon=True, name="writer")
        self._psql = [*prefix, "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-h", address]
        self._psql += ["-U", "postgres", "postgres"]
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._sure: list[tuple[float, int]] = []
        self._tried = 0

    def run(self) -> None:
        """Connects, writes, and connects anew."""
        while not self._over.is_set():
            client = subprocess.Popen(
                self._psql,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "PGCONNECT_TIMEOUT": "2"},
            )
            try:
                while not self._over.is_set() and self._write(client):
                    pass
            finally:
                client.kill()
                client.communicate()
            self._over.wait(PAUSE_S)

    def end(self) -> None:
        """No row after this."""
        self._over.set()
        self.join()

    @property
    def sure(self) -> list[tuple[float, int]]:
        """Monotonic time and number of each row that the server acknowledged, in order."""
        with self._lock:
            return list(self._sure)

    def since(self, at: float) -> int:
        """How many rows were acknowledged since then."""
        return sum(when >= at for when, _ in self.sure)

    def ask(self, sql: str) -> str:
        """What the database answers now; empty: nothing, or an error."""
        done = subprocess.run(
            [*self._psql, "-c", sql],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PGCONNECT_TIMEOUT": "2"},
        )
        return done.stdout.strip() if done.returncode == 0 else ""

    def prepare(self) -> bool:
        """Makes its table; whether that is there."""
        return self.ask(f"{_TABLE}; select 1") == "1"

    def lost(self) -> set[int]:
        """The acknowledged rows that are not in the table.  Raises AssertionError: no answer."""
        sure = {number for _, number in self.sure}  # first: it may go on writing
        said = self.ask("select n from written union all select 0")
        assert said, "the database does not answer"
        return sure - {int(each) for each in said.split()}

    def longest_gap_s(self, since: float) -> float:
        """The longest time between two acknowledged rows since then."""
        times = [at for at, _ in self.sure if at >= since]
        return max((after - before for before, after in pairwise(times)), default=0.0)

    def _write(self, client: subprocess.Popen[bytes]) -> bool:
        """One row; False: this connection is of no use any more."""
        assert client.stdin is not None
        assert client.stdout is not None
        self._tried += 1
        try:
            client.stdin.write(
                f"insert into written values ({self._tried}) returning n;\n".encode()
            )
            client.stdin.flush()
        except OSError:
            return False
        readable, _, _ = select.select([client.stdout], [], [], PATIENCE_S)
        if not readable or os.read(client.stdout.fileno(), 64) != b"%d\n" % self._tried:
            return False
        with self._lock:
            self._sure.append((time.monotonic(), self._tried))
        self._over.wait(0.01)
        return True
