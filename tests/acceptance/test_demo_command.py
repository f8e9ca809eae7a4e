"""`muster demo` at a terminal: what it shows, and that nothing is left of it, however it ends."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.support.service import environment, own_directory, until, users_of
from tests.support.terminal import Terminal, at_a_terminal

ENDED_S = 10.0

CLUSTERS = 24


@contextmanager
def demo(directory: Path, *options: str) -> Iterator[Terminal]:
    """The demo, with its temporary files in this directory."""
    options = ("--clusters", str(CLUSTERS), *(options or ("--listen", "127.0.0.1:0")))
    environ = environment({"TMPDIR": str(directory)})
    with at_a_terminal(sys.executable, "-m", "muster", "demo", *options, environ=environ) as terminal:
        yield terminal


def shown(terminal: Terminal) -> bool:
    """The screen, with an answer of every cluster."""
    text = terminal.text()
    return f"{CLUSTERS} clusters · leading" in text and "Ctrl-C ends" in text and "CertificateExpired" in text


def assert_nothing_is_left(tree: list[psutil.Process], directory: Path) -> None:
    _, alive = psutil.wait_procs(tree, timeout=ENDED_S)
    assert alive == []
    until(lambda: not users_of(directory), ENDED_S, "nobody uses its directory")
    assert list(directory.iterdir()) == []


def test_it_shows_the_fleet_and_ctrl_c_leaves_nothing_behind() -> None:
    with own_directory() as directory, demo(directory) as terminal:
        until(lambda: shown(terminal), 30, "the fleet is on the screen")
        tree = terminal.tree()
        assert len(tree) > 4
        terminal.press_ctrl_c()
        assert terminal.wait(ENDED_S) == 0
        assert_nothing_is_left(tree, directory)
        assert "Traceback" not in terminal.text()


@pytest.mark.parametrize("after_s", [0.2, 0.6, 1.0, 1.6])
def test_ctrl_c_while_it_starts_leaves_nothing_behind(after_s: float) -> None:
    with own_directory() as directory, demo(directory) as terminal:
        until(lambda: "Starting" in terminal.text(), 10, "it starts")
        time.sleep(after_s)
        tree = terminal.tree()
        terminal.press_ctrl_c()
        assert terminal.wait(ENDED_S) == 0
        assert_nothing_is_left(tree, directory)
        assert "Traceback" not in terminal.text()


def test_sigterm_ends_it_as_well() -> None:
    with own_directory() as directory, demo(directory) as terminal:
        until(lambda: shown(terminal), 30, "the fleet is on the screen")
        tree = terminal.tree()
        terminal.process.terminate()
        assert terminal.wait(ENDED_S) == 0
        assert_nothing_is_left(tree, directory)


def test_kill_9_leaves_nothing_behind() -> None:
    with own_directory() as directory, demo(directory) as terminal:
        until(lambda: shown(terminal), 30, "the fleet is on the screen")
        tree = terminal.tree()
        os.kill(terminal.process.pid, signal.SIGKILL)
        terminal.wait(ENDED_S)
        assert_nothing_is_left(tree, directory)


def test_a_port_in_use_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, own_directory() as directory:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with demo(directory, "--listen", address) as terminal:
            assert terminal.wait(30) == 1
            text = " ".join(terminal.text().split())
            assert f"cannot listen on {address}" in text
            assert "--listen" in text
            assert "Traceback" not in text
            assert_nothing_is_left([], directory)
