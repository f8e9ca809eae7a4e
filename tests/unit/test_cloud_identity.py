"""Which identity the environment gives, and what is refused though an SDK would take it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.clouds import SIGNATURE, projected
from validator.file_thread import FileThread
from validator.net.failure import ProbeFailure
from validator.probes.aws_identity import PodIdentity, WebIdentity, identity_from, region_from
from validator.probes.gcs_identity import external_account
from validator.probes.gcs_identity import identity_from as google_identity
from validator.probes.projected import Claims, claims_of, read_token

IRSA = {"AWS_ROLE_ARN": "arn:aws:iam::1:role/r", "AWS_WEB_IDENTITY_TOKEN_FILE": "/t"}
POD = {
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/t",
}


def test_irsa_comes_before_pod_identity_as_in_the_sdk() -> None:
    assert identity_from(IRSA | POD) == WebIdentity("arn:aws:iam::1:role/r", Path("/t"))
    assert identity_from(POD) == PodIdentity("http://169.254.170.23/v1/credentials", Path("/t"))


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({}, "AWS_ROLE_ARN"),
        ({"AWS_ROLE_ARN": "x"}, "AWS_WEB_IDENTITY_TOKEN_FILE is not"),
        ({"AWS_WEB_IDENTITY_TOKEN_FILE": "x"}, "AWS_ROLE_ARN is not"),
        ({"AWS_CONTAINER_CREDENTIALS_FULL_URI": POD["AWS_CONTAINER_CREDENTIALS_FULL_URI"]}, "TOKEN_FILE is not"),
        (POD | {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.169.254/x"}, "not the address"),
        (POD | {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1/x"}, "not the address"),
        (POD | {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23@evil/x"}, "not the address"),
        (POD | {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://[x"}, "not the address"),
        ({"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "k"}, "AWS_ACCESS_KEY_ID is set, but only workload"),
        ({"AWS_PROFILE": "p"}, "AWS_PROFILE is set, but only workload"),
    ],
)
def test_what_is_missing_is_named_and_keys_are_not_taken(environ: dict[str, str], named: str) -> None:
    with pytest.raises(ProbeFailure) as caught:
        identity_from(environ)
    assert caught.value.reason == "IdentityUnavailable"
    assert named in caught.value.message


def test_the_region_of_the_environment() -> None:
    assert region_from({"AWS_DEFAULT_REGION": "b"}) == "b"
    assert region_from({"AWS_REGION": "a", "AWS_DEFAULT_REGION": "b"}) == "a"
    assert region_from({}) is None


EXTERNAL = {
    "type": "external_account",
    "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
    "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    "token_url": "https://sts.googleapis.com/v1/token",
    "credential_source": {"file": "/t"},
    "service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@b:generateAccessToken",
}


def test_an_external_account_is_read_with_whom_it_acts_as() -> None:
    found = external_account(json.dumps(EXTERNAL))
    assert (found.token_file, found.impersonates) == (Path("/t"), "a@b")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"type": "service_account", "private_key": "keycanary"}, "service_account; only workload identity"),
        ({"type": "authorized_user"}, "authorized_user; only workload identity"),
        ({"type": "impersonated_service_account"}, "another type"),
        ({"credential_source": {"executable": {"command": "rm -rf /"}}}, "names no `file`"),
        ({"credential_source": {"url": "http://169.254.169.254/"}}, "names no `file`"),
        ({"token_url": "http://evil/"}, "token_url in the file is no https"),
        ({"token_url": 3}, "no token_url"),
        ({"service_account_impersonation_url": "ftp://x"}, "service_account_impersonation_url in the file"),
    ],
)
def test_keys_commands_and_odd_urls_of_google_are_refused(change: dict[str, object], named: str) -> None:
    with pytest.raises(ProbeFailure) as caught:
        external_account(json.dumps(EXTERNAL | change))
    assert caught.value.reason == "IdentityUnavailable"
    assert named in caught.value.message
    assert "canary" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "no json", "[]", "[" * 100_000])
def test_a_broken_credentials_file_is_named_without_its_content(text: str) -> None:
    with pytest.raises(ProbeFailure, match="GOOGLE_APPLICATION_CREDENTIALS"):
        external_account(text)


async def test_without_a_file_google_means_the_metadata_server_and_a_missing_file_is_no_fallback(
    tmp_path: Path,
) -> None:
    files = FileThread("test")
    assert (await google_identity({}, files, metadata_host=None)).host == "metadata.google.internal"  # type: ignore[union-attr]
    with pytest.raises(ProbeFailure, match="does not exist"):
        await google_identity({"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "no")}, files, metadata_host=None)


async def test_a_token_file_is_read_anew_each_time_and_never_quoted(tmp_path: Path) -> None:
    files, path = FileThread("test"), tmp_path / "token"
    path.write_text(" one\n")
    assert await read_token(path, files) == "one"
    path.write_text("two")
    assert await read_token(path, files) == "two"
    path.write_text("canary\x00canary")
    with pytest.raises(ProbeFailure) as caught:
        await read_token(path, files)
    assert "canary" not in str(caught.value)
    assert str(path) in caught.value.message


@pytest.mark.parametrize("make", ["missing", "directory", "fifo", "empty", "large"])
async def test_a_token_file_may_be_anything(tmp_path: Path, make: str) -> None:
    path = tmp_path / "token"
    match make:
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "empty":
            path.write_text("")
        case "large":
            path.write_text("x" * 100_000)
    with pytest.raises(ProbeFailure) as caught:
        await read_token(path, FileThread("test"))
    assert caught.value.reason == "IdentityUnavailable"


def test_claims_are_read_without_trust() -> None:
    found = claims_of(projected())
    assert found.service_account == ("backup", "agent")
    assert found.audiences == ("sts.amazonaws.com",)
    assert SIGNATURE not in repr(found)
    for text in ("", "a.b", "a.b.c", "a.!.c", "a." + "e30" * 3 + ".c", "a.bnVsbA.c"):
        assert claims_of(text) == Claims()
    odd = projected(sub="system:serviceaccount:x", aud="one", exp="soon", iss="\x1b[31m")
    assert claims_of(odd) == Claims("", "system:serviceaccount:x", ("one",), None)
    assert claims_of(odd).service_account is None
