"""Settings: from variables and flags, bounded, and refused with a sentence that names both."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from muster.settings import Settings, SettingsError, load_settings, unknown_variables


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("MUSTER_") or name == "KUBECONFIG":
            monkeypatch.delenv(name)


def test_without_anything_it_watches_what_kubectl_reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings().kubeconfig_paths == (tmp_path / ".kube/config",)
    monkeypatch.setenv("KUBECONFIG", "/a:/b")
    assert load_settings().kubeconfig_paths == (Path("/a"), Path("/b"))


@pytest.mark.parametrize("flags", [{"static": [Path("/s")]}, {"in_cluster": True}])
def test_another_source_takes_the_place_of_the_usual_kubeconfig(flags: dict[str, object]) -> None:
    assert load_settings(**flags).kubeconfig_paths == ()


def test_lists_are_read_from_variables_and_flags_override_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("MUSTER_KUBECONFIG", "~/one:/two")
    monkeypatch.setenv("MUSTER_CONTEXTS", "prod, stage ,")
    monkeypatch.setenv("MUSTER_REFERENCE_TARGETS", "10.0.0.1:53,[::1]:22")
    monkeypatch.setenv("MUSTER_INTERVAL_S", "60")
    monkeypatch.setenv("MUSTER_OTLP_ENDPOINT", "")
    settings = load_settings(kubeconfig=[], interval_s=None, contexts=["dev"], timeout_s=3.0)
    assert settings.kubeconfig == (Path("/home/me/one"), Path("/two"))
    assert settings.contexts == ("dev",)
    assert settings.references == (("10.0.0.1", 53), ("::1", 22))
    assert (settings.interval_s, settings.timeout_s) == (60.0, 3.0)
    assert settings.otlp_endpoint is None


@pytest.mark.parametrize(
    ("listen", "address"),
    [("localhost:1", ("127.0.0.1", 1)), ("[::1]:0", ("::1", 0)), ("127.9.9.9:65535", ("127.9.9.9", 65535))],
)
def test_it_listens_on_this_machine(listen: str, address: tuple[str, int]) -> None:
    assert load_settings(listen=listen).listen_address == address


@pytest.mark.parametrize(
    "listen",
    ["0.0.0.0:8645", "[::]:8645", "10.0.0.1:1", "example.com:1", "127.0.0.1", ":1", "127.0.0.1:x", "127.0.0.1:99999",
     "::1:80", "u@127.0.0.1:1", "127.0.0.1:1/path", "", "[::1"],
)  # fmt: skip
def test_it_listens_nowhere_else(listen: str) -> None:
    with pytest.raises(SettingsError, match=r"MUSTER_LISTEN \(--listen\): "):
        load_settings(listen=listen)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"interval_s": 10.0, "timeout_s": 10.0}, "below the interval"),
        ({"interval_s": 0.5}, "greater than or equal to 1"),
        ({"interval_s": float("nan")}, "MUSTER_INTERVAL_S"),
        ({"timeout_s": float("inf")}, "less than or equal to 60"),
        ({"retention_days": 0}, "--retention-days"),
        ({"read_every": 0}, "--read-every"),
        ({"reference_targets": ["dns.example:53"]}, "IP address"),
        ({"reference_targets": ["10.0.0.1:0"]}, "port 0"),
        ({"reference_targets": ["10.0.0.1:1"] * 17}, "at most 16"),
        ({"otlp_endpoint": "collector:4318"}, "http://127.0.0.1:4318"),
        ({"otlp_endpoint": "http://[::1"}, "http://127.0.0.1:4318"),
        ({"log_format": "xml"}, "'json' or 'console'"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_name(flags: dict[str, object], says: str) -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings(**flags)
    assert says in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MUSTER_OTLP_ENDPOINT", "http://user:canary-77@collector"),
        ("MUSTER_DATABASE_URL", "postgresql://u:canary-77@h/d"),
    ],
)
def test_no_secret_shows(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    try:
        shown = repr(load_settings())
    except SettingsError as error:
        shown = f"{error} {error!r} {error.__cause__} {error.__context__}"
    assert "canary-77" not in shown
    with pytest.raises(SettingsError) as raised:
        load_settings(interval_s=0.0)  # another mistake must not bring it along
    assert "canary-77" not in f"{raised.value} {raised.value.__context__}"


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as raised:
        load_settings(interval_s=0.0, retention_days=0, listen="x")
    assert str(raised.value).count("\n") == 2


def test_a_misspelt_variable_is_noticed() -> None:
    environ = {
        "MUSTER_DATABSE_URL": "x",
        "MUSTER_SERVICE_HOST": "y",
        "MUSTER_SERVER": "z",
        "MUSTER_LISTEN": "",
        "A": "",
    }
    assert unknown_variables(environ) == ["MUSTER_DATABSE_URL is not a setting; did you mean MUSTER_DATABASE_URL?"]


def test_every_setting_says_what_it_is() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
