"""`muster demo` on a terminal: the whole picture in seconds, and nothing left behind however it ends."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.postgres import private_directory
from tests.support.service import until
from tests.support.terminal import CTRL_C, Terminal, on_a_terminal

START_S = 40.0
"""Ten on an idle machine: certificates, `initdb`, migrations, the first answers."""

MAIN = "muster"


@pytest.fixture
def temporary() -> Iterator[Path]:
    """All that the demo leaves would be in here; open to PostgreSQL's own user where tests run as root."""
    directory = private_directory()
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def demo(temporary: Path, port: int, *options: str) -> tuple[tuple[str, ...], dict[str, str]]:
    listen = f"127.0.0.1:{port}"
    environment = {
        "TMPDIR": str(temporary),
        "MUSTER_RUNTIME_DIR": str(temporary / "run"),
        "MUSTER_KUBECONFIG": "relative/and/absent",  # of a service in earnest: none of the demo's business
        "MUSTER_INTERVAL_S": "nonsense",
    }
    return (MAIN, "demo", "--clusters", "30", "--listen", listen, *options), environment


def started(terminal: Terminal) -> list[psutil.Process]:
    """Wait for the picture; gives every process that belongs to the demo."""
    terminal.until(r"Unreachable", START_S)
    terminal.until(r"Ctrl-C ends", START_S)
    terminal.until(
        r"Telemetry is off until you switch it on; to try that, in another terminal:\s+\. \S+/try\.sh", START_S
    )
    processes = psutil.Process(terminal.process.pid).children(recursive=True)
    commands = [" ".join(process.cmdline()) for process in processes]
    for part in ("postgres", "muster.demo.process", "muster.demo.receiver"):
        assert any(part in command for command in commands), commands
    return [psutil.Process(terminal.process.pid), *processes]


def assert_nothing_is_left(processes: list[psutil.Process], temporary: Path, port: int, within_s: float) -> None:
    def running() -> list[psutil.Process]:
        return [p for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]

    until(lambda: not running(), within_s, "every process of the demo has ended")
    until(lambda: not files(temporary), within_s, "every file of the demo is gone")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=2)


def files(directory: Path) -> list[str]:
    return [str(path.relative_to(directory)) for path in directory.rglob("*") if not path.is_dir()]


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_ctrl_c_leaves_nothing_behind(temporary: Path, port: int) -> None:
    command, environment = demo(temporary, port)
    with on_a_terminal(*command, environment=environment) as terminal:
        processes = started(terminal)
        assert files(temporary)
        terminal.press(CTRL_C)
        assert terminal.ended(15) == 0
        assert_nothing_is_left(processes, temporary, port, 3)
    assert terminal.raw.rfind(b"\x1b[?25h") > terminal.raw.rfind(b"\x1b[?25l"), "the cursor is to be seen again"
    assert terminal.raw.rfind(b"\x1b[?1049l") > terminal.raw.rfind(b"\x1b[?1049h"), "the screen from before is back"
    assert "Traceback" not in terminal.text


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_its_children_end_when_it_is_killed(temporary: Path, port: int) -> None:
    command, environment = demo(temporary, port)
    with on_a_terminal(*command, environment=environment) as terminal:
        processes = started(terminal)
        terminal.process.kill()
        terminal.process.wait()
        assert_nothing_is_left(processes, temporary, port, 15)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_a_taken_port_is_said_and_nothing_is_left(temporary: Path, port: int) -> None:
    command, environment = demo(temporary, port)
    with socket.create_server(("127.0.0.1", port)), on_a_terminal(*command, environment=environment) as terminal:
        assert terminal.ended(START_S) == 1
        assert "choose another address with --listen" in " ".join(terminal.text.split())
    time.sleep(0.1)
    assert not files(temporary)
