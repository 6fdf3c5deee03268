"""`clplogcc`: what this server knows, packed for whoever looks into an incident."""

from __future__ import annotations

import os
import re

from clptools.api.client import Client
from clptools.cli.answer import Answer, done
from clptools.cli.options import Args, Command, Option, host
from clptools.faults import ClpError, ExitCode
from clptools.paths import config_dir, data_dir, log_dir, server_name

COMMAND = Command(
    "clplogcc",
    summary="collect logs, journal, configuration and state of this server",
    synopsis=("[-o DIR] [-n SERVER | -h HOST] [-l]",),
    description=(
        (
            "Writes SERVER-log.tar.gz. No secret is in it: no authkey, no passwords and keys "
            "of BMCs and SNMP users, no community names, no scripts."
        ),
        (
            "The journal in it is what clpreplay reads. Every server packs its own: run it on "
            "each; another SERVER is refused."
        ),
    ),
    options=(
        Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Where to write it (the current folder).",
            complete="directory",
        ),
        Option("-l", "--local", help="This server only, as it is anyhow."),
        Option(
            "-n",
            "--server",
            metavar="SERVER",
            help="Only this server.",
            many=True,
            complete="server",
        ),
        host("The same for one server."),
        Option(
            "-t",
            "--type",
            metavar="TYPE",
            help="Taken for the sake of old scripts; all of it is packed.",
        ),
        Option(
            "-r", "--rotations", metavar="N", help="Taken for the sake of old scripts.", number=True
        ),
    ),
    examples=(("clplogcc -o /tmp", "writes /tmp/server1-log.tar.gz"),),
)

SECRET = re.compile(r"(?ms)^(\s*(?:community|password|passphrase)\w*\s*=)\s*(?:\[.*?\]|[^\n]*)")
STATE = {"status.json": "GetStatus", "hardware.json": "GetHardware", "counters.json": "GetCounters"}


def run(args: Args) -> Answer:
    """Collects."""
    import io
    import json
    import tarfile

    others = {*args.many("server"), *args.many("host")} - {server_name()}
    if others:
        there = " and ".join(sorted(others))
        text = f"What {there} knows is packed there, not on {server_name()}."
        raise ClpError(ExitCode.REFUSED, text, f"On {there}: clplogcc")
    name = f"{server_name()}-log"
    path = os.path.join(args.text("output") or ".", f"{name}.tar.gz")
    silent = ""
    before = os.umask(0o077)
    try:
        with tarfile.open(path, "w:gz") as archive:

            def add(inside: str, text: str) -> None:
                info = tarfile.TarInfo(f"{name}/{inside}")
                content = text.encode()
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))

            for folder, inside in ((log_dir(), "log"), (data_dir(), "data")):
                if os.path.isdir(folder):
                    archive.add(folder, f"{name}/{inside}")
            for inside, text in _configurations():
                add(inside, SECRET.sub(r'\1 "(left out)"', text))
            for inside, method in STATE.items():
                try:
                    with Client() as client:
                        add(inside, json.dumps(client.call(method), indent=1, ensure_ascii=False))
                except ClpError as error:
                    silent = f"\nWithout the present state: {error.message}"
                    break
    finally:
        os.umask(before)
    return done(f"{path} written.{silent}", file=path)


def _configurations() -> list[tuple[str, str]]:
    found = []
    base = config_dir()
    for folder in (base, f"{base}/history"):
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            if name.endswith(".toml"):
                path = os.path.join(folder, name)
                with open(path, encoding="utf-8", errors="replace") as file:
                    found.append((f"config/{os.path.relpath(path, base)}", file.read()))
    return found
