"""Reports of agents, read and judged: whatever comes, nothing but a refusal comes of what makes no sense."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.ingest import OF_CLUSTER, OF_UNREACHABLE, Arrival, BadReport, Report, judge, read_report
from collector.requests import MAX_REQUESTS, Answered, RequestKind, Requests, TooManyRequests
from validator.model import Verdict

CLUSTER, LOCATION = uuid4(), uuid4()
NOW = 1_800_000_000.0

GOOD: dict[str, Any] = {
    "location_id": str(LOCATION),
    "check": "location",
    "outcome": "fail",
    "reason": "RoleMissing",
    "stage": "storage",
    "message": "no",
    "evidence": {"status": 403},
    "observed_at": NOW - 1,
    "age_s": 1.0,
    "duration_s": 0.5,
    "lateness_s": 0.5,
    "period_s": 900.0,
    "skipped_ticks": 0,
    "lane": "live",
    "request": None,
}

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("x" * 5000),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)


def arrival(of_cluster: Any = OF_CLUSTER, requests: Requests | None = None) -> Arrival:
    return Arrival(CLUSTER, NOW, 60.0, of_cluster, lambda each: each == LOCATION, (requests or Requests()).find)


def report(*verdicts: Any, syncs: Any = ()) -> Report:
    return Report(uuid4(), 1, NOW, "0.1.0", 0, verdicts, syncs)


def judged(**fields: Any) -> Verdict | str:
    """What one verdict becomes: itself, or why it is refused."""
    taken = judge(report({**GOOD, **fields}), arrival())
    return taken.verdicts[0][0] if taken.verdicts else taken.refused[0][1]


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"check": "nonsense"}, "check"),
        ({"check": None}, "check"),
        ({"check": ["location"]}, "check"),
        ({"check": "apiserver"}, "check"),
        ({"check": "agent", "location_id": None}, "check"),
        ({"check": "identity", "location_id": None}, "check"),
        ({"check": "credential", "location_id": None}, "check"),
        ({"check": "location", "location_id": None}, "check"),
        ({"outcome": "green"}, "outcome"),
        ({"reason": "OfANewerRelease"}, "reason"),
        ({"reason": None}, "reason"),
        ({"outcome": "pass"}, "reason"),
        ({"location_id": "x"}, "location_id"),
        ({"location_id": str(uuid4())}, "not assigned"),
        ({"age_s": "1"}, "age_s"),
        ({"age_s": -0.1}, "age_s"),
        ({"age_s": math.inf}, "age_s"),
        ({"age_s": True}, "age_s"),
        ({"period_s": None}, "period_s"),
        ({"observed_at": 1e300}, "observed_at"),
        ({"skipped_ticks": 1.5}, "skipped_ticks"),
        ({"duration_s": -1}, "duration_s"),
    ],
)
def test_a_verdict_that_makes_no_sense_is_refused_with_its_field(fields: dict[str, Any], why: str) -> None:
    told = judged(**fields)
    assert isinstance(told, str)
    assert told.startswith(why)


def test_a_period_makes_no_fact_stand_for_more_than_two_hours() -> None:
    for period_s, allowance_s in ((900, 1950.0), (1e9, 2.1 * 3600 + 60), (0, 2.1 + 60), (math.inf, 2.1 * 3600 + 60)):
        verdict = judged(period_s=period_s)
        assert isinstance(verdict, Verdict)
        assert verdict.allowance_s == pytest.approx(allowance_s)


def test_of_a_cluster_that_the_hub_can_t_reach_the_api_server_may_be_told() -> None:
    told = {**GOOD, "check": "apiserver", "location_id": None, "reason": "NotReady"}
    assert judge(report(told), arrival()).verdicts == ()
    assert len(judge(report(told), arrival(OF_UNREACHABLE)).verdicts) == 1


@given(st.dictionaries(st.sampled_from(sorted(GOOD)), ANYTHING), st.sampled_from(sorted(GOOD)))
def test_whatever_a_verdict_holds_it_is_taken_clean_or_refused(changed: dict[str, Any], absent: str) -> None:
    item = {name: value for name, value in {**GOOD, **changed}.items() if name != absent or name in changed}
    taken = judge(report(item, 7, None), arrival())
    assert len(taken.verdicts) + len(taken.refused) == 3
    for verdict, _ in taken.verdicts:
        assert verdict.received_at <= NOW
        assert verdict.observed_at <= verdict.received_at
        assert 0 < verdict.allowance_s <= 2.1 * 3600 + 60
        assert verdict.message.isprintable()
        assert len(verdict.message) <= 500
        json.dumps([dict(verdict.evidence), verdict.duration_s, verdict.lateness_s], allow_nan=False)
        assert verdict.evidence["method"] == "agent"
    assert all(len(why) < 300 and why.isprintable() for _, why in taken.refused)


@given(st.binary(max_size=200) | ANYTHING.map(lambda value: json.dumps(value).encode()))
def test_whatever_comes_is_a_report_or_a_bad_one(raw: bytes) -> None:
    with suppress(BadReport):
        assert read_report(raw).sequence >= 1


@given(
    st.dictionaries(
        st.sampled_from(["request", "location_id", "state", "reason", "listed", "of", "inventory"]), ANYTHING
    )
)
def test_whatever_a_sync_holds_it_is_taken_or_refused(item: dict[str, Any]) -> None:
    requests, request = Requests(), uuid4()
    requests.ask(CLUSTER, RequestKind.SYNC, LOCATION, request)
    full = {"request": str(request), "location_id": str(LOCATION), "state": "Succeeded", **item}
    taken = judge(report(syncs=(full,)), arrival(requests=requests))
    assert len(taken.syncs) + len(taken.refused) == 1


def test_requests_are_bounded_and_told_once() -> None:
    requests, told, changed = Requests(), list[Answered](), list[UUID]()
    requests.on_answer("validate", told.append)
    requests.on_change(changed.append)
    ids = [uuid4() for _ in range(MAX_REQUESTS)]
    for each in ids:
        requests.ask(CLUSTER, "validate", LOCATION, each)
    with pytest.raises(TooManyRequests):
        requests.ask(CLUSTER, "validate", LOCATION, uuid4())
    requests.ask(uuid4(), "validate", LOCATION, uuid4())
    requests.ask(CLUSTER, "validate", LOCATION, ids[0])
    assert len(requests.pending(CLUSTER)) == MAX_REQUESTS
    assert len(changed) == MAX_REQUESTS + 1
    requests.answered([Answered(ids[0], CLUSTER, LOCATION, RequestKind.VALIDATE)])
    assert [each.request_id for each in told] == [ids[0]]
    assert requests.find(ids[0]) is None
    requests.withdraw(ids[1])
    requests.withdraw(ids[1])
    requests.forget(CLUSTER)
    assert requests.pending(CLUSTER) == ()
