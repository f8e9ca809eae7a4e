"""`muster login`: a link that lets a browser in."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from muster.cli.asking import asking
from muster.cli.exits import PLAIN_CODES_HELP, Exit, fail
from muster.cli.options import DEFAULT_SERVER, CaFileOption, Output, OutputOption, ServerOption, TokenFileOption

HELP = f"""Print a link that lets a browser in. It works once, and not for long. Needs the role admin.

The code stands after the `#`, which browsers do not send: it gets into no log and no history of a proxy.

\b
Examples:
  muster login
  muster login --open                  opens your browser
  muster login --server https://muster.example.com --token-file me.token

{PLAIN_CODES_HELP}
"""


def login(
    browser: Annotated[bool, typer.Option("--open", help="Open it in your browser.")] = False,
    output: OutputOption = Output.TABLE,
    server: ServerOption = DEFAULT_SERVER,
    token_file: TokenFileOption = None,
    ca_file: CaFileOption = None,
) -> None:
    """See `HELP`."""
    with asking(server, token_file, ca_file) as client:
        made = client.login_code()
    from urllib.parse import quote  # noqa: PLC0415 - `--help` needs none of these

    from muster.cli.client import as_json  # noqa: PLC0415
    from muster.cli.render import output as out  # noqa: PLC0415
    from muster.cli.render.text import local  # noqa: PLC0415

    link = f"{client.url}/login#code={quote(made.code, safe='')}"
    if output.is_data:
        out.data({**as_json(made), "link": link}, output)
        return
    print(f"Works once, until {local(made.expires_at)}:", file=sys.stderr)
    print(link)
    if browser:
        import webbrowser  # noqa: PLC0415 - seldom needed

        if not webbrowser.open(link):
            fail(Exit.USAGE, "no browser can be opened from here", "Open the link above in one.")
