"""What is kept for a hub that is away: bounded, in order, every drop counted."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from validator.agent.buffer import Batch, Buffer
from validator.agent.wire import MAX_REPORT_BYTES, SyncReport, SyncState
from validator.clock import FakeClock
from validator.model import Check, Outcome, Verdict
from validator.reasons import Reason

CLUSTER, REQUEST = UUID(int=1), UUID(int=99)
HEAD: dict[str, object] = {"boot": str(UUID(int=2)), "agent": {"version": "1"}, "assignment": None}


class Bench:
    """A buffer and its time."""

    def __init__(self, limit: int = 5000) -> None:
        self.clock = FakeClock()
        self.buffer = Buffer(limit, self.clock)
        self.number = 0

    def add(self, location: int = 1, request: UUID | None = None, evidence: dict[str, Any] | None = None) -> None:
        """One verdict, with a number of its own."""
        self.number += 1
        now = self.clock.now()
        verdict = Verdict(
            Check.LOCATION,
            CLUSTER,
            Outcome.FAIL,
            now,
            now,
            0.1,
            0.0,
            1920.0,
            reason=Reason.ROLE_MISSING,
            message=f"n{self.number}",
            evidence=evidence or {},
            location_id=UUID(int=location),
        )
        self.buffer.add([verdict], [900.0], request)

    def report(self, batch: Batch, sent_at: float = 1000.0) -> Any:
        return json.loads(self.buffer.encoded(batch, HEAD, sent_at))

    def taken(self) -> list[str]:
        """Messages of the next report, which the hub takes."""
        batch = self.buffer.take()
        self.buffer.settle(batch)
        return [entry.verdict.message for entry in batch.entries]


def test_a_report_has_the_oldest_first_and_five_hundred_at_most() -> None:
    bench = Bench()
    for location in range(750):
        bench.add(location)
    assert bench.buffer.urgent
    assert bench.taken() == [f"n{number}" for number in range(1, 501)]
    assert bench.taken() == [f"n{number}" for number in range(501, 751)]
    assert bench.taken() == []
    assert bench.buffer.dropped == 0


def test_an_age_is_that_of_the_moment_of_sending_and_the_number_stays() -> None:
    bench = Bench()
    bench.add()
    bench.clock.advance(10)
    batch = bench.buffer.take()
    first = bench.report(batch)
    bench.clock.advance(50)
    again = bench.report(batch, 1050.0)
    assert [each["verdicts"][0]["age_s"] for each in (first, again)] == [10.0, 60.0]
    assert [each["verdicts"][0]["observed_at"] for each in (first, again)] == [990.0, 990.0]
    assert (first["sequence"], again["sequence"], bench.buffer.take().sequence) == (1, 1, 2)


def test_when_full_only_what_is_outdated_goes() -> None:
    bench = Bench(limit=4)
    for location in (1, 2, 1, 1):
        bench.add(location)
    assert bench.buffer.dropped == 0
    bench.add(3)
    assert bench.buffer.dropped == 2  # the first two of location 1
    assert bench.taken() == ["n2", "n4", "n5"]


def test_with_more_locations_than_room_the_oldest_goes() -> None:
    bench = Bench(limit=3)
    for location in range(5):
        bench.add(location)
    assert (bench.taken(), bench.buffer.dropped) == (["n3", "n4", "n5"], 2)


def test_an_answer_that_somebody_waits_for_outlives_newer_ones() -> None:
    bench = Bench(limit=3)
    bench.add(1, REQUEST)
    for _ in range(5):
        bench.add(1)
    assert bench.taken()[0] == "n1"


def test_what_is_under_way_counts_against_the_bound_and_is_not_dropped() -> None:
    bench = Bench(limit=3)
    for location in (1, 2):
        bench.add(location)
    under_way = bench.buffer.take()
    for location in (1, 2, 3):
        bench.add(location)
    assert [entry.verdict.message for entry in under_way.entries] == ["n1", "n2"]
    assert bench.buffer.dropped == 2
    bench.buffer.settle(under_way)
    assert bench.taken() == ["n5"]


def test_a_report_that_was_refused_for_good_is_counted() -> None:
    bench = Bench()
    bench.add()
    batch = bench.buffer.take()
    bench.buffer.settle(batch, lost=True)
    assert bench.report(bench.buffer.take())["dropped"] == 1


def test_the_fattest_verdicts_stay_below_the_bound_of_a_report() -> None:
    bench = Bench()
    fat = {f"{number:0100}": "\U0001f4a3" * 1000 for number in range(64)}
    for location in range(30):
        bench.add(location, evidence=fat)
    told = 0
    while bench.buffer.waiting:
        batch = bench.buffer.take()
        bench.clock.advance(1e9)
        assert 0 < len(batch.entries) < 30
        assert len(bench.buffer.encoded(batch, HEAD, 1.0)) <= MAX_REPORT_BYTES
        bench.buffer.settle(batch)
        told += len(batch.entries)
    assert told == 30


def test_of_a_sync_only_the_newest_word_is_told() -> None:
    bench = Bench()
    for listed in (0, 10, 20):
        bench.buffer.tell(SyncReport(REQUEST, UUID(int=1), SyncState.IN_PROGRESS, listed=listed))
    assert bench.buffer.waiting
    assert not bench.buffer.urgent
    bench.buffer.tell(SyncReport(REQUEST, UUID(int=1), SyncState.SUCCEEDED, listed=20, inventory={"objects": 20}))
    assert bench.buffer.urgent
    (sync,) = bench.report(bench.buffer.take())["syncs"]
    assert (sync["state"], sync["listed"], sync["inventory"]) == ("Succeeded", 20, {"objects": 20})
    assert not bench.buffer.waiting


def test_large_inventories_go_one_after_the_other() -> None:
    bench = Bench()
    for number in range(3):
        text = {"text": "x" * 600_000}
        bench.buffer.tell(SyncReport(UUID(int=number), UUID(int=1), SyncState.SUCCEEDED, inventory=text))
    bench.add()
    sizes = []
    while bench.buffer.waiting:
        batch = bench.buffer.take()
        assert len(bench.buffer.encoded(batch, HEAD, 1.0)) <= MAX_REPORT_BYTES
        sizes.append(len(batch.syncs))
        bench.buffer.settle(batch)
    assert sizes == [1, 1, 1]
