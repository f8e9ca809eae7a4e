"""`muster locations validate` where the service restarts meanwhile, and what it says in words."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from muster.api import schemas
from muster.cli.client import Client
from muster.cli.errors import Refused
from muster.cli.location_validating import Outcome, ask, wait_for
from muster.cli.render.validations import validations_lines
from tests.support.scripted import Asked, http, problem, scripted

AT = "2026-11-21T12:00:00Z"


def job(number: int, state: str, **members: Any) -> dict[str, Any]:
    base = dict.fromkeys(("method", "reason", "stage", "remedy", "began_at"))
    return {
        **base,
        "id": f"job-{number}",
        "cluster_id": f"id-{number}",
        "cluster": f"c{number}",
        "state": state,
        "message": "",
        "asked_at": AT,
        "asked_by": "ann",
        "ended_at": AT if state in {"Valid", "Failed"} else None,
        **members,
    }


def page(*jobs: dict[str, Any]) -> bytes:
    named = {"location_id": "l", "location": "backups", "now": AT, "counts": {}, "total": len(jobs), "next": None}
    return http(json.dumps({**named, "validations": jobs}))


def outcome(number: int, state: str, **members: Any) -> Outcome:
    return Outcome(schemas.ValidationJob(**job(number, state, **members)), joined=False)


@pytest.fixture
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_RUNTIME_DIR", "/nonexistent")


def test_a_service_that_restarts_is_waited_for(no_token: None) -> None:
    answers: Iterator[bytes] = iter(
        [
            page(job(1, "InProgress"), job(2, "Pending")),
            problem("not-leading", 503),
            b"",
            page(job(2, "InProgress")),
            page(),
            page(job(1, "Valid"), job(2, "Failed", reason="RoleMissing")),
        ]
    )

    def answer(_: Asked) -> Iterable[bytes]:
        return [next(answers)]

    slept: list[float] = []
    with scripted(answer) as server:
        asked = [outcome(1, "Pending"), outcome(2, "Pending"), outcome(3, "Pending")]
        ended = wait_for(Client(server.url), "backups", asked, 60, sleep=slept.append)
    assert [(each.job.state, each.gone) for each in ended] == [("Valid", False), ("Failed", False), ("Pending", True)]
    assert len(slept) == 4
    assert server.asked[0].target.count("state=") == 2


@pytest.mark.parametrize("kind", ["location-not-found", "unauthenticated"])
def test_what_waiting_does_not_mend_ends_it(no_token: None, kind: str) -> None:
    with scripted(lambda _: [problem(kind, 404)]) as server, pytest.raises(Refused):
        wait_for(Client(server.url), "backups", [outcome(1, "Pending")], 60, sleep=lambda _: None)


def test_a_service_that_stays_away_is_not_waited_for_for_ever(no_token: None) -> None:
    with scripted(lambda _: [problem("not-leading", 503)]) as server, pytest.raises(Refused):
        wait_for(Client(server.url), "backups", [outcome(1, "Pending")], 60, patience_s=0, sleep=lambda _: None)


def test_many_clusters_are_asked_for_in_portions(no_token: None) -> None:
    def answer(asked: Asked) -> Iterable[bytes]:
        names = asked.json["clusters"]
        jobs = [{**job(number, "Pending"), "joined": False} for number, _ in enumerate(names)]
        return [http(json.dumps({"location_id": "l", "location": "backups", "joined": 0, "validations": jobs}))]

    with scripted(answer) as server:
        location, asked = ask(Client(server.url), "backups", [f"c{n}" for n in range(1100)])
    assert (location, len(asked), len(server.asked)) == ("backups", 1100, 3)


def test_the_worst_come_first_and_nothing_paints_the_terminal() -> None:
    outcomes = [
        outcome(1, "Valid"),
        outcome(2, "Failed", reason="RoleMissing", message="\x1b[31mno role", cluster="\x1b]0;evil\x07"),
        Outcome(outcome(3, "Pending").job, joined=True, gone=True),
        outcome(4, "SomethingNew"),
    ]
    text = "\n".join(line.plain for line in validations_lines("backups", outcomes, 120))
    assert text.splitlines()[0] == "backups  1 Failed, 1 gone, 1 Valid, 1 SomethingNew"
    assert [line.split()[1] for line in text.splitlines()[2:]] == ["Failed", "gone", "Valid", "SomethingNew"]
    assert "\x1b" not in text
    assert "no role" in text
    assert [line.plain for line in validations_lines("backups", [], 120)] == ["backups  nothing to validate"]
