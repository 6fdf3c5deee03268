"""What travels between `clprexec` outside the cluster and an agent: one varlink call, its reply.

The agent puts `OutsideCall` among the requests its control channel takes from outside, and
answers it with `OutsideReply(data=await server.answer_outside(backend, call.data, origin))`.
"""

from __future__ import annotations

import msgspec


class OutsideCall(msgspec.Struct, frozen=True, kw_only=True, tag="outside-call"):
    """A varlink call."""

    data: bytes


class OutsideReply(msgspec.Struct, frozen=True, kw_only=True):
    """The last reply to it, or its error."""

    data: bytes
