"""A TCP relay before a server: counts what the client sends, and may hang or refuse."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Final

PIECE: Final = 16 * 1024


class Mode(Enum):
    """What becomes of a connection."""

    PASS = "pass"
    HANG = "hang"
    """Taken, read and counted; the server hears of nothing."""
    HANG_ANSWERS = "hang-answers"
    """The server hears all and nothing comes back."""
    REFUSE = "refuse"
    """Reset at once."""


class Relay:
    """On a port of its own, before a server's port `to`."""

    def __init__(self, to: int | None) -> None:
        """None: it is an HTTP proxy, and goes where CONNECT says; `heads` are what it was asked with."""
        self._to = to
        self.heads: list[bytes] = []
        self.mode = Mode.PASS
        self.connections = 0
        self.bytes = 0
        """From clients, as they came out of the socket."""
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True, name="relay").start()

    def close(self) -> None:
        self._listener.close()

    def quiet_for(self, seconds: float) -> bool:
        """Whether nobody connects and nothing is sent in that time."""
        before = (self.connections, self.bytes)
        time.sleep(seconds)
        return (self.connections, self.bytes) == before

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(client, self.mode), daemon=True, name="relayed").start()

    def _serve(self, client: socket.socket, mode: Mode) -> None:
        with client, suppress(OSError):
            if mode is Mode.REFUSE:
                return
            if mode is Mode.HANG:
                self._count(client, None)
                return
            to = self._asked_for(client) if self._to is None else self._to
            with socket.create_connection(("127.0.0.1", to), 5) as server:
                server.settimeout(None)
                threading.Thread(target=self._back, args=(server, client, mode), daemon=True, name="back").start()
                self._count(client, server)

    def _asked_for(self, client: socket.socket) -> int:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(1)
        self.heads.append(head)
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return int(head.split(b" ")[1].rpartition(b":")[2])

    def _count(self, client: socket.socket, server: socket.socket | None) -> None:
        while piece := client.recv(PIECE):
            self.bytes += len(piece)
            if server is not None:
                server.sendall(piece)
        if server is not None:
            server.shutdown(socket.SHUT_WR)

    def _back(self, server: socket.socket, client: socket.socket, mode: Mode) -> None:
        with suppress(OSError):
            while piece := server.recv(PIECE):
                if mode is not Mode.HANG_ANSWERS:
                    client.sendall(piece)
            client.shutdown(socket.SHUT_WR)


@contextmanager
def relay(to: int | None) -> Iterator[Relay]:
    """For the length of the block."""
    made = Relay(to)
    try:
        yield made
    finally:
        made.close()
