"""Clusters come, go, and are broken in their files, while the service runs."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import yaml

from tests.support.kubeconfigs import answer, entry, kubeconfig, plugin, write
from tests.support.service import Fleet, Json, Service, running_service, simulated, until

CHANGE_S = 10.0
"""Files are looked at every two seconds, and read once they stand still."""


@pytest.fixture(scope="module")
def fleet() -> Iterator[Fleet]:
    with simulated((4, "healthy"), (1, "refuse")) as running:
        yield running


@pytest.fixture(scope="module")
def service(fleet: Fleet) -> Iterator[Service]:
    with running_service("--static", fleet.source) as running:
        until(lambda: running.fleet()["counts"]["Healthy"] == 4, 10, "the picture is right")
        yield running


def asked(service: Service) -> bool:
    """Whether every fact of a cluster that answers is of the last interval or two."""
    ages = [c["age_s"] for c in service.clusters().values() if c["health"] != "Unreachable"]
    return bool(ages) and max(ages) < 2.2


def series(service: Service, name: str) -> list[str]:
    lines = service.get("/metrics")[1].decode().splitlines()
    return [line for line in lines if f'cluster="{name}"' in line]


def entry_of(fleet: Fleet, name: str) -> Json:
    """The cluster's entry in the static list."""
    [found] = [each for each in yaml.safe_load(fleet.source.read_text())["clusters"] if each["name"] == name]
    return dict(found)


# -- the static list


def test_a_cluster_appears_and_vanishes_without_a_restart(service: Service, fleet: Fleet) -> None:
    fleet.add("newcomer")
    until(lambda: service.health("newcomer") == "Healthy", CHANGE_S, "the newcomer is there")
    assert len(series(service, "newcomer")) == 2
    newcomer = service.cluster("newcomer")["id"]
    others = {name: c["id"] for name, c in service.clusters().items()}

    fleet.remove("newcomer")
    until(lambda: "newcomer" not in service.clusters(), CHANGE_S, "the newcomer is gone")
    assert series(service, "newcomer") == []
    ran = service.cli("cluster", "newcomer")
    assert ran.code == 2
    history = service.json(f"/api/v1/clusters/{newcomer}/history")["transitions"]
    assert [change["to_health"] for change in history if change["check"] == "apiserver"] == ["Healthy"]

    fleet.add("newcomer")  # at another address: another cluster, though its name is the same
    until(lambda: service.health("newcomer") == "Healthy", CHANGE_S, "it is there again")
    assert service.cluster("newcomer")["id"] != newcomer
    assert {name: c["id"] for name, c in service.clusters().items() if name != "newcomer"}.items() <= others.items()
    fleet.remove("newcomer")
    until(lambda: "newcomer" not in service.clusters(), CHANGE_S, "it is gone again")


@pytest.mark.parametrize(
    "left", [pytest.param(0.0, id="emptied", marks=pytest.mark.soak), pytest.param(0.5, id="half-written")]
)
def test_a_broken_list_keeps_the_fleet_and_says_so(service: Service, fleet: Fleet, left: float) -> None:
    whole = fleet.source.read_text()
    before = {name: c["id"] for name, c in service.clusters().items()}
    fleet.source.write_text(whole[: int(len(whole) * left)])
    try:
        until(lambda: service.fleet()["source_problems"], CHANGE_S, "the problem is told")
        assert {name: c["id"] for name, c in service.clusters().items()} == before
        until(lambda: asked(service), 5, "all are asked as before")
        ran = service.cli("status")
        assert ran.code == 1
        assert str(fleet.source) in ran.out
        assert f"Source static: {fleet.source}" in ran.out
        [problem] = service.fleet()["source_problems"]
        assert problem["remedy"]
        told = [line for line in service.events("source problem") if line["where"] == problem["where"]]
        assert len(told) == 1, "edges, not ticks"
    finally:
        fleet.source.write_text(whole)
    until(lambda: not service.fleet()["source_problems"], CHANGE_S, "the problem is over")
    assert {name: c["id"] for name, c in service.clusters().items()} == before


def test_one_broken_entry_costs_only_a_word(service: Service, fleet: Fleet) -> None:
    whole = fleet.source.read_text()
    listed = yaml.safe_load(whole)
    listed["clusters"][0]["server"] = "http://plain.example"
    before = set(service.clusters())
    write(fleet.source, json.dumps(listed))
    try:
        until(lambda: service.fleet()["source_problems"], CHANGE_S, "the problem is told")
        [problem] = service.fleet()["source_problems"]
        assert problem["entry"] == listed["clusters"][0]["name"]
        assert set(service.clusters()) == before
    finally:
        write(fleet.source, whole)
    until(lambda: not service.fleet()["source_problems"], CHANGE_S, "the problem is over")


def test_a_list_that_is_not_there_is_told_and_waited_for(tmp_path: Path, fleet: Fleet) -> None:
    with running_service("--static", tmp_path / "later.yaml") as service:
        [problem] = until(lambda: service.fleet()["source_problems"], CHANGE_S, "the problem is told")
        assert problem["where"] == str(tmp_path / "later.yaml")
        assert service.cli("status").code == 1
        write(tmp_path / "later.yaml", fleet.source.read_text())
        until(lambda: service.fleet()["total"] == len(fleet.clusters), CHANGE_S, "the clusters are there")
        assert service.fleet()["source_problems"] == []


# -- kubeconfigs


def context(fleet: Fleet, name: str, cluster: str, user: Json, **fields: object) -> dict[str, list[dict[str, object]]]:
    """A context of this name that leads to a simulated cluster."""
    known = entry_of(fleet, cluster)
    authority = known["certificate-authority-data"]
    return entry(name, user, server=known["server"], certificate_authority_data=authority, **fields)


def test_what_kubectl_reads_is_watched_without_a_flag(tmp_path: Path, fleet: Fleet) -> None:
    for number in (1, 2):
        name = f"healthy-0000{number}"
        user = {"token": fleet.token(name)}
        write(tmp_path / f"{number}.yaml", kubeconfig(context(fleet, f"context-{number}", name, user)))
    paths = f"{tmp_path / '1.yaml'}{os.pathsep}{tmp_path / '2.yaml'}"
    with running_service(environ={"KUBECONFIG": paths}) as service:
        until(lambda: service.fleet()["counts"]["Healthy"] == 2, CHANGE_S, "both files are watched")
        assert set(service.clusters()) == {"context-1", "context-2"}
        (tmp_path / "2.yaml").unlink()
        until(lambda: service.fleet()["source_problems"], CHANGE_S, "the missing file is told")
        assert set(service.clusters()) == {"context-1", "context-2"}


def test_two_contexts_that_lead_to_one_cluster_are_one(tmp_path: Path, fleet: Fleet) -> None:
    cluster, user = "healthy-00001", {"token": fleet.token("healthy-00001")}
    config = kubeconfig(
        context(fleet, "admin", cluster, user),
        context(fleet, "viewer", cluster, user),  # the same endpoint and CA
        context(fleet, "by-name", cluster, user, tls_server_name=f"api.{cluster}.example"),  # the same UID
        context(fleet, "another", "healthy-00002", {"token": fleet.token("healthy-00002")}),
    )
    path = write(tmp_path / "config", config)
    with running_service("--kubeconfig", path) as service:
        until(lambda: len(service.clusters()) == 2, CHANGE_S, "they are one")
        one = service.cluster("admin")
        assert {one["name"], *one["also_known_as"]} == {"admin", "viewer", "by-name"}
        for name in ("viewer", "by-name"):
            assert service.cluster(name)["id"] == one["id"]
            assert service.cli("cluster", name).code == 0
        assert service.cluster("another")["also_known_as"] == []


def test_chosen_contexts_only(tmp_path: Path, fleet: Fleet) -> None:
    user = {"token": fleet.token("healthy-00001")}
    config = kubeconfig(
        context(fleet, "wanted", "healthy-00001", user), context(fleet, "unwanted", "healthy-00002", user)
    )
    path = write(tmp_path / "config", config)
    with running_service("--kubeconfig", path, "--context", "wanted") as service:
        until(lambda: service.health("wanted") == "Healthy", CHANGE_S, "the chosen one is asked")
        assert set(service.clusters()) == {"wanted"}


def test_an_exec_plugin_gives_the_credential(tmp_path: Path, fleet: Fleet) -> None:
    script = plugin(tmp_path / "plugin", answer(token=fleet.token("healthy-00001")))
    user: Json = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(script)}}
    path = write(tmp_path / "config", kubeconfig(context(fleet, "by-plugin", "healthy-00001", user)))
    with running_service("--kubeconfig", path) as service:
        until(lambda: service.health("by-plugin") == "Healthy", CHANGE_S, "it is asked")
        until(lambda: service.cluster("by-plugin")["external_uid"], CHANGE_S, "its namespace was read")
        assert {c["check"]: c["health"] for c in service.cluster("by-plugin")["checks"]} == {
            "apiserver": "Healthy",
            "credential": "Healthy",
        }


def test_hanging_plugins_delay_no_probe_and_are_not_left_behind(tmp_path: Path, fleet: Fleet) -> None:
    script = plugin(tmp_path / "hanging-plugin", "time.sleep(600)")
    contexts = [
        context(
            fleet,
            f"hanging-{number}",
            "healthy-00001",
            {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(script), "args": [str(number)]}},
            tls_server_name=("kubernetes", "kubernetes.default", "kubernetes.default.svc")[number % 3],
        )
        for number in range(12)
    ]
    live = context(fleet, "live", "healthy-00002", {"token": fleet.token("healthy-00002")})
    path = write(tmp_path / "config", kubeconfig(*contexts, live))
    with running_service("--kubeconfig", path) as service:
        until(lambda: service.health("live") == "Healthy", CHANGE_S, "the live one is asked")
        until(
            lambda: service.fleet()["counts"]["Healthy"] >= 4, CHANGE_S, "the others answer, whatever their plugins do"
        )
        running = until(lambda: plugins(script), 5, "plugins hang")
        until(lambda: asked(service), 5, "all are asked on time")
        assert service.fleet()["lanes"]["live"]["lateness_p99_s"] < 0.5
        assert service.stop() < 5
    assert not [process for process in running if process.is_running()]


def plugins(script: Path) -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cmdline"]) if str(script) in (p.info["cmdline"] or ())]


# -- credentials that change


def test_a_token_that_is_renewed_in_time_is_no_event(service: Service, fleet: Fleet) -> None:
    name = "healthy-00003"
    before = service.history()
    fleet.rotate(name)
    fleet.deliver(name)
    until(lambda: service.cluster(name)["age_s"] < 0.5, 5, "it was asked")
    fleet.rotate(name)
    fleet.deliver(name)
    until(lambda: asked(service), 5, "it was asked")
    assert service.history() == before


@pytest.mark.slow
def test_a_refused_token_is_a_credential_fact_and_the_next_one_heals_it(fleet: Fleet) -> None:
    name = "healthy-00004"
    with running_service("--static", fleet.source, interval_s=2.0, timeout_s=1.5) as service:
        until(lambda: service.health(name) == "Healthy", 10, "it is healthy")
        fleet.rotate(name)
        until(lambda: service.health(name) == "Unhealthy", 12, "the refusal is seen")
        said = service.cluster(name)
        assert (said["check"], said["reason"]) == ("credential", "CredentialRejected")
        [apiserver] = [check for check in said["checks"] if check["check"] == "apiserver"]
        assert apiserver["health"] == "Healthy"
        fleet.deliver(name)
        until(lambda: service.health(name) == "Healthy", 20, "the next token heals it")
        until(lambda: not service.cluster(name)["pending"], 5, "it is written")
        mine = [c for c in service.history() if c["cluster_name"] == name]
        assert [c["to_health"] for c in mine if c["check"] == "apiserver"] == ["Healthy"]
        assert [c["to_health"] for c in mine if c["check"] == "credential"] == ["Healthy", "Unhealthy", "Healthy"]
