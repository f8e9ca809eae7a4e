"""Batches sent on to another OTLP backend, in the order in which they came.

The queue is a column of the batches: it survives a restart and costs nothing more. It is bounded, and what falls out of
it, or is refused by the backend, is counted as a dead letter; the batch itself stays until its retention ends. One
request is in flight, as on the way here; what an answer means is the same table (`wire/verdicts.py`).
"""

from __future__ import annotations

import asyncio
import ipaddress
from dataclasses import dataclass
from typing import NoReturn

import aiohttp
import structlog
from yarl import URL

from store.errors import StoreError
from uplink.receiver.batches import DEAD, Batches
from uplink.receiver.headers import Headers, HeadersError, HeadersFile
from uplink.receiver.storing import Store
from uplink.wire.bounds import MAX_ANSWER_BYTES
from uplink.wire.otlp import CONTENT_TYPE, ENCODING, Signal
from uplink.wire.retry import retry_after_s
from uplink.wire.verdicts import Act, verdict
from validator.clock import Clock
from validator.file_thread import FileThread

_log = structlog.get_logger(__name__)

MAX_WAITING = 10_000
"""Batches; at one a minute of a hundred installations an outage of 100 minutes."""

TIMEOUT_S = 10.0
"""For one exchange, as OTLP's exporters have it."""

IDLE_S = 5.0
"""Between two looks at an empty queue: what another process has imported tells nobody."""

FIRST_PAUSE_S = 1.0
MAX_PAUSE_S = 300.0

READ_S = 5.0
"""For the file of headers."""

POISON = 8
"""Failures of one batch, not counting a backend that is away, before it is a dead letter."""

FORWARDED = "forwarded"
DEAD_LETTERS = "dead letters"
"""Names of what is counted."""


@dataclass(frozen=True, slots=True)
class _Answer:
    act: Act
    wait_s: float | None
    spoke: bool
    """The backend has answered, whatever it said."""


class Forwarder:
    """`endpoint` is the backend's base URL, `headers` what it wants besides.

    Raises `ValueError` if it is none, or has a password in it, and `HeadersError`.
    """

    def __init__(
        self,
        store: Store,
        batches: Batches,
        endpoint: str,
        clock: Clock,
        headers: HeadersFile | None = None,
        *,
        max_waiting: int = MAX_WAITING,
        first_pause_s: float = FIRST_PAUSE_S,
    ) -> None:
        base = URL(endpoint)
        if base.scheme not in {"http", "https"} or not base.host or base.query_string or base.fragment:
            raise ValueError("the backend has to be a base URL, such as http://collector:4318")
        if base.raw_user is not None or base.raw_password is not None:
            raise ValueError("the backend's URL has a user or password in it: give it as a header, in a file")
        self._base = base
        self._file = headers
        self._files = FileThread("receiver-headers")
        self._complaint = ""
        self._headers = Headers() if headers is None else headers.read()
        self._store = store
        self._batches = batches
        self._clock = clock
        self._max_waiting = max_waiting
        self._first_pause_s = first_pause_s

    async def run(self) -> NoReturn:
        """Send for ever. The backend being away, or the database, is waited for."""
        pause_s, failures, away = self._first_pause_s, 0, False
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        _log.info("forwarding begins", backend=str(self._base.origin()), headers=self._headers.masked)
        if self._headers.values and self._base.scheme == "http" and not _is_this_host(self._base):
            _log.warning("headers for the backend travel unencrypted: use https", backend=str(self._base.origin()))
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            while True:
                try:
                    answer = await self._send_next(session, failures)
                except StoreError as error:
                    _log.warning("forwarding waits for the database", error=error.message)
                    answer = _Answer(Act.WAIT, None, spoke=False)
                if answer is None:
                    await self._nothing_left()
                    continue
                if answer.act in (Act.DONE, Act.DROP, Act.HALVE):
                    if away:
                        _log.info("forwarding goes on", backend=str(self._base.origin()))
                    pause_s, failures, away = self._first_pause_s, 0, False
                    continue
                if not away:
                    _log.warning("forwarding is held up", backend=str(self._base.origin()), answer=answer.act.value)
                away = True
                failures += answer.spoke and answer.act is Act.FAILED
                await asyncio.sleep(pause_s if answer.wait_s is None else answer.wait_s)
                pause_s = min(pause_s * 2, MAX_PAUSE_S)
                await self._read_headers()

    async def _read_headers(self) -> None:
        """Once more: its key may have been replaced. What can't be read leaves what was read before."""
        if self._file is None:
            return
        try:
            found = await self._files.run(self._file.read, READ_S)
        except (HeadersError, TimeoutError) as error:
            complaint = str(error) or f"{self._file.path} could not be read in {READ_S:g} s"
            if complaint != self._complaint:
                _log.warning("headers for the backend can't be read: those before stay", error=complaint)
            self._complaint = complaint
            return
        self._complaint = ""
        if found != self._headers:
            self._headers = found
            _log.info("headers for the backend have changed", headers=found.masked)

    async def _nothing_left(self) -> None:
        self._batches.arrived.clear()
        try:
            async with asyncio.timeout(IDLE_S):
                await self._batches.arrived.wait()
        except TimeoutError:
            return

    async def _send_next(self, session: aiohttp.ClientSession, failures: int) -> _Answer | None:
        """One batch, if there is one. No transaction is open while it is on its way."""
        db, sql = self._store.db, self._store.sql
        if buried := await db.fetchval(sql["bury_waiting"], self._max_waiting):
            await self._store.count(DEAD_LETTERS, buried)
            _log.warning("the queue of the backend is full", dead_letters=buried)
        row = await db.fetchrow(sql["next_waiting"])
        if row is None:
            return None
        answer = await self._post(session, Signal(row["signal"]), row["body"])
        if answer.act is Act.FAILED and answer.spoke and failures + 1 >= POISON:
            answer = _Answer(Act.DROP, None, spoke=True)
        if answer.act in (Act.DONE, Act.DROP, Act.HALVE):
            dead = answer.act is not Act.DONE
            await db.execute(sql["forwarded"], row["installation_id"], row["batch_id"], DEAD if dead else None)
            await self._store.count(DEAD_LETTERS if dead else FORWARDED)
            if dead:
                _log.warning("a batch is a dead letter", batch=str(row["batch_id"]))
        return answer

    async def _post(self, session: aiohttp.ClientSession, signal: Signal, body: bytes) -> _Answer:
        headers = {**self._headers.values, "Content-Type": CONTENT_TYPE, "Content-Encoding": ENCODING}
        url = self._base / signal.path.lstrip("/")
        try:
            async with session.post(url, data=body, headers=headers, allow_redirects=False) as response:
                await response.content.read(MAX_ANSWER_BYTES)
                act = verdict(response.status, response.headers.get("Content-Type"))
                asked = response.headers.get("Retry-After")
                return _Answer(act, retry_after_s(asked, self._clock.now()) if asked else None, spoke=True)
        except (aiohttp.ClientError, OSError, ValueError):  # TimeoutError is an OSError
            return _Answer(Act.WAIT, None, spoke=False)


def _is_this_host(url: URL) -> bool:
    try:
        return url.host == "localhost" or ipaddress.ip_address(url.host or "").is_loopback
    except ValueError:
        return False
