"""`muster availability`: windows as people type them, and a bar that hides no outage."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.api import schemas
from muster.cli.render.availability import availability_lines, block, buckets_table, percent
from tests.support.cli import made_up, muster
from tests.support.hub import served
from tests.support.scripted import http, scripted

BEGIN = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def shares(up_s: float = 0, down_s: float = 0, unknown_s: float = 0, paused_s: float = 0) -> dict[str, Any]:
    known_s = up_s + down_s
    return {
        "up_s": up_s,
        "down_s": down_s,
        "unknown_s": unknown_s,
        "paused_s": paused_s,
        "availability": up_s / known_s if known_s else None,
    }


def report(*parts: dict[str, Any], **more: Any) -> schemas.Availability:
    step = timedelta(hours=1)
    buckets = [
        {**part, "begin": BEGIN + step * number, "end": BEGIN + step * (number + 1)}
        for number, part in enumerate(parts)
    ]
    total = shares(*(sum(part[key] for part in parts) for key in ("up_s", "down_s", "unknown_s", "paused_s")))
    end = BEGIN + step * len(parts)
    fields = {"cluster_id": None, "begin": BEGIN, "end": end, "step_s": 3600, "outages": 0, "longest_outage_s": 0.0}
    return schemas.Availability.model_validate({**total, **fields, "buckets": buckets, **more})


@given(st.floats(0, 1))
def test_nothing_short_of_all_the_time_is_100_percent(share: float) -> None:
    assert (percent(share) == "100 %") == (share == 1)


def test_percentages_are_rounded_down() -> None:
    assert [percent(share) for share in (None, 0, 0.99999999, 0.5, 1)] == [
        "unknown",
        "0.000 %",
        "99.999 %",
        "50.000 %",
        "100 %",
    ]


def test_every_kind_of_time_has_a_character_of_its_own() -> None:
    parts = [shares(3600), shares(3599, 1), shares(1, 3599), shares(unknown_s=3600), shares(paused_s=3600)]
    found = report(*parts)
    assert "".join(block(bucket)[0] for bucket in found.buckets) == "█▇▁·‖"
    text = [line.plain for line in availability_lines(found, "prod", 80, colour=False)]
    assert text[3].endswith("█▇▁·‖")
    assert "· not known" in text[4]
    assert "‖ paused" in text[4]
    assert "a block is 1 h" in text[4]


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200, 10_000])
def test_a_long_bar_is_broken_into_lines_that_fit(width: int) -> None:
    lines = availability_lines(report(*[shares(3600)] * 200), "prod", width, colour=True)
    bars = [line.plain for line in lines if "█" in line.plain]
    assert sum(bar.count("█") for bar in bars) == 200
    assert max(map(len, bars)) <= width
    assert all(bar.startswith("2026-11-") for bar in bars)


def test_outages_and_what_is_not_known_are_told() -> None:
    found = report(shares(3000, 600), shares(unknown_s=3600), outages=2, longest_outage_s=480.0)
    text = " ".join(line.plain for line in availability_lines(found, "a\x1bb", 100, colour=True))
    assert "83.333 %" in text
    assert "2 outages, the longest 8 min" in text
    assert "down 8.3 % of the time" in text
    assert "not known 50.0 % of the time" in text
    assert "\x1b" not in text
    assert len(buckets_table(found)) == 3


def test_an_empty_window_is_no_defect() -> None:
    assert availability_lines(report(), "prod", 80, colour=True)


def test_the_window_is_sent_as_the_service_takes_it() -> None:
    body = report(shares(3600)).model_dump_json()
    with scripted(lambda _: [http(body)]) as service:
        command = ["availability", "prod 1", "--from", "2026-11-01T00:00Z", "--to", "2026-11-02T00:00Z", "--step", "2h"]
        assert muster(*command, server=service.url).exit_code == 0
    assert service.asked[0].target == (
        "/api/v1/clusters/prod%201/availability?from=2026-11-01T00%3A00%3A00Z&to=2026-11-02T00%3A00%3A00Z&step=7200"
    )


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--from", "soon"], "--from: 'soon' is no time"),
        (["--from", "2090-01-01"], "still to come"),
        (["--from", "1h", "--to", "2h"], "is not before --to"),
        (["--step", "fortnight"], "--step: 'fortnight' is no span"),
    ],
)
def test_windows_that_make_no_sense_end_with_2(arguments: list[str], says: str) -> None:
    result = muster("availability", *arguments)
    assert result.exit_code == 2
    assert says in result.stderr


async def test_the_real_service_answers_it() -> None:
    with served(made_up()) as url:
        for command in (["availability"], ["availability", "prod-eu-1", "--from", "7d", "--step", "1h", "-o", "wide"]):
            result = muster(*command, server=url)
            assert result.exit_code == 0, result.output
            assert "unknown" in result.stdout
        assert json.loads(muster("availability", "-o", "json", server=url).stdout)["availability"] is None
