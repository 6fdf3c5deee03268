"""Where every command starts, before Python has loaded more than it needs to run at all.

The scripts that the package installs run it without `site` (`clptools.cli.starters`), whose start
takes longer than all the rest of a command that only reads.

A status is asked of the agent as text: one call, for which nothing is imported but what Python has
built in.  The agent makes it by the command's own code (`clptools.queries`); there is no second
one here.  Whatever is unusual (no agent, one that is slow, a fault, a word that is not understood,
another encoding or time zone) leaves everything to the command itself, as if nothing had been
asked: so whatever is asked here may only read.
"""

import sys
from _signal import SIG_DFL, SIG_IGN, SIGINT, getsignal, signal
from posix import _exit, environ, get_terminal_size, isatty

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket  # without the import of __future__: it is a file like any other

READ: dict[str, tuple[str, ...]] = {
    "clpstat": (),
    "clphealthchk": (),
    "clpgrp": ("-n", "--where"),
    "clprsc": ("-n", "--where", "-v", "--counter"),
    "clpmonctrl": ("-v", "--counters"),
    "clptoratio": ("-s", "--show"),
    "clpregctrl": ("-g", "--get"),
}
"""Commands of which lines may only read: all of them, or those with one of these words."""
PATIENCE_S = 1.5
"""For each part of the reply.  The agent waits at most 1 s for others, and is asked once more."""
REPLY_LIMIT_BYTES = 64 * 1024 * 1024
PREFIX, TEXT = '{"parameters":{"code":', ',"text":"'
"""How a reply begins, and what stands between the exit code and the text."""


def main() -> int:
    """Entry point of all commands; returns the exit code."""
    # While modules are loaded, and after the end, Ctrl-C ends the process as it ends one that is
    # not Python's, and shows nobody where Python was.  Where it is ignored (nohup), it stays so.
    interruptible = getsignal(SIGINT) != SIG_IGN
    if interruptible:
        signal(SIGINT, SIG_DFL)
    name, line = called(sys.argv[0]), sys.argv[1:]
    words = READ.get(name)
    if words is not None and (not words or not set(words).isdisjoint(line)):
        answer = asked(name, line)
        if answer is not None:
            return say(name, line, *answer)
    from clptools.cli.main import begin

    return begin(name, line, interruptible=interruptible)


def called(path: str) -> str:
    """The command that a script of that path is."""
    # Some are scripts in the original, and called so: `clpfwctrl.sh`.
    name, _, _ = path.rpartition("/")[2].partition(".")
    return name


def asked(name: str, line: list[str]) -> tuple[str, int] | None:
    """Text and exit code, as the agent has them; None: the command itself is to say."""
    try:
        from _json import encode_basestring_ascii as quoted
        from _json import scanstring

        # Text comes in UTF-8, with times as the host has them.
        if sys.stdout.encoding != "utf-8" or b"TZ" in environ:
            return None
        words = ",".join(map(quoted, line))
        columns = get_terminal_size(1)[0] if isatty(1) else 0
        call = (
            f'{{"method":"org.clptools.Node.Query","parameters":{{"command":{quoted(name)},'
            f'"line":[{words}],"columns":{columns}}}}}\0'
        )
        reply = replied(environ.get(b"CLP_ROOT", b"").rstrip(b"/"), call.encode())
        code, text, _ = reply.partition(TEXT)
        if not code.startswith(PREFIX) or not text:
            return None
        return scanstring(reply, len(code) + len(text))[0], int(code[len(PREFIX) :])
    except Exception:
        return None  # whatever it was, the command itself meets it, and has the words for it


def replied(root: bytes, call: bytes) -> str:
    """What the agent below `root` says to a call.  Raises OSError and ValueError."""
    agent = connected(root + b"/run/clptools/clpnode")
    try:
        agent.sendall(call)
        reply = bytearray()
        while not reply.endswith(b"\0"):
            part = agent.recv(262_144)
            reply += part
            if not part or len(reply) > REPLY_LIMIT_BYTES:
                raise ValueError
    finally:
        agent.close()
    return reply[:-1].decode()


def connected(path: bytes) -> "socket":
    """The socket that `clptools.api.client` would take.  Raises OSError."""
    from _socket import AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM, socket

    for door in (b"-root.sock", b".sock"):
        agent = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC)
        agent.settimeout(PATIENCE_S)
        try:
            agent.connect(path + door)
        except OSError:
            agent.close()
            continue
        return agent
    raise OSError


def say(name: str, line: list[str], text: str, code: int) -> int:
    """Prints it and ends; returns the exit code only where it could not be printed."""
    try:
        if text:
            sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except OSError as error:
        from clptools.cli.main import failed, unwritten

        return failed(name, unwritten(error), "--json" in line)
    _exit(code)  # an orderly end takes as long as the question; nothing is left to be put in order
