"""`muster config check|show|init`: the settings of the service on this machine, without starting it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from muster.cli.exits import Exit, fail
from muster.cli.options import Output, OutputOption
from muster.escape import escaped

if TYPE_CHECKING:
    from muster.settings import Loaded, Problem, SettingsError

HELP = """The settings of `muster run`: check them, see where each comes from, begin a file.

They come from flags, then MUSTER_ variables, then the file, then the defaults. The file is the one named with --config
or MUSTER_CONFIG, else /etc/muster/muster.toml as root and ~/.config/muster/muster.toml as anybody else.
"""

CHECK_HELP = """Check the settings file and the MUSTER_ variables; explain every mistake.

\b
Examples:
  muster config check
  muster config check --config muster.toml

Exit code 0 if `muster run` would start with them, 2 if not.
"""

SHOW_HELP = """Show every setting, its value, and where it comes from. Secrets are masked.

\b
Examples:
  muster config show
  muster config show -o json | jq '.settings[] | select(.source != "default")'

Exit code 0, or 2 if the settings make no sense.
"""

INIT_HELP = """Print a settings file with every setting explained and commented out.

\b
Examples:
  muster config init > muster.toml
"""

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", envvar="MUSTER_CONFIG", metavar="FILE", help="The settings file."),
]


def check(config: ConfigOption = None) -> None:
    """See `CHECK_HELP`."""
    loaded = _load(config)
    from muster.config.shown import summary  # noqa: PLC0415 - `--help` needs no pydantic

    print(escaped(f"The settings are good: {summary(loaded)}."))


def show(config: ConfigOption = None, output: OutputOption = Output.TABLE) -> None:
    """See `SHOW_HELP`."""
    loaded = _load(config)
    from muster.cli.render import output as out  # noqa: PLC0415 - `--help` needs none of these
    from muster.cli.render.table import Column, table  # noqa: PLC0415
    from muster.config.shown import shown  # noqa: PLC0415

    rows = shown(loaded)
    if output in {Output.JSON, Output.YAML}:
        out.data({"file": str(loaded.file) if loaded.file else None, "settings": rows}, output)
        return
    cells = [[row["key"], escaped(_text(row["value"])), escaped(row["place"] or "default")] for row in rows]
    out.show(table([Column("SETTING"), Column("VALUE"), Column("FROM")], cells), out.console())


def init() -> None:
    """See `INIT_HELP`."""
    from muster.config.page import example_file  # noqa: PLC0415 - `--help` needs no pydantic

    print(example_file(), end="")


def refuse(error: SettingsError) -> NoReturn:
    """Say briefly what is wrong with the settings, and end."""
    lines = [escaped(str(problem)) for problem in error.problems]
    fail(Exit.USAGE, "\n  ".join(["settings that make no sense:", *lines]), "`muster config check` explains them.")


def _load(config: Path | None) -> Loaded:
    from muster.settings import Loading, SettingsError  # noqa: PLC0415 - `--help` needs no pydantic

    try:
        return Loading(config).load()
    except SettingsError as error:
        for problem in error.problems:
            _explain(problem)
        count = len(error.problems)
        fail(Exit.USAGE, f"{count} mistake{'s' if count > 1 else ''} in the settings; `muster run` would not start")


def _explain(problem: Problem) -> None:
    from muster.config.table import TABLE  # noqa: PLC0415 - `--help` needs no pydantic

    print(f"{escaped(problem.place)}\n  {escaped(problem.message)}", file=sys.stderr)
    if (info := TABLE.get(problem.key)) is not None:
        default = f"; default: {_text(info.default)}" if info.default not in (None, ()) else ""
        print(f"  allowed: {info.allowed}{default}\n  meaning: {info.meaning}", file=sys.stderr)


def _text(value: Any) -> str:
    match value:
        case None | []:
            return "-"
        case bool():
            return str(value).lower()
        case float():
            return f"{value:.12g}"
        case list():
            return ", ".join(value)
        case _:
            return str(value)


app = typer.Typer(help=HELP, no_args_is_help=True, rich_markup_mode=None, pretty_exceptions_enable=False)
for function, text, line in (
    (check, CHECK_HELP, "Explain what is wrong with the settings."),
    (show, SHOW_HELP, "Every value, and where it comes from."),
    (init, INIT_HELP, "Print an example file."),
):
    app.command(help=text, short_help=line)(function)
