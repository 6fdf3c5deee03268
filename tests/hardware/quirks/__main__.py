"""`python -m tests.hardware.quirks QUIRK ADDRESS PORT [option=number ...]`: until it is killed."""

from __future__ import annotations

import sys
import tempfile

from tests.hardware.quirks.server import QuirkyBmc

name, address, port, *words = sys.argv[1:]
options = {key: float(value) for key, _, value in (word.partition("=") for word in words)}
with tempfile.TemporaryDirectory() as folder:
    bmc = QuirkyBmc(folder, address, int(port), name, **options)
    bmc.start()
    try:
        print(f"{name}: {address} port {port}, user {bmc.user}, password {bmc.password}")
        sys.stdin.read()
    finally:
        bmc.stop()
