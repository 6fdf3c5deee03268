"""`clpnode confirm-down SERVER --yes`: the operator vouches that a server is down.

It lives here because the agent's own command offers it, and the agent does not know the
commands.
"""

from __future__ import annotations

from clptools.api.client import Client, user
from clptools.faults import ClpError, ExitCode

USAGE = "clpnode confirm-down SERVER --yes [--json]"
TIMEOUT_S = 30.0


def confirm_down(words: list[str]) -> str:
    """Carries out what followed `confirm-down`; returns what to say.  Raises ClpError."""
    servers = [word for word in words if not word.startswith("-")]
    unknown = [word for word in words if word.startswith("-") and word not in ("--yes", "--json")]
    if len(servers) != 1 or unknown:
        wrong = f"{unknown[0]}: no such option." if unknown else "Name one server."
        raise ClpError(ExitCode.USAGE, wrong, f"Usage: {USAGE}")
    server = servers[0]
    if "--yes" not in words:
        raise ClpError(
            ExitCode.REFUSED,
            f"If {server} still runs, its groups will run twice and may destroy their data.",
            f"Make sure that {server} is off and stays off until it is back on the network "
            f"(pull its power, or its network), then: clpnode confirm-down {server} --yes",
        )
    request = {"type": "confirm-down", "down": server}
    with Client() as client:
        client.finish_within(TIMEOUT_S)
        ended = client.call("Request", request=request, user=user()).get("outcome")
    outcome = ended if isinstance(ended, dict) else {}
    code = outcome.get("code", 0)
    text = str(outcome.get("text", ""))
    if code:
        known = next((known for known in ExitCode if known == code), ExitCode.FAILED)
        raise ClpError(known, text, str(outcome.get("hint", "")))
    return text or "Command succeeded."
