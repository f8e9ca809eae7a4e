-- Statements of `collector.validation_store`.

-- name: fence
-- A row if $1 is the leader's epoch, which then stays so until the end of this transaction.
SELECT true FROM leadership WHERE epoch = $1 FOR SHARE;

-- name: fence_off
-- The same, and no commit of ours is under way any more: each holds the row shared until it ends.
SELECT true FROM leadership WHERE epoch = $1 FOR UPDATE;

-- name: read_validations
-- The jobs of these locations ($1), or all.
SELECT location_id, cluster_id, id, number, state, method, asked_at, by_whom, began_at, ended_at, reason, stage, message
FROM validation_jobs WHERE $1::uuid[] IS NULL OR location_id = ANY($1);

-- name: ask_validations
-- New jobs ($3) for clusters ($2) of the location $1; none for a pair that has one under way, or is no pair any more.
INSERT INTO validation_jobs (location_id, cluster_id, id, state, method, asked_at, by_whom, message)
SELECT a.location_id, a.cluster_id, n.id, 'Pending', '', $4, $5, ''
FROM unnest($2::uuid[], $3::uuid[]) AS n (cluster_id, id)
JOIN assignments a ON a.location_id = $1 AND a.cluster_id = n.cluster_id
ORDER BY a.cluster_id
FOR KEY SHARE OF a
ON CONFLICT (location_id, cluster_id) DO UPDATE SET
    id = excluded.id, number = DEFAULT, state = excluded.state, method = excluded.method, asked_at = excluded.asked_at,
    by_whom = excluded.by_whom, began_at = NULL, ended_at = NULL, reason = NULL, stage = NULL, message = ''
WHERE validation_jobs.state IN ('Valid', 'Failed')
RETURNING id;

-- name: advance_validations
-- How jobs ($3) stand now. Gives those that are there still: a job goes with its assignment. Once more does no harm.
UPDATE validation_jobs v SET
    state = n.state, method = n.method, began_at = n.began_at, ended_at = n.ended_at, reason = n.reason,
    stage = n.stage, message = n.message
FROM unnest(
    $1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::float8[], $7::float8[], $8::text[], $9::text[],
    $10::text[]
) AS n (location_id, cluster_id, id, state, method, began_at, ended_at, reason, stage, message)
WHERE v.location_id = n.location_id AND v.cluster_id = n.cluster_id AND v.id = n.id
RETURNING v.id;
