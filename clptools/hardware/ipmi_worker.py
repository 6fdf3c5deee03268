"""The processes that speak IPMI: `python -m clptools.hardware.ipmi_worker`, started by the agent.

pyghmi waits in select loops and threads of its own and keeps its sessions in class variables, so
each BMC gets a process: a BMC that hangs holds up nobody else.  To spare memory they are forks
of one parent that has loaded the library and does nothing but fork.

On the parent's standard input arrives, for each BMC, one end of a socket pair.  On that, frames
of four bytes length and MessagePack: a `Command` at a time, a `Result` for each.  The agent
closing its end ends the session with the BMC and the process.
"""

from __future__ import annotations

import os
import select
import signal
import socket
from typing import TYPE_CHECKING

from clptools.common.child_process import dump_nothing, framed, heed_no_terminal, receive
from clptools.hardware.ipmi_requests import Command

if TYPE_CHECKING:
    from clptools.hardware.ipmi_session import Session

IDLE_S = 55.0
"""A session not used for so long is closed, as the BMC itself does at the earliest 2 s later."""


def serve(connection: socket.socket, session: Session) -> None:
    """Carries out commands until the agent closes its end."""
    try:
        while True:
            if not select.select([connection], [], [], IDLE_S)[0]:
                session.close()
                connection.setblocking(True)
                select.select([connection], [], [])
            command = receive(connection, Command)
            if command is None:
                return
            result = session.perform(command)
            connection.sendall(framed(result))
            if result.fault:
                # pyghmi keeps what is left of a failed session, and would find it again.
                return
    except OSError:
        return
    finally:
        session.close()


def main() -> None:
    """Forks a process for each socket that arrives on standard input."""
    heed_no_terminal()
    # These load pyghmi, which takes a moment in which a terminal could end us.
    from clptools.hardware.ipmi_session import Session
    from clptools.hardware.pyghmi_adapter import wait_in_caller

    dump_nothing()
    wait_in_caller()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(fileno=0) as control:
        while True:
            data, handles, _, _ = socket.recv_fds(control, 1, 1)
            if not data:
                return
            for handle in handles:
                if os.fork() == 0:
                    control.close()
                    serve(socket.socket(fileno=handle), Session())
                    os._exit(0)
                os.close(handle)


if __name__ == "__main__":
    main()
