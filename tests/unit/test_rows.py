"""Rows: what is written is what is read, and what another release wrote stops nobody."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.rows import state_from_row, state_to_row, transition_from_row, transition_to_row
from collector.transition import Transition
from validator.clean import MAX_EVIDENCE_CHARS, clean_evidence, clean_text
from validator.health import CheckState, HealthSettings, expires_at, step, went_stale
from validator.model import MAX_MESSAGE_CHARS, NO_EVIDENCE, Check, Evidence, Outcome, Verdict
from validator.reasons import Health, Reason, Stage
from validator.schedule import Lane

CLUSTER = UUID("6d757374-6572-4000-8000-000000000001")
START = 1_800_000_000.0

instants = st.integers(0, 4_000_000).map(lambda ms: START + ms / 1000)
texts = st.text(max_size=40)
evidence = st.dictionaries(texts, st.one_of(texts, st.integers(), st.booleans(), st.floats()), max_size=6)
clean = evidence.map(clean_evidence)
durations = st.integers(0, 10**8).map(lambda us: us / 1_000_000)


@st.composite
def verdicts(draw: st.DrawFn) -> Verdict:
    outcome = draw(st.sampled_from(Outcome))
    at = draw(instants)
    return Verdict(
        check=Check.APISERVER,
        cluster_id=CLUSTER,
        outcome=outcome,
        observed_at=at,
        received_at=at,
        duration_s=draw(durations),
        lateness_s=draw(durations),
        allowance_s=draw(st.floats(1, 1e6)),
        lane=draw(st.sampled_from(Lane)),
        skipped_ticks=draw(st.integers(0, 10**6)),
        reason=None if outcome is Outcome.PASS else draw(st.sampled_from(Reason)),
        stage=draw(st.none() | st.sampled_from(Stage)),
        message=clean_text(draw(texts), MAX_MESSAGE_CHARS),
        evidence=draw(clean),
    )


@st.composite
def states(draw: st.DrawFn) -> CheckState:
    state = None
    for verdict in draw(st.lists(verdicts(), min_size=1, max_size=5)):
        state = step(state, verdict, HealthSettings(fail_after=2))
    assert state is not None
    return draw(st.sampled_from([state, went_stale(state, expires_at(state) + 1)]))


def through_json(row: dict[str, Any]) -> dict[str, Any]:
    """What PostgreSQL does to a row: JSON there, typed columns back."""
    return {**json.loads(json.dumps(row, allow_nan=False)), "cluster_id": CLUSTER}


@given(states())
def test_what_is_written_is_what_is_read(state: CheckState) -> None:
    assert state_from_row(through_json(state_to_row(state))) == state


@given(states())
def test_evidence_that_the_newest_verdict_has_too_is_kept_once(state: CheckState) -> None:
    assert state.latest is not None
    shared = state.evidence is state.latest.evidence
    assert (state_to_row(state)["evidence"] is None) == shared


ROW = through_json(
    state_to_row(
        step(
            None,
            Verdict(
                Check.APISERVER,
                CLUSTER,
                Outcome.FAIL,
                START,
                START,
                0.5,
                0.1,
                73.0,
                reason=Reason.NOT_READY,
                stage=Stage.HTTP,
                message="503",
                evidence={"status": 503},
            ),
            HealthSettings(),
        )
    )
)


class TestOtherReleases:
    def test_a_check_that_is_not_asked_here_is_left_alone(self) -> None:
        assert state_from_row({**ROW, "check_name": "karma"}) is None

    def test_a_health_that_is_not_known_reads_as_unknown_and_keeps_its_version(self) -> None:
        state = state_from_row({**ROW, "health": "Enlightened", "changes": 9})
        assert state is not None
        assert (state.health, state.changes) == (Health.UNKNOWN, 9)

    @pytest.mark.parametrize("column", ["reason", "stage", "last_known", "flap_last"])
    def test_a_word_that_is_not_known_reads_as_none(self, column: str) -> None:
        state = state_from_row({**ROW, column: "Nirvana"})
        assert state is not None
        assert (getattr(state, column) if column != "flap_last" else state.flap.last) is None

    @pytest.mark.parametrize(
        "latest", [None, [], {}, "text", {"outcome": "bliss"}, {"outcome": 3}, {"outcome": None}], ids=repr
    )
    def test_a_newest_verdict_that_can_not_be_read_is_none(self, latest: object) -> None:
        state = state_from_row({**ROW, "latest": latest})
        assert state is not None
        assert (state.latest, state.evidence) == (None, NO_EVIDENCE)

    @pytest.mark.parametrize("key", ["reason", "stage", "message", "evidence", "duration_s", "lateness_s", "lane"])
    @pytest.mark.parametrize("value", [None, [], {}, "", "text", 7, True], ids=repr)
    def test_a_key_of_another_kind_is_as_good_as_absent(self, key: str, value: object) -> None:
        state = state_from_row({**ROW, "latest": {**ROW["latest"], key: value}})
        assert state is not None
        assert state.latest is not None
        assert isinstance(state.latest.duration_s, float)
        assert isinstance(state.latest.message, str)
        assert state.latest.lane in Lane
        assert all(isinstance(item, str | int | float) for item in state.latest.evidence.values())

    def test_missing_keys_are_no_trouble(self) -> None:
        state = state_from_row({**ROW, "latest": {"outcome": "pass", "more": {"than": ["we", "know"]}}})
        assert state is not None
        assert state.latest is not None
        assert (state.latest.outcome, state.latest.duration_s, state.latest.lane) == (Outcome.PASS, 0.0, Lane.LIVE)

    def test_what_is_nested_in_evidence_is_left_out(self) -> None:
        state = state_from_row({**ROW, "evidence": {"kept": 1, "nested": {"a": 1}, "list": [1]}})
        assert state is not None
        assert state.evidence == {"kept": 1}


class TestTransitions:
    @given(states(), st.integers(0, 9), texts)
    def test_what_is_written_is_what_is_read(self, state: CheckState, collapsed: int, name: str) -> None:
        written = Transition(
            id=7,
            at=START,
            cluster_id=CLUSTER,
            cluster_name=name,
            check=state.check,
            from_health=Health.UNKNOWN,
            to_health=state.health,
            since=state.since,
            reason=state.reason,
            stage=state.stage,
            message=state.message,
            evidence=state.evidence,
            flapping=state.flap.flapping,
            collapsed=collapsed,
            changes=state.changes,
        )
        columns = {"id": 7, "check_name": written.check, "changes": written.changes}
        assert transition_from_row(through_json({**transition_to_row(written), **columns})) == written

    def test_a_health_of_another_release_reads_as_unknown(self) -> None:
        row = {
            **dict.fromkeys(("reason", "stage"), "Nirvana"),
            "id": 1,
            "at": START,
            "cluster_id": str(CLUSTER),
            "cluster_name": "c",
            "check_name": "karma",
            "from_health": "Zen",
            "to_health": "Healthy",
            "since": START,
            "message": "",
            "evidence": {"om": []},
            "flapping": False,
            "collapsed": 0,
            "changes": 3,
        }
        read = transition_from_row(row)
        assert (read.from_health, read.to_health, read.check, read.evidence) == (
            Health.UNKNOWN,
            Health.HEALTHY,
            "karma",
            {},
        )


class TestClean:
    @given(st.text(), st.integers(1, 50))
    def test_text_is_one_printable_line_within_its_bound(self, text: str, limit: int) -> None:
        cleaned = clean_text(text, limit)
        assert cleaned.isprintable()
        assert len(cleaned) <= limit

    @given(evidence)
    def test_evidence_is_what_postgresql_takes(self, found: Evidence) -> None:
        cleaned = clean_evidence(found)
        text = json.dumps(dict(cleaned), allow_nan=False, ensure_ascii=False)
        assert text.encode()  # no lone surrogate
        assert "\\u0000" not in text
        assert clean_evidence(cleaned) is cleaned

    def test_clean_evidence_is_not_copied(self) -> None:
        found: Evidence = {"http_ms": 3.2, "path": "/readyz", "reused": True, "status": 200}
        assert clean_evidence(found) is found

    @pytest.mark.parametrize(
        ("dirty", "cleaned"),
        [
            ("a\0b", "a b"),
            ("\x1b[2Jgone", "[2Jgone"),
            ("two\nlines", "two lines"),
            ("\ud800", ""),
            ("x" * 5000, "x" * (MAX_EVIDENCE_CHARS - 1) + "…"),
            (float("nan"), "out of range"),
            (float("-inf"), "out of range"),
            (10**5000, "out of range"),
            (True, True),
            (-2.5, -2.5),
        ],
        ids=lambda value: repr(value)[:20] if not isinstance(value, int) or value < 10**9 else "10**5000",
    )
    def test_values(self, dirty: str | float, cleaned: str | float) -> None:
        assert clean_evidence({"key": dirty}) == {"key": cleaned}

    def test_a_thousand_items_are_cut(self) -> None:
        assert len(clean_evidence({f"key{number}": number for number in range(1000)})) == 64

    def test_keys_are_cleaned_too(self) -> None:
        assert set(clean_evidence({"a\0b": 1, "k" * 1000: 2})) == {"a b", "k" * 99 + "…"}
