"""A hub's agent listener over TLS that speaks exactly the wire, checks what it is sent, and fails as it is told."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID, uuid4

import trustme
from aiohttp import web

from validator.locations import Location
from validator.model import Check, Outcome
from validator.reasons import Reason, Stage
from validator.schedule import Lane

T = TypeVar("T")
Json = dict[str, Any]

CLUSTER = UUID("0195b6c0-7000-7000-8000-0000000000c1")
MAX_BYTES = 1024 * 1024

VERDICT_FIELDS = {
    *("location_id", "check", "outcome", "reason", "stage", "message", "evidence", "observed_at", "age_s"),
    *("duration_s", "lateness_s", "period_s", "skipped_ticks", "lane", "request"),
}
SYNC_FIELDS = {"request", "location_id", "state", "reason", "message", "listed", "of", "inventory"}
REPORT_FIELDS = {"boot", "sequence", "sent_at", "agent", "dropped", "assignment", "verdicts", "syncs"}


def location_document(location: Location, **changes: Any) -> Json:
    """As the hub sends it."""
    names = ("name", "provider", "account", "container", "environment", "resource_group", "subscription_id", "region")
    fields = {name: getattr(location, name) for name in (*names, "endpoint", "path_style", "write_probe")}
    return {"id": str(location.id), **fields, **changes}


@dataclass(slots=True)
class HubDouble:
    """One hub. `fail("report", "503", 3)` makes the next three reports fail so."""

    ca: trustme.CA
    cluster: UUID = CLUSTER
    url: str = ""
    document: Json = field(default_factory=dict)
    reports: list[Json] = field(default_factory=list)
    """Those that were taken, each once."""
    duplicates: int = 0
    polls: list[dict[str, str]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    """What the agent did that the wire does not allow: must stay empty."""
    _faults: dict[str, deque[str]] = field(default_factory=lambda: {"assignment": deque(), "report": deque()})
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _seen: set[tuple[str, int]] = field(default_factory=set)
    _version: int = 0
    _port: int = 0
    _runner: web.ServerRunner | None = None
    _told: asyncio.Task[None] | None = None

    # -- what it wants

    def assign(self, *locations: Location | Json, requests: Sequence[Json] | None = None, **changes: Any) -> None:
        """A new assignment; of the one before only what is named here changes, but for the locations."""
        self._version += 1
        usual = {
            "hub_id": str(uuid4()),
            "cluster": {"id": str(self.cluster), "name": "c1"},
            "interval_s": 900,
            "timeout_s": 5,
            "heartbeat_s": 0.2,
            "requests": [],
        }
        documents = [each if isinstance(each, dict) else location_document(each) for each in locations]
        self.document = usual | self.document | {"version": f"v{self._version}", "locations": documents} | changes
        if requests is not None:
            self.document["requests"] = list(requests)
        self._tell()

    def ask(self, location_id: UUID, kind: str = "validate") -> str:
        """Put a request; gives its id."""
        request = {"id": str(uuid4()), "kind": kind, "location_id": str(location_id)}
        self._requests([*self.document["requests"], request])
        return request["id"]

    def withdraw(self, request_id: str) -> None:
        self._requests([each for each in self.document["requests"] if each["id"] != request_id])

    def fail(self, what: str, how: str, times: int = 1) -> None:
        """The next answers to `assignment` or `report`."""
        self._faults[what].extend([how] * times)

    def mend(self) -> None:
        """No more faults."""
        for faults in self._faults.values():
            faults.clear()

    # -- what it was told

    @property
    def verdicts(self) -> list[Json]:
        """In the order in which they came."""
        return [verdict for report in self.reports for verdict in report["verdicts"]]

    @property
    def syncs(self) -> list[Json]:
        return [sync for report in self.reports for sync in report["syncs"]]

    def about(self, location_id: UUID, check: str = "location") -> list[Json]:
        """Verdicts of one check of one location."""
        return [v for v in self.verdicts if (v["location_id"], v["check"]) == (str(location_id), check)]

    async def until(self, condition: Callable[[], T], within_s: float = 10.0) -> T:
        """Wait for something that reports or polls bring about; gives what is true then."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s), self._changed:
                await self._changed.wait_for(condition)
        found = condition()
        assert found, (self.wrong, self.reports[-3:], self.polls[-3:])
        return found

    # -- serving

    @asynccontextmanager
    async def running(self) -> AsyncIterator[HubDouble]:
        """Until the block ends; it may be stopped and started within."""
        await self.start()
        try:
            yield self
        finally:
            await self.stop()
        assert self.wrong == []

    async def start(self) -> None:
        """Listen, where it has listened before."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ca.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        self._runner = web.ServerRunner(web.Server(self._serve), shutdown_timeout=0.05)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=context).start()
        self._port = self._runner.addresses[0][1]
        self.url = f"https://localhost:{self._port}"

    async def stop(self) -> None:
        """Vanish."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        self.tokens.append(request.headers.get("Authorization", "").removeprefix("Bearer "))
        if request.headers.get("Muster-Cluster") != str(self.cluster):
            self.wrong.append("Muster-Cluster")
        what = request.path.rpartition("/")[2]
        self._expect(request.path in {"/agent/v1/assignment", "/agent/v1/report"}, request.path)
        how = self._faults[what].popleft() if self._faults[what] else ""
        answer = self._report if what == "report" else self._assignment
        body = await request.content.read()
        if what == "assignment":
            self.polls.append(dict(request.query))
            self._tell()
        try:
            return await self._failing(how, request) or await answer(request, body, lost=how == "lost")
        finally:
            self._tell()

    async def _failing(self, how: str, request: web.BaseRequest) -> web.StreamResponse | None:
        match how:
            case "" | "lost":
                return None
            case "hang":
                await asyncio.sleep(60)
            case "slow":
                await asyncio.sleep(0.3)
                return None
            case "garbage":
                return web.Response(body=b"\xff\x00{", content_type="application/json")
            case "redirect":
                return web.Response(status=307, headers={"Location": "https://localhost:1/agent/v1/report"})
            case "huge":
                response = web.StreamResponse()
                await response.prepare(request)
                with suppress(ConnectionError):
                    for _ in range(100):
                        await response.write(b" " * 2**20)
                return response
        retry = {"Retry-After": "0"} if how in {"503", "429"} else None
        problem = {"type": "/problems/x", "title": "No", "status": int(how), "detail": "said so"}
        return web.Response(
            status=int(how), body=json.dumps(problem), headers=retry, content_type="application/problem+json"
        )

    async def _assignment(self, request: web.BaseRequest, body: bytes, *, lost: bool) -> web.StreamResponse:
        self._expect(request.method == "GET" and not body, "assignment is asked with GET")
        self._expect(set(request.query) <= {"known", "wait_s"}, f"query {dict(request.query)}")
        wait_s, known = float(request.query["wait_s"]), request.query.get("known")
        self._expect(0 <= wait_s <= 60, "wait_s")
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s), self._changed:
                await self._changed.wait_for(lambda: self.document.get("version") not in {known, None})
        if not self.document or self.document["version"] == known:
            return web.Response(status=304)
        return web.json_response(self.document | {"now": time.time()})

    async def _report(self, request: web.BaseRequest, body: bytes, *, lost: bool) -> web.StreamResponse:
        self._expect(request.method == "POST", "report is sent with POST")
        self._expect(request.headers.get("Content-Type") == "application/json", "Content-Type")
        self._expect("Content-Encoding" not in request.headers, "Content-Encoding")
        self._expect(len(body) <= MAX_BYTES, f"{len(body)} bytes")
        report = json.loads(body)
        self._check(report)
        key = (report["boot"], report["sequence"])
        duplicate = key in self._seen
        self.duplicates += duplicate
        if not duplicate:
            self._seen.add(key)
            self.reports.append(report)
            answered = {v["request"] for v in report["verdicts"]}
            answered |= {s["request"] for s in report["syncs"] if s["state"] != "InProgress"}
            left = [each for each in self.document.get("requests", ()) if each["id"] not in answered]
            if left != self.document.get("requests", []):
                self._requests(left)
        if lost:
            assert request.transport is not None
            request.transport.abort()
        answer = {"accepted": len(report["verdicts"]), "refused": [], "duplicate": duplicate}
        return web.json_response(answer | {"assignment": self.document.get("version")})

    def _check(self, report: Json) -> None:
        self._expect(set(report) == REPORT_FIELDS, f"report {set(report) ^ REPORT_FIELDS}")
        UUID(report["boot"])
        self._expect(isinstance(report["sequence"], int) and report["sequence"] >= 1, "sequence")
        last = [each["sequence"] for each in self.reports if each["boot"] == report["boot"]][-1:]
        self._expect(not last or report["sequence"] in {last[0], last[0] + 1}, f"sequence after {last}")
        self._expect(len(report["verdicts"]) <= 500 and len(report["syncs"]) <= 10, "too many")
        for verdict in report["verdicts"]:
            self._expect(set(verdict) == VERDICT_FIELDS, f"verdict {set(verdict) ^ VERDICT_FIELDS}")
            self._words(verdict, (("check", Check), ("outcome", Outcome), ("lane", Lane)))
            self._words({k: v for k, v in verdict.items() if v is not None}, (("reason", Reason), ("stage", Stage)))
            self._expect(verdict["age_s"] >= 0 and verdict["period_s"] > 0, f"times {verdict}")
        for sync in report["syncs"]:
            self._expect(set(sync) == SYNC_FIELDS, f"sync {set(sync) ^ SYNC_FIELDS}")
            self._expect(sync["state"] in {"InProgress", "Succeeded", "Failed"}, "state")

    def _words(self, of: Json, kinds: Iterable[tuple[str, Any]]) -> None:
        for key, kind in kinds:
            self._expect(key not in of or of[key] in list(kind), f"{key} {of.get(key)}")

    def _expect(self, condition: object, what: str) -> None:
        if not condition:
            self.wrong.append(what)

    def _requests(self, requests: list[Json]) -> None:
        self._version += 1
        self.document |= {"version": f"v{self._version}", "requests": requests}
        self._tell()

    def _tell(self) -> None:
        async def tell() -> None:
            async with self._changed:
                self._changed.notify_all()

        self._told = asyncio.get_running_loop().create_task(tell(), name="hub-double:tell")
