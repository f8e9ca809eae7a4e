"""Validation jobs of a running service: every one ends, with one cluster that hangs and a kill in between."""

from __future__ import annotations

import json

import pytest

from tests.support.service import own_directory, running_service, simulated, until

JOBS = "/api/v1/locations/backups/validations"


@pytest.mark.slow
def test_every_job_ends_also_with_a_cluster_that_hangs_and_a_kill_in_between() -> None:
    with simulated((2, "healthy"), (1, "full-backlog")) as fleet, own_directory() as data_dir:
        options = ("--static", fleet.source)
        with running_service(*options, data_dir=data_dir) as service:
            until(lambda: len(service.clusters()) == 3, 10, "the clusters are known")
            healthy = [name for name in fleet.clusters if name.startswith("healthy")]
            users = [part for name in fleet.clusters for part in ("--cluster", name)]
            made = ("create", "backups", "--provider", "gcs", "--bucket", "backups-of-all", *users)
            assert service.cli("locations", *made).code == 0
            ran = service.cli("locations", "validate", "backups", "--no-wait")
            assert (ran.code, ran.err) == (0, "")
            two = [part for name in healthy for part in ("--cluster", name)]
            ran = service.cli("locations", "validate", "backups", *two, "-o", "json")
            ended = {(each["cluster"], each["state"], each["reason"]) for each in json.loads(ran.out)["validations"]}
            assert (ran.code, ended) == (1, {(name, "Failed", "NoAsker") for name in healthy})
            left = service.json(f"{JOBS}?state=InProgress")["validations"]
            assert [each["cluster"] for each in left] == ["full-backlog-00001"], "nobody waited for it"
            assert service.json("/api/v1/locations/backups")["status"] == "ValidationInProgress"
            service.kill()
        with running_service(*options, data_dir=data_dir) as service:
            until(lambda: service.json(JOBS)["counts"]["Failed"] == 3, 30, "all have ended")
            ids = {each["id"] for each in service.json(JOBS)["validations"]}
            assert left[0]["id"] in ids, "it was carried on, not begun anew"
            assert service.json("/api/v1/locations/backups")["status"] == "LimitedAvailability", "not red"
            service.stop()
