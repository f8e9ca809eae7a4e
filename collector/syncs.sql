-- Statements of `collector.sync_store`.

-- name: fence
-- A row if $1 is the leader's epoch, which then stays so until the end of this transaction.
SELECT true FROM leadership WHERE epoch = $1 FOR SHARE;

-- name: fence_off
-- The same, and no commit of ours is under way any more: each holds the row shared until it ends.
SELECT true FROM leadership WHERE epoch = $1 FOR UPDATE;

-- name: read_syncs
-- All that there are, the first come first.
SELECT id, number, location_id, bucket, cluster_id, state, holds, asked_at, by_whom, began_at, ended_at, listed, expected,
    reason, message
FROM syncs ORDER BY number;

-- name: read_inventories
-- The newest of every location that has one.
SELECT location_id, cluster_id, at, took_s, document FROM inventories;

-- name: stays
-- A row if the location $1 stays; nobody can begin to delete it until the end of this transaction.
SELECT true FROM locations WHERE id = $1 AND deleting_at IS NULL FOR SHARE;

-- name: begin_sync
-- A sync that holds its bucket; nothing where another does, or the location has one already.
INSERT INTO syncs (id, location_id, bucket, cluster_id, state, holds, asked_at, by_whom, began_at, expected)
VALUES ($1, $2, $3, $4, 'Pending', true, $5, $6, $5, $7)
ON CONFLICT DO NOTHING
RETURNING number;

-- name: queue_sync
-- A sync that waits for its bucket; nothing where $8 wait already, or the location has one already.
INSERT INTO syncs (id, location_id, bucket, cluster_id, state, holds, asked_at, by_whom, expected)
SELECT $1::uuid, $2::uuid, $3::text, $4::uuid, 'Pending', false, $5::float8, $6::text, $7::bigint
WHERE (SELECT count(*) FROM syncs WHERE bucket = $3::text AND state = 'Pending' AND NOT holds) < $8::int
ON CONFLICT DO NOTHING
RETURNING number;

-- name: sync_begins
-- Whoever was asked has begun.
UPDATE syncs SET state = 'InProgress' WHERE id = $1 AND state = 'Pending' RETURNING id;

-- name: end_sync
-- How an open sync has ended.
UPDATE syncs SET state = $2, holds = false, ended_at = $3, listed = $4, reason = $5, message = $6
WHERE id = $1 AND state IN ('Pending', 'InProgress')
RETURNING id;

-- name: forget_ended
-- Those of the location $2 that ended before the sync $1.
DELETE FROM syncs WHERE location_id = $2 AND id <> $1 AND state IN ('Succeeded', 'Failed');

-- name: next_sync
-- The bucket $1 goes to whoever waits longest, if nobody has it.
UPDATE syncs SET holds = true, began_at = $2
WHERE id = (SELECT id FROM syncs WHERE bucket = $1 AND state = 'Pending' AND NOT holds ORDER BY number LIMIT 1)
    AND NOT EXISTS (SELECT FROM syncs WHERE bucket = $1 AND holds)
RETURNING id;

-- name: keep_inventory
-- The newest of the location $1, which stays.
INSERT INTO inventories (location_id, cluster_id, at, took_s, document) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (location_id) DO UPDATE SET
    cluster_id = excluded.cluster_id, at = excluded.at, took_s = excluded.took_s, document = excluded.document;

-- name: open_syncs
-- Those of the location $1 that have no end yet.
SELECT state, holds, coalesce(began_at, asked_at) AS since FROM syncs
WHERE location_id = $1 AND state IN ('Pending', 'InProgress');
