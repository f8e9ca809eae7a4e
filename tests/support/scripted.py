"""A server on loopback that answers as it is told, byte by byte, and remembers what it was asked."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Asked:
    """One request."""

    method: str
    target: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Answer = Callable[[Asked], Iterable[bytes]]


class Scripted:
    """Its address, and what it was asked so far."""

    def __init__(self, port: int, scheme: str) -> None:
        self.port = port
        self.url = f"{scheme}://127.0.0.1:{port}"
        self.asked: list[Asked] = []


def http(body: bytes | str, content_type: str = "application/json", status: str = "200 OK", more: str = "") -> bytes:
    """A whole answer."""
    body = body.encode() if isinstance(body, str) else body
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body


def problem(kind: str, status: int, detail: str = "No.", **members: Any) -> bytes:
    """A refusal."""
    document = {"type": f"/problems/{kind}", "title": "T", "status": status, "detail": detail, **members}
    return http(json.dumps(document), "application/problem+json", f"{status} X")


def stream(content_type: str) -> bytes:
    """The head of an answer that ends with its connection."""
    return f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nConnection: close\r\n\r\n".encode()


@contextmanager
def scripted(answer: Answer, tls: ssl.SSLContext | None = None, port: int = 0) -> Iterator[Scripted]:
    """One connection, one answer; it is closed after the last piece."""
    with socket.create_server(("127.0.0.1", port), backlog=64) as listener:
        service = Scripted(listener.getsockname()[1], "http" if tls is None else "https")
        open_now: set[socket.socket] = set()

        def serve(connection: socket.socket) -> None:
            with suppress(OSError, ValueError), connection:
                secured = connection if tls is None else tls.wrap_socket(connection, server_side=True)
                with secured:
                    open_now.add(secured)
                    asked = _read(secured)
                    service.asked.append(asked)
                    for piece in answer(asked):
                        secured.sendall(piece)

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield service
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join(5)
            for each in list(open_now):
                with suppress(OSError):
                    socket.socket.shutdown(each, socket.SHUT_RDWR)


def _read(connection: socket.socket) -> Asked:
    with connection.makefile("rb") as file:
        method, target, _ = file.readline().decode().split(" ", 2)
        headers: dict[str, str] = {}
        while (line := file.readline().decode().strip()) != "":
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return Asked(method, target, headers, file.read(int(headers.get("content-length", 0))))
