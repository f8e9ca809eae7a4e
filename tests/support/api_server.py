"""A TLS API server that answers from a table: objects, lists with selectors and pages, refusals, and misbehaviour."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from muster.demo.pki import Authority, Certificate
from validator.model import Endpoint

TOKEN = "a-token-of-the-operator-0123456789"

Query = dict[str, str]
Answer = tuple[int, bytes]
Handler = Callable[[Query], Answer | None]
"""None = never answer."""


def status(code: int, reason: str, message: str) -> Answer:
    """A refusal as kube-apiserver 1.36 writes it."""
    body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message}
    return code, json.dumps({**body, "reason": reason, "details": {}, "code": code}).encode()


def forbidden(resource: str) -> Handler:
    text = f'{resource} is forbidden: User "oidc:jane@acme.example" cannot list resource "{resource}" in API group ""'
    return lambda _: status(403, "Forbidden", text)


@dataclass
class ApiServer:
    """What it holds, and what it was asked."""

    endpoint: Endpoint
    objects: dict[str, Handler] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    connections: int = 0

    def put(self, path: str, item: dict[str, Any] | Handler) -> None:
        """One object at a path, or whatever the handler says."""
        if callable(item):
            self.objects[path] = item
        else:
            self.objects[path] = lambda _: (200, json.dumps(item).encode())

    def list(self, path: str, kind: str, items: list[dict[str, Any]]) -> None:
        """A collection that is filtered and paged as the real one is."""

        def answer(query: Query) -> Answer:
            chosen = [item for item in items if _matches(item, query.get("fieldSelector", ""))]
            start, limit = int(query.get("continue", "0")), int(query.get("limit", "500"))
            page, rest = chosen[start : start + limit], len(chosen) - start - limit
            metadata: dict[str, Any] = {"resourceVersion": "513"}
            if rest > 0:
                metadata |= {"continue": str(start + limit), "remainingItemCount": rest}
            return 200, json.dumps({"kind": kind, "apiVersion": "v1", "metadata": metadata, "items": page}).encode()

        self.objects[path] = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                _, target, _ = head.split(" ", 2)
                self.asked.append(target)
                answer = self._answer(target, head)
                if answer is None:
                    await asyncio.sleep(60)
                    return
                code, body = answer
                kind = "Content-Type: application/json"
                writer.write(f"HTTP/1.1 {code} X\r\n{kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.transport.abort()

    def _answer(self, target: str, head: str) -> Answer | None:
        if f"Authorization: Bearer {TOKEN}\r\n" not in head:
            return status(401, "Unauthorized", "Unauthorized")
        url = urlsplit(target)
        handler = self.objects.get(url.path)
        if handler is None:
            return status(404, "NotFound", f'"{url.path.rpartition("/")[2]}" not found')
        return handler(dict(parse_qsl(url.query)))


def _matches(item: dict[str, Any], selector: str) -> bool:
    path, _, wanted = selector.partition("=")
    if not path:
        return True
    for key in path.split("."):
        item = item.get(key, {})
    return item == wanted  # type: ignore[comparison-overlap]


@asynccontextmanager
async def api_server() -> AsyncIterator[ApiServer]:
    """One that listens on loopback until the block ends."""
    authority = Authority("double", datetime.now(UTC))
    pair = authority.serving(Certificate.GOOD, "127.0.0.1", "api.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    descriptor = os.memfd_create("api-server")
    try:
        os.write(descriptor, pair.bundle)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    double = ApiServer(Endpoint("127.0.0.1", 0, authority.pem))
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await double.serve(reader, writer)
        except asyncio.CancelledError:
            pass  # ours, below: streams of Python 3.11 would report it as an error
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    double.endpoint = Endpoint("127.0.0.1", server.sockets[0].getsockname()[1], authority.pem)
    try:
        yield double
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
