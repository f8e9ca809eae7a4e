"""`muster locations` against the real API and a real database."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from collector.location_store import Holder, HolderKind
from store.pool import Database
from tests.support.location_api import LocationApi, location_api
from tests.support.locations import whole_schema
from validator.reasons import Health

AZURE = (
    "create",
    "backups-eu",
    *("--provider", "azure", "--account", "acmebackups", "--container", "daily", "--environment", "AzureCloud"),
)


@pytest.fixture
async def api(database: Database) -> AsyncIterator[LocationApi]:
    async with location_api(await whole_schema(database)) as api:
        yield api


async def test_a_location_from_its_making_to_its_end(api: LocationApi) -> None:
    result = await api.cli("list")
    assert (result.exit_code, "create --help" in result.stdout) == (0, True)

    result = await api.cli(*AZURE, "--cluster", "berlin", "--sync", "--encryption-key", "velero/key#password")
    assert result.exit_code == 0, result.output
    assert "backups-eu  LimitedAvailability  unknown from 1 of 1 cluster" in result.stdout
    assert re.search(r"where +https://acmebackups.blob.core.windows.net/daily", result.stdout)
    assert re.search(r"encryption key +velero/key#password", result.stdout)
    assert "Object lock can't be read without resource group" in result.stdout

    result = await api.cli("assign", "backups-eu", "paris", "rome")
    assert result.stdout == "backups-eu is used by 3 clusters now.\n"
    result = await api.cli("unassign", "backups-eu", "berlin")
    assert result.stdout == "backups-eu is used by 2 clusters now.\n"
    paris = next(each for each, known in api.hub.inventory.clusters.items() if known.name == "paris")
    api.pairs = {paris: Health.HEALTHY}
    result = await api.cli("show", "backups-eu")
    assert re.search(r"paris +✔ Healthy", result.stdout)
    assert re.search(r"rome +\? Unknown", result.stdout) or "rome" in result.stdout
    result = await api.cli("list", "--status", "valid", "--provider", "azure", "--cluster", "rome")
    assert re.search(r"backups-eu +Valid +2 +local", result.stdout), result.stdout
    shown = json.loads((await api.cli("show", "backups-eu", "-o", "json")).stdout)
    assert [each["name"] for each in shown["clusters"]] == ["paris", "rome"]
    listed = yaml.safe_load((await api.cli("list", "-o", "yaml")).stdout)["locations"]
    assert listed == [{field: value for field, value in shown.items() if field != "clusters"}]
    assert shown["id"] in (await api.cli("list", "-o", "wide")).stdout

    result = await api.cli("delete", "backups-eu")
    assert result.exit_code == 2
    assert "held by 2 clusters (paris, rome)" in result.stderr
    assert "muster locations unassign NAME --all" in result.stderr
    result = await api.cli("unassign", "backups-eu", "--all")
    assert result.stdout == "backups-eu is used by 0 clusters now.\n"
    result = await api.cli("delete", "backups-eu")
    assert result.exit_code == 0
    assert "Backup data in the bucket is never touched" in result.stdout


async def test_all_clusters_are_assigned_however_many_there_are(api: LocationApi) -> None:
    for number in range(1200):
        api.hub.put(f"c{number}")
    await api.db.execute(
        "INSERT INTO clusters (id, name, source, endpoint, lifecycle, first_seen_at) "
        "SELECT id, 'c', 'static', 'https://c', 'Active', now() FROM unnest($1::uuid[]) id ON CONFLICT DO NOTHING",
        list(api.hub.inventory.clusters),
    )
    await api.cli(*AZURE)
    result = await api.cli("assign", "backups-eu", "--all")
    assert result.stdout == "backups-eu is used by 1,203 clusters now.\n"
    result = await api.cli("unassign", "backups-eu", "--all", "-o", "json")
    assert json.loads(result.stdout)["assigned"] == 0


async def test_what_is_refused_quotes_the_rule_and_ends_with_2(api: LocationApi) -> None:
    result = await api.cli(*AZURE[:2], "--provider", "azure", "--account", "ACME", "--container", "daily/prod")
    assert result.exit_code == 2
    for rule in ("3 to 24 characters: lower-case", "no slash, no prefix", "AzurePublicCloud or AzureChinaCloud"):
        assert rule in result.stderr
    await api.cli(*AZURE)
    result = await api.cli(*AZURE)
    assert (result.exit_code, "muster locations show NAME" in result.stderr) == (2, True)
    result = await api.cli("create", "other", *AZURE[2:])
    assert (result.exit_code, "--allow-shared" in result.stderr) == (2, True)
    assert (await api.cli("create", "other", *AZURE[2:], "--allow-shared")).exit_code == 0
    result = await api.cli("show", "backups-ue")
    assert (result.exit_code, "Did you mean backups-eu?" in result.stderr) == (2, True)
    result = await api.cli("assign", "backups-eu", "madrid")
    assert (result.exit_code, "madrid" in result.stderr) == (2, True)


async def test_what_holds_it_beyond_what_fits_is_counted(api: LocationApi) -> None:
    await api.cli(*AZURE)
    api.held.holders = [Holder(HolderKind.SCHEDULE, f"prod/velero/s{number}") for number in range(130)]
    result = await api.cli("delete", "backups-eu")
    assert (result.exit_code, "schedule  prod/velero/s99\n" in result.stderr) == (2, True)
    assert "and 30 more" in result.stderr
    assert "unassign" not in result.stderr


FILE = """
name: backups-eu
provider: azure
account: acmebackups
container: daily
environment: AzurePublicCloud
resource_group: "007"
subscription_id: 12345678-1234-1234-1234-123456789abc
sync: true
clusters: [berlin, paris]
"""


async def test_from_a_file(api: LocationApi, tmp_path: Path) -> None:
    (tmp_path / "location.yaml").write_text(FILE)
    result = await api.cli("create", "--from-file", str(tmp_path / "location.yaml"), "-o", "json")
    assert result.exit_code == 0, result.output
    made = json.loads(result.stdout)
    assert (made["resource_group"], made["sync"], made["assigned"]) == ("007", True, 2)
    again = {**yaml.safe_load(FILE), "name": "again", "allow_shared": True}
    (tmp_path / "location.json").write_text(json.dumps(again))
    assert (await api.cli("create", "-f", str(tmp_path / "location.json"))).exit_code == 0


async def test_a_key_that_somebody_has_put_into_a_file_or_an_option_is_not_shown_again(
    api: LocationApi, tmp_path: Path
) -> None:
    canary = f"canary-{secrets.token_urlsafe(24)}"
    path = tmp_path / "location.yaml"
    for text in (
        FILE + f"encryption_key: {canary}\n",
        FILE + f"encryption_key: [{canary}]\n",
        FILE + f"encryption_key: &a {canary}\n",
        FILE + f"encryption_key: '{canary}\n",
        FILE + f"encryption_key: {{ {canary}\n",
        canary,
    ):
        path.write_text(text)
        result = await api.cli("create", "-f", str(path))
        assert result.exit_code == 2, result.output
        assert canary not in result.output
    result = await api.cli(*AZURE, "--encryption-key", canary)
    assert (result.exit_code, "Muster holds no keys" in result.stderr) == (2, True)
    assert canary not in result.output
    assert (await api.ask("GET"))[1]["total"] == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("create", "backups-eu"), "--provider, --container is missing"),
        (("create", "backups-eu", "-f", "x.yaml"), "can't both be meant"),
        (("create", "-f", "/nowhere/x.yaml"), "/nowhere/x.yaml"),
        (("assign", "backups-eu"), "either clusters, or --all"),
        (("unassign", "backups-eu", "paris", "--all"), "either clusters, or --all"),
        (("create", "a", "--provider", "nfs"), "nfs"),
    ],
)
async def test_a_command_line_that_makes_no_sense_asks_nobody(
    api: LocationApi, arguments: tuple[str, ...], says: str
) -> None:
    result = await api.cli(*arguments)
    assert (result.exit_code, says in result.stderr) == (2, True), result.output
    assert await api.audited() == []


async def test_names_that_are_hostile_reach_no_terminal(api: LocationApi) -> None:
    result = await api.cli(*AZURE, "--owner", f"a\x1b[31m{uuid4()}")
    assert (result.exit_code, "\x1b" in result.output) == (2, False)
