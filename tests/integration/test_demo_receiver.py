"""The demo goes on without its receiver, and says why there is none."""

from __future__ import annotations

import io
import os
import socket
from contextlib import closing
from pathlib import Path

import pytest

from muster.demo.main import ReceiverNote
from muster.demo.receiving import DemoReceiver
from tests.support.service import until


async def test_a_receiver_that_cannot_start_is_an_answer_and_no_exception(tmp_path: Path) -> None:
    said: list[str] = []
    with closing(DemoReceiver(tmp_path / "receiver", tmp_path / "data")) as receiver:
        why = await receiver.run("http://127.0.0.1:1", lambda: said.append("ready"))
    assert "no PostgreSQL runs in" in why
    assert said == []


def test_its_port_is_given_to_nobody_else_and_a_server_can_have_it(tmp_path: Path) -> None:
    with closing(DemoReceiver(tmp_path / "receiver", tmp_path / "data")) as receiver:
        port = int(receiver.url.rpartition(":")[2])
        with socket.socket() as other, pytest.raises(OSError, match="in use"):
            other.bind(("127.0.0.1", port))
        with socket.create_server(("127.0.0.1", port)) as server:
            assert server.getsockname()[1] == port


def test_what_is_said_below_the_picture() -> None:
    read, write = os.pipe()
    with os.fdopen(read, "rb") as lines, os.fdopen(write, "wb", buffering=0) as child:
        note = ReceiverNote(lines)
        assert note() == ""
        child.write(b'{"script": "/tmp/muster demo/try.sh"}\n')
        until(note, 5, "the receiver is there")
        assert note().endswith("\n  . '/tmp/muster demo/try.sh'")
        child.write(b'{"no_receiver": "it ended with exit code 1"}\n')
        until(lambda: note().endswith("it ended with exit code 1"), 5, "it is not there any more")
        child.close()
    assert ReceiverNote(io.BytesIO())() == ""
