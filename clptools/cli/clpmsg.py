"""`clpmsg`: a message to the message receive monitors of this server."""

from __future__ import annotations

from clptools.cli.command import SUCCEEDED, Answer, Args, Argument, Command, Option, done
from clptools.faults import ClpError, ExitCode

COMMAND = Command(
    "clpmsg",
    summary="send a message to the message receive monitors of this server",
    synopsis=("CATEGORY [KEYWORD] TEXT [--recovered]",),
    description=(
        (
            "Tells the node agent of this server that the device KEYWORD of CATEGORY is in "
            "error, or with --recovered that it works again. Every message receive monitor with "
            "that category, and with that keyword or none, takes the message; if none takes it, "
            "it only becomes an alert (mm 903). Root only."
        ),
        "It returns when the message is on disk, and says which monitors take it.",
    ),
    options=(Option("--recovered", help="The error is over."),),
    arguments=(
        Argument("CATEGORY", help="At most 32 bytes.", required=True),
        Argument("KEYWORD", help="The device. Default: any.", many=True),
    ),
    examples=(
        ('clpmsg NIC eth0 "link down, no carrier"', "reports that a NIC is broken"),
        ('clpmsg NIC eth0 "link up" --recovered', "reports that it works again"),
    ),
)

WAIT_S = 10.0


def run(args: Args) -> Answer:
    import json
    import socket

    from clptools.api.local_socket import SocketAddress
    from clptools.paths import message_socket_file

    words = args.words
    if len(words) not in (2, 3):
        raise ClpError(
            ExitCode.USAGE, "Write: clpmsg CATEGORY [KEYWORD] TEXT", "More: clpmsg --help"
        )
    message = {"category": words[0], "text": words[-1]}
    if len(words) == 3:
        message["keyword"] = words[1]
    if args.given("recovered"):
        message["state"] = "recovered"
    path = message_socket_file()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock, SocketAddress(path) as address:
        sock.settimeout(WAIT_S)
        # With an empty address the kernel chooses one, to which the agent can answer.
        sock.bind("")
        try:
            sock.connect(address)
            sock.send(json.dumps(message).encode())
            answer = json.loads(sock.recv(65536))
        except PermissionError:
            raise ClpError(
                ExitCode.NOT_PERMITTED, "Only root may put messages in.", f"{path} is root's."
            ) from None
        except (FileNotFoundError, ConnectionRefusedError, ConnectionResetError):
            from clptools.api.agent_process import agent_pid
            from clptools.api.client import SocketMissing

            if pid := agent_pid():
                raise SocketMissing(pid, path) from None
            raise ClpError(
                ExitCode.NO_AGENT, "The node agent does not run here.", "Start it: clpcl -s"
            ) from None
        except TimeoutError:
            raise ClpError(
                ExitCode.TIMED_OUT,
                f"The agent did not say within {WAIT_S:g} s that the message is on disk.",
                "It may still take it. See: clpstat --events",
            ) from None
    if not answer.get("accepted"):
        raise ClpError(ExitCode.REFUSED, f"Not taken: {answer.get('error', 'no reason given')}.")
    took = answer.get("monitors")
    monitors = took if isinstance(took, list) else []
    return done(
        f"{_what_follows(words, monitors)}\n{SUCCEEDED}",
        category=words[0],
        recovered=args.given("recovered"),
        monitors=monitors,
    )


def _what_follows(words: tuple[str, ...], monitors: list[str]) -> str:
    if monitors:
        return f"Given to {', '.join(monitors)}."
    device = ".".join(words[:-1])
    return (
        f"No message receive monitor of this server takes {device}: nothing follows but a record."
    )
