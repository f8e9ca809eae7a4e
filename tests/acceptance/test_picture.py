"""One service over one of each: what `muster status` and `muster cluster` say is what is."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml

from muster.demo.behaviours import BEHAVIOURS
from tests.support.service import Fleet, Service, assert_chain, muster, running_service, simulated, until
from validator.reasons import REASONS, Health, Reason

BROKEN = (
    "full-backlog",
    "refuse",
    "black-hole-accept",
    "tls-hang",
    "plain-http",
    "expired",
    "wrong-name",
    "wrong-ca",
    "unauthorized",
    "no-answer",
    "unavailable",
    "server-error",
    "not-ready",
    "frozen-etcd",
    "redirect",
    "endless-body",
    "reset",
)
WEAK = ("expiring-soon", "namespace-forbidden", "throttled", "clock-skew")
WELL = ("healthy", "anonymous-off", "no-readyz", "connection-close")
ALL = (*BROKEN, *WEAK, *WELL)


def name_of(behaviour: str) -> str:
    return f"{behaviour}-00001"


def expected(behaviour: str) -> tuple[Reason | None, Health]:
    reason = BEHAVIOURS[behaviour].expect
    return reason, Health.HEALTHY if reason is None else REASONS[reason].health


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with simulated(*((1, behaviour) for behaviour in ALL)) as running:
        yield running


@pytest.fixture(scope="module")
def service(fleet: Fleet) -> Iterator[Service]:
    with running_service("--static", fleet.source, interval_s=2.0, timeout_s=1.5) as running:
        until(lambda: not wrong(running), 15, "the picture is right")
        yield running


def wrong(service: Service) -> dict[str, object]:
    """Clusters that are not shown as they are."""
    clusters = service.clusters()
    found: dict[str, object] = {}
    for behaviour in ALL:
        reason, health = expected(behaviour)
        shown = clusters.get(name_of(behaviour), {})
        if (shown.get("reason"), shown.get("health")) != (reason, health):
            found[behaviour] = shown.get("reason"), shown.get("health"), shown.get("message")
    return found


def test_status_tells_the_truth(service: Service) -> None:
    ran = service.cli("status", "--all", "-o", "json")
    assert (ran.code, ran.err) == (1, "")
    said = json.loads(ran.out)
    assert {c["name"]: (c["reason"], c["health"]) for c in said["clusters"]} == {
        name_of(behaviour): expected(behaviour) for behaviour in ALL
    }
    assert said["total"] == len(ALL)
    assert said["counts"] == {health: sum(expected(b)[1] is health for b in ALL) for health in Health}
    assert said["oldest_fact_age_s"] < 20
    assert said["source_problems"] == []
    assert said["store"]["degraded_since"] is None


def test_the_screen_names_every_broken_cluster_and_counts_the_others(service: Service) -> None:
    ran = service.cli("status")
    assert (ran.code, ran.err) == (1, "")
    for behaviour in (*BROKEN, *WEAK):
        reason, _ = expected(behaviour)
        [line] = [line for line in ran.out.splitlines() if name_of(behaviour) in line]
        assert str(reason) in line
    assert not any(name_of(behaviour) in ran.out for behaviour in WELL)
    assert f"{len(ALL)} clusters" in ran.out


@pytest.mark.parametrize("output", ["wide", "yaml"])
def test_every_output_has_the_same_clusters(service: Service, output: str) -> None:
    ran = service.cli("status", "--all", "-o", output)
    assert ran.code == 1
    for behaviour in ALL:
        assert name_of(behaviour) in ran.out
    if output == "yaml":
        assert yaml.safe_load(ran.out)["total"] == len(ALL)


@pytest.mark.parametrize("behaviour", [*BROKEN, *WEAK])
def test_a_cluster_is_shown_with_its_stage_and_its_remedy(service: Service, behaviour: str) -> None:
    said = service.cluster(name_of(behaviour))
    reason, health = expected(behaviour)
    assert reason is not None
    assert (said["stage"], said["remedy"]) == (REASONS[reason].stage, remedy(service, behaviour))
    ran = service.cli("cluster", name_of(behaviour))
    assert ran.code == (1 if behaviour in BROKEN else 0)
    flat = " ".join(ran.out.split())
    for shown in (reason, health, remedy(service, behaviour)):
        assert shown in flat


def remedy(service: Service, behaviour: str) -> str:
    reason, _ = expected(behaviour)
    assert reason is not None
    name = name_of(behaviour)
    return REASONS[reason].remedy_for(name, service.clusters()[name]["endpoint"])


def test_a_cluster_that_answers_shows_its_stages_and_its_identity(service: Service, fleet: Fleet) -> None:
    said = json.loads(service.cli("cluster", name_of("healthy"), "-o", "json").out)
    [apiserver] = [check for check in said["checks"] if check["check"] == "apiserver"]
    assert {stage["stage"] for stage in apiserver["answer"]["stages"]} >= {"connect", "tls", "http"}
    assert apiserver["evidence"]["status"] == 200
    assert said["external_uid"] == fleet.clusters[name_of("healthy")].uid
    assert said["last_success_at"] > said["first_seen_at"]


def test_clusters_can_be_filtered(service: Service) -> None:
    ran = service.cli("clusters", "--health", "Healthy", "-o", "json")
    assert {c["name"] for c in json.loads(ran.out)["clusters"]} == set(map(name_of, WELL))


def test_metrics_agree_with_the_picture(service: Service) -> None:
    status, body = service.get("/metrics")
    assert status == 200
    lines = [line for line in body.decode().splitlines() if line.startswith("muster_cluster_health{")]
    assert len(lines) == len(ALL)
    for behaviour in ALL:
        [line] = [line for line in lines if f'cluster="{name_of(behaviour)}"' in line]
        assert f'health="{expected(behaviour)[1]}"' in line
    succeeded = [
        b for b in body.decode().splitlines() if b.startswith("muster_cluster_last_success_timestamp_seconds{")
    ]
    assert not any(name_of("refuse") in line for line in succeeded)
    assert any(name_of("healthy") in line for line in succeeded)


def test_history_begins_with_the_first_answer_and_is_a_chain(service: Service) -> None:
    history = service.history()
    assert_chain(history)
    assert {change["cluster_name"] for change in history} == set(map(name_of, ALL))
    ran = service.cli("history", "-o", "json")
    assert ran.code == 0
    assert json.loads(ran.out)["transitions"][0]["id"] == history[-1]["id"]


def test_an_unknown_name_is_a_usage_error_with_a_suggestion(service: Service) -> None:
    ran = service.cli("cluster", "healthy-0001")
    assert (ran.code, ran.out) == (2, "")
    assert "healthy-00001" in ran.err


@pytest.mark.parametrize(
    "arguments", [("status", "--no-such-flag"), ("status", "-o", "xml"), ("status", "--server", "nonsense")]
)
def test_nonsense_is_a_usage_error(service: Service, arguments: tuple[str, ...]) -> None:
    ran = service.cli(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--interval", "0.1"), "MUSTER_INTERVAL_S (--interval)"),
        (("--timeout", "40"), "the timeout has to be below the interval"),
        (("--listen", "0.0.0.0:8645"), "MUSTER_LISTEN (--listen)"),
        (("--otlp-endpoint", "http://user:sesame@example/"), "MUSTER_OTLP_ENDPOINT"),
    ],
)
def test_settings_that_make_no_sense_are_a_usage_error(flags: tuple[str, ...], says: str) -> None:
    ran = muster("run", *flags)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
    assert "sesame" not in ran.err


def test_without_a_service_status_ends_with_3_and_says_what_to_do() -> None:
    ran = muster("status", server="http://127.0.0.1:1")
    assert (ran.code, ran.out) == (3, "")
    assert "not reachable" in ran.err
    assert "muster run" in ran.err


def test_a_healthy_fleet_ends_with_0_and_an_empty_one_says_how_to_begin() -> None:
    with simulated((2, "healthy"), (1, "expiring-soon")) as fleet, running_service("--static", fleet.source) as service:
        until(lambda: service.fleet()["counts"]["Healthy"] == 2, 10, "both are healthy")
        until(lambda: service.health("expiring-soon-00001") == "Degraded", 10, "the third has been asked")
        assert service.cli("status").code == 0
        for name in list(fleet.clusters):
            fleet.remove(name)
        until(lambda: service.fleet()["total"] == 0, 15, "the fleet is empty")
        ran = service.cli("status")
        assert ran.code == 0
        assert "--kubeconfig" in ran.out
