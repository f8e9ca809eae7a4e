"""Dump and restore: what Muster keeps, as one checked file that any PostgreSQL can take.

pg_dump and pg_restore were considered, though the embedded wheel has them. A client refuses a server newer than
itself, and a script of pg_restore 17 or later sets parameters that older servers refuse: a dump could not move from the
embedded database to one's own. `pg_restore --clean` knows only the tables of the dump, so what a newer release added
would stay and block the next migration. And a database that is shared with others has tables that are not ours. The
schema is in our checksummed migrations anyway; so the file has rows only, as COPY gives them, and the names and
checksums of the migrations that they were written under.
"""
