"""What a location may be, what its pairs say of it together, and which texts name a key. Pure."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.key_references import KEY_RULE, key_reference_problem
from collector.location import bucket_of, problems_of
from collector.location_status import LocationStatus, roll_up
from tests.support.locations import new_location
from validator.locations import Environment, Provider
from validator.reasons import Health

SUSPENDED, UNREACHABLE, UNHEALTHY, UNKNOWN, DEGRADED, HEALTHY = (
    Health.SUSPENDED,
    Health.UNREACHABLE,
    Health.UNHEALTHY,
    Health.UNKNOWN,
    Health.DEGRADED,
    Health.HEALTHY,
)


class TestRollUp:
    @pytest.mark.parametrize(
        ("pairs", "status", "message"),
        [
            ([HEALTHY, DEGRADED], "Valid", "works from 2 of 2 clusters"),
            ([HEALTHY, UNKNOWN, SUSPENDED], "Valid", "works from 1, unknown from 2 of 3 clusters"),
            ([HEALTHY, UNHEALTHY], "LimitedAvailability", "works from 1, fails from 1 of 2 clusters"),
            ([DEGRADED, UNREACHABLE, UNKNOWN], "LimitedAvailability", "works from 1, fails from 1, unknown from 1"),
            ([UNHEALTHY, UNREACHABLE], "ValidationFailed", "fails from 2 of 2 clusters"),
            ([UNHEALTHY, UNKNOWN], "ValidationFailed", "fails from 1, unknown from 1 of 2 clusters"),
            ([UNKNOWN], "LimitedAvailability", "unknown from 1 of 1 cluster"),
            ([SUSPENDED, UNKNOWN], "LimitedAvailability", "unknown from 2 of 2 clusters"),
            ([], "LimitedAvailability", "no cluster is assigned, so nobody asks about it"),
        ],
    )
    def test_the_word_and_the_sentence(self, pairs: Sequence[Health], status: str, message: str) -> None:
        rolled = roll_up(pairs)
        assert rolled.status == status
        assert rolled.message.startswith(message)

    @given(st.lists(st.sampled_from(list(Health))), st.sampled_from([UNKNOWN, SUSPENDED]))
    def test_a_cluster_that_can_not_tell_changes_nothing(self, pairs: list[Health], silent: Health) -> None:
        assert roll_up([*pairs, silent]).status is roll_up(pairs).status

    @given(st.lists(st.sampled_from(list(Health))))
    def test_it_is_green_only_where_one_says_so_and_none_disagrees(self, pairs: list[Health]) -> None:
        works, fails = {HEALTHY, DEGRADED} & set(pairs), {UNHEALTHY, UNREACHABLE} & set(pairs)
        assert (roll_up(pairs).status is LocationStatus.VALID) == (bool(works) and not fails)

    def test_a_job_and_a_deletion_are_said_first(self) -> None:
        assert roll_up([UNHEALTHY, UNKNOWN]).status is LocationStatus.FAILED
        assert roll_up([UNHEALTHY, UNKNOWN], worked=1).status is LocationStatus.LIMITED, "one that is offline worked"
        assert roll_up([HEALTHY], validating=True).status is LocationStatus.VALIDATING
        assert roll_up([], validating=True).status is LocationStatus.LIMITED
        rolled = roll_up([HEALTHY], validating=True, deleting=True)
        assert rolled.status is LocationStatus.DELETING
        assert "never touched" in rolled.message


REFERENCES = [
    "https://acme.vault.azure.net/keys/backups",
    "https://acme-1.vault.azure.net/keys/backups/0123456789abcdef0123456789abcdef",
    "https://acme.vault.azure.net/secrets/backups",
    "https://acme.managedhsm.azure.net/keys/backups",
    "arn:aws:kms:eu-central-1:123456789012:key/12345678-1234-1234-1234-123456789abc",
    "arn:aws-cn:kms:cn-north-1:123456789012:key/mrk-0123456789abcdef0123456789abcdef",
    "arn:aws-us-gov:kms:us-gov-west-1:123456789012:alias/team/backups",
    "alias/backups",
    "projects/acme-prod/locations/europe-west1/keyRings/backups/cryptoKeys/daily",
    "projects/acme-prod/locations/global/keyRings/b_1/cryptoKeys/daily/cryptoKeyVersions/3",
    "velero/backup-key#repository-password",
    "portworx/a.b.c#KEY_1",
]

NO_REFERENCES = [
    "",
    "correct horse battery staple",
    "https://acme.vault.azure.net/keys/",
    "https://acme.vault.azure.net/keys/a?sig=abc",
    "https://user:pass@acme.vault.azure.net/keys/a",
    "https://acme.vault.azure.net.evil.example/keys/a",
    "http://acme.vault.azure.net/keys/a",
    "https://acme.vault.azure.net/keys/a\n",
    "arn:aws:s3:::bucket",
    "arn:aws:kms:eu-central-1:123456789012:key/secretsecret",
    "projects/p/locations/l/keyRings/r",
    "velero/backup-key",
    "backup-key#password",
    "Velero/Key#password",
    "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----",
    "alias/" + "x" * 251,
]


class TestKeyReferences:
    @pytest.mark.parametrize("text", REFERENCES)
    def test_what_names_a_key_is_taken(self, text: str) -> None:
        assert key_reference_problem(text) is None

    @pytest.mark.parametrize("text", NO_REFERENCES)
    def test_anything_else_is_refused_and_not_repeated(self, text: str) -> None:
        assert key_reference_problem(text) == KEY_RULE

    @given(st.binary(min_size=16, max_size=256))
    def test_no_encoding_of_a_key_is_a_reference(self, key: bytes) -> None:
        texts = (base64.b64encode(key), base64.urlsafe_b64encode(key), key.hex().encode(), base64.b32encode(key))
        assert [text for text in texts if key_reference_problem(text.decode()) is None] == []

    def test_a_vault_of_the_other_cloud_is_refused(self) -> None:
        china = "https://acme.vault.azure.cn/keys/backups"
        assert key_reference_problem(china, Environment.CHINA) is None
        assert key_reference_problem(REFERENCES[0], Environment.PUBLIC) is None
        problem = key_reference_problem(china, Environment.PUBLIC)
        assert problem is not None
        assert "end in vault.azure.net" in problem


class TestProblems:
    def test_a_good_one_has_none(self) -> None:
        assert problems_of(new_location(encryption_key=REFERENCES[0])) == ()

    def test_all_of_them_are_told_at_once_and_no_key_is_repeated(self) -> None:
        canary = secrets.token_urlsafe(32)
        bad = new_location("Bad_Name", container="a/b", account="ACME", encryption_key=canary, owner=" ")
        problems = problems_of(bad)
        assert {each.field for each in problems} == {"name", "container", "account", "encryption_key", "owner"}
        assert canary not in " ".join(map(str, problems))

    @pytest.mark.parametrize("owner", ["", "x" * 254, "a\x1bb", " a", "a\n"])
    def test_an_owner_is_one_printable_line(self, owner: str) -> None:
        assert [each.field for each in problems_of(new_location(owner=owner))] == ["owner"]


def s3(endpoint: str | None, container: str = "daily") -> dict[str, Any]:
    return {
        "provider": Provider.S3,
        "account": None,
        "environment": None,
        "endpoint": endpoint,
        "container": container,
    }


class TestBucket:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ({}, {"resource_group": "rg", "subscription_id": "12345678-1234-1234-1234-123456789abc"}),
            ({}, {"endpoint": "https://acmebackups.blob.core.windows.net"}),
            (s3(None), s3("https://s3.eu-central-1.amazonaws.com")),
            (s3(None), {**s3(None), "region": "eu-west-1", "path_style": True}),
            (s3("https://minio.example.com"), s3("https://MINIO.example.com.:443/")),
            (s3("http://127.0.0.1:80"), s3("http://127.0.0.1")),
        ],
    )
    def test_one_bucket_is_one_however_it_is_spelt(self, one: dict[str, Any], other: dict[str, Any]) -> None:
        assert new_location(**one).bucket == new_location(**other).bucket

    def test_others_are_others(self) -> None:
        gcs = {**s3(None), "provider": Provider.GCS}
        places: list[dict[str, Any]] = [
            {},
            {"account": "other"},
            {"container": "weekly"},
            {"environment": Environment.CHINA},
            s3(None),
            s3("https://minio.example.com"),
            s3("https://minio.example.com:9000"),
            s3("https://amazonaws.com.evil.example"),
            gcs,
        ]
        assert len({new_location(**place).bucket for place in places}) == len(places)


def test_the_same_request_is_told_from_another() -> None:
    one = new_location("one", UUID(int=1))
    assert one.is_made_as(new_location("one", UUID(int=1)))
    for other in (
        new_location("one", UUID(int=2)),
        new_location("one", UUID(int=1), by="eve"),
        new_location("one", UUID(int=1), sync=True),
        new_location("one", UUID(int=1), write_probe=True),
        replace(one, encryption_key="alias/a"),
    ):
        assert not one.is_made_as(other)
    assert bucket_of(one.where) == one.bucket
