from store.pool import Database

async def test_x(database: Database):
    assert await database.fetchval("select 1") == 1

async def test_y(database: Database):
    assert await database.fetchval("select 1") == 1
