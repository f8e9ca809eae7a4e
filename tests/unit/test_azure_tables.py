"""The tables of Azure: one reason for each answer, and commands that can be pasted."""

from __future__ import annotations

import shlex
import subprocess
import sys
from dataclasses import replace
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from validator.locations import BLOB_SUFFIXES, Environment, Location, Provider
from validator.model import Outcome
from validator.net.failure import ProbeFailure
from validator.probes.azure_clouds import CLOUDS
from validator.probes.azure_fixes import identity_fix, storage_fix
from validator.probes.azure_identity import identity_from
from validator.probes.azure_lock import LockFlags, Retention, with_retention, without_arm
from validator.probes.azure_readings import aadsts_code, entra_reason, management_reason, said, storage_reason
from validator.probes.projected import Claims
from validator.reasons import REASONS, Reason, Stage

LOCATION = Location(
    id=UUID(int=1),
    name="prod",
    provider=Provider.AZURE,
    container="velero",
    account="backups1",
    environment=Environment.PUBLIC,
)
IDENTITY = {"AZURE_CLIENT_ID": "9-9", "AZURE_TENANT_ID": "1-1", "AZURE_FEDERATED_TOKEN_FILE": "/var/run/token"}


@given(st.integers(0, 999), st.text(max_size=40))
def test_every_answer_has_a_reason_of_storage(status: int, code: str) -> None:
    assert REASONS[storage_reason(status, code)].stage is Stage.STORAGE
    assert REASONS[management_reason(status, code)].stage is Stage.STORAGE


@given(st.text(max_size=60))
def test_every_refusal_of_entra_has_a_reason_of_identity(text: str) -> None:
    assert REASONS[entra_reason(aadsts_code(text))].stage is Stage.IDENTITY


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("AADSTS70021: No matching", "70021"),
        ("invalid_client: AADSTS7002138 and AADSTS700016", "7002138"),
        ("AADSTS", ""),
        ("AADSTS12345678901", ""),
        ("", ""),
    ],
)
def test_the_first_code_counts(text: str, code: str) -> None:
    assert aadsts_code(text) == code


def test_what_is_said_has_no_ids_and_no_dump() -> None:
    text = "This request is not authorized.\nRequestId:1f-2a\nTime:2026\nErrorCode:AuthorizationFailure\nContent: <?xml"
    assert said(text) == "This request is not authorized."
    assert said("AADSTS700016: Not found. Trace ID: 1 Correlation ID: 2 Timestamp: 3") == "AADSTS700016: Not found."
    assert "\x1b" not in said("\x1b[31mred")


@given(st.text(max_size=2000))
def test_what_is_said_is_one_bounded_line(text: str) -> None:
    assert len(said(text)) <= 240
    assert said(text).isprintable()


hostile = st.text(min_size=1, max_size=60).filter(lambda text: "\x00" not in text)


@given(hostile, hostile)
def test_what_a_token_claims_can_not_become_a_command(issuer: str, subject: str) -> None:
    for reason in (Reason.FEDERATION_MISSING, Reason.FEDERATION_SUBJECT_MISMATCH):
        fix = identity_fix(reason, "9-9", Claims(issuer, subject), CLOUDS[Environment.PUBLIC])
        assert fix is not None
        words = shlex.split(fix)
        assert words[words.index("--issuer") + 1] == issuer
        assert words[words.index("--subject") + 1] == subject


@pytest.mark.parametrize("reason", list(Reason))
def test_commands_are_one_line_and_quote_well(reason: Reason) -> None:
    whole = replace(LOCATION, resource_group="rg (1)", subscription_id="12345678-1234-1234-1234-123456789abc")
    for location in (LOCATION, whole):
        fix = storage_fix(reason, location, "9-9")
        assert fix is None or (shlex.split(fix)[0] == "az" and "\n" not in fix)


def test_without_a_resource_group_the_command_finds_the_account_itself() -> None:
    fix = storage_fix(Reason.ROLE_MISSING, LOCATION, "9-9")
    assert fix is not None
    assert "$(az storage account show --name backups1 --query id --output tsv)/blobServices" in fix


def test_the_clouds_and_the_names_agree() -> None:
    assert set(CLOUDS) == set(Environment)
    for environment, cloud in CLOUDS.items():
        assert cloud.account_url("backups1") == f"https://backups1.{BLOB_SUFFIXES[environment]}"
        assert (".cn" in cloud.authority) == (".cn" in cloud.management) == (environment is Environment.CHINA)


@pytest.mark.parametrize("missing", sorted(IDENTITY))
def test_a_missing_variable_is_named(missing: str) -> None:
    with pytest.raises(ProbeFailure, match=missing) as caught:
        identity_from({name: value for name, value in IDENTITY.items() if name != missing})
    assert caught.value.reason is Reason.IDENTITY_UNAVAILABLE


@pytest.mark.parametrize("name", ["AZURE_CLIENT_ID", "AZURE_TENANT_ID"])
def test_an_id_that_would_break_a_url_is_refused(name: str) -> None:
    with pytest.raises(ProbeFailure, match=name):
        identity_from(IDENTITY | {name: "../../evil"})


def test_the_sdk_is_imported_by_nobody_but_the_probe() -> None:
    program = (
        "import sys, validator.engine, validator.locations, validator.net.policy, validator.scrub\n"
        "import validator.probes.azure_readings, validator.probes.azure_fixes, validator.probes.azure_identity\n"
        "import muster.app\n"
        "found = [name for name in sys.modules if name.split('.')[0] in {'azure', 'msal', 'botocore'}]\n"
        "sys.exit(','.join(found) or None)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


class TestObjectLock:
    def test_flags_and_settings(self) -> None:
        open_ = LockFlags(policy=False, legal_hold=False, versions=False)
        locked = LockFlags(policy=True, legal_hold=False, versions=False)
        group = replace(LOCATION, resource_group="rg", subscription_id="12345678-1234-1234-1234-123456789abc")
        fact = without_arm(open_, LOCATION)
        assert fact is not None
        assert fact.outcome is Outcome.PASS
        missing = without_arm(locked, LOCATION)
        assert missing is not None
        assert missing.reason is Reason.OBJECT_LOCK_SETTINGS_MISSING
        assert without_arm(locked, group) is None
        assert with_retention(locked, Retention(30, "Locked"), 0, group).outcome is Outcome.PASS
        assert with_retention(locked, Retention(0), 0, group).reason is Reason.OBJECT_LOCK_MISCONFIGURED
