"""Settings of what the hub asks about pairs: what makes no sense is refused with the remedy."""

from __future__ import annotations

import pytest

from muster.pair_probes import direct_settings, look_schedule, resource_settings
from muster.settings import Settings, SettingsError, load_settings


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"stork_status_paths": ("spec.location.secretConfig",)}, "a status path begins with `status.`"),
        ({"stork_status_paths": ()}, "0 status paths; 1 to 10 are tried"),
        ({"direct_endpoints": ("http://minio.example.com",)}, "http:// is for emulators on a loopback address only"),
        ({"direct_endpoints": ("https://user:secret@minio.example.com",)}, "a credential never belongs into it"),
        ({"direct_owners": ("platform", " ")}, "an owner is 1 to 253 printable characters"),
    ],
)
def test_what_makes_no_sense_is_refused(given: dict[str, object], says: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(**given)
    assert says in str(caught.value)
    assert "secret@" not in str(caught.value)


def test_what_is_set_is_what_is_asked_with() -> None:
    settings = Settings(
        direct_endpoints=("https://minio.example.com/",),
        pair_timeout_s=12.0,
        stork_status_paths=("status.phase",),
        velero_period_s=300.0,
        resource_interval_s=60.0,
    )
    direct = direct_settings(settings)
    assert (direct.timeout_s, direct.policy.allow_loopback) == (12.0, False)
    assert direct.clouds.aws.allowed_endpoints == {"https://minio.example.com"}
    read = resource_settings(settings)
    assert (read.stork_status_paths, read.judging.velero_period_s, read.read_every) == (("status.phase",), 300.0, 1)
    assert look_schedule(settings).interval_s == 60.0


def test_by_default_the_hub_asks_no_storage() -> None:
    assert Settings().direct_owners == ()
