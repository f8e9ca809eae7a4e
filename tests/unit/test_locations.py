"""Names and fields of locations, by the providers' own rules."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validator.location_names import account_problem, container_problem, gcs_problem, s3_problem
from validator.locations import (
    MAX_TYPED_CHARS,
    Environment,
    Location,
    Provider,
    endpoint_problem,
    environment_from,
    location_problems,
)

AZURE = Location(
    id=UUID(int=1),
    name="prod",
    provider=Provider.AZURE,
    container="velero",
    account="backups1",
    environment=Environment.PUBLIC,
)
S3 = Location(id=UUID(int=2), name="prod", provider=Provider.S3, container="velero", region="eu-central-1")
GCS = Location(id=UUID(int=3), name="prod", provider=Provider.GCS, container="velero")
SUBSCRIPTION = "12345678-1234-1234-1234-123456789abc"


def test_sound_locations_have_no_problems() -> None:
    whole = replace(AZURE, resource_group="rg-(1)_x.y", subscription_id=SUBSCRIPTION, write_probe=True)
    china = replace(AZURE, environment=Environment.CHINA, endpoint="https://backups1.blob.core.chinacloudapi.cn")
    minio = replace(S3, endpoint="https://minio.example:9000", path_style=True)
    emulator = replace(S3, endpoint="http://127.0.0.1:5000")
    for location in (AZURE, S3, GCS, whole, china, minio, emulator):
        assert location_problems(location) == (), location


BAD: list[tuple[Location, dict[str, Any], str, str]] = [
    (AZURE, {"container": "velero/prod"}, "container", "no slash"),
    (AZURE, {"container": "https://x.blob.core.windows.net/velero"}, "container", "no URL"),
    (AZURE, {"container": "Velero"}, "container", "lower case: velero"),
    (AZURE, {"container": "a--b"}, "container", "single dashes"),
    (AZURE, {"container": "ab"}, "container", "3 to 63"),
    (AZURE, {"container": "$root"}, "container", "3 to 63"),
    (AZURE, {"account": "Backups1"}, "account", "lower case: backups1"),
    (AZURE, {"account": "backups1.blob.core.windows.net"}, "account", "name alone"),
    (AZURE, {"account": None}, "account", "is needed"),
    (AZURE, {"environment": None}, "environment", "AzureChinaCloud"),
    (AZURE, {"resource_group": "rg"}, "subscription_id", "go together"),
    (AZURE, {"subscription_id": SUBSCRIPTION}, "resource_group", "go together"),
    (AZURE, {"resource_group": "rg.", "subscription_id": SUBSCRIPTION}, "resource_group", "without a period"),
    (AZURE, {"resource_group": "rg", "subscription_id": "Production"}, "subscription_id", "UUID"),
    (AZURE, {"endpoint": "https://backups1.blob.core.chinacloudapi.cn"}, "endpoint", "is of AzureChinaCloud"),
    (AZURE, {"endpoint": "https://evil.example"}, "endpoint", "follows from account"),
    (AZURE, {"region": "westeurope"}, "region", "leave it out"),
    (AZURE, {"path_style": True}, "path_style", "S3"),
    (S3, {"container": "192.168.5.4"}, "container", "IP address"),
    (S3, {"container": "a..b"}, "container", "two periods"),
    (S3, {"container": "xn--bucket"}, "container", "don't begin"),
    (S3, {"container": "bucket-s3alias"}, "container", "don't end"),
    (S3, {"container": "bucket/prefix"}, "container", "no slash"),
    (S3, {"region": "EU Central"}, "region", "eu-central-1"),
    (S3, {"endpoint": "http://minio.example"}, "endpoint", "loopback"),
    (S3, {"endpoint": "https://user:secret@minio.example"}, "endpoint", "credential"),
    (S3, {"endpoint": "https://minio.example/path"}, "endpoint", "without user"),
    (S3, {"account": "backups1"}, "account", "is of azure"),
    (S3, {"environment": Environment.PUBLIC}, "environment", "is of azure"),
    (GCS, {"container": "google-backups"}, "container", "google"),
    (GCS, {"container": "goog1"}, "container", "goog"),
    (GCS, {"container": "a" * 64}, "container", "63"),
    (GCS, {"endpoint": "https://storage.example"}, "endpoint", "is of S3"),
    (GCS, {"name": "Prod"}, "name", "Kubernetes"),
    (GCS, {"name": ""}, "name", "1 to 253"),
]


@pytest.mark.parametrize(("location", "changes", "field", "words"), BAD)
def test_a_problem_names_the_field_and_quotes_the_rule(
    location: Location, changes: dict[str, Any], field: str, words: str
) -> None:
    problems = location_problems(replace(location, **changes))
    (problem,) = [problem for problem in problems if problem.field == field]
    assert words in problem.message
    assert str(problem).startswith(f"{field}: ")


def test_a_china_environment_with_a_global_endpoint_is_told_both_words() -> None:
    location = replace(AZURE, environment=Environment.CHINA, endpoint="https://backups1.blob.core.windows.net")
    (problem,) = location_problems(location)
    assert problem.field == "endpoint"
    assert "AzurePublicCloud" in problem.message
    assert "blob.core.chinacloudapi.cn" in problem.message


def test_a_secret_in_an_endpoint_is_not_repeated() -> None:
    assert "hunter2" not in str(endpoint_problem("https://user:hunter2@minio.example"))
    assert "hunter2" not in str(location_problems(replace(AZURE, endpoint="https://user:hunter2@x.example")))


def test_a_long_field_is_refused_before_any_rule() -> None:
    (problem,) = location_problems(replace(S3, container="a" * (MAX_TYPED_CHARS + 1)))
    assert (problem.field, str(MAX_TYPED_CHARS) in problem.message) == ("container", True)


@given(st.from_regex(re.compile(r"[a-z0-9]{3,24}"), fullmatch=True))
def test_every_account_by_the_rule_is_right(name: str) -> None:
    assert account_problem(name) is None


@given(st.lists(st.from_regex(re.compile(r"[a-z0-9]{1,12}"), fullmatch=True), min_size=1, max_size=4).map("-".join))
def test_a_container_is_right_exactly_within_its_length(name: str) -> None:
    assert (container_problem(name) is None) == (3 <= len(name) <= 63)


@given(st.text(max_size=80))
def test_whatever_passes_is_safe_in_a_url_a_shell_and_a_path(name: str) -> None:
    for problem in (account_problem, container_problem, s3_problem, gcs_problem):
        if problem(name) is None:
            assert re.fullmatch(r"[a-z0-9._-]+", name)
            assert name not in {".", ".."}


fields = st.none() | st.text(max_size=60)


@given(
    st.builds(
        Location,
        id=st.just(UUID(int=1)),
        name=st.text(max_size=30),
        provider=st.sampled_from(Provider),
        container=st.text(max_size=70),
        account=fields,
        environment=st.none() | st.sampled_from(Environment),
        resource_group=fields,
        subscription_id=fields,
        region=fields,
        endpoint=fields | st.text(max_size=40).map("https://".__add__),
        path_style=st.booleans(),
    )
)
def test_whatever_is_typed_gives_problems_and_never_an_exception(location: Location) -> None:
    for problem in location_problems(location):
        assert problem.message
        assert hasattr(location, problem.field)
    assert location.url


@pytest.mark.parametrize(
    ("text", "environment"),
    [
        ("AzurePublicCloud", Environment.PUBLIC),
        ("azure-public", Environment.PUBLIC),
        ("AZURE_CHINA", Environment.CHINA),
        ("azure-china", Environment.CHINA),
        ("AzureGermanCloud", None),
        ("", None),
    ],
)
def test_all_spellings_of_the_environments(text: str, environment: Environment | None) -> None:
    assert environment_from(text) is environment
