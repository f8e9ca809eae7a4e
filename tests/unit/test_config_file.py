"""The settings file: whatever is wrong with it is told with its line and the remedy, and nothing in it can hang us."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from muster.config.file import MAX_FILE_BYTES, key_lines, read_settings_file
from muster.config.loading import place_of_file
from muster.settings import Loading, SettingsError, load_settings

Write = Callable[[str | bytes], Path]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MUSTER_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(content: str | bytes) -> Path:
        path = tmp_path / "muster.toml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        path.chmod(0o600)
        return path

    return write


def refusal(path: Path) -> str:
    with pytest.raises(SettingsError) as raised:
        load_settings(path)
    assert raised.value.__context__ is None or "canary" not in str(raised.value.__context__)
    return str(raised.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("listen = 127.0.0.1:8645\n", ":1:15: not TOML: expected newline or end of document"),
        ("interval_s = 3 seconds\n", "after a statement (text stands in quotes"),
        ("# a\nlog_level = debug\n", ":2:13: not TOML: invalid value (text stands in quotes"),
        ("interval_s = 1\ninterval_s = 2\n", ":2:15: not TOML: cannot overwrite a value (this key is there twice"),
        ('\n\nlisten = "a', ":3: not TOML: unterminated string"),
        ("interval_s\n", ":1:11: not TOML: expected '=' after a key"),
        ("intervall_s = 3", ":1: intervall_s is not a setting; did you mean interval_s?"),
        ("\nMUSTER_LISTEN = 'x'", ":2: MUSTER_LISTEN is not a setting; did you mean listen?"),
        ("reference = []", ":1: reference is not a setting; did you mean reference_targets?"),
        ("zebra = 1", ":1: zebra is not a setting; `muster config show` lists them"),
        ("[muster]\nlisten = ''", ":1: [muster] is no setting: there are no tables"),
        ('interval_s = "30"', ":1: interval_s: is a text; allowed: a number, 1 to 3600 seconds"),
        ("interval_s = true", ":1: interval_s: is true or false; allowed: a number"),
        ("in_cluster = 1", ":1: in_cluster: is a whole number; allowed: true or false"),
        ("retention_days = 90.0", ":1: retention_days: is a fraction; allowed: a whole number"),
        ("log_level = 2026-01-01", ":1: log_level: is a date or time; allowed: debug, info, warning, error"),
        ('contexts = "a,b"', ":1: contexts: is a text; allowed: a list of texts"),
        ("contexts = ['a', 3]", ":1: contexts: is a list with something else than texts"),
        ("log_level.x = 1", ":1: log_level: is a table"),
        ('data_dir = ""', ":1: data_dir: is empty; leave the key out"),
        ("static = ['a', '']", ":1: static: is empty"),
        ("interval_s = nan", ":1: interval_s: "),
        ("session_s = inf", ":1: session_s: "),
        ("session_s = 299", "allowed: a number, 300 to 2592000 seconds"),
        ("retention_days = " + "9" * 4000, ":1: retention_days: "),
        ("interval_s = " + "9" * 4000, ":1: interval_s: "),
        ("retention_days = " + "9" * 5000, ": not TOML: a number or a nesting that is too long"),
        ("contexts = " + "[" * 5000 + "]" * 5000, ": not TOML: a number or a nesting that is too long"),
        ('listen = "0.0.0.0:1"', ":1: listen: 0.0.0.0 is more than this machine"),
        ('static = ["a\\u0000b"]', ":1: static: entry 1: holds a control character"),
        ('reference_targets = [\n"10.0.0.1:1", "gw:1",\n]', ":1: reference_targets: entry 2: 'gw' is a name"),
        ('database_url = "mysql://u:canary@h/d"', ":1: database_url: does not start with postgresql://"),
        ("database_url = ['canary']", ":1: database_url: is a list; allowed: text"),
        (b"\xff\xfel\x00i\x00", ": {path} is no UTF-8 text, at byte 0"),
        ("#" * (MAX_FILE_BYTES + 1), f"larger than {MAX_FILE_BYTES} bytes"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line_and_what_is_allowed(write: Write, content: str | bytes, says: str) -> None:
    path = write(content)
    told = refusal(path)
    assert told.startswith(str(path))
    assert says.replace("{path}", str(path)) in told
    assert "canary" not in told


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSTER_READ_EVERY", "0")
    monkeypatch.setenv("MUSTER_NONSENSE", "0")
    path = write('retention_days = 0\nlistn = "x"\ninterval_s = "x"\n')
    places = [line.split(": ")[0] for line in refusal(path).splitlines()]
    assert places == [f"{path}:1", f"{path}:2", f"{path}:3", "MUSTER_NONSENSE", "MUSTER_READ_EVERY (--read-every)"]


def test_a_contradiction_is_not_told_while_it_may_follow_from_another_mistake(write: Write) -> None:
    told = refusal(write('timeout_s = 40\ninterval_s = "60"\n'))
    assert "below the interval" not in told


def test_another_programs_file_gives_a_short_answer(write: Write) -> None:
    started = time.monotonic()
    told = refusal(write("".join(f"k{n} = 1\n" for n in range(5000))))
    assert time.monotonic() - started < 2
    assert told.count("\n") == 20
    assert "4980 more keys are no settings" in told


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_password_in_a_file_that_others_can_read_is_refused(write: Write, mode: int) -> None:
    path = write('database_url = "postgresql://u:canary@h/d"')
    assert load_settings(path).database_url is not None
    path.chmod(mode)
    told = refusal(path)
    assert f"chmod 600 {path}" in told
    assert "database_url_file" in told
    assert "canary" not in told


def test_the_databases_url_comes_from_a_file_of_its_own(write: Write, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://u:p@h/d\n")
    loaded = Loading(write('database_url_file = "url"')).load()
    assert loaded.settings.database_url is not None
    assert loaded.settings.database_url.get_secret_value() == "postgresql://u:p@h/d"
    assert loaded.origins["database_url"].name == str(tmp_path / "url")
    (tmp_path / "url").write_text("mysql://u:canary@h/d")
    assert refusal(loaded.file or tmp_path).endswith("does not start with postgresql://" + refusal_tail())
    (tmp_path / "url").unlink()
    assert "muster.toml:1: database_url_file:" in refusal(loaded.file or tmp_path)


def refusal_tail() -> str:
    return (
        ". Give postgresql://user:password@host:5432/database, with special characters of the password percent-encoded "
        "(@ is %40, / is %2F, # is %23)."
    )


def test_of_two_databases_the_stronger_source_counts(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "url").write_text("postgresql://file/d")
    path = write('database_url_file = "url"')
    monkeypatch.setenv("MUSTER_DATABASE_URL", "postgresql://variable/d")
    settings = load_settings(path)
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://variable/d"
    assert settings.database_url_file is None
    monkeypatch.setenv("MUSTER_DATABASE_URL_FILE", str(tmp_path / "url"))
    assert "keep one of the two" in refusal(path)


def test_paths_are_relative_to_the_file(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.chdir("/")
    path = write('static = ["fleet.yaml", "~/other.yaml", "/third.yaml"]\ntls_key = "k"\ntls_certificate = "../c"\n')
    settings = load_settings(path)
    assert settings.static == (tmp_path / "fleet.yaml", Path("/home/me/other.yaml"), Path("/third.yaml"))
    assert (settings.tls_key, settings.tls_certificate) == (tmp_path / "k", tmp_path / "../c")


@pytest.mark.parametrize("kind", ["missing", "directory", "fifo", "link to nothing", "endless"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "muster.toml"
    match kind:
        case "directory":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case "link to nothing":
            path.symlink_to(tmp_path / "nothing")
        case "endless":
            path = Path("/dev/zero")
    assert refusal(path).startswith(f"{path}: {path} ")


def test_lines_are_found_past_strings_lists_and_comments() -> None:
    text = (
        '# listen = "x"\n'
        'a = """\nlisten = 1\n\\""" b = 2"""\n'
        "'b' = '''x\ny'''\r\n"
        'c = [ # list = [\n  "d = 1",\n]\n'
        "e.f = { g = 1 }\n"
        '  "h-i" = 1\n'
        "[j]\nlisten = 3\n"
        "[[k]]\n"
    )
    assert key_lines(text) == {"a": 2, "b": 5, "c": 7, "e": 10, "h-i": 11, "j": 12, "k": 14}


def test_finding_lines_takes_no_longer_than_the_file_is_long() -> None:
    started = time.monotonic()
    for hostile in (
        'a = "' + "\\\\" * 30_000 + '"',
        "a = '''" + "''a" * 20_000 + "'''",
        'a = """' + '""a' * 20_000 + '"""',
    ):
        assert key_lines(hostile) == {"a": 1}
    assert time.monotonic() - started < 2


def test_a_file_is_looked_for_where_it_belongs() -> None:
    here = Path("here.toml")
    assert place_of_file(here, {"MUSTER_CONFIG": "/there"}, 0) == (here, True)
    assert place_of_file(None, {"MUSTER_CONFIG": "/there"}, 0) == (Path("/there"), True)
    assert place_of_file(None, {"MUSTER_CONFIG": "", "XDG_CONFIG_HOME": "/x"}, 0) == (
        Path("/etc/muster/muster.toml"),
        False,
    )
    assert place_of_file(None, {"XDG_CONFIG_HOME": "/x", "HOME": "/h"}, 7) == (Path("/x/muster/muster.toml"), False)
    assert place_of_file(None, {"XDG_CONFIG_HOME": "x", "HOME": "/h"}, 7)[0] == Path("/h/.config/muster/muster.toml")
    assert place_of_file(None, {}, 7) == (None, False)


def test_an_empty_file_is_good(write: Write) -> None:
    assert read_settings_file(write("")).problems == ()
    assert load_settings(write(b"\xef\xbb\xbf# only a byte order mark and this\r\n")).interval_s == 30.0
