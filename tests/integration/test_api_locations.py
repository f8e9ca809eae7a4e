"""Backup locations through the API: who may, what is refused and why, and what is never kept."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest

from collector.location_store import Holder, HolderKind
from store.pool import Database
from tests.support.location_api import AZURE, S3, LocationApi, location_api
from tests.support.locations import whole_schema
from validator.reasons import Health


@pytest.fixture
async def api(database: Database) -> AsyncIterator[LocationApi]:
    async with location_api(await whole_schema(database)) as api:
        yield api


async def until_gone(api: LocationApi, name: str) -> None:
    async with asyncio.timeout(5):
        while (await api.ask("GET", f"/{name}"))[0] != 404:  # noqa: ASYNC110 - asked over HTTP
            await asyncio.sleep(0.02)


class TestCreation:
    async def test_what_is_made_is_shown_with_its_clusters_and_its_tag(self, api: LocationApi) -> None:
        wanted = {
            **AZURE,
            "resource_group": "rg-backup",
            "subscription_id": "12345678-1234-1234-1234-123456789abc",
            "encryption_key": "https://acme.vault.azure.net/keys/backups",
            "sync": True,
            "write_probe": True,
            "owner": "team-a",
        }
        status, made, headers = await api.ask("POST", body={**wanted, "clusters": ["paris", "berlin"]})
        assert status == 201
        assert {field: made[field] for field in wanted} == wanted
        assert [(each["name"], each["health"]) for each in made["clusters"]] == [
            ("berlin", "Unknown"),
            ("paris", "Unknown"),
        ]
        assert (made["status"], made["assigned"], made["notes"]) == ("LimitedAvailability", 2, [])
        assert made["url"] == "https://acmebackups.blob.core.windows.net/daily"
        assert (made["created_by"], headers["ETag"]) == ("the-operator", made["etag"])
        for name in ("backups-eu", made["id"]):
            status, shown, headers = await api.ask("GET", f"/{name}", role="viewer")
            assert (status, shown, headers["ETag"]) == (200, made, made["etag"])
        assert headers["Cache-Control"] == "no-store"
        assert await api.audited() == [("the-operator", "location.create", "backups-eu", "done")]

    async def test_the_status_follows_the_pairs_and_the_tag_does_not(self, api: LocationApi) -> None:
        made = await api.create("berlin", "paris", "rome")
        berlin, paris, _ = api.hub.inventory.clusters
        for healths, status in (
            ({berlin: Health.HEALTHY}, "Valid"),
            ({berlin: Health.HEALTHY, paris: Health.UNHEALTHY}, "LimitedAvailability"),
            ({paris: Health.UNHEALTHY}, "ValidationFailed"),
        ):
            api.pairs = healths
            _, shown, _ = await api.ask("GET", "/backups-eu")
            assert (shown["status"], shown["etag"]) == (status, made["etag"])
            [listed] = (await api.ask("GET", f"?status={status.lower()}"))[1]["locations"]
            assert listed["message"] == shown["message"]

    async def test_every_field_that_breaks_a_rule_is_named_with_the_rule(self, api: LocationApi) -> None:
        bad = {**AZURE, "name": "Backups_EU", "account": "ACME", "container": "daily/prod", "resource_group": "rg"}
        status, problem, _ = await api.ask("POST", body=bad)
        assert (status, problem["type"]) == (422, "/problems/bad-body")
        said = {each["field"]: each["message"] for each in problem["errors"]}
        assert said.keys() == {"name", "account", "container", "subscription_id"}
        assert "Write it in lower case: acme" in said["account"]
        assert "no slash" in said["container"]
        assert all(message in problem["detail"] for message in said.values())
        assert await api.audited() == [("the-operator", "location.create", "", "/problems/bad-body")]

    @pytest.mark.parametrize(
        ("fields", "field", "says"),
        [
            ({"environment": "AzureGermanCloud"}, "environment", "none of AzurePublicCloud, AzureChinaCloud"),
            ({"environment": None}, "environment", "is needed for azure"),
            (
                {"environment": "AzureChinaCloud", "endpoint": "https://acmebackups.blob.core.windows.net"},
                "endpoint",
                "of AzurePublicCloud, but the environment is AzureChinaCloud",
            ),
            (
                {"environment": "AzureChinaCloud", "encryption_key": "https://a1b.vault.azure.net/keys/k"},
                "encryption_key",
                "vault.azure.cn",
            ),
            ({"provider": "nfs"}, "provider", "'azure', 's3' or 'gcs'"),
            ({"provider": None}, "provider", "'azure', 's3' or 'gcs'"),
            ({"name": "x" * 501}, "name", "at most 500"),
            ({"contaner": "x"}, "contaner", "did you mean container?"),
            ({"sync": "yes"}, "sync", "boolean"),
            ({"clusters": ["x"] * 1001}, "clusters", "at most 1000"),
        ],
    )
    async def test_bad_input(self, api: LocationApi, fields: dict[str, Any], field: str, says: str) -> None:
        status, problem, _ = await api.ask("POST", body={**AZURE, **fields})
        assert status == 422
        assert any(each["field"] == field and says in each["message"] for each in problem["errors"]), problem

    async def test_a_key_itself_is_refused_and_is_nowhere_afterwards(
        self, api: LocationApi, capsys: pytest.CaptureFixture[str]
    ) -> None:
        canary = f"canary-{secrets.token_urlsafe(24)}"
        answers = []
        for fields in (
            {"encryption_key": canary},
            {"encryption_key": canary * 300},
            {"encryption_key": [canary]},
            {"encryption_key": {"key": canary}},
            {"secret_access_key": canary},
            {"provider": canary},
            {"endpoint": f"https://user:{canary}@minio.example.com", **S3},
        ):
            status, problem, headers = await api.ask("POST", body={**AZURE, **fields}, Idempotency_Key=str(uuid4()))
            assert status == 422
            answers.append(f"{problem}{headers}")
        assert "Muster holds no keys" in answers[0]
        assert "Muster holds no keys" in answers[1] or "at most 8192" in answers[1]
        tables = await api.db.fetch("SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 2200")
        kept = [str(await api.db.fetch(f'SELECT t::text FROM "{row["relname"]}" t')) for row in tables]
        assert len(kept) > 10
        said = capsys.readouterr()
        assert canary not in " ".join([*answers, *kept, said.out, said.err])

    async def test_a_name_and_a_bucket_are_of_one_location(self, api: LocationApi) -> None:
        made = await api.create()
        status, problem, _ = await api.ask("POST", body={**AZURE, "container": "weekly"})
        assert (status, problem["type"], problem["location"]) == (409, "/problems/location-exists", made["id"])
        status, problem, _ = await api.ask("POST", body={**AZURE, "name": "other"})
        assert (status, problem["type"], problem["locations"]) == (409, "/problems/bucket-shared", ["backups-eu"])
        assert "allow_shared" in problem["detail"]
        other = await api.create(name="other", allow_shared=True)
        assert other["shared_with"] == ["backups-eu"]
        _, first, _ = await api.ask("GET", "/backups-eu")
        assert first["shared_with"] == ["other"]
        assert "The same bucket is in use as other." in first["notes"]

    async def test_that_object_lock_needs_more_is_said(self, api: LocationApi) -> None:
        assert "resource group and subscription id" in (await api.create())["notes"][0]
        assert (await api.create(**S3))["notes"] == []

    async def test_an_unknown_cluster_makes_no_location(self, api: LocationApi) -> None:
        status, problem, _ = await api.ask("POST", body={**AZURE, "clusters": ["berlin", "madrid"]})
        assert (status, problem["type"]) == (404, "/problems/cluster-not-found")
        assert (await api.ask("GET"))[1]["total"] == 0

    async def test_sent_twice_it_is_made_once(self, api: LocationApi) -> None:
        key = str(uuid4())
        first = await api.ask("POST", body=AZURE, Idempotency_Key=key)
        again = await api.ask("POST", body=AZURE, Idempotency_Key=key)
        assert (first[0], again[0], again[1]) == (201, 201, first[1])
        assert again[2]["Idempotency-Replayed"] == "true"
        await api.db.execute("DELETE FROM idempotency_keys")  # as if the instance had died before it could keep it
        retried = await api.ask("POST", body=AZURE, Idempotency_Key=key)
        assert (retried[0], retried[1]["id"]) == (201, first[1]["id"])
        assert (await api.ask("POST", body=AZURE))[0] == 409
        done = [entry for entry in await api.audited() if entry[3] == "done"]
        assert len(done) == 1

    async def test_a_viewer_may_look_and_nothing_else(self, api: LocationApi) -> None:
        await api.create()
        for method, path in (
            ("POST", ""),
            ("PUT", "/backups-eu/assignment"),
            ("PATCH", "/backups-eu/assignment"),
            ("PUT", "/backups-eu"),
            ("DELETE", "/backups-eu"),
        ):
            assert (await api.ask(method, path, {}, role="viewer"))[0] == 403, (method, path)
        assert (await api.ask("GET", role="viewer"))[0] == 200


class TestList:
    async def test_filters_and_pages(self, api: LocationApi) -> None:
        for number in range(7):
            provider = {"provider": "s3"} if number % 2 else {}
            await api.create(
                *(["paris"] if number < 3 else []),
                name=f"l{number}",
                container=f"bucket-{number}",
                owner="ann" if number < 5 else "bob",
                **provider,
            )

        async def names(query: str) -> list[str]:
            status, page, _ = await api.ask("GET", query)
            assert status == 200, page
            return [each["name"] for each in page["locations"]]

        assert await names("") == [f"l{n}" for n in range(7)]
        assert await names("?provider=S3") == ["l1", "l3", "l5"]
        assert await names("?owner=bob") == ["l5", "l6"]
        assert await names("?cluster=paris&provider=azure") == ["l0", "l2"]
        assert await names("?name=L3") == ["l3"]
        assert await names("?status=Valid") == []
        seen: list[str] = []
        after = ""
        while True:
            _, page, _ = await api.ask("GET", f"?limit=3{after}")
            assert page["total"] == 7
            seen += [each["name"] for each in page["locations"]]
            if page["next"] is None:
                break
            after = f"&after={page['next']}"
        assert seen == [f"l{n}" for n in range(7)]
        assert (await api.ask("GET", f"?limit=3&owner=bob{after}"))[0] == 400
        assert (await api.ask("GET", "?cluster=madrid"))[0] == 404
        assert (await api.ask("GET", "?status=Green"))[0] == 400

    async def test_a_name_that_is_not_there_brings_suggestions(self, api: LocationApi) -> None:
        await api.create()
        status, problem, _ = await api.ask("GET", "/backups-ue")
        assert (status, problem["type"], problem["suggestions"]) == (
            404,
            "/problems/location-not-found",
            ["backups-eu"],
        )


class TestAssignment:
    async def test_put_takes_the_tag_of_what_was_seen(self, api: LocationApi) -> None:
        made = await api.create("berlin")
        path, body = "/backups-eu/assignment", {"clusters": ["paris", "rome"]}
        status, problem, _ = await api.ask("PUT", path, body)
        assert (status, problem["type"]) == (428, "/problems/precondition-required")
        assert made["etag"] in problem["detail"]
        status, changed, headers = await api.ask("PUT", path, body, If_Match=made["etag"])
        assert status == 200
        assert [each["name"] for each in changed["clusters"]] == ["paris", "rome"]
        assert headers["ETag"] == changed["etag"] != made["etag"]
        status, problem, _ = await api.ask("PUT", path, {"clusters": []}, If_Match=made["etag"])
        assert (status, problem["type"]) == (412, "/problems/precondition-failed")
        assert problem["location"]["etag"] == changed["etag"]
        assert (await api.ask("PUT", path, {"clusters": []}, If_Match="*"))[1]["assigned"] == 0
        audited = [entry[1:] for entry in await api.audited() if entry[1] == "location.assign"]
        assert [outcome for _, _, outcome in audited] == [
            "/problems/precondition-required",
            "done",
            "/problems/precondition-failed",
            "done",
        ]

    async def test_of_two_writers_at_once_one_wins(self, api: LocationApi) -> None:
        made = await api.create()
        bodies = [{"clusters": [name]} for name in ("berlin", "paris", "rome")]
        answers = await asyncio.gather(
            *(api.ask("PUT", "/backups-eu/assignment", body, If_Match=made["etag"]) for body in bodies)
        )
        assert sorted(status for status, _, _ in answers) == [200, 412, 412]
        [won] = [document for status, document, _ in answers if status == 200]
        assert (await api.ask("GET", "/backups-eu"))[1] == won

    async def test_patch_adds_and_removes_without_a_tag(self, api: LocationApi) -> None:
        await api.create("berlin")
        path = "/backups-eu/assignment"
        bodies = [{"add": ["paris"]}, {"add": ["rome"]}, {"remove": ["berlin"]}]
        answers = await asyncio.gather(*(api.ask("PATCH", path, body) for body in bodies))
        assert {status for status, _, _ in answers} == {200}
        _, shown, _ = await api.ask("GET", "/backups-eu")
        assert [each["name"] for each in shown["clusters"]] == ["paris", "rome"]
        _, same, _ = await api.ask("PATCH", path, {"add": ["rome"], "remove": ["berlin"]})
        assert same["etag"] == shown["etag"]
        for body, field in (({}, "add"), ({"add": ["rome"], "remove": ["rome"]}, "remove")):
            status, problem, _ = await api.ask("PATCH", path, body)
            assert (status, problem["errors"][0]["field"]) == (422, field)

    async def test_a_cluster_that_has_left_the_fleet_can_be_unassigned(self, api: LocationApi) -> None:
        await api.create("berlin", "paris")
        berlin = next(iter(api.hub.inventory.clusters))
        del api.hub.inventory.clusters[berlin]
        _, shown, _ = await api.ask("GET", "/backups-eu")
        assert [each["name"] for each in shown["clusters"]] == ["paris", None]
        path = "/backups-eu/assignment"
        assert (await api.ask("PATCH", path, {"add": [str(berlin)]}))[0] == 404
        assert (await api.ask("PATCH", path, {"remove": [str(berlin)]}))[1]["assigned"] == 1

    @pytest.mark.parametrize("method", ["PUT", "PATCH"])
    @pytest.mark.parametrize("body", [None, {"container": "weekly"}, {"sync": True}, {"write_probe": True}])
    async def test_nothing_else_can_be_changed_and_the_way_out_is_told(
        self, api: LocationApi, method: str, body: Any
    ) -> None:
        made = await api.create("berlin")
        status, problem, _ = await api.ask(method, "/backups-eu", body, If_Match="*")
        assert (status, problem["type"]) == (409, "/problems/location-immutable")
        assert "/api/v1/locations/backups-eu/assignment" in problem["detail"]
        assert "make another location" in problem["detail"]
        assert (await api.ask("GET", "/backups-eu"))[1] == made


class TestDeletion:
    async def test_what_holds_it_is_named(self, api: LocationApi) -> None:
        await api.create("berlin", "rome")
        api.held.holders = [
            Holder(HolderKind.SYNC, "InProgress since 12:00"),
            *(Holder(HolderKind.BACKUP, f"prod/velero/daily-{number}") for number in range(200)),
        ]
        status, problem, _ = await api.ask("DELETE", "/backups-eu")
        assert (status, problem["type"], problem["total"]) == (409, "/problems/location-held", 203)
        assert [each["name"] for each in problem["holders"][:3]] == ["berlin", "rome", "InProgress since 12:00"]
        assert len(problem["holders"]) == 100
        assert "2 clusters (berlin, rome) and 1 sync (InProgress since 12:00) and 200 backups" in problem["detail"]
        assert "daily-4 and 195 more" in problem["detail"]
        assert "unassign the clusters" in problem["detail"]
        assert "never touched" in problem["detail"]
        assert (await api.ask("GET", "/backups-eu"))[1]["status"] == "LimitedAvailability"

    async def test_it_goes_and_the_answer_says_that_backup_data_stays(self, api: LocationApi) -> None:
        made = await api.create()
        api.held.rows = 25
        status, document, _ = await api.ask("DELETE", "/backups-eu", If_Match=made["etag"])
        assert (status, document["status"], document["deleting_by"]) == (202, "DeletePending", "the-operator")
        assert "Backup data in the bucket is never touched" in document["message"]
        await until_gone(api, "backups-eu")
        assert (api.held.rows, (await api.ask("GET"))[1]["total"]) == (0, 0)
        assert (await api.ask("DELETE", "/backups-eu"))[0] == 404
        again = await api.create()
        assert (again["id"] != made["id"], again["etag"] != made["etag"]) == (True, True)
        done = [entry[1] for entry in await api.audited() if entry[3] == "done"]
        assert done == ["location.create", "location.delete", "location.create"]

    async def test_while_it_goes_nothing_is_assigned_and_once_more_does_no_harm(self, api: LocationApi) -> None:
        await api.create()
        api.held.stuck = True
        first = await api.ask("DELETE", "/backups-eu")
        again = await api.ask("DELETE", "/backups-eu")
        assert (first[0], again[0], again[1]) == (202, 202, first[1])
        status, problem, _ = await api.ask("PATCH", "/backups-eu/assignment", {"add": ["rome"]})
        assert (status, problem["type"]) == (409, "/problems/location-deleting")
        status, problem, _ = await api.ask("POST", body=AZURE)
        assert (status, "is being deleted" in problem["detail"]) == (409, True)

    async def test_only_what_was_seen_is_deleted(self, api: LocationApi) -> None:
        made = await api.create()
        await api.ask("PATCH", "/backups-eu/assignment", {"add": ["rome"]})
        await api.ask("PATCH", "/backups-eu/assignment", {"remove": ["rome"]})
        assert (await api.ask("DELETE", "/backups-eu", If_Match=made["etag"]))[0] == 412


class TestAway:
    async def test_without_a_picture_nothing_is_answered(self, api: LocationApi) -> None:
        api.hub.stand_by("another instance leads")
        for method, path in (("GET", ""), ("GET", "/x"), ("DELETE", "/x")):
            status, problem, _ = await api.ask(method, path)
            assert (status, problem["type"]) == (503, "/problems/not-leading")

    async def test_while_the_database_is_away_they_are_shown_and_stay_as_they_are(self, api: LocationApi) -> None:
        made = await api.create()
        await api.db.close()
        assert (await api.ask("GET", "/backups-eu"))[:2] == (200, made)
        assert (await api.ask("DELETE", "/backups-eu"))[0] == 503
        assert (await api.ask("POST", body=S3))[0] == 503


class TestDeletionAsksTheClusters:
    async def test_what_refers_to_it_keeps_it_and_force_passes_over_what_could_not_be_asked_only(
        self, api: LocationApi
    ) -> None:
        made = await api.create()
        leading = api.hub.leading
        assert leading is not None
        backup = Holder(HolderKind.BACKUP, "berlin/velero/b1", "1")
        unread = Holder(HolderKind.UNREAD, "paris: ConnectTimeout: no answer", "2")
        found = [backup, unread]

        async def outside(_: object) -> list[Holder]:
            return found

        leading.outside = outside
        status, problem, _ = await api.ask("DELETE", f"/{made['name']}")
        assert (status, problem["type"].rpartition("/")[2]) == (409, "location-held")
        assert (
            "1 backup (berlin/velero/b1) and 1 unread cluster (paris: ConnectTimeout: no answer)" in problem["detail"]
        )
        assert "force=true" in problem["detail"]
        status, problem, _ = await api.ask("DELETE", f"/{made['name']}?force=true")
        assert (status, [each["name"] for each in problem["holders"]]) == (409, ["berlin/velero/b1"])
        found.remove(backup)
        ran = await api.cli("delete", made["name"])
        assert (ran.exit_code, "unread cluster  paris" in ran.output) == (2, True)
        ran = await api.cli("delete", made["name"], "--force")
        assert (ran.exit_code, "is being deleted" in ran.output) == (0, True)
        row = await api.db.fetchrow("SELECT * FROM audit_log WHERE action = 'location.delete' AND outcome = 'done'")
        assert row is not None
        assert "paris: ConnectTimeout" in str(dict(row))
