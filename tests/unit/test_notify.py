"""sd_notify over a real datagram socket: what the service manager hears, and that nothing depends on it."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest

from muster.hub import Hub, Role
from muster.ops.notify import MAX_STATUS_CHARS, Notifier, keep_told, status_line
from tests.support.hub import MadeUpHub
from validator.clock import HubClock


class Manager:
    """The other end."""

    def __init__(self, path: str) -> None:
        self.address = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + path[1:] if path.startswith("@") else path)
        self.socket.settimeout(5)

    def environ(self, **more: str) -> dict[str, str]:
        return {"NOTIFY_SOCKET": self.address, **more}

    def hear(self) -> dict[str, str]:
        """The next message."""
        return dict(line.split("=", 1) for line in self.socket.recv(4096).decode().splitlines())

    async def hears(self) -> dict[str, str]:
        return await asyncio.to_thread(self.hear)

    def nothing_more(self) -> bool:
        self.socket.setblocking(False)
        with suppress(BlockingIOError):
            return not self.socket.recv(4096)
        return True


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    made = Manager(f"@muster-test-{uuid4()}" if request.param == "abstract" else str(tmp_path / "notify"))
    yield made
    made.socket.close()


@asynccontextmanager
async def told(notifier: Notifier, hub: Hub) -> AsyncIterator[None]:
    task = asyncio.create_task(keep_told(notifier, hub))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def waiting_hub() -> Hub:
    hub = Hub(HubClock(), "0.1.0")
    hub.waiting_for = "database db/muster: Connection refused.\nREADY=1"
    return hub


async def test_an_instance_that_waits_for_its_database_asks_for_time_and_is_not_ready(manager: Manager) -> None:
    hub = waiting_hub()
    async with told(Notifier.from_environment(manager.environ(), os.getpid()), hub):
        first = await manager.hears()
        assert first["EXTEND_TIMEOUT_USEC"] == "60000000"
        assert first["STATUS"].startswith("starting: database db/muster: Connection refused.")
        assert "READY" not in first
        hub.role, hub.waiting_for = Role.STANDBY, "another instance leads; this one is its hot standby"
        while "READY" not in (message := await manager.hears()):
            assert "STATUS" not in message
        assert message["STATUS"] == "standby: another instance leads; this one is its hot standby"


async def test_one_that_leads_is_ready_once_and_says_what_it_watches(manager: Manager) -> None:
    hub = MadeUpHub()
    hub.put("edge-1", hub.answer())
    async with told(Notifier.from_environment(manager.environ(), os.getpid()), hub):
        assert await manager.hears() == {"READY": "1", "STATUS": "leading, 1 cluster"}
        await asyncio.sleep(0.3)
        assert manager.nothing_more()


async def test_the_watchdog_hears_from_the_loop_twice_in_its_time(manager: Manager) -> None:
    notifier = Notifier.from_environment(manager.environ(WATCHDOG_USEC="200000"), os.getpid())
    async with told(notifier, MadeUpHub()):
        assert (await manager.hears())["WATCHDOG"] == "1"
        began = time.monotonic()
        for _ in range(3):
            assert await manager.hears() == {"WATCHDOG": "1"}
        assert 0.2 < time.monotonic() - began < 1.0


def test_a_watchdog_of_another_process_is_not_ours(manager: Manager) -> None:
    environ = manager.environ(WATCHDOG_USEC="200000", WATCHDOG_PID="1")
    assert Notifier.from_environment(environ, 42).watchdog_s is None
    assert Notifier.from_environment({**environ, "WATCHDOG_PID": "42"}, 42).watchdog_s == 0.2
    assert Notifier.from_environment(manager.environ(WATCHDOG_USEC="soon"), 42).watchdog_s is None


def test_a_reload_says_when_it_began_and_that_it_is_over(manager: Manager) -> None:
    notifier = Notifier.from_environment(manager.environ(), os.getpid())
    with notifier.reloading():
        pass
    notifier.ready()
    assert manager.hear() == {"READY": "1"}, "an instance that is not ready must not become so by a reload"
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    for _ in range(2):
        with notifier.reloading():
            message = manager.hear()
            assert message["RELOADING"] == "1"
            assert before <= int(message["MONOTONIC_USEC"]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert manager.hear() == {"READY": "1"}


def test_the_end_is_told(manager: Manager) -> None:
    Notifier.from_environment(manager.environ(), os.getpid()).stopping()
    assert manager.hear() == {"STOPPING": "1", "STATUS": "stopping"}


@pytest.mark.parametrize("address", ["", "vsock:2:1", "relative/path"])
def test_without_a_manager_it_does_nothing(address: str) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1"}, os.getpid())
    assert not notifier.enabled
    assert notifier.watchdog_s is None
    notifier.stopping()


def test_a_manager_that_is_gone_harms_nobody(tmp_path: Path) -> None:
    notifier = Notifier(str(tmp_path / "nobody"))
    notifier.stopping()
    notifier.stopping()


def test_a_status_is_one_bounded_line() -> None:
    hub = waiting_hub()
    hub.waiting_for += "x" * 1000
    line = status_line(hub)
    assert "\n" not in line
    assert len(line) == MAX_STATUS_CHARS
