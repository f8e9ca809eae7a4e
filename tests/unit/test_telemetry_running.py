"""What telemetry does by itself: looks at its file, yields to others, and ends nothing else by its defects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from store.errors import StoreUnavailable
from tests.support.telemetry import ANN, NOW, Bench, facts, wanted
from uplink.client.consent.consent import Word
from uplink.client.consent.record import Given, Withdrawn


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "telemetry", facts())


class Database:
    """As far as the link that remembers has to do with one."""

    closed = False

    async def close(self) -> None:
        self.closed = True


@asynccontextmanager
async def running(bench: Bench, *, refusals: int = 0) -> AsyncIterator[Database]:
    database, left = Database(), [refusals]

    async def open_database() -> Database:
        left[0] -= 1
        if left[0] >= 0:
            raise StoreUnavailable("it starts")
        return database

    run = asyncio.create_task(bench.telemetry.run(open_database), name="telemetry")  # type: ignore[arg-type]
    lead = asyncio.create_task(bench.telemetry.lead(), name="leading")
    try:
        yield database
        assert not run.done()
        assert not lead.done()
    finally:
        for task in (lead, run):
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(3):
        while not holds():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


def word(bench: Bench) -> Word | None:
    return bench.link.heeded[-1].word if bench.link.heeded else None


async def test_the_file_is_looked_at_by_itself_and_whoever_removes_it_has_switched_off(bench: Bench) -> None:
    async with running(bench):
        await bench.telemetry.turn_on(wanted(), ANN, None)
        await until(lambda: word(bench) is Word.ON)
        bench.desk.place.unlink()
        await until(lambda: word(bench) is Word.OFF)


async def test_another_organisation_in_the_settings_suspends_it(bench: Bench) -> None:
    async with running(bench):
        await bench.telemetry.turn_on(wanted(), ANN, None)
        await until(lambda: word(bench) is Word.ON)
        bench.offer = type(bench.offer)(
            bench.offer.dictionary, bench.offer.commitments, "somebody-else", bench.offer.endpoints
        )
        await until(lambda: word(bench) is Word.SUSPENDED)


async def test_a_later_decision_elsewhere_is_written_into_this_hosts_file(bench: Bench) -> None:
    async with running(bench):
        given = (await bench.telemetry.turn_on(wanted(), ANN, None)).record
        bench.link.is_overtaken = True
        await until(lambda: isinstance(bench.desk.found(), Withdrawn))
        found = bench.desk.found()
        assert isinstance(found, Withdrawn)
        assert (found.by, found.epoch) == ("another instance", given.epoch)
        await until(lambda: word(bench) is Word.OFF)


async def test_an_off_is_told_anew_at_each_start_until_the_database_has_heard_of_it(bench: Bench) -> None:
    bench.link.is_unfinished = True
    async with running(bench):
        await bench.telemetry.turn_on(wanted(), ANN, None)
        await bench.telemetry.turn_off(ANN)
        await until(lambda: word(bench) is Word.OFF)
        off = bench.desk.found()
        assert isinstance(off, Withdrawn)
        assert not off.told
        bench.link.is_unfinished = False
        await until(lambda: getattr(bench.desk.found(), "told", False))
        await bench.telemetry.turn_off(ANN)
        bench.link.is_unfinished = True
        assert bench.desk.verify().problem == ""


async def test_a_defect_silences_it_and_it_begins_again(bench: Bench) -> None:
    bench.link.defects = [RuntimeError("a defect"), ZeroDivisionError()]
    async with running(bench):
        await until(lambda: bench.link.told.count("run") == 3)
        assert bench.link.told.count("silence") == 2


async def test_it_waits_for_a_database_and_gives_it_back(bench: Bench) -> None:
    async with running(bench, refusals=2) as database:
        assert "open" not in bench.link.told
        await until(lambda: "run" in bench.link.told and "lead" in bench.link.told)
    assert database.closed
    assert bench.link.told[-1] == "close"


async def test_while_off_is_being_written_nothing_is_heeded(bench: Bench) -> None:
    """Else the file of a moment ago would open what was just silenced."""
    async with running(bench):
        await bench.telemetry.turn_on(wanted(), ANN, None)
        await until(lambda: word(bench) is Word.ON)
        assert isinstance(bench.desk.found(), Given)
        told = len(bench.link.told)
        off = asyncio.create_task(bench.telemetry.turn_off(ANN), name="off")
        await asyncio.sleep(0)
        heeded = len(bench.link.heeded)
        await off
        assert bench.link.told[told] == "silence"
        assert all(each.word is Word.OFF for each in bench.link.heeded[heeded:])
        assert bench.clock.now() == NOW
