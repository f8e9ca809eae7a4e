"""A database URL is refused without being quoted, and shown without its password."""

from __future__ import annotations

import traceback

import pytest

from store.address import parse_address
from store.errors import StoreRefused

CANARY = "canary-7Qx"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://muster:{CANARY}@db:port/muster",
        f"postgresql://muster:{CANARY}@db:70000/muster",
        f"postgresql://muster:{CANARY}@db:5432,other:x/muster",
        f"postgresql://muster:a@{CANARY}@db/muster",
        f"postgresql://muster:a/{CANARY}@db/muster",
        f"postgresql://muster:a#{CANARY}@db/muster",
        f"postgresql://muster:a?{CANARY}@db/muster",
        f"postgresql://muster:[{CANARY}@db/muster",
        f"postgresql://muster:{CANARY} @db/muster",
        f"postgresql://muster:{CANARY}\n@db/muster",
        f"mysql://muster:{CANARY}@db/muster",
        f"postgresql://muster@db/muster?password={CANARY}&novalue",
        f"host=db password={CANARY}",
        f"{CANARY}",
        "",
        f"postgresql://muster:{CANARY}@db/{'x' * 5000}",
    ],
)
def test_a_malformed_url_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(StoreRefused, match="MUSTER_DATABASE_URL") as caught:
        parse_address(url)
    assert "percent-encoded" in caught.value.message
    shown = "".join(traceback.format_exception(caught.value, chain=True))
    assert CANARY not in caught.value.message + repr(caught.value) + shown.replace(repr(url), "")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"postgresql://muster:{CANARY}@db.example:5432/muster", "db.example:5432/muster"),
        (f"postgres://muster:{CANARY}@[::1]:5432/muster", "[::1]:5432/muster"),
        (f"postgresql://muster:{CANARY}@a:5432,b:5433/muster", "a:5432,b:5433/muster"),
        (f"postgresql://postgres:{CANARY}@/postgres?host=%2Frun%2Fmuster", "/run/muster/postgres"),
        (f"postgresql://db/muster?user=u&password={CANARY}&sslmode=require", "db/muster"),
        (f"postgresql://muster:{CANARY}%40%2F@db/muster", "db/muster"),
        ("postgresql:///muster", "localhost/muster"),
        ("postgresql://", "localhost"),
    ],
)
def test_a_good_url_is_shown_without_user_and_password(url: str, shown: str) -> None:
    address = parse_address(url)
    assert str(address) == shown
    assert address.url == url
    assert CANARY not in repr(address)
