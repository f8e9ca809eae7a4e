"""A bounded look into one cluster's API: GETs one after the other, on one connection, within one deadline.

The server is a tenant's and may be hostile. So everything it can stretch has a bound here: the time of each call and of
all together, the bytes, the pages of a list, its items, and the token that leads to the next page. What an answer holds
is not judged here but for its `kind`; whoever reads it takes single fields and bounds them.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from validator.clock import Clock
from validator.credentials import Credential
from validator.model import Endpoint
from validator.net.dialer import Dialer, Trace
from validator.net.failure import ProbeFailure
from validator.net.http1 import HttpAnswer, HttpConnection
from validator.printable import printable
from validator.probes.readings import refusal
from validator.reasons import Reason

MAX_CALLS = 60
"""Of one look: the doctor makes about a dozen."""

MAX_BYTES = 16 * 1024 * 1024
"""Of all answers of one look; one answer has the transport's own bound of 1 MiB."""

PAGE = 25
"""Objects asked for at once. A pod with its managedFields is 5-30 KB; where a page is over 1 MiB, it is asked for again
with fewer."""

MAX_CONTINUE_CHARS = 4096
"""A real one has about 150."""

ACCEPT = "application/json, */*"
"""As `kubectl get --raw` sends it. `/openid/v1/jwks` gives `application/jwk-set+json` and nothing else, and whoever
takes JSON alone is answered 406."""

_USER = re.compile(r'[Uu]ser "([\w:@./+=-]{1,253})"')


@dataclass(frozen=True, slots=True)
class Call:
    """One GET that was made."""

    path: str
    """With its query."""
    status: int
    """0 where no whole answer came."""
    took_ms: float


class Refused(Exception):  # noqa: N818 - the server's word, not an error of ours
    """403 or 404: the server answers, and this is not for us, or not there."""

    def __init__(self, call: str, status: int, message: str, user: str) -> None:
        super().__init__(message)
        self.call = call
        self.status = status
        self.message = message
        """The server's own, printable and bounded."""
        self.user = user
        """Whom it takes us for, if it says so."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A list, as far as it was read."""

    items: tuple[Mapping[str, Any], ...]
    whole: bool
    """False = there is more than a bound allows, or the server did not go on."""


@dataclass(slots=True)
class Account:
    """What a look has cost so far."""

    calls: list[Call] = field(default_factory=list)
    received_bytes: int = 0


class ClusterReader:
    """One look. Not shared between tasks. `timeout_s` is for the whole of it, from the first call on.

    Errors of `get` and `items`: `Refused` for 403 and 404; `ProbeFailure` for everything else that is no answer.
    """

    def __init__(
        self, endpoint: Endpoint, credential: Credential | None, *, dialer: Dialer, clock: Clock, timeout_s: float
    ) -> None:
        self._endpoint = endpoint
        self._credential = credential
        self._dialer = dialer
        self._clock = clock
        self._timeout_s = timeout_s
        self._until: float | None = None
        self._connection: HttpConnection | None = None
        self._account = Account()
        token = f"Authorization: Bearer {credential.token}\r\n" if credential and credential.token else ""
        self._head = f"Host: {endpoint.authority}\r\nUser-Agent: muster\r\nAccept: {ACCEPT}\r\n{token}\r\n".encode()

    @property
    def calls(self) -> tuple[Call, ...]:
        """What was asked so far, in order."""
        return tuple(self._account.calls)

    async def get(self, path: str, kind: str | None, query: Sequence[tuple[str, str | int]] = ()) -> Mapping[str, Any]:
        """One object of this kind; `None` for documents that have no kind. `path` is quoted by `segments`."""
        return self._object(path, kind, await self._ask(path, query))

    async def items(self, path: str, kind: str, most: int, query: Sequence[tuple[str, str | int]] = ()) -> Listed:
        """Objects of a list of this kind (`PodList`), page after page, at most so many."""
        found: list[Mapping[str, Any]] = []
        following, limit = "", min(PAGE, most)
        while True:
            page = [*query, ("limit", limit), *([("continue", following)] if following else [])]
            try:
                answer = await self._ask(path, page)
            except ProbeFailure as failure:
                if failure.reason is not Reason.ANSWER_TOO_LARGE or limit == 1:
                    raise
                limit = max(1, limit // 5)
                continue
            if answer.status == 410:  # the list has changed so much that it can't be gone on with
                return Listed(tuple(found), whole=False)
            body = self._object(path, kind, answer)
            items = body.get("items") or []
            if not isinstance(items, list):
                raise ProbeFailure(Reason.UNEXPECTED_ANSWER, f"{path}: items is no list")
            found += [item for item in items if isinstance(item, dict)]
            following = _next(body)
            if len(found) >= most or not items or not following:
                return Listed(tuple(found[:most]), whole=not following and len(found) <= most)

    def close(self) -> None:
        """Let go of the connection at once."""
        if self._connection is not None:
            self._connection.abort()
            self._connection = None

    # -- one call

    async def _ask(self, path: str, query: Sequence[tuple[str, str | int]]) -> HttpAnswer:
        target = path + (f"?{urlencode(query, quote_via=quote)}" if query else "")
        if len(self._account.calls) >= MAX_CALLS or self._account.received_bytes >= MAX_BYTES:
            raise ProbeFailure(Reason.ANSWER_TOO_LARGE, "the server's lists do not end within the bounds of one look")
        loop = asyncio.get_running_loop()
        self._until = self._until or loop.time() + self._timeout_s
        started, status = time.perf_counter(), 0
        try:
            answer = await self._exchange(target, self._until)
            status = answer.status
            self._account.received_bytes += len(answer.body)
        finally:
            took_ms = round((time.perf_counter() - started) * 1000, 2)
            self._account.calls.append(Call(target, status, took_ms))
        return self._judged(target, answer)

    async def _exchange(self, target: str, until: float) -> HttpAnswer:
        request = f"GET {self._endpoint.path}{target} HTTP/1.1\r\n".encode() + self._head
        if self._connection is not None and self._connection.usable:
            try:
                return await self._whole(self._connection, request, target, until)
            except ProbeFailure as failure:
                if failure.reason is not Reason.CONNECTION_CLOSED:
                    raise  # a kept connection may have been closed meanwhile; that is asked again below
        certificate = self._credential.client_certificate if self._credential else None
        dialled = await self._dialer.dial(self._endpoint, certificate, Trace(), until)
        self._connection = dialled.connection
        return await self._whole(self._connection, request, target, until)

    async def _whole(self, connection: HttpConnection, request: bytes, target: str, until: float) -> HttpAnswer:
        deadline = min(until, asyncio.get_running_loop().time() + self._dialer.deadlines.http_s)
        try:
            async with asyncio.timeout_at(deadline):
                return await connection.exchange(request)
        except TimeoutError:
            text = f"no whole answer to GET {target} in time"
            raise ProbeFailure(Reason.ANSWER_TIMEOUT, text, unanswered=True) from None

    def _judged(self, target: str, answer: HttpAnswer) -> HttpAnswer:
        match answer.status:
            case 200 | 410:
                return answer
            case 401:
                text = f"the API server answers 401 to GET {target}"
                raise ProbeFailure(Reason.CREDENTIAL_REJECTED, text)
            case 403 | 404 as status:
                message = _message(answer.body)
                user = _USER.search(message)
                text = printable(message, 300) or f"{status} to GET {target}"
                raise Refused(f"GET {target}", status, text, user[1] if user else "")
            case _:
                raise refusal(target, answer, self._clock.now())

    def _object(self, path: str, kind: str | None, answer: HttpAnswer) -> Mapping[str, Any]:
        try:
            body = json.loads(answer.body)
        except (ValueError, RecursionError):
            raise ProbeFailure(Reason.UNEXPECTED_ANSWER, f"the answer to GET {path} is no JSON") from None
        if not isinstance(body, dict):
            raise ProbeFailure(Reason.UNEXPECTED_ANSWER, f"the answer to GET {path} is no object")
        if kind is not None and body.get("kind") != kind:
            text = f"the answer to GET {path} is no {kind} but {printable(str(body.get('kind'))[:200])}"
            raise ProbeFailure(Reason.UNEXPECTED_ANSWER, text)
        return body


def segments(*names: str) -> str:
    """Names as a path: `/a/b`, each quoted, so that none can lead elsewhere."""
    return "".join(f"/{quote(name, safe='')}" for name in names)


def _next(body: Mapping[str, Any]) -> str:
    metadata = body.get("metadata")
    following = metadata.get("continue") if isinstance(metadata, dict) else None
    return following if isinstance(following, str) and len(following) <= MAX_CONTINUE_CHARS else ""


def _message(body: bytes) -> str:
    """`message` of a `Status`."""
    try:
        status = json.loads(body[:65_536])
    except (ValueError, RecursionError):
        return ""
    message = status.get("message") if isinstance(status, dict) else None
    return message[:2000] if isinstance(message, str) else ""
