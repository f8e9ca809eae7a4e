"""What the commands do when nobody answers, or somebody else does."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.cli import made_up, muster
from tests.support.hub import MadeUpHub, served


@pytest.fixture
async def hub() -> MadeUpHub:
    return made_up()


@pytest.fixture
def url(hub: MadeUpHub) -> Iterator[str]:
    with served(hub) as url:
        yield url


def test_a_service_that_is_not_there_ends_with_3_and_the_way_out() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{unused.getsockname()[1]}"
        for command in (["status"], ["clusters"], ["cluster", "x"], ["history"]):
            result = muster(*command, "--server", server)
            assert result.exit_code == 3
            assert f"{server}: Connection refused" in result.stderr
            assert "muster run" in result.stderr
            assert "MUSTER_SERVER" in result.stderr


def test_a_standby_ends_with_3_and_says_what_it_waits_for(hub: MadeUpHub, url: str) -> None:
    hub.stand_by("another instance leads")
    result = muster("status", server=url)
    assert result.exit_code == 3
    assert "standing by: another instance leads" in result.stderr


@pytest.mark.parametrize(
    "server", ["localhost", "ftp://x", "http://", "http://a:b@127.0.0.1", "http://x:y", "http://x/path"]
)
def test_a_server_that_is_no_url_ends_with_2(server: str) -> None:
    result = muster("status", "--server", server)
    assert result.exit_code == 2
    assert "--server or MUSTER_SERVER" in result.stderr or "--token-file" in result.stderr
    assert "a:b" not in result.stderr


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
        b"",
    ],
)
def test_something_else_on_the_port_ends_with_3(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def reply() -> None:
            connection, _ = other.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        result = muster("status", "--server", f"http://127.0.0.1:{other.getsockname()[1]}")
        thread.join()
    assert result.exit_code == 3
    assert result.stderr.startswith("muster: the service is not reachable")
    assert "Traceback" not in result.output
