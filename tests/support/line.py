"""A line to PostgreSQL that a test can cut at an exact byte: between a commit and its answer, or before it was sent."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

SOCKET_NAME = ".s.PGSQL.5432"
"""What libpq and asyncpg look for in a directory."""

ANSWERED = b"s\0\0\0\4Z\0\0\0\5I"
"""How the server's answer to a `fetchval` with a row ends (PortalSuspended, ReadyForQuery: idle); by then it has
committed."""


class Line:
    """A proxy in front of the server's unix socket. Use `open_line`."""

    def __init__(self, target: Path) -> None:
        self._target = str(target)
        self._open: set[asyncio.StreamWriter] = set()
        self.down = False
        """New connections are refused from the client's point of view: accepted and closed."""
        self.cut_at_answer: bytes | None = None
        """Cut the connection on which the server says this; the client never hears it. Works once."""
        self.cut_at_question: bytes | None = None
        """Cut the connection on which the client sends this; the server never hears it. Works once."""
        self.cuts = 0
        self.hold_at_answer: bytes | None = None
        """Keep this, and all that the server says after it, until the line is cut. Works once; `held` is set then."""
        self.held = asyncio.Event()

    def cut(self) -> None:
        """Cut everything."""
        for writer in list(self._open):
            writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.down:
            writer.transport.abort()
            return
        with suppress(OSError):
            back, forth = await asyncio.open_unix_connection(self._target)
            self._open |= {writer, forth}
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pump(reader, forth, writer, answers=False), name="line:questions")
                    group.create_task(self._pump(back, writer, forth, answers=True), name="line:answers")
            finally:
                self._open -= {writer, forth}
                forth.transport.abort()
        writer.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, other: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                marker = self.cut_at_answer if answers else self.cut_at_question
                if marker is not None and marker in data:
                    self.cuts += 1
                    if answers:
                        self.cut_at_answer = None
                    else:
                        self.cut_at_question = None
                    break
                if answers and self.hold_at_answer is not None and self.hold_at_answer in data:
                    self.hold_at_answer = None
                    self.held.set()
                    await reader.read()  # to the end of the connection
                    break
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
        other.transport.abort()


@asynccontextmanager
async def open_line(url: str) -> AsyncIterator[tuple[Line, str]]:
    """A line to the server at `url` (on a unix socket), and the URL that leads through it."""
    parts = urlsplit(url)
    line = Line(Path(parse_qs(parts.query)["host"][0]) / SOCKET_NAME)
    directory = Path(tempfile.mkdtemp(prefix="muster-line-"))
    server = await asyncio.start_unix_server(line.serve, directory / SOCKET_NAME)
    try:
        yield line, parts._replace(query=f"host={quote(str(directory), safe='')}").geturl()
    finally:
        server.close()
        line.cut()
        await server.wait_closed()
        shutil.rmtree(directory)
