"""Availability apart from the database: what is asked for, and how the database's sums become buckets."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from collector.availability import Edge, State, Window, fold, total
from muster.api.availability import AvailabilityReads
from muster.api.availability_queries import (
    DEFAULT_BUCKETS,
    MAX_BUCKETS,
    MAX_STEP_S,
    AvailabilityQuery,
    readable_step,
)
from muster.api.names import Names
from muster.api.picture import Pictures
from muster.api.problems import ProblemError, problems
from muster.api.queries import read_query
from tests.support.hub import MadeUpHub

NOW = datetime(2026, 11, 21, 4, 0, 10, tzinfo=UTC).timestamp()
DAY_S = 86_400
OLDEST = NOW - 90 * DAY_S

# -- folding

Span = tuple[State, int, int]


@st.composite
def cases(draw: st.DrawFn) -> tuple[Window, list[Span]]:
    begin = 1_800_000_000 + draw(st.integers(0, 200))
    length = draw(st.integers(1, 300))
    window = Window(begin, begin + length, draw(st.integers(1, 120)))
    moments = st.integers(begin, begin + length)
    spans: list[Span] = []
    for lives in draw(st.lists(st.lists(moments, max_size=6), max_size=5)):  # of each cluster, when it turns
        turns = sorted({begin, *lives, begin + length})
        for one, other in pairwise(turns):
            state: State | None = draw(st.sampled_from(["up", "down", "paused", None]))
            spans += [] if state is None else [(state, one, other)]
            spans += [] if state == "paused" else [("judged", one, other)]
    return window, spans


def as_the_database_says(window: Window, spans: list[Span]) -> list[Edge]:
    sums: dict[tuple[State, int], list[float]] = defaultdict(lambda: [0, 0.0])
    for state, begin, end in spans:
        for sign, moment in ((1, begin), (-1, end)):
            if moment < window.end:
                bucket = int((moment - window.first_s) // window.step_s)
                sums[state, bucket][0] += sign
                sums[state, bucket][1] += sign * (moment - window.first_s - bucket * window.step_s)
    return [Edge(state, bucket, int(more), moments) for (state, bucket), (more, moments) in sums.items()]


@given(cases())
def test_buckets_have_what_counting_every_second_gives(case: tuple[Window, list[Span]]) -> None:
    window, spans = case
    seconds: Counter[tuple[str, int]] = Counter()
    for state, begin, end in spans:
        for second in range(begin, end):
            seconds[state, second // window.step_s - window.first_s // window.step_s] += 1
    shares = fold(window, as_the_database_says(window, spans))
    assert len(shares) == window.count
    for number, share in enumerate(shares):
        assert share.up_s == seconds["up", number]
        assert share.down_s == seconds["down", number]
        assert share.paused_s == seconds["paused", number]
        assert share.unknown_s == seconds["judged", number] - seconds["up", number] - seconds["down", number]
    whole = total(window, shares)
    assert whole.up_s == sum(end - begin for state, begin, end in spans if state == "up")
    assert (whole.availability is None) == (whole.up_s + whole.down_s == 0)


@given(st.floats(1e9, 3e9), st.floats(1.0, 1e7), st.integers(1, 10 * DAY_S).map(lambda step: max(step, 1)))
def test_the_buckets_of_a_window_follow_each_other_on_the_grid(begin: float, length: float, step_s: int) -> None:
    window = Window(begin, begin + length, max(step_s, int(length / 500)))
    shares = fold(window, ())
    assert shares[0].begin == window.begin
    assert shares[-1].end == window.end
    for one, other in pairwise(shares):
        assert one.end == other.begin
        assert one.end % window.step_s == 0
        assert one.begin < one.end


def test_sums_of_many_moments_leave_nothing_below_zero() -> None:
    window = Window(0.0, 60.0, 60)
    [share] = fold(window, [Edge("judged", 0, 1, 0.1), Edge("up", 0, 1, 0.1 - 1e-12)])
    assert (share.up_s, share.unknown_s) == (59.9, 0.0)


# -- asking


def window(parameters: dict[str, str], now: float = NOW) -> Window:
    return read_query(AvailabilityQuery, MultiDict(parameters)).window(now, OLDEST)


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_without_parameters_it_is_the_last_day() -> None:
    asked = window({})
    assert NOW - 30 < asked.end <= NOW
    assert asked.end - asked.begin == DAY_S
    assert asked.step_s == 600
    assert asked == window({}, NOW + 15), "all who ask within half a minute ask for the same"
    assert asked != window({}, NOW + 31)


def test_a_day_before_the_end_is_the_beginning_unless_told() -> None:
    asked = window({"to": "2026-11-01T12:00:00Z"})
    assert asked == Window(seconds("2026-10-31T12:00:00+00:00"), seconds("2026-11-01T12:00:00+00:00"), 600)
    asked = window({"from": "2026-11-01T12:00:00+02:00", "to": "2026-11-01T12:00:00Z", "step": "1h"})
    assert (asked.begin, asked.count) == (seconds("2026-11-01T10:00:00+00:00"), 2)


@pytest.mark.parametrize(("text", "step_s"), [("60", 60), ("90s", 90), ("5m", 300), ("2h", 7200), ("1d", DAY_S)])
def test_steps_are_seconds_or_have_a_unit(text: str, step_s: int) -> None:
    assert window({"from": "2026-11-20T20:00:00Z", "step": text}).step_s == step_s


def test_a_client_s_clock_may_be_a_little_ahead() -> None:
    assert window({"to": "2026-11-21T04:00:50Z"}).end == NOW
    assert window({"from": "2026-08-23T03:59:30Z"}).begin < OLDEST


@given(st.floats(1e9, 2e9), st.floats(60.0, MAX_STEP_S), st.sampled_from([DEFAULT_BUCKETS, MAX_BUCKETS]))
def test_the_step_that_is_chosen_makes_no_more_buckets_than_wanted(begin: float, length: float, most: int) -> None:
    assert 1 <= Window(begin, begin + length, readable_step(length, most)).count <= most


@pytest.mark.parametrize(
    ("parameters", "parameter", "says"),
    [
        ({"from": "yesterday"}, "from", "2026-11-21T04:00:00Z"),
        ({"from": "1800000000"}, "from", "2026-11-21T04:00:00Z"),
        ({"from": "2026-11-21T04:00:00"}, "from", "2026-11-21T04:00:00Z"),
        ({"to": "2026-02-31T04:00:00Z"}, "to", "2026-02-31"),
        ({"from": "2026-11-21T03:00:00 01:00"}, "from", "%2B"),
        ({"from": "0001-01-01T00:00:00+14:00"}, "from", "0001"),
        ({"from": "2026-11-21T00:00:00Z", "to": "2026-11-20T00:00:00Z"}, "from", "before `to`"),
        ({"from": "2026-11-20T00:00:00Z", "to": "2026-11-20T00:00:00Z"}, "from", "at least 60 s before `to`"),
        ({"from": "2026-11-20T00:00:00Z", "to": "2026-11-20T00:00:59Z"}, "from", "at least 60 s before `to`"),
        ({"to": "2026-11-21T05:00:00Z"}, "to", "in the future: it is 2026-11-21T04:00:10Z"),
        ({"from": "9999-01-01T00:00:00Z"}, "from", "in the future"),
        ({"from": "2026-08-22T00:00:00Z"}, "from", "since 2026-08-23T04:00:10Z"),
        ({"to": "2026-08-01T00:00:00Z"}, "to", "since 2026-08-23T04:00:10Z"),
        ({"step": "59"}, "step", "60 s"),
        ({"step": "0"}, "step", "60 s"),
        ({"step": "-60"}, "step", "5m"),
        ({"step": "1.5h"}, "step", "5m"),
        ({"step": "5 m"}, "step", "5m"),
        ({"step": "1w"}, "step", "1d"),
        ({"step": ""}, "step", "5m"),
        ({"step": "٦٠"}, "step", "5m"),
        ({"step": "999999999d"}, "step", "3650d"),
        ({"step": "9" * 5000}, "step", "5m"),
        ({"step": "60"}, "step", "makes 1440 buckets; 1000 are possible. Take 120 or more"),
        ({"stepp": "60"}, "stepp", "did you mean step?"),
        ({"begin": "2026-11-20T00:00:00Z"}, "begin", "unknown"),
    ],
)
def test_nonsense_is_named_with_its_remedy(parameters: dict[str, str], parameter: str, says: str) -> None:
    with pytest.raises(ProblemError) as caught:
        window(parameters)
    [error] = caught.value.members["errors"]
    assert error["parameter"] == parameter
    assert says in error["message"]
    assert len(caught.value.detail) < 300


# -- answering


@pytest.fixture
def hub() -> MadeUpHub:
    return MadeUpHub()


class Api:
    """Availability alone, asked as JSON."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.session, self.url = session, url

    async def get(self, path: str, status: int = 200, **parameters: str) -> Any:
        url = f"{self.url}{path}?{urlencode({name.strip('_'): text for name, text in parameters.items()})}"
        async with self.session.get(url) as response:
            assert response.status == status, await response.text()
            return await response.json(content_type=None)


@pytest.fixture
async def api(hub: MadeUpHub) -> AsyncIterator[Api]:
    app = web.Application(middlewares=[problems])
    pictures = Pictures(hub)
    for route in AvailabilityReads(hub.clock, pictures, Names(hub, pictures)).routes():
        app.router.add_get(route.path, route.handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with aiohttp.ClientSession() as session:
        yield Api(session, f"http://127.0.0.1:{runner.addresses[0][1]}")
    await runner.cleanup()


async def test_the_fleet_has_its_numbers_and_its_buckets(api: Api, hub: MadeUpHub) -> None:
    answer = await api.get("/api/v1/availability")
    assert answer["cluster_id"] is None
    assert answer["availability"] is None
    assert answer["step_s"] == 600
    assert 144 <= len(answer["buckets"]) <= 145
    assert answer["buckets"][0]["begin"] == answer["begin"]
    assert answer["buckets"][-1]["end"] == answer["end"]
    assert hub.availability.asked[0][1] is None


async def test_a_cluster_is_found_by_name_and_by_id(api: Api, hub: MadeUpHub) -> None:
    cluster_id = hub.put("prod", hub.answer())
    for name in ("prod", str(cluster_id)):
        assert (await api.get(f"/api/v1/clusters/{name}/availability", step="1h"))["cluster_id"] == str(cluster_id)
    assert (await api.get("/api/v1/clusters/nobody/availability", 404))["type"] == "/problems/cluster-not-found"


async def test_nonsense_reaches_no_database(api: Api, hub: MadeUpHub) -> None:
    problem = await api.get("/api/v1/availability", 400, step="1")
    assert problem["type"] == "/problems/bad-query"
    assert problem["errors"][0]["parameter"] == "step"
    await api.get("/api/v1/availability", 400, from_="2031-01-01T00:00:00Z")
    assert hub.availability.asked == []


async def test_a_standby_says_what_it_waits_for(api: Api, hub: MadeUpHub) -> None:
    hub.stand_by("another instance leads")
    assert (await api.get("/api/v1/availability", 503))["type"] == "/problems/not-leading"
