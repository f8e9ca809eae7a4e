"""PostgreSQL: the pool, the embedded server, migrations, leadership. Knows nothing of what is stored."""
