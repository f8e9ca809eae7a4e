-- Statements of `collector.location_store`.

-- name: fence
-- A row if $1 is the leader's epoch, which then stays so until the end of this transaction.
SELECT true FROM leadership WHERE epoch = $1 FOR SHARE;

-- name: fence_off
-- The same, and no commit of ours is under way any more: each holds the row shared until it ends.
SELECT true FROM leadership WHERE epoch = $1 FOR UPDATE;

-- name: read_locations
-- These locations ($1), or all, each with its assignments.
SELECT l.id, l.name, l.provider, l.account, l.container, l.environment, l.resource_group, l.subscription_id, l.region,
    l.endpoint, l.path_style, l.write_probe, l.encryption_key, l.sync, l.owner, l.allow_shared,
    extract(epoch FROM l.created_at)::float8 AS created_at, l.created_by,
    extract(epoch FROM l.deleting_at)::float8 AS deleting_at, l.deleting_by, l.version,
    coalesce((
        SELECT jsonb_agg(jsonb_build_array(a.cluster_id, extract(epoch FROM a.assigned_at)::float8, a.by_whom))
        FROM assignments a WHERE a.location_id = l.id
    ), '[]') AS assignments
FROM locations l WHERE $1::uuid[] IS NULL OR l.id = ANY($1);

-- name: insert_location
-- As the leader of epoch $1. Gives nothing where the name ($3) or the bucket ($17) is taken, or another instance leads.
INSERT INTO locations (
    id, name, provider, account, container, environment, resource_group, subscription_id, region, endpoint, path_style,
    write_probe, encryption_key, sync, owner, bucket, allow_shared, created_at, created_by)
SELECT $2::uuid, $3::text, $4::text, $5::text, $6::text, $7::text, $8::text, $9::text, $10::text, $11::text,
    $12::boolean, $13::boolean, $14::text, $15::boolean, $16::text, $17::text, $18::boolean,
    to_timestamp($19::float8), $20::text
FROM leadership
WHERE epoch = $1 AND ($18::boolean OR NOT EXISTS (SELECT FROM locations WHERE bucket = $17::text))
FOR SHARE
ON CONFLICT DO NOTHING
RETURNING id;

-- name: touch_location
-- As the leader of epoch $1: a new version of the location $2, if it has version $3 (or whichever) and stays.
UPDATE locations SET version = version + 1
WHERE id = $2 AND ($3::int IS NULL OR version = $3) AND deleting_at IS NULL
    AND EXISTS (SELECT FROM leadership WHERE epoch = $1 FOR SHARE)
RETURNING id;

-- name: assign
-- Clusters ($2) to a location; those that have it already keep their row.
INSERT INTO assignments (location_id, cluster_id, assigned_at, by_whom)
SELECT $1, cluster_id, to_timestamp($3::float8), $4 FROM unnest($2::uuid[]) AS cluster_id
ON CONFLICT DO NOTHING;

-- name: unassign
-- Clusters ($2) from a location.
DELETE FROM assignments WHERE location_id = $1 AND cluster_id = ANY($2::uuid[]);

-- name: begin_deletion
-- As the leader of epoch $1: the location $2 is DeletePending, if it has version $3 (or whichever) and was not.
UPDATE locations SET deleting_at = to_timestamp($4::float8), deleting_by = $5, version = version + 1
WHERE id = $2 AND ($3::int IS NULL OR version = $3) AND deleting_at IS NULL
    AND EXISTS (SELECT FROM leadership WHERE epoch = $1 FOR SHARE)
RETURNING id;

-- name: assigned_clusters
-- Which clusters have the location $1, by name.
SELECT c.id, c.name FROM assignments a JOIN clusters c ON c.id = a.cluster_id WHERE a.location_id = $1
ORDER BY c.name, c.id;

-- name: remove_location
-- The row of a location whose deletion was asked for, as the leader of epoch $1. Its assignments are gone by then.
DELETE FROM locations WHERE id = $2 AND deleting_at IS NOT NULL
    AND EXISTS (SELECT FROM leadership WHERE epoch = $1 FOR SHARE);
