"""How things look: widths, shapes, and what is made harmless."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text

from muster.api import schemas
from muster.cli.render.bar import cells, fleet_bar, legend
from muster.cli.render.cluster import cluster_lines
from muster.cli.render.clusters import clusters_table, wide_table
from muster.cli.render.health import LOOKS
from muster.cli.render.output import harmless
from muster.cli.render.status import Screen, status_lines
from muster.cli.render.table import Column, table
from muster.cli.render.text import cut, duration, span, squeezed
from muster.cli.render.trace import trace_lines
from muster.escape import escaped

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
EVIL = "prod\x1b[31m\x1b]0;owned\x07\u202e\x9b2Jname"


def cluster(name: str, health: str = "Unreachable", **more: Any) -> schemas.Cluster:
    fields: dict[str, Any] = {
        "id": "00000000-0000-4000-8000-000000000000",
        "name": name,
        "source": "static",
        "endpoint": "https://10.0.0.1:6443",
        "lifecycle": "Active",
        "labels": {},
        "health": health,
        "check": "apiserver",
        "reason": None if health == "Healthy" else "ConnectTimeout",
        "stage": "connect",
        "message": "10.0.0.1:6443: no answer within 5.0 s",
        "since": NOW - timedelta(minutes=12),
        "last_known": None,
        "last_success_at": NOW - timedelta(minutes=13),
        "age_s": 8.0,
        "flapping": False,
        "pending": False,
        "pause": None,
    }
    return schemas.Cluster(**{**fields, **more})


def fleet(**more: Any) -> schemas.Fleet:
    lane = schemas.Lane(slots=64, busy=0, waiting=0, lateness_p99_s=0.015)
    fields: dict[str, Any] = {
        "generation": 1,
        "now": NOW,
        "version": "0.1.0",
        "role": "leading",
        "started_at": NOW,
        "total": 200,
        "counts": {"Unreachable": 60, "Unhealthy": 0, "Unknown": 0, "Degraded": 0, "Suspended": 0, "Healthy": 140},
        "reasons": {"ConnectTimeout": 59, "TLSTimeout": 1},
        "flapping": 0,
        "oldest_fact_age_s": 31.0,
        "store": schemas.Store(degraded_since=None),
        "guard": schemas.Guard(holding=False, since=None, why=""),
        "source_problems": (),
        "source_problems_total": 0,
        "lanes": schemas.Lanes(live=lane, dead=lane),
    }
    return schemas.Fleet(**{**fields, **more})


def everything_wrong() -> schemas.Fleet:
    problem = schemas.SourceProblem(source="s", where="/etc/k" * 9, message="bad" * 60, remedy="Mend it.", entry=None)
    return fleet(
        store=schemas.Store(degraded_since=NOW - timedelta(minutes=3)),
        guard=schemas.Guard(
            holding=True, since=NOW, why="180 of 196 answering clusters stopped answering within 30 s."
        ),
        source_problems=(problem,) * 9,
        source_problems_total=9,
        flapping=3,
    )


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (-3, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (172_800, "2 d")],
)
def test_spans_are_read_at_a_glance(seconds: float, shown: str) -> None:
    assert span(seconds) == shown


def test_measured_times_keep_what_matters() -> None:
    assert [duration(s) for s in (0.0004, 0.0123, 0.5, 5.02)] == ["0.4 ms", "12 ms", "500 ms", "5.0 s"]


@given(st.text(max_size=60), st.integers(5, 40))
def test_a_cut_text_fits_and_is_printable(text: str, width: int) -> None:
    for shown in (cut(text, width), squeezed(text, width)):
        assert cell_len(shown) <= width
        assert shown.isprintable()


def test_a_long_name_keeps_both_ends() -> None:
    shown = squeezed("arn:aws:eks:eu-central-1:123456789012:cluster/payments-production", 30)
    assert shown.startswith("arn:")
    assert shown.endswith("payments-production")


@given(st.text())
def test_nothing_that_a_terminal_obeys_passes(text: str) -> None:
    assert escaped(text).isprintable()
    assert escaped(escaped(text)) == escaped(text)


def test_a_forgotten_escape_is_caught_at_the_last_gate() -> None:
    assert harmless(Text("a\x1b[31m")).plain == "a\\x1b[31m"
    styled = Text("a", "red")
    assert harmless(styled) is styled


@given(st.dictionaries(st.sampled_from(list(LOOKS)), st.integers(0, 10_000)), st.integers(10, 200))
def test_every_health_that_is_there_is_seen_in_the_bar(counts: dict[str, int], width: int) -> None:
    there = {name for name, number in counts.items() if number}
    pieces = cells(counts, width)
    assert set(pieces) == there
    assert sum(pieces.values()) == (width if there else 0)
    assert all(piece >= 1 for piece in pieces.values())


def test_one_dead_cluster_in_ten_thousand_is_seen() -> None:
    assert cells({"Unreachable": 1, "Healthy": 9999}, 80) == {"Unreachable": 1, "Healthy": 79}


def test_without_colours_the_bar_is_drawn_with_shapes() -> None:
    counts = {"Healthy": 3, "Unreachable": 1}
    assert set(fleet_bar(counts, 8, colour=True).plain) == {"█"}
    assert fleet_bar(counts, 8, colour=False).plain == "○○✔✔✔✔✔✔"


def test_glyphs_and_words_tell_healths_apart_without_colour() -> None:
    assert len({look.glyph for look in LOOKS.values()}) == len(LOOKS)
    assert all(cell_len(look.glyph) == 1 for look in LOOKS.values())
    assert legend({"Unreachable": 2, "Healthy": 1, "Strange": 1}).plain == "○ 2 unreachable   ✔ 1 healthy   · 1 strange"


@pytest.mark.parametrize("height", [16, 24, 50])
@pytest.mark.parametrize("width", [60, 80, 100, 120, 160, 220])
def test_status_is_one_screen(width: int, height: int) -> None:
    rows = [cluster(f"arn:aws:eks:eu-central-1:1234:cluster/prod-{n:03d}", message="x" * 400) for n in range(60)]
    for picture in (fleet(), everything_wrong(), fleet(total=0, counts={}, reasons={})):
        lines = status_lines(picture, rows, Screen(width, height), "http://127.0.0.1:8645", "every 2 s")
        spare = 11 if picture.source_problems else 0  # warnings are never left out, and three rows stay
        assert len(lines) <= height + spare
        if width >= 100:
            assert max(line.cell_len for line in lines) <= width


def test_what_the_screen_leaves_out_is_counted() -> None:
    rows = [cluster(f"c{n}") for n in range(60)]
    text = [line.plain for line in status_lines(fleet(), rows, Screen(100, 20), "http://x")]
    listed = sum(line.startswith("○ Unreachable") for line in text)
    assert listed >= 10
    assert any(f"… and ○ {60 - listed} unreachable" in line for line in text)
    assert any(line.startswith("✔ 140 healthy") for line in text)


def test_warnings_are_sentences_that_say_since_when() -> None:
    text = " ".join(line.plain.strip() for line in status_lines(everything_wrong(), [], Screen(140), "http://x"))
    assert "The database has taken nothing for 3 min." in text
    assert "Alerts have been held for 0 s. 180 of 196" in text
    assert "Mend it." in text or "…" in text
    assert "6 more source problems" in text


def test_a_healthy_fleet_says_so() -> None:
    all_well = fleet(counts={"Healthy": 200}, reasons={})
    assert "✔ All 200 clusters are healthy." in [line.plain for line in status_lines(all_well, [], Screen(80), "x")]


def test_an_empty_fleet_says_how_to_begin() -> None:
    empty = fleet(total=0, counts={}, reasons={}, oldest_fact_age_s=None)
    assert "muster run --kubeconfig" in status_lines(empty, [], Screen(80), "x")[-1].plain


def test_the_message_gives_way_on_a_narrow_screen() -> None:
    rows = [cluster("prod", reason="ClientCertificateRejected")]
    assert "no answer" not in clusters_table(rows, NOW, 80)[1].plain
    assert "no answer within 5.0 s" in clusters_table(rows, NOW, 140)[1].plain
    assert "10.0.0.1:6443" not in clusters_table(rows, NOW, 140)[1].plain  # the row is about that endpoint
    assert "https://10.0.0.1:6443" in wide_table(rows, NOW)[1].plain


def test_rows_say_what_was_known_last_and_what_never_answered() -> None:
    lines = clusters_table([cluster("a", "Unknown", last_known="Healthy", last_success_at=None)], NOW, 140)
    assert "was Healthy" in lines[1].plain
    assert "never" in lines[1].plain


def test_names_and_messages_from_elsewhere_are_harmless_everywhere() -> None:
    evil = cluster(EVIL, message=EVIL, labels={EVIL: EVIL}, source=EVIL, endpoint=EVIL, lifecycle=EVIL, reason=EVIL)
    problem = schemas.SourceProblem(source=EVIL, where=EVIL, message=EVIL, remedy=EVIL, entry=EVIL)
    picture = fleet(source_problems=(problem,), source_problems_total=1, reasons={EVIL: 3}, counts={EVIL: 1})
    check = schemas.Check(
        check=EVIL,
        health=EVIL,
        reason=EVIL,
        stage=EVIL,
        message=EVIL + "!",
        since=NOW,
        last_known=None,
        last_success_at=None,
        flapping=True,
        evidence={EVIL: EVIL},
        remedy=EVIL,
        docs=EVIL,
        streak=None,
        answer=None,
    )
    detail = schemas.ClusterDetail(
        **evil.model_dump(),
        external_uid=EVIL,
        also_known_as=(EVIL,),
        first_seen_at=NOW,
        now=NOW,
        remedy=EVIL,
        docs=EVIL,
        next_due_s=1.0,
        checks=(check,),
    )
    lines = [
        *status_lines(picture, [evil], Screen(120), "http://x"),
        *wide_table([evil], NOW),
        *cluster_lines(detail, 120),
    ]
    for line in map(harmless, lines):
        assert line.plain.isprintable(), line.plain


def test_a_table_pads_all_columns_but_the_last() -> None:
    lines = table([Column("A"), Column("N", right=True), Column("LAST")], [["x", "1", "end"], ["longer", "100", ""]])
    assert [line.plain for line in lines] == ["A         N  LAST", "x         1  end", "longer  100"]


def test_the_trace_is_a_waterfall_that_ends_where_it_failed() -> None:
    stages = [
        schemas.StageTrace(stage="connect", outcome="passed", duration_s=1.0),
        schemas.StageTrace(stage="tls", outcome="failed", duration_s=3.0),
        schemas.StageTrace(stage="http", outcome="unreached", duration_s=None),
    ]
    connect, tls, http = (line.plain for line in trace_lines(stages, 0, 84))
    assert connect.startswith("✔ connect")
    assert connect.endswith("━" * 10)
    assert tls.endswith(" " * 10 + "━" * 30 + " failed here")
    assert "3.0 s" in tls
    assert http.endswith("not reached")
    reused = [schemas.StageTrace(stage=s, outcome="reused", duration_s=None) for s in ("dns", "connect", "tls")]
    assert trace_lines(reused, 0, 80)[0].plain == "↻ kept connection: no dns, connect, tls was needed"
