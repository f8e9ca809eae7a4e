"""`muster matrix`: how it looks at every width, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from muster.api import schemas
from muster.cli.render.health import LOOKS, look
from muster.cli.render.matrix import View, matrix_lines
from muster.cli.render.status import Screen
from tests.support.cli import muster
from tests.support.hub import MadeUpHub, served
from tests.support.terminal import CTRL_C, on_a_terminal
from validator.locations import Environment, Provider
from validator.model import Check
from validator.reasons import Reason

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)

REASON = {
    "Unhealthy": "ObjectLockSettingsMissing",
    "Unreachable": "StorageTimeout",
    "Unknown": "Stale",
    "Suspended": "Hibernated",
    "Degraded": "ObjectLockUnreadable",
}


def cell(cluster: str, location: str, health: str = "Healthy", **more: Any) -> schemas.MatrixCell:
    fields: dict[str, Any] = {
        "cluster_id": f"id-{cluster}",
        "cluster": cluster,
        "location_id": f"id-{location}",
        "location": location,
        "provider": "azure",
        "account": "acme",
        "health": health,
        "check": "location",
        "reason": REASON.get(health),
        "stage": "storage",
        "message": "403 AuthorizationPermissionMismatch",
        "since": NOW - timedelta(hours=3),
        "age_s": 840.0,
        "last_known": None,
        "last_success_at": None,
        "method": "agent",
        "flapping": False,
        "docs": None,
    }
    return schemas.MatrixCell(**{**fields, **more})


def head(cells: list[schemas.MatrixCell], **more: Any) -> schemas.MatrixPage:
    counts = {health: sum(each.health == health for each in cells) for health in (*LOOKS, "Novel")}
    columns = {each.location_id: each.location for each in cells}
    fields: dict[str, Any] = {
        "generation": 1,
        "now": NOW,
        "total": len(cells),
        "clusters": len({each.cluster_id for each in cells}),
        "counts": counts,
        "locations": tuple(
            schemas.MatrixColumn(id=key, name=name, provider="azure", account="acme", pairs=1)
            for key, name in sorted(columns.items())
        ),
        "causes": (cause(),) if len(cells) > counts["Healthy"] else (),
        "next": None,
        "cells": (),
    }
    return schemas.MatrixPage(**{**fields, **more})


def cause(**more: Any) -> schemas.MatrixCause:
    fields: dict[str, Any] = {
        "text": "12 clusters: RoleMissing on account acme",
        "scope": "account",
        "where": "acme",
        "health": "Unhealthy",
        "reason": "RoleMissing",
        "pairs": 24,
        "clusters": 12,
        "locations": 2,
        "cluster_names": tuple(f"prod-westeurope-{n}" for n in range(5)),
        "location_names": ("daily", "weekly"),
        "since": NOW - timedelta(hours=3),
        "remedy": "Assign Storage Blob Data Contributor; Owner is not enough. " * 4,
        "docs": "docs/reasons.md#rolemissing",
    }
    return schemas.MatrixCause(**{**fields, **more})


def drawn(cells: list[schemas.MatrixCell], width: int, height: int | None = None, **more: Any) -> list[str]:
    page = head(cells, **more)
    view = View(wide=False, problems=False, filtered=False, matching=page.counts)
    lines = matrix_lines(page, cells, view, Screen(width, height), "http://127.0.0.1:8645")
    return [line.plain for line in lines]


THREE = [
    cell("prod-1", "daily", "Unhealthy"),
    cell("prod-1", "weekly", flapping=True, age_s=30.0),
    cell("prod-2", "daily", "Unknown", age_s=None),
]


def test_a_wide_screen_shows_reasons_and_a_narrow_one_words() -> None:
    lines = drawn(THREE, 120)
    assert (
        lines[0]
        == "2 clusters, 2 locations · 3 pairs · oldest fact here 14 min old · 1 flapping (~) · http://127.0.0.1:8645"
    )
    assert lines[4:7] == [
        "CLUSTER  daily                               weekly",
        "prod-1   ✖ ObjectLockSettingsMissing 14 min  ✔ ok~ 30 s",
        "prod-2   ? Stale                          -  ·",
    ]
    assert "· does not use it" in lines
    lines = drawn(THREE, 38)
    assert lines[5:7] == ["prod-1   ✖ fails 14 min  ✔ ok~ 30 s", "prod-2   ? unkn       -  ·"]


def test_what_they_have_in_common_stands_below_with_the_remedy() -> None:
    lines = drawn(THREE, 120)
    begin = lines.index("✖ 12 clusters: RoleMissing on account acme   for 3 h   24 pairs")
    assert lines[begin + 1].startswith("  prod-westeurope-0, prod-westeurope-1, ")
    assert lines[begin + 1].endswith(" and 7 more")
    assert lines[begin + 2].startswith("  → Assign Storage Blob Data Contributor")
    assert "docs/reasons.md" not in " ".join(lines)  # all of the remedy is there
    short = drawn(THREE, 100, 24, causes=(cause(),) * 9)
    assert sum("docs/reasons.md#rolemissing" in line for line in short) == 2
    assert "… and 168 pairs for 7 more causes" in short


def test_where_the_columns_do_not_fit_the_pairs_that_are_not_well_are_listed() -> None:
    cells = [cell("prod-1", f"backups-{n:02}", "Unhealthy" if n < 2 else "Healthy") for n in range(20)]
    lines = drawn(cells, 120)
    assert lines[4].split() == ["HEALTH", "CLUSTER", "LOCATION", "REASON", "FOR", "AGE", "MESSAGE"]
    assert [line.split()[3] for line in lines[5:7]] == ["backups-00", "backups-01"]
    assert lines[7] == "… and ✔ 18 healthy   (`-o wide` shows them)"


def test_a_screen_holds_what_fits_and_counts_the_rest() -> None:
    cells = [cell(f"prod-{n:03}", "daily", "Unhealthy" if n < 3 else "Healthy") for n in range(200)]
    lines = drawn(cells, 120, 30)
    assert len(lines) <= 30
    assert any("healthy   (`--all` shows them)" in line for line in lines)
    assert len(drawn(cells, 120)) > 200


@pytest.mark.parametrize(
    ("health", "word"),
    [
        ("Unreachable", "down"),
        ("Unhealthy", "fails"),
        ("Unknown", "unkn"),
        ("Degraded", "weak"),
        ("Suspended", "off"),
        ("Healthy", "ok"),
        ("Novel", "novel"),
    ],
)
def test_colour_is_never_needed(health: str, word: str) -> None:
    cells = [cell("prod-1", "daily", health, reason=None), cell("prod-1", "weekly", "Unhealthy")]
    for width, shown in ((120, "ok" if health == "Healthy" else health), (42, word)):
        assert f"{look(health).glyph} {shown} 14 min" in drawn(cells, width)[5]


names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=60)


@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(names, names, st.sampled_from([*LOOKS, "Novel"])), min_size=1, max_size=12, unique_by=lambda x: x[:2]
    ),
    st.integers(70, 200),
    st.integers(10, 60),
)
def test_nothing_is_wider_than_the_screen_and_nothing_can_be_told_to_it(
    pairs: list[tuple[str, str, str]], width: int, height: int
) -> None:
    lines = drawn([cell(*pair) for pair in pairs], width, height)
    assert all(line.isprintable() for line in lines)
    counted = ("… and ", *(look(health).glyph for health in (*LOOKS, "Novel")))  # cut by the terminal, as in `status`
    assert [line for line in lines if cell_len(line) > width and not line.startswith(counted)] == []


# -- against the real API


@pytest.fixture
async def hub() -> MadeUpHub:
    hub = MadeUpHub()
    clusters = [hub.put(f"prod-{number:02}", labels={"env": "prod"}) for number in range(4)]
    for name in ("daily", "weekly"):
        location = hub.put_location(
            name, *clusters, provider=Provider.AZURE, account="acme", environment=Environment.PUBLIC
        )
        for number, cluster_id in enumerate(clusters):
            reason = Reason.ROLE_MISSING if number == 2 else None
            answer = hub.answer(reason, check=Check.LOCATION, evidence={"method": "agent"})
            hub.put_pair(cluster_id, location, answer)
    return hub


@pytest.fixture
def url(hub: MadeUpHub) -> Iterator[str]:
    with served(hub) as url:
        yield url


def test_it_ends_by_what_it_shows(hub: MadeUpHub, url: str) -> None:
    result = muster("matrix", server=url)
    assert (result.exit_code, "prod-02: RoleMissing on account acme" in result.stdout) == (1, True)
    assert muster("matrix", "--cluster", "prod-01,prod-03", server=url).exit_code == 0
    assert muster("matrix", "--health", "healthy", server=url).exit_code == 0
    assert muster("matrix", "--location", "dayly", server=url).exit_code == 2
    problems = muster("matrix", "--problems", server=url).stdout
    assert ("prod-02  ✖" in problems, "prod-01" in problems) == (True, False)
    assert "✔ 6 healthy\n" in problems
    assert muster("matrix", "--problems", "--cluster", "prod-01", server=url).stdout.endswith(
        "All 2 pairs are healthy.\n"
    )
    assert muster("matrix", "--account", "other", server=url).stdout == "No pair of a cluster and a location matches.\n"


def test_for_programs_and_for_grep(hub: MadeUpHub, url: str) -> None:
    whole = json.loads(muster("matrix", "-o", "json", server=url).stdout)
    assert [each["cluster"] for each in whole["cells"]] == sorted([f"prod-{n:02}" for n in range(4)] * 2)
    assert whole["causes"][0]["pairs"] == 2
    assert "next" not in whole
    troubled = json.loads(muster("matrix", "-o", "json", "--problems", server=url).stdout)
    assert {each["cluster"] for each in troubled["cells"]} == {"prod-02"}
    wide = muster("matrix", "-o", "wide", "-l", "env=prod", server=url).stdout.splitlines()
    assert wide[5].split()[:3] == ["✖", "Unhealthy", "prod-02"]
    assert {"RoleMissing", "agent", "azure", "acme", "location"} <= set(wide[5].split())
    assert len(wide) == 5 + 8


def test_many_pages_are_one_matrix(hub: MadeUpHub, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muster.cli.matrix_picture.MOST_CELLS", 3)
    lines = muster("matrix", server=url).stdout.splitlines()
    assert [line.split()[0] for line in lines[5:9]] == ["prod-02", "prod-00", "prod-01", "prod-03"]
    assert all(line.count("5 s") + line.count("6 s") == 2 for line in lines[5:9])


def test_no_pair_at_all_is_no_mistake() -> None:
    with served(MadeUpHub()) as url:
        result = muster("matrix", server=url)
    assert (result.exit_code, result.stdout.startswith("No cluster uses a backup location.")) == (0, True)


def test_it_is_watched_on_a_terminal_until_ctrl_c(hub: MadeUpHub, url: str, tmp_path: Path) -> None:
    environment = {"MUSTER_SERVER": url}
    with on_a_terminal("muster", "matrix", "--watch", environment=environment, rows=24, columns=90) as terminal:
        terminal.until("prod-02  ✖ RoleMissing", 10)
        terminal.until("Ctrl-C ends", 5)
        terminal.press(CTRL_C)
        assert terminal.ended(5) == 130
