"""`muster config`: what is wrong, what is in effect, and how to begin."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path

import pytest
import yaml

from muster.config.changes import AT_RUN_TIME, NEEDS_RESTART
from muster.config.page import example_file
from muster.config.shown import masked_url
from muster.settings import Settings
from tests.support.cli import muster


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("MUSTER_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "muster.toml"
    path.write_text("interval_s = 60\n")
    return path


def test_good_settings_are_summed_up_in_one_line(file: Path) -> None:
    result = muster("config", "check", "--config", str(file), MUSTER_READ_EVERY="2")
    assert result.exit_code == 0
    count = len(Settings.model_fields) - 2
    assert result.stdout == (f"The settings are good: 1 from MUSTER_ variables, 1 from {file}, {count} by default.\n")


def test_each_mistake_is_explained(file: Path) -> None:
    file.write_text('\nretention_days = 0\nintervall_s = 1\n"\\u001b[2J" = 1\n')
    result = muster("config", "check", MUSTER_CONFIG=str(file))
    assert result.exit_code == 2
    assert f"{file}:2: retention_days\n  Input should be greater than or equal to 1\n" in result.stderr
    assert "  allowed: a whole number, 1 to 3650 days; default: 90\n  meaning: Days that history" in result.stderr
    assert f"{file}:3\n  intervall_s is not a setting; did you mean interval_s?\n" in result.stderr
    assert "3 mistakes" in result.stderr
    assert "\x1b" not in result.stderr


def test_run_refuses_the_same_file_with_the_same_lines(file: Path) -> None:
    file.write_text("interval_s = 0\n")
    result = muster("run", "--config", str(file))
    assert result.exit_code == 2
    assert f"{file}:1: interval_s: Input should be greater than or equal to 1; allowed: " in result.stderr
    assert "muster config check" in result.stderr
    assert muster("run", "--config", str(file.with_name("none.toml"))).exit_code == 2


def test_show_says_where_every_value_comes_from(file: Path) -> None:
    variables = {"MUSTER_CONFIG": str(file), "MUSTER_CONTEXTS": "a,b"}
    document = json.loads(muster("config", "show", "-o", "json", **variables).stdout)
    assert document["file"] == str(file)
    rows = {row["key"]: row for row in document["settings"]}
    assert rows.keys() == Settings.model_fields.keys()
    assert rows["interval_s"] == {
        "key": "interval_s",
        "value": 60.0,
        "source": "file",
        "place": f"{file}:1",
        "changes_at_run_time": False,
    }
    assert (rows["contexts"]["value"], rows["contexts"]["place"]) == (["a", "b"], "MUSTER_CONTEXTS")
    assert rows["log_level"]["source"] == "default"
    assert yaml.safe_load(muster("config", "show", "-o", "yaml", **variables).stdout) == document
    table = [line.split() for line in muster("config", "show", **variables).stdout.splitlines()]
    assert ["interval_s", "60", f"{file}:1"] in table
    assert ["contexts", "a,", "b", "MUSTER_CONTEXTS"] in table
    assert ["otlp_endpoint", "-", "default"] in table


@pytest.mark.parametrize("output", ["table", "json", "yaml"])
def test_show_masks_what_is_secret(file: Path, output: str) -> None:
    result = muster(
        "config", "show", "-o", output, MUSTER_CONFIG=str(file),
        MUSTER_DATABASE_URL="postgresql://muster:canary-1@db/m?sslpassword=canary-2",
        MUSTER_OTLP_ENDPOINT="http://collector/?token=canary-3",
    )  # fmt: skip
    assert result.exit_code == 0
    assert "postgresql://muster:***@db/m?sslpassword=***" in result.stdout
    assert "canary" not in result.output


@pytest.mark.parametrize("url", ["host=db password=canary", "canary", "postgresql://[canary", "//u:canary@h"])
def test_what_is_no_url_is_masked_whole(url: str) -> None:
    assert "canary" not in masked_url(url)


def test_the_example_has_every_setting_and_is_good_with_and_without_its_marks(tmp_path: Path) -> None:
    assert muster("config", "init").stdout == example_file()
    assert tomllib.loads(example_file()) == {}
    bare = "\n".join(line.removeprefix("#") for line in example_file().splitlines() if line[:1] == "#" != line[1:2])
    bare = "\n".join(line for line in bare.splitlines() if " = " in line and not line.startswith(" "))
    assert tomllib.loads(bare).keys() == Settings.model_fields.keys()
    one_database = "\n".join(line for line in bare.splitlines() if not line.startswith("database_url_file"))
    path = tmp_path / "muster.toml"
    path.write_text(one_database)
    path.chmod(0o600)
    assert muster("config", "check", "--config", str(path)).exit_code == 0


def test_every_setting_either_changes_at_run_time_or_has_a_reason_why_not() -> None:
    assert AT_RUN_TIME | NEEDS_RESTART.keys() == Settings.model_fields.keys()
    assert not AT_RUN_TIME & NEEDS_RESTART.keys()
