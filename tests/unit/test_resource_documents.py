"""Documents of Velero, Stork and the Portworx Operator: what is read of them, what never is, what can be taken over."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validator.locations import Environment, FieldProblem, Location, Provider
from validator.model import Check
from validator.reasons import Reason
from validator.resources import document as read
from validator.resources.adoption import listing
from validator.resources.portworx import Portworx, StorageCluster, missing, storage_cluster, stork_version
from validator.resources.resource import LocationResource
from validator.resources.said import reason_in, said
from validator.resources.stork import backup_location, checked_paths
from validator.resources.velero import backup_storage_location
from validator.resources.versions import Version, version_from, version_of_image

CANARY = "c4n4ry-never-to-be-seen"

VELERO_AZURE: dict[str, Any] = {
    "metadata": {
        "name": "default",
        "namespace": "velero",
        "creationTimestamp": "2026-01-02T03:04:05Z",
        "annotations": {"kubectl.kubernetes.io/last-applied-configuration": CANARY},
    },
    "spec": {
        "provider": "azure",
        "objectStorage": {"bucket": "backups", "prefix": "prod", "caCert": CANARY},
        "config": {
            "storageAccount": "tenantbackups",
            "resourceGroup": "rg-backup",
            "subscriptionId": "12345678-1234-1234-1234-123456789abc",
            "storageAccountKeyEnvVar": CANARY,
            "storageAccountURI": f"https://tenantbackups.blob.core.windows.net/?sig={CANARY}",
            "useAAD": "true",
        },
        "credential": {"name": CANARY, "key": CANARY},
        "accessMode": "ReadWrite",
        "validationFrequency": "5m0s",
    },
    "status": {"phase": "Available", "lastValidationTime": "2026-01-02T04:00:00Z", "lastSyncedTime": CANARY},
}

STORK_S3: dict[str, Any] = {
    "metadata": {"name": "minio", "namespace": "backup", "annotations": {"x": CANARY}},
    "location": {
        "type": "s3",
        "path": "backups",
        "encryptionKey": CANARY,
        "encryptionV2Key": CANARY,
        "repositoryPassword": CANARY,
        "secretConfig": CANARY,
        "s3Config": {
            "endpoint": "minio.example.org:9000",
            "accessKeyID": CANARY,
            "secretAccessKey": CANARY,
            "region": "us-east-1",
            "disableSSL": False,
            "sse": CANARY,
        },
        "azureConfig": {"storageAccountKey": CANARY, "clientSecret": CANARY, "clientID": CANARY, "tenantID": CANARY},
        "googleConfig": {"accountKey": CANARY, "projectID": CANARY},
    },
    "cluster": {"type": "aws", "awsConfig": {"secretAccessKey": CANARY}},
    "status": {
        "validationStatus": {"status": "Valid", "reason": "", "lastValidationTime": "2026-01-02T04:00:00Z"},
        "token": CANARY,
    },
}


def patched(document: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(document))
    at = copy
    *way, last = path.split(".")
    for key in way:
        at = at.setdefault(key, {})
    if value is None:
        at.pop(last, None)
    else:
        at[last] = value
    return copy


def place(resource: LocationResource) -> Location:
    assert isinstance(resource.place, Location), resource.place
    return resource.place


def test_a_velero_location_on_azure_is_read() -> None:
    found = backup_storage_location(VELERO_AZURE)
    assert (found.check, found.where, found.state, found.prefix) == (
        Check.VELERO,
        "velero/default",
        "Available",
        "prod",
    )
    assert (found.frequency_s, found.validated_at, found.created_at) == (300.0, 1767326400.0, 1767323045.0)
    assert found.workload_identity
    assert not found.read_only
    location = place(found)
    assert (location.provider, location.account, location.container) == (Provider.AZURE, "tenantbackups", "backups")
    assert (location.environment, location.resource_group) == (Environment.PUBLIC, "rg-backup")
    assert found.problems == ()
    assert found.adoptable == location


def test_a_stork_location_on_a_compatible_store_is_read() -> None:
    found = backup_location(STORK_S3)
    assert (found.check, found.where, found.state) == (Check.STORK, "backup/minio", "Valid")
    assert found.validated_at == 1767326400.0
    location = place(found)
    assert (location.provider, location.endpoint) == (Provider.S3, "https://minio.example.org:9000")
    assert (location.container, location.path_style) == ("backups", True)
    assert found.problems == ()


@pytest.mark.parametrize("resource", [backup_storage_location(VELERO_AZURE), backup_location(STORK_S3)])
def test_no_secret_of_a_document_is_read(resource: LocationResource) -> None:
    assert CANARY not in repr(resource)
    assert CANARY not in str(asdict(resource))


@pytest.mark.parametrize(
    ("change", "value", "expected"),
    [
        ("spec.config.storageAccountURI", "https://a.blob.core.chinacloudapi.cn", Environment.CHINA),
        ("spec.config.activeDirectoryAuthorityURI", "https://login.chinacloudapi.cn/", Environment.CHINA),
        ("spec.config.storageAccountURI", None, Environment.PUBLIC),
        ("spec.config.storageAccountURI", "https://[", Environment.PUBLIC),
    ],
)
def test_the_cloud_of_a_velero_location_follows_from_its_endpoints(
    change: str, value: str | None, expected: Environment
) -> None:
    assert place(backup_storage_location(patched(VELERO_AZURE, change, value))).environment is expected


def test_an_account_is_taken_from_the_uri_where_it_is_not_named() -> None:
    without = patched(VELERO_AZURE, "spec.config.storageAccount", None)
    assert place(backup_storage_location(without)).account == "tenantbackups"


def test_resource_group_without_subscription_is_left_out_as_velero_needs_neither() -> None:
    found = backup_storage_location(patched(VELERO_AZURE, "spec.config.subscriptionId", None))
    assert (place(found).resource_group, found.problems) == (None, ())


@pytest.mark.parametrize(
    ("change", "value", "field"),
    [
        ("spec.provider", "example.org/nas", "spec.provider"),
        ("spec.provider", None, "spec.provider"),
        ("spec.objectStorage", None, "spec.objectStorage.bucket"),
        ("spec.objectStorage.bucket", "Backups/prod", "container"),
        ("spec.config.storageAccount", "Tenant_Backups", "account"),
        ("spec.config.storageAccountURI", "https://a.blob.evil.example", "spec.config.storageAccountURI"),
        ("metadata.name", None, "name"),
    ],
)
def test_a_velero_location_that_cannot_be_taken_over_says_which_field(change: str, value: object, field: str) -> None:
    found = backup_storage_location(patched(VELERO_AZURE, change, value))
    assert [problem.field for problem in found.problems] == [field]
    assert found.adoptable == found.problems


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (None, None),
        ("https://s3.amazonaws.com", None),
        ("https://s3.eu-central-1.amazonaws.com/", None),
        ("https://s3.cn-north-1.amazonaws.com.cn", None),
        ("https://minio.example.org:9000/", "https://minio.example.org:9000"),
        ("https://s3.amazonaws.com.evil.example", "https://s3.amazonaws.com.evil.example"),
    ],
)
def test_amazons_own_endpoint_is_no_endpoint(url: str | None, expected: str | None) -> None:
    document = patched(
        {"metadata": {"name": "a"}, "spec": {"provider": "velero.io/aws", "objectStorage": {"bucket": "backups"}}},
        "spec.config.s3Url",
        url,
    )
    assert place(backup_storage_location(document)).endpoint == expected


def test_a_google_location_is_read_from_both() -> None:
    spec = {"provider": "velero.io/gcp", "objectStorage": {"bucket": "backups_x"}}
    of_velero = backup_storage_location({"metadata": {"name": "g"}, "spec": spec})
    of_stork = backup_location({"metadata": {"name": "g"}, "location": {"type": "google", "path": "backups_x"}})
    assert place(of_velero).url == place(of_stork).url == "gs://backups_x"
    assert place(of_velero).id == place(of_stork).id


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (None, Environment.PUBLIC),
        ("AzurePublicCloud", Environment.PUBLIC),
        ("azure-china", Environment.CHINA),
        ("AzureChinaCloud", Environment.CHINA),
        ("AZURE_CHINA", Environment.CHINA),
    ],
)
def test_stork_spells_environments_in_two_ways(written: str | None, expected: Environment) -> None:
    document = {
        "metadata": {"name": "a"},
        "location": {
            "type": "azure",
            "path": "backups",
            "azureConfig": {"storageAccountName": "tenantbackups", "environment": written},
        },
    }
    found = backup_location(document)
    assert (place(found).environment, found.problems) == (expected, ())


@pytest.mark.parametrize(
    ("change", "value", "field"),
    [
        ("location.type", "nfs", "location.type"),
        ("location.path", "", "location.path"),
        ("location.path", "bucket/with/prefix", "container"),
        ("location.s3Config.disableSSL", True, "endpoint"),
    ],
)
def test_a_stork_location_that_cannot_be_taken_over_says_which_field(change: str, value: object, field: str) -> None:
    assert [problem.field for problem in backup_location(patched(STORK_S3, change, value)).problems] == [field]


def test_stork_24_has_no_state() -> None:
    assert backup_location(patched(STORK_S3, "status", None)).state == ""


def test_the_path_of_storks_state_is_a_setting_and_the_first_that_leads_to_one_is_taken() -> None:
    document = patched(STORK_S3, "status", {"check": {"result": "Failed", "message": "no"}, "phase": "Valid"})
    found = backup_location(document, checked_paths(["status.nothing", "status.check.result", "status.phase"]))
    assert (found.state, found.message) == ("Failed", "no")


@pytest.mark.parametrize(
    "path",
    ["location.s3Config.secretAccessKey", "status", "status.", "spec.x", "cluster.x", "metadata.x", "status..x", ""],
)
def test_a_status_path_that_could_lead_to_a_secret_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match=r"status path begins with `status\.`"):
        checked_paths([path])


def test_a_state_that_is_no_word_is_not_told_on() -> None:
    assert backup_location(patched(STORK_S3, "status.validationStatus.status", f"{CANARY} {CANARY}")).state == (
        "(no word)"
    )


def test_a_message_is_scrubbed_and_its_code_read() -> None:
    text = (
        "rpc error: \x1b[31mGET https://a.blob.core.windows.net/backups?sig=" + CANARY + "&se=2026\n"
        "----------------------------------------\nRESPONSE 403: 403\nERROR CODE: AuthorizationPermissionMismatch\n"
    )
    found = backup_storage_location(patched(VELERO_AZURE, "status.message", text))
    assert CANARY not in found.message
    assert found.message.isprintable()
    assert found.said is Reason.ROLE_MISSING


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("NoSuchBucket: The specified bucket does not exist", Reason.CONTAINER_NOT_FOUND),
        ("AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity", Reason.TRUST_POLICY_MISSING),
        ("AADSTS700211: No matching federated identity record; ... AuthorizationFailure", Reason.FEDERATION_MISSING),
        ("SlowDown", Reason.STORAGE_THROTTLED),
        ("NoSuchBucketPolicy", None),
        ("AccessDenied then NoSuchBucket", None),
        ("dial tcp: i/o timeout", None),
        ("", None),
    ],
)
def test_the_reason_in_a_message(message: str, reason: Reason | None) -> None:
    assert reason_in(message) is reason


def test_a_message_is_bounded() -> None:
    assert len(said("x y " * 10_000)) <= 300


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("26.3.0", Version((26, 3, 0, 0))),
        ("v26.3", Version((26, 3, 0, 0))),
        ("24.3.2-5e7c6e5", Version((24, 3, 2, 0))),
        ("3.6.1.0-1a2b3c4", Version((3, 6, 1, 0))),
        ("3.6.1.2", Version((3, 6, 1, 2))),
        ("26.3.0-dev", Version((26, 3, 0, 0), released=False)),
        ("26.3.0-rc1", Version((26, 3, 0, 0), released=False)),
        ("26.3.0-rc1-5e7c6e5", Version((26, 3, 0, 0), released=False)),
        (" 26.3.0\n", Version((26, 3, 0, 0))),
        ("26", None),
        ("master", None),
        ("", None),
        ("9" * 100, None),
        ("26.3.0 ; rm -rf", None),
    ],
)
def test_versions(text: str, expected: Version | None) -> None:
    assert version_from(text) == expected


def test_a_pre_release_comes_before_its_release_and_after_the_last_one() -> None:
    ordered = [version_from(text) for text in ("24.3.2", "26.2.9", "26.3.0-dev", "26.3.0", "26.10.0")]
    assert ordered == sorted(ordered, key=lambda version: version or Version((0, 0, 0, 0)))
    assert len(set(ordered)) == 5
    assert [str(version) for version in ordered] == ["24.3.2", "26.2.9", "26.3.0 (pre-release)", "26.3.0", "26.10.0"]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("docker.io/portworx/oci-monitor:3.6.1", (3, 6, 1, 0)),
        ("registry:5000/portworx/oci-monitor:3.6.1@sha256:abc", (3, 6, 1, 0)),
        ("registry:5000/portworx/oci-monitor", None),
        ("portworx/oci-monitor:latest", None),
    ],
)
def test_the_version_of_an_image(image: str, expected: tuple[int, ...] | None) -> None:
    found = version_of_image(image)
    assert (found and found.numbers) == expected


def cluster_at(enterprise: str = "3.6.1", operator: str = "26.2.0", *, stork: bool = True) -> StorageCluster:
    return storage_cluster(
        {
            "metadata": {"namespace": "portworx", "name": "px"},
            "spec": {"stork": {"enabled": stork, "env": [{"name": "KEY", "value": CANARY}]}, "env": [CANARY]},
            "status": {"version": enterprise, "operatorVersion": operator},
        }
    )


GOOD = version_from("26.3.0")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (Portworx(GOOD, (cluster_at(),)), []),
        (Portworx(version_from("24.3.2-5e7c6e5"), (cluster_at(),)), ["Stork is 24.3.2, needed is 26.3.0 or later"]),
        (Portworx(version_from("26.3.0-dev"), (cluster_at(),)), ["Stork is 26.3.0 (pre-release), needed is 26.3.0"]),
        (Portworx(GOOD, (cluster_at(operator="25.5.2"),)), ["Portworx Operator is 25.5.2, needed is 26.2.0 or later"]),
        (Portworx(GOOD, (cluster_at("3.5.2"),)), ["Portworx Enterprise is 3.5.2, needed is 3.6.1 or later"]),
        (Portworx(GOOD, (cluster_at("3.5.2", "25.5.2"),)), ["Portworx Operator", "Portworx Enterprise"]),
        (Portworx(GOOD, ()), ["Stork runs without the Portworx Operator: there is no StorageCluster"]),
        (Portworx(GOOD, (cluster_at(stork=False),)), ["Stork runs without the Portworx Operator: portworx/px has"]),
        (Portworx(None, None), []),
        (Portworx(GOOD, (cluster_at("", ""),)), []),
    ],
)
def test_prerequisites_of_workload_identity_in_stork(found: Portworx, expected: list[str]) -> None:
    told = missing(found)
    assert len(told) == len(expected)
    assert all(each.message.startswith(text) for each, text in zip(told, expected, strict=True))
    standalone = [each.reason is Reason.STANDALONE_STORK for each in told]
    assert all(standalone) == any("without" in text for text in expected) or not told


def test_what_the_operator_holds_in_its_environment_is_not_read() -> None:
    assert CANARY not in repr(cluster_at())


def test_the_version_of_stork_is_in_its_config_map() -> None:
    assert stork_version({"data": {"version": "26.3.0-5e7c6e5"}}) == GOOD
    assert stork_version({"data": {"version": 26}}) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1m0s", 60.0),
        ("1h30m", 5400.0),
        ("0s", 0.0),
        ("0", 0.0),
        ("500ms", 0.5),
        ("1.5h", 5400.0),
        ("-1m", -60.0),
        ("", None),
        ("soon", None),
        ("5", None),
        ("1m 0s", None),
        ("9" * 40 + "h", None),
    ],
)
def test_durations_as_go_writes_them(text: str, expected: float | None) -> None:
    assert read.duration_s(text) == expected


@pytest.mark.parametrize("when", ["yesterday", "", "0000-13-01T00:00:00Z", "9" * 100, 5, None, "0001-01-01T00:00:00Z"])
def test_a_time_that_cannot_be_read_is_none_or_long_ago(when: object) -> None:
    at = read.moment({"t": when}, "t")
    assert at is None or at < 0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
PATHS = [
    "metadata",
    "metadata.name",
    "spec",
    "spec.provider",
    "spec.config",
    "spec.config.storageAccountURI",
    "spec.config.s3Url",
    "spec.objectStorage",
    "spec.validationFrequency",
    "status",
    "status.phase",
    "status.message",
    "status.lastValidationTime",
    "status.validationStatus",
    "location",
    "location.type",
    "location.path",
    "location.s3Config",
    "location.s3Config.endpoint",
    "location.azureConfig.environment",
]


@given(st.sampled_from(PATHS), json_values)
def test_no_document_makes_the_reading_fail(path: str, value: Any) -> None:
    for base, reader in ((VELERO_AZURE, backup_storage_location), (STORK_S3, backup_location)):
        found = reader(patched(base, path, value))
        assert isinstance(found.adoptable, Location | tuple)
        assert (found.state + found.message + found.where).isprintable()


def test_what_is_no_document_at_all_is_read_as_nothing() -> None:
    nothings: list[object] = [None, [], "text", 5]
    for nothing in nothings:
        assert backup_location(nothing).problems == (
            FieldProblem("location.type", "nothing is none of azure, s3, google"),
        )
        assert storage_cluster(nothing).enterprise is None


def test_one_place_in_many_clusters_is_one_offer() -> None:
    velero = backup_storage_location(VELERO_AZURE)
    other = backup_storage_location(patched(VELERO_AZURE, "spec.objectStorage.prefix", None))
    broken = backup_storage_location(patched(VELERO_AZURE, "spec.provider", "nas"))
    found = {"b": [velero], "a": [other, backup_location(STORK_S3)], "c": [broken]}
    told = listing(found, taken=["minio"])
    assert [offer.location.name for offer in told.offers] == ["minio-2", "tenantbackups-backups"]
    assert told.offers[1].used_by == ("a", "b")
    assert told.offers[1].found_as == (
        "a: BackupStorageLocation velero/default",
        "b: BackupStorageLocation velero/default (prefix prod)",
    )
    assert [refusal.found_as for refusal in told.refusals] == ["c: BackupStorageLocation velero/default (prefix prod)"]
    assert listing(dict(reversed(found.items())), taken=["minio"]) == told
