"""What a remedy says to whom."""

from __future__ import annotations

import pytest

from validator.locations import Provider
from validator.reasons import REASONS, Reason
from validator.remedies import of_cloud


def test_each_cloud_hears_of_itself_and_what_is_for_all() -> None:
    text = "Look. Azure: do this; twice. AWS: do that; Google: neither. `fix` has it."
    assert of_cloud(text, "Azure") == "Look. Do this; twice. `fix` has it."
    assert of_cloud(text, "AWS") == "Look. Do that. `fix` has it."
    assert of_cloud(text, "Google") == "Look. Neither. `fix` has it."


def test_what_is_for_two_is_heard_by_both_and_what_is_for_none_is_whole() -> None:
    text = "Azure: this. AWS and Google: that."
    assert of_cloud(text, "Google") == of_cloud(text, "AWS") == "That."
    assert of_cloud("Wait (Azure: 30 s).", "Azure") == "Wait (Azure: 30 s)."
    assert of_cloud("Google: that.", "Azure") == "Google: that."


@pytest.mark.parametrize("provider", Provider)
def test_every_reason_has_a_remedy_for_everybody(provider: Provider) -> None:
    for reason, info in REASONS.items():
        said = info.remedy_for("c1", "https://a", provider)
        assert bool(said) == bool(info.remedy), reason
        assert "{" not in said or "{" in info.remedy.replace("{cluster}", "").replace("{endpoint}", ""), reason


def test_a_missing_role_in_s3_has_no_azure_in_it() -> None:
    said = REASONS[Reason.ROLE_MISSING].remedy_for("c1", "s3://b", Provider.S3)
    assert said.startswith("Allow s3:ListBucket")
    assert "Azure" not in said
    assert said.endswith("`fix` in the evidence has the command.")
