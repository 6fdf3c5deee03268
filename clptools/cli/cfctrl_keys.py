"""`clpcfctrl --keygen` and `--keyroll`: the secret that all servers share."""

from __future__ import annotations

import re

from clptools.api.client import Client, user
from clptools.cli.command import SUCCEEDED, Answer, done
from clptools.cli.requests import outcome
from clptools.faults import ClpError, ExitCode
from clptools.paths import authkey_file

_STEP_WITHIN_S = 60.0
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", re.ASCII)


def keygen(force: bool) -> Answer:
    """The authkey.  An existing one is not replaced without `--force`."""
    from clptools.config.files import keygen as make

    path = make(authkey_file(), force=force)
    return done(f"{path} made. Copy it to every server (mode 0400).\n{SUCCEEDED}", file=path)


def keyroll(*, cancel: bool) -> Answer:
    """The next step on every server, by their agents."""
    with Client() as client:
        client.finish_within(_STEP_WITHIN_S)
        reply = client.call("RollKey", cancel=cancel, user=user())
    ended = reply.get("outcome")
    answer = outcome(ended if isinstance(ended, dict) else {})
    answer.text = f"{answer.text}\n{SUCCEEDED}"
    return answer


def keygen_for(program: str, name: str) -> Answer:
    """The secret of a program outside, made from the authkey: made again it is the same."""
    from clptools.arbiters.witness import witness_key
    from clptools.common.derived_keys import is_derived
    from clptools.config.files import read_authkey, write_secret
    from clptools.links.credentials import MAX_SECRET_NAME, outside_key

    if program not in ("clprexec", "witness"):
        raise ClpError(ExitCode.USAGE, f"--for {program}: clprexec or witness.")
    if name and not (_NAME.fullmatch(name) and len(name) <= MAX_SECRET_NAME):
        text = f"--name {name[:80]}: letters, digits, `_`, `-` and `.`, at most {MAX_SECRET_NAME}."
        raise ClpError(ExitCode.USAGE, text)
    authkey = read_authkey()
    if is_derived(authkey):
        text = f"{authkey_file()}: was itself made for a program outside the cluster"
        raise ClpError(ExitCode.REFUSED, text, "Run it on a server of the cluster.")
    path = f"{authkey_file()}.{program}" + (f".{name}" if name else "")
    is_witness = program == "witness"
    write_secret(path, witness_key(authkey) if is_witness else outside_key(authkey, name))
    daemon, option = ("clpwitnessd", "--authkey") if is_witness else ("clprexec", "--key")
    told = f"{path} made. Move it to the other machine (mode 0400), for {daemon} {option} FILE."
    return done(f"{told}\n{SUCCEEDED}", file=path)
