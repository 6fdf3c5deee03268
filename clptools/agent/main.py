"""`clpnode`: the node agent, in the foreground."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import stat
import sys
from typing import TYPE_CHECKING

from clptools import paths
from clptools.agent.process import Notifier, Stderr, come_first
from clptools.common.child_process import dump_nothing
from clptools.faults import ClpError, ExitCode
from clptools.version import VERSION

if TYPE_CHECKING:
    from clptools.agent.agent import Agent
    from clptools.links.credentials import Minting

HELP = """\
Usage: clpnode [--help] [--version]
       clpnode confirm-down SERVER --yes [--force] [--json]

The node agent of this server, in the foreground.  It starts the cluster service, unless
clpcl -t stopped it since the last boot.  Until the first configuration is pushed, it needs only
the shared secret.  After SIGTERM it first moves or stops this server's groups; while the cluster
is suspended it leaves them running.

  confirm-down SERVER --yes [--force]
        You confirm that SERVER is down and stays down until it is back on the network.  A group
        that waited for this proof starts elsewhere.  The command is recorded with your name.  It
        is refused (6) while there is any sign that SERVER is up; use clpforcestop SERVER, which
        powers it off.  --force overrides its BMC and datagrams that are refused, but never a
        server that is heard.

  --help      this text
  --version   the version

Files: {config}, {authkey}.  CLP_ROOT=DIR prefixes every path, CLP_SERVER=NAME names the node.
Exit status: 0 ended as asked, 1 failed, 2 wrong usage, 3 no agent runs here (confirm-down),
4 not permitted, 6 refused (confirm-down), or another agent of this server runs or has its heartbeat
address (nothing was started or stopped), 8 configuration invalid.
"""

_MIN_KEY_BYTES = 16
_MAX_KEY_BYTES = 4096
_PATIENCE_S = 60


def main() -> int:
    """Entry point; returns the exit status."""
    words = [word for word in sys.argv[1:] if word != "--json"]
    as_json = len(words) < len(sys.argv) - 1
    try:
        if words in (["--help"], ["-h"]):
            print(HELP.format(config=paths.config_file(), authkey=paths.authkey_file()), end="")
            return ExitCode.DONE
        if words == ["--version"]:
            print(f"clpnode {VERSION}")
            return ExitCode.DONE
        if words[:1] == ["confirm-down"]:
            said = _confirm_down(words[1:])
            print(json.dumps({"schema": 1, "result": "done", "text": said}) if as_json else said)
            return ExitCode.DONE
        if words:
            raise ClpError(ExitCode.USAGE, f"{words[0]}: not understood", "See: clpnode --help")
        return _run()
    except ClpError as error:
        if as_json:
            fault = {"code": int(error.code), "name": error.code.name}
            fault |= {"message": error.message, "hint": error.hint}
            print(json.dumps({"schema": 1, "error": fault}))
            return error.code
        print(f"clpnode: {error.message}", file=sys.stderr)
        if error.hint:
            print(error.hint, file=sys.stderr)
        return error.code
    except Exception:
        logging.getLogger("clptools").critical(
            "a fault of clptools itself; please report it with these lines", exc_info=True
        )
        return ExitCode.FAILED


def _confirm_down(words: list[str]) -> str:
    from clptools.api.client import Client, user

    names = [word for word in words if word not in ("--yes", "--force")]
    if len(names) != 1 or names[0].startswith("-"):
        raise ClpError(
            ExitCode.USAGE, "confirm-down takes one server", "clpnode confirm-down SERVER --yes"
        )
    if "--yes" not in words:
        raise ClpError(
            ExitCode.REFUSED,
            f"nothing was done: is {names[0]} really down, and will it stay down until it is back "
            "on the network?",
            f"If two servers run a group at once, its data is lost.  When you are sure: "
            f"clpnode confirm-down {names[0]} --yes",
        )
    request: dict[str, object] = {"type": "confirm-down", "down": names[0]}
    if "--force" in words:
        request["force"] = True
    with Client(timeout_s=60.0) as client:
        reply = client.call("Request", request=request, user=user())
    outcome = reply.get("outcome")
    if isinstance(outcome, dict) and outcome.get("code", 0):
        raise ClpError(
            ExitCode(outcome["code"]), str(outcome.get("text", "")), str(outcome.get("hint", ""))
        )
    text = outcome.get("text") if isinstance(outcome, dict) else ""
    return str(text or "Command succeeded.")


def _run() -> int:
    from clptools.links.credentials import Minting

    dump_nothing()  # a loop that stalls is ended by SIGABRT, and would leave all keys on the disk
    log = sys.stderr = Stderr()
    logging.basicConfig(
        stream=log, level=logging.INFO, format="clpnode: %(levelname)s: %(message)s"
    )
    # Only our own loggers at INFO: libraries log their internals there.
    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("clptools").setLevel(logging.INFO)
    authkey = _key(paths.authkey_file())
    new = _key(paths.next_authkey_file(), needed=False)
    old = _key(paths.last_authkey_file(), needed=False)
    come_first()
    # Begins now: it takes about as long as the imports that are still to come.
    keys = (authkey, new, old)
    minting = Minting(tuple(dict.fromkeys(key for key in keys if key)), paths.server_name())
    return asyncio.run(_life(keys, minting, log))


def _key(path: str, *, needed: bool = True) -> bytes:
    """The key in a file; empty where there is none, if it is not needed.  Raises ClpError."""
    mend = "Make it once with clpcfctrl --keygen, then copy that file to every server."
    try:
        # A FIFO would hold the agent up for ever.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        if not needed:
            return b""
        raise ClpError(ExitCode.FAILED, f"{path}: the shared secret is not there", mend) from None
    except PermissionError as error:
        text = f"{path}: {error.strerror}: the node agent is root's"
        raise ClpError(ExitCode.NOT_PERMITTED, text, "Run it as root, or: clpcl -s") from None
    except OSError as error:
        raise ClpError(ExitCode.FAILED, f"{path}: {error.strerror}", mend) from None
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        mode = stat.S_IMODE(found.st_mode)
        if found.st_uid not in (0, os.geteuid()):
            text = f"{path}: belongs to user {found.st_uid}, who can read and replace it"
            mend = f"chown root {path}; and make a new one (clpcfctrl --keygen) if others used it"
            raise ClpError(ExitCode.FAILED, text, mend)
        if mode & 0o077:
            raise ClpError(
                ExitCode.FAILED,
                f"{path}: mode {mode:04o} lets others read the shared secret",
                f"chmod 0400 {path}; and make a new one (clpcfctrl --keygen) if others used it",
            )
        key = file.read(_MAX_KEY_BYTES + 1)
    if not _MIN_KEY_BYTES <= len(key) <= _MAX_KEY_BYTES:
        raise ClpError(
            ExitCode.FAILED,
            f"{path}: {len(key)} bytes: a shared secret has {_MIN_KEY_BYTES} to {_MAX_KEY_BYTES}",
            mend,
        )
    if key.startswith(b'{"for":'):  # `common.derived_keys.is_derived`, which is yet to be imported
        raise ClpError(
            ExitCode.FAILED,
            f"{path}: was made for a program outside the cluster (clpcfctrl --keygen --for)",
            "Copy authkey from another server; the agent does not start with less.",
        )
    return key


async def _life(keys: tuple[bytes, bytes, bytes], minting: Minting, log: Stderr) -> int:
    """`keys`: in use, the next and the last one of a key roll."""
    # Set before libraries and files are read, which takes a while: a stop that is requested in the
    # meantime is handled when the agent first waits.
    loop = asyncio.get_running_loop()
    notifier = Notifier()
    patience: list[asyncio.Task[None]] = []
    agent: Agent | None = None

    def stop() -> None:
        notifier.stopping("moving or stopping groups")
        patience.append(loop.create_task(_ask_for_patience(notifier)))
        if agent is not None:
            agent.stop()

    for sign in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sign, stop)
    # Nothing is read again at a hang-up: a configuration takes effect by being pushed.
    loop.add_signal_handler(signal.SIGHUP, lambda: None)

    from clptools.agent import configuration
    from clptools.agent.agent import Agent
    from clptools.links.keyring import Keyring

    found = configuration.found()
    if found is not None:
        loaded = found.loaded
        for report in loaded.reports:
            if report.severity == "error" or loaded.settings is not None:
                print(f"clpnode: {report}", file=sys.stderr)
                if report.hint:
                    print(f"    {report.hint}", file=sys.stderr)
        if loaded.settings is None:
            return ExitCode.INVALID_CONFIG
        if loaded.settings.server(paths.server_name()) is None:
            raise ClpError(
                ExitCode.INVALID_CONFIG,
                f"{loaded.file}: no [[server]] is called {paths.server_name()}",
                f"Known: {', '.join(loaded.settings.names)}.  The host name counts, or CLP_SERVER.",
            )
    own, new, old = keys
    # An agent that ended in the middle of a step left one key twice.
    keyring = Keyring(own=own, next=b"" if new == own else new, last=b"" if old == own else old)
    agent = Agent(keyring, minting)
    try:
        await agent.start(found)
        gc.collect()
        gc.freeze()
        notifier.ready()
        alive = loop.create_task(_stay_alive(notifier))
        status = await agent.ended
        for task in (alive, *patience):
            task.cancel()
    finally:
        await agent.close()
    if agent.disk_hangs:
        log.settle()
        os._exit(status)  # an orderly end would wait for the thread that waits for the disk
    return status


async def _ask_for_patience(notifier: Notifier) -> None:
    """A stop script may take longer than the service manager waits by itself."""
    while True:
        notifier.extend(_PATIENCE_S * 1_000_000)
        await asyncio.sleep(_PATIENCE_S / 3)


async def _stay_alive(notifier: Notifier) -> None:
    """Tell the service manager that the loop still turns."""
    while notifier.watchdog_ms:
        notifier.watchdog()
        await asyncio.sleep(notifier.watchdog_ms / 2000)


if __name__ == "__main__":
    sys.exit(main())
