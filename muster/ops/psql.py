"""PostgreSQL's own shell on the service's database. The password goes by the environment, never by the command line."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from store.address import parse_address
from store.errors import StoreRefused

_SECRETS = ("sslpassword", "oauth_client_secret")
"""Parameters of a URL that libpq takes from no variable: they would be seen by everybody on the machine."""


def find_psql(directories: Iterable[Path]) -> Path:
    """The one beside the embedded server, else the machine's. Raises `StoreRefused` with the remedy."""
    for directory in directories:
        if (directory / "psql").is_file():
            return directory / "psql"
    if on_path := shutil.which("psql"):
        return Path(on_path)
    raise StoreRefused(
        "there is no psql on this machine. Install it (apt install postgresql-client), or what has it: "
        "pip install muster[embedded]."
    )


def without_password(url: str, environ: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The URL as it may be seen, and the variables with which psql gets in; pure. Raises `StoreRefused`."""
    parse_address(url)
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    if any(name in _SECRETS for name, _ in query):
        raise StoreRefused(f"the database's URL has one of {', '.join(_SECRETS)}, which psql takes from no variable.")
    userinfo, at, hosts = parts.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    password = next((value for name, value in query if name == "password"), unquote(password))
    seen = parts._replace(netloc=f"{user}{at}{hosts}", query=urlencode([p for p in query if p[0] != "password"]))
    # None of the caller's own PG*: they would lead elsewhere. PSQL*, PAGER and EDITOR are about the terminal.
    variables = {name: value for name, value in environ.items() if not name.startswith(("PG", "MUSTER_"))}
    if password:
        variables["PGPASSWORD"] = password
    variables["PGAPPNAME"] = "muster-psql"
    variables["PGCONNECT_TIMEOUT"] = "10"
    return seen.geturl(), variables
