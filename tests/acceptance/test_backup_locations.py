"""Backup locations of a running service, from the command line: they outlive it, and their end does, too."""

from __future__ import annotations

import json

from tests.support.service import own_directory, running_service, simulated, until


def test_locations_outlive_a_kill_and_end_with_their_deletion() -> None:
    with simulated((2, "healthy")) as fleet, own_directory() as data_dir:
        one, other = fleet.clusters
        with running_service("--static", fleet.source, data_dir=data_dir) as service:
            until(lambda: len(service.clusters()) == 2, 10, "both clusters are known")
            azure = ("--provider", "azure", "--account", "acmebackups", "--environment", "AzureChinaCloud")
            for name, container in (("backups", "daily"), ("old", "weekly")):
                ran = service.cli("locations", "create", name, *azure, "--container", container, "--cluster", one)
                assert ran.code == 0, ran.err
            assert service.cli("locations", "assign", "backups", other).code == 0
            ran = service.cli("locations", "delete", "old")
            assert (ran.code, f"held by 1 cluster ({one})" in ran.err) == (2, True)
            matrix = json.loads(service.cli("matrix", "-o", "json").out)
            cells = {(each["cluster"], each["location"]) for each in matrix["cells"]}
            assert cells == {(one, "backups"), (other, "backups"), (one, "old")}
            assert {each["health"] for each in matrix["cells"]} == {"Unknown"}  # nobody can ask about these yet
            assert service.cli("locations", "unassign", "old", "--all").code == 0
            columns = json.loads(service.cli("matrix", "-o", "json").out)["locations"]
            assert [each["name"] for each in columns] == ["backups"]
            shown = json.loads(service.cli("locations", "show", "backups", "-o", "json").out)
            service.kill()
        with running_service("--static", fleet.source, data_dir=data_dir) as service:
            assert json.loads(service.cli("locations", "show", "backups", "-o", "json").out) == shown
            assert [each["name"] for each in shown["clusters"]] == sorted((one, other))
            assert service.cli("locations", "delete", "old").code == 0
            until(lambda: "old" not in service.cli("locations", "list").out, 5, "it is gone")
            assert service.events("location removed")
            status, body = service.get("/api/v1/audit?action=location.delete")
            outcomes = [each["outcome"] for each in json.loads(body)["entries"]]
            assert (status, outcomes) == (200, ["done", "/problems/location-held"])
            service.stop()
