"""The database of access control, which opens later than the API listens."""

from __future__ import annotations

from pathlib import Path

import muster
from store.errors import StoreUnavailable
from store.pool import Database
from store.sql import load_queries


class AccessStore:
    """Where tokens and the audit log are; whoever asks for it too early gets the error of a database that is away."""

    def __init__(self) -> None:
        self._db: Database | None = None
        self.sql = load_queries(Path(muster.__path__[0]) / "queries.sql")

    def open(self, db: Database) -> None:
        """From now on it is there. Closing it is the caller's."""
        self._db = db

    @property
    def db(self) -> Database:
        """The pool. Raises `StoreUnavailable` until it has been opened."""
        if self._db is None:
            raise StoreUnavailable(
                "this instance has not reached its database yet; only the local token works until then. See its log."
            )
        return self._db
