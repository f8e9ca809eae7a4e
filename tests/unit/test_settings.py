"""Settings from variables and flags: bounded, and refused with a sentence that names both."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.main import get_command

from muster.cli.app import app
from muster.config.table import FLAGS, TABLE
from muster.settings import Loading, Settings, SettingsError, load_settings, unknown_variables


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
def test_it_listens_nowhere_else_without_tls_or_a_proxy(listen: str) -> None:
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
    told = [str(problem) for problem in unknown_variables(environ)]
    assert told == ["MUSTER_DATABSE_URL: is not a setting; did you mean MUSTER_DATABASE_URL?"]


@pytest.mark.parametrize(
    "name",
    ["MUSTER_SERVER", "MUSTER_TOKEN_FILE", "MUSTER_CONFIG", "MUSTER_RUNTIME_DIR", "MUSTER_TELEMETRY",
     "MUSTER_SERVICE_HOST", "MUSTER_SERVICE_PORT_HTTP", "MUSTER_PORT", "MUSTER_PORT_8645_TCP_ADDR",
     "MUSTER_POSTGRES_SERVICE_HOST", "MUSTER_POSTGRES_PORT_5432_TCP"],
)  # fmt: skip
def test_variables_of_others_are_let_be(name: str) -> None:
    assert unknown_variables({name: "x"}) == []


@pytest.mark.parametrize(
    ("name", "meant"),
    [("MUSTER_INTERVAL", "MUSTER_INTERVAL_S"), ("MUSTER_CONTEXT", "MUSTER_CONTEXTS"), ("MUSTER_SERVERS", ""),
     ("MUSTER_REFERENCE", "MUSTER_REFERENCE_TARGETS"), ("MUSTER_" + "X" * 10_000, "")],
)  # fmt: skip
def test_an_unknown_variable_is_refused_with_what_may_have_been_meant(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(SettingsError) as raised:
        load_settings()
    assert str(raised.value).endswith(f"did you mean {meant}?" if meant else "is not a setting; unset it")


TLS = {"tls_certificate": Path("/c"), "tls_key": Path("/k")}


@pytest.mark.parametrize("more", [TLS, {"behind_proxy": True}])
def test_with_tls_or_a_proxy_it_listens_wider(more: dict[str, object]) -> None:
    assert load_settings(listen="10.0.0.1:8645", **more).listen_address == ("10.0.0.1", 8645)
    assert load_settings(listen="[::]:8645", hosts=["muster.example.com"], **more).listen_address == ("::", 8645)


@pytest.mark.parametrize("listen", ["0.0.0.0:8645", "[::]:8645"])
def test_every_address_needs_a_name_by_which_to_call(listen: str) -> None:
    with pytest.raises(SettingsError, match=r"\(--listen\): .*hosts is empty.*hosts = \["):
        load_settings(listen=listen, behind_proxy=True)


@pytest.mark.parametrize(("given", "missing"), [("tls_certificate", "tls_key"), ("tls_key", "tls_certificate")])
def test_a_certificate_and_its_key_go_together(given: str, missing: str) -> None:
    with pytest.raises(SettingsError, match=f"{missing} is missing"):
        load_settings(**{given: Path("/f")})


def test_hosts_are_kept_as_they_are_compared() -> None:
    hosts = ["Muster.Example.COM.", "[FD00::0:1]", "10.0.0.1", "xn--mnchen-3ya.de", "hub"]
    kept = ("muster.example.com", "fd00::1", "10.0.0.1", "xn--mnchen-3ya.de", "hub")
    assert load_settings(hosts=hosts).hosts == kept


@pytest.mark.parametrize(
    "host",
    ["*", "*.example.com", "https://a", "a:8645", "a/b", "a b", "a..b", "-a", "a-", "", ".", "0.0.0.0", "::", "u@h",
     "1.2.3", "300.1.1.1", "x" * 64, "a." * 127 + "aa", "münchen.de", "a\x1b[2J"],
)  # fmt: skip
def test_a_host_that_nobody_could_call_is_refused(host: str) -> None:
    with pytest.raises(SettingsError, match=r"MUSTER_HOSTS \(--host\): entry 2: "):
        load_settings(hosts=["a", host])


def test_the_stronger_source_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "muster.toml"
    file.write_text('interval_s = 100\ntimeout_s = 50\nread_every = 9\n\nlog_level = "debug"\n')
    monkeypatch.setenv("MUSTER_TIMEOUT_S", "40")
    monkeypatch.setenv("MUSTER_READ_EVERY", "8")
    loaded = Loading(file, {"read_every": 7, "contexts": []}).load()
    settings, origins = loaded.settings, loaded.origins
    assert (settings.interval_s, settings.timeout_s, settings.read_every) == (100.0, 40.0, 7)
    assert {key: str(origins[key]) for key in ("interval_s", "timeout_s", "read_every", "contexts", "log_level")} == {
        "interval_s": f"{file}:1",
        "timeout_s": "MUSTER_TIMEOUT_S",
        "read_every": "--read-every",
        "contexts": "default",
        "log_level": f"{file}:5",
    }
    assert origins.keys() == Settings.model_fields.keys()
    assert loaded.file == file


def test_a_contradiction_is_told_where_it_was_made(tmp_path: Path) -> None:
    file = tmp_path / "muster.toml"
    file.write_text("# two\ninterval_s = 5\n")
    with pytest.raises(SettingsError, match=rf"^{file}:2: interval_s: timeout_s is 10 and interval_s is 5; "):
        load_settings(file)


def test_a_home_that_does_not_exist_is_no_crash() -> None:
    with pytest.raises(SettingsError, match="there is no home directory for ~nobody-7"):
        load_settings(data_dir=Path("~nobody-7/data"))


def test_every_setting_says_what_it_is() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name


def test_every_flag_is_an_option_of_run() -> None:
    options = {option for parameter in get_command(app).commands["run"].params for option in parameter.opts}  # type: ignore[attr-defined]
    assert set(FLAGS.values()) <= options
    assert FLAGS.keys() <= TABLE.keys()
    assert options - set(FLAGS.values()) == {"--config"}
