"""Who carries jobs out: the dead have places of their own, and who is slow gives the place up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

from collector.requests import MAX_REQUESTS, Answered, RequestKind, Requests
from collector.validation import Job
from collector.validation_carriers import AgentCarrier, HubCarrier
from tests.support.validating import answer_of
from validator.engine import Awaited
from validator.model import Pair, SubjectId, Verdict
from validator.schedule import Lane

LOCATION = UUID(int=99)


def job(number: int) -> Job:
    return Job(Pair(UUID(int=number), LOCATION), UUID(int=1000 + number), number, "ann", 0.0)


class Asks:
    """An engine whose answers the test gives."""

    def __init__(self) -> None:
        self.asked: dict[SubjectId, Awaited] = {}

    def ask_now(self, target_id: SubjectId) -> Awaited:
        self.asked[target_id] = asyncio.get_running_loop().create_future()
        return self.asked[target_id]


class Heard:
    """What carriers tell."""

    def __init__(self) -> None:
        self.begun_jobs: list[int] = []
        self.answers: dict[int, Sequence[Verdict] | None] = {}

    def begun(self, job: Job) -> None:
        self.begun_jobs.append(job.number)

    def answered(self, job: Job, verdicts: Sequence[Verdict] | None) -> None:
        self.answers[job.number] = verdicts


async def test_the_dead_keep_no_living_pair_waiting() -> None:
    engine, heard = Asks(), Heard()
    dead = range(1, 11)
    lanes = {Pair(UUID(int=n), LOCATION): Lane.DEAD for n in dead}
    carrier = HubCarrier(engine, lambda pair: lanes.get(pair, Lane.LIVE), at_once=2, slow_s=60)
    jobs = [job(number) for number in range(1, 16)]
    for each in jobs:
        assert carrier.begin(each, heard)
    assert heard.begun_jobs == [1, 2, 11, 12]
    for number in (11, 12, 13, 14, 15):
        pair = Pair(UUID(int=number), LOCATION)
        engine.asked[pair].set_result([answer_of(pair)])
        await asyncio.sleep(0.01)
    assert heard.begun_jobs == [1, 2, 11, 12, 13, 14, 15]
    assert heard.answers.keys() == {11, 12, 13, 14, 15}


async def test_a_living_pair_that_hangs_gives_its_place_up_and_may_still_answer() -> None:
    engine, heard = Asks(), Heard()
    carrier = HubCarrier(engine, lambda _: Lane.LIVE, at_once=1, slow_s=0.02)
    for number in (1, 2):
        carrier.begin(job(number), heard)
    assert heard.begun_jobs == [1]
    await asyncio.sleep(0.04)
    assert heard.begun_jobs == [1, 2]
    first = job(1).pair
    engine.asked[first].set_result([answer_of(first)])
    await asyncio.sleep(0.04)
    assert heard.answers.keys() == {1}
    carrier.begin(job(3), heard)
    assert heard.begun_jobs == [1, 2, 3], "every place was given back once"
    carrier.begin(job(4), heard)
    assert heard.begun_jobs == [1, 2, 3]


async def test_what_is_withdrawn_leaves_its_place_and_is_heard_of_no_more() -> None:
    engine, heard = Asks(), Heard()
    carrier = HubCarrier(engine, lambda _: Lane.DEAD, at_once=1, slow_s=60)
    for number in (1, 2, 3):
        carrier.begin(job(number), heard)
    carrier.withdraw(job(2))  # while it waits
    carrier.withdraw(job(1))  # while it is asked
    carrier.withdraw(job(1))
    await asyncio.sleep(0.01)
    assert heard.begun_jobs == [1, 3]
    assert engine.asked[job(1).pair].cancelled()
    engine.asked[job(3).pair].set_result(None)
    await asyncio.sleep(0.01)
    assert heard.answers == {3: None}


def test_an_agent_is_asked_told_and_heard() -> None:
    requests, heard = Requests(), Heard()
    carrier = AgentCarrier(requests)
    one, two = job(1), job(2)
    assert carrier.begin(one, heard)
    assert carrier.begin(two, heard)
    [request] = requests.pending(one.pair.cluster_id)
    assert (request.id, request.kind, request.location_id) == (one.id, RequestKind.VALIDATE, LOCATION)
    assert heard.begun_jobs == []
    requests.told([request])
    assert heard.begun_jobs == [1]
    verdict = answer_of(one.pair)
    answer = Answered(one.id, one.pair.cluster_id, LOCATION, RequestKind.VALIDATE, (verdict,))
    requests.answered([answer])
    assert heard.answers == {1: (verdict,)}
    carrier.withdraw(one)
    carrier.withdraw(two)
    assert requests.pending(two.pair.cluster_id) == ()
    requests.answered([answer])
    assert list(heard.answers) == [1]


def test_an_agent_with_too_much_to_do_is_asked_later() -> None:
    requests, heard = Requests(), Heard()
    carrier, cluster_id = AgentCarrier(requests), UUID(int=1)
    for number in range(MAX_REQUESTS):
        requests.ask(cluster_id, RequestKind.SYNC, LOCATION, UUID(int=5000 + number))
    assert not carrier.begin(job(1), heard)
    requests.withdraw(UUID(int=5000))
    assert carrier.begin(job(1), heard)
