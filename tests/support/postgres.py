"""A real PostgreSQL for tests: one private server for a test run (one a worker under xdist), one fresh database a test.

Fixtures: `postgres` (the server), `database_url` (a fresh database), `database` (an open pool on it), `own_postgres` (a
server for one test, to be killed).
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
import psutil
import pytest

from store.embedded import EmbeddedPostgres
from store.errors import StoreRefused
from store.pool import Database
from tests.support.need import need


class PostgresServer:
    """A running server. It is synchronous on purpose: it outlives the event loop of any one test."""

    def __init__(self, runner: asyncio.Runner, url: str) -> None:
        self._runner = runner
        self.url = url

    def create_database(self) -> str:
        """Make an empty database; gives its URL."""
        name = f"test_{uuid4().hex}"
        self._runner.run(self._execute(f"CREATE DATABASE {name}"))
        return urlsplit(self.url)._replace(path=f"/{name}").geturl()

    def drop_database(self, url: str) -> None:
        """Remove it, with its sessions."""
        name = urlsplit(url).path.lstrip("/")
        self._runner.run(self._execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))

    async def _execute(self, sql: str) -> None:
        connection = await asyncpg.connect(self.url, timeout=10)
        try:
            await connection.execute(sql, timeout=30)
        finally:
            await connection.close(timeout=5)


def private_directory() -> Path:
    """A directory that PostgreSQL's own user can reach where tests run as root; pytest's `tmp_path` it can't."""
    return Path(tempfile.mkdtemp(prefix="muster-test-"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The server of this worker; its data are lost with it, so it need not wait for the disk."""
    directory = private_directory()
    server = EmbeddedPostgres(directory, settings={"fsync": "off", "max_connections": "100"})
    # A loop factory, so that the runner leaves pytest-asyncio's current loop alone.
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        try:
            try:
                url = runner.run(server.start())
            except StoreRefused as error:
                need(False, error.message)
                raise
            yield PostgresServer(runner, url)
        finally:
            runner.run(server.stop())
            shutil.rmtree(directory)


@pytest.fixture
def database_url(postgres: PostgresServer) -> Iterator[str]:
    """URL of a fresh, empty database."""
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """An open pool on a fresh, empty database."""
    database = await Database.open(database_url)
    yield database
    await database.close()


@pytest.fixture
async def own_postgres() -> AsyncIterator[EmbeddedPostgres]:
    """A server of this test alone, not yet started, for tests that kill, freeze or fill it."""
    directory = private_directory()
    server = EmbeddedPostgres(directory)
    try:
        yield server
    finally:
        await server.stop()
        shutil.rmtree(directory)


def process_tree(pid: int) -> list[psutil.Process]:
    """A server's processes, postmaster first."""
    postmaster = psutil.Process(pid)
    return [postmaster, *postmaster.children(recursive=True)]


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """Stop every process of a server for the length of the block: it accepts connections and says nothing."""
    tree = process_tree(pid)
    for process in tree:
        process.suspend()
    try:
        yield
    finally:
        for process in tree:
            with suppress(psutil.NoSuchProcess):
                process.resume()
