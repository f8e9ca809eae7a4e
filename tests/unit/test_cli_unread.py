"""The end of a pipe, and Ctrl-C: no words, and codes that say nothing about clusters."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.support.cli import MUSTER, break_one, made_up
from tests.support.hub import served
from tests.support.scripted import Asked, scripted


@pytest.mark.parametrize("output", ["table", "wide", "json", "yaml"])
@pytest.mark.parametrize("number", [1, 3000])
async def test_a_reader_that_leaves_is_no_error(output: str, number: int) -> None:
    hub = made_up()
    break_one(hub)
    for each in range(number):
        hub.put(f"c{each}", hub.answer())
    with served(hub) as url:
        read, write = os.pipe()
        process = subprocess.Popen(  # noqa: ASYNC220 - this loop has nothing else to do
            [*MUSTER, "clusters", "-o", output, "--server", url], stdout=write, stderr=subprocess.PIPE
        )
        os.close(write)
        os.close(read)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (141, b"")


async def test_a_reader_that_reads_all_changes_nothing() -> None:
    hub = made_up()
    break_one(hub)
    with served(hub) as url:
        done = subprocess.run(  # noqa: ASYNC221 - the same
            [*MUSTER, "clusters", "--server", url], check=False, capture_output=True, timeout=20
        )
    assert (done.returncode, done.stderr) == (1, b"")


def test_ctrl_c_while_it_waits_ends_it_with_130_and_no_words() -> None:
    def silent(_: Asked) -> Iterator[bytes]:
        time.sleep(20)
        yield b""

    with scripted(silent) as service:
        process = subprocess.Popen(
            [*MUSTER, "clusters", "--server", service.url], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        deadline = time.monotonic() + 10
        while not service.asked and time.monotonic() < deadline:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=5)
    assert (process.returncode, out, err) == (130, b"", b"")
