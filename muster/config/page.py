"""The settings as a page of the documentation, and as an example file: both from the fields."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path
from typing import Any

from muster.config.changes import AT_RUN_TIME, NEEDS_RESTART
from muster.config.table import TABLE, Kind, SettingInfo

_HEAD = """\
# Settings

<!-- Written by `make docs` from muster/config/fields.py. Edit that. -->

Muster needs none. What you set comes from, the first that has it: a flag of `muster run`, a `MUSTER_*` variable, the
settings file, the default. A list is replaced as a whole. An empty variable counts as not set. What makes no sense,
unknown keys and `MUSTER_*` variables too, is refused at start with its place, what is allowed and the remedy.

    muster config init > muster.toml     an example with every setting, commented out
    muster config check                  each mistake with its line and what is allowed; exit code 0 or 2
    muster config show                   every value and where it comes from; secrets are masked

## The file

TOML, without tables, at most 64 KiB: `--config FILE`, else `MUSTER_CONFIG`, else, if it is there,
`/etc/muster/muster.toml` as root and `$XDG_CONFIG_HOME/muster/muster.toml` (`~/.config/…`) as anybody else. Relative
paths are relative to the file.

```toml
listen = "0.0.0.0:8645"
hosts = ["muster.example.com"]
tls_certificate = "tls.crt"
tls_key = "tls.key"
database_url_file = "/run/secrets/database-url"
reference_targets = ["10.0.0.1:53", "10.0.0.2:53"]
retention_days = 365
```

`database_url` holds a password: the file may have it only if nobody else can read the file (`chmod 600`). Better is
`database_url_file`.

## Listening wider than this machine

Muster refuses, unless it has TLS files of its own, or `behind_proxy` says that a proxy before it ends TLS. Without
either, come through `ssh -L 8645:127.0.0.1:8645 HOST`. A call that uses a name not in `hosts` is refused: a page from
anywhere could point a name of its own at Muster.

## Changes while it runs

On SIGHUP, and within some seconds of a change of the file, the settings are read again. What makes no sense is logged
once, and the old ones stay. A setting that needs a restart is named in the log, and nothing else happens.

| taken up at once | |
|---|---|
"""

_AT_RUN_TIME_NOTES = {
    "retention_days": "at the next housekeeping, within the hour",
    "tls_certificate": "another file or new content; to begin or to end with TLS needs a restart",
    "tls_key": "the same",
}


def settings_page() -> str:
    """All of `docs/settings.md`."""
    at_once = [f"| `{key}` | {_AT_RUN_TIME_NOTES.get(key, '')} |" for key in TABLE if key in AT_RUN_TIME]
    restart = [f"| `{key}` | {_cell(NEEDS_RESTART[key])} |" for key in TABLE if key in NEEDS_RESTART]
    rows = [_row(info) for info in TABLE.values()]
    return "\n".join(
        [
            _HEAD + "\n".join(at_once),
            "",
            "| needs a restart | because |",
            "|---|---|",
            *restart,
            "",
            "## All settings",
            "",
            "| Key | Variable | Flag | Default | Unit | Allowed | Meaning |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def example_file() -> str:
    """Every setting with its meaning, commented out: what is not set has its default."""
    lines = ["# Settings of Muster. Every line is an example; take away the # to set one.", ""]
    for info in TABLE.values():
        lines += textwrap.wrap(info.meaning, 110, initial_indent="# ", subsequent_indent="# ")
        lines += [f"# Allowed: {info.allowed}.", f"#{info.key} = {toml(info.example)}", ""]
    return "\n".join(lines)


def toml(value: Any) -> str:
    """A value as the file has it. JSON's scalars, strings and lists are TOML's as well."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 30 seconds read better than 30.0
    return json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)


def _row(info: SettingInfo) -> str:
    flag = f"`{info.flag}`" if info.flag else ""
    default = "" if info.default in (None, ()) else f"`{toml(info.default)}`"
    words = info.allowed.split(", ")
    allowed = ", ".join(f"`{word}`" for word in words) if info.kind is Kind.CHOICE else info.allowed
    cells = (f"`{info.key}`", f"`{info.variable}`", flag, default, info.unit, allowed, _cell(info.meaning))
    return "| " + " | ".join(cells) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
