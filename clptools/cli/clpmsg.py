"""`clpmsg`: put a message of a driver, an agent or a script into the door for them."""

from __future__ import annotations

from clptools.cli.command import Answer, Args, Argument, Command, Option, done
from clptools.faults import ClpError, ExitCode

COMMAND = Command(
    "clpmsg",
    summary="tell the message receive monitors of this server",
    synopsis=("CATEGORY [KEYWORD] TEXT [--recovered]",),
    description=(
        (
            "Says to the node agent of this server that the device KEYWORD of CATEGORY is in "
            "error, or with --recovered that it is well again. Every message receive monitor "
            "with that category, and that keyword or none, takes it; a message that none takes is "
            "an alert (mm 903), and nothing else. Root only."
        ),
        "It returns when the message is on disk.",
    ),
    options=(Option("--recovered", help="The error is over."),),
    arguments=(
        Argument("CATEGORY", help="At most 32 bytes.", required=True),
        Argument("KEYWORD", help="The device; left out: any.", many=True),
    ),
    examples=(
        ('clpmsg NIC eth0 "link down, no carrier"', "a NIC is broken"),
        ('clpmsg NIC eth0 "link up" --recovered', "and works again"),
    ),
)

WAIT_S = 10.0


def run(args: Args) -> Answer:
    """Carries it out."""
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
        # An empty address: the kernel gives one, so that there is a place for the answer.
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
    return done(category=words[0], recovered=args.given("recovered"))
