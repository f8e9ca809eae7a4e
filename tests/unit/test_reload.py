"""Settings while the service runs: what can change does, what can't is named, and what is broken changes nothing."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from muster.config.changes import change
from muster.reload import Reloader
from muster.settings import Loading, Settings, load_settings

POLL_S = 0.03

Applied = list[tuple[Settings, frozenset[str]]]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MUSTER_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "muster.toml"
    path.write_text("retention_days = 30\n")
    return path


@pytest.fixture
def logs() -> Iterator[list[EventDict]]:
    with capture_logs() as captured:
        yield captured


@asynccontextmanager
async def reloading(loading: Loading, poll_s: float = POLL_S) -> AsyncIterator[Applied]:
    applied: Applied = []
    reloader = Reloader(
        loading.settings(),
        loading.settings,
        lambda settings, changed: applied.append((settings, changed)),
        file=loading.file,
        poll_s=poll_s,
    )
    task = asyncio.create_task(reloader.run(), name="settings")
    await asyncio.sleep(0)
    try:
        yield applied
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


def events(logs: list[EventDict]) -> list[str]:
    return [log["event"] for log in logs]


def write(file: Path, text: str) -> None:
    """Into the file that is there."""
    file.write_text(text)


def remove(file: Path) -> None:
    file.unlink()


def replace(file: Path, text: str) -> None:
    """As editors and Kubernetes do: another inode."""
    other = file.with_suffix(".new")
    other.write_text(text)
    other.replace(file)


async def test_a_changed_file_is_taken_up(file: Path, logs: list[EventDict]) -> None:
    async with reloading(Loading(file)) as applied:
        replace(file, 'retention_days = 60\nlog_level = "debug"\n')
        await until(lambda: applied)
        ((settings, changed),) = applied
        assert (settings.retention_days, settings.log_level) == (60, "debug")
        assert changed == {"retention_days", "log_level"}
        replace(file, "retention_days = 60\n")
        await until(lambda: len(applied) == 2)
        assert applied[1][1] == {"log_level"}
        assert applied[1][0].log_level == "info"


async def test_sighup_reloads_at_once(file: Path, logs: list[EventDict]) -> None:
    async with reloading(Loading(file), poll_s=60) as applied:
        replace(file, "retention_days = 60\n")
        os.kill(os.getpid(), signal.SIGHUP)
        await until(lambda: applied)
        assert applied[0][0].retention_days == 60


async def test_what_is_broken_is_logged_once_and_the_old_settings_stay(file: Path, logs: list[EventDict]) -> None:
    async with reloading(Loading(file)) as applied:
        replace(file, "retention_days = 60\nlog_level = 'loud'\n")
        await until(lambda: logs)
        await asyncio.sleep(5 * POLL_S)
        assert not applied
        (log,) = logs
        assert log["log_level"] == "error"
        assert f"{file}:2: log_level: " in log["problems"]
        remove(file)
        await until(lambda: len(logs) == 2)
        assert "does not exist" in logs[1]["problems"]
        replace(file, "retention_days = 60\n")
        await until(lambda: applied)
        assert applied[0][0].retention_days == 60


async def test_what_needs_a_restart_is_named_with_the_reason(file: Path, logs: list[EventDict]) -> None:
    async with reloading(Loading(file)) as applied:
        replace(file, 'retention_days = 60\ninterval_s = 60\nlisten = "127.0.0.1:1"\n')
        await until(lambda: len(logs) == 3)
        assert [(log["setting"], log["log_level"]) for log in logs[1:]] == [
            ("interval_s", "warning"),
            ("listen", "warning"),
        ]
        assert all(log["why"] for log in logs[1:])
        ((settings, changed),) = applied
        assert changed == {"retention_days"}
        assert (settings.retention_days, settings.interval_s) == (60, 30.0)


async def test_a_file_that_is_still_being_written_is_waited_for(file: Path, logs: list[EventDict]) -> None:
    async with reloading(Loading(file), poll_s=0.2) as applied:
        for number in range(12):
            write(file, "#" * number)  # good TOML, and every setting at its default
            await asyncio.sleep(0.05)
        write(file, "retention_days = 60\n" + "#" * 20)
        await until(lambda: applied)
        assert [settings.retention_days for settings, _ in applied] == [60]


async def test_new_tls_files_are_told_even_if_the_settings_are_the_same_or_broken(
    file: Path, tmp_path: Path, logs: list[EventDict]
) -> None:
    for name in ("crt", "key"):
        write(tmp_path / name, "old")
    write(file, 'tls_certificate = "crt"\ntls_key = "key"\n')
    async with reloading(Loading(file)) as applied:
        replace(tmp_path / "crt", "new one")
        await until(lambda: applied)
        assert applied[0][1] == {"tls_certificate"}
        write(file, "nonsense")
        await until(lambda: "the new settings make no sense; the old ones stay" in events(logs))
        replace(tmp_path / "key", "new one")
        await until(lambda: len(applied) == 2)
        assert applied[1][1] == {"tls_key"}


async def test_a_file_that_comes_later_is_found(tmp_path: Path, logs: list[EventDict]) -> None:
    loading = Loading()
    loading.file = tmp_path / "later.toml"  # the usual place belongs to the machine
    async with reloading(loading) as applied:
        replace(tmp_path / "later.toml", "retention_days = 60\n")
        await until(lambda: applied)
        remove(tmp_path / "later.toml")
        await until(lambda: "the new settings make no sense; the old ones stay" in events(logs))
        assert len(applied) == 1, "a file that was read is not taken for one that never was"


def test_a_part_that_would_not_go_together_is_not_taken_up() -> None:
    wide = load_settings(listen="0.0.0.0:1", behind_proxy=True, hosts=["muster.example.com"])
    decided = change(wide, load_settings(log_level="debug"))
    assert decided.settings == wide
    assert not decided.applied
    assert decided.waiting == {"listen", "behind_proxy", "hosts", "log_level"}


def test_tls_does_not_end_while_the_socket_is_open() -> None:
    tls = load_settings(listen="10.0.0.1:1", tls_certificate=Path("/c"), tls_key=Path("/k"))
    decided = change(tls, load_settings(listen="10.0.0.1:1", behind_proxy=True))
    assert decided.settings == tls
    assert decided.waiting == {"tls_certificate", "tls_key", "behind_proxy"}
    other = change(tls, load_settings(listen="10.0.0.1:1", tls_certificate=Path("/c2"), tls_key=Path("/k2")))
    assert other.applied == {"tls_certificate", "tls_key"}
