"""Varlink as the agent speaks it: one call in, replies out, and `org.varlink.service`.

Source: https://varlink.org/Interface-Definition, /Method-Call and /Service.  A message is a
JSON object and a NUL; NUL cannot occur inside, since JSON escapes it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import msgspec

from clptools.api.backend import Backend
from clptools.api.boot_time import boot_ms
from clptools.api.methods import METHODS, Caller, Method, Parameters
from clptools.core import replies
from clptools.core.model.requests import LASTS_MS
from clptools.core.notices.requests import AskedLate
from clptools.faults import ClpError, ExitCode
from clptools.version import VERSION

INTERFACE = "org.clptools.Node"
SERVICE = "org.varlink.service"

SERVICE_DESCRIPTION = """\
# The Varlink Service Interface is provided by every varlink service. It
# describes the service and the interfaces it implements.
interface org.varlink.service

# Get a list of all the interfaces a service provides and information
# about the implementation.
method GetInfo() -> (
  vendor: string,
  product: string,
  version: string,
  url: string,
  interfaces: []string
)

# Get the description of an interface that is implemented by this service.
method GetInterfaceDescription(interface: string) -> (description: string)

# The requested interface was not found.
error InterfaceNotFound (interface: string)

# The requested method was not found
error MethodNotFound (method: string)

# The interface defines the requested method, but the service does not
# implement it.
error MethodNotImplemented (method: string)

# One of the passed parameters is invalid.
error InvalidParameter (parameter: string)
"""


class Malformed(Exception):
    """What came is no varlink call; varlink has no answer to that but hanging up."""


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A call as it comes in."""

    method: str
    parameters: msgspec.Raw = msgspec.Raw(b"{}")
    oneway: bool = False
    more: bool = False
    upgrade: bool = False
    asked_at: int = 0
    """Ours: time since boot (ms) of this host when it was asked for; 0: not said."""


_decode_call = msgspec.json.Decoder(Call)


def decode_call(frame: bytes) -> Call:
    """The call in a frame (without its NUL).  Raises `Malformed`."""
    try:
        return _decode_call.decode(frame)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed(str(error)) from error


async def answer(backend: Backend, call: Call, caller: Caller) -> AsyncGenerator[bytes, None]:
    """The frames of the reply to `call`, each with its NUL.

    A fault becomes an error reply; it raises only what is a bug of the backend, after having
    told the caller.
    """
    try:
        if call.upgrade:
            yield _error(f"{SERVICE}.InvalidParameter", {"parameter": "upgrade"})
            return
        interface, _, name = call.method.rpartition(".")
        if interface == SERVICE:
            yield _service(name, call)
            return
        method = METHODS.get(name) if interface == INTERFACE else None
        if method is None:
            kind = "method" if interface == INTERFACE else "interface"
            value = call.method if interface == INTERFACE else interface
            yield _error(f"{SERVICE}.{kind.title()}NotFound", {kind: value})
            return
        _permit(method, caller)
        if call.oneway and not method.writes:
            return  # nobody would see the answer, and making it may be dear
        asked = msgspec.json.decode(call.parameters, type=method.parameters)
        _refuse_late(backend, asked, caller, call.asked_at)
        caller = caller._replace(asked_at=call.asked_at)
        async with aclosing(method.handle(backend, asked, caller, call.more)) as replies:
            async for continues, reply in replies:
                yield _reply(reply, continues)
                if not continues:
                    return
    except ClpError as error:
        yield fault(error)
    except (msgspec.MsgspecError, RecursionError) as error:
        yield _error(f"{SERVICE}.InvalidParameter", {"parameter": _place(str(error))})
    except Exception as error:
        yield fault(
            ClpError(
                ExitCode.FAILED,
                f"The node agent failed at {call.method}: {type(error).__name__}: {error}",
                "This is a bug; the log of clpnode has the details.",
            )
        )
        raise


def fault(error: ClpError) -> bytes:
    """The error reply for a fault."""
    return _error(
        f"{INTERFACE}.Fault",
        {
            "code": int(error.code),
            "name": error.code.name,
            "message": error.message,
            "hint": error.hint,
        },
    )


def _permit(method: Method, caller: Caller) -> None:
    if method.writes and not caller.may_write:
        raise ClpError(
            ExitCode.NOT_PERMITTED,
            f"{caller.user} may read the state of the cluster, but not change it.",
            "Run it as root.",
        )


def _refuse_late(backend: Backend, asked: Parameters, caller: Caller, asked_at: int) -> None:
    """Raises ClpError where an agent that stood still would do what nobody means any more."""
    waited_ms = boot_ms() - asked_at if asked_at else 0
    if waited_ms <= LASTS_MS or not (what := asked.changes()):
        return
    user = caller.on_behalf_of(getattr(asked, "user", None) or "")
    late = AskedLate(what, user, waited_ms)
    backend.refused_late(late)
    raise ClpError(ExitCode.REFUSED, late.told(), replies.ASK_AGAIN)


class _InterfaceName(msgspec.Struct, frozen=True, kw_only=True):
    interface: str


def _service(name: str, call: Call) -> bytes:
    if name == "GetInfo":
        return _reply(
            {
                "vendor": "clptools",
                "product": "clptools node agent",
                "version": VERSION,
                "url": "",
                "interfaces": [SERVICE, INTERFACE],
            }
        )
    if name == "GetInterfaceDescription":
        wanted = msgspec.json.decode(call.parameters, type=_InterfaceName).interface
        if wanted == SERVICE:
            return _reply({"description": SERVICE_DESCRIPTION})
        if wanted == INTERFACE:
            return _reply({"description": description()})
        return _error(f"{SERVICE}.InterfaceNotFound", {"interface": wanted})
    return _error(f"{SERVICE}.MethodNotFound", {"method": call.method})


def description() -> str:
    """The interface description, as it lies beside this file."""
    return (Path(__file__).parent / "clptools.varlink").read_text()


def _place(message: str) -> str:
    """The parameter that a message of msgspec speaks of, and what is wrong with it."""
    what, _, where = message.partition(" - at `$.")
    return f"{where.rstrip('`')}: {what}" if where else what


def _reply(parameters: msgspec.Struct | dict[str, object], continues: bool = False) -> bytes:
    body: dict[str, object] = {"parameters": parameters}
    if continues:
        body["continues"] = True
    return msgspec.json.encode(body) + b"\0"


def _error(error: str, parameters: dict[str, object]) -> bytes:
    return msgspec.json.encode({"error": error, "parameters": parameters}) + b"\0"
