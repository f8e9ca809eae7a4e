"""Between agent and hub: every way in which a hub can fail, over real TLS. Nothing is lost that is not counted."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import trustme

from tests.support.clouds import bucket, endless, garbage, raw_server
from tests.support.hub_double import CLUSTER, HubDouble
from validator.agent.assignment import Assignments
from validator.agent.backoff import Backoff
from validator.agent.buffer import Buffer
from validator.agent.hub import HubError, HubLink
from validator.agent.report import Reporter
from validator.agent.standing import Standing
from validator.agent.wire import Assignment
from validator.clock import HubClock
from validator.file_thread import FileThread
from validator.locations import Provider
from validator.model import Check, Outcome, Verdict
from validator.net.resolver import CaresResolver

S3 = bucket(Provider.S3)


class Side:
    """The agent's side of the wire, without anything that asks."""

    def __init__(self, hub: HubDouble, folder: Path, **limits: Any) -> None:
        self.token_file, self.ca_file = folder / "token", folder / "ca.pem"
        self.token_file.write_text("token-1\n")
        self.ca_file.write_bytes(hub.ca.cert_pem.bytes())
        self.resolver = CaresResolver()
        self.link = HubLink(
            hub.url,
            CLUSTER,
            token_file=self.token_file,
            ca_file=self.ca_file,
            resolver=self.resolver,
            files=FileThread("test-files"),
        )
        self.clock = HubClock()
        self.standing = Standing()
        self.buffer = Buffer(limits.pop("buffer", 5000), self.clock)
        self.taken: list[Assignment] = []
        self.assignments = Assignments(
            self.link, CLUSTER, self.taken.append, self.standing, wait_s=1, grace_s=0.5, backoff=Backoff(0.02, 0.1)
        )
        self.reporter = Reporter(
            self.link,
            self.buffer,
            self.standing,
            agent_version="1.2.3",
            assignment=lambda: self.assignments.version,
            backoff=Backoff(0.02, 0.1),
            linger_s=0.05,
            deadline_s=limits.pop("deadline_s", 0.5),
        )
        self.reporter.heartbeat_s = 0.1
        self._numbers = itertools.count(1)

    def see(self, count: int = 1, location: int | None = None, request: UUID | None = None) -> None:
        """Verdicts, numbered in their message; each of a location of its own unless told."""
        for _ in range(count):
            number, now = next(self._numbers), self.clock.now()
            verdict = Verdict(
                Check.LOCATION,
                CLUSTER,
                Outcome.PASS,
                now,
                now,
                0.1,
                0.0,
                1920.0,
                message=f"{number}",
                location_id=UUID(int=location or number),
            )
            self.buffer.add([verdict], [900.0], request)
        self.reporter.wake()

    async def close(self) -> None:
        await self.link.close()
        await self.resolver.close()


def numbers(hub: HubDouble) -> list[int]:
    return [int(verdict["message"]) for verdict in hub.verdicts]


@pytest.fixture
async def hub(cloud_ca: trustme.CA) -> AsyncIterator[HubDouble]:
    async with HubDouble(cloud_ca).running() as double:
        yield double


@pytest.fixture
async def make(hub: HubDouble, tmp_path: Path) -> AsyncIterator[Callable[..., Side]]:
    """Sides that report until the test ends."""
    sides: list[Side] = []
    tasks: list[asyncio.Task[Any]] = []

    def made(*, reporting: bool = True, **limits: Any) -> Side:
        side = Side(hub, tmp_path, **limits)
        sides.append(side)
        if reporting:
            tasks.append(asyncio.create_task(side.reporter.run(), name="report"))
        return side

    yield made
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for side in sides:
        await side.close()


Make = Callable[..., Side]


async def test_heartbeats_and_verdicts_come_in_order_under_rising_numbers(hub: HubDouble, make: Make) -> None:
    side = make()
    await hub.until(lambda: len(hub.reports) >= 2)
    side.see(1200)
    await hub.until(lambda: len(hub.verdicts) == 1200)
    assert numbers(hub) == list(range(1, 1201))
    first = hub.reports[0]
    assert (first["verdicts"], first["syncs"], first["agent"]) == ([], [], {"version": "1.2.3"})
    assert [report["sequence"] for report in hub.reports] == list(range(1, len(hub.reports) + 1))
    assert len({report["boot"] for report in hub.reports}) == 1
    assert side.standing.ready is False  # no assignment yet
    assert hub.tokens[0] == "token-1"


@pytest.mark.parametrize(
    "fault", ["503", "429", "401", "403", "500", "404", "redirect", "hang", "slow", "lost", "huge"]
)
async def test_a_fault_delays_and_loses_nothing(hub: HubDouble, make: Make, fault: str) -> None:
    hub.fail("report", fault, 1 if fault in {"huge", "hang"} else 2)
    side = make()
    side.see(3)
    await hub.until(lambda: len(hub.verdicts) >= 3)
    side.see(2)
    await hub.until(lambda: len(hub.verdicts) >= 5)
    assert numbers(hub) == [1, 2, 3, 4, 5]
    assert hub.reports[-1]["dropped"] == 0
    assert hub.duplicates == (2 if fault == "lost" else 0)


@pytest.mark.parametrize("fault", ["413", "422"])
async def test_what_will_never_be_taken_is_dropped_and_counted(hub: HubDouble, make: Make, fault: str) -> None:
    side = make(reporting=False)
    side.see(3)
    hub.fail("report", fault)
    reporting = asyncio.create_task(side.reporter.run(), name="report")
    try:
        await hub.until(lambda: len(hub.reports) == 1)
        side.see(1)
        await hub.until(lambda: hub.verdicts)
    finally:
        reporting.cancel()
    assert numbers(hub) == [4]
    assert hub.reports[0]["dropped"] == 3


async def test_a_2xx_with_garbage_counts_as_taken(hub: HubDouble, make: Make) -> None:
    hub.fail("report", "garbage")
    side = make()
    side.see(1)
    await hub.until(lambda: len(hub.reports) >= 2)
    assert numbers(hub) == []
    assert hub.reports[-1]["dropped"] == 0


async def test_a_hub_that_goes_and_comes_back_hears_the_newest_of_everything_and_how_much_is_missing(
    hub: HubDouble, make: Make
) -> None:
    side = make(buffer=50)
    side.see(5)
    await hub.until(lambda: len(hub.verdicts) == 5)
    await hub.stop()
    for round_ in range(10):
        for location in range(20):
            side.see(1, location + 1)
        await asyncio.sleep(0.02 if round_ < 3 else 0)
    await hub.start()
    await hub.until(lambda: side.buffer.dropped + len(hub.verdicts) == 205)
    told = numbers(hub)
    assert told == sorted(told)
    assert set(told) >= set(range(186, 206))  # the newest of all twenty
    assert hub.reports[-1]["dropped"] == 205 - len(told) > 0
    assert max(len(report["verdicts"]) for report in hub.reports) <= 50
    assert all(verdict["age_s"] < 5 for verdict in hub.verdicts)


async def test_a_renewed_token_is_used_at_once(hub: HubDouble, make: Make) -> None:
    side = make()
    await hub.until(lambda: len(hub.reports) >= 1)
    side.token_file.write_text("token-2")
    await hub.until(lambda: "token-2" in hub.tokens)
    side.token_file.unlink()
    await asyncio.sleep(0.2)
    side.see(1)
    side.token_file.write_text("token-3")
    await hub.until(lambda: numbers(hub) == [1])
    assert hub.tokens[-1] == "token-3"


async def test_a_hub_with_a_foreign_certificate_is_shown_no_token_until_its_ca_is_there(
    hub: HubDouble, make: Make
) -> None:
    side = make(reporting=False)
    right = side.ca_file.read_bytes()
    side.ca_file.write_bytes(trustme.CA().cert_pem.bytes())
    with pytest.raises(HubError, match=r"localhost: .*certificate"):
        await side.link.post("/agent/v1/report", b"{}", 2)
    assert hub.tokens == []
    side.ca_file.write_bytes(b"not PEM")
    with pytest.raises(HubError, match="no certificate"):
        await side.link.get("/agent/v1/assignment", {"wait_s": "0"}, 2)
    side.ca_file.write_bytes(right)
    assert (await side.link.get("/agent/v1/assignment", {"wait_s": "0"}, 2)).status == 304


@pytest.mark.parametrize("talk", [garbage, endless])
async def test_what_is_no_tls_or_no_hub_ends_in_an_error_that_holds_no_token(
    make: Make, hub: HubDouble, talk: Any
) -> None:
    side = make(reporting=False)
    async with raw_server(talk) as address:
        stranger = HubLink(
            f"https://{address}",
            CLUSTER,
            token_file=side.token_file,
            ca_file=side.ca_file,
            resolver=side.resolver,
            files=FileThread("test-files"),
        )
        with pytest.raises(HubError) as error:
            await stranger.get("/agent/v1/assignment", {"wait_s": "0"}, 0.5)
        await stranger.close()
    assert "token-1" not in str(error.value)
    assert error.value.__cause__ is None


async def test_cancelled_in_the_middle_of_a_report_it_is_sent_again_at_the_end_under_its_number(
    hub: HubDouble, make: Make
) -> None:
    side = make(reporting=False, deadline_s=5)
    side.see(3)
    hub.fail("report", "hang")
    reporting = asyncio.create_task(side.reporter.run(), name="report")
    await asyncio.sleep(0.4)
    side.see(2)
    reporting.cancel()
    await asyncio.gather(reporting, return_exceptions=True)
    await side.reporter.flush(3)
    assert numbers(hub) == [1, 2, 3, 4, 5]
    assert [report["sequence"] for report in hub.reports] == [1, 2]


async def test_the_last_words_wait_for_a_hanging_hub_no_longer_than_they_may(hub: HubDouble, make: Make) -> None:
    side = make(reporting=False)
    side.see(1)
    hub.fail("report", "hang", 5)
    started = asyncio.get_running_loop().time()
    await side.reporter.flush(0.3)
    assert asyncio.get_running_loop().time() - started < 1


async def test_assignments_come_by_long_poll_and_each_is_taken_once(hub: HubDouble, make: Make) -> None:
    side = make(reporting=False)
    polling = asyncio.create_task(side.assignments.run(), name="assignment")
    try:
        hub.assign(S3)
        await hub.until(lambda: side.taken)
        await hub.until(lambda: len(hub.polls) >= 2)
        hub.assign(S3, interval_s=60)
        await hub.until(lambda: len(side.taken) == 2)
    finally:
        polling.cancel()
    assert [each.version for each in side.taken] == ["v1", "v2"]
    assert hub.polls[0] == {"wait_s": "0"}
    assert hub.polls[-1]["wait_s"] == "1"
    assert "known" in hub.polls[-1]


@pytest.mark.parametrize("fault", ["503", "401", "garbage", "redirect", "huge", "hang"])
async def test_whatever_the_hub_says_the_assignment_before_holds(hub: HubDouble, make: Make, fault: str) -> None:
    side = make(reporting=False)
    hub.assign(S3)
    await side.assignments.poll()
    hub.assign()
    hub.fail("assignment", fault)
    await side.assignments.poll()
    assert (len(side.taken), side.assignments.version) == (1, "v1")
    assert "assignment: " in str(side.standing)
    await side.assignments.poll()
    assert side.assignments.version == "v2"


async def test_another_clusters_assignment_is_not_taken(hub: HubDouble, make: Make) -> None:
    side = make(reporting=False)
    hub.assign(S3, cluster={"id": str(UUID(int=5)), "name": "other"})
    await side.assignments.poll()
    assert side.taken == []
    assert "another cluster's" in str(side.standing)
