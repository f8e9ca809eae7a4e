"""From facts to items: only what is new, and only since the consent."""

from __future__ import annotations

from dataclasses import replace

from tests.support.telemetry import NOW, change, cluster, facts, location
from uplink.client.consent.streams import Stream
from uplink.client.encoding.facts import VerdictKey
from uplink.client.encoding.gather import AGAIN_S, ERROR, INFO, WARN, Told, events, gather
from uplink.client.encoding.items import Event, Point

PASS = VerdictKey("apiserver", "pass", None)
FAIL = VerdictKey("apiserver", "fail", "ConnectTimeout")


def points(items: list[object], name: str) -> list[Point]:
    return [item for item in items if isinstance(item, Point) and item.name == name]


def test_h9_what_was_counted_before_the_consent_is_never_told() -> None:
    told = Told(NOW)
    items, told = gather(Stream.METRICS, facts(verdicts={PASS: 1000}), told)
    assert points([*items], "muster.verdicts") == []
    items, told = gather(Stream.METRICS, facts(at=NOW + 70, verdicts={PASS: 1004, FAIL: 2}), told)
    found = {(p.attributes["outcome"], p.value, p.since) for p in points([*items], "muster.verdicts")}
    assert found == {("pass", 4, NOW + 10), ("fail", 2, NOW + 10)}


def test_a_gathering_that_was_not_kept_is_done_again_in_full() -> None:
    _, told = gather(Stream.METRICS, facts(verdicts={PASS: 10}), Told(NOW))
    lost, _ = gather(Stream.METRICS, facts(verdicts={PASS: 13}), told)
    again, _ = gather(Stream.METRICS, facts(verdicts={PASS: 15}), told)
    assert [p.value for p in points([*lost], "muster.verdicts")] == [3]
    assert [p.value for p in points([*again], "muster.verdicts")] == [5]


def test_counters_that_began_anew_tell_nothing_negative() -> None:
    _, told = gather(Stream.METRICS, facts(verdicts={PASS: 10}), Told(NOW))
    items, _ = gather(Stream.METRICS, facts(verdicts={PASS: 2}), told)
    assert points([*items], "muster.verdicts") == []


def test_h9_a_cluster_whose_state_is_a_fact_from_before_the_consent_waits_for_its_next_answer() -> None:
    known = replace(facts(0), clusters=[cluster(1, heard_at=NOW - 1), cluster(2), cluster(3, heard_at=None)])
    items, _ = gather(Stream.METRICS, known, Told(NOW))
    assert len(points([*items], "uplink.cluster.health")) == 2


def test_the_inventory_is_told_once_then_on_change_then_daily() -> None:
    told = Told(NOW)
    items, told = gather(Stream.INVENTORY, facts(2), told)
    assert len(items) == 3
    items, told = gather(Stream.INVENTORY, facts(2, at=NOW + 60), told)
    assert items == []
    changed = replace(facts(2, at=NOW + 120), clusters=[cluster(0, kubernetes_version="v1.37.0"), cluster(1)])
    items, told = gather(Stream.INVENTORY, changed, told)
    assert [item.attributes["k8s.cluster.version"] for item in items] == ["v1.37.0"]
    items, told = gather(Stream.INVENTORY, replace(changed, at=NOW + AGAIN_S + 60), told)
    assert len(items) == 2  # of the one that changed later, later
    items, told = gather(Stream.INVENTORY, replace(changed, at=NOW + 2 * AGAIN_S, clusters=[], locations=[]), told)
    assert (items, told.inventory) == ([], {})


def test_the_health_of_a_cluster_is_no_change_of_the_inventory() -> None:
    _, told = gather(Stream.INVENTORY, facts(1), Told(NOW))
    worse = replace(facts(1), clusters=[cluster(0, health="Unreachable", reason="ConnectTimeout")])
    assert gather(Stream.INVENTORY, worse, told)[0] == []


def test_h9_transitions_from_before_the_consent_are_passed_over() -> None:
    made = events([change(id=1, at=NOW - 0.001), change(id=2, at=NOW)], NOW)
    assert [event.at for event in made] == [NOW]


def test_how_bad_a_change_is_follows_from_where_it_leads() -> None:
    healths = {"Healthy": INFO, "Suspended": INFO, "Degraded": WARN, "Unreachable": ERROR, "Unhealthy": ERROR}
    for health, severity in healths.items():
        (event,) = events([change(to_health=health)], NOW)
        assert isinstance(event, Event)
        assert event.severity == severity


def test_the_log_stream_is_made_of_history_alone() -> None:
    told = Told(NOW)
    assert gather(Stream.LOGS, facts(), told) == ([], told)
    assert location().name  # facts have one, which the inventory tells
