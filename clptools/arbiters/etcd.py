"""`etcd`: a lease kept by etcd 3.4 or later, over its JSON gateway (`/v3`).  Strong.

The key `/clptools/<cluster>/coordinator` holds `<server> <token>` and is bound to an etcd lease.

    hold      lease/grant (TTL: the lease, rounded up to seconds)
              txn: if the key's mod_revision is the one we know (0: no such key),
                   put it, bound to the new lease; else read it, and if it is ours after all
                   (an earlier answer was lost), try once more with what was read
    release   txn: if mod_revision is the one we know, delete the key; else as above

Why a new etcd lease each time, and no keep-alive: a keep-alive is answered by a member that
believes to lead, without asking the others (etcd before 3.4.27 and 3.5.13), so a deposed leader may
prolong what the new one lets expire.  Grant and txn go through the quorum.  The TTL begins when
the grant is applied, after we asked, and etcd ends leases late (on a change of leader they begin
anew), never early; both clocks' drift is in the margin by which the core counts less.

Why revisions: each successful txn changes mod_revision, so of all requests that were made with
the same knowledge at most one takes effect, however late the others arrive.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ssl
from typing import Annotated, Any, TypeVar

import msgspec

from clptools.arbiters.base import ArbiterContext, Held
from clptools.common.http import HttpError, Response, client_tls
from clptools.common.http_client import Site
from clptools.config.files import read_secret
from clptools.core.model.options import VariantOptions, read
from clptools.core.model.settings import Arbiter
from clptools.faults import ClpError

_UNAUTHENTICATED, _INVALID_ARGUMENT, _UNAVAILABLE = 16, 3, 14
"""gRPC status codes."""
_STALE_TOKEN = ("invalid auth token", "revision in header is old")
_FIRST_SHARE_S = 0.1
"""The least that one endpoint gets of the time-out before the next is asked."""

_Number = Annotated[str, msgspec.Meta(pattern="^-?[0-9]{1,20}$")]
"""64 bits are text in JSON."""

T = TypeVar("T")


class _Status(msgspec.Struct, frozen=True, kw_only=True):
    error: str = ""
    message: str = ""
    code: int = 0


class _Token(msgspec.Struct, frozen=True, kw_only=True):
    token: str


class _Lease(msgspec.Struct, frozen=True, kw_only=True):
    """`ID` and `TTL` are 64-bit numbers: text in JSON."""

    ID: str
    TTL: _Number
    error: str = ""


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    revision: _Number = "0"


class _Pair(msgspec.Struct, frozen=True, kw_only=True):
    mod_revision: _Number = "0"
    value: str = ""


class _Range(msgspec.Struct, frozen=True, kw_only=True):
    kvs: tuple[_Pair, ...] = ()


class _Step(msgspec.Struct, frozen=True, kw_only=True):
    response_range: _Range | None = None


class _Txn(msgspec.Struct, frozen=True, kw_only=True):
    header: _Header
    succeeded: bool = False
    responses: tuple[_Step, ...] = ()


class _Refused(Exception):
    """etcd answered, and the answer is no; the text says where and why."""


class _NoLogin(Exception):
    """The token is not, or no longer, good."""


class Options(VariantOptions, frozen=True, kw_only=True):
    """The members of etcd, and who we are there."""

    endpoints: tuple[str, ...]
    user: str = ""
    password_file: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""
    required: bool = False
    """Read by the core as `Arbiter.required`."""


def build(arbiter: Arbiter, context: ArbiterContext) -> EtcdArbiter:
    """The arbiter of this definition."""
    return EtcdArbiter(arbiter, context)


class EtcdArbiter:
    """Holds one key of one etcd cluster."""

    def __init__(self, arbiter: Arbiter, context: ArbiterContext) -> None:
        options = read(Options, arbiter.options)
        self._name = arbiter.name
        self._urls = options.endpoints
        self._user = options.user
        self._password_file = options.password_file
        self._files = (options.ca, options.cert, options.key)
        self._timeout_s = context.timeout_ms / 1000
        self._key = _base64(f"/clptools/{context.cluster}/coordinator")
        self._value = _base64(f"{context.server} {context.token}")
        self._sites: list[Site] = []
        self._first = 0
        """The endpoint that answered last."""
        self._login = ""
        self._revision = 0
        """mod_revision of the key when it was last known to be ours; 0: it is not."""

    async def hold(self, lease_ms: int) -> Held:
        """Take or renew the key."""
        try:
            async with asyncio.timeout(self._timeout_s):
                holder = await self._hold(lease_ms)
        except (ClpError, _Refused) as error:
            return Held(error=f"{self._name}: {error}")
        except TimeoutError:
            return Held(error=f"{self._name}: {self._late()}")
        return Held(held=not holder, holder=holder)

    async def release(self) -> None:
        """Delete the key, if it is ours."""
        try:
            async with asyncio.timeout(self._timeout_s):
                delete = {"request_delete_range": {"key": self._key}}
                for _ in range(2):
                    if not self._revision:
                        return
                    done = await self._compared(delete)
                    if done.succeeded:
                        self._revision = 0
                    else:
                        self._learn(done)
        except (ClpError, _Refused, TimeoutError):
            return  # it runs out

    async def close(self) -> None:
        """No connection is kept."""

    async def _hold(self, lease_ms: int) -> str:
        """Empty: it is ours; else the server that has it."""
        ttl_s = -(-lease_ms // 1000)
        lease = await self._call("/v3/lease/grant", {"TTL": str(ttl_s)}, _Lease)
        if lease.error or int(lease.TTL) < ttl_s:
            raise _Refused(f"etcd grants a lease of {lease.TTL} s, not {ttl_s} s {lease.error}")
        put = {"request_put": {"key": self._key, "value": self._value, "lease": lease.ID}}
        holder = ""
        for _ in range(2):
            done = await self._compared(put)
            if done.succeeded:
                self._revision = int(done.header.revision)
                return ""
            holder = self._learn(done)
            if holder and not self._revision:
                break
        # This lease is unused; it would expire by itself, but take an entry until then.
        with contextlib.suppress(_Refused):
            await self._call("/v3/lease/revoke", {"ID": lease.ID}, _Header)
        return holder or "another"

    async def _compared(self, then: dict[str, Any]) -> _Txn:
        compare = {
            "key": self._key,
            "target": "MOD",
            "result": "EQUAL",
            "mod_revision": str(self._revision),
        }
        return await self._call(
            "/v3/kv/txn",
            {
                "compare": [compare],
                "success": [then],
                "failure": [{"request_range": {"key": self._key}}],
            },
            _Txn,
        )

    def _learn(self, done: _Txn) -> str:
        """Take in what a refused txn read; returns the holder."""
        pairs = [
            pair
            for step in done.responses
            if step.response_range is not None
            for pair in step.response_range.kvs
        ]
        self._revision = 0
        if not pairs:
            return ""  # it expired: free again
        if pairs[0].value == self._value:
            self._revision = int(pairs[0].mod_revision)
        try:
            text = base64.b64decode(pairs[0].value).decode()
        except ValueError:
            return "another"
        return text.split(" ")[0][:63] or "another"

    # One request, wherever it is answered

    async def _call(self, path: str, body: dict[str, Any], kind: type[T]) -> T:
        if self._user and not self._login:
            await self._log_in()
        try:
            return await self._ask(path, body, kind)
        except _NoLogin as error:
            if not self._user:
                raise _Refused(f"{error} (this etcd wants a user)") from None
        await self._log_in()
        try:
            return await self._ask(path, body, kind)
        except _NoLogin as error:
            raise _Refused(str(error)) from None

    async def _log_in(self) -> None:
        self._login = ""
        mend = f"Write the password of etcd user {self._user} into it, mode 0400."
        # A local file of a few bytes; read each time, so that a changed password is taken.
        password = read_secret(self._password_file, mend).decode("utf-8", "replace")
        body = {"name": self._user, "password": password.rstrip("\r\n")}
        try:
            self._login = (await self._ask("/v3/auth/authenticate", body, _Token)).token
        except _NoLogin as error:
            raise _Refused(str(error)) from None

    async def _ask(self, path: str, body: dict[str, Any], kind: type[T]) -> T:
        if not self._sites:
            tls: ssl.SSLContext | None = None
            for url in self._urls:
                tls = tls or client_tls(url, *self._files)
            self._sites = [Site(url, tls) for url in self._urls]
        sent = msgspec.json.encode(body)
        headers = [("Content-Type", "application/json")]
        if self._login:
            headers.append(("Authorization", self._login))
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._timeout_s
        faults: list[str] = []
        count = len(self._sites)
        for attempt in range(count):
            at = (self._first + attempt) % count
            site = self._sites[at]
            share_s = max((deadline - loop.time()) / (count - attempt), _FIRST_SHARE_S)
            try:
                async with asyncio.timeout(share_s):
                    answer = await site.request("POST", path, body=sent, headers=headers)
                found = _understood(answer, kind)
            except TimeoutError:
                faults.append(f"{site.url}: no answer within {share_s:.1g} s")
            except HttpError as error:
                faults.append(f"{site.url}: {error}")
            except _Refused as error:
                raise _Refused(f"{site.url}: {error}") from None
            except _NoLogin as error:
                raise _NoLogin(f"{site.url}: {error}") from None
            else:
                self._first = at
                return found
        raise _Refused("; ".join(faults))

    def _late(self) -> str:
        return f"{', '.join(self._urls)}: no answer within {self._timeout_s:g} s"


def _understood(answer: Response, kind: type[T]) -> T:
    """The answer's content.

    Raises HttpError where another endpoint may know better, _Refused or _NoLogin else.
    """
    if answer.status == 200:
        try:
            return msgspec.json.decode(answer.body, type=kind)
        except (msgspec.DecodeError, RecursionError):
            raise HttpError("the answer is not etcd's") from None
    try:
        status = msgspec.json.decode(answer.body, type=_Status)
    except (msgspec.DecodeError, RecursionError):
        raise HttpError(f"answered with status {answer.status}") from None
    text = (status.message or status.error).removeprefix("etcdserver: ")[:200]
    if status.code == _UNAUTHENTICATED or any(word in text for word in _STALE_TOKEN):
        raise _NoLogin(text)
    if status.code == _INVALID_ARGUMENT and "user name is empty" in text:
        raise _NoLogin(text)
    if status.code == _UNAVAILABLE or answer.status >= 500:
        raise HttpError(text or f"answered with status {answer.status}")
    raise _Refused(text or f"answered with status {answer.status}")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
