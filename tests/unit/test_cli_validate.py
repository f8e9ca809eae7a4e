"""`muster validate`, `pause` and `resume`: what they ask for, what they show, and how they end."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.cli import MUSTER, made_up, muster
from tests.support.hub import served
from tests.support.scripted import Asked, http, problem, scripted, stream

AT = "2026-11-21T12:00:00Z"


def line(event: str, **members: Any) -> bytes:
    return json.dumps({"event": event, "at": AT, **members}).encode() + b"\n"


def check(outcome: str, health: str = "Healthy") -> dict[str, Any]:
    reason = None if outcome == "pass" else "ConnectTimeout"
    return {
        "check": "apiserver",
        "health": health,
        "reason": None,
        "stage": None,
        "message": "",
        "since": AT,
        "last_known": None,
        "last_success_at": AT,
        "flapping": False,
        "evidence": {"address": "10.0.0.1"},
        "remedy": None,
        "docs": None,
        "streak": None,
        "answer": {
            "outcome": outcome,
            "reason": reason,
            "stage": "connect",
            "message": "no answer" if reason else "",
            "received_at": AT,
            "age_s": 0.1,
            "duration_s": 0.2,
            "lateness_s": 0.2,
            "lane": "live",
            "skipped_ticks": 0,
            "allowance_s": 70.0,
            "stages": [{"stage": "connect", "outcome": "passed", "duration_s": 0.1}],
        },
    }


def cluster(name: str, health: str) -> dict[str, Any]:
    return {
        "id": name,
        "name": name,
        "source": "static",
        "endpoint": "https://10.0.0.1",
        "lifecycle": "Active",
        "labels": {},
        "health": health,
        "check": None,
        "reason": None,
        "stage": None,
        "message": "",
        "since": AT,
        "last_known": None,
        "last_success_at": AT,
        "age_s": 1.0,
        "flapping": False,
        "pending": False,
        "pause": None,
    }


def validation(asked: Asked) -> Iterator[bytes]:
    """By the cluster's name."""
    name = asked.target.split("/")[-2]
    if asked.method == "GET":
        listed = [{**cluster(f"good-{n}", "Unhealthy"), "name": f"name-{n}"} for n in range(30)]
        page = {"now": AT, "total": 30, "next": None, "clusters": listed}
        yield http(json.dumps(page))
    elif name == "nobody":
        yield problem("cluster-not-found", 404, "Nothing is called so.")
    elif name == "standby":
        yield problem("not-leading", 503, "It stands by.")
    elif name == "secret":
        yield problem("forbidden", 403, "It takes the role operator.")
    else:
        yield stream("application/x-ndjson") + line("asking", joined=name == "joined")
        if name == "late":
            yield line("late", message="No answer within 1 s.")
        elif name == "broken":
            yield b"{"
        elif name != "lost":
            outcome = "fail" if name == "bad" else "pass"
            yield line("checked", check=check(outcome)) + line("done", health="Healthy")


@pytest.fixture
def url() -> Iterator[str]:
    with scripted(validation) as service:
        yield service.url


@pytest.mark.parametrize(
    ("names", "code"),
    [
        (["good"], 0),
        (["bad"], 1),
        (["late"], 1),
        (["nobody"], 2),
        (["standby"], 3),
        (["lost"], 3),
        (["broken"], 3),
        (["secret"], 4),
        (["good", "joined"], 0),
        (["good", "bad"], 1),
        (["good", "late"], 1),
        (["good", "nobody", "bad"], 2),
        (["good", "standby"], 3),
        (["good", "lost"], 3),
        (["good", "secret"], 4),
    ],
)
def test_it_ends_by_the_newest_answers(url: str, names: list[str], code: int) -> None:
    assert muster("validate", *names, server=url).exit_code == code


def test_one_is_shown_with_its_trace_and_what_it_means(url: str) -> None:
    shown = muster("validate", "joined", server=url).stdout
    assert "✔ connect" in shown
    assert "10.0.0.1" in shown
    assert "The cluster is ✔ Healthy" in shown
    assert "being asked already" in shown
    assert "No answer within 1 s." in muster("validate", "late", server=url).stdout


def test_several_are_a_table_in_the_order_in_which_they_were_named(url: str) -> None:
    lines = muster("validate", "good", "bad", "nobody", "late", server=url).stdout.splitlines()
    assert [each.split()[1:3] for each in lines[1:]] == [
        ["pass", "good"],
        ["fail", "bad"],
        ["cluster-not-found", "nobody"],
        ["late", "late"],
    ]
    assert "ConnectTimeout" in lines[2]
    assert "Nothing is called so." in lines[3]


def test_programs_get_each_with_its_checks(url: str) -> None:
    result = muster("validate", "bad", "nobody", "-o", "json", server=url)
    bad, nobody = json.loads(result.stdout)["validated"]
    assert bad["checks"][0]["answer"]["outcome"] == "fail"
    assert (nobody["ended"], nobody["message"]) == ("cluster-not-found", "Nothing is called so.")


def test_a_whole_fleet_is_asked_eight_at_a_time() -> None:
    lock, now, most = threading.Lock(), 0, 0

    def slowly(asked: Asked) -> Iterator[bytes]:
        nonlocal now, most
        if asked.method == "POST":
            with lock:
                now, most = now + 1, max(most, now + 1)
            time.sleep(0.05)
            with lock:
                now -= 1
        yield from validation(asked)

    with scripted(slowly) as service:
        result = muster("validate", "--health", "unhealthy", "--timeout", "5", "-o", "json", server=service.url)
    assert result.exit_code == 0
    assert [each["name"] for each in json.loads(result.stdout)["validated"]] == [f"name-{n}" for n in range(30)]
    assert 2 <= most <= 8
    assert service.asked[0].target == "/api/v1/clusters?health=unhealthy&limit=1000"
    assert {asked.json["timeout_s"] for asked in service.asked[1:]} == {5.0}


def test_ctrl_c_ends_it_at_once_with_130() -> None:
    def hanging(asked: Asked) -> Iterator[bytes]:
        if asked.method == "GET":
            yield from validation(asked)
        else:
            yield stream("application/x-ndjson") + line("asking")
            time.sleep(30)

    with scripted(hanging) as service:
        command = [*MUSTER, "validate", "--all", "--server", service.url]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 10
        while len(service.asked) < 9 and time.monotonic() < deadline:
            time.sleep(0.02)
        started = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert time.monotonic() - started < 3
    assert (process.returncode, out, err) == (130, "", "")


@pytest.mark.parametrize("arguments", [[], ["a", "--all"], ["--all", "--health", "healthy"]])
def test_it_has_to_be_said_which(arguments: list[str]) -> None:
    result = muster("validate", *arguments)
    assert result.exit_code == 2
    assert "For example" in result.stderr


async def test_a_cluster_that_nothing_asks_is_refused_by_the_real_service() -> None:
    with served(made_up()) as url:
        result = muster("validate", "prod-eu-1", server=url)
    assert result.exit_code == 2
    assert "there is no way to it" in result.stderr


# -- pause and resume


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--reason", "x", "--for", "2h", "--until", "18:00"], "--for and --until"),
        (["--reason", "x", "--for", "18:00"], "no span of time"),
        (["--reason", "x", "--until", "2020-01-01"], "is over"),
        (["--reason", " "], "1 to 500"),
        (["--reason", "x" * 501], "1 to 500"),
        ([], "--reason"),
    ],
)
def test_a_pause_that_makes_no_sense_ends_with_2(arguments: list[str], says: str) -> None:
    result = muster("pause", "x", *arguments)
    assert result.exit_code == 2
    assert says in result.stderr


def detail(*, paused: bool) -> bytes:
    pause = {"since": AT, "until": None, "reason": "r", "by": "me", "version": 1, "etag": '"1.1"'} if paused else None
    more: dict[str, Any] = {
        "external_uid": None,
        "also_known_as": [],
        "first_seen_at": AT,
        "now": AT,
        "remedy": None,
        "docs": None,
        "next_due_s": None,
        "checks": [],
        "pause": pause,
    }
    return http(json.dumps({**cluster("prod", "Suspended" if paused else "Healthy"), **more}))


def test_a_pause_whose_answer_is_lost_is_asked_for_again_under_the_same_key() -> None:
    answers = [b"", detail(paused=True)]
    with scripted(lambda _: [answers.pop(0)]) as service:
        result = muster("pause", "pröd/1", "--reason", " moved ", "--for", "2h", server=service.url)
    assert result.exit_code == 0
    assert "prod is paused. `muster resume prod` ends it." in result.stdout
    first, second = service.asked
    assert first.target == "/api/v1/clusters/pr%C3%B6d%2F1/pause"
    assert first.json["reason"] == "moved"
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert first.body == second.body
    assert "if-match" not in first.headers


def test_a_pause_that_is_there_can_be_changed() -> None:
    with scripted(lambda _: [problem("already-paused", 409, "It is paused by me.")]) as service:
        refused = muster("pause", "prod", "--reason", "r", server=service.url)
        assert refused.exit_code == 2
        assert "--change" in refused.stderr
    with scripted(lambda _: [detail(paused=True)]) as service:
        assert muster("pause", "prod", "--reason", "r", "--change", server=service.url).exit_code == 0
        assert service.asked[0].headers["if-match"] == "*"


def test_a_resume_says_how_the_cluster_is() -> None:
    with scripted(lambda _: [detail(paused=False)]) as service:
        result = muster("resume", "prod", server=service.url)
    assert result.stdout == "prod is judged again: it is Healthy.\n"
