"""What psql is given: a URL that everybody may see."""

from __future__ import annotations

import pytest

from muster.ops.psql import without_password
from store.errors import StoreRefused


@pytest.mark.parametrize(
    ("url", "seen", "password"),
    [
        ("postgresql://m:s%40x@db:5432/muster", "postgresql://m@db:5432/muster", "s@x"),
        ("postgresql://m@db/muster?password=s%20x&sslmode=require", "postgresql://m@db/muster?sslmode=require", "s x"),
        ("postgresql://db/muster", "postgresql://db/muster", None),
        ("postgresql://m:s@/p?host=%2Frun%2Fm&port=1", "postgresql://m@/p?host=%2Frun%2Fm&port=1", "s"),
        ("postgresql://m:s@a:1,b:2/muster", "postgresql://m@a:1,b:2/muster", "s"),
    ],
)
def test_the_password_goes_by_the_environment(url: str, seen: str, password: str | None) -> None:
    shown, variables = without_password(url, {})
    assert shown == seen
    assert variables.get("PGPASSWORD") == password


def test_variables_that_lead_elsewhere_do_not_reach_it() -> None:
    environ = {
        "PGHOST": "other",
        "PGOPTIONS": "-c x",
        "MUSTER_DATABASE_URL": "secret",
        "TERM": "xterm",
        "PAGER": "less",
    }
    _, variables = without_password("postgresql://db/muster", environ)
    assert {"TERM", "PAGER"} <= set(variables)
    assert not {"PGHOST", "PGOPTIONS", "MUSTER_DATABASE_URL"} & set(variables)


def test_a_secret_that_would_be_on_the_command_line_is_refused() -> None:
    with pytest.raises(StoreRefused, match="sslpassword") as caught:
        without_password("postgresql://db/muster?sslpassword=canary", {})
    assert "canary" not in str(caught.value)
