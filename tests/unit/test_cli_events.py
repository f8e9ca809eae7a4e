"""`muster events` against the real API, and against servers that break off: each event once, in order."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from muster.api.sse import transition_event
from muster.cli.client import Client
from muster.cli.following import MOST_S, Follower
from tests.support.cli import MUSTER, muster
from tests.support.hub import MadeUpHub, served
from tests.support.listening import change
from tests.support.scripted import Asked, problem, scripted, stream

HELLO = b'event: hello\ndata: {"now": "2026-11-21T12:00:00Z", "resumed": true}\n\n'


class Enough(Exception):  # noqa: N818 - not an error
    """The test has seen what it wanted."""


def event(number: int) -> bytes:
    return f'id: {number}\nevent: transition\ndata: {{"at": "2026-11-21T11:59:00Z", "id": {number}}}\n\n'.encode()


def followed(url: str, after: str | None, tries: int) -> tuple[list[str], list[str], list[float], Exception]:
    """Ids, what was said, pauses, and the end: after so many pauses it is enough."""
    said: list[str] = []
    pauses: list[float] = []
    ids: list[str] = []

    def sleep(pause_s: float) -> None:
        pauses.append(pause_s)
        if len(pauses) >= tries:
            raise Enough

    follower = Follower(Client(url), after, (), said.append, sleep, lambda: 1.0)
    try:
        for each in follower.follow():
            ids.extend([each.id] if each.event == "transition" else [])
    except Exception as end:  # noqa: BLE001 - the end is a result
        return ids, said, pauses, end
    raise AssertionError


def answers(*scripts: list[bytes]) -> Callable[[Asked], Iterator[bytes]]:
    """One script a connection; afterwards the last one."""
    left = list(scripts)

    def answer(_: Asked) -> Iterator[bytes]:
        yield from left.pop(0) if len(left) > 1 else left[0]

    return answer


def test_a_broken_stream_goes_on_where_it_ended() -> None:
    head = stream("text/event-stream")
    script = answers(
        [head, HELLO, event(1), event(2)],
        [head, HELLO, event(3), b"id: 5\n: heartbeat\n\n", b"id: 6\nevent: transition\ndata: {"],
        [problem("not-leading", 503)],
        [b""],
        [head, HELLO],
    )
    with scripted(script) as service:
        ids, said, pauses, end = followed(service.url, None, 5)
    assert isinstance(end, Enough)
    assert ids == ["1", "2", "3"]
    assert [asked.headers.get("last-event-id") for asked in service.asked] == [None, "2", "5", "5", "5"]
    assert pauses == [0.5, 0.5, 1.0, 2.0, 0.5]  # it begins anew after each connection that worked
    assert all("Connecting again in" in sentence for sentence in said)


def test_pauses_grow_to_a_bound_and_differ_by_chance() -> None:
    with scripted(answers([stream("text/event-stream"), HELLO], [problem("not-leading", 503)])) as service:
        _, _, pauses, _ = followed(service.url, None, 12)
    assert pauses[1:8] == [1, 2, 4, 8, 16, 30, 30]
    assert max(pauses) == MOST_S


@pytest.mark.parametrize(("kind", "status"), [("unauthenticated", 401), ("forbidden", 403), ("bad-request", 400)])
def test_what_would_be_refused_again_is_the_end(kind: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muster.cli.transport.Transport.takes_local_token", False)
    with scripted(answers([stream("text/event-stream"), HELLO], [problem(kind, status)])) as service:
        _, _, pauses, end = followed(service.url, None, 9)
    assert len(pauses) == 1
    assert type(end).__name__ == "Refused"


def test_a_first_connection_that_fails_is_the_end() -> None:
    result = muster("events", "--follow", server="http://127.0.0.1:1")
    assert result.exit_code == 3
    assert "Connection refused" in result.stderr


def test_a_gap_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    gap = HELLO.replace(b"true", b"false")
    with scripted(answers([stream("text/event-stream"), gap])) as service:
        assert not any("missing" in sentence for sentence in followed(service.url, None, 1)[1])
        assert any("missing" in sentence for sentence in followed(service.url, "7", 1)[1])


@pytest.mark.parametrize("data", [b"{", b"[]", b"7", b"[" * 50_000])
def test_events_that_cannot_be_read_end_it_with_3(data: bytes) -> None:
    with scripted(answers([stream("text/event-stream"), b"event: transition\ndata: " + data + b"\n\n"])) as service:
        for output in ("table", "json"):
            result = muster("events", "--follow", "-o", output, server=service.url)
            assert result.exit_code == 3
            assert "of another release" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [([], "--follow"), (["--after", "x"], "no id of an event"), (["--after", "1\r\nX: y"], "no id of an event")],
)
def test_a_command_line_that_makes_no_sense_ends_with_2(arguments: list[str], says: str) -> None:
    result = muster("events", *arguments, server="http://127.0.0.1:1")
    assert result.exit_code == 2
    assert says in result.stderr


async def test_what_was_missed_is_told_by_the_real_service() -> None:
    hub = MadeUpHub()
    for number in range(1, 8):
        hub.history.changes.append(change(number))
        hub.events.publish(transition_event(hub.history.changes[-1]))
    with served(hub) as url:
        lines = muster("events", "--after", "4", "-o", "json", server=url).stdout.splitlines()
        table = muster("events", "--after", "4", server=url)
        nothing = muster("events", "--after", "7", "-o", "json", server=url)
        none = muster("events", "--after", "4", "--health", "Suspended", server=url)
        bad = muster("events", "--after", "4", "--health", "helthy", server=url)
    documents = [json.loads(line) for line in lines]
    assert [document["event"] for document in documents] == ["hello", "transition", "transition", "transition"]
    assert [document["id"] for document in documents[1:]] == ["5", "6", "7"]
    assert len(table.stdout.splitlines()) == 3
    assert (table.exit_code, none.exit_code, none.stdout) == (0, 0, "")
    assert nothing.output == ""
    assert bad.exit_code == 2
    assert "did you mean Healthy?" in bad.stderr


async def test_following_survives_a_restart_and_ctrl_c_ends_it_with_130() -> None:
    def commit(hub: MadeUpHub, *numbers: int) -> None:
        for number in numbers:
            hub.history.changes.append(change(number))
            hub.events.publish(transition_event(hub.history.changes[-1]))

    hub = MadeUpHub()
    commit(hub, 1, 2)
    following: subprocess.Popen[str] | None = None
    try:
        with served(hub) as url:
            command = [*MUSTER, "events", "--follow", "--after", "0", "-o", "json", "--server", url]
            following = subprocess.Popen(  # noqa: ASYNC220 - this loop has nothing else to do
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            )
            assert [_next(following) for _ in range(2)] == ["1", "2"]
        commit(hub, 3)
        with served(hub, int(url.rpartition(":")[2])):
            assert _next(following) == "3"
            following.send_signal(signal.SIGINT)
            _, err = following.communicate(timeout=10)
        assert following.returncode == 130
        assert "Connecting again in" in err
        assert "Traceback" not in err
    finally:
        if following is not None:
            following.kill()
            following.communicate()


def _next(process: subprocess.Popen[str]) -> str:
    """Id of the next transition."""
    assert process.stdout is not None
    while True:
        line = process.stdout.readline()
        assert line, "it ended"
        document = json.loads(line)
        if document["event"] == "transition":
            return str(document["id"])


def test_a_line_for_people_is_harmless() -> None:
    evil = {
        "id": 1,
        "at": "2026-11-21T12:00:00Z",
        "since": "2026-11-21T12:00:00Z",
        "cluster_id": "x",
        "cluster_name": "a\x1b]0;owned\x07b",
        "check": "apiserver",
        "from_health": "\x1b[31m",
        "to_health": "Healthy",
        "reason": "\x07",
        "stage": None,
        "message": "\x9b2J",
        "evidence": {},
        "flapping": False,
        "collapsed": 0,
    }
    data = f"id: 1\nevent: transition\ndata: {json.dumps(evil)}\n\n".encode()
    script = answers([stream("text/event-stream"), data], [problem("forbidden", 403)])
    with scripted(script) as service:
        result = muster("events", "--follow", server=service.url)
    assert "owned" in result.stdout
    assert not set(result.output) & {"\x1b", "\x07", "\x9b"}
